//! Promise: a pool with `tls` speaks TLS with its servers or not at all: with those alone that can prove who they are,
//! whole in both directions, and with ends that say what they are.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ringgate_tests::{
    Authority, Identity, PATIENCE, Pattern, Ringgate, Says, Server, ServesTls, TlsClient,
    TlsServer, connect, echoed, first_line, read_to_end, replace, reset, send_all, try_connect,
    wait_until,
};
use rustls::version::{TLS12, TLS13};

const MIB: u64 = 1 << 20;

/// The name in a pool's `server_name`, and settings with it.
const NAME: &str = "app.internal";
const NAMED: &str = "tls: { ca: $dir/ca.pem, server_name: app.internal }";

/// What a client says, for which wiretaps look.
const SECRET: &str = "for the right server alone";

/// A process whose listeners `$tcp` and, with a certificate of `authority` for a.example.com, `$tls` send everything
/// to these servers, whose pool is set up by `pool`.
fn start(authority: &Authority, servers: &[&Server], pool: &str) -> Ringgate {
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let health = if pool.contains("health:") {
        ""
    } else {
        "health: off, "
    };
    let yaml = format!(
        "
workers: 1
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: app }}
  tls: {{ bind: '127.0.0.1:$tls', pool: app, tls: {{ certs: $dir/certs }} }}
pools:
  app: {{ servers: [{}], {health}{pool} }}
",
        servers.join(", ")
    );
    Ringgate::start_prepared(&yaml, |dir| {
        let outside = authority.sign(&Says::names(&["a.example.com"]));
        outside.write(&dir.join("certs"), "a");
        authority.sign(&Says::client("gate")).write(dir, "client");
        fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    })
}

fn echo(identity: &Identity) -> Server {
    Server::tls_echo(ServesTls::showing(identity))
}

/// The line in which a server says what it knows of us.
fn known(ringgate: &Ringgate) -> String {
    let mut client = ringgate.connect("tcp");
    let line = first_line(&client).unwrap();
    assert_eq!(echoed(&mut client, SECRET).unwrap(), SECRET);
    line
}

/// A client speaks and gets a reset, which may come before it could speak.
fn is_refused(ringgate: &Ringgate) {
    let refused = try_connect(ringgate.addr("tcp")).and_then(|client| {
        (&client).write_all(SECRET.as_bytes())?;
        read_to_end(&client)
    });
    let error = refused.unwrap_err().kind();
    assert!(
        matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{error}"
    );
}

fn connect_errors(ringgate: &Ringgate, server: &Server) -> f64 {
    let labels = [
        ("server", &*server.to_string()),
        ("reason", "tls_handshake"),
    ];
    ringgate.metric("ringgate_pool_connect_errors_total", &labels)
}

