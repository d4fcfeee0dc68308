//! Promise: a client's connection goes on for as long as both sides want it to and ends where one has said so, and a
//! stop of the process ends it behind the answers that it owes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{ErrorKind, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ringgate_tests::{
    Answer, End, Exchange, PATIENCE, Recorder, Ringgate, Then, Wire, ok, refuses, wait_until,
};

fn gateway(server: &Recorder, http: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ drain: 20s }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{ {http} }} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    ))
}

fn wire(ringgate: &Ringgate) -> Wire {
    Wire::over(ringgate.connect("web"))
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// What a client says of itself, and whether its connection goes on.
const KEPT: &[(&str, bool)] = &[
    ("HTTP/1.1\r\n", true),
    ("HTTP/1.1\r\nConnection: keep-alive\r\n", true),
    ("HTTP/1.1\r\nConnection: close\r\n", false),
    ("HTTP/1.1\r\nConnection: CLOSE\r\n", false),
    ("HTTP/1.1\r\nConnection: x, close\r\n", false),
    ("HTTP/1.1\r\nConnection: x\r\nConnection: close\r\n", false),
    ("HTTP/1.1\r\nConnection: keep-alive, close\r\n", false),
    ("HTTP/1.0\r\n", false),
    ("HTTP/1.0\r\nConnection: close\r\n", false),
    ("HTTP/1.0\r\nConnection: keep-alive\r\n", true),
    ("HTTP/1.0\r\nConnection: Keep-Alive\r\n", true),
];

#[test]
fn a_connection_goes_on_if_its_client_can_and_wants_to() {
    let server = Recorder::start();
    let ringgate = gateway(&server, "");
    for (said, is_kept) in KEPT {
        let mut wire = wire(&ringgate);
        let answer = wire.ask(format!("GET /x {said}Host: a\r\n\r\n"));
        assert_eq!((answer.status, &answer.text()[..]), (200, "/x"), "{said:?}");
        if *is_kept {
            assert!(!answer.says_close(), "{said:?}: {answer:?}");
            let is_old = said.starts_with("HTTP/1.0");
            let says_so = answer
                .field("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("keep-alive"));
            assert!(!is_old || says_so, "{said:?}: {answer:?}");
            assert_eq!(wire.ask(get("/y")).text(), "/y", "{said:?}");
        } else {
            assert!(
                answer.says_close() || said.starts_with("HTTP/1.0"),
                "{said:?}: {answer:?}"
            );
            assert_eq!(wire.end(), End::Fin(vec![]), "{said:?}");
        }
    }
    let versions: Vec<_> = server
        .received()
        .iter()
        .map(|each| each.head.word(2).to_owned())
        .collect();
    assert!(
        versions.iter().all(|version| version == "HTTP/1.1"),
        "{versions:?}"
    );
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    let server = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            .to_vec()
    });
    let ringgate = gateway(&server, "");
    for said in ["", "Connection: keep-alive\r\n"] {
        let mut wire = wire(&ringgate);
        let answer = wire.ask(format!("GET /x HTTP/1.0\r\nHost: a\r\n{said}\r\n"));
        assert_eq!(
            (answer.text(), answer.field("transfer-encoding")),
            ("hello".to_owned(), None)
        );
        assert!(
            !answer
                .head
                .all("connection")
                .any(|value| value.eq_ignore_ascii_case("keep-alive"))
        );
        assert_eq!(wire.end(), End::Fin(vec![]));
    }
}

