//! Promise: two instances never share an admin socket or a port by accident, and a dead one is no obstacle.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::Read;

use nix::sys::signal::Signal;
use ringgate_tests::{
    Config, Finished, PATIENCE, Ringgate, Server, loopback, refuses, run_to_end, send_all,
};

#[test]
fn the_same_admin_socket_is_refused() {
    let server = Server::echo();
    let first = start(&server);
    let socket = first.path("admin.sock");
    let second = Config::write(&format!(
        "
admin: {{ socket: {}, http: off }}
listeners:
  other: {{ bind: '127.0.0.1:$other', pool: echo }}
pools:
  echo: {{ servers: [{server}], health: off }}
",
        socket.display()
    ));
    check_refused(
        &first,
        &second,
        &[
            &socket.display().to_string(),
            &first.proc().0.to_string(),
            "admin.socket",
        ],
    );
    assert!(refuses(loopback(second.port("other"))));
}

#[test]
fn the_same_port_is_refused() {
    let server = Server::echo();
    let first = start(&server);
    for bind in ["127.0.0.1", "0.0.0.0", ""] {
        let taken = format!("{bind}:{}", first.addr("echo").port());
        let second = Config::write(&format!(
            "
listeners:
  free: {{ bind: '127.0.0.1:$free', pool: echo }}
  taken: {{ bind: '{taken}', pool: echo }}
pools:
  echo: {{ servers: [{server}], health: off }}
"
        ));
        check_refused(
            &first,
            &second,
            &[&format!(":{}", first.addr("echo").port())],
        );
        assert!(refuses(loopback(second.port("free"))));
    }
}

#[test]
fn the_same_admin_http_port_is_refused() {
    let server = Server::echo();
    let first = start(&server);
    let http = first.addr("admin");
    let second = Config::write(&format!(
        "
admin: {{ socket: $dir/admin.sock, http: {http} }}
listeners:
  other: {{ bind: '127.0.0.1:$other', pool: echo }}
pools:
  echo: {{ servers: [{server}], health: off }}
"
    ));
    check_refused(&first, &second, &[&http.to_string(), "admin.http"]);
}

#[test]
fn after_kill_9_a_new_start_works() {
    let server = Server::echo();
    let mut ringgate = start(&server);
    ringgate.signal(Signal::SIGKILL);
    assert_eq!(ringgate.wait_exit(PATIENCE), None);
    assert!(
        ringgate.path("admin.sock").exists(),
        "the stale socket is in the way"
    );
    ringgate.start_again();
    check_serves(&ringgate);
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let server = Server::echo();
    let config = Config::write(&format!(
        "
listeners:
  echo: {{ bind: '127.0.0.1:$echo', pool: echo }}
pools:
  echo: {{ servers: [{server}], health: off }}
"
    ));
    let precious = config.dir().join("admin.sock");
    fs::write(&precious, "precious").unwrap();
    let refused = run(&config);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains(&precious.display().to_string()),
        "{refused:?}"
    );
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
}

fn start(server: &Server) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 2
listeners:
  echo: {{ bind: '127.0.0.1:$echo', pool: echo }}
pools:
  echo: {{ servers: [{server}], health: off }}
"
    ))
}

/// The second ends with 1 and names each of `words`; the first notices nothing.
fn check_refused(first: &Ringgate, second: &Config, words: &[&str]) {
    let held = first.connect("echo");
    send_all(&held, "a");
    let refused = run(second);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for word in words {
        assert!(
            refused.stderr.contains(word),
            "{word:?} is missing: {refused:?}"
        );
    }
    send_all(&held, "b");
    let mut echoed = [0; 2];
    (&held).read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"ab", "its connections go on");
    check_serves(first);
    assert_eq!(first.ask("/ready").unwrap().status, 200);
}

fn check_serves(ringgate: &Ringgate) {
    // Enough for both workers to get some.
    for _ in 0..16 {
        let client = ringgate.connect("echo");
        send_all(&client, "x");
        (&client).read_exact(&mut [0]).unwrap();
    }
}

fn run(config: &Config) -> Finished {
    run_to_end(&["run", "-c", &config.file().display().to_string()])
}
