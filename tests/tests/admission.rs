//! Promise: a listener lets in whom its access lists and limits let in, exactly, however many workers there are; it
//! relays as fast as it may, and gives up on a server that does not answer.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ringgate_tests::{
    PATIENCE, Ringgate, Server, ended, in_parallel, read_to_end, reset, send_all, wait_until,
};
use socket2::{Domain, Socket, Type};

/// Starts with a listener `tcp` that has these keys, before a server that greets with `x` and then says nothing.
fn start(server: &Server, workers: usize, keys: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: {workers}
listeners:
  tcp:
    bind: ['127.0.0.1:$tcp', 'unix:$dir/tcp.sock']
    pool: tcp
{keys}
pools:
  tcp: {{ servers: [{server}], health: off }}
"
    ))
}

/// A connection from that address to `addr` that got the server's greeting; `None` when it was reset. Reads and writes
/// fail after [`PATIENCE`].
fn served_from(source: IpAddr, addr: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    let connected = socket.connect(&addr.into());
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match connected.and_then(|()| stream.read(&mut [0])) {
        Ok(greeting) => (greeting == 1).then_some(stream),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("neither served nor reset: {error}"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn rejected(ringgate: &Ringgate, reason: &str) -> f64 {
    ringgate.metric(
        "ringgate_listener_rejected_total",
        &[("listener", "tcp"), ("reason", reason)],
    )
}

/// Waits until so many were refused for that reason, and for no other.
fn wait_until_rejected(ringgate: &Ringgate, reason: &str, count: usize) {
    let all = || ringgate.metric("ringgate_listener_rejected_total", &[("listener", "tcp")]);
    wait_until("the refusals are counted", PATIENCE, || {
        all() >= count as f64
    });
    assert_eq!(
        (rejected(ringgate, reason), all()),
        (count as f64, count as f64)
    );
}

#[test]
fn the_longest_network_of_both_lists_decides_who_may_connect() {
    let server = Server::greeting("x");
    let ringgate = start(
        &server,
        1,
        "    access: { allow: [127.1.0.0/16, 127.2.3.4, 10.0.0.0/8], deny: [127.1.1.0/24, 127.0.0.0/8] }",
    );
    assert_eq!(rejected(&ringgate, "denied_address"), 0.0);
    let mut refused = 0;
    for (source, served) in [
        ("127.0.0.1", false),
        ("127.1.0.1", true),
        ("127.1.1.1", false),
        ("127.1.2.255", true),
        ("127.2.3.4", true),
        ("127.2.3.5", false),
    ] {
        let client = served_from(ip(source), ringgate.addr("tcp"));
        assert_eq!(client.is_some(), served, "{source}");
        refused += usize::from(!served);
    }
    wait_until_rejected(&ringgate, "denied_address", refused);
    let denied = ringgate
        .access_log(6)
        .into_iter()
        .filter(|line| line["reason"] == "denied_address");
    let clients: Vec<String> = denied
        .inspect(|line| assert_eq!(line["closed_by"], "ringgate", "{line}"))
        .map(|line| line["client"].to_string())
        .collect();
    assert!(
        clients.len() == refused && clients.iter().any(|client| client.contains("127.1.1.1:")),
        "{clients:?}"
    );
    let mut unix = UnixStream::connect(ringgate.path("tcp.sock")).unwrap();
    unix.read_exact(&mut [0]).unwrap();
}

#[test]
fn an_ipv4_client_of_a_dual_stack_listener_is_judged_as_one() {
    let server = Server::greeting("x");
    let ringgate = Ringgate::start(&format!(
        "
listeners:
  tcp: {{ bind: ':$tcp', pool: tcp, access: {{ deny: ['::/0', 127.9.0.0/16] }} }}
pools:
  tcp: {{ servers: [{server}], health: off }}
"
    ));
    let addr = ringgate.addr("tcp");
    assert!(served_from(ip("127.0.0.1"), addr).is_some());
    assert!(served_from(ip("127.9.0.1"), addr).is_none());
    let v6 = SocketAddr::new(ip("::1"), addr.port());
    assert!(served_from(ip("::1"), v6).is_none());
}

#[test]
fn tens_of_thousands_of_networks_are_loaded_and_obeyed() {
    let server = Server::greeting("x");
    let mut networks = String::new();
    for number in 0..50_000_u32 {
        let [_, a, b, c] = (number * 5).to_be_bytes();
        write!(networks, "127.{}.{b}.{c}/32,", 100 + a).unwrap();
    }
    let began = Instant::now();
    let ringgate = start(&server, 2, &format!("    access: {{ deny: [{networks}] }}"));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    for number in [1, 4, 5, 249_995, 249_996] {
        let [_, a, b, c] = u32::to_be_bytes(number);
        let source = IpAddr::from([127, 100 + a, b, c]);
        let client = served_from(source, ringgate.addr("tcp"));
        assert_eq!(client.is_some(), !number.is_multiple_of(5), "{source}");
    }
}

#[test]
fn a_listener_and_its_clients_have_exactly_as_many_connections_as_they_may() {
    for workers in [1, 8] {
        let server = Server::greeting("x");
        let ringgate = start(
            &server,
            workers,
            "    limits: { connections: 40, per_client: { connections: 15 } }",
        );
        let addr = ringgate.addr("tcp");
        let from = |source: &'static str, count| {
            let mut clients = in_parallel(4, count, |_| served_from(ip(source), addr));
            clients.retain(Option::is_some);
            clients
        };
        let mut first = from("127.3.0.1", 30);
        assert_eq!(first.len(), 15, "{workers} workers");
        wait_until_rejected(&ringgate, "limit_client_connections", 15);
        let second = from("127.3.0.2", 15);
        let third = from("127.3.0.3", 15);
        assert_eq!((second.len(), third.len()), (15, 10), "{workers} workers");
        let limit = [("reason", "limit_connections")];
        ringgate.wait_for_metric("ringgate_listener_rejected_total", &limit, 5.0);

        first.truncate(5);
        ringgate.wait_for_metric("ringgate_listener_connections_active", &[], 30.0);
        let third_again = from("127.3.0.3", 15);
        assert_eq!(third_again.len(), 5, "{workers} workers");
        let first_again = from("127.3.0.1", 15);
        assert_eq!(first_again.len(), 5, "{workers} workers");
        drop((first, first_again, second, third, third_again));
        ringgate.wait_until_quiet();
        assert_eq!(from("127.3.0.1", 15).len(), 15, "every end is counted once");
    }
}

#[test]
fn a_client_opens_connections_as_fast_as_it_may() {
    for workers in [1, 8] {
        let server = Server::greeting("x");
        let ringgate = start(
            &server,
            workers,
            "    limits: { per_client: { rate: 20/h } }",
        );
        let addr = ringgate.addr("tcp");
        for source in ["127.4.0.1", "127.4.0.2"] {
            let served = in_parallel(4, 50, |_| served_from(ip(source), addr));
            let served = served.iter().flatten().count();
            assert_eq!(served, 20, "{source}, {workers} workers");
        }
        wait_until_rejected(&ringgate, "limit_client_rate", 60);
        let mut unix = UnixStream::connect(ringgate.path("tcp.sock")).unwrap();
        unix.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_rate_lets_the_next_one_in_when_its_time_has_come() {
    let server = Server::greeting("x");
    let ringgate = start(&server, 2, "    limits: { per_client: { rate: 10/s } }");
    let (addr, began) = (ringgate.addr("tcp"), Instant::now());
    let mut served = 0;
    while began.elapsed() < Duration::from_secs(3) {
        served += u32::from(served_from(ip("127.5.0.1"), addr).is_some());
        // Many times as fast as it may, and no load for the machine.
        std::thread::sleep(Duration::from_millis(3));
    }
    let seconds = began.elapsed().as_secs_f64();
    let most = 10.0 + 10.0 * seconds;
    assert!(
        f64::from(served) <= most + 1.0 && f64::from(served) >= most - 2.0,
        "{served} in {seconds} s"
    );
}

#[test]
fn many_clients_take_no_more_memory_than_few() {
    let server = Server::greeting("x");
    let ringgate = start(
        &server,
        1,
        "    limits: { connections: 100, per_client: { connections: 1, rate: 10/h } }",
    );
    let addr = ringgate.addr("tcp");
    let come_and_go = |number: usize| {
        let [_, a, b, c] = (number as u32).to_be_bytes();
        reset(served_from([127, 50 + a, b, c].into(), addr).unwrap());
    };
    // Over its rate before the flood, and still so after it.
    let over = ip("127.6.0.1");
    for _ in 0..10 {
        reset(served_from(over, addr).unwrap());
        ringgate.wait_until_quiet();
    }
    in_parallel(4, 2000, |number| come_and_go(number + 1));
    let before = ringgate.proc().resident_kib();
    in_parallel(4, 10_000, |number| come_and_go(number + 10_000));
    let after = ringgate.proc().resident_kib();
    assert!(
        after < before + 1024,
        "{before} KiB before, {after} KiB after"
    );
    assert!(served_from(over, addr).is_none());
    wait_until_rejected(&ringgate, "limit_client_rate", 1);
}

#[test]
fn a_listener_relays_as_fast_as_it_may() {
    const MIB: usize = 1024 * 1024;
    for (workers, clients, mib_per_second) in [(2, 6, 8), (1, 1, 40)] {
        let bytes = 2 * mib_per_second * MIB / clients;
        let server = Server::start(move |mut stream| {
            let _question = stream.read(&mut [0]);
            let _client_may_be_gone = stream.write_all(&vec![7; bytes]);
        });
        let ringgate = start(
            &server,
            workers,
            &format!("    limits: {{ bandwidth: {mib_per_second}MiB/s }}"),
        );
        let began = Instant::now();
        in_parallel(clients, clients, |_| {
            let client = ringgate.connect("tcp");
            send_all(&client, "x");
            assert_eq!(read_to_end(&client).unwrap().len(), bytes);
        });
        let share = 2.0 / began.elapsed().as_secs_f64();
        assert!(
            (0.9..1.1).contains(&share),
            "{share} of {mib_per_second} MiB/s"
        );
        if clients == 1 {
            let spliced = [("path", "splice")];
            let moved = ringgate.metric("ringgate_relay_bytes_total", &spliced);
            assert!(moved > 0.5 * bytes as f64, "{moved} bytes were spliced");
        }
    }
}

#[test]
fn a_server_that_does_not_answer_is_given_up_after_a_while() {
    let server = Server::start(|mut stream| while matches!(stream.read(&mut [0; 64]), Ok(1..)) {});
    let ringgate = start(&server, 1, "    timeouts: { first_byte: 300ms, idle: 1h }");
    let silent = ringgate.connect("tcp");
    let speaking = ringgate.connect("tcp");
    let asking = ringgate.connect("tcp");
    let began = Instant::now();
    send_all(&asking, "x");
    wait_until("the asking client is given up", PATIENCE, || {
        send_all(&speaking, "x");
        ended(&asking)
    });
    assert!(began.elapsed() >= Duration::from_millis(300));
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["reason"], &line["closed_by"], &line["bytes_in"]),
        (&"first_byte_timeout".into(), &"ringgate".into(), &1.into()),
        "{line}"
    );
    ringgate.wait_for_metric(
        "ringgate_closed_total",
        &[("reason", "first_byte_timeout")],
        1.0,
    );
    assert!(!ended(&silent), "nobody owes a silent client an answer");
    assert!(!ended(&speaking), "who still speaks is not answered yet");
    drop(speaking);
    drop(silent);
    ringgate.wait_until_quiet();
}

#[test]
fn a_server_that_has_spoken_may_be_silent_afterwards() {
    let (greeting, mute) = (
        Server::greeting("x"),
        Server::start(|mut stream| while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}),
    );
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
listeners:
  greeting: {{ bind: '127.0.0.1:$greeting', pool: greeting }}
  mute: {{ bind: '127.0.0.1:$mute', pool: mute }}
timeouts: {{ first_byte: 1h }}
pools:
  greeting: {{ servers: [{greeting}], health: off, timeouts: {{ first_byte: 100ms }} }}
  mute: {{ servers: [{mute}], health: off, timeouts: {{ first_byte: 400ms }} }}
"
    ));
    let greeted = ringgate.connect("greeting");
    assert_eq!((&greeted).read(&mut [0]).unwrap(), 1);
    send_all(&greeted, "x");
    let mute = ringgate.connect("mute");
    send_all(&mute, "x");
    assert!(read_to_end(&mute).is_err() || ended(&mute));
    assert!(!ended(&greeted));
}
