//! Promise: connections go where the name they ask for says, with TLS passed through or ended here, however their
//! first bytes are cut.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use ringgate_tests::{
    Authority, Identity, Ringgate, Says, Server, ServesTls, TlsClient, echoed, first_line,
    read_to_end, send_all,
};

fn tls_server(identity: &Identity) -> Server {
    Server::tls_echo(ServesTls {
        alpn: &["h2"],
        ..ServesTls::showing(identity)
    })
}

#[test]
fn names_and_protocols_choose_the_pool_and_tls_passes_through() {
    let authority = Authority::new("ca");
    let identity = |name| authority.sign(&Says::names(&[name]));
    let (a, wild, rest) = (
        tls_server(&identity("a.example.com")),
        tls_server(&identity("deep.x.example.com")),
        tls_server(&identity("other.example.net")),
    );
    let ringgate = Ringgate::start(&format!(
        "
listeners:
  tls:
    bind: '127.0.0.1:$tls'
    pool: rest
    routes:
      - {{ sni: A.example.com, pool: a }}
      - {{ sni: '*.example.com', pool: wild }}
      - {{ alpn: h2, pool: a }}
  strict:
    bind: '127.0.0.1:$strict'
    routes: [{{ sni: [a.example.com, b.example.com], pool: a }}]
pools:
  a: {{ servers: [{a}], health: off }}
  wild: {{ servers: [{wild}], health: off }}
  rest: {{ servers: [{rest}], health: off }}
"
    ));
    let client = TlsClient::new(&authority);
    let check = |client: &TlsClient, name: &str, expected: &str| {
        // The name is verified: the server's own certificate comes through.
        let mut stream = client.connect(ringgate.addr("tls"), name).unwrap();
        assert_eq!(first_line(&mut stream).unwrap(), expected);
        assert_eq!(echoed(&mut stream, "hello").unwrap(), "hello");
    };
    check(&client, "a.example.com", "a.example.com - - full");
    check(&client, "deep.x.example.com", "deep.x.example.com - - full");
    check(&client, "other.example.net", "other.example.net - - full");
    // By its protocol it goes to a server with another name.
    let offering = TlsClient::new(&authority).offering(&["h2"]);
    offering
        .connect(ringgate.addr("tls"), "other.example.net")
        .unwrap_err();
    assert_eq!((a.accepted(), wild.accepted(), rest.accepted()), (2, 1, 1));

    // What is not TLS asks for no name.
    let plain = ringgate.connect("tls");
    send_all(&plain, "GET / HTTP/1.1\r\n\r\n");
    let _ = read_to_end(&plain);
    drop(plain);
    assert_eq!(rest.accepted(), 2);

    client
        .connect(ringgate.addr("strict"), "a.example.com")
        .unwrap();
    client
        .connect(ringgate.addr("strict"), "c.example.com")
        .unwrap_err();
    let lines = ringgate.access_log(7);
    let of = |sni: &str| lines.iter().find(|line| line["sni"] == sni).unwrap();
    assert_eq!(of("deep.x.example.com")["route"], "*.example.com");
    assert_eq!(of("deep.x.example.com")["pool"], "wild");
    assert_eq!(of("c.example.com")["reason"], "tls_no_name");
}

#[test]
fn one_listener_passes_some_names_through_and_ends_tls_for_others() {
    let (inside, outside) = (Authority::new("inside"), Authority::new("outside"));
    let behind = tls_server(&inside.sign(&Says::names(&["in.example.com"])));
    let plain = Server::echo();
    let yaml = format!(
        "
listeners:
  web:
    bind: '127.0.0.1:$tls'
    pool: plain
    tls: {{ certs: $dir/certs }}
    routes: [{{ sni: in.example.com, pool: behind, passthrough: true }}]
pools:
  behind: {{ servers: [{behind}], health: off }}
  plain: {{ servers: [{plain}], health: off }}
"
    );
    let ringgate = Ringgate::start_prepared(&yaml, |dir| {
        let certs = dir.join("certs");
        outside
            .sign(&Says::names(&["out.example.com"]))
            .write(&certs, "out");
    });
    let mut through = TlsClient::new(&inside)
        .connect(ringgate.addr("tls"), "in.example.com")
        .unwrap();
    assert_eq!(first_line(&mut through).unwrap(), "in.example.com - - full");
    let mut ended = TlsClient::new(&outside)
        .connect(ringgate.addr("tls"), "out.example.com")
        .unwrap();
    assert_eq!(echoed(&mut ended, "hello").unwrap(), "hello");
    drop((through, ended));
    let lines = ringgate.access_log(2);
    let of = |sni: &str| lines.iter().find(|line| line["sni"] == sni).unwrap();
    assert_eq!(of("in.example.com")["tls"], "passthrough");
    assert_eq!(of("out.example.com")["tls"], "1.3");
}

/// Sends what a TLS client says a few bytes at a time.
struct Slowly {
    stream: TcpStream,
    piece: usize,
}

impl Read for Slowly {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Slowly {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for piece in bytes.chunks(self.piece) {
            self.stream.write_all(piece)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_hello_in_pieces_is_put_together() {
    let authority = Authority::new("ca");
    let server = tls_server(&authority.sign(&Says::names(&["a.example.com"])));
    let ringgate = Ringgate::start(&format!(
        "
listeners:
  tls: {{ bind: '127.0.0.1:$tls', routes: [{{ sni: a.example.com, pool: a }}] }}
pools:
  a: {{ servers: [{server}], health: off }}
"
    ));
    for piece in [1, 7, 100] {
        let slowly = Slowly {
            stream: ringgate.connect("tls"),
            piece,
        };
        TlsClient::new(&authority)
            .over(slowly, "a.example.com")
            .unwrap();
    }
}

#[test]
fn a_hello_that_does_not_come_or_is_none_is_refused() {
    let server = Server::echo();
    let ringgate = Ringgate::start(&format!(
        "
timeouts: {{ handshake: 500ms }}
listeners:
  tls: {{ bind: '127.0.0.1:$tls', pool: a, routes: [{{ sni: a.example.com, pool: a }}] }}
pools:
  a: {{ servers: [{server}], health: off }}
"
    ));
    // The start of one, and then nothing; one that promises 16 MiB.
    for begin in [
        &b"\x16\x03\x01\x00\x40\x01"[..],
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
    ] {
        let client = ringgate.connect("tls");
        send_all(&client, begin);
        let _ = read_to_end(&client);
    }
    // Nothing at all.
    let client = ringgate.connect("tls");
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let end = (&client).read(&mut [0]);
    assert!(
        matches!(&end, Ok(0)) || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    );
    let lines = ringgate.access_log(3);
    assert!(
        lines.iter().all(|line| line["reason"] == "tls_handshake"),
        "{lines:?}"
    );
    assert_eq!(server.accepted(), 0);
    // An end without a word is none of ours.
    ringgate.connect("tls").shutdown(Shutdown::Write).unwrap();
    assert_eq!(ringgate.access_log(4)[3]["reason"], "done");
}
