//! Promise: what attackers send instead of TLS, or in it, is refused, counted and paid for by nobody else: a relay of
//! the same worker goes on, and descriptors and memory stay where they were.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use ringgate_tests::{
    Authority, PATIENCE, Ringgate, Says, Server, TlsClient, TlsStream, connect, echoed,
    in_parallel, wait_until,
};
use rustls::ClientConnection;

const NAME: &str = "a.example.com";

/// First bytes of records: the type; then come the version and the length.
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const HEARTBEAT: u8 = 24;

/// Pages that an allocator may keep without anything leaking.
const MARGIN_KIB: u64 = 4 * 1024;

/// One worker that ends TLS for NAME before an echo, and a relay over it.
struct Attacked {
    ringgate: Ringgate,
    authority: Authority,
    relay: TlsStream,
    _server: Server,
}

impl Attacked {
    fn start() -> Self {
        let (authority, server) = (Authority::new("ca"), Server::echo());
        let yaml = format!(
            "
workers: 1
timeouts: {{ handshake: 1s }}
listeners:
  web: {{ bind: '127.0.0.1:$tls', pool: app, tls: {{ certs: $dir/certs }} }}
  strict: {{ bind: '127.0.0.1:$strict', pool: app, tls: {{ certs: $dir/certs, unknown_name: refuse }} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
        );
        let ringgate = Ringgate::start_prepared(&yaml, |dir| {
            let identity = authority.sign(&Says::names(&[NAME]));
            identity.write(&dir.join("certs"), "a");
        });
        let relay = TlsClient::new(&authority).connect(ringgate.addr("tls"), NAME);
        let mut attacked = Self {
            ringgate,
            authority,
            relay: relay.unwrap(),
            _server: server,
        };
        attacked.relay_goes_on();
        attacked
    }

    fn relay_goes_on(&mut self) {
        assert_eq!(echoed(&mut self.relay, "hello").unwrap(), "hello");
    }

    /// Handshakes that failed for this reason, or for any.
    fn failures(&self, reason: Option<&str>) -> f64 {
        let reason = reason.map(|reason| ("reason", reason));
        let labels: Vec<_> = reason.into_iter().collect();
        self.ringgate
            .metric("ringgate_tls_handshake_failures_total", &labels)
    }

    /// What a listener answers to these bytes until it ends the connection.
    fn answer(&self, listener: &str, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.ringgate.connect(listener);
        // It may be gone before it has heard all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(got @ 1..) = stream.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..got]);
        }
        answer
    }

    /// Sends these bytes to `$tls`; the handshake fails with that reason, and nobody else notices.
    fn refused(&mut self, what: &str, bytes: &[u8], reason: &str) {
        let before = (self.failures(None), self.failures(Some(reason)));
        let answer = self.answer("tls", bytes);
        assert_ne!(answer.first(), Some(&APPLICATION_DATA), "{what}");
        wait_until(&format!("{what} is counted"), PATIENCE, || {
            self.failures(None) > before.0
        });
        assert_eq!(
            (self.failures(None), self.failures(Some(reason))),
            (before.0 + 1.0, before.1 + 1.0),
            "{what}"
        );
        self.relay_goes_on();
    }
}

/// A record of TLS 1.2, or the first of a client.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 1, length[0], length[1]], payload].concat()
}

/// The first record of a good client.
fn good_hello(client: &TlsClient) -> (ClientConnection, Vec<u8>) {
    let mut connection =
        ClientConnection::new(Arc::new(client.config().clone()), NAME.try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    (connection, hello)
}

/// The message of a client of TLS 1.2 that has this `server_name` extension, unless it is empty.
fn hello_with_name(extension: &[u8]) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut push = |kind: u16, value: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        extensions.extend(value);
    };
    if !extension.is_empty() {
        push(0, extension);
    }
    push(10, &[0, 2, 0, 29]); // supported_groups: X25519
    push(11, &[1, 0]); // ec_point_formats: uncompressed
    push(13, &[0, 2, 4, 3]); // signature_algorithms: ECDSA with P-256 and SHA-256
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0); // no session
    body.extend([0, 2, 0xc0, 0x2b]); // ECDHE-ECDSA-AES128-GCM-SHA256
    body.extend([1, 0]); // no compression
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1, length[1], length[2], length[3]], &body[..]].concat()
}

