//! Promise: each direction ends on its own, and silence ends a connection when its clock says so.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringgate_tests::{PATIENCE, Ringgate, Server, read_to_end, send_all};

#[test]
fn an_answer_that_needs_the_clients_end_arrives() {
    let server = Server::start(|mut stream| {
        let mut question = String::new();
        stream.read_to_string(&mut question).unwrap();
        stream
            .write_all(format!("you said {question}").as_bytes())
            .unwrap();
    });
    let ringgate = start(&server, "idle: 5m");
    let client = ringgate.connect("tcp");
    send_all(&client, "all of it");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client).unwrap(), "you said all of it");
    check_log(&ringgate, "done", None);
}

#[test]
fn what_the_client_sends_after_the_servers_end_arrives() {
    let (sender, received) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        stream.write_all(b"that is all").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        sender.send(read_to_end(&stream)).unwrap();
    });
    let ringgate = start(&server, "idle: 5m");
    let client = ringgate.connect("tcp");
    assert_eq!(read_to_end(&client).unwrap(), "that is all");
    send_all(&client, "a late ");
    send_all(&client, "word");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        received.recv_timeout(PATIENCE).unwrap().unwrap(),
        "a late word"
    );
    check_log(&ringgate, "done", None);
}

#[test]
fn a_connection_that_only_begins_and_ends_is_done() {
    let server = Server::start(|stream| {
        read_to_end(&stream).unwrap();
    });
    let ringgate = start(&server, "idle: 5m");
    let client = ringgate.connect("tcp");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client).unwrap(), "");
    check_log(&ringgate, "done", None);
}

#[test]
fn a_server_silent_after_the_clients_end_is_given_up() {
    check_silence(Script {
        timeouts: "half_closed: 500ms",
        server_ends: false,
        client_ends: true,
        reason: "server_idle",
    });
}

#[test]
fn a_client_silent_after_the_servers_end_is_given_up() {
    check_silence(Script {
        timeouts: "half_closed: 500ms",
        server_ends: true,
        client_ends: false,
        reason: "client_idle",
    });
}

#[test]
fn a_server_that_owes_an_answer_is_given_up_when_idle() {
    let server = Server::start(|stream| {
        read_to_end(&stream).ok();
    });
    let ringgate = start(&server, "idle: 500ms");
    let client = ringgate.connect("tcp");
    send_all(&client, "a question");
    check_cut(&client, Instant::now());
    check_log(&ringgate, "server_idle", Some("ringgate"));
}

#[test]
fn a_client_that_has_its_answer_is_given_up_when_idle() {
    let server = Server::echo();
    let ringgate = start(&server, "idle: 500ms");
    let client = ringgate.connect("tcp");
    let asked = Instant::now();
    send_all(&client, "x");
    (&client).read_exact(&mut [0]).unwrap();
    check_cut(&client, asked);
    check_log(&ringgate, "client_idle", Some("ringgate"));
}

#[test]
fn traffic_in_one_direction_keeps_the_whole_connection() {
    let server = Server::start(|mut stream| {
        for _ in 0..10 {
            stream.write_all(b".").unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let ringgate = start(&server, "idle: 1s");
    assert_eq!(
        read_to_end(&ringgate.connect("tcp")).unwrap(),
        "..........",
        "2 s of it, under an idle timeout of 1 s"
    );
}

#[test]
fn a_listeners_and_a_pools_timeouts_win_over_the_processs() {
    let server = Server::echo();
    let ringgate = Ringgate::start(&format!(
        "
timeouts: {{ idle: 1h }}
listeners:
  short: {{ bind: '127.0.0.1:$short', pool: plain, timeouts: {{ idle: 500ms }} }}
  long: {{ bind: '127.0.0.1:$long', pool: strict, timeouts: {{ idle: 1h }} }}
pools:
  plain: {{ servers: [{server}], health: off }}
  strict: {{ servers: [{server}], health: off, timeouts: {{ idle: 500ms }} }}
"
    ));
    for listener in ["short", "long"] {
        let opened = Instant::now();
        check_cut(&ringgate.connect(listener), opened);
    }
}

/// Who ends, under which clocks, and what the log says of it.
struct Script {
    timeouts: &'static str,
    client_ends: bool,
    server_ends: bool,
    reason: &'static str,
}

fn check_silence(script: Script) {
    let (hold, _held) = mpsc::channel();
    let server = Server::start(move |stream| {
        if script.server_ends {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        hold.send(stream).ok();
    });
    let ringgate = start(&server, script.timeouts);
    let client = ringgate.connect("tcp");
    let opened = Instant::now();
    if script.client_ends {
        client.shutdown(Shutdown::Write).unwrap();
        check_cut(&client, opened);
    }
    check_log(&ringgate, script.reason, Some("ringgate"));
    assert!(
        opened.elapsed() >= Duration::from_millis(500),
        "not before the clock says so"
    );
}

fn start(server: &Server, timeouts: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ {timeouts} }}
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: {{ servers: [{server}], health: off }}
"
    ))
}

/// Ringgate ends the connection after the 500 ms of its clock, by FIN or RST.
fn check_cut(client: &std::net::TcpStream, since: Instant) {
    let end = (&*client).read(&mut [0]);
    assert!(
        matches!(&end, Ok(0))
            || end
                .as_ref()
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
        "{end:?}"
    );
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(500), "cut after {took:?}");
}

fn check_log(ringgate: &Ringgate, reason: &str, closed_by: Option<&str>) {
    let line = &ringgate.access_log(1)[0];
    assert_eq!(line["reason"], reason, "{line}");
    if let Some(closed_by) = closed_by {
        assert_eq!(line["closed_by"], closed_by, "{line}");
    }
}