/// A wire to a server on which everything that is said to it is written down.
struct Wiretap {
    server: Server,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Wiretap {
    fn on(server: &Server) -> Self {
        let (addr, heard) = (server.addr(), Arc::new(Mutex::new(Vec::new())));
        let noted = heard.clone();
        let server = Server::start(move |from| {
            let to = connect(addr);
            let (back_from, back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
            thread::spawn(move || pump(&back_from, &back_to, |_| {}));
            pump(&from, &to, |bytes| {
                noted.lock().unwrap().extend_from_slice(bytes)
            });
        });
        Self { server, heard }
    }

    fn has_heard(&self, text: &str) -> bool {
        let heard = self.heard.lock().unwrap();
        heard
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }
}

/// Passes everything on, ends as ends and resets as resets.
fn pump(mut from: &TcpStream, mut to: &TcpStream, note: impl Fn(&[u8])) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(got @ 1..) = from.read(&mut buffer) {
        note(&buffer[..got]);
        if to.write_all(&buffer[..got]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_server_is_asked_for_by_its_name_or_verified_by_its_address() {
    let authority = Authority::new("ca");
    let named = echo(&authority.sign(&Says::names(&[NAME])));
    let by_address = echo(&authority.sign(&Says::names(&["127.0.0.2"])));
    let below = authority.below("middle").below("lower");
    let with_chain = echo(&below.sign(&Says::names(&[NAME])));
    for (server, pool, expected) in [
        (&named, NAMED, "app.internal - - full"),
        (&with_chain, NAMED, "app.internal - - full"),
        (&by_address, "tls: { ca: $dir/ca.pem }", "- - - full"),
    ] {
        let ringgate = start(&authority, &[server], pool);
        assert_eq!(known(&ringgate), expected);
    }
}

#[test]
fn who_cannot_prove_to_be_the_server_hears_nothing_of_the_client() {
    let authority = Authority::new("ca");
    let named = Says::names(&[NAME]);
    let by_address = "tls: { ca: $dir/ca.pem }";
    let bad = [
        (authority.sign(&Says::names(&["b.internal"])), NAMED),
        (authority.sign(&Says::names(&["127.0.0.2"])), NAMED),
        (authority.sign(&Says::names(&["127.0.0.3"])), by_address),
        (authority.sign(&named), by_address),
        (Authority::new("others").sign(&named), NAMED),
        (Authority::new("ca").sign(&named), NAMED),
        (authority.sign(&named.clone().in_years(2020, 2021)), NAMED),
        (authority.sign(&named.clone().in_years(2100, 2120)), NAMED),
        (Identity::self_signed(&named), NAMED),
        (
            authority.sign(&Says {
                is_clients: true,
                ..named.clone()
            }),
            NAMED,
        ),
        // Without `ca` the system's authorities count, and ours is none of them.
        (authority.sign(&named), "tls: { server_name: app.internal }"),
    ];
    for (identity, pool) in bad {
        for version in [&TLS12, &TLS13] {
            let versions = &[version][..];
            let server = Server::tls_echo(ServesTls {
                versions,
                ..ServesTls::showing(&identity)
            });
            let tap = Wiretap::on(&server);
            let ringgate = start(&authority, &[&tap.server], pool);
            is_refused(&ringgate);
            let line = &ringgate.access_log(1)[0];
            assert_eq!(line["reason"], "tls_handshake", "{line}");
            assert_eq!(connect_errors(&ringgate, &tap.server), 1.0);
            assert!(!tap.heard.lock().unwrap().is_empty());
            assert!(!tap.has_heard(SECRET));
            if !pool.contains("ca:") {
                continue;
            }
            // Where nobody looks, it is as good as any.
            let pool = pool.replace("ca: $dir/ca.pem", "verify: false");
            let ringgate = start(&authority, &[&tap.server], &pool);
            assert!(known(&ringgate).ends_with("- full"));
            assert!(!tap.has_heard(SECRET), "it is encrypted all the same");
        }
    }
}

#[test]
fn a_server_that_speaks_plainly_is_refused_even_if_tls_follows() {
    let authority = Authority::new("ca");
    let tls = TlsServer::new(ServesTls::showing(&authority.sign(&Says::names(&[NAME]))));
    let plain = Server::greeting("220 welcome\r\n");
    let plain_first = Server::start(move |stream| {
        // CVE-2026-1642: what is said before the handshake must not reach the client.
        send_all(&stream, "HTTP/1.1 200 OK\r\n\r\n");
        let _ = tls.echo(stream);
    });
    let echo = Server::echo();
    for server in [plain, plain_first, echo, Server::saying("")] {
        let tap = Wiretap::on(&server);
        let ringgate = start(&authority, &[&tap.server], NAMED);
        is_refused(&ringgate);
        assert_eq!(ringgate.access_log(1)[0]["reason"], "tls_handshake");
        assert_eq!(connect_errors(&ringgate, &tap.server), 1.0);
        assert!(!tap.has_heard(SECRET));
    }
}

#[test]
fn a_server_whose_handshake_fails_or_never_ends_is_given_up_for_the_next() {
    let authority = Authority::new("ca");
    let good = echo(&authority.sign(&Says::names(&[NAME])));
    let bad = echo(&authority.sign(&Says::names(&["b.internal"])));
    // It takes everything and answers nothing.
    let silent = Server::start(|stream| drop(read_to_end(&stream)));
    let timeout = Duration::from_secs(1);
    let pool = format!("{NAMED}, timeouts: {{ handshake: 1s }}");
    for (other, least) in [(&bad, Duration::ZERO), (&silent, timeout)] {
        let ringgate = start(&authority, &[other, &good], &pool);
        let began = Instant::now();
        for _ in 0..2 {
            assert!(known(&ringgate).starts_with(NAME));
        }
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
        let failed = connect_errors(&ringgate, other);
        assert!(failed >= 1.0);
        assert_eq!(connect_errors(&ringgate, &good), 0.0);
        assert_eq!(ringgate.metric("ringgate_pool_retries_total", &[]), failed);
        ringgate.wait_until_quiet();
        let retries: Vec<_> = ringgate
            .access_log(2)
            .iter()
            .map(|line| line["retries"].as_u64())
            .collect();
        assert!(retries.contains(&Some(1)), "{retries:?}");
    }
}

#[test]
fn our_certificate_is_shown_to_servers_that_ask() {
    let authority = Authority::new("ca");
    let identity = authority.sign(&Says::names(&[NAME]));
    let showing = "tls: { ca: $dir/ca.pem, server_name: app.internal, cert: $dir/client.crt, key: $dir/client.key }";
    for version in [&TLS12, &TLS13] {
        let serves = ServesTls {
            versions: &[version],
            ..ServesTls::showing(&identity)
        };
        let asking = Server::tls_echo(ServesTls {
            clients: Some(&authority),
            ..serves
        });
        let not_asking = Server::tls_echo(serves);
        assert_eq!(
            known(&start(&authority, &[&asking], showing)),
            "app.internal - shown full"
        );
        assert_eq!(
            known(&start(&authority, &[&not_asking], showing)),
            "app.internal - - full"
        );
        // In TLS 1.3 it is refused only after it could speak.
        let ringgate = start(&authority, &[&asking], NAMED);
        is_refused(&ringgate);
    }
}

#[test]
fn protocols_are_offered_as_configured() {
    let authority = Authority::new("ca");
    let identity = authority.sign(&Says::names(&[NAME]));
    let offering = "tls: { ca: $dir/ca.pem, server_name: app.internal, alpn: [mqtt, h2] }";
    for (taken, expected) in [
        (&["h2"][..], Some("app.internal h2 - full")),
        (&[], Some("app.internal - - full")),
        (&["imap"], None),
    ] {
        let server = Server::tls_echo(ServesTls {
            alpn: taken,
            ..ServesTls::showing(&identity)
        });
        let ringgate = start(&authority, &[&server], offering);
        match expected {
            Some(expected) => assert_eq!(known(&ringgate), expected),
            None => is_refused(&ringgate),
        }
    }
}

#[test]
fn sessions_with_servers_are_resumed() {
    let authority = Authority::new("ca");
    let identity = authority.sign(&Says::names(&[NAME]));
    for version in [&TLS12, &TLS13] {
        let versions = &[version][..];
        let server = Server::tls_echo(ServesTls {
            versions,
            ..ServesTls::showing(&identity)
        });
        let ringgate = start(&authority, &[&server], NAMED);
        assert_eq!(known(&ringgate), "app.internal - - full");
        for _ in 0..5 {
            assert_eq!(known(&ringgate), "app.internal - - resumed");
        }
    }
}

#[test]
fn another_authority_in_the_file_counts_at_once_and_for_old_sessions_too() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let server = echo(&authority.sign(&Says::names(&[NAME])));
    let ringgate = start(&authority, &[&server], NAMED);
    assert_eq!(known(&ringgate), "app.internal - - full");
    assert_eq!(known(&ringgate), "app.internal - - resumed");
    replace(&ringgate.path("ca.pem"), other.pem());
    let is_served = || {
        let client = try_connect(ringgate.addr("tcp"));
        client.and_then(first_line).is_ok()
    };
    wait_until("the server is refused", PATIENCE, || !is_served());
    is_refused(&ringgate);
    replace(
        &ringgate.path("ca.pem"),
        &format!("{}{}", other.pem(), authority.pem()),
    );
    wait_until("it is served again", PATIENCE, is_served);
}

#[test]
fn large_transfers_arrive_identical_in_both_directions_at_once() {
    const LENGTH: u64 = 64 * MIB;
    let authority = Authority::new("ca");
    let server = echo(&authority.sign(&Says::names(&[NAME])));
    let ringgate = start(&authority, &[&server], NAMED);
    let client = ringgate.connect("tcp");
    first_line(&client).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            Pattern::new().write(&client, LENGTH, |_| {}).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        Pattern::new().verify(&client, LENGTH, |_| {}).unwrap();
        assert_eq!((&client).read(&mut [0]).unwrap(), 0, "ends in order");
    });
    ringgate.wait_until_quiet();
}

#[test]
fn tls_on_both_sides_is_whole_too() {
    const LENGTH: u64 = 32 * MIB;
    let authority = Authority::new("ca");
    let tls = TlsServer::new(ServesTls::showing(&authority.sign(&Says::names(&[NAME]))));
    let server = Server::start(move |stream| {
        let mut stream = tls.accept(stream).unwrap();
        Pattern::new().verify(&mut stream, LENGTH, |_| {}).unwrap();
        Pattern::new().write(&mut stream, LENGTH, |_| {}).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let _ = stream.read(&mut [0]);
    });
    let ringgate = start(&authority, &[&server], NAMED);
    let mut stream = TlsClient::new(&authority)
        .connect(ringgate.addr("tls"), "a.example.com")
        .unwrap();
    Pattern::new().write(&mut stream, LENGTH, |_| {}).unwrap();
    Pattern::new().verify(&mut stream, LENGTH, |_| {}).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "ends in order");
    drop(stream);
    ringgate.wait_until_quiet();
}

