//! Promise: heads, bodies, connections and slowness have bounds that hold whatever clients do; what is beyond them is
//! answered and closed, and idle or slow clients cost little memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ringgate_tests::{
    Answer, End, PATIENCE, Recorder, Ringgate, Wire, ended, wait_until, wait_until_still,
};

fn start(server: &Recorder, timeouts: &str, http: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ {timeouts} }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{ {http} }} }}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
    ))
}

fn ask(ringgate: &Ringgate, request: impl AsRef<[u8]>) -> Answer {
    Wire::connect(ringgate.addr("web")).ask(request)
}

/// A GET of this path whose head has so many fields besides Host, the last of which fills it up to so many bytes.
fn get(path: &str, fields: usize, bytes: usize) -> String {
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n");
    for _ in 1..fields {
        head += "X-A: b\r\n";
    }
    let rest = bytes.saturating_sub(head.len() + "X-Last: \r\n\r\n".len());
    format!("{head}X-Last: {}\r\n\r\n", "x".repeat(rest))
}

#[test]
fn heads_and_bodies_end_at_their_bounds() {
    let server = Recorder::start();
    let http = "limits: { header: 16KiB, fields: 50, body: 100KiB }";
    let ringgate = start(&server, "", http);
    let post = |length: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        )
    };
    let chunked = |chunks: usize| {
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{}0\r\n\r\n", chunk.repeat(chunks))
    };
    let crumbs = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "Cookie: a=b\r\n".repeat(count)
        )
    };
    for (what, request, status) in [
        ("a head as large as it may be", get("/", 3, 16 * 1024), 200),
        (
            "a head of a few bytes more",
            get("/", 3, 16 * 1024 + 200),
            431,
        ),
        ("a head of 1 MiB", get("/", 3, 1024 * 1024), 431),
        ("as many fields as there may be", get("/", 49, 0), 200),
        ("more fields", get("/", 51, 0), 431),
        ("5000 fields", get("/", 2_000, 0), 431),
        ("more crumbs of a cookie", crumbs(60), 431),
        (
            "a target as long as it may be",
            get(&format!("/{}", "x".repeat(8_000)), 1, 0),
            200,
        ),
        (
            "a longer target",
            get(&format!("/{}", "x".repeat(8_300)), 1, 0),
            414,
        ),
        ("a body as large as it may be", post(100 * 1024), 200),
        ("a body of one byte more", post(100 * 1024 + 1), 413),
        (
            "a body that is only said to be large",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n".to_owned(),
            413,
        ),
        ("chunks as large as they may be", chunked(100), 200),
        ("more chunks", chunked(101), 413),
        ("many more chunks", chunked(5_000), 413),
    ] {
        let before = server.received().len();
        let answer = ask(&ringgate, request);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if status != 200 {
            assert_eq!(answer.reason().as_deref(), Some("too_large"), "{what}");
            assert!(answer.says_close(), "{what}");
            assert_eq!(
                server.received().len(),
                before,
                "{what} reached the server whole"
            );
        }
    }
}

