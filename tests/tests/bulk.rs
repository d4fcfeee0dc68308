//! Promise: a large transfer arrives byte for byte, whoever is slow, and Ringgate keeps none of it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

use socket2::SockRef;

use ringgate_tests::{
    PATIENCE, Pattern, Refusing, Ringgate, Server, finish, refuses, wait_until, wait_until_still,
};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// What a process with one bulk connection may hold at most: buffers and pipes, whatever the length of the transfer.
const RESIDENT_MAX_KIB: u64 = 96 * 1024;

#[test]
fn one_gib_arrives_identical_from_the_server() {
    let server = source(GIB);
    let ringgate = start(&server);
    Pattern::new()
        .verify(ringgate.connect("bulk"), GIB, |_| {})
        .unwrap();
    check_memory_and_bytes(&ringgate, GIB, 0);
}

#[test]
fn one_gib_arrives_identical_from_the_client() {
    let (server, verdict) = sink(GIB, |_| {});
    let ringgate = start(&server);
    let client = ringgate.connect("bulk");
    Pattern::new().write(&client, GIB, |_| {}).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    verdict.recv_timeout(PATIENCE).unwrap().unwrap();
    check_memory_and_bytes(&ringgate, 0, GIB);
}

#[test]
fn one_gib_arrives_identical_each_way_at_once() {
    let server = Server::start(|stream| {
        let sender = stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || Pattern::new().write(sender, GIB, |_| {}));
        Pattern::new().verify(&stream, GIB, |_| {}).unwrap();
        sending.join().unwrap().unwrap();
        // The client ends when it has everything: only a whole upload lets this connection end well.
        (&stream).write_all(b"!").unwrap();
    });
    let ringgate = start(&server);
    let client = ringgate.connect("bulk");
    let sender = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || Pattern::new().write(sender, GIB, |_| {}));
    Pattern::new().verify(&client, GIB, |_| {}).unwrap();
    sending.join().unwrap().unwrap();
    (&client).read_exact(&mut [0]).unwrap();
    drop(client);
    check_memory_and_bytes(&ringgate, GIB + 1, GIB);
}

#[test]
fn one_gib_arrives_identical_at_a_slow_reader() {
    let server = source(GIB);
    let ringgate = start(&server);
    let client = ringgate.connect("bulk");
    Pattern::new()
        .verify(&client, GIB, slow_for(256 * MIB))
        .unwrap();
    drop(client);
    check_memory_and_bytes(&ringgate, GIB, 0);
}

#[test]
fn one_gib_arrives_identical_at_a_slow_server() {
    let (server, verdict) = sink(GIB, slow_for(256 * MIB));
    let ringgate = start(&server);
    let client = ringgate.connect("bulk");
    Pattern::new().write(&client, GIB, |_| {}).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    verdict.recv_timeout(PATIENCE).unwrap().unwrap();
    check_memory_and_bytes(&ringgate, 0, GIB);
}

#[test]
fn a_reader_that_stops_stops_the_sender() {
    let sent = Arc::new(AtomicU64::new(0));
    let progress = sent.clone();
    let server = Server::start(move |stream| {
        Pattern::new()
            .write(stream, GIB, |bytes| progress.store(bytes, Relaxed))
            .ok();
    });
    let ringgate = start(&server);
    let client = ringgate.connect("bulk");
    wait_until("it begins", PATIENCE, || sent.load(Relaxed) > 0);
    let stuck_at = wait_until_still("the sender", || sent.load(Relaxed));
    assert!(
        stuck_at < 64 * MIB,
        "{stuck_at} bytes are on the way to a client that reads none"
    );

    Pattern::new().verify(&client, GIB, |_| {}).unwrap();
    drop(client);
    check_memory_and_bytes(&ringgate, GIB, 0);
}

#[test]
fn urgent_data_does_not_stop_a_bulk_transfer() {
    /// More than makes a direction a bulk one.
    const EACH: u64 = 4 * MIB;
    let (server, verdict) = sink(2 * EACH, |_| {});
    let ringgate = start(&server);
    let client = ringgate.connect("bulk");
    let mut urgent = Some(b"!");
    let progress = |sent| {
        // It is no part of the stream, and RFC 6093 §3 tells why nobody should use it.
        if sent >= EACH
            && let Some(byte) = urgent.take()
        {
            SockRef::from(&client).send_out_of_band(byte).unwrap();
        }
    };
    Pattern::new().write(&client, 2 * EACH, progress).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    verdict.recv_timeout(PATIENCE).unwrap().unwrap();
    check_memory_and_bytes(&ringgate, 0, 2 * EACH);
}