#[test]
fn a_servers_end_is_one_for_the_client_only_with_close_notify() {
    let authority = Authority::new("ca");
    for (orderly, version) in [
        (true, &TLS12),
        (true, &TLS13),
        (false, &TLS12),
        (false, &TLS13),
    ] {
        let identity = authority.sign(&Says::names(&[NAME]));
        let versions = &[version][..];
        let tls = TlsServer::new(ServesTls {
            versions,
            ..ServesTls::showing(&identity)
        });
        let server = Server::start(move |stream| {
            let mut stream = tls.accept(stream).unwrap();
            stream.write_all(b"all of it?").unwrap();
            if orderly {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
            stream.sock.shutdown(Shutdown::Write).unwrap();
            let _ = read_to_end(&stream.sock);
        });
        let ringgate = start(&authority, &[&server], NAMED);
        let plain = try_connect(ringgate.addr("tcp")).and_then(|client| read_to_end(&client));
        let encrypted = try_connect(ringgate.addr("tls")).and_then(|client| {
            let mut text = String::new();
            let mut client = TlsClient::new(&authority).over(client, "a.example.com")?;
            client.read_to_string(&mut text).map(|_| text)
        });
        if orderly {
            assert_eq!(plain.unwrap(), "all of it?");
            assert_eq!(encrypted.unwrap(), "all of it?");
            continue;
        }
        assert_eq!(plain.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let error = encrypted.unwrap_err().kind();
        assert!(
            matches!(error, ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof),
            "{error}"
        );
        for line in ringgate.access_log(2) {
            assert_eq!(line["reason"], "server_reset", "{line}");
        }
    }
}

#[test]
fn a_clients_end_is_one_for_the_server_only_when_it_is_one() {
    let authority = Authority::new("ca");
    let tls = TlsServer::new(ServesTls::showing(&authority.sign(&Says::names(&[NAME]))));
    let (sender, ended) = mpsc::channel();
    let server = Server::start(move |stream| {
        let mut stream = tls.accept(stream).unwrap();
        let mut text = String::new();
        let ended = stream.read_to_string(&mut text).map(|_| text);
        sender.send(ended).unwrap();
    });
    let ringgate = start(&authority, &[&server], NAMED);
    let heard = || ended.recv_timeout(PATIENCE).unwrap();

    let client = ringgate.connect("tcp");
    send_all(&client, "all of it");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(heard().unwrap(), "all of it");

    let client = ringgate.connect("tcp");
    send_all(&client, "half of i");
    // A client that is gone before is not announced to a server at all.
    wait_until("the server has it", PATIENCE, || {
        ringgate.metric("ringgate_pool_sent_bytes_total", &[("pool", "app")]) > 9.0
    });
    reset(client);
    heard().unwrap_err();

    let client = TlsClient::new(&authority);
    let mut client = client
        .connect(ringgate.addr("tls"), "a.example.com")
        .unwrap();
    client.write_all(b"half of i").unwrap();
    client.flush().unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    heard().unwrap_err();
}

#[test]
fn a_proxy_header_comes_before_tls_from_clients_and_from_checks() {
    let authority = Authority::new("ca");
    let tls = TlsServer::new(ServesTls::showing(&authority.sign(&Says::names(&[NAME]))));
    let headers = Arc::new(Mutex::new(Vec::new()));
    let seen = headers.clone();
    let server = Server::start(move |mut stream| {
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[14], head[15]]))];
        stream.read_exact(&mut rest).unwrap();
        seen.lock().unwrap().push([&head[..], &rest].concat());
        let _ = tls.echo(stream);
    });
    let pool = format!("{NAMED}, proxy_protocol: v2, health: {{ interval: 500ms, rise: 1 }}");
    let ringgate = start(&authority, &[&server], &pool);
    ringgate.wait_for_metric("ringgate_server_state", &[("state", "up")], 1.0);
    assert!(known(&ringgate).starts_with(NAME));
    let client = TlsClient::new(&authority);
    let mut client = client
        .connect(ringgate.addr("tls"), "a.example.com")
        .unwrap();
    assert!(first_line(&mut client).unwrap().starts_with(NAME));

    let headers = headers.lock().unwrap();
    let of_checks = |header: &&Vec<u8>| header[12] == 0x20;
    assert!(
        headers.iter().any(|header| of_checks(&header)),
        "LOCAL: it speaks for nobody"
    );
    let of_clients: Vec<_> = headers.iter().filter(|header| !of_checks(header)).collect();
    assert_eq!(of_clients.len(), 2);
    for header in &of_clients {
        assert_eq!(header[12..14], [0x21, 0x11], "{header:?}");
        assert_eq!(header[16..20], [127, 0, 0, 1], "{header:?}");
    }
    let names_sni = |header: &[u8]| header.windows(13).any(|part| part == b"a.example.com");
    assert!(!names_sni(of_clients[0]) && names_sni(of_clients[1]));
}