#[test]
fn who_waits_for_leave_is_told_before_the_body() {
    let server = Recorder::start();
    let ringgate = start(&server, "", "limits: { body: 1KiB }");
    let mut wire = Wire::connect(ringgate.addr("web"));
    let head = |length| {
        format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    wire.send(head(4));
    let interim = wire.head().unwrap();
    assert_eq!(interim.word(1), "100");
    assert_eq!(wire.ask("body").status, 200);
    assert_eq!(server.last().text(), "body");
    let answer = wire.ask(head(4_096));
    assert_eq!((answer.status, answer.interim.len()), (413, 0));
}

#[test]
fn a_head_has_its_time_however_it_drips() {
    let server = Recorder::start();
    let ringgate = start(&server, "header: 1s, first_byte: 1s, idle: 1s", "");
    // Nothing at all: closed without a word, or with 408.
    let mut silent = Wire::connect(ringgate.addr("web"));
    match silent.end() {
        End::Fin(rest) => assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 ")),
        End::Reset => {}
    }
    for dripping in ["GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", "GET /"] {
        let begun = Instant::now();
        let mut wire = Wire::connect(ringgate.addr("web"));
        wire.send(dripping);
        // A byte at a time does not make it longer.
        wait_until("it is let go", PATIENCE, || {
            wire.send("x");
            has_come(&wire)
        });
        let answer = wire.answer();
        assert_eq!(answer.status, 408, "{dripping:?}: {answer:?}");
        assert_eq!(answer.reason().as_deref(), Some("header_timeout"));
        assert!(
            begun.elapsed() >= Duration::from_millis(900),
            "not before its time"
        );
        wire.end();
    }
    // The second head of a connection has it too.
    let mut wire = Wire::connect(ringgate.addr("web"));
    wire.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wire.send("GET / HT");
    assert_eq!(wire.answer().status, 408);
    assert_eq!(server.received().len(), 1);
}

/// Whether something was said or the connection has ended.
fn has_come(wire: &Wire) -> bool {
    let stream = wire.stream();
    stream.set_nonblocking(true).unwrap();
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !matches!(seen, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_body_that_stands_still_is_let_go_and_so_is_its_server() {
    let server = Recorder::start();
    let ringgate = start(&server, "idle: 1s, header: 1s", "");
    for begun in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
    ] {
        let mut wire = Wire::connect(ringgate.addr("web"));
        wire.send(begun);
        if let Ok(answer) = wire.try_answer("POST") {
            assert_eq!(answer.status, 408, "{answer:?}");
        }
        wire.end();
    }
    server.wait_all_ended();
    assert!(server.received().is_empty());
    ringgate.wait_until_quiet();
}

/// No shorter than the ten seconds that every body gets whatever its rate.
#[test]
fn a_body_that_trickles_is_let_go() {
    let server = Recorder::start();
    let ringgate = start(&server, "", "");
    let mut trickling: Vec<Wire> = (0..20)
        .map(|_| {
            let mut wire = Wire::connect(ringgate.addr("web"));
            wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
            wire
        })
        .collect();
    wait_until("they are let go", PATIENCE, || {
        trickling.iter_mut().for_each(|wire| wire.send("x"));
        trickling.iter().all(has_come)
    });
    for mut wire in trickling {
        if let Ok(answer) = wire.try_answer("POST") {
            assert_eq!(answer.status, 408, "{answer:?}");
        }
    }
    server.wait_all_ended();
    assert!(server.received().is_empty());
    // One that is fast enough goes on for as long as it takes.
    let mut wire = Wire::connect(ringgate.addr("web"));
    let body = "x".repeat(100_000);
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    assert_eq!(wire.ask(body).status, 200);
}

#[test]
fn a_connection_brings_so_many_requests_and_no_more() {
    let server = Recorder::start();
    let ringgate = start(&server, "", "limits: { requests_per_connection: 5 }");
    let mut wire = Wire::connect(ringgate.addr("web"));
    for number in 1..=5 {
        let answer = wire.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            (answer.status, answer.says_close()),
            (200, number == 5),
            "the {number}th"
        );
    }
    assert_eq!(wire.end(), End::Fin(Vec::new()));
    // All at once: the sixth is never looked at.
    let mut wire = Wire::connect(ringgate.addr("web"));
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8));
    for _ in 0..5 {
        assert_eq!(wire.answer().status, 200);
    }
    assert!(!matches!(wire.end(), End::Fin(rest) if !rest.is_empty()));
    assert_eq!(server.received().len(), 10);
}

/// What clients do, and how much resident memory each of them may cost in KiB.
struct Waiting {
    what: &'static str,
    does: fn(&mut Wire),
    kib_max: u64,
}

