//! Promise: what a connection took is given back when it ends.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Write;
use std::net::Shutdown;

use ringgate_tests::{
    PATIENCE, Ringgate, Server, connect, in_parallel, read_to_end, reset, wait_until,
};

/// Pages that an allocator may keep without anything leaking: a leak of 420 bytes a connection passes it.
const MARGIN_KIB: u64 = 4 * 1024;

const WARM_UP: usize = 3_000;
const CONNECTIONS: usize = 10_000;

#[test]
fn ten_thousand_short_connections_leave_descriptors_and_memory_where_they_were() {
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
    let exchange = |number: usize| {
        let mut stream = connect(ringgate.addr("echo"));
        let message = format!("hello {number}");
        stream.write_all(message.as_bytes()).unwrap();
        if number.is_multiple_of(10) {
            return reset(stream);
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&stream).unwrap(), message);
    };
    in_parallel(4, WARM_UP, exchange);
    ringgate.wait_until_quiet();
    let (descriptors, resident) = (
        ringgate.proc().descriptors().len(),
        ringgate.proc().resident_kib(),
    );

    in_parallel(4, CONNECTIONS, exchange);
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
    // A buffer for each of them would be 16 KiB or more a connection.
    assert!(
        grown <= 8 * HELD as u64,
        "{grown} KiB for {HELD} idle connections"
    );
    drop(held);
    ringgate.wait_until_quiet();
}