/// A `server_name` extension with these names.
fn names(names: &[&[u8]]) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        list.push(0);
        list.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
        list.extend_from_slice(name);
    }
    let length = u16::try_from(list.len()).unwrap().to_be_bytes();
    [&length, &list[..]].concat()
}

#[test]
fn bytes_that_are_no_handshake_are_refused_beside_a_relay_that_goes_on() {
    let mut attacked = Attacked::start();
    let random: Vec<u8> = (1..=65536_u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8)
        .collect();
    let sslv2 = [&[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10][..], &[7; 37]].concat();
    let heartbeat = record(HEARTBEAT, &[1, 0x40, 0]);
    let warning = record(ALERT, &[1, 90]);
    let change = record(CHANGE_CIPHER_SPEC, &[1]);
    let (_, hello) = good_hello(&TlsClient::new(&attacked.authority));
    let with_hello = |rest: &[u8]| [&hello[..], rest].concat();
    attacked.refused("random", &random, "protocol");
    attacked.refused("SSLv2", &sslv2, "protocol");
    attacked.refused("heartbeat", &heartbeat, "protocol");
    attacked.refused(
        "heartbeat after the hello",
        &with_hello(&heartbeat),
        "protocol",
    );
    attacked.refused(
        "empty records",
        &record(HANDSHAKE, &[]).repeat(1000),
        "protocol",
    );
    attacked.refused(
        "empty application data",
        &record(APPLICATION_DATA, &[]).repeat(1000),
        "protocol",
    );
    attacked.refused(
        "empty application data after the hello",
        &with_hello(&record(APPLICATION_DATA, &[]).repeat(1000)),
        "protocol",
    );
    attacked.refused("warnings", &warning.repeat(1000), "protocol");
    attacked.refused(
        "warnings after the hello",
        &with_hello(&warning.repeat(1000)),
        "protocol",
    );
    attacked.refused("changes of cipher", &change.repeat(1000), "protocol");
    attacked.refused(
        "changes of cipher after the hello",
        &with_hello(&change.repeat(1000)),
        "protocol",
    );
    attacked.refused("a second hello", &with_hello(&hello), "protocol");
    attacked.refused(
        "HelloRequest",
        &record(HANDSHAKE, &[0, 0, 0, 0]),
        "protocol",
    );
    attacked.refused(
        "a fatal alert after the hello",
        &with_hello(&record(ALERT, &[2, 40])),
        "alert",
    );
    attacked.refused(
        "16 MiB promised",
        &record(HANDSHAKE, &[1, 0xff, 0xff, 0xff]),
        "protocol",
    );
    attacked.refused(
        "a record that is too long",
        &[22, 3, 1, 0xff, 0xff],
        "protocol",
    );
    attacked.refused("silence", &hello[..40], "timeout");
}

#[test]
fn a_hello_in_records_of_one_byte_is_served_or_refused_at_once() {
    let mut attacked = Attacked::start();
    let (mut connection, hello) = good_hello(&TlsClient::new(&attacked.authority));
    let pieces: Vec<u8> = hello[5..]
        .iter()
        .flat_map(|byte| record(HANDSHAKE, &[*byte]))
        .collect();
    let mut stream = attacked.ringgate.connect("tls");
    stream.write_all(&pieces).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    let mut client = TlsStream::new(connection, stream);
    assert_eq!(echoed(&mut client, "hello").unwrap(), "hello");
    attacked.relay_goes_on();
}

