//! Promise: a server, a client, a limit or a log that fails costs its own connection at most, and is named.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringgate_tests::{
    Hanging, PATIENCE, Refusing, Ringgate, Server, answers, connect, ended, in_parallel,
    read_to_end, reset, send_all, wait_until, wait_until_still,
};
use serde_json::Value;

#[test]
fn a_server_that_refuses_is_passed_over_for_the_next() {
    let (refusing, server) = (Refusing::start(), Server::saying("good"));
    check_passed_over(refusing.addr(), &server, "connect_refused");
}

#[test]
fn a_server_that_hangs_is_passed_over_after_the_connect_timeout() {
    let (hanging, server) = (Hanging::start(), Server::saying("good"));
    check_passed_over(hanging.addr(), &server, "connect_timeout");
}

/// Four connections over a bad server and a good one: the good one serves all, and every detour is counted.
fn check_passed_over(bad: SocketAddr, good: &Server, reason: &str) {
    let ringgate = start(&format!(
        "[{{ name: bad, address: '{bad}' }}, {{ name: good, address: '{good}' }}]"
    ));
    assert_eq!(answers(ringgate.addr("tcp"), 1, 4)["good"], 4);
    let log = ringgate.access_log(4);
    assert!(
        log.iter()
            .all(|line| line["server"] == "good" && line["reason"] == "done"),
        "{log:?}"
    );
    let retries: f64 = log.iter().filter_map(|line| line["retries"].as_f64()).sum();
    assert!(retries >= 1.0, "the bad server was never first: {log:?}");
    assert_eq!(
        ringgate.metric("ringgate_pool_retries_total", &[("pool", "tcp")]),
        retries
    );
    let errors = [("pool", "tcp"), ("server", "bad"), ("reason", reason)];
    assert_eq!(
        ringgate.metric("ringgate_pool_connect_errors_total", &errors),
        retries
    );
    assert_eq!(
        ringgate.metric("ringgate_pool_connections_total", &[("server", "good")]),
        4.0
    );
    assert_eq!(
        ringgate.metric("ringgate_pool_connections_total", &[("server", "bad")]),
        0.0
    );
}

#[test]
fn when_the_last_server_refuses_the_client_is_closed_with_the_cause() {
    check_unreachable(Refusing::start().addr(), "connect_refused");
}

#[test]
fn when_the_last_server_hangs_the_client_is_closed_with_the_cause() {
    let hanging = Hanging::start();
    check_unreachable(hanging.addr(), "connect_timeout");
}

fn check_unreachable(server: SocketAddr, reason: &str) {
    let ringgate = start(&format!("[{server}]"));
    assert_turned_away(ringgate.addr("tcp"));
    let line = &ringgate.access_log(1)[0];
    assert_eq!(line["reason"], reason, "{line}");
    ringgate.wait_until_quiet();
}

#[test]
fn with_all_servers_down_clients_are_closed_at_once() {
    let refusing = [Refusing::start(), Refusing::start()];
    let [a, b] = refusing.each_ref().map(Refusing::addr);
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: {{ servers: [{a}, {b}], health: {{ interval: 100ms, timeout: 100ms, fall: 1 }} }}
"
    ));
    ringgate.wait_for_metric("ringgate_server_up", &[], 0.0);
    let errors = ringgate.metric("ringgate_pool_connect_errors_total", &[]);
    assert_turned_away(ringgate.addr("tcp"));
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["reason"], &line["closed_by"]),
        (&"no_server".into(), &"ringgate".into()),
        "{line}"
    );
    assert_eq!(line["server"], Value::Null, "{line}");
    assert_eq!(
        ringgate.metric("ringgate_pool_connect_errors_total", &[]),
        errors,
        "no server is tried"
    );
}

#[test]
fn a_servers_reset_reaches_the_client() {
    let server = Server::start(|mut stream| {
        let _question = stream.read(&mut [0; 64]);
        reset(stream);
    });
    let ringgate = start(&format!("[{server}]"));
    let client = ringgate.connect("tcp");
    send_all(&client, "hello");
    assert_eq!(
        read_to_end(&client).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["reason"], &line["closed_by"]),
        (&"server_reset".into(), &"server".into()),
        "{line}"
    );
}

