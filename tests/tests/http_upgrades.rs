//! Promise: a connection becomes another protocol's only when client and server both said so; until the server's 101
//! nothing behind the head reaches it, and a refusal leaves the connection as it was.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use ringgate_tests::{End, PATIENCE, Recorder, Ringgate, Then, Wire, ok};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn gateway(server: &Recorder) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ header: 1s, response: 5s, drain: 10s }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    ))
}

fn wire(ringgate: &Ringgate) -> Wire {
    Wire::over(ringgate.connect("web"))
}

/// Switches on `/ws` and sends everything back until the end; answers the rest.
fn echoing() -> Recorder {
    Recorder::serving(|exchange| {
        if exchange.head.field("upgrade").is_none() {
            exchange.request()?;
            exchange.send(ok(exchange.target()))?;
            return Ok(Then::Keep);
        }
        exchange.send(SWITCHES)?;
        let mut to = exchange.stream().try_clone()?;
        while let Ok(byte) = exchange.bytes(1)
            && let [byte] = byte[..]
        {
            to.write_all(&[byte])?;
        }
        Ok(Then::Close)
    })
}

#[test]
fn both_sides_speak_the_other_protocol_until_they_end_it() {
    let server = echoing();
    let ringgate = gateway(&server);
    let mut wire = wire(&ringgate);
    // The connection was an ordinary one before.
    assert_eq!(wire.ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").text(), "/x");
    let answer = wire.ask(UPGRADE);
    assert_eq!(
        (answer.status, answer.field("upgrade")),
        (101, Some("websocket"))
    );
    assert_eq!(
        answer.field("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let says_upgrade = |value: &str| value.eq_ignore_ascii_case("upgrade");
    assert!(
        answer.field("connection").is_some_and(says_upgrade),
        "{answer:?}"
    );
    for text in ["hello", "GET / HTTP/1.1\r\n\r\n", "\0\r\n\r\n\x01"] {
        wire.send(text);
        assert_eq!(wire.bytes(text.len() as u64).unwrap(), text.as_bytes());
    }
    wire.send("bye");
    wire.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(wire.end(), End::Fin(b"bye".to_vec()));
    let log = ringgate.access_log(2);
    assert_eq!(
        (&log[1]["status"], &log[1]["reason"]),
        (&101.into(), &"done".into()),
        "{log:?}"
    );
    let head = String::from_utf8(server.connections().last().unwrap().bytes.clone()).unwrap();
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"),
        "{head}"
    );
    assert!(
        head.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n"),
        "{head}"
    );
}

#[test]
fn what_stands_behind_the_head_waits_for_the_101() {
    const EARLY: &str = "early bytes";
    let (came, told) = channel();
    let (go_on, gone) = channel::<()>();
    let (came, gone) = (Mutex::new(came), Mutex::new(gone));
    let server = Recorder::serving(move |exchange| {
        if exchange.head.field("upgrade").is_none() {
            exchange.request()?;
            exchange.send(ok("fine"))?;
            return Ok(Then::Keep);
        }
        came.lock().unwrap().send(exchange.connection).unwrap();
        gone.lock().unwrap().recv().unwrap();
        exchange.stream().set_nonblocking(true)?;
        let early = exchange.stream().peek(&mut [0]).is_ok();
        exchange.stream().set_nonblocking(false)?;
        exchange.send(SWITCHES)?;
        let bytes = exchange.bytes(EARLY.len() as u64)?;
        exchange.send(if early { b"too early" } else { &bytes[..] })?;
        Ok(Then::Close)
    });
    let ringgate = gateway(&server);
    let mut upgrading = wire(&ringgate);
    upgrading.send(format!("{UPGRADE}{EARLY}"));
    told.recv_timeout(PATIENCE).unwrap();
    // The one worker has had its turns: others were served meanwhile.
    for _ in 0..5 {
        assert_eq!(
            wire(&ringgate)
                .ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                .text(),
            "fine"
        );
    }
    go_on.send(()).unwrap();
    assert_eq!(upgrading.answer().status, 101);
    assert_eq!(
        upgrading.bytes(EARLY.len() as u64).unwrap(),
        EARLY.as_bytes()
    );
}

#[test]
fn a_refused_upgrade_leaves_the_connection_as_it_was() {
    let server = Recorder::answering(|request| match request.field("upgrade") {
        Some(_) => b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno".to_vec(),
        None => ok(request.target()),
    });
    let ringgate = gateway(&server);
    let mut wire = wire(&ringgate);
    assert_eq!(wire.ask(UPGRADE).text(), "no");
    assert_eq!(wire.ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").text(), "/x");
    // What stands behind a refused one is the next request, and was not passed on as anything else.
    wire.send(format!("{UPGRADE}GET /next HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(
        (wire.answer().text(), wire.answer().text()),
        ("no".to_owned(), "/next".to_owned())
    );
    assert!(server.faults().is_empty(), "{:?}", server.faults());
    assert_eq!(server.received().len(), 4);
}

#[test]
fn a_server_switches_only_to_what_was_asked_for() {
    for said in [
        SWITCHES.replace("Upgrade: websocket", "Upgrade: x"),
        SWITCHES.replace("Upgrade: websocket\r\n", ""),
    ] {
        let server = Recorder::serving(move |exchange| {
            exchange.send(&said)?;
            exchange.wait_for_end()?;
            Ok(Then::Close)
        });
        let ringgate = gateway(&server);
        let answer = wire(&ringgate).ask(UPGRADE);
        assert_eq!(
            (answer.status, answer.reason()),
            (502, Some("bad_response".to_owned()))
        );
        server.wait_ended(0);
    }
}

#[test]
fn an_upgrade_is_asked_for_in_full_or_not_at_all() {
    let server = Recorder::start();
    let ringgate = gateway(&server);
    let half = [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade:\r\n",
    ];
    for fields in half {
        let answer = wire(&ringgate).ask(format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(answer.status, 200, "{fields:?}");
        let request = server.last();
        assert_eq!(
            (request.field("upgrade"), request.field("connection")),
            (None, None),
            "{fields:?}"
        );
    }
    let old = wire(&ringgate).ask(UPGRADE.replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!((old.status, server.last().field("upgrade")), (200, None));
}

#[test]
fn an_upgraded_connection_is_not_bound_by_the_clocks_of_requests_and_ends_with_either_side() {
    let server = Recorder::serving(|exchange| {
        exchange.send(SWITCHES)?;
        exchange.bytes(1)?;
        // Longer than a head or an answer may take.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        exchange.send("late")?;
        Ok(Then::Close)
    });
    let ringgate = gateway(&server);
    let mut wire = wire(&ringgate);
    assert_eq!(wire.ask(UPGRADE).status, 101);
    wire.send("x");
    assert_eq!(wire.bytes(4).unwrap(), b"late");
    assert_eq!(wire.end(), End::Fin(vec![]));
    drop(wire);
    ringgate.wait_until_quiet();
    assert_eq!(server.connections().len(), 1);
}

#[test]
fn any_number_of_upgraded_connections_is_relayed_beside_each_other() {
    let server = echoing();
    let ringgate = gateway(&server);
    let mut wires: Vec<Wire> = (0..50).map(|_| wire(&ringgate)).collect();
    for wire in &mut wires {
        assert_eq!(wire.ask(UPGRADE).status, 101);
    }
    for round in 0..3 {
        for (number, wire) in wires.iter_mut().enumerate() {
            wire.send(format!("{round} {number:05}"));
        }
        for (number, wire) in wires.iter_mut().enumerate() {
            assert_eq!(
                wire.bytes(7).unwrap(),
                format!("{round} {number:05}").as_bytes()
            );
        }
    }
    let first = wires.swap_remove(0);
    first.stream().shutdown(Shutdown::Both).unwrap();
    drop(first);
    ringgate.wait_for_metric("ringgate_listener_connections_active", &[], 49.0);
}