#[test]
fn a_name_that_is_none_is_refused_and_an_odd_one_gets_the_default() {
    let mut attacked = Attacked::start();
    // What the listeners answer first: a message of the handshake, or an alert and which.
    const SERVED: (u8, Option<u8>) = (HANDSHAKE, None);
    const DECODE_ERROR: (u8, Option<u8>) = (ALERT, Some(50));
    const ILLEGAL: (u8, Option<u8>) = (ALERT, Some(47));
    const UNRECOGNIZED: (u8, Option<u8>) = (ALERT, Some(112));
    let long = [b"a.".repeat(127), b"example.com".to_vec()].concat();
    let cases = [
        ("no name", Vec::new(), SERVED, UNRECOGNIZED),
        ("upper case", names(&[b"A.EXAMPLE.COM"]), SERVED, SERVED),
        ("unknown", names(&[b"b.example.com"]), SERVED, UNRECOGNIZED),
        (
            "punycode",
            names(&[b"xn--bcher-kva.example"]),
            SERVED,
            UNRECOGNIZED,
        ),
        (
            "an IPv4 address",
            names(&[b"192.0.2.1"]),
            SERVED,
            UNRECOGNIZED,
        ),
        ("NUL", names(&[b"a.example.com\0b"]), ILLEGAL, ILLEGAL),
        ("255 bytes and more", names(&[&long]), ILLEGAL, ILLEGAL),
        ("no character", names(&[b""]), DECODE_ERROR, DECODE_ERROR),
        ("a slash", names(&[b"../a.example.com"]), ILLEGAL, ILLEGAL),
        (
            "not ASCII",
            names(&["ä.example.com".as_bytes()]),
            ILLEGAL,
            ILLEGAL,
        ),
        (
            "two names",
            names(&[b"a.example.com", b"b.example.com"]),
            DECODE_ERROR,
            DECODE_ERROR,
        ),
        ("no list", vec![0, 0], DECODE_ERROR, DECODE_ERROR),
        (
            "a length that lies",
            vec![0, 16, 0, 0, 13, b'a'],
            DECODE_ERROR,
            DECODE_ERROR,
        ),
    ];
    let mut wrong = Vec::new();
    for (what, extension, by_default, strict) in cases {
        let hello = record(HANDSHAKE, &hello_with_name(&extension));
        for (listener, expected) in [("tls", by_default), ("strict", strict)] {
            let before = attacked.failures(None);
            let answer = attacked.answer(listener, &hello);
            let alert = answer.get(6).filter(|_| answer.first() == Some(&ALERT));
            let got = (answer.first().copied().unwrap_or_default(), alert.copied());
            if got != expected {
                wrong.push(format!("{what} at {listener}: {got:?}"));
            }
            // Those that were served said nothing more.
            wait_until("it is counted", PATIENCE, || {
                attacked.failures(None) == before + 1.0
            });
        }
        attacked.relay_goes_on();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_breaks_the_rules_after_the_handshake_ends_that_connection_alone() {
    let mut attacked = Attacked::start();
    let resident = attacked.ringgate.proc().resident_kib();
    let floods = [
        (
            "plain empty application data",
            record(APPLICATION_DATA, &[]).repeat(10_000),
        ),
        (
            "plain application data",
            record(APPLICATION_DATA, b"hello").repeat(1000),
        ),
        ("plain warnings", record(ALERT, &[1, 90]).repeat(10_000)),
        (
            "changes of cipher",
            record(CHANGE_CIPHER_SPEC, &[1]).repeat(10_000),
        ),
        ("heartbeats", record(HEARTBEAT, &[1, 0x40, 0]).repeat(1000)),
        (
            "a new hello",
            good_hello(&TlsClient::new(&attacked.authority)).1,
        ),
        (
            "HelloRequests",
            record(HANDSHAKE, &[0, 0, 0, 0]).repeat(1000),
        ),
        ("a record that is too long", [23, 3, 3, 0xff, 0xff].to_vec()),
    ];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (what, flood) in &floods {
            let client = TlsClient::with(&attacked.authority, None, &[version]);
            let mut stream = client.connect(attacked.ringgate.addr("tls"), NAME).unwrap();
            assert_eq!(echoed(&mut stream, "hello").unwrap(), "hello");
            // It may be gone before it has heard all.
            let _ = stream.sock.write_all(flood);
            ends(&stream.sock, what);
            attacked.relay_goes_on();
        }
    }
    let grown = attacked
        .ringgate
        .proc()
        .resident_kib()
        .saturating_sub(resident);
    assert!(grown <= MARGIN_KIB, "{grown} KiB more");
    attacked
        .ringgate
        .wait_for_metric("ringgate_listener_connections_active", &[], 1.0);
}

#[test]
fn updates_of_keys_without_end_are_ended() {
    let mut attacked = Attacked::start();
    let client = TlsClient::new(&attacked.authority);
    let mut stream = client.connect(attacked.ringgate.addr("tls"), NAME).unwrap();
    assert_eq!(echoed(&mut stream, "hello").unwrap(), "hello");
    let mut updates = 0;
    while updates < 100_000 {
        updates += 1;
        stream.conn.refresh_traffic_keys().unwrap();
        if stream.conn.write_tls(&mut stream.sock).is_err() {
            break;
        }
    }
    assert!(updates < 100_000, "none of them was one too many");
    ends(&stream.sock, "updates of keys");
    attacked.relay_goes_on();
    attacked
        .ringgate
        .wait_for_metric("ringgate_listener_connections_active", &[], 1.0);
}

/// Reads a connection to its end.
fn ends(mut stream: &TcpStream, what: &str) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            Ok(0) => return,
            Err(error) => {
                let kind = error.kind();
                assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{what}");
                return;
            }
        }
    }
}

