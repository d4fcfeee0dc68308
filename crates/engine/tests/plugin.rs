//! Promise: a protocol is written beside the gateway, on the seam of the engine alone. The plugin that docs/plugins.md
//! shows is compiled here as it stands there, and serves clients on a worker of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "it stands as in a crate of its own")]
#[path = "plugin/redis.rs"]
mod redis;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
use ringgate_balance::{Algorithm, Member, PoolId, ServerId, Table, Weight};
use ringgate_config::{Address, Io, LogFormat, Retry, TimeoutOverrides, Timeouts};
use ringgate_engine::admit::Admission;
use ringgate_engine::counters::{PerWorker, WorkerId};
use ringgate_engine::listen::ListeningSocket;
use ringgate_engine::log::{AccessLog, Batch};
use ringgate_engine::routes::Routes;
use ringgate_engine::snapshot::{Listener, ListenerId, Pool, Server, Shared, Snapshot};
use ringgate_engine::worker::{self, Message, Start, Worker, publish};

use crate::redis::Redis;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn the_page_shows_the_plugin_that_is_tried_here() {
    let page = include_str!("../../../docs/plugins.md");
    let shown = page.split("```rust\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    assert_eq!(
        shown,
        include_str!("plugin/redis.rs"),
        "docs/plugins.md shows another crates/engine/tests/plugin/redis.rs"
    );
}

#[test]
fn pings_are_answered_and_everything_else_gets_to_a_server() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let refusing = refusing_address();
    let door = Door::open(&[refusing, server.local_addr().unwrap()]);
    let served = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let heard = read(&mut stream, "GET a\r\nPING\r\n".len());
        stream.write_all(b"$1\r\nb\r\n+PONG\r\n").unwrap();
        heard
    });

    let mut probe = door.connect();
    for ping in ["PING\r\n", "*1\r\n$4\r\nPING\r\n", "PING\r\nPING\r\n"] {
        probe.write_all(ping.as_bytes()).unwrap();
    }
    assert_eq!(read(&mut probe, 28), "+PONG\r\n".repeat(4));
    drop(probe);

    let mut client = door.connect();
    client.write_all(b"PI").unwrap();
    client.write_all(b"NG\r\nGET a\r\nPI").unwrap();
    assert_eq!(read(&mut client, 7), "+PONG\r\n");
    client.write_all(b"NG\r\n").unwrap();
    assert_eq!(read(&mut client, 14), "$1\r\nb\r\n+PONG\r\n");
    assert_eq!(served.join().unwrap(), "GET a\r\nPING\r\n");
    drop(client);

    let log = door.close();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    let is_done = |line: &&str| line.contains("listener=redis") && line.contains("reason=done");
    assert!(lines.iter().all(is_done), "{log}");
}

#[test]
fn a_client_that_no_server_can_serve_is_told_by_a_reset() {
    let door = Door::open(&[refusing_address()]);
    let mut client = door.connect();
    client.write_all(b"GET a\r\n").unwrap();
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let log = door.close();
    assert!(log.contains("reason=connect_refused"), "{log}");
}

/// A worker with one listener, which the plugin serves.
struct Door {
    address: SocketAddr,
    worker: Worker,
    ended: Receiver<()>,
    lines: Receiver<Batch>,
}

impl Door {
    fn open(servers: &[SocketAddr]) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let socket = ListeningSocket::inherited(socket.into(), 1).unwrap();
        let (sink, lines) = sync_channel(100);
        let start = Start {
            id: WorkerId(0),
            io: Io::Auto,
            cpu: None,
            listeners: socket
                .into_iter()
                .map(|socket| (ListenerId(0), socket))
                .collect(),
            published: publish(snapshot(servers)),
            shared: Arc::new(Shared::new(1)),
            access_log: Some(AccessLog {
                format: LogFormat::Text,
                sink,
                queued: Arc::default(),
            }),
            drain: PATIENCE,
        };
        let (ends, ended) = sync_channel(1);
        let worker = worker::start(start, move |_, served| {
            served.unwrap();
            ends.send(()).unwrap();
        });
        Self {
            address,
            worker: worker.unwrap(),
            ended,
            lines,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Ends the worker, when its connections have ended; its log.
    fn close(self) -> String {
        self.worker.send(Message::Drain);
        self.ended.recv_timeout(PATIENCE).unwrap();
        let batches = self
            .lines
            .try_iter()
            .flat_map(|batch| batch.text().to_vec());
        String::from_utf8(batches.collect()).unwrap()
    }
}

/// One pool behind one listener, asked in the order of its servers.
fn snapshot(servers: &[SocketAddr]) -> Snapshot {
    let server = |address: &SocketAddr| {
        Arc::new(Server {
            name: address.to_string().into(),
            address: Address::Ip(*address),
            active: AtomicU32::new(0),
            counters: PerWorker::new(1),
        })
    };
    let ids = (0..).map(ServerId).take(servers.len());
    let members: Vec<Member> = ids
        .map(|id| Member {
            id,
            weight: Weight::default(),
        })
        .collect();
    let pool = Pool {
        id: PoolId(0),
        name: "servers".into(),
        table: Table::new(Algorithm::RoundRobin, &members),
        servers: servers.iter().map(server).collect(),
        timeouts: TimeoutOverrides::default(),
        tls: None,
        proxy_protocol: None,
        retry: Retry {
            attempts: 2,
            budget_percent: 20,
            statuses: Vec::new(),
        },
        hold: None,
        held: Arc::default(),
        http2: false,
        counters: Arc::new(PerWorker::new(1)),
    };
    let listener = Listener {
        name: "redis".into(),
        pool: Some(PoolId(0)),
        routes: Routes::default(),
        trusted: None,
        tls: None,
        plugin: Some(Arc::new(Redis)),
        timeouts: Timeouts {
            connect: PATIENCE,
            handshake: PATIENCE,
            first_byte: PATIENCE,
            idle: PATIENCE,
            half_closed: PATIENCE,
            header: PATIENCE,
            response: PATIENCE,
        },
        admission: Admission::default(),
        bandwidth: None,
        counters: Arc::new(PerWorker::new(1)),
    };
    Snapshot {
        generation: 1,
        listeners: [Arc::new(listener)].into(),
        pools: [Arc::new(pool)].into(),
        connections_max: 100,
        further_max: 100,
        handshakes_max: 1,
    }
}

/// An address of the loopback that refuses connections: it is bound, and nobody listens.
fn refusing_address() -> SocketAddr {
    static KEPT: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let address: SockaddrIn = getsockname(socket.as_raw_fd()).unwrap();
    KEPT.lock().unwrap().push(socket);
    SocketAddr::V4(address.into())
}

fn read(stream: &mut TcpStream, bytes: usize) -> String {
    let mut text = vec![0; bytes];
    stream.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}
