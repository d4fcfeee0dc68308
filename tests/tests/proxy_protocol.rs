//! Promise: a PROXY header tells who the client is when it comes from one who may say so, in any form and cut anywhere;
//! from anybody else it is refused, and it never reaches a server as payload. Servers get one where that is asked for.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use ringgate_tests::{Authority, Ringgate, Says, Server, TlsClient, read_to_end, send_all};

/// The signature of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 from 192.0.2.7:1000 to 198.51.100.1:443.
fn v2() -> Vec<u8> {
    let rest = [
        &[0x21, 0x11, 0, 12][..],
        &[192, 0, 2, 7, 198, 51, 100, 1, 3, 0xe8, 1, 0xbb],
    ]
    .concat();
    [SIGNATURE, &rest].concat()
}

/// A process that takes headers from `trusted` and relays to `server`.
fn start(server: &Server, trusted: &str, more: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
timeouts: {{ handshake: 1s }}
listeners:
  in:
    bind: ['127.0.0.1:$in', 'unix:$dir/in.sock']
    pool: app
    proxy_protocol: {{ accept: true, trusted: [{trusted}] }}
    {more}
pools:
  app: {{ servers: [{server}], health: off }}
"
    ))
}

/// What comes back when these bytes are said and the direction is ended.
fn answer(mut stream: TcpStream, bytes: &[u8], piece: usize) -> std::io::Result<String> {
    for piece in bytes.chunks(piece) {
        stream.write_all(piece)?;
    }
    stream.shutdown(Shutdown::Write)?;
    read_to_end(&stream)
}

#[test]
fn the_client_that_a_header_names_is_logged_and_the_rest_is_passed_on() {
    let server = Server::echo();
    let ringgate = start(&server, "127.0.0.1/32", "");
    let v6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 1000 443\r\n".to_vec();
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    let headers: [(Vec<u8>, &str); 5] = [
        (
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1000 443\r\n".to_vec(),
            "192.0.2.7:1000",
        ),
        (v6, "[2001:db8::7]:1000"),
        (v2(), "192.0.2.7:1000"),
        // They say nothing: the one who connected is the client.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1:"),
        (local, "127.0.0.1:"),
    ];
    let mut connections = 0;
    for (header, client) in headers {
        for piece in [1, 5, 1000] {
            let said = [&header[..], b"hello, PROXY TCP4 1.2.3.4"].concat();
            let heard = answer(ringgate.connect("in"), &said, piece).unwrap();
            assert_eq!(heard, "hello, PROXY TCP4 1.2.3.4");
            connections += 1;
            let line = ringgate.access_log(connections).pop().unwrap();
            assert!(
                line["client"].as_str().unwrap().starts_with(client),
                "{line}"
            );
        }
    }
    // Over a unix socket it is whoever may open the file.
    let mut unix = UnixStream::connect(ringgate.path("in.sock")).unwrap();
    unix.write_all(&[&v2()[..], b"hi"].concat()).unwrap();
    unix.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    unix.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "hi");
    assert_eq!(
        ringgate.access_log(connections + 1)[connections]["client"],
        "192.0.2.7:1000"
    );
}