#[test]
fn ten_thousand_failed_handshakes_leave_descriptors_and_memory_where_they_were() {
    const WARM_UP: usize = 2_000;
    const HANDSHAKES: usize = 10_000;
    let mut attacked = Attacked::start();
    let address = attacked.ringgate.addr("tls");
    let (_, hello) = good_hello(&TlsClient::new(&attacked.authority));
    let bytes = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        record(HANDSHAKE, &hello_with_name(&names(&[b"a\0b"]))),
        [&hello[..], &record(ALERT, &[2, 40])].concat(),
        [&hello[..], &record(APPLICATION_DATA, b"hello")].concat(),
        record(HANDSHAKE, &hello_with_name(&[])).repeat(2),
    ];
    let fail = |address: SocketAddr, number: usize| {
        let mut stream = connect(address);
        stream.write_all(&bytes[number % bytes.len()]).unwrap();
        ends(&stream, "a handshake");
    };
    in_parallel(4, WARM_UP, |number| fail(address, number));
    let active = || {
        attacked
            .ringgate
            .metric("ringgate_listener_connections_active", &[])
    };
    wait_until("the relay alone is left", PATIENCE, || active() == 1.0);
    let (descriptors, resident) = (
        attacked.ringgate.proc().descriptors().len(),
        attacked.ringgate.proc().resident_kib(),
    );
    in_parallel(4, HANDSHAKES, |number| fail(address, number));
    wait_until("the relay alone is left", PATIENCE, || active() == 1.0);
    wait_until("every descriptor is closed", PATIENCE, || {
        attacked.ringgate.proc().descriptors().len() <= descriptors
    });
    let grown = attacked
        .ringgate
        .proc()
        .resident_kib()
        .saturating_sub(resident);
    assert!(grown <= MARGIN_KIB, "{grown} KiB more");
    assert_eq!(attacked.failures(None), (WARM_UP + HANDSHAKES) as f64);
    attacked.relay_goes_on();
}
