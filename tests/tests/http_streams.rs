//! Promise: bodies of any size stream both ways at the pace of the slower side and whole to the last byte, in memory
//! that does not grow with them; whoever gives up is noticed by the other side.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringgate_tests::{
    Ended, PATIENCE, Pattern, Recorder, Ringgate, Then, Wire, ok, reset, wait_until,
    wait_until_still,
};

/// The bodies of these tests.
const LARGE: u64 = 64 << 20;

/// Beyond what a process has at rest: buffers, and pages that an allocator keeps.
const GROWTH_MAX_KIB: u64 = 16 << 10;

/// What may be under way between a writer and a reader that has stopped: the buffers of four sockets, and ours.
const UNDER_WAY_MAX: u64 = 48 << 20;

fn gateway(server: &Recorder, rest: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{ limits: {{ body: off }} }} }}
pools:
  app: {{ servers: [{server}], health: off }}
{rest}
"
    ))
}

fn wire(ringgate: &Ringgate) -> Wire {
    Wire::over(ringgate.connect("web"))
}

/// Writes as chunks of HTTP.
struct Chunks<W>(W);

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = format!("{:x}\r\n", bytes.len());
        self.0.write_all(length.as_bytes())?;
        self.0.write_all(bytes)?;
        self.0.write_all(b"\r\n")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Sends LARGE bytes: with a length, or in chunks.
fn send_large(mut to: impl Write, is_chunked: bool, progress: impl FnMut(u64)) -> io::Result<()> {
    let pattern = Pattern::new();
    if !is_chunked {
        return pattern.write(to, LARGE, progress);
    }
    pattern.write(Chunks(&mut to), LARGE, progress)?;
    to.write_all(b"0\r\n\r\n")
}

/// Reads LARGE bytes that are as they were sent, and the end behind them.
fn verify_large(body: &mut impl Read) -> io::Result<()> {
    Pattern::new().verify(&mut *body, LARGE, |_| {})?;
    match body.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("there is more")),
    }
}

/// The field that says so.
fn framing(is_chunked: bool) -> String {
    match is_chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {LARGE}"),
    }
}

#[test]
fn a_large_answer_arrives_whole_in_little_memory() {
    let server = Recorder::serving(|exchange| {
        exchange.request()?;
        let is_chunked = exchange.target() == "/chunked";
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\n{}\r\n\r\n",
            framing(is_chunked)
        ))?;
        send_large(exchange.stream(), is_chunked, |_| {})?;
        Ok(Then::Keep)
    });
    let ringgate = gateway(&server, "");
    let mut wire = wire(&ringgate);
    let at_rest = ringgate.proc().resident_kib();
    for target in ["/length", "/chunked", "/length"] {
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = wire.answer_with("GET", |body| verify_large(body));
        assert_eq!(answer.unwrap().cut, None, "{target}");
    }
    assert_eq!(server.connections().len(), 1);
    let grown = ringgate.proc().resident_peak_kib().saturating_sub(at_rest);
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB");
    let line = &ringgate.access_log(3)[0];
    assert!(line["bytes_out"].as_u64().unwrap() >= LARGE, "{line}");
}

/// Verifies the body and says how it went.
fn verifying() -> Recorder {
    Recorder::serving(|exchange| {
        exchange.body(|body| verify_large(body))?;
        exchange.send(ok("verified"))?;
        Ok(Then::Keep)
    })
}

#[test]
fn a_large_request_arrives_whole_in_little_memory() {
    let server = verifying();
    let ringgate = gateway(&server, "");
    let mut wire = wire(&ringgate);
    let at_rest = ringgate.proc().resident_kib();
    for is_chunked in [false, true, false] {
        wire.send(format!(
            "POST /x HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n",
            framing(is_chunked)
        ));
        send_large(wire.stream(), is_chunked, |_| {}).unwrap();
        assert_eq!(wire.answer().text(), "verified", "chunked: {is_chunked}");
    }
    let grown = ringgate.proc().resident_peak_kib().saturating_sub(at_rest);
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB");
    assert!(server.faults().is_empty(), "{:?}", server.faults());
    let line = &ringgate.access_log(3)[0];
    assert!(line["bytes_in"].as_u64().unwrap() >= LARGE, "{line}");
}