#[test]
fn clients_that_wait_cost_little_memory() {
    const CLIENTS: usize = 1_000;
    let server = Recorder::start();
    for Waiting {
        what,
        does,
        kib_max,
    } in [
        Waiting {
            what: "between two requests",
            does: |wire| {
                assert_eq!(wire.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
            },
            kib_max: 8,
        },
        Waiting {
            what: "in the middle of a head",
            does: |wire| wire.send(&get("/", 3, 4_000)[..3_900]),
            kib_max: 16,
        },
        Waiting {
            what: "in the middle of a body",
            does: |wire| {
                wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n");
                wire.send([b'x'; 4_000]);
            },
            kib_max: 24,
        },
    ] {
        let ringgate = start(&server, "idle: 5m, header: 5m", "");
        // The first ones bring what is kept for good.
        let client = |_| {
            let mut wire = Wire::connect(ringgate.addr("web"));
            does(&mut wire);
            wire
        };
        let resident = || ringgate.proc().resident_kib();
        let first: Vec<Wire> = (0..50).map(client).collect();
        let before = wait_until_still("the memory", resident);
        let clients: Vec<Wire> = (0..CLIENTS).map(client).collect();
        let after = wait_until_still("the memory", resident);
        let each = after.saturating_sub(before) as f64 / CLIENTS as f64;
        println!("{what}: {each:.2} KiB each");
        assert!(
            each <= kib_max as f64,
            "{what}: {each:.2} KiB each, not {kib_max}"
        );
        assert!(
            clients
                .iter()
                .chain(&first)
                .all(|wire| !ended(wire.stream())),
            "{what}"
        );
    }
}

#[test]
fn who_does_not_read_holds_no_more_than_a_few_buffers() {
    const BODY: usize = 8 * 1024 * 1024;
    const CLIENTS: usize = 50;
    let body = "x".repeat(BODY);
    let server = Recorder::answering(move |_| ringgate_tests::ok(&body));
    let ringgate = start(&server, "idle: 2s", "");
    let before = ringgate.proc().resident_kib();
    let mut clients: Vec<Wire> = (0..CLIENTS)
        .map(|_| {
            let mut wire = Wire::connect(ringgate.addr("web"));
            wire.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
            wire
        })
        .collect();
    server.wait_received(CLIENTS);
    let after = wait_until_still("the memory", || ringgate.proc().resident_kib());
    let each = after.saturating_sub(before) / CLIENTS as u64;
    assert!(each <= 160, "{each} KiB each");
    // They are let go after the idle time, and their servers with them.
    ringgate.wait_until_quiet();
    server.wait_all_ended();
    let cut = clients.iter_mut().map(|wire| wire.try_answer("GET"));
    let whole = cut.filter(|answer| answer.as_ref().is_ok_and(|answer| answer.cut.is_none()));
    assert_eq!(whole.count(), 0, "none of them looks whole");
}

/// The worker finds them all there at once, and none of them makes it wait.
#[test]
fn a_client_with_many_requests_at_once_lets_others_in() {
    const REQUESTS: usize = 2_000;
    // A turn of one connection, and what else the machine lets pass.
    const BEFORE_MAX: usize = 300;
    let server = Recorder::start();
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
log: {{ access: $dir/access.log }}
listeners:
  web: {{ bind: '127.0.0.1:$web', http: {{}}, routes: [{{ path: /app, pool: app }}] }}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
    ));
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let [mut many, mut other] = [(); 2].map(|()| {
        let mut wire = Wire::connect(ringgate.addr("web"));
        assert_eq!(wire.ask(request("/first")).status, 404);
        wire
    });
    ringgate.pause();
    many.send(request("/many").repeat(REQUESTS));
    other.send(request("/other"));
    ringgate.signal(Signal::SIGCONT);
    for _ in 0..REQUESTS {
        assert_eq!(many.answer().status, 404);
    }
    assert_eq!(other.answer().status, 404);
    let log = ringgate.access_log(REQUESTS + 3);
    let before = log.iter().position(|line| line["path"] == "/other");
    assert!(before.unwrap() < BEFORE_MAX, "{before:?}");
}