#[test]
fn checks_ask_of_servers_what_connections_will() {
    let authority = Authority::new("ca");
    let good = echo(&authority.sign(&Says::names(&[NAME])));
    let bad = echo(&authority.sign(&Says::names(&["b.internal"])));
    let expired = echo(&authority.sign(&Says::names(&[NAME]).in_years(2020, 2021)));
    let plain = Server::echo();
    let silent = Server::start(|stream| drop(read_to_end(&stream)));
    let servers = [&good, &bad, &expired, &plain, &silent];
    let check = |pool: &str, expected: [bool; 5]| {
        let quick = "interval: 500ms, rise: 1, fall: 2";
        let pool = pool.replace("health: {", &format!("health: {{ {quick}"));
        let ringgate = start(&authority, &servers, &pool);
        let found = || {
            let status = ringgate.status();
            let found = status["pools"][0]["servers"].as_array().unwrap().iter();
            found
                .map(|server| server["state"] == "up")
                .collect::<Vec<_>>()
        };
        let checked = || {
            let unknown = [("state", "unknown")];
            ringgate.metric("ringgate_server_state", &unknown) == 0.0
        };
        wait_until("all are checked", PATIENCE, checked);
        assert_eq!(found(), expected, "{pool}");
        for server in ringgate.status()["pools"][0]["servers"].as_array().unwrap() {
            if server["state"] != "up" {
                assert_eq!(server["reason"], "tls_handshake", "{server}");
            }
        }
        ringgate
    };
    let ringgate = check(
        &format!("{NAMED}, health: {{}}"),
        [true, false, false, false, false],
    );
    for _ in 0..10 {
        assert!(known(&ringgate).starts_with(NAME));
    }
    assert_eq!(ringgate.metric("ringgate_pool_retries_total", &[]), 0.0);
    check(&format!("{NAMED}, health: {{ , tls: false }}"), [true; 5]);
    // The servers' own clients speak TLS with them, and know whom to trust.
    let ringgate = check("health: { , tls: true }", [true, true, true, false, false]);
    drop(ringgate);
}