#[test]
fn a_header_that_is_none_is_refused_and_no_server_hears_of_it() {
    let server = Server::echo();
    let ringgate = start(&server, "127.0.0.1/32", "");
    let mut refused = 0;
    let mut check = |bytes: &[u8]| {
        let client = ringgate.connect("in");
        send_all(&client, bytes);
        assert!(
            read_to_end(&client).map_or(true, |heard| heard.is_empty()),
            "{bytes:?}"
        );
        refused += 1;
        let line = ringgate.access_log(refused).pop().unwrap();
        assert_eq!(line["reason"], "proxy_header", "{bytes:?}: {line}");
    };
    check(b"GET / HTTP/1.1\r\n\r\n");
    check(b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n");
    check(b"PROXY TCP4 256.0.0.1 5.6.7.8 1 2\r\n");
    check(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n");
    check(b"PROXY TCP4 ::1 5.6.7.8 1 2\r\n");
    check(&[b'P'; 1]);
    check(&[&b"PROXY UNKNOWN "[..], &[b'x'; 94]].concat());
    check(&[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat());
    check(&[SIGNATURE, &[0x21, 0xff, 0, 12], &[0; 12]].concat());
    check(&[SIGNATURE, &[0x21, 0x11, 0, 4], &[0; 4]].concat());
    // A TLV that is longer than the header does not eat what follows it.
    check(
        &[
            SIGNATURE,
            &[0x21, 0x11, 0, 15],
            &[0; 12],
            &[4, 0, 9],
            b"payload",
        ]
        .concat(),
    );
    // A checksum that is wrong.
    check(
        &[
            SIGNATURE,
            &[0x21, 0x11, 0, 19],
            &[0; 12],
            &[3, 0, 4, 1, 2, 3, 4],
        ]
        .concat(),
    );
    // The beginning of one, and then nothing: see the timeout above.
    check(b"PROXY TCP4 1.2.3.4");
    assert_eq!(server.accepted(), 0);
}

#[test]
fn who_is_not_trusted_is_refused_whatever_he_says() {
    let server = Server::echo();
    let ringgate = start(&server, "10.0.0.0/8", "");
    for bytes in [&b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nhello"[..], b"hello"] {
        // It may be gone before it is heard, even before its connect returns.
        let Ok(client) = TcpStream::connect(ringgate.addr("in")) else {
            continue;
        };
        let _ = (&client).write_all(bytes);
        assert!(read_to_end(&client).map_or(true, |heard| heard.is_empty()));
    }
    let rejected = [("listener", "in"), ("reason", "proxy_header")];
    ringgate.wait_for_metric("ringgate_listener_rejected_total", &rejected, 2.0);
    assert_eq!(server.accepted(), 0);
}

#[test]
fn access_and_limits_look_at_the_client_that_the_header_names() {
    let server = Server::echo();
    let ringgate = start(
        &server,
        "127.0.0.1/32",
        "access: { deny: [203.0.113.0/24] }\n    limits: { per_client: { connections: 1 } }",
    );
    let header = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 1000 443\r\nhello");
    let open = |client: &str| {
        let stream = ringgate.connect("in");
        send_all(&stream, header(client));
        stream
    };
    let heard = |stream: &TcpStream| {
        let mut heard = [0; 5];
        (&*stream).read_exact(&mut heard).is_ok() && heard == *b"hello"
    };
    let first = open("192.0.2.7");
    assert!(heard(&first));
    assert!(!heard(&open("192.0.2.7")), "one connection for each client");
    let other = open("192.0.2.8");
    assert!(heard(&other), "another client through the same proxy");
    assert!(!heard(&open("203.0.113.1")));
    drop((first, other));
    let lines = ringgate.access_log(4);
    let of = |reason: &str| lines.iter().filter(|line| line["reason"] == reason).count();
    assert_eq!(
        (of("limit_client_connections"), of("denied_address")),
        (1, 1),
        "{lines:?}"
    );
}

#[test]
fn servers_get_a_header_before_anything_else() {
    // It answers with what it was told.
    let server = Server::start(|mut stream| {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while !heard.ends_with(b"hello") {
            let got = stream.read(&mut buffer).unwrap();
            assert!(got > 0);
            heard.extend_from_slice(&buffer[..got]);
        }
        stream.write_all(&heard).unwrap();
    });
    let authority = Authority::new("ca");
    let refusing = ringgate_tests::Refusing::start();
    let yaml = format!(
        "
listeners:
  v1: {{ bind: '127.0.0.1:$v1', pool: v1 }}
  v2: {{ bind: '127.0.0.1:$v2', pool: v2 }}
  tls: {{ bind: '127.0.0.1:$tls', pool: v2, tls: {{ certs: $dir/certs, alpn: [mqtt] }} }}
  chain: {{ bind: '127.0.0.1:$chain', pool: v1, proxy_protocol: {{ accept: true, trusted: [127.0.0.1/32] }} }}
pools:
  v1: {{ servers: [{}, {server}], health: off, proxy_protocol: v1 }}
  v2: {{ servers: [{server}], health: off, proxy_protocol: v2 }}
",
        refusing.addr()
    );
    let ringgate = Ringgate::start_prepared(&yaml, |dir| {
        authority
            .sign(&Says::names(&["a.example.com"]))
            .write(&dir.join("certs"), "a");
    });
    // Twice: one of them meets the server that refuses first.
    for _ in 0..2 {
        let client = ringgate.connect("v1");
        let ports = (
            client.local_addr().unwrap().port(),
            client.peer_addr().unwrap().port(),
        );
        send_all(&client, "hello");
        let expected = format!(
            "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nhello",
            ports.0, ports.1
        );
        assert_eq!(read_to_end(&client).unwrap(), expected);
    }
    let chained = ringgate.connect("chain");
    let header = "PROXY TCP6 2001:db8::7 2001:db8::1 1000 443\r\n";
    send_all(&chained, format!("{header}hello"));
    assert_eq!(
        read_to_end(&chained).unwrap(),
        format!("{header}hello"),
        "the same client further on"
    );

    let mut heard = Vec::new();
    let client = ringgate.connect("v2");
    send_all(&client, "hello");
    (&client).read_to_end(&mut heard).unwrap();
    assert_eq!(&heard[..14], [SIGNATURE, &[0x21, 0x11]].concat());
    assert_eq!(heard[16..20], [127, 0, 0, 1]);
    assert_eq!(
        heard[24..26],
        client.local_addr().unwrap().port().to_be_bytes()
    );

    let mut heard = Vec::new();
    let client = TlsClient::new(&authority).offering(&["mqtt"]);
    let mut stream = client
        .connect(ringgate.addr("tls"), "a.example.com")
        .unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_to_end(&mut heard).unwrap();
    let contains = |part: &[u8]| heard.windows(part.len()).any(|window| window == part);
    for part in [
        &b"\x02\x00\x0da.example.com"[..],
        b"\x01\x00\x04mqtt",
        b"TLSv1.3",
        b"\x20",
    ] {
        assert!(contains(part), "{part:?} in {heard:?}");
    }
}
