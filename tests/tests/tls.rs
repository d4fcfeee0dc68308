//! Promise: a listener with `tls` ends TLS: with the certificate of the name that is asked for, whole in both
//! directions, and with an end that cannot be mistaken for a cut.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;

use ringgate_tests::{
    Authority, PATIENCE, Pattern, Ringgate, Says, Server, TlsClient, echoed, read_to_end, send_all,
};
use rustls::HandshakeKind;

const MIB: u64 = 1 << 20;

/// A process whose listener `$tls` shows the certificates in `$dir/certs` and sends everything to `server`. The tests
/// put `a` (a.example.com) and `w` (*.example.org) there.
fn start(authority: &Authority, server: &Server, tls: &str) -> Ringgate {
    let yaml = format!(
        "
workers: 2
timeouts: {{ handshake: 2s }}
listeners:
  web: {{ bind: '127.0.0.1:$tls', pool: app, tls: {{ certs: $dir/certs{tls} }} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    );
    Ringgate::start_prepared(&yaml, |dir| {
        let certs = dir.join("certs");
        authority
            .sign(&Says::names(&["a.example.com"]))
            .write(&certs, "a");
        authority
            .sign(&Says::names(&["*.example.org"]))
            .write(&certs, "w");
    })
}

#[test]
fn a_client_of_either_version_is_served_and_logged() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let ringgate = start(&authority, &server, "");
    let versions = [
        (&rustls::version::TLS12, "1.2"),
        (&rustls::version::TLS13, "1.3"),
    ];
    for (index, (version, word)) in versions.into_iter().enumerate() {
        let client = TlsClient::with(&authority, None, &[version]);
        let mut stream = client
            .connect(ringgate.addr("tls"), "a.example.com")
            .unwrap();
        assert_eq!(echoed(&mut stream, "hello").unwrap(), "hello");
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "ends in order");
        let line = &ringgate.access_log(index + 1)[index];
        assert_eq!(line["tls"], word);
        assert_eq!(line["sni"], "a.example.com");
        assert_eq!(line["reason"], "done");
        assert!(line["handshake_s"].as_f64().unwrap() > 0.0);
        assert_eq!(
            (&line["bytes_in"], &line["bytes_out"]),
            (&5.into(), &5.into()),
            "as the peers said them"
        );
    }
    assert_eq!(
        ringgate.metric("ringgate_tls_handshake_seconds_count", &[]),
        2.0
    );
    assert_eq!(
        ringgate.metric("ringgate_relay_bytes_total", &[("path", "tls")]),
        20.0
    );
}

#[test]
fn the_certificate_is_that_of_the_name_or_the_default() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let ringgate = start(&authority, &server, "");
    let client = TlsClient::new(&authority);
    for name in ["a.example.com", "any.example.org"] {
        client.connect(ringgate.addr("tls"), name).unwrap();
    }
    // Verified by the client: they get the default certificate, or that of a name one label shorter.
    for name in ["b.example.com", "two.labels.example.org", "example.org"] {
        client.connect(ringgate.addr("tls"), name).unwrap_err();
    }
    let failures = [("listener", "web"), ("reason", "alert")];
    ringgate.wait_for_metric("ringgate_tls_handshake_failures_total", &failures, 3.0);
}

#[test]
fn a_name_without_a_certificate_is_refused_where_that_is_asked_for() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let ringgate = start(&authority, &server, ", unknown_name: refuse");
    let client = TlsClient::new(&authority);
    client
        .connect(ringgate.addr("tls"), "a.example.com")
        .unwrap();
    let refused = client
        .connect(ringgate.addr("tls"), "b.example.com")
        .unwrap_err();
    assert!(
        refused.to_string().contains("UnrecognisedName"),
        "{refused}"
    );
    let lines = ringgate.access_log(2);
    assert!(
        lines
            .iter()
            .any(|line| line["reason"] == "tls_no_name" && line["closed_by"] == "ringgate"),
        "{lines:?}"
    );
}

#[test]
fn alpn_is_agreed_on_as_configured() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let ringgate = start(&authority, &server, ", alpn: [mqtt, imap]");
    let agreed = |offered: &[&str]| {
        let client = TlsClient::new(&authority).offering(offered);
        let stream = client.connect(ringgate.addr("tls"), "a.example.com")?;
        Ok::<_, std::io::Error>(stream.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(agreed(&["imap", "mqtt"]).unwrap().unwrap(), b"mqtt");
    assert_eq!(agreed(&[]).unwrap(), None);
    assert!(
        agreed(&["h2"])
            .unwrap_err()
            .to_string()
            .contains("NoApplicationProtocol")
    );
}

#[test]
fn a_session_is_resumed_whichever_worker_it_comes_to() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let ringgate = start(&authority, &server, "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = TlsClient::with(&authority, None, &[version]);
        let mut kinds = Vec::new();
        for _ in 0..20 {
            let mut stream = client
                .connect(ringgate.addr("tls"), "a.example.com")
                .unwrap();
            // In TLS 1.3 tickets come after the handshake.
            assert_eq!(echoed(&mut stream, "x").unwrap(), "x");
            kinds.push(stream.conn.handshake_kind().unwrap());
        }
        assert_eq!(kinds.remove(0), HandshakeKind::Full);
        assert!(
            kinds.iter().all(|kind| *kind == HandshakeKind::Resumed),
            "{kinds:?}"
        );
    }
}

