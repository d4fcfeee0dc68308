//! Promise: a peer that misuses TLS or the protocols before it costs nobody else anything, and is never taken for another.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringgate_tests::{
    Authority, PATIENCE, Ringgate, Says, Server, ServesTls, TempDir, TlsClient, TlsServer,
    TlsStream, echoed, read_to_end, reset, send_all, wait_until,
};

const NAME: &str = "a.example.com";

/// A process of one worker whose listener `$tls` ends TLS and sends everything to `server`.
fn start(authority: &Authority, server: &Server, more: &str) -> Ringgate {
    let yaml = format!(
        "
workers: 1
{more}
listeners:
  web: {{ bind: '127.0.0.1:$tls', pool: app, tls: {{ certs: $dir/certs }} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    );
    Ringgate::start_prepared(&yaml, |dir| {
        authority
            .sign(&Says::names(&[NAME]))
            .write(&dir.join("certs"), "a");
    })
}

/// What a client would send now.
fn sealed(stream: &mut TlsStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn what_follows_the_end_of_a_session_is_ignored() {
    let authority = Authority::new("ca");
    let (sender, ended) = mpsc::channel();
    let server = Server::start(move |stream| {
        sender.send(read_to_end(&stream)).ok();
    });
    let ringgate = start(&authority, &server, "");
    let client = TlsClient::new(&authority);
    for tail in [1, 4096, 20_480, 20_481, 30_000, 200_000] {
        let mut stream = client.connect(ringgate.addr("tls"), NAME).unwrap();
        stream.conn.writer().write_all(b"all of it").unwrap();
        stream.conn.send_close_notify();
        let mut bytes = sealed(&mut stream);
        bytes.resize(bytes.len() + tail, 0x17);
        let _ = stream.sock.write_all(&bytes);
        let ended = ended.recv_timeout(PATIENCE).unwrap();
        assert_eq!(ended.unwrap(), "all of it", "before a tail of {tail}");
    }
    ringgate.wait_until_quiet();
}

#[test]
fn a_broken_record_behind_good_ones_is_told_and_ends_the_connection() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let ringgate = start(&authority, &server, "");
    for good in [100, 24_000, 60_000] {
        let mut stream = TlsClient::new(&authority)
            .connect(ringgate.addr("tls"), NAME)
            .unwrap();
        // Once this comes back the handshake has ended on both sides; before, it is the handshake that fails.
        assert_eq!(echoed(&mut stream, "hello").unwrap(), "hello");
        stream.conn.writer().write_all(&vec![b'x'; good]).unwrap();
        let mut bytes = sealed(&mut stream);
        stream.conn.writer().write_all(b"spoilt").unwrap();
        let mut spoilt = sealed(&mut stream);
        *spoilt.last_mut().unwrap() ^= 1;
        bytes.extend(spoilt);
        stream.sock.write_all(&bytes).unwrap();
        let error = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("BadRecordMac") || told.contains("reset"),
            "after {good}: {told}"
        );
    }
    let lines = ringgate.access_log(3);
    assert!(
        lines.iter().all(|line| line["reason"] == "client_reset"),
        "{lines:?}"
    );
}

#[test]
fn clients_that_fall_silent_in_their_handshake_keep_nobody_out() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let limits = "limits: { handshakes: 4 }";
    let ringgate = start(&authority, &server, limits);
    let client = TlsClient::new(&authority);
    let hello = client.hello(NAME);
    let silent: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = ringgate.connect("tls");
            stream.write_all(&hello).unwrap();
            // It has the server's part of the handshake, and does not go on.
            stream.read_exact(&mut [0; 5]).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..10 {
        let mut stream = client.connect(ringgate.addr("tls"), NAME).unwrap();
        assert_eq!(echoed(&mut stream, "hello").unwrap(), "hello");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let labels = [("listener", "web"), ("reason", "displaced")];
    let displaced = ringgate.metric("ringgate_tls_handshake_failures_total", &labels);
    assert!(
        (16.0..=20.0).contains(&displaced),
        "{displaced} of {}",
        silent.len()
    );
}

#[test]
fn a_client_that_is_gone_before_it_is_known_is_not_taken_for_ringgate_itself() {
    const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20";
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = heard.clone();
    let server = Server::start(move |mut stream| {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        hearing.lock().unwrap().push(bytes);
    });
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
listeners:
  v1: {{ bind: '127.0.0.1:$v1', pool: v1 }}
  v2: {{ bind: '127.0.0.1:$v2', pool: v2 }}
  few: {{ bind: '127.0.0.1:$few', pool: plain, limits: {{ per_client: {{ rate: 10/1h }} }} }}
pools:
  v1: {{ servers: [{server}], health: off, proxy_protocol: v1 }}
  v2: {{ servers: [{server}], health: off, proxy_protocol: v2 }}
  plain: {{ servers: [{server}], health: off }}
"
    ));
    for listener in ["v1", "v2", "few"] {
        for _ in 0..100 {
            let Ok(stream) = TcpStream::connect(ringgate.addr(listener)) else {
                continue;
            };
            let _ = (&stream).write_all(b"DELETE /");
            reset(stream);
        }
    }
    ringgate.wait_until_quiet();
    let heard = heard.lock().unwrap();
    for bytes in heard.iter() {
        assert!(
            !bytes.starts_with(LOCAL) && !bytes.starts_with(b"PROXY UNKNOWN"),
            "{bytes:?}"
        );
    }
    let unnamed = heard
        .iter()
        .filter(|bytes| bytes.starts_with(b"DELETE"))
        .count();
    assert!(
        unnamed <= 10,
        "{unnamed} connections of a client that may open 10"
    );
}

