//! Promise: a listener accepts at every address it names, of every family, on every worker.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use ringgate_tests::{PATIENCE, Ringgate, Server, TempDir, connect, loopback, refuses};

#[test]
fn one_listener_accepts_at_all_its_addresses() {
    let server = Server::echo();
    let ringgate = start(
        "['127.0.0.1:$four', '[::1]:$six', ':$both', 'unix:$dir/web.sock']",
        &server.to_string(),
    );
    let port = |name: &str| ringgate.addr(name).port();
    let six = |name: &str| SocketAddr::from((Ipv6Addr::LOCALHOST, port(name)));

    check_echo(connect(loopback(port("four"))));
    check_echo(connect(six("six")));
    check_echo(connect(loopback(port("both"))));
    check_echo(connect(six("both")));
    check_echo(unix(&ringgate, "web.sock"));
    assert!(refuses(six("four")), "an IPv4 address is for IPv4 alone");
    assert!(
        refuses(loopback(port("six"))),
        "an IPv6 address is for IPv6 alone"
    );

    let log = ringgate.access_log(5);
    assert!(log.iter().all(|line| line["listener"] == "web"), "{log:?}");
    let clients: Vec<&str> = log
        .iter()
        .filter_map(|line| line["client"].as_str())
        .collect();
    assert_eq!(
        clients
            .iter()
            .filter(|client| client.starts_with("[::1]:"))
            .count(),
        2,
        "{clients:?}"
    );
    let from_four = clients
        .iter()
        .filter(|client| client.starts_with("127.0.0.1:"))
        .count();
    assert_eq!(
        from_four, 2,
        "an IPv4 client of a dual-stack address is shown as one: {clients:?}"
    );
    assert_eq!(
        ringgate.metric(
            "ringgate_listener_connections_total",
            &[("listener", "web")]
        ),
        5.0
    );
}

#[test]
fn an_address_may_stand_beside_one_that_includes_it() {
    let server = Server::echo();
    for binds in [
        "[':$port', '127.0.0.1:$port']",
        "['127.0.0.1:$port', ':$port']",
        "['0.0.0.0:$port', '127.0.0.1:$port']",
        "['[::]:$port', '[::1]:$port', '0.0.0.0:$port']",
    ] {
        let ringgate = start(binds, &server.to_string());
        check_echo(ringgate.connect("port"));
    }
}

#[test]
fn every_account_may_connect_to_a_unix_listener() {
    let server = Server::echo();
    let ringgate = start("'unix:$dir/web.sock'", &server.to_string());
    let file = std::fs::metadata(ringgate.path("web.sock")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o666);
}

#[test]
fn every_worker_accepts_at_every_kind_of_address() {
    let server = Server::greeting("x");
    let ringgate = start(
        "['127.0.0.1:$four', 'unix:$dir/web.sock']",
        &server.to_string(),
    );
    let both_serve = || {
        ["0", "1"].iter().all(|worker| {
            ringgate.metric("ringgate_worker_connections_active", &[("worker", worker)]) > 0.0
        })
    };
    // The kernel spreads by a hash of the addresses: a hundred ports never fall on one side.
    let held: Vec<TcpStream> = (0..100)
        .map(|_| greeted(ringgate.connect("four")))
        .collect();
    assert!(both_serve());
    drop(held);
    ringgate.wait_until_quiet();
    let held: Vec<UnixStream> = (0..100)
        .map(|_| greeted(unix(&ringgate, "web.sock")))
        .collect();
    assert_eq!(
        ringgate.metric("ringgate_listener_connections_active", &[]),
        100.0
    );
    assert!(both_serve(), "a socket that workers share is shared");
    drop(held);
}

#[test]
fn a_server_with_a_full_queue_costs_no_kernel_thread() {
    let dir = TempDir::new();
    let path = dir.path().join("full.sock");
    let full = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    full.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    full.listen(0).unwrap();
    let ringgate = start("'127.0.0.1:$four'", &format!("'unix:{}'", path.display()));
    let clients: Vec<TcpStream> = (0..20).map(|_| ringgate.connect("four")).collect();
    ringgate.wait_for_metric("ringgate_pool_connections_active", &[], 20.0);
    let threads = ringgate.proc().threads();
    assert!(
        !threads.iter().any(|name| name.starts_with("iou-wrk")),
        "{threads:?}"
    );
    drop(clients);
}

#[test]
fn a_server_may_be_a_unix_socket() {
    let dir = TempDir::new();
    let path = dir.path().join("server.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() {
                stream.write_all(&byte).unwrap();
            }
        }
    });
    let ringgate = start("'127.0.0.1:$four'", &format!("'unix:{}'", path.display()));
    check_echo(ringgate.connect("four"));
    let line = &ringgate.access_log(1)[0];
    assert_eq!(line["server"], format!("unix:{}", path.display()), "{line}");
}

#[test]
fn a_server_may_be_reached_over_ipv6() {
    let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
    let server = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut message = [0; 5];
        stream.read_exact(&mut message).unwrap();
        stream.write_all(&message).unwrap();
    });
    let ringgate = start("'127.0.0.1:$four'", &format!("'{server}'"));
    check_echo(ringgate.connect("four"));
}

#[test]
fn a_unix_listener_leaves_no_socket_behind() {
    let server = Server::echo();
    let mut ringgate = start("'unix:$dir/web.sock'", &server.to_string());
    check_echo(unix(&ringgate, "web.sock"));
    ringgate.term();
    assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
    assert!(!ringgate.path("web.sock").exists());
}

fn start(bind: &str, server: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 2
listeners:
  web: {{ bind: {bind}, pool: app }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    ))
}

fn unix(ringgate: &Ringgate, name: &str) -> UnixStream {
    let stream = UnixStream::connect(ringgate.path(name)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn check_echo(mut stream: impl Read + Write) {
    stream.write_all(b"hello").unwrap();
    let mut message = [0; 5];
    stream.read_exact(&mut message).unwrap();
    assert_eq!(&message, b"hello");
}

fn greeted<S: Read>(mut stream: S) -> S {
    stream.read_exact(&mut [0]).unwrap();
    stream
}