#[test]
fn an_answer_that_comes_before_the_question_has_ended_arrives_whole() {
    // Within the first window: what a server has not sent when it resets is lost at its own end.
    const ANSWER: usize = 30_000;
    let server = Server::start(|mut stream| {
        stream.read_exact(&mut [0; 1000]).unwrap();
        // Answers and leaves with most of the question unread, which makes the close a reset.
        stream.write_all(&vec![b'a'; ANSWER]).unwrap();
    });
    let ringgate = start(&format!("[{server}]"));
    for _ in 0..20 {
        let client = ringgate.connect("tcp");
        let mut asking = client.try_clone().unwrap();
        let question = std::thread::spawn(move || asking.write_all(&vec![b'q'; 50_000]));
        let mut answer = Vec::new();
        // The reset may follow, but not overtake the answer.
        let _end = (&client).read_to_end(&mut answer);
        assert_eq!(answer.len(), ANSWER);
        let _sent = question.join().unwrap();
    }
}

#[test]
fn a_clients_reset_reaches_the_server() {
    let (sender, seen) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        sender.send(None).unwrap();
        sender
            .send(Some(read_to_end(&stream).map_err(|error| error.kind())))
            .unwrap();
    });
    let ringgate = start(&format!("[{server}]"));
    let client = ringgate.connect("tcp");
    send_all(&client, "x");
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), None);
    reset(client);
    assert_eq!(
        seen.recv_timeout(PATIENCE).unwrap(),
        Some(Err(ErrorKind::ConnectionReset))
    );
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["reason"], &line["closed_by"]),
        (&"client_reset".into(), &"client".into()),
        "{line}"
    );
}

#[test]
fn without_descriptors_accepting_rests_and_goes_on_by_itself() {
    let server = Server::greeting("x");
    // A connection takes two: an even number leaves none for the next client, who waits in the kernel's queue.
    let (ringgate, free) = start_with_few_descriptors(&server, Parity::Even);
    let held: Vec<TcpStream> = (0..free / 2).map(|_| served(&ringgate)).collect();
    let waiting: Vec<TcpStream> = (0..8).map(|_| ringgate.connect("tcp")).collect();

    let (cpu, since) = (ringgate.proc().cpu(), Instant::now());
    wait_until("a second passes", PATIENCE, || {
        since.elapsed() >= Duration::from_secs(1)
    });
    let (used, passed) = (ringgate.proc().cpu() - cpu, since.elapsed());
    assert!(
        used < passed / 10,
        "{used:?} of processor time in {passed:?} without descriptors"
    );
    assert!(
        held.iter().chain(&waiting).all(|stream| !ended(stream)),
        "nobody is cut"
    );

    drop(held);
    for stream in &waiting {
        // Closed, if it got the first of the descriptors that came free and another client the second.
        assert!(is_served(stream) || ended(stream), "nobody waits for ever");
    }
    drop(waiting);
    ringgate.wait_until_quiet();
    served(&ringgate);
    assert!(ringgate.metric("ringgate_accept_pauses_total", &[]) >= 1.0);
}

#[test]
fn a_client_without_a_descriptor_for_its_server_is_closed_and_the_admin_socket_answers() {
    let server = Server::greeting("x");
    let (ringgate, free) = start_with_few_descriptors(&server, Parity::Odd);
    let held: Vec<TcpStream> = (0..free / 2).map(|_| served(&ringgate)).collect();
    for _ in 0..3 {
        assert_turned_away(ringgate.addr("tcp"));
    }
    ringgate.wait_for_metric("ringgate_closed_total", &[("reason", "overload")], 3.0);
    assert_eq!(ringgate.ask("/live").unwrap().status, 200);
    assert!(
        held.iter().all(|stream| !ended(stream)),
        "connections that have theirs go on"
    );

    drop(held);
    ringgate.wait_until_quiet();
    served(&ringgate);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Parity {
    Even,
    Odd,
}

/// A process with a number of free descriptors of that parity, told to hold more connections than they allow.
fn start_with_few_descriptors(server: &Server, parity: Parity) -> (Ringgate, usize) {
    let yaml = format!(
        "
workers: 1
limits: {{ connections: 1000 }}
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: {{ servers: [{server}], health: off }}
"
    );
    for limit in [80, 81] {
        let ringgate =
            Ringgate::start_through(&["prlimit", &format!("--nofile={limit}:{limit}")], &yaml);
        // Without that of the question whether it is ready.
        let used = wait_until_still("the set of descriptors", || ringgate.proc().descriptors());
        // Some may have been inherited with numbers above the limit.
        let free = (0..limit).filter(|number| !used.contains(number)).count();
        if free.is_multiple_of(2) == (parity == Parity::Even) {
            return (ringgate, free);
        }
    }
    unreachable!("of two numbers in a row, one is even");
}

#[test]
fn clients_over_the_limit_are_refused_and_counted() {
    let server = Server::greeting("x");
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
limits: {{ connections: 3 }}
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: {{ servers: [{server}], health: off }}
"
    ));
    let mut held: Vec<TcpStream> = (0..3).map(|_| served(&ringgate)).collect();
    for _ in 0..2 {
        assert_turned_away(ringgate.addr("tcp"));
    }
    let refused = ringgate.access_log(2);
    assert!(
        refused
            .iter()
            .all(|line| line["reason"] == "limit_connections" && line["closed_by"] == "ringgate"),
        "{refused:?}"
    );
    let limit = [("listener", "tcp"), ("reason", "limit_connections")];
    assert_eq!(
        ringgate.metric("ringgate_listener_rejected_total", &limit),
        2.0
    );
    assert_eq!(
        ringgate.metric("ringgate_listener_connections_total", &[]),
        3.0,
        "a refused client is not admitted"
    );

    held.pop();
    ringgate.wait_for_metric("ringgate_listener_connections_active", &[], 2.0);
    served(&ringgate);
}

