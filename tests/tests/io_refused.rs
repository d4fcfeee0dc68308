//! Promise: where io_uring is refused, `--io uring` does not start and says why and what to do, and
//! without it Ringgate serves on epoll and says so.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::process::Command;

use ringgate_tests::{Config, Ringgate, Server, binary, finish, loopback, refuses};

#[test]
fn a_seccomp_filter_is_named() {
    // What container profiles answer: Docker and Podman since 2023.
    check(libc::EPERM, &["seccomp", "io_uring"]);
}

#[test]
fn a_kernel_without_it_is_named() {
    check(libc::ENOSYS, &["kernel", "io_uring"]);
}

#[test]
fn without_a_word_about_it_epoll_takes_over() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let server = Server::echo();
        let refuse = [env!("CARGO_BIN_EXE_refuse-io-uring"), &errno.to_string()];
        let ringgate = Ringgate::start_through(
            &refuse,
            &format!(
                "
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: [{server}]
"
            ),
        );
        let mut client = ringgate.connect("tcp");
        client.write_all(b"over epoll").unwrap();
        let mut answer = [0; 10];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"over epoll");
        assert_eq!(
            ringgate.metric("ringgate_io_driver_info", &[("driver", "epoll")]),
            1.0
        );
        assert_eq!(ringgate.status()["io_driver"], "epoll");
    }
}

fn check(errno: i32, words: &[&str]) {
    let config = Config::write(
        "
listeners:
  tcp: { bind: '127.0.0.1:$tcp', pool: tcp }
pools:
  tcp: [127.0.0.2:1]
",
    );
    let refused = finish(
        Command::new(env!("CARGO_BIN_EXE_refuse-io-uring"))
            .arg(errno.to_string())
            .arg(binary())
            .args([
                "run",
                "--io",
                "uring",
                "-c",
                &config.file().display().to_string(),
            ]),
    );
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for word in words {
        assert!(
            refused.stderr.contains(word),
            "{word:?} is missing: {refused:?}"
        );
    }
    assert!(refuses(loopback(config.port("tcp"))));
    assert!(
        !config.dir().join("admin.sock").exists(),
        "nothing is left behind"
    );
}
