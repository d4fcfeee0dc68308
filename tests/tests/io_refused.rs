//! Promise: where io_uring is refused, Ringgate does not start, and says why and what to do.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;

use ringgate_tests::{Config, binary, finish, loopback, refuses};

#[test]
fn a_seccomp_filter_is_named() {
    // What container profiles answer: Docker and Podman since 2023.
    check(libc::EPERM, &["seccomp", "io_uring"]);
}

#[test]
fn a_kernel_without_it_is_named() {
    check(libc::ENOSYS, &["kernel", "io_uring"]);
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
            .args(["run", "-c", &config.file().display().to_string()]),
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