#[test]
fn both_ways_stream_at_once() {
    let server = Recorder::serving(|exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", framing(true)))?;
        let mut back = exchange.stream().try_clone()?;
        exchange.body(|body| io::copy(body, &mut Chunks(&mut back)).map(drop))?;
        back.write_all(b"0\r\n\r\n")?;
        Ok(Then::Keep)
    });
    let ringgate = gateway(&server, "");
    let mut wire = wire(&ringgate);
    let at_rest = ringgate.proc().resident_kib();
    wire.send(format!(
        "POST /x HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n",
        framing(true)
    ));
    let to = wire.stream().try_clone().unwrap();
    let sender = std::thread::spawn(move || send_large(to, true, |_| {}));
    let answer = wire.answer_with("POST", |body| verify_large(body));
    assert_eq!(answer.unwrap().cut, None);
    sender.join().unwrap().unwrap();
    let grown = ringgate.proc().resident_peak_kib().saturating_sub(at_rest);
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB");
}

#[test]
fn a_client_that_pauses_holds_the_server_back_and_gets_the_whole_answer() {
    const PAUSE: Duration = Duration::from_secs(3);
    let sent = Arc::new(AtomicU64::new(0));
    let progress = sent.clone();
    let server = Recorder::serving(move |exchange| {
        exchange.request()?;
        if exchange.target() == "/small" {
            exchange.send(ok("small"))?;
            return Ok(Then::Keep);
        }
        exchange.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", framing(false)))?;
        send_large(exchange.stream(), false, |now| progress.store(now, SeqCst))?;
        Ok(Then::Keep)
    });
    // None of these clocks runs while an answer is on its way.
    let ringgate = gateway(&server, "timeouts: { header: 1s, response: 1s }");
    let mut slow = wire(&ringgate);
    let at_rest = ringgate.proc().resident_kib();
    slow.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = slow.answer_with("GET", |body| {
        let paused = Instant::now();
        let held_at = wait_until_still("the server", || sent.load(SeqCst));
        assert!(held_at > 0 && held_at < UNDER_WAY_MAX, "held at {held_at}");
        // Others are served meanwhile.
        while paused.elapsed() < PAUSE {
            assert_eq!(
                wire(&ringgate)
                    .ask("GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
                    .text(),
                "small"
            );
        }
        assert_eq!(sent.load(SeqCst), held_at);
        verify_large(body)
    });
    assert_eq!(answer.unwrap().cut, None);
    let grown = ringgate.proc().resident_peak_kib().saturating_sub(at_rest);
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB");
}

#[test]
fn a_server_that_pauses_holds_the_client_back_and_gets_the_whole_request() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let server = Recorder::serving(move |exchange| {
        told.lock().unwrap().recv().unwrap();
        exchange.body(|body| verify_large(body))?;
        exchange.send(ok("verified"))?;
        Ok(Then::Keep)
    });
    let ringgate = gateway(&server, "timeouts: { header: 1s }");
    let mut wire = wire(&ringgate);
    let at_rest = ringgate.proc().resident_kib();
    wire.send(format!(
        "POST /x HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n",
        framing(false)
    ));
    let sent = Arc::new(AtomicU64::new(0));
    let (to, progress) = (wire.stream().try_clone().unwrap(), sent.clone());
    let sender =
        std::thread::spawn(move || send_large(to, false, |now| progress.store(now, SeqCst)));
    let held_at = wait_until_still("the client", || sent.load(SeqCst));
    assert!(held_at > 0 && held_at < UNDER_WAY_MAX, "held at {held_at}");
    go_on.send(()).unwrap();
    assert_eq!(wire.answer().text(), "verified");
    sender.join().unwrap().unwrap();
    let grown = ringgate.proc().resident_peak_kib().saturating_sub(at_rest);
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB");
}

