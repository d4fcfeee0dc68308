//! Promise: what a connection took is given back when it ends.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use ringgate_tests::{
    PATIENCE, Ringgate, Server, connect, in_parallel, read_to_end, reset, wait_until,
};

/// Pages that an allocator may keep without anything leaking: a leak of 420 bytes a connection passes it.
const MARGIN_KIB: u64 = 4 * 1024;

const WARM_UP: usize = 3_000;
const CONNECTIONS: usize = 10_000;

#[test]
fn ten_thousand_short_connections_leave_descriptors_and_memory_where_they_were() {
    check_that_all_is_given_back(|address, number| {
        let mut stream = connect(address);
        let message = format!("hello {number}");
        stream.write_all(message.as_bytes()).unwrap();
        if number.is_multiple_of(10) {
            return reset(stream);
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&stream).unwrap(), message);
    });
}

#[test]
fn ten_thousand_dialogues_cut_by_a_reset_leave_descriptors_and_memory_where_they_were() {
    /// Enough for both sockets to count as kept.
    const EXCHANGES: usize = 6;
    check_that_all_is_given_back(|address, _| {
        let mut stream = connect(address);
        for _ in 0..EXCHANGES {
            let mut answer = [0; 5];
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"hello");
        }
        // Half of it is on the way to the server when the reset comes.
        stream.write_all(b"hello").unwrap();
        reset(stream);
    });
}

fn check_that_all_is_given_back(connection: impl Fn(SocketAddr, usize) + Sync) {
    let server = Server::echo();
    let ringgate = Ringgate::start(&format!(
        "
workers: 2
listeners:
  echo: {{ bind: '127.0.0.1:$echo', pool: echo }}
pools:
  echo: {{ servers: [{server}], health: off }}
"
    ));
    let connection = |number| connection(ringgate.addr("echo"), number);
    in_parallel(4, WARM_UP, connection);
    ringgate.wait_until_quiet();
    let (descriptors, resident) = (
        ringgate.proc().descriptors().len(),
        ringgate.proc().resident_kib(),
    );

    in_parallel(4, CONNECTIONS, connection);
    ringgate.wait_until_quiet();
    wait_until("every descriptor is closed", PATIENCE, || {
        ringgate.proc().descriptors().len() <= descriptors
    });
    let grown = ringgate.proc().resident_kib().saturating_sub(resident);
    assert!(
        grown <= MARGIN_KIB,
        "{grown} KiB more than after {WARM_UP} connections"
    );
    assert_eq!(
        ringgate.metric("ringgate_listener_connections_total", &[]),
        (WARM_UP + CONNECTIONS) as f64
    );
}

#[test]
fn idle_connections_hold_no_more_memory_than_their_bookkeeping() {
    let server = Server::greeting("x");
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
listeners:
  idle: {{ bind: '127.0.0.1:$idle', pool: idle }}
pools:
  idle: {{ servers: [{server}], health: off }}
"
    ));
    let before = ringgate.proc().resident_kib();
    const HELD: usize = 400;
    let held = in_parallel(4, HELD, |_| {
        let stream = connect(ringgate.addr("idle"));
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        stream
    });
    let grown = ringgate.proc().resident_kib().saturating_sub(before);
    // A buffer for each of them would be a page or more a connection.
    assert!(
        grown <= 4 * HELD as u64,
        "{grown} KiB for {HELD} idle connections"
    );
    drop(held);
    ringgate.wait_until_quiet();
}
