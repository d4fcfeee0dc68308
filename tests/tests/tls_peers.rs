//! Promise: nginx and HAProxy work with Ringgate on both sides of it: as TLS servers whose names are verified, and as
//! senders and receivers of PROXY headers, over IPv4, IPv6 and unix sockets.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use ringgate_tests::{
    Authority, Haproxy, Identity, Nginx, PATIENCE, Place, Ringgate, Says, TlsClient, connect, get,
    http, stream, wait_until,
};

/// An nginx that answers with `text`, which may have its variables, wherever `listen` says.
fn nginx(listen: impl Fn(&Place) -> String, text: &str) -> Nginx {
    Nginx::with(2, |place| {
        let answer = format!("default_type text/plain; return 200 '{text}';");
        let listen = listen(place);
        http(&format!("server {{ {listen} location / {{ {answer} }} }}"))
    })
}

/// The answer to a request over that stream.
#[track_caller]
fn answer(stream: impl Read + Write) -> String {
    let answer = get(stream, "/").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Who the two servers of this file say that the client is: nginx, then HAProxy.
fn receivers() -> (Nginx, Haproxy) {
    let nginx = nginx(
        |place| {
            let (v4, v6, unix) = (place.addr(0), place.ipv6(0), place.socket("in"));
            format!(
                "listen {v4} proxy_protocol; listen {v6} proxy_protocol; listen unix:{unix} proxy_protocol;"
            )
        },
        "$proxy_protocol_addr $proxy_protocol_port",
    );
    let haproxy = Haproxy::with(1, |place| {
        let (v4, v6, unix) = (place.addr(0), place.ipv6(0), place.socket("in"));
        format!(
            "frontend in
    bind {v4} accept-proxy
    bind {v6} accept-proxy
    bind unix@{unix} accept-proxy
    http-request return status 200 content-type text/plain lf-string \"%[src] %[src_port]\"
"
        )
    });
    (nginx, haproxy)
}

/// A listener `$v4` (and the same port at `::1`) and a pool for each server of these addresses and version of the
/// header: `v1_0`, `v2_0` and so on.
fn sending_to(servers: &[String]) -> String {
    let (mut listeners, mut pools) = ("listeners:\n".to_owned(), "pools:\n".to_owned());
    for (number, server) in servers.iter().enumerate() {
        for version in ["v1", "v2"] {
            let name = format!("{version}_{number}");
            listeners += &format!(
                "  {name}: {{ bind: ['127.0.0.1:${name}', '[::1]:${name}', 'unix:$dir/{name}'], pool: {name} }}\n"
            );
            pools += &format!(
                "  {name}: {{ servers: ['{server}'], health: off, proxy_protocol: {version} }}\n"
            );
        }
    }
    listeners + &pools
}

fn local(stream: &TcpStream) -> String {
    let local = stream.local_addr().unwrap();
    format!("{} {}", local.ip(), local.port())
}

#[test]
fn nginx_and_haproxy_believe_the_header_that_they_get() {
    let (nginx, haproxy) = receivers();
    let mut servers = Vec::new();
    for place in [nginx.place(), haproxy.place()] {
        servers.extend([
            place.addr(0).to_string(),
            place.ipv6(0).to_string(),
            format!("unix:{}", place.socket("in")),
        ]);
    }
    let ringgate = Ringgate::start(&sending_to(&servers));
    for (number, server) in servers.iter().enumerate() {
        for version in ["v1", "v2"] {
            let name = format!("{version}_{number}");
            for family in ["127.0.0.1", "::1"] {
                let port = ringgate.config().port(&name);
                let client = connect(SocketAddr::new(family.parse().unwrap(), port));
                let expected = local(&client);
                let heard = answer(client);
                assert_eq!(heard, expected, "{version} to {server}");
            }
            // A client of a unix socket has no address; the request comes through all the same.
            let _any = answer(UnixStream::connect(ringgate.path(&name)).unwrap());
        }
    }
}

#[test]
fn the_header_that_nginx_and_haproxy_send_is_believed_and_told_further() {
    let authority = Authority::new("ca");
    let identity = authority.sign(&Says::names(&["a.example.com"]));
    let (last, _) = receivers();
    let ringgate = Ringgate::start(&format!(
        "
listeners:
  in:
    bind: ['127.0.0.1:$in', '[::1]:$in', 'unix:$dir/in']
    pool: app
    proxy_protocol: {{ trusted: ['127.0.0.1', '::1'] }}
pools:
  app: {{ servers: ['{}'], health: off, proxy_protocol: v1 }}
",
        last.addr()
    ));
    let (v4, unix) = (ringgate.addr("in"), ringgate.path("in"));
    let (v6, unix) = (format!("[::1]:{}", v4.port()), unix.display());

    // An nginx and an HAProxy with a port for each way: they listen at ::1 with it too.
    let nginx_ways = [v4.to_string(), v6.clone(), format!("unix:{unix}")];
    let nginx = Nginx::with(nginx_ways.len(), |place| {
        let servers = nginx_ways.iter().enumerate().map(|(number, to)| {
            let (v4, v6) = (place.addr(number), place.ipv6(number));
            format!(
                "server {{ listen {v4}; listen {v6}; proxy_protocol on; proxy_pass {to}; }}\n    "
            )
        });
        stream(&servers.collect::<String>())
    });
    let haproxy_ways = [
        format!("{v4} send-proxy"),
        format!("{v4} send-proxy-v2"),
        format!("{v6} send-proxy-v2"),
        format!("unix@{unix} send-proxy"),
        format!("unix@{unix} send-proxy-v2 proxy-v2-options crc32c"),
        format!("{v4} send-proxy-v2-ssl-cn"),
        format!(
            "{v4} send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c"
        ),
    ];
    let haproxy = Haproxy::with(haproxy_ways.len() + 1, |place| {
        let pem = place.file("pem", &identity.both()).display().to_string();
        let section = |number: usize, to: &str| {
            let (v4, v6) = (place.addr(number), place.ipv6(number));
            let (tls, to) = match to.strip_prefix("tls ") {
                Some(to) => (format!("ssl crt {pem}"), to),
                None => (String::new(), to),
            };
            format!(
                "listen way{number}
    mode tcp
    bind {v4} {tls}
    bind {v6} {tls}
    server s {to}
"
            )
        };
        let plain = haproxy_ways.iter().enumerate();
        let plain: String = plain.map(|(number, to)| section(number, to)).collect();
        let last = haproxy_ways.last().unwrap();
        plain + &section(haproxy_ways.len(), &format!("tls {last}"))
    });

    let mut clients = Vec::new();
    for (place, ways) in [
        (nginx.place(), nginx_ways.len()),
        (haproxy.place(), haproxy_ways.len()),
    ] {
        for way in 0..ways {
            for addr in [place.addr(way), place.ipv6(way)] {
                let client = connect(addr);
                let expected = local(&client);
                clients.push(client.local_addr().unwrap().to_string());
                assert_eq!(answer(client), expected, "by way {way}");
            }
        }
    }
    let tls = haproxy.place().addr(haproxy_ways.len());
    let client = TlsClient::new(&authority).connect(tls, "a.example.com");
    let client = client.unwrap();
    clients.push(client.sock.local_addr().unwrap().to_string());
    assert_eq!(answer(client).split(' ').next().unwrap(), "127.0.0.1");

    // The harness looked once whether each of the two accepts, by its first way.
    let lines = ringgate.access_log(clients.len() + 2);
    for client in clients {
        let logged = lines.iter().filter(|line| line["client"] == *client);
        assert_eq!(logged.count(), 1, "{client} in {lines:?}");
    }
}

/// An nginx and an HAProxy that serve TLS, to clients with a certificate of `clients` where there is one. Both answer
/// with the name asked for, the version, and whether the session was resumed and the client known.
fn tls_servers(identity: &Identity, clients: Option<&Authority>) -> (Nginx, Haproxy) {
    let nginx = nginx(
        |place| {
            let (crt, key) = identity.write(place.dir(), "own");
            let ask = clients.map_or(String::new(), |authority| {
                let ca = place.file("clients.pem", authority.pem());
                format!(
                    "ssl_verify_client on; ssl_client_certificate {};",
                    ca.display()
                )
            });
            format!(
                "listen {} ssl; listen unix:{} ssl proxy_protocol; ssl_certificate {}; ssl_certificate_key {};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:SSL:1m; {ask}",
                place.addr(0),
                place.socket("tls"),
                crt.display(),
                key.display()
            )
        },
        "$ssl_server_name $ssl_protocol $ssl_session_reused $ssl_client_s_dn",
    );
    let haproxy = Haproxy::with(1, |place| {
        let pem = place.file("pem", &identity.both());
        let ask = clients.map_or(String::new(), |authority| {
            let ca = place.file("clients.pem", authority.pem());
            format!("verify required ca-file {}", ca.display())
        });
        let (pem, v4, unix) = (pem.display(), place.addr(0), place.socket("tls"));
        format!(
            "frontend in
    bind {v4} ssl crt {pem} {ask}
    bind unix@{unix} accept-proxy ssl crt {pem} {ask}
    http-request set-var(txn.reused) str(r) if {{ ssl_fc_is_resumed }}
    http-request set-var(txn.reused) str(.) unless {{ ssl_fc_is_resumed }}
    http-request return status 200 content-type text/plain lf-string \"%[ssl_fc_sni] %[ssl_fc_protocol] %[var(txn.reused)] CN=%[ssl_c_s_dn(cn)]\"
"
        )
    });
    (nginx, haproxy)
}

#[test]
fn tls_servers_are_verified_known_by_their_sessions_and_shown_a_certificate() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let own = clients.sign(&Says::client("ringgate"));
    let identity = authority.sign(&Says::names(&["app.internal"]));
    let (nginx, haproxy) = tls_servers(&identity, Some(&clients));
    for place in [nginx.place(), haproxy.place()] {
        let (addr, unix) = (place.addr(0), place.socket("tls"));
        let yaml = format!(
            "
workers: 1
listeners:
  good: {{ bind: '127.0.0.1:$good', pool: good }}
  unix: {{ bind: '127.0.0.1:$unix', pool: unix }}
  other: {{ bind: '127.0.0.1:$other', pool: other }}
  stranger: {{ bind: '127.0.0.1:$stranger', pool: stranger }}
  nobody: {{ bind: '127.0.0.1:$nobody', pool: nobody }}
pools:
  # The checks go by the same settings.
  good: {{ servers: ['{addr}'], health: {{ interval: 50ms, rise: 1, fall: 10 }}, tls: &own {{ ca: $dir/ca.pem, server_name: app.internal, cert: $dir/own.crt, key: $dir/own.key }} }}
  unix: {{ servers: ['unix:{unix}'], health: off, proxy_protocol: v2, tls: *own }}
  other: {{ servers: ['{addr}'], health: off, tls: {{ ca: $dir/ca.pem, server_name: other.internal, cert: $dir/own.crt, key: $dir/own.key }} }}
  stranger: {{ servers: ['{addr}'], health: off, tls: {{ ca: $dir/clients.pem, server_name: app.internal, cert: $dir/own.crt, key: $dir/own.key }} }}
  nobody: {{ servers: ['{addr}'], health: off, tls: {{ ca: $dir/ca.pem, server_name: app.internal }} }}
"
        );
        let ringgate = Ringgate::start_prepared(&yaml, |dir| {
            std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
            std::fs::write(dir.join("clients.pem"), clients.pem()).unwrap();
            own.write(dir, "own");
        });
        let up = [("pool", "good"), ("state", "up")];
        wait_until("a check has gone well", PATIENCE, || {
            ringgate.metric("ringgate_server_state", &up) >= 1.0
        });
        let full = "app.internal TLSv1.3 . CN=ringgate";
        let resumed = "app.internal TLSv1.3 r CN=ringgate";
        assert_eq!(answer(ringgate.connect("good")), full);
        assert_eq!(answer(ringgate.connect("good")), resumed);
        assert_eq!(answer(ringgate.connect("unix")), full);
        assert_eq!(answer(ringgate.connect("unix")), resumed);
        // A reset may come before the client knows that it is connected.
        let ask = |listener| {
            let answer = TcpStream::connect(ringgate.addr(listener));
            answer.and_then(|stream| get(stream, "/"))
        };
        for refused in ["other", "stranger"] {
            ask(refused).unwrap_err();
        }
        let up = [("pool", "good")];
        assert_eq!(ringgate.metric("ringgate_server_up", &up), 1.0);
        // Both take the connection and refuse the request (nginx), or refuse it all (HAProxy).
        let nobody = ask("nobody");
        assert!(
            !nobody.as_ref().is_ok_and(|answer| answer.status == 200),
            "{nobody:?}"
        );
    }
}

#[test]
fn tls_passes_through_to_nginx_and_haproxy_by_name() {
    let authority = Authority::new("servers");
    let [a, b] = ["a", "b"].map(|name| {
        let identity = authority.sign(&Says::names(&[&format!("{name}.example.com")]));
        tls_servers(&identity, None)
    });
    let ringgate = Ringgate::start(&format!(
        "
listeners:
  tls:
    bind: '127.0.0.1:$tls'
    routes:
      - {{ sni: a.example.com, pool: a }}
      - {{ sni: '*.example.com', pool: b }}
pools:
  a: {{ servers: ['{}'], health: off }}
  b: {{ servers: ['{}'], health: off }}
",
        a.0.addr(),
        b.1.addr()
    ));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for name in ["a.example.com", "b.example.com"] {
            let client = TlsClient::with(&authority, None, &[version]);
            let stream = client.connect(ringgate.addr("tls"), name).unwrap();
            let heard = answer(stream);
            assert!(heard.starts_with(name), "{heard}");
        }
    }
}