#[test]
fn an_access_log_that_nobody_reads_stops_no_traffic() {
    let server = Server::saying("good");
    let ringgate = start_logging_to(&server, "'$dir/fifo'", |dir| {
        nix::unistd::mkfifo(
            &dir.join("fifo"),
            nix::sys::stat::Mode::from_bits_truncate(0o600),
        )
        .unwrap();
    });
    check_lines_dropped(&ringgate);
}

#[test]
fn an_access_log_on_a_full_disk_stops_no_traffic() {
    let server = Server::saying("good");
    let ringgate = start_logging_to(&server, "/dev/full", |_| {});
    check_lines_dropped(&ringgate);
}

fn start_logging_to(server: &Server, log: &str, prepare: impl Fn(&std::path::Path)) -> Ringgate {
    // The longest names there may be, for long lines.
    let name = "n".repeat(64);
    let yaml = format!(
        "
workers: 1
log: {{ access: {log} }}
listeners:
  {name}: {{ bind: '127.0.0.1:$tcp', pool: {name} }}
pools:
  {name}: {{ servers: [{{ name: {name}, address: '{server}' }}], health: off }}
"
    );
    Ringgate::start_prepared(&yaml, prepare)
}

/// Makes connections until a line is dropped: every one of them is served.
fn check_lines_dropped(ringgate: &Ringgate) {
    const BATCH: usize = 1_000;
    const BATCHES_MAX: usize = 60;
    let dropped = (0..BATCHES_MAX).any(|_| {
        assert_eq!(answers(ringgate.addr("tcp"), 4, BATCH)["good"], BATCH);
        ringgate.metric("ringgate_access_log_dropped_total", &[]) > 0.0
    });
    assert!(
        dropped,
        "no line was dropped in {} connections",
        BATCH * BATCHES_MAX
    );
    ringgate.term();
}

#[test]
fn hundreds_of_clients_at_once_are_all_served() {
    let server = Server::saying("good");
    let ringgate = start(&format!("[{server}]"));
    let waiting = in_parallel(4, 400, |_| ringgate.connect("tcp"));
    assert!(
        waiting
            .iter()
            .all(|stream| read_to_end(stream).unwrap() == "good")
    );
}

fn start(servers: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ connect: 300ms }}
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: {{ servers: {servers}, health: off }}
"
    ))
}

/// A connection on which the server has said its first byte.
fn served(ringgate: &Ringgate) -> TcpStream {
    let stream = connect(ringgate.addr("tcp"));
    (&stream).read_exact(&mut [0]).unwrap();
    stream
}

/// Whether the server says its first byte, rather than the connection ending before.
fn is_served(mut stream: &TcpStream) -> bool {
    stream.read_exact(&mut [0]).is_ok()
}

/// A client gets no byte and is closed at once, by FIN or RST; it may come to that before it knows that it is connected.
fn assert_turned_away(addr: SocketAddr) {
    let got = TcpStream::connect_timeout(&addr, PATIENCE).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        read_to_end(&stream)
    });
    match got {
        Ok(text) => assert_eq!(text, ""),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}