#[test]
fn an_end_that_waits_behind_urgent_data_does_not_hide_what_is_before_it() {
    /// It fits into the sockets on the way, so that all of it is sent before the server reads on.
    const BULK: u64 = MIB;
    const TAIL: u64 = 1024;
    let all_sent = Arc::new(AtomicBool::new(false));
    let gate = all_sent.clone();
    let (server, verdict) = sink(BULK + TAIL, move |_| {
        wait_until("the client has sent all", PATIENCE, || gate.load(Relaxed));
    });
    let ringgate = start(&server);
    let client = ringgate.connect("bulk");
    let mut urgent = Some(b"!");
    let progress = |sent| {
        if sent >= BULK
            && let Some(byte) = urgent.take()
        {
            SockRef::from(&client).send_out_of_band(byte).unwrap();
        }
    };
    Pattern::new()
        .write(&client, BULK + TAIL, progress)
        .unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    all_sent.store(true, Relaxed);
    verdict.recv_timeout(PATIENCE).unwrap().unwrap();
    check_memory_and_bytes(&ringgate, 0, BULK + TAIL);
}

#[test]
fn iperf3_runs_through_both_ways_at_once() {
    let iperf = Iperf::start();
    let ringgate = start(&iperf.addr);
    let port = ringgate.addr("bulk").port().to_string();
    let client = finish(Command::new("iperf3").args([
        "-c",
        "127.0.0.1",
        "-p",
        &port,
        "-t",
        "2",
        "--bidir",
        "--json",
    ]));
    assert_eq!(client.code, Some(0), "{client:?}");
    ringgate.wait_until_quiet();
    for direction in ["sent", "received"] {
        let bytes = ringgate.metric(&format!("ringgate_pool_{direction}_bytes_total"), &[]);
        assert!(
            bytes > 100.0 * MIB as f64,
            "{direction} {bytes} bytes in 2 s"
        );
    }
}

/// An iperf3 server, killed when dropped.
struct Iperf {
    addr: SocketAddr,
    child: Child,
}

impl Iperf {
    fn start() -> Self {
        let addr = Refusing::start().addr();
        let child = Command::new("iperf3")
            .args([
                "-s",
                "-B",
                &addr.ip().to_string(),
                "-p",
                &addr.port().to_string(),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/test installs iperf3");
        wait_until("iperf3 listens", PATIENCE, || !refuses(addr));
        Self { addr, child }
    }
}

impl Drop for Iperf {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn start(server: &impl Display) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
listeners:
  bulk: {{ bind: '127.0.0.1:$bulk', pool: bulk }}
pools:
  bulk:
    health: off
    servers: [{server}]
"
    ))
}

/// Sends that many bytes and ends.
fn source(length: u64) -> Server {
    Server::start(move |stream| {
        Pattern::new().write(&stream, length, |_| {}).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        (&stream).read_to_end(&mut Vec::new()).ok();
    })
}

/// Reads that many bytes, and says whether they were right and the last ones.
fn sink(
    length: u64,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> (Server, mpsc::Receiver<std::io::Result<()>>) {
    let (sender, verdict) = mpsc::channel();
    let server = Server::start(move |stream: TcpStream| {
        let verified = Pattern::new()
            .verify(&stream, length, &progress)
            .and_then(|()| {
                let more = (&stream).read(&mut [0])?;
                if more == 0 {
                    Ok(())
                } else {
                    Err(std::io::ErrorKind::InvalidData.into())
                }
            });
        sender.send(verified).ok();
    });
    (server, verdict)
}

/// Makes a reader of the first `bytes` slow: bursts, and pauses in which every buffer on the way fills.
fn slow_for(bytes: u64) -> impl Fn(u64) + Send + Sync {
    const BURST: u64 = 4 * MIB;
    let last = AtomicU64::new(0);
    move |read| {
        if read < bytes && read / BURST != last.swap(read, Relaxed) / BURST {
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

fn check_memory_and_bytes(ringgate: &Ringgate, received: u64, sent: u64) {
    let peak = ringgate.proc().resident_peak_kib();
    assert!(peak < RESIDENT_MAX_KIB, "Ringgate held {peak} KiB");
    ringgate.wait_until_quiet();
    assert_eq!(
        ringgate.metric("ringgate_pool_received_bytes_total", &[]),
        received as f64
    );
    assert_eq!(
        ringgate.metric("ringgate_pool_sent_bytes_total", &[]),
        sent as f64
    );
}
