//! Promise: a stop loses nothing that has begun, within the time that the operator gave it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::ErrorKind;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ringgate_tests::{
    Keep, Load, Nginx, PATIENCE, Ringgate, Server, read_to_end, refuses, send_all, wait_until,
};

#[test]
fn requests_in_flight_get_their_whole_answer() {
    let (server, asked, release) = server_on_demand();
    let mut ringgate = start(&server, "30s");
    let clients: Vec<TcpStream> = (0..32)
        .map(|number| {
            let client = ringgate.connect("tcp");
            send_all(&client, format!("{number}\n"));
            client
        })
        .collect();
    for _ in &clients {
        asked.recv_timeout(PATIENCE).unwrap();
    }

    ringgate.term();
    wait_until("the listener is closed", PATIENCE, || {
        refuses(ringgate.addr("tcp"))
    });
    let ready = ringgate.ask("/ready").unwrap();
    assert_eq!((ready.status, ready.body.trim()), (503, "draining"));
    assert_eq!(ringgate.ask("/live").unwrap().status, 200);
    assert_eq!(ringgate.status()["state"], "draining");
    assert!(ringgate.runs(), "it waits for its connections");

    drop(release);
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(
            read_to_end(client).unwrap(),
            answer_to(&format!("{number}\n"))
        );
    }
    drop(clients);
    assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
    assert!(
        !ringgate.path("admin.sock").exists(),
        "the socket is gone with its process"
    );
    let log = ringgate.access_log(32);
    assert!(log.iter().all(|line| line["reason"] == "done"), "{log:?}");
}

#[test]
fn under_full_load_clients_see_whole_answers_and_then_refusals() {
    let nginx = Nginx::start("a");
    let mut ringgate = Ringgate::start(&format!(
        "
workers: 2
timeouts: {{ drain: 30s }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app }}
pools:
  app: [{}]
",
        nginx.addr()
    ));
    let load = Load::start(ringgate.addr("web"), 16, Keep::Fresh);
    wait_until("the load runs", PATIENCE, || load.answered() > 500);
    ringgate.term();
    assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
    wait_until("every client is refused", PATIENCE, || load.ended());
    for failure in load.stop() {
        assert!(
            failure.refused,
            "a request that was begun got no whole answer: {failure:?}"
        );
    }
}

#[test]
fn a_connection_that_does_not_end_is_cut_when_the_time_is_over() {
    let server = Server::echo();
    let mut ringgate = start(&server, "1s");
    let client = served(&ringgate);
    let told = Instant::now();
    ringgate.term();
    let cut = read_to_end(&client).unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::ConnectionReset, "not an orderly end");
    assert!(
        told.elapsed() >= Duration::from_secs(1),
        "not before: {:?}",
        told.elapsed()
    );
    assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["reason"], &line["closed_by"]),
        (&"drained".into(), &"ringgate".into()),
        "{line}"
    );
}

#[test]
fn a_second_term_stops_now() {
    let server = Server::echo();
    let mut ringgate = start(&server, "1h");
    let client = served(&ringgate);
    ringgate.term();
    wait_until("it drains", PATIENCE, || {
        ringgate
            .ask("/ready")
            .is_ok_and(|answer| answer.status == 503)
    });
    ringgate.term();
    assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
    read_to_end(&client).ok();
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["reason"], &line["closed_by"]),
        (&"shutdown".into(), &"ringgate".into()),
        "{line}"
    );
}

#[test]
fn without_connections_it_stops_at_once() {
    let server = Server::echo();
    let mut ringgate = start(&server, "1h");
    ringgate.term();
    assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
    assert!(refuses(ringgate.addr("tcp")));
}

const ANSWER_REPEATS: usize = 20_000;

fn answer_to(question: &str) -> String {
    question.repeat(ANSWER_REPEATS)
}

/// Reads one line per connection, tells that it did, and answers when the returned sender is dropped.
fn server_on_demand() -> (Server, Receiver<()>, Sender<()>) {
    let (tell, asked) = channel();
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = Server::start(move |mut stream| {
        let mut question = String::new();
        while !question.ends_with('\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            question.push(byte[0].into());
        }
        tell.send(()).unwrap();
        // Fails when the sender is gone, which is the sign.
        released.lock().unwrap().recv().unwrap_err();
        stream.write_all(answer_to(&question).as_bytes()).unwrap();
    });
    (server, asked, release)
}

fn start(server: &Server, drain: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 2
timeouts: {{ drain: {drain} }}
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: {{ servers: [{server}], health: off }}
"
    ))
}

/// A connection over which a byte has gone and come.
fn served(ringgate: &Ringgate) -> TcpStream {
    let client = ringgate.connect("tcp");
    send_all(&client, "x");
    (&client).read_exact(&mut [0]).unwrap();
    client
}
