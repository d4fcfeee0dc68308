//! Promise: every request leaves one line and counts once, whatever became of it, and nothing that a client writes can
//! forge a line.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use ringgate_tests::{Ends, H2, Recorder, Refusing, Ringgate, Then, Wire, head, ok, token_line};
use serde_json::Value;

/// All fields of a request that a server answered over a connection that was made for it.
const FIELDS: [&str; 20] = [
    "time",
    "listener",
    "route",
    "pool",
    "server",
    "client",
    "method",
    "host",
    "path",
    "status",
    "bytes_in",
    "bytes_out",
    "connect_s",
    "first_byte_s",
    "duration_s",
    "retries",
    "closed_by",
    "reason",
    "consumer",
    "request_id",
];

fn start(server: &Recorder, http: &str, routes: &str) -> Ringgate {
    let refusing = Refusing::start();
    let yaml = format!(
        "
workers: 1
timeouts: {{ response: 300ms, header: 1s }}
listeners:
  web:
    bind: '127.0.0.1:$web'
    http: {{ {http} }}
    routes: [{routes}]
pools:
  app: {{ servers: [{{ address: '{server}', name: s }}], health: off }}
  none: {{ servers: ['{}'], health: off }}
",
        refusing.addr()
    );
    let ringgate = Ringgate::start_prepared(&yaml, |dir| {
        let tokens = [
            token_line("alice", "alice", "read"),
            token_line("bob", "bob", ""),
        ];
        std::fs::write(dir.join("tokens"), tokens.concat()).unwrap();
    });
    // Its port stays taken for as long as the test runs.
    std::mem::forget(refusing);
    ringgate
}

