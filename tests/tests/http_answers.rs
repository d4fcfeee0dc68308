//! Promise: a server is believed no more than a client. An answer that could be read in two ways is a 502, one that is
//! cut is seen to be cut, and nothing of it ever reaches the client of another request.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use ringgate_tests::{Answer, End, PATIENCE, Recorder, Ringgate, Then, Wire, ok, wait_until};

/// What a server does after what it says.
const KEEP: Then = Then::Keep;
const CLOSE: Then = Then::Close;
const RESET: Then = Then::Reset;

/// Heads that are none, and what stands behind them.
const BAD: &[(&str, &str)] = &[
    (
        "two status lines",
        "HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "length, coding",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding, length",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    ),
    (
        "list of lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
    ),
    (
        "positive length",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    ),
    (
        "negative length",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    ),
    (
        "hex length",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
    ),
    ("empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n"),
    (
        "length over 64 bits",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
    ),
    (
        "unknown coding",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    ),
    (
        "identity",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    ),
    (
        "chunked is not last",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "coding of HTTP/1.0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "four digits",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    ("two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    ("letters", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"),
    ("099", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    ("600", "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n"),
    ("999", "HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n"),
    ("000", "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n"),
    (
        "signed status",
        "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
    ),
    ("no status", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
    (
        "no space behind the status",
        "HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n",
    ),
    ("HTTP/2", "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("ICY", "ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("garbage", "\x01\x02\x03\x04 what is this\r\n\r\n"),
    (
        "no head at all",
        "hello, world, this is no HTTP\n\n\r\n\r\n",
    ),
    ("a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "101 that nobody asked for",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    ),
    (
        "fold",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "folded length",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello",
    ),
    (
        "space before the colon",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
    ),
    (
        "space before a name",
        "HTTP/1.1 200 OK\r\n Content-Length: 5\r\n\r\nhello",
    ),
    (
        "line without a colon",
        "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "empty name",
        "HTTP/1.1 200 OK\r\n: y\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "NUL in a value",
        "HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "CR in a value",
        "HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "LF in a value",
        "HTTP/1.1 200 OK\r\nX: y\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "LF at the end",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n",
    ),
    (
        "NUL in the reason",
        "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "CR in the reason",
        "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    ),
];

/// A gateway before a server that answers `/bad` by these bytes and everything else well.
struct Gateway {
    ringgate: Ringgate,
    server: Recorder,
}

impl Gateway {
    fn start(said: impl AsRef<[u8]>, then: Then) -> Self {
        let said = said.as_ref().to_vec();
        let server = Recorder::serving(move |exchange| {
            exchange.request()?;
            if exchange.target() != "/bad" {
                exchange.send(ok(exchange.target()))?;
                return Ok(Then::Keep);
            }
            // The gateway may hang up before it has heard all.
            match exchange.send(&said) {
                Ok(()) => Ok(then),
                Err(_) => Ok(Then::Close),
            }
        });
        let ringgate = Ringgate::start(&format!(
            "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{server}], health: off, retry: {{ attempts: 0 }} }}
"
        ));
        Self { ringgate, server }
    }

    fn wire(&self) -> Wire {
        Wire::over(self.ringgate.connect("web"))
    }

    /// A good request on that connection, or on a fresh one, gets its own answer and never what was left of another.
    fn good(&self, wire: &mut Wire, may_go_on: bool) -> Result<(), String> {
        let mut fresh = self.wire();
        let wire = if may_go_on { wire } else { &mut fresh };
        let answer = wire.ask("GET /good HTTP/1.1\r\nHost: a\r\n\r\n");
        match (answer.status, &answer.text()[..]) {
            (200, "/good") => Ok(()),
            _ => Err(format!("the next one got {answer:?}")),
        }
    }

    /// Whether the request to `/good` came by another connection than the one to `/bad`.
    fn is_not_reused(&self) -> bool {
        let received = self.server.received();
        let by = |target: &str| {
            let found = received.iter().find(|each| each.target() == target);
            found.map(|each| each.connection)
        };
        by("/bad") != by("/good")
    }
}

#[test]
fn a_head_that_is_none_is_a_502_and_the_end_of_that_connection() {
    let mut wrong = Vec::new();
    for (what, said) in BAD {
        if let Err(fault) = is_a_502(said.as_bytes(), KEEP, &["bad_response"]) {
            wrong.push(format!("{what}: {fault}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
}

#[test]
fn heads_without_end_are_a_502() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(5_000);
    let bombs = [
        ("1xx", hints.clone()),
        (
            "1xx and an answer",
            hints + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a field of 2 MiB",
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(2 << 20)),
        ),
        (
            "100,000 fields",
            format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(100_000)),
        ),
        (
            "a reason of 2 MiB",
            format!("HTTP/1.1 200 {}\r\n\r\n", "y".repeat(2 << 20)),
        ),
    ];
    for (what, said) in bombs {
        is_a_502(said.as_bytes(), KEEP, &["bad_response"])
            .unwrap_or_else(|fault| panic!("{what}: {fault}"));
    }
}

#[test]
fn an_end_before_the_end_of_the_head_is_a_502() {
    let reasons = ["server_reset", "bad_response"];
    for said in [
        "",
        "HTTP",
        "HTTP/1.1 200 OK\r\nContent-",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        for then in [CLOSE, RESET] {
            is_a_502(said.as_bytes(), then, &reasons)
                .unwrap_or_else(|fault| panic!("{said:?} {then:?}: {fault}"));
        }
    }
}

fn is_a_502(said: &[u8], then: Then, reasons: &[&str]) -> Result<(), String> {
    let gateway = Gateway::start(said, then);
    let mut wire = gateway.wire();
    let answer = wire.ask("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n");
    let told = answer.reason().unwrap_or_default();
    if answer.status != 502 || !reasons.contains(&&told[..]) {
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    let line = &gateway.ringgate.access_log(1)[0];
    if line["status"] != 502 || line["reason"] != told[..] || line["closed_by"] == "client" {
        return Err(format!("the log says {line}"));
    }
    gateway.good(&mut wire, !answer.says_close())?;
    match gateway.is_not_reused() {
        true => Ok(()),
        false => Err("the connection was used again".to_owned()),
    }
}

/// A second answer that nobody asked for.
const SPARE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nspare";

#[test]
fn bytes_behind_an_answer_reach_nobody() {
    let with = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\n\r\n{body}{SPARE}");
    // The method, what is said to it, and the answer that the client gets.
    let cases = [
        (
            "GET",
            with("200 OK\r\nContent-Length: 2", "hi"),
            (200, "hi"),
        ),
        (
            "GET",
            with("200 OK\r\nContent-Length: 2", "hi and more"),
            (200, "hi"),
        ),
        ("GET", with("200 OK\r\nContent-Length: 0", ""), (200, "")),
        (
            "GET",
            with(
                "200 OK\r\nTransfer-Encoding: chunked",
                "2\r\nhi\r\n0\r\n\r\n",
            ),
            (200, "hi"),
        ),
        (
            "GET",
            with(
                "200 OK\r\nTransfer-Encoding: chunked",
                "2\r\nhi\r\n0\r\n\r\nX",
            ),
            (200, "hi"),
        ),
        ("GET", with("204 No Content", ""), (204, "")),
        (
            "GET",
            with("204 No Content\r\nContent-Length: 5", "hello"),
            (204, ""),
        ),
        (
            "GET",
            with(
                "204 No Content\r\nTransfer-Encoding: chunked",
                "2\r\nhi\r\n0\r\n\r\n",
            ),
            (204, ""),
        ),
        (
            "GET",
            with("304 Not Modified\r\nContent-Length: 5", "hello"),
            (304, ""),
        ),
        (
            "GET",
            with(
                "304 Not Modified\r\nTransfer-Encoding: chunked",
                "2\r\nhi\r\n0\r\n\r\n",
            ),
            (304, ""),
        ),
        (
            "HEAD",
            with("200 OK\r\nContent-Length: 5", "hello"),
            (200, ""),
        ),
        (
            "HEAD",
            with(
                "200 OK\r\nTransfer-Encoding: chunked",
                "2\r\nhi\r\n0\r\n\r\n",
            ),
            (200, ""),
        ),
        (
            "HEAD",
            with("404 Not Found\r\nContent-Length: 5", "hello"),
            (404, ""),
        ),
    ];
    let mut wrong = Vec::new();
    for (method, said, expected) in cases {
        let gateway = Gateway::start(&said, KEEP);
        let mut wire = gateway.wire();
        wire.send(format!("{method} /bad HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = wire.try_answer(method).unwrap();
        let good = gateway.good(&mut wire, !answer.says_close());
        let is_right =
            (answer.status, &answer.text()[..], answer.cut) == (expected.0, expected.1, None);
        if !is_right || good.is_err() || !gateway.is_not_reused() {
            wrong.push(format!("{method} {said:?}: {answer:?}, {good:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn bytes_that_come_while_a_connection_is_idle_reach_nobody() {
    let (told, spare) = channel::<()>();
    let (tell, said) = channel();
    let (spare, tell) = (Mutex::new(spare), Mutex::new(tell));
    let server = Recorder::serving(move |exchange| {
        exchange.request()?;
        exchange.send(ok(exchange.target()))?;
        if exchange.target() == "/bad" {
            // Once the client has its answer.
            spare.lock().unwrap().recv().unwrap();
            exchange.send(SPARE)?;
            tell.lock().unwrap().send(()).unwrap();
        }
        Ok(Then::Keep)
    });
    let ringgate = gateway_to(&server);
    let mut wire = Wire::over(ringgate.connect("web"));
    assert_eq!(
        wire.ask("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n").text(),
        "/bad"
    );
    told.send(()).unwrap();
    said.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        wire.ask("GET /good HTTP/1.1\r\nHost: a\r\n\r\n").text(),
        "/good"
    );
    assert_eq!(server.last().connection, 1);
}

fn gateway_to(server: &Recorder) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    ))
}

#[test]
fn a_body_that_is_cut_is_seen_to_be_cut() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let open = "HTTP/1.1 200 OK\r\n\r\n";
    let cases = [
        ("5 of 10", format!("{length}hello"), CLOSE),
        ("5 of 10, reset", format!("{length}hello"), RESET),
        ("0 of 10", length.to_owned(), CLOSE),
        ("in a chunk", format!("{chunked}a\r\nhello"), CLOSE),
        ("in a chunk, reset", format!("{chunked}a\r\nhello"), RESET),
        ("behind a chunk", format!("{chunked}5\r\nhello\r\n"), CLOSE),
        ("in a size", format!("{chunked}5\r\nhello\r\n5"), CLOSE),
        (
            "before the last line",
            format!("{chunked}5\r\nhello\r\n0\r\n"),
            CLOSE,
        ),
        (
            "in a trailer",
            format!("{chunked}5\r\nhello\r\n0\r\nX: y\r\n"),
            CLOSE,
        ),
        ("bad size", format!("{chunked}5\r\nhello\r\nx\r\n"), KEEP),
        (
            "signed size",
            format!("{chunked}5\r\nhello\r\n+5\r\nhello\r\n0\r\n\r\n"),
            KEEP,
        ),
        (
            "overflow",
            format!("{chunked}5\r\nhello\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"),
            KEEP,
        ),
        ("spill", format!("{chunked}5\r\nhelloX\r\n0\r\n\r\n"), KEEP),
        (
            "LF behind the chunk",
            format!("{chunked}5\r\nhello\n0\r\n\r\n"),
            KEEP,
        ),
        (
            "length in the trailers",
            format!("{chunked}5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"),
            KEEP,
        ),
        (
            "reset of a body without a length",
            format!("{open}hello"),
            RESET,
        ),
    ];
    let mut wrong = Vec::new();
    for (what, said, then) in cases {
        let gateway = Gateway::start(&said, then);
        let mut wire = gateway.wire();
        wire.send("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n");
        // The gateway may know of the cut before it has sent the head on.
        let seen = match wire.try_answer("GET") {
            Ok(answer) => answer.cut.is_some() || answer.status == 502,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        };
        let line = &gateway.ringgate.access_log(1)[0];
        let is_logged = line["closed_by"] == "server" && line["reason"] != "done";
        let good = gateway.good(&mut wire, false);
        if !seen || !is_logged || good.is_err() {
            wrong.push(format!("{what}: seen {seen}, {good:?}, {line}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn answers_of_every_framing_arrive_whole() {
    let cases: [(&str, &str, Then); 8] = [
        (
            "length",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            KEEP,
        ),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            KEEP,
        ),
        ("until the end", "HTTP/1.1 200 OK\r\n\r\nhello", CLOSE),
        (
            "says close",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
            CLOSE,
        ),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhello", CLOSE),
        (
            "HTTP/1.0 with a length",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            CLOSE,
        ),
        (
            "no reason",
            "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello",
            KEEP,
        ),
        (
            "after 1xx",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            KEEP,
        ),
    ];
    for (what, said, then) in cases {
        let gateway = Gateway::start(said, then);
        let mut wire = gateway.wire();
        let answer = wire.ask("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n");
        let whole = (answer.status, answer.text(), answer.cut);
        assert_eq!(whole, (200, "hello".to_owned(), None), "{what}");
        gateway.good(&mut wire, !answer.says_close()).unwrap();
        if then == CLOSE {
            gateway.server.wait_ended(0);
        } else {
            assert!(
                !gateway.is_not_reused(),
                "{what}: a whole answer leaves its connection fit for the next"
            );
        }
    }
}

#[test]
fn trailers_of_an_answer_arrive() {
    let said = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                5\r\nhello\r\n0\r\nX-Sum: 1\r\ngrpc-status: 0\r\n\r\n";
    let gateway = Gateway::start(said, KEEP);
    let mut wire = gateway.wire();
    let answer = wire.ask("GET /bad HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    let trailers = [("x-sum", "1"), ("grpc-status", "0")];
    let trailers = trailers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        (answer.text(), answer.trailers),
        ("hello".to_owned(), trailers.to_vec())
    );
    gateway.good(&mut wire, true).unwrap();
}

#[test]
fn a_server_that_says_nothing_is_a_504_and_one_that_begins_late_is_not() {
    const LATE: Duration = Duration::from_millis(600);
    let server = Recorder::serving(|exchange| {
        exchange.request()?;
        if exchange.target() == "/silent" {
            exchange.wait_for_end()?;
            return Ok(Then::Close);
        }
        // Within the time, each time: it is counted for each answer alone.
        std::thread::sleep(LATE);
        exchange.send(ok("late"))?;
        Ok(Then::Keep)
    });
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ response: 1500ms }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    ));
    let mut wire = Wire::over(ringgate.connect("web"));
    for _ in 0..4 {
        assert_eq!(
            wire.ask("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").text(),
            "late"
        );
    }
    for (method, body) in [("GET", "\r\n"), ("POST", "Content-Length: 5\r\n\r\nhello")] {
        let mut wire = Wire::over(ringgate.connect("web"));
        let answer: Answer = wire.ask(format!("{method} /silent HTTP/1.1\r\nHost: a\r\n{body}"));
        assert_eq!(
            (answer.status, answer.reason()),
            (504, Some("response_timeout".to_owned()))
        );
        let asked = server
            .received()
            .iter()
            .filter(|each| each.target() == "/silent")
            .count();
        assert_eq!(
            asked,
            if method == "GET" { 1 } else { 2 },
            "what may still be worked on is not asked again"
        );
    }
    wait_until("its connections are given up", PATIENCE, || {
        let connections = server.connections();
        connections.iter().skip(1).all(|each| each.ended.is_some())
    });
    drop(wire);
    let log = ringgate.access_log(6);
    assert!(
        log[4..]
            .iter()
            .all(|line| line["reason"] == "response_timeout"),
        "{log:?}"
    );
}

#[test]
fn a_client_of_an_answer_without_a_length_sees_a_clean_end_only_when_it_was_one() {
    // To HTTP/1.0 there are no chunks: the end of the connection is the end of the body.
    let gateway = Gateway::start("HTTP/1.1 200 OK\r\n\r\nhello", RESET);
    let mut wire = gateway.wire();
    wire.send("GET /bad HTTP/1.0\r\nHost: a\r\n\r\n");
    match wire.try_answer("GET") {
        Ok(answer) => assert!(
            answer.status == 502 || answer.cut == Some(ErrorKind::ConnectionReset),
            "{answer:?}"
        ),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let gateway = Gateway::start("HTTP/1.1 200 OK\r\n\r\nhello", CLOSE);
    let mut wire = gateway.wire();
    wire.send("GET /bad HTTP/1.0\r\nHost: a\r\n\r\n");
    let answer = wire.try_answer("GET").unwrap();
    assert_eq!((answer.text(), answer.cut), ("hello".to_owned(), None));
    assert_eq!(wire.end(), End::Fin(vec![]));
}