#[test]
fn a_large_transfer_arrives_identical_in_both_directions() {
    let (authority, length) = (Authority::new("ca"), 64 * MIB);
    let server = Server::start(move |stream| {
        let sender = stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            Pattern::new().write(&sender, length, |_| {}).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        Pattern::new().verify(&stream, length, |_| {}).unwrap();
        sending.join().unwrap();
    });
    let ringgate = start(&authority, &server, "");
    let client = TlsClient::new(&authority);
    let mut stream = client
        .connect(ringgate.addr("tls"), "a.example.com")
        .unwrap();
    // One direction after the other: a blocking client of one thread cannot do both at once.
    let pattern = Pattern::new();
    pattern.write(&mut stream, length, |_| {}).unwrap();
    pattern.verify(&mut stream, length, |_| {}).unwrap();
    drop(stream);
    ringgate.wait_until_quiet();
}

#[test]
fn a_servers_orderly_end_is_one_for_the_client() {
    let (authority, server) = (Authority::new("ca"), Server::saying("all of it"));
    let ringgate = start(&authority, &server, "");
    let client = TlsClient::new(&authority);
    let mut stream = client
        .connect(ringgate.addr("tls"), "a.example.com")
        .unwrap();
    let mut text = String::new();
    // Without a close_notify this is an UnexpectedEof.
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "all of it");
}

#[test]
fn a_servers_reset_is_no_end_for_the_client() {
    let authority = Authority::new("ca");
    let server = Server::start(|stream| {
        send_all(&stream, "half of i");
        let mut heard = [0];
        let _ = (&stream).read(&mut heard);
        ringgate_tests::reset(stream);
    });
    let ringgate = start(&authority, &server, "");
    let client = TlsClient::new(&authority);
    let mut stream = client
        .connect(ringgate.addr("tls"), "a.example.com")
        .unwrap();
    let mut half = [0; 9];
    stream.read_exact(&mut half).unwrap();
    stream.write_all(b"x").unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
        ),
        "{error}"
    );
    assert_eq!(ringgate.access_log(1)[0]["reason"], "server_reset");
}

#[test]
fn a_client_that_ends_without_a_word_is_no_end_for_the_server() {
    let authority = Authority::new("ca");
    let (sender, ended) = mpsc::channel();
    let server = Server::start(move |stream| {
        sender.send(read_to_end(&stream)).ok();
    });
    let ringgate = start(&authority, &server, "");
    let client = TlsClient::new(&authority);
    for orderly in [true, false] {
        let mut stream = client
            .connect(ringgate.addr("tls"), "a.example.com")
            .unwrap();
        stream.write_all(b"all of it?").unwrap();
        stream.flush().unwrap();
        if orderly {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        stream.sock.shutdown(Shutdown::Write).unwrap();
        let ended = ended.recv_timeout(PATIENCE).unwrap();
        match orderly {
            true => assert_eq!(ended.unwrap(), "all of it?"),
            false => assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn who_does_not_speak_tls_or_too_slowly_is_refused_with_a_reason() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let ringgate = start(&authority, &server, "");
    let check = |bytes: &[u8], failure: &str| {
        let labels = [("listener", "web"), ("reason", failure)];
        let before = ringgate.metric("ringgate_tls_handshake_failures_total", &labels);
        let client = ringgate.connect("tls");
        send_all(&client, bytes);
        // An alert at most, then the end or a reset.
        let _ = read_to_end(&client);
        ringgate.wait_for_metric(
            "ringgate_tls_handshake_failures_total",
            &labels,
            before + 1.0,
        );
    };
    check(b"GET / HTTP/1.1\r\n\r\n", "protocol");
    check(b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", "protocol");
    check(&[0x5a; 65536], "protocol");
    check(b"\x16\x03\x01\x40\x01", "timeout");
    check(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", "protocol");
    check(b"\x18\x03\x03\x00\x03\x01\x40\x00", "protocol");
    check(b"\x16\x03\x01\x02\x00", "timeout");
    check(&b"\x16\x03\x01\x00\x00".repeat(1000), "protocol");
    assert_eq!(server.accepted(), 0, "no server has heard of them");
    // Who only asks whether the port is open has done nothing wrong.
    ringgate.connect("tls").shutdown(Shutdown::Write).unwrap();
    let lines = ringgate.access_log(9);
    assert_eq!(
        lines
            .iter()
            .filter(|line| line["reason"] == "tls_handshake")
            .count(),
        8,
        "{lines:?}"
    );
    assert_eq!(
        lines.iter().filter(|line| line["reason"] == "done").count(),
        1,
        "{lines:?}"
    );
}
