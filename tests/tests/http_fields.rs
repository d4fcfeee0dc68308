//! Promise: a server gets the fields that the client meant for it, and of those by which it knows whom to believe only
//! ours; a client gets those that the server meant for it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use ringgate_tests::{Answer, Received, Recorder, Ringgate, Wire, ok};

/// A gateway that trusts nobody at `$web` and everybody here at `$trusted`.
struct Gateway {
    ringgate: Ringgate,
    server: Recorder,
}

impl Gateway {
    fn start(http: &str) -> Self {
        Self::before(Recorder::start(), http)
    }

    fn before(server: Recorder, http: &str) -> Self {
        let ringgate = Ringgate::start_prepared(
            &format!(
                "
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{ {http} }} }}
  trusted: {{ bind: '127.0.0.1:$trusted', pool: app, http: {{ trusted_proxies: [127.0.0.0/8] }} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
            ),
            |dir| {
                // The SHA-256 of `secret`.
                let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
                fs::write(dir.join("tokens"), format!("ann sha256:{hash}\n")).unwrap();
                fs::set_permissions(dir.join("tokens"), Permissions::from_mode(0o600)).unwrap();
            },
        );
        Self { ringgate, server }
    }

    fn ask(&self, listener: &str, fields: &str) -> Answer {
        let mut wire = Wire::over(self.ringgate.connect(listener));
        wire.ask(format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    /// What the server got of a request with these fields.
    fn sent_on(&self, listener: &str, fields: &str) -> Received {
        let answer = self.ask(listener, fields);
        assert_eq!(answer.status, 200, "{fields:?}: {}", answer.text());
        self.server.last()
    }

    fn check(&self, listener: &str, cases: &[Case]) {
        let mut wrong = Vec::new();
        for (sent, expected) in cases {
            let request = self.sent_on(listener, sent);
            for (name, value) in *expected {
                let got: Vec<_> = request.head.all(name).collect();
                if got.join(", ") != *value || (value.is_empty() && !got.is_empty()) {
                    wrong.push(format!("{sent:?}: {name} is {got:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// Fields as they are sent, and what the server gets: the values of all fields of a name, or nothing.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

#[test]
fn what_belongs_to_the_connection_ends_with_it() {
    let cases: &[Case] = &[
        ("X: y\r\n", &[("x", "y"), ("connection", "")]),
        ("Connection: keep-alive\r\n", &[("connection", "")]),
        ("Connection: close\r\n", &[("connection", "")]),
        ("Keep-Alive: timeout=5\r\n", &[("keep-alive", "")]),
        (
            "Proxy-Connection: keep-alive\r\n",
            &[("proxy-connection", "")],
        ),
        (
            "Connection: X-Hop\r\nX-Hop: 1\r\nX: y\r\n",
            &[("x-hop", ""), ("x", "y")],
        ),
        (
            "X-HOP: 1\r\nconnection: x-hop\r\n",
            &[("x-hop", ""), ("connection", "")],
        ),
        (
            "X-A: 1\r\nX-B: 2\r\nConnection: close, X-A ,x-b\r\n",
            &[("x-a", ""), ("x-b", "")],
        ),
        (
            "X-A: 1\r\nX-B: 2\r\nConnection: X-A\r\nConnection: X-B\r\n",
            &[("x-a", ""), ("x-b", "")],
        ),
        ("X-A: 1\r\nX-A: 2\r\nConnection: X-A\r\n", &[("x-a", "")]),
        ("TE: gzip\r\n", &[("te", "")]),
        ("TE: gzip;q=0.5, deflate\r\n", &[("te", "")]),
        ("TE: trailers\r\n", &[("te", "trailers")]),
        ("TE: gzip, trailers\r\n", &[("te", "trailers")]),
        (
            "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
            &[("upgrade", ""), ("connection", ""), ("http2-settings", "")],
        ),
        (
            "Upgrade: h2c\r\nConnection: Upgrade\r\nConnection: HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n",
            &[("upgrade", ""), ("connection", ""), ("http2-settings", "")],
        ),
        (
            "Upgrade: websocket\r\n",
            &[("upgrade", ""), ("connection", "")],
        ),
        ("HTTP2-Settings: AAMA\r\n", &[("http2-settings", "")]),
    ];
    Gateway::start("").check("web", cases);
}

#[test]
fn what_is_meant_for_the_server_arrives_as_it_is() {
    let cases: &[Case] = &[
        ("X: a\r\nY: b\r\nX: c\r\n", &[("x", "a, c"), ("y", "b")]),
        ("X:   a  b\t c  \r\n", &[("x", "a  b\t c")]),
        ("X: a:b: \"c, d\"\r\n", &[("x", "a:b: \"c, d\"")]),
        (
            "Cookie: a=b; c=d\r\nAuthorization: Basic YTpi\r\n",
            &[("cookie", "a=b; c=d"), ("authorization", "Basic YTpi")],
        ),
        (
            "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\nIf-None-Match: \"x\"\r\n",
            &[
                ("accept-encoding", "gzip"),
                ("range", "bytes=0-1"),
                ("if-none-match", "\"x\""),
            ],
        ),
        (
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n",
            &[
                (
                    "traceparent",
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                ),
                ("tracestate", "a=b"),
            ],
        ),
        (
            "User-Agent: x\r\nReferer: http://b/\r\nOrigin: http://b\r\n",
            &[
                ("user-agent", "x"),
                ("referer", "http://b/"),
                ("origin", "http://b"),
            ],
        ),
        (
            "",
            &[
                ("via", "1.1 ringgate"),
                ("user-agent", ""),
                ("accept", ""),
                ("host", "a"),
            ],
        ),
        ("Via: 1.0 fred\r\n", &[("via", "1.0 fred, 1.1 ringgate")]),
    ];
    Gateway::start("").check("web", cases);
}

/// Whoever asks: the method that was judged is the one that is done.
const NO_OTHER_METHOD: &[(&str, &str)] = &[
    ("x-http-method-override", ""),
    ("x-http-method", ""),
    ("x-method-override", ""),
];

#[test]
fn a_strangers_word_on_who_it_is_counts_nothing() {
    let cases: &[Case] = &[
        (
            "",
            &[
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "a"),
            ],
        ),
        (
            "X-Forwarded-For: 1.1.1.1\r\n",
            &[("x-forwarded-for", "127.0.0.1")],
        ),
        (
            "X-Forwarded-For: 1.1.1.1\r\nX-FORWARDED-FOR: 2.2.2.2, 3.3.3.3\r\n",
            &[("x-forwarded-for", "127.0.0.1")],
        ),
        ("X-Forwarded-For:\r\n", &[("x-forwarded-for", "127.0.0.1")]),
        (
            "X-Forwarded-Proto: https\r\n",
            &[("x-forwarded-proto", "http")],
        ),
        (
            "X-Forwarded-Host: b\r\nx-forwarded-host: c\r\n",
            &[("x-forwarded-host", "a")],
        ),
        (
            "X-Forwarded-Server: b\r\nX-Forwarded-Prefix: /b\r\n",
            &[("x-forwarded-server", ""), ("x-forwarded-prefix", "")],
        ),
        ("Forwarded: for=1.1.1.1;host=b\r\n", &[("forwarded", "")]),
        ("X-Real-IP: 1.1.1.1\r\n", &[("x-real-ip", "")]),
        (
            "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n",
            &[("x-original-url", ""), ("x-rewrite-url", "")],
        ),
        (
            "X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: PUT\r\nX-Method-Override: PUT\r\n",
            NO_OTHER_METHOD,
        ),
        ("Proxy: http://b/\r\n", &[("proxy", "")]),
        (
            "X-Remote-User: root\r\nX-User: root\r\nX-Authenticated-User: root\r\n",
            &[
                ("x-remote-user", ""),
                ("x-user", ""),
                ("x-authenticated-user", ""),
            ],
        ),
        (
            "X-Auth-Request-User: root\r\nx-auth-request-email: root@b\r\n",
            &[("x-auth-request-user", ""), ("x-auth-request-email", "")],
        ),
        (
            "X-SSL-Client-Verify: SUCCESS\r\nSSL-Client-Verify: SUCCESS\r\nX-Client-Cert: b\r\n",
            &[
                ("x-ssl-client-verify", ""),
                ("ssl-client-verify", ""),
                ("x-client-cert", ""),
            ],
        ),
        (
            "X-Original-URI: /admin\r\nX-Original-Host: b\r\nX-Host: b\r\nX-Original-Method: PUT\r\n",
            &[
                ("x-original-uri", ""),
                ("x-original-host", ""),
                ("x-host", ""),
                ("x-original-method", ""),
            ],
        ),
        (
            "True-Client-IP: 1.1.1.1\r\nX-Client-IP: 1.1.1.1\r\n",
            &[("true-client-ip", ""), ("x-client-ip", "")],
        ),
        (
            "CF-Connecting-IP: 1.1.1.1\r\nFastly-Client-IP: 1.1.1.1\r\n",
            &[("cf-connecting-ip", ""), ("fastly-client-ip", "")],
        ),
        // What only resembles them is the client's own.
        (
            "X-Username: ann\r\nX-Remote: 1\r\nCF-Ray: 1\r\nX-Hosts: b\r\n",
            &[
                ("x-username", "ann"),
                ("x-remote", "1"),
                ("cf-ray", "1"),
                ("x-hosts", "b"),
            ],
        ),
        (
            "X-Consumer: root\r\nx-consumer: admin\r\n",
            &[("x-consumer", "")],
        ),
        (
            "X_Forwarded_For: 1.1.1.1\r\nX-Forwarded_For: 1.1.1.1\r\n",
            &[
                ("x_forwarded_for", ""),
                ("x-forwarded_for", ""),
                ("x-forwarded-for", "127.0.0.1"),
            ],
        ),
        (
            "X_Consumer: root\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n_: x\r\n",
            &[
                ("x_consumer", ""),
                ("content_length", ""),
                ("transfer_encoding", ""),
                ("_", ""),
            ],
        ),
    ];
    Gateway::start("").check("web", cases);
}

#[test]
fn the_port_that_servers_hear_of_is_the_one_that_was_asked() {
    let gateway = Gateway::start("");
    let request = gateway.sent_on("web", "X-Forwarded-Port: 443\r\n");
    let port = gateway.ringgate.addr("web").port().to_string();
    let ports: Vec<_> = request.head.all("x-forwarded-port").collect();
    assert_eq!(ports, [&port[..]]);
}

#[test]
fn a_trusted_proxys_word_counts() {
    let cases: &[Case] = &[
        (
            "",
            &[
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-proto", "http"),
            ],
        ),
        (
            "X-Forwarded-For: 1.1.1.1\r\n",
            &[("x-forwarded-for", "1.1.1.1, 127.0.0.1")],
        ),
        (
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n",
            &[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 127.0.0.1")],
        ),
        (
            "X-Forwarded-Proto: https\r\n",
            &[("x-forwarded-proto", "https")],
        ),
        ("X-Forwarded-Host: b\r\n", &[("x-forwarded-host", "b")]),
        (
            "Forwarded: for=1.1.1.1\r\n",
            &[("forwarded", "for=1.1.1.1")],
        ),
        (
            "X-Forwarded-Prefix: /b\r\n",
            &[("x-forwarded-prefix", "/b")],
        ),
        ("X-Request-Id: abc-1\r\n", &[("x-request-id", "abc-1")]),
        ("X-Consumer: root\r\n", &[("x-consumer", "")]),
        (
            "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nProxy: x\r\n",
            &[("x-original-url", ""), ("x-rewrite-url", ""), ("proxy", "")],
        ),
        (
            "X_Forwarded_For: 1.1.1.1\r\n",
            &[("x_forwarded_for", ""), ("x-forwarded-for", "127.0.0.1")],
        ),
        (
            "X-Remote-User: ann\r\nX-SSL-Client-Verify: SUCCESS\r\nX-Real-IP: 1.1.1.1\r\n",
            &[
                ("x-remote-user", "ann"),
                ("x-ssl-client-verify", "SUCCESS"),
                ("x-real-ip", "1.1.1.1"),
            ],
        ),
        (
            "x-http-method-override: DELETE\r\nX-HTTP-METHOD: PUT\r\nX-Method-Override: PUT\r\n",
            NO_OTHER_METHOD,
        ),
    ];
    Gateway::start("").check("trusted", cases);
}

#[test]
fn the_client_is_the_last_one_that_no_trusted_proxy_is() {
    let gateway = Gateway::start("");
    let cases = [
        ("web", "X-Forwarded-For: 1.1.1.1\r\n", "127.0.0.1"),
        ("trusted", "", "127.0.0.1"),
        ("trusted", "X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1"),
        (
            "trusted",
            "X-Forwarded-For: 9.9.9.9, 1.1.1.1\r\n",
            "1.1.1.1",
        ),
        (
            "trusted",
            "X-Forwarded-For: 9.9.9.9, 1.1.1.1, 127.0.0.5\r\n",
            "1.1.1.1",
        ),
        (
            "trusted",
            "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 2001:db8::1\r\n",
            "2001:db8::1",
        ),
    ];
    for (number, (listener, fields, expected)) in cases.into_iter().enumerate() {
        gateway.ask(listener, fields);
        let line = &gateway.ringgate.access_log(number + 1)[number];
        let client = line["client"].as_str().unwrap();
        let client = client.trim_start_matches('[');
        assert!(client.starts_with(expected), "{fields:?}: {line}");
    }
}

#[test]
fn every_request_has_an_id_that_server_client_and_log_share() {
    const LONGEST: usize = 128;
    let gateway = Gateway::start("");
    let (longest, longer) = ("i".repeat(LONGEST), "i".repeat(LONGEST + 1));
    // Who sends which id, and whether it is kept.
    let cases = [
        ("web", "", false),
        ("web", "mine", false),
        ("trusted", "", false),
        ("trusted", "theirs", true),
        ("trusted", &longest, true),
        ("trusted", &longer, false),
        ("trusted", "with a space", false),
    ];
    let mut ids = HashSet::new();
    for (number, (listener, id, is_kept)) in cases.into_iter().enumerate() {
        let fields = match id {
            "" => String::new(),
            id => format!("X-Request-Id: {id}\r\n"),
        };
        let answer = gateway.ask(listener, &fields);
        let request = gateway.server.last();
        let got: Vec<_> = request.head.all("x-request-id").collect();
        assert_eq!(got.len(), 1, "{id:?}: {got:?}");
        let is_made = got[0].len() == 32 && got[0].bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(
            if is_kept { got[0] == id } else { is_made },
            "{id:?}: {got:?}"
        );
        assert_eq!(answer.head.all("x-request-id").collect::<Vec<_>>(), got);
        assert_eq!(
            gateway.ringgate.access_log(number + 1)[number]["request_id"],
            got[0]
        );
        assert!(ids.insert(got[0].to_owned()), "{got:?} a second time");
    }
    // What has no room in a head is no id.
    let answer = gateway.ask(
        "trusted",
        &format!("X-Request-Id: {}\r\n", "i".repeat(1 << 20)),
    );
    assert_eq!(answer.status, 431, "{answer:?}");
    assert_eq!(gateway.server.received().len(), ids.len());
}

#[test]
fn a_credential_that_was_used_up_goes_no_further_and_the_name_does() {
    let gateway = Gateway::start("auth: { tokens_file: $dir/tokens }");
    let request = gateway.sent_on(
        "web",
        "Authorization: Bearer secret\r\nX-Consumer: root\r\n",
    );
    assert_eq!(request.field("authorization"), None);
    assert_eq!(request.head.all("x-consumer").collect::<Vec<_>>(), ["ann"]);
    let refused = gateway.ask("web", "X-Consumer: ann\r\nX-Forwarded-For: 127.0.0.1\r\n");
    assert_eq!(refused.status, 401);
    assert_eq!(gateway.server.received().len(), 1);
    let open = gateway.sent_on("trusted", "Authorization: Bearer secret\r\n");
    assert_eq!(open.field("authorization"), Some("Bearer secret"));
}

#[test]
fn fields_are_set_and_removed_on_both_ways() {
    let server = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Inner: 1\r\nX-Inner: 2\r\nServer: s\r\nX-Frame: old\r\nX: y\r\n\r\n"
            .to_vec()
    });
    let gateway = Gateway::before(
        server,
        "headers: { request: { set: { X-Stage: live, x-new: a b }, remove: [X-Debug, cookie] }, \
         response: { set: { x-frame: deny }, remove: [x-inner, Server] } }",
    );
    let fields = "X-Stage: test\r\nx-stage: dev\r\nX-Debug: 1\r\nCookie: a=b\r\nX: y\r\n";
    let answer = gateway.ask("web", fields);
    let all = |head: &ringgate_tests::Head, name: &str| {
        head.all(name)
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let request = gateway.server.last().head;
    let expected = [
        ("x-stage", "live"),
        ("x-new", "a b"),
        ("x-debug", ""),
        ("cookie", ""),
        ("x", "y"),
    ];
    for (name, value) in expected {
        assert_eq!(all(&request, name), value, "{name}");
    }
    for (name, value) in [
        ("x-frame", "deny"),
        ("x-inner", ""),
        ("server", ""),
        ("x", "y"),
    ] {
        assert_eq!(all(&answer.head, name), value, "{name}");
    }
}

#[test]
fn a_client_gets_what_the_server_meant_for_it() {
    // What a server says besides its length, and what the client gets of it.
    let cases: &[Case] = &[
        ("X: a\r\nY: b\r\nX: c\r\n", &[("x", "a, c"), ("y", "b")]),
        (
            "Set-Cookie: a=b\r\nSet-Cookie: c=d, e\r\n",
            &[("set-cookie", "a=b, c=d, e")],
        ),
        (
            "Connection: X-Hop\r\nX-Hop: 1\r\n",
            &[("x-hop", ""), ("connection", "")],
        ),
        ("Connection: close\r\n", &[("connection", "")]),
        (
            "Keep-Alive: timeout=5\r\nProxy-Connection: close\r\n",
            &[("keep-alive", ""), ("proxy-connection", "")],
        ),
        (
            "Upgrade: h2c\r\nConnection: Upgrade\r\n",
            &[("upgrade", ""), ("connection", "")],
        ),
        (
            "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nServer: s\r\n",
            &[("date", "Tue, 15 Nov 1994 08:12:31 GMT"), ("server", "s")],
        ),
        (
            "Via: 1.1 inner\r\nAge: 5\r\n",
            &[("via", "1.1 inner"), ("age", "5"), ("server", "")],
        ),
        (
            "WWW-Authenticate: Basic realm=\"x\"\r\n",
            &[("www-authenticate", "Basic realm=\"x\"")],
        ),
    ];
    for (said, expected) in cases {
        let said: &str = said;
        let server = Recorder::answering(move |_| {
            format!("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n{said}\r\nhi").into_bytes()
        });
        let gateway = Gateway::before(server, "");
        let answer = gateway.ask("web", "");
        assert_eq!((answer.status, &answer.text()[..]), (200, "hi"), "{said:?}");
        for (name, value) in *expected {
            let got: Vec<_> = answer.head.all(name).collect();
            assert_eq!(got.join(", "), *value, "{said:?}: {name}");
        }
        assert_eq!(answer.head.all("date").count(), 1, "{said:?}");
    }
}

#[test]
fn an_answer_of_ours_keeps_a_length_and_the_connection() {
    let gateway = Gateway::before(
        Recorder::answering(|_| ok("")),
        "auth: { tokens_file: $dir/tokens }",
    );
    let mut wire = Wire::over(gateway.ringgate.connect("web"));
    for _ in 0..3 {
        let answer = wire.ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            (answer.status, answer.reason()),
            (401, Some("unauthorized".to_owned()))
        );
        assert!(
            !answer.says_close() && answer.field("content-length").is_some(),
            "{answer:?}"
        );
        assert_eq!(answer.head.all("date").count(), 1, "{answer:?}");
    }
    let good = wire.ask("GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\n\r\n");
    assert_eq!(good.status, 200);
}