#[test]
fn a_client_of_http_1_0_gets_no_interim_answers() {
    let server =
        Recorder::answering(|_| [&b"HTTP/1.1 103 Early Hints\r\n\r\n"[..], &ok("fine")].concat());
    let ringgate = gateway(&server, "");
    let answer = wire(&ringgate).ask("GET /x HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!((answer.interim, answer.status), (vec![], 200));
}

#[test]
fn a_connection_brings_so_many_requests_and_no_more() {
    let server = Recorder::start();
    let ringgate = gateway(&server, "limits: { requests_per_connection: 3 }");
    for _ in 0..2 {
        let mut wire = wire(&ringgate);
        wire.send(get("/x").repeat(5));
        let answers: Vec<Answer> = (0..3).map(|_| wire.answer()).collect();
        let says_close: Vec<bool> = answers.iter().map(Answer::says_close).collect();
        assert_eq!(says_close, [false, false, true]);
        // What stood behind the last one is not answered.
        assert!([End::Reset, End::Fin(vec![])].contains(&wire.end()));
    }
    assert_eq!(server.received().len(), 6);
}

#[test]
fn requests_in_a_row_get_their_answers_in_that_row() {
    let server = Recorder::serving(|exchange| {
        let request = exchange.request()?;
        // The later ones are ready sooner.
        let number: u64 = request.target()[1..].parse().unwrap_or_default();
        std::thread::sleep(std::time::Duration::from_millis(
            20_u64.saturating_sub(number),
        ));
        exchange.send(ok(&format!("{}{}", request.target(), request.text())))?;
        Ok(Then::Keep)
    });
    let ringgate = gateway(&server, "");
    let mut wire = wire(&ringgate);
    let request = |number: usize| match number % 3 {
        0 => get(&format!("/{number}")),
        1 => format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"),
        _ => format!(
            "PUT /{number} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        ),
    };
    wire.send((0..60).map(request).collect::<String>());
    for number in 0..60 {
        let body = if number % 3 == 0 { "" } else { "ab" };
        assert_eq!(wire.answer().text(), format!("/{number}{body}"));
    }
}

#[test]
fn head_is_answered_by_a_head() {
    let server = Recorder::answering(|request| match (request.head.word(0), request.target()) {
        ("HEAD", "/length") => b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n".to_vec(),
        ("HEAD", "/chunks") => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        ("HEAD", _) => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        _ => ok("body"),
    });
    let ringgate = gateway(&server, "");
    let mut wire = wire(&ringgate);
    for (target, length) in [
        ("/length", Some("12345")),
        ("/chunks", None),
        ("/neither", None),
    ] {
        wire.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = wire.try_answer("HEAD").unwrap();
        assert_eq!(
            (answer.status, answer.field("content-length")),
            (200, length),
            "{target}"
        );
        assert_eq!(wire.ask(get("/x")).text(), "body", "{target}");
    }
    // Nor has one of our own a body.
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn an_answer_of_ours_to_head_has_no_body() {
    let place = ringgate_tests::Refusing::start();
    let ringgate = Ringgate::start(&format!(
        "
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{}], health: off }}
",
        place.addr()
    ));
    let mut wire = wire(&ringgate);
    wire.send("HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = wire.try_answer("HEAD").unwrap();
    assert_eq!((answer.status, wire.end()), (502, End::Fin(vec![])));
}

/// Does what a server does that is asked with `Expect`: says 100 before it reads.
fn continuing(exchange: &mut Exchange<'_>) -> std::io::Result<Then> {
    if exchange.head.field("expect").is_some() {
        exchange.send("HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let request = exchange.request()?;
    exchange.send(ok(&request.text()))?;
    Ok(Then::Keep)
}

#[test]
fn a_client_that_waits_for_100_gets_it_and_one_that_does_not_is_served_too() {
    let server = Recorder::serving(continuing);
    let ringgate = gateway(&server, "");
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut wire = wire(&ringgate);
    for value in ["100-continue", "100-Continue"] {
        wire.send(head.replace("100-continue", value));
        let interim = wire.head().unwrap();
        assert_eq!(interim.word(1), "100");
        wire.send("hello");
        let answer = wire.answer();
        assert_eq!((answer.status, &answer.text()[..]), (200, "hello"));
    }
    // Who has sent the body already may get a 100 or none.
    for _ in 0..3 {
        let answer = wire.ask(format!("{head}hello"));
        assert_eq!((answer.status, &answer.text()[..]), (200, "hello"));
        assert!(
            answer.interim.is_empty() || answer.interim == [100],
            "{answer:?}"
        );
    }
    assert_eq!(wire.ask(get("/y")).status, 200);
}

#[test]
fn a_server_that_does_not_say_100_answers_without_the_body() {
    let server = Recorder::serving(|exchange| {
        if exchange.head.field("content-length").is_some() {
            exchange.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
            return Ok(Then::Close);
        }
        continuing(exchange)
    });
    let ringgate = gateway(&server, "");
    let mut waiting = wire(&ringgate);
    waiting
        .send("POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let answer = waiting.answer();
    assert_eq!((answer.status, &answer.text()[..]), (403, "no"));
    assert_eq!(wire(&ringgate).ask(get("/y")).status, 200);
}

#[test]
fn an_answer_of_ours_comes_instead_of_100() {
    let server = Recorder::start();
    let ringgate = gateway(&server, "limits: { body: 1KiB }");
    let mut wire = wire(&ringgate);
    wire.send(
        "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1025\r\n\r\n",
    );
    let answer = wire.answer();
    assert_eq!((answer.interim, answer.status), (vec![], 413));
    assert_eq!(server.bytes(), 0);
}

#[test]
fn an_idle_connection_costs_no_server_anything() {
    let server = Recorder::start();
    let ringgate = gateway(&server, "");
    let wires: Vec<Wire> = (0..50).map(|_| wire(&ringgate)).collect();
    ringgate.wait_for_metric("ringgate_listener_connections_active", &[], 50.0);
    assert!(server.connections().is_empty());
    drop(wires);
    ringgate.wait_until_quiet();
}

/// A server that tells of each request and answers it when it is told to.
fn on_demand() -> (Recorder, Receiver<()>, Sender<()>) {
    let (tell, asked) = channel();
    let (release, released) = channel::<()>();
    let (tell, released) = (Mutex::new(tell), Mutex::new(released));
    let server = Recorder::serving(move |exchange| {
        let request = exchange.request()?;
        if request.target() == "/wait" {
            tell.lock().unwrap().send(()).unwrap();
            // Fails when the sender is gone, which is the sign.
            released.lock().unwrap().recv().unwrap_err();
        }
        exchange.send(ok(request.target()))?;
        Ok(Then::Keep)
    });
    (server, asked, release)
}

#[test]
fn a_stop_ends_idle_connections_and_lets_requests_come_to_their_end() {
    const BUSY: usize = 8;
    let (server, asked, release) = on_demand();
    let mut ringgate = gateway(&server, "");
    let (mut fresh, mut used) = (wire(&ringgate), wire(&ringgate));
    assert_eq!(used.ask(get("/x")).text(), "/x");
    let mut busy: Vec<Wire> = (0..BUSY).map(|_| wire(&ringgate)).collect();
    for wire in &mut busy {
        wire.send(get("/wait"));
        asked.recv_timeout(PATIENCE).unwrap();
    }
    ringgate.term();
    wait_until("the listener is closed", PATIENCE, || {
        refuses(ringgate.addr("web"))
    });
    assert_eq!(used.end(), End::Fin(vec![]), "an idle connection ends");
    assert_eq!(
        fresh.end(),
        End::Fin(vec![]),
        "so does one that never asked"
    );
    assert!(ringgate.runs(), "it waits for its requests");
    drop(release);
    for wire in &mut busy {
        let answer = wire.answer();
        assert_eq!(
            (answer.text(), answer.says_close()),
            ("/wait".to_owned(), true)
        );
        assert_eq!(wire.end(), End::Fin(vec![]));
    }
    assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
    let mut log = ringgate.access_log(BUSY + 1);
    log.retain(|line| !line["status"].is_null());
    assert_eq!(log.len(), BUSY + 1);
    assert!(log.iter().all(|line| line["reason"] == "done"), "{log:?}");
}

#[test]
fn a_first_request_that_was_on_its_way_when_a_stop_began_is_served() {
    /// Well below the time that a connection without a request is given then.
    const SOON: Duration = Duration::from_millis(500);
    for _ in 0..5 {
        let server = Recorder::start();
        let mut ringgate = gateway(&server, "");
        let mut fresh: Vec<Wire> = (0..20).map(|_| wire(&ringgate)).collect();
        let mut used = wire(&ringgate);
        assert_eq!(used.ask(get("/x")).text(), "/x");
        ringgate.wait_for_metric("ringgate_listener_connections_active", &[], 21.0);
        let begun = Instant::now();
        ringgate.term();
        assert_eq!(used.end(), End::Fin(vec![]), "the worker knows");
        fresh.iter_mut().for_each(|wire| wire.send(get("/late")));
        let is_soon = begun.elapsed() < SOON;
        for wire in fresh.iter_mut().filter(|_| is_soon) {
            assert_eq!(wire.answer().text(), "/late");
            assert_eq!(wire.end(), End::Fin(vec![]));
        }
        drop(fresh);
        assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
        if is_soon {
            return;
        }
        // The machine was busy with something else: this said nothing.
    }
    panic!("the machine is too busy");
}

#[test]
fn a_request_that_races_with_a_stop_is_answered_or_never_reached_a_server() {
    for _ in 0..5 {
        let server = Recorder::start();
        let mut ringgate = gateway(&server, "");
        let mut wires: Vec<Wire> = (0..20).map(|_| wire(&ringgate)).collect();
        for wire in &mut wires {
            assert_eq!(wire.ask(get("/x")).status, 200);
        }
        ringgate.term();
        let mut answered = wires.len();
        for wire in &mut wires {
            wire.send(get("/late"));
            match wire.try_answer("GET") {
                Ok(answer) => {
                    // The stop may not have begun yet.
                    assert_eq!(answer.text(), "/late");
                    answered += 1;
                }
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                    ),
                    "{error}"
                ),
            }
        }
        assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
        assert_eq!(server.received().len(), answered);
    }
}

#[test]
fn what_comes_in_pieces_after_a_stop_has_begun_is_still_served() {
    let (server, asked, release) = on_demand();
    let mut ringgate = gateway(&server, "");
    let mut busy = wire(&ringgate);
    busy.send("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    let mut other = wire(&ringgate);
    other.send(get("/wait"));
    asked.recv_timeout(PATIENCE).unwrap();
    ringgate.term();
    wait_until("the listener is closed", PATIENCE, || {
        refuses(ringgate.addr("web"))
    });
    busy.stream().write_all(b"world").unwrap();
    asked.recv_timeout(PATIENCE).unwrap();
    drop(release);
    assert_eq!(
        (busy.answer().text(), other.answer().text()),
        ("/wait".to_owned(), "/wait".to_owned())
    );
    assert_eq!(
        server
            .received()
            .iter()
            .filter(|each| each.text() == "helloworld")
            .count(),
        1
    );
    assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
}