fn keys(line: &Value) -> BTreeSet<&str> {
    line.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn a_line_has_every_field_with_the_right_value() {
    let server = Recorder::answering(|request| ok(&"x".repeat(request.body.len() * 2)));
    let ringgate = start(
        &server,
        "auth: { tokens_file: $dir/tokens }",
        "{ name: things, path: '/things/*', pool: app }",
    );
    let mut wire = Wire::connect(ringgate.addr("web"));
    let client = wire.stream().local_addr().unwrap().to_string();
    let request = "POST /things/../things/%7eme?secret=1 HTTP/1.1\r\nHost: A.example.com.:80\r\n\
                   Authorization: Bearer alice\r\nContent-Length: 1000\r\n\r\n";
    wire.send(request);
    let answer = wire.ask([b'q'; 1000]);
    assert_eq!(answer.body.len(), 2000);

    let line = ringgate.access_log(1)[0].clone();
    assert_eq!(keys(&line), BTreeSet::from(FIELDS));
    // In the order of the contract.
    let order: Vec<&str> = line
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(order, FIELDS);
    for (field, expected) in [
        ("listener", Value::from("web")),
        ("route", "things".into()),
        ("pool", "app".into()),
        ("server", "s".into()),
        ("client", client.into()),
        ("method", "POST".into()),
        ("path", "/things/~me".into()),
        ("status", 200.into()),
        ("retries", 0.into()),
        ("reason", "done".into()),
        ("consumer", "alice".into()),
        ("request_id", answer.field("x-request-id").unwrap().into()),
    ] {
        assert_eq!(line[field], expected, "{field} of {line}");
    }
    assert!(
        line["host"].as_str().unwrap().starts_with("a.example.com"),
        "{line}"
    );
    assert_eq!(
        server.last().field("x-request-id"),
        line["request_id"].as_str()
    );
    let number = |field: &str| line[field].as_f64().unwrap();
    assert!(
        number("bytes_in") >= 1000.0 && number("bytes_in") < 1500.0,
        "{line}"
    );
    assert!(
        number("bytes_out") >= 2000.0 && number("bytes_out") < 2500.0,
        "{line}"
    );
    assert!(number("connect_s") > 0.0 && number("first_byte_s") > 0.0);
    assert!(number("duration_s") >= number("first_byte_s") && number("duration_s") < 20.0);
    assert!(["client", "server", "ringgate"].contains(&line["closed_by"].as_str().unwrap()));
}

#[test]
fn each_request_of_a_connection_has_a_line_and_an_id_of_its_own() {
    const REQUESTS: usize = 50;
    let server = Recorder::start();
    let ringgate = start(&server, "", "{ name: all, path: '/*', pool: app }");
    let mut wire = Wire::connect(ringgate.addr("web"));
    let mut client = H2::connect(ringgate.addr("web"));
    for number in 0..REQUESTS {
        wire.ask(format!("GET /one/{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let stream = client.open(&head("GET", &format!("/two/{number}")), Ends::Here);
        assert_eq!(client.finish(stream).status(), Some(200));
    }
    let log = ringgate.access_log(2 * REQUESTS);
    assert_eq!(log.len(), 2 * REQUESTS);
    let of = |field: &str| -> BTreeSet<&str> {
        log.iter()
            .map(|line| line[field].as_str().unwrap())
            .collect()
    };
    assert_eq!(
        (of("path").len(), of("request_id").len()),
        (2 * REQUESTS, 2 * REQUESTS)
    );
    let requests: BTreeSet<String> = server
        .received()
        .iter()
        .map(|request| request.field("x-request-id").unwrap().to_owned())
        .collect();
    assert_eq!(
        of("request_id"),
        requests.iter().map(String::as_str).collect()
    );
    assert!(
        log.iter()
            .all(|line| line["reason"] == "done" && line["status"] == 200)
    );
}

#[test]
fn the_id_of_a_trusted_proxy_is_kept_and_no_other() {
    let server = Recorder::start();
    let long = "x".repeat(129);
    for (what, http, id, is_kept) in [
        (
            "a trusted proxy's",
            "trusted_proxies: [127.0.0.1]",
            "abc-123",
            true,
        ),
        ("a stranger's", "", "abc-123", false),
        (
            "a trusted proxy's, of 129 bytes",
            "trusted_proxies: [127.0.0.1]",
            &long,
            false,
        ),
        (
            "a trusted proxy's with a space",
            "trusted_proxies: [127.0.0.1]",
            "a b",
            false,
        ),
    ] {
        let ringgate = start(&server, http, "{ name: all, path: '/*', pool: app }");
        let mut wire = Wire::connect(ringgate.addr("web"));
        let answer = wire.ask(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n"
        ));
        let given = answer.field("x-request-id").unwrap();
        let request = server.last();
        let sent: Vec<&str> = request.head.all("x-request-id").collect();
        assert_eq!(sent, [given], "{what}");
        assert_eq!(given == id, is_kept, "{what}: {given}");
        let is_made = given.len() == 32 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert_eq!(is_made, !is_kept, "{what}: {given}");
        assert_eq!(ringgate.access_log(1)[0]["request_id"], given, "{what}");
    }
}

/// A request, the status of its answer, and the reason by which it is logged.
struct Ending {
    what: &'static str,
    request: String,
    status: u16,
    reason: &'static str,
    route: Option<&'static str>,
}

impl Ending {
    /// Of a request that is none it is told what it asked for, as far as that could be read, and what is wrong with it.
    fn tells_what(&self, line: &Value) -> bool {
        match self.what {
            "a bad path" => {
                line["path"] == "/app%00" && line["host"] == "a" && line["detail"].is_string()
            }
            _ => line["detail"].is_string() == (self.reason == "bad_request"),
        }
    }

    /// Why nobody is recognised, as the log tells it.
    fn denied(&self) -> Option<&'static str> {
        match self.what {
            "nothing shown" => Some("missing"),
            "a wrong token" => Some("unknown_token"),
            _ => None,
        }
    }
}

fn endings() -> Vec<Ending> {
    let of = |what, request: String, status, reason, route| Ending {
        what,
        request,
        status,
        reason,
        route,
    };
    let get = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let large = format!("X-Large: {}\r\n", "x".repeat(40_000));
    let long = format!("/{}", "x".repeat(9_000));
    let app = Some("app");
    vec![
        of("done", get("/app", ""), 200, "done", app),
        of("no route", get("/nowhere", ""), 404, "no_route", None),
        of("a bad path", get("/app%00", ""), 400, "bad_request", None),
        of(
            "a bad field",
            get("/app", "X : y\r\n"),
            400,
            "bad_request",
            None,
        ),
        of("a large head", get("/app", &large), 431, "too_large", None),
        of("a long target", get(&long, ""), 414, "too_large", None),
        of(
            "a large body",
            get("/app", "Content-Length: 99999999\r\n"),
            413,
            "too_large",
            app,
        ),
        of(
            "nothing shown",
            get("/secret", ""),
            401,
            "unauthorized",
            Some("secret"),
        ),
        of(
            "a wrong token",
            get("/secret", "Authorization: Bearer eve\r\n"),
            401,
            "unauthorized",
            Some("secret"),
        ),
        of(
            "a scope missing",
            get("/secret", "Authorization: Bearer bob\r\n"),
            403,
            "forbidden",
            Some("secret"),
        ),
        of(
            "the first of one",
            get("/limited", ""),
            200,
            "done",
            Some("limited"),
        ),
        of(
            "the second of one",
            get("/limited", ""),
            429,
            "rate_limited",
            Some("limited"),
        ),
        of("a redirect", get("/moved", ""), 308, "done", Some("moved")),
        of(
            "nobody listens",
            get("/none", ""),
            502,
            "connect_refused",
            Some("none"),
        ),
        of(
            "no answer",
            get("/app/slow", ""),
            504,
            "response_timeout",
            app,
        ),
        of("no HTTP", get("/app/garbage", ""), 502, "bad_response", app),
        of("a reset", get("/app/reset", ""), 502, "server_reset", app),
        of(
            "TRACE",
            line("TRACE /app HTTP/1.1"),
            405,
            "bad_request",
            None,
        ),
        of(
            "CONNECT",
            line("CONNECT a:80 HTTP/1.1"),
            501,
            "bad_request",
            None,
        ),
        of(
            "HTTP/2.0 in words",
            line("GET /app HTTP/2.0"),
            505,
            "bad_request",
            None,
        ),
        of(
            "another Expect",
            get("/app", "Expect: a-miracle\r\n"),
            417,
            "bad_request",
            None,
        ),
    ]
}

#[test]
fn each_ending_has_its_reason_in_answer_log_and_metric() {
    let server = Recorder::serving(|exchange| {
        let request = exchange.request()?;
        match request.target() {
            "/app/slow" => {
                exchange.wait_for_end()?;
                return Ok(Then::Close);
            }
            "/app/garbage" => exchange.send("SMTP ready\r\n\r\n")?,
            "/app/reset" => return Ok(Then::Reset),
            _ => exchange.send(ok("ok"))?,
        }
        Ok(Then::Keep)
    });
    let ringgate = start(
        &server,
        "",
        "
      { name: app, path: '/app/*', pool: app },
      { name: secret, path: /secret, pool: app, http: { auth: { tokens_file: $dir/tokens }, require: [read] } },
      { name: limited, path: /limited, pool: app, http: { rate_limit: { rate: 1/1h, burst: 1 } } },
      { name: moved, path: /moved, http: { redirect: { to: 'https://b.example/' } } },
      { name: none, path: /none, pool: none }",
    );
    let counted = |code: &str| {
        ringgate.metric(
            "ringgate_http_requests_total",
            &[("listener", "web"), ("code", code)],
        )
    };
    let mut wrong = Vec::new();
    for (number, ending) in endings().into_iter().enumerate() {
        let code = ending.status.to_string();
        let before = counted(&code);
        let mut wire = Wire::connect(ringgate.addr("web"));
        wire.send(&ending.request);
        let answer = wire.answer();
        drop(wire);
        let line = ringgate.access_log(number + 1)[number].clone();
        let is_right = answer.status == ending.status
            && line["status"] == ending.status
            && line["reason"] == ending.reason
            && line["route"].as_str() == ending.route
            && line["request_id"].as_str() == answer.field("x-request-id")
            && line["denied"].as_str() == ending.denied()
            && ending.tells_what(&line)
            && line["client"].is_string()
            && line["duration_s"].is_number();
        let says_so = ending.reason == "done" || answer.reason().as_deref() == Some(ending.reason);
        if !is_right || !says_so || counted(&code) - before != 1.0 {
            let now = counted(&code);
            wrong.push(format!(
                "{}: {answer:?}, {line}, {before} then {now}",
                ending.what
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let metrics = ringgate.metrics();
    let requests = metrics.value("ringgate_http_requests_total", &[("listener", "web")]);
    assert_eq!(requests, Some(endings().len() as f64));
    let times = metrics.value(
        "ringgate_http_request_seconds_count",
        &[("listener", "web")],
    );
    assert_eq!(times, requests);
    for sample in metrics.samples("ringgate_http_requests_total") {
        let labels: Vec<&str> = sample.labels.keys().map(String::as_str).collect();
        assert_eq!(labels, ["code", "listener", "method", "route"]);
    }
}

#[test]
fn unknown_methods_count_as_one() {
    let server = Recorder::start();
    let ringgate = start(&server, "", "{ name: all, path: '/*', pool: app }");
    let mut wire = Wire::connect(ringgate.addr("web"));
    for number in 0..20 {
        wire.ask(format!("METHOD{number} / HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    let others = [("method", "other"), ("code", "200")];
    assert_eq!(
        ringgate.metric("ringgate_http_requests_total", &others),
        20.0
    );
    let metrics = ringgate.metrics();
    let methods: BTreeSet<&str> = metrics
        .samples("ringgate_http_requests_total")
        .map(|sample| sample.labels["method"].as_str())
        .collect();
    assert!(methods.len() < 12, "{methods:?}");
}

#[test]
fn nothing_that_a_client_writes_forges_a_line() {
    let server = Recorder::start();
    let ringgate = start(&server, "", "{ name: all, path: '/*', pool: app }");
    let long = format!("/{}", "%61".repeat(2_000));
    let targets: [&[u8]; 9] = [
        b"/%0aFAKE",
        b"/%0d%0a{\"listener\":\"web\"}",
        b"/\"},{\"listener\":\"web",
        b"/%1b[2J",
        b"/%22%5c%22",
        b"/\xc0\xaf",
        b"/\x1b[2J",
        b"/%e2%80%a8",
        long.as_bytes(),
    ];
    let mut requests: Vec<Vec<u8>> = targets
        .iter()
        .map(|target| [b"GET ", *target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat())
        .collect();
    for host in ["a\"b", "a\\b", "a{b}", "\u{e9}.example"] {
        requests.push(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes());
    }
    requests.push(b"G\"ET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    requests.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec());
    let mut refused = 0;
    for (number, request) in requests.iter().enumerate() {
        let mut wire = Wire::connect(ringgate.addr("web"));
        wire.send(request);
        refused += usize::from(wire.answer().status != 200);
        drop(wire);
        // Each one is one line, which is JSON.
        assert_eq!(ringgate.access_log(number + 1).len(), number + 1);
    }
    assert!(refused < requests.len(), "some of them are good requests");
    for line in ringgate.access_lines(requests.len()) {
        assert!(line.bytes().all(|byte| byte >= b' '), "{line:?}");
        assert!(line.len() < 20_000, "{} bytes", line.len());
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["listener"], "web");
        let known = FIELDS.into_iter().chain(["detail"]).collect();
        assert!(keys(&line).is_subset(&known), "{line}");
    }
}

#[test]
fn credentials_of_a_refused_target_stand_in_no_line() {
    let server = Recorder::start();
    let ringgate = start(&server, "", "{ name: all, path: '/*', pool: app }");
    for (number, request) in [
        "GET http://user:secret@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: user:secret@a\r\n\r\n",
        "GET /x%00?token=secret HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let mut wire = Wire::connect(ringgate.addr("web"));
        assert_eq!(wire.ask(request).status, 400, "{request:?}");
        let line = &ringgate.access_log(number + 1)[number];
        assert!(line["detail"].is_string(), "{line}");
        assert!(!line.to_string().contains("secret"), "{line}");
    }
}