#[test]
fn every_piece_arrives_before_the_next_is_sent() {
    let (next, told) = channel::<()>();
    let told = Mutex::new(told);
    let server = Recorder::serving(move |exchange| {
        let told = told.lock().unwrap();
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for number in 0..10 {
            told.recv().unwrap();
            exchange.send(format!("1\r\n{number}\r\n"))?;
        }
        exchange.request()?;
        exchange.send("0\r\n\r\n")?;
        Ok(Then::Keep)
    });
    let ringgate = gateway(&server, "");
    let mut wire = wire(&ringgate);
    wire.send("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut to = wire.stream().try_clone().unwrap();
    let answer = wire.answer_with("POST", |body| {
        for number in 0..10 {
            to.write_all(b"1\r\nx\r\n")?;
            next.send(()).unwrap();
            let mut piece = [0];
            body.read_exact(&mut piece)?;
            assert_eq!(piece, [b'0' + number]);
        }
        to.write_all(b"0\r\n\r\n")?;
        body.read_to_end(&mut Vec::new()).map(drop)
    });
    assert_eq!(answer.unwrap().cut, None);
    assert_eq!(server.last().text(), "x".repeat(10));
}

#[test]
fn a_server_may_answer_before_it_has_heard_all() {
    for then in [Then::Keep, Then::Close] {
        // To a body that comes in part, it says all that it has to say.
        let server = Recorder::serving(move |exchange| {
            if exchange.target() != "/early" {
                exchange.request()?;
            }
            exchange.send(ok(exchange.target()))?;
            Ok(then)
        });
        let ringgate = gateway(&server, "");
        let mut wire = wire(&ringgate);
        wire.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhello");
        assert_eq!(wire.answer().text(), "/early", "{then:?}");
        // The rest is taken as the body that it is, or not at all.
        wire.send("GET /inner HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10));
        let mut fresh = Wire::over(ringgate.connect("web"));
        assert_eq!(
            fresh.ask("GET /good HTTP/1.1\r\nHost: a\r\n\r\n").text(),
            "/good",
            "{then:?}"
        );
        let received = server.received();
        assert!(
            !received.iter().any(|each| each.target() == "/inner"),
            "{then:?}"
        );
        let line = &ringgate.access_log(1)[0];
        assert_eq!(line["status"], 200, "{line}");
    }
}

/// Tells when a request has come, then waits until its connection ends.
fn working() -> (Recorder, std::sync::mpsc::Receiver<()>) {
    let (tell, came) = channel();
    let tell = Mutex::new(tell);
    let server = Recorder::serving(move |exchange| {
        exchange.request()?;
        tell.lock().unwrap().send(()).unwrap();
        exchange.wait_for_end()?;
        Ok(Then::Close)
    });
    (server, came)
}

#[test]
fn a_client_that_leaves_frees_the_server_that_works_for_it() {
    let (server, came) = working();
    let ringgate = gateway(&server, "");
    let mut wire = wire(&ringgate);
    wire.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    came.recv_timeout(PATIENCE).unwrap();
    reset(wire.stream().try_clone().unwrap());
    drop(wire);
    server.wait_ended(0);
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["closed_by"], &line["reason"]),
        (&"client".into(), &"client_reset".into()),
        "{line}"
    );
    ringgate.wait_until_quiet();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_frees_the_server() {
    let server = Recorder::serving(|exchange| {
        exchange.request()?;
        exchange.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", framing(false)))?;
        send_large(exchange.stream(), false, |_| {})?;
        Ok(Then::Keep)
    });
    let ringgate = gateway(&server, "");
    let mut wire = wire(&ringgate);
    wire.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = wire.answer_with("GET", |body| body.read_exact(&mut [0; 100_000]));
    assert_eq!(answer.unwrap().status, 200);
    reset(wire.stream().try_clone().unwrap());
    drop(wire);
    assert_ne!(server.wait_ended(0), Ended::Fin);
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["closed_by"], &line["reason"]),
        (&"client".into(), &"client_reset".into()),
        "{line}"
    );
}

#[test]
fn a_client_that_has_ended_its_side_still_gets_its_answer() {
    let server = Recorder::start();
    let ringgate = gateway(&server, "");
    let mut wire = wire(&ringgate);
    wire.send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    wire.finish();
    match wire.try_answer("GET") {
        Ok(answer) => assert_eq!(answer.text(), "/x"),
        // RFC 9112 §9.6 lets a server take it for a client that has left, as long as it is logged as that.
        Err(_) => assert_eq!(ringgate.access_log(1)[0]["closed_by"], "client"),
    }
}

#[test]
fn a_second_head_may_come_slowly_after_a_slow_answer() {
    let server = Recorder::serving(|exchange| {
        exchange.request()?;
        // Longer than a head may take.
        std::thread::sleep(Duration::from_millis(1500));
        exchange.send(ok(exchange.target()))?;
        Ok(Then::Keep)
    });
    let ringgate = gateway(&server, "timeouts: { header: 1s }");
    let mut wire = wire(&ringgate);
    for target in ["/a", "/b"] {
        wire.send(format!("GET {target} HT"));
        let begun = Instant::now();
        wait_until("some time has passed", PATIENCE, || {
            begun.elapsed() > Duration::from_millis(300)
        });
        wire.send("TP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(wire.answer().text(), target);
    }
}

#[test]
fn a_head_that_does_not_end_is_a_408_however_it_drips() {
    let server = Recorder::start();
    let ringgate = gateway(&server, "timeouts: { header: 1s }");
    let mut wire = wire(&ringgate);
    let begun = Instant::now();
    wire.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    let mut to = wire.stream().try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        while to.write_all(b"G").is_ok() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let answer = wire.answer();
    assert_eq!(
        (answer.status, answer.reason()),
        (408, Some("header_timeout".to_owned()))
    );
    assert!(answer.says_close() && begun.elapsed() >= Duration::from_millis(900));
    drop(wire);
    dripping.join().unwrap();
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(ringgate.access_log(1)[0]["reason"], "header_timeout");
    assert_eq!(server.bytes(), 0);
}