#[test]
fn who_fits_no_route_is_refused_before_a_handshake_and_with_the_right_word() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let yaml = format!(
        "
listeners:
  tls:
    bind: '127.0.0.1:$tls'
    tls: {{ certs: $dir/certs }}
    routes: [{{ sni: other.example.com, pool: app }}]
  inside:
    bind: '127.0.0.1:$inside'
    routes: [{{ client: 10.0.0.0/8, pool: app }}]
pools:
  app: {{ servers: [{server}], health: off }}
"
    );
    let ringgate = Ringgate::start_prepared(&yaml, |dir| {
        authority
            .sign(&Says::names(&[NAME]))
            .write(&dir.join("certs"), "a");
    });
    let refused = TlsClient::new(&authority)
        .connect(ringgate.addr("tls"), NAME)
        .unwrap_err();
    assert!(
        refused.to_string().contains("UnrecognisedName"),
        "{refused}"
    );
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["reason"], &line["sni"]),
        (&"tls_no_name".into(), &NAME.into())
    );
    // It may be gone before its connect returns.
    let plain = TcpStream::connect(ringgate.addr("inside"));
    let _ = plain.map(|plain| read_to_end(&plain));
    assert_eq!(ringgate.access_log(2)[1]["reason"], "denied_address");
}

#[test]
fn a_unix_server_without_a_name_is_reached_as_its_checks_are() {
    let authority = Authority::new("ca");
    let dir = TempDir::new();
    let path = dir.path().join("server.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let identity = authority.sign(&Says::names(&[NAME]));
    let server = TlsServer::new(ServesTls::showing(&identity));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A check of the server ends after the handshake.
            let _ = server.echo(stream);
        }
    });
    let ringgate = Ringgate::start(&format!(
        "
listeners:
  plain: {{ bind: '127.0.0.1:$plain', pool: app }}
pools:
  app: {{ servers: ['unix:{}'], tls: {{ verify: false }}, health: {{ interval: 100ms, fall: 10 }} }}
",
        path.display()
    ));
    wait_until("a check has gone well", PATIENCE, || {
        ringgate.metric("ringgate_server_state", &[("state", "up")]) >= 1.0
    });
    let client = ringgate.connect("plain");
    send_all(&client, "hello");
    client.shutdown(Shutdown::Write).unwrap();
    let heard = read_to_end(&client).unwrap();
    assert!(heard.ends_with("\nhello"), "{heard}");
}
