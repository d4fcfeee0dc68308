//! Promise: path and host have one form, which is both what the routes see and what a server gets. What has no such
//! form is refused, and no spelling of a guarded path comes around its guard.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use ringgate_tests::{Attacked, By, Recorder, Refused, Ringgate, Wire};

/// Targets and what a server gets.
const CANONICAL: &[(&str, &str)] = &[
    ("/", "/"),
    ("/a/b", "/a/b"),
    ("/a/b/", "/a/b/"),
    ("/pub/../admin", "/admin"),
    ("/pub/%2e%2e/admin", "/admin"),
    ("/pub/%2E./admin", "/admin"),
    ("/pub/.%2e/admin", "/admin"),
    ("/%2e/admin", "/admin"),
    ("/./admin", "/admin"),
    ("//admin", "/admin"),
    ("///admin//x", "/admin/x"),
    ("/admin/.", "/admin/"),
    ("/admin/%2e", "/admin/"),
    ("/admin/x/..", "/admin/"),
    ("/admin/x/../", "/admin/"),
    ("/a/b/c/../../d", "/a/d"),
    ("/.", "/"),
    ("/./", "/"),
    ("/a/..", "/"),
    ("/a/../", "/"),
    ("/ADMIN", "/ADMIN"),
    ("/%61dmin", "/admin"),
    ("/%41dmin", "/Admin"),
    ("/%7Euser", "/~user"),
    ("/a%2Db%2E%5F%7e", "/a-b._~"),
    ("/admin%20", "/admin%20"),
    ("/%c3%a4", "/%C3%A4"),
    ("/a%3fb", "/a%3Fb"),
    ("/a%23b", "/a%23b"),
    ("/a%3bb", "/a%3Bb"),
    ("/pub/%252e%252e/admin", "/pub/%252e%252e/admin"),
    ("/pub/%252fadmin", "/pub/%252fadmin"),
    ("/%2561", "/%2561"),
    ("/...", "/..."),
    ("/.../x", "/.../x"),
    ("/..a/x", "/..a/x"),
    ("/.a", "/.a"),
    ("/a..", "/a.."),
    ("/a.", "/a."),
    ("/a%2e%2E/b", "/a../b"),
    ("/a;x=1/b", "/a;x=1/b"),
    ("/a;/b", "/a;/b"),
    ("/a!$&'()*+,;=:@b", "/a!$&'()*+,;=:@b"),
    ("/a|b[c]", "/a%7Cb%5Bc%5D"),
    ("/?", "/?"),
    ("/?x", "/?x"),
    ("/a?b?c", "/a?b?c"),
    ("/a?x=/../y", "/a?x=/../y"),
    ("/a?x=%2f%2e%00%zz%", "/a?x=%2f%2e%00%zz%"),
    ("/a/../b?x=//", "/b?x=//"),
    ("http://a", "/"),
    ("http://a?x", "/?x"),
    ("http://a/x/../y?z", "/y?z"),
    ("HTTP://A/x", "/x"),
];

/// Targets that no server gets.
const REFUSED: &[(&str, &str)] = &[
    ("an encoded slash", "/a%2fb"),
    ("an encoded slash in capitals", "/a%2Fb"),
    ("dot segments by an encoded slash", "/pub/..%2fadmin"),
    (
        "dot segments by encoded dots and slash",
        "/pub/%2e%2e%2fadmin",
    ),
    ("an encoded backslash", "/a%5cb"),
    ("an encoded backslash in capitals", "/pub/..%5Cadmin"),
    ("a backslash", "/a\\b"),
    ("dot segments by a backslash", "/pub/..\\admin"),
    ("an encoded NUL", "/admin%00.css"),
    ("an encoded NUL alone", "/%00"),
    ("parameters of a dot segment", "/pub/..;/admin"),
    ("parameters with a value", "/pub/..;x=1/admin"),
    ("parameters of one dot", "/.;/admin"),
    ("parameters of encoded dots", "/pub/%2e%2e;/admin"),
    ("parameters of the last segment", "/pub/..;"),
    ("out of the root", "/.."),
    ("out of the root to a path", "/../admin"),
    ("out of the root by encoded dots", "/%2e%2e/admin"),
    ("out of the root later", "/pub/../../admin"),
    ("out of the root and back", "/../"),
    ("a percent at the end", "/a%"),
    ("one digit", "/a%4"),
    ("no digits", "/a%zz"),
    ("one bad digit", "/a%4g"),
    ("a sign for a digit", "/a%+4"),
    ("an overlong dot of UTF-8, raw", "/\u{c0}\u{ae}"),
    ("not ASCII", "/\u{e4}"),
    ("not ASCII in the query", "/?\u{e4}"),
    ("a control", "/a\x01b"),
    ("DEL", "/a\x7f"),
    ("a fragment", "/a#b"),
    ("a fragment in the query", "/a?b#c"),
    ("a control in the query", "/a?\x01"),
    ("a tab in the query", "/a?\tb"),
    ("no path", "a"),
    ("absolute form of a host with a user", "http://u@a/"),
    ("absolute form of another host", "http://b/"),
    (
        "absolute form with dot segments out of the root",
        "http://a/../x",
    ),
];

#[test]
fn a_path_is_matched_and_forwarded_in_its_one_form() {
    let attacked = Attacked::start("{}");
    let mut wrong = Vec::new();
    for (sent, expected) in CANONICAL {
        let mut wire = attacked.wire();
        let answer = wire.ask(format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n"));
        if (answer.status, &answer.text()[..]) != (200, *expected) {
            wrong.push(format!("{sent}: {} {}", answer.status, answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_empty_segment_before_a_dot_segment_has_one_form_too() {
    let attacked = Attacked::start("{}");
    let answer = attacked
        .wire()
        .ask("GET /a//../b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 200);
    assert!(["/b", "/a/b"].contains(&&answer.text()[..]), "{answer:?}");
}

#[test]
fn a_path_without_such_a_form_is_refused() {
    let mut attacked = Attacked::start("{}");
    for (what, target) in REFUSED {
        // A byte is a character here: what is not ASCII is sent as it is in Latin-1.
        let line = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        attacked.check(&Refused {
            what,
            bytes: line.chars().map(|c| c as u8).collect(),
            status: vec![400],
            by: By::Head,
        });
    }
    attacked.end();
}

/// Spellings of paths, and whether they lie behind the guard of `/admin`.
const GUARDED: &[(&str, bool)] = &[
    ("/admin", true),
    ("/admin/", true),
    ("/admin/x", true),
    ("/admin?x", true),
    ("/%61dmin", true),
    ("/%61%64%6d%69%6e/x", true),
    ("//admin", true),
    ("/./admin", true),
    ("/%2e/admin", true),
    ("/pub/../admin", true),
    ("/pub/%2e%2e/admin", true),
    ("/pub/%2E%2e//admin/x", true),
    ("/admin/.", true),
    ("/admin//x", true),
    ("/admin/pub/..", true),
    ("http://a/admin", true),
    ("http://a//admin", true),
    ("/admin/..", false),
    ("/admin/../pub", false),
    ("/administrator", false),
    ("/admin%20", false),
    ("/admin;x", false),
    ("/admin.css", false),
    ("/ADMIN", false),
    ("/pub/admin", false),
    ("/pub/%252e%252e/admin", false),
    ("/?/admin", false),
];

#[test]
fn no_spelling_comes_around_a_guard() {
    let (admin, public) = (Recorder::start(), Recorder::start());
    let gateway = Ringgate::start(&format!(
        "
listeners:
  web:
    bind: '127.0.0.1:$web'
    http: {{ headers: {{ request: {{ set: {{ x-guarded: 'no' }} }} }} }}
    pool: public
    routes:
      - path: /admin/*
        pool: admin
        http: {{ headers: {{ request: {{ set: {{ x-guarded: 'yes' }} }} }} }}
pools:
  admin: {{ servers: [{admin}], health: off }}
  public: {{ servers: [{public}], health: off }}
"
    ));
    let mut wrong = Vec::new();
    for (target, is_guarded) in GUARDED {
        let before = (admin.received().len(), public.received().len());
        let mut wire = Wire::over(gateway.connect("web"));
        let answer = wire.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let now = (admin.received().len(), public.received().len());
        let (expected, server, mark) = match is_guarded {
            true => ((before.0 + 1, before.1), &admin, "yes"),
            false => ((before.0, before.1 + 1), &public, "no"),
        };
        let marked = now == expected && server.last().field("x-guarded") == Some(mark);
        if answer.status != 200 || !marked {
            wrong.push(format!("{target}: {} {before:?} {now:?}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let is_admin = |path: &str| path == "/admin" || path.starts_with("/admin/");
    let path = |target: &str| target.split('?').next().unwrap_or_default().to_owned();
    assert!(
        admin
            .received()
            .iter()
            .all(|each| is_admin(&path(each.target())))
    );
    assert!(
        !public
            .received()
            .iter()
            .any(|each| is_admin(&path(each.target())))
    );
}

/// Hosts and what a server gets.
const HOSTS: &[(&str, &str)] = &[
    ("a", "a"),
    ("A.Example", "a.example"),
    ("a.", "a"),
    ("A.:80", "a:80"),
    ("a:80", "a:80"),
    ("a:8443", "a:8443"),
    ("a-b.example", "a-b.example"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("127.0.0.1", "127.0.0.1"),
    ("127.0.0.1:8080", "127.0.0.1:8080"),
    ("[::1]", "[::1]"),
    ("[::1]:80", "[::1]:80"),
    ("[2001:DB8::A]", "[2001:db8::a]"),
];

#[test]
fn a_host_is_forwarded_in_its_one_form() {
    let attacked = Attacked::start("{}");
    let mut wrong = Vec::new();
    for (sent, expected) in HOSTS {
        for target in ["/".to_owned(), format!("http://{sent}/")] {
            let mut wire = attacked.wire();
            let answer = wire.ask(format!("GET {target} HTTP/1.1\r\nHost: {sent}\r\n\r\n"));
            let request = attacked.server.received().pop();
            let host = request.as_ref().and_then(|request| request.field("host"));
            if answer.status != 200 || host != Some(expected) {
                wrong.push(format!("{target} {sent}: {} {host:?}", answer.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_host_is_matched_in_its_one_form() {
    let (guarded, open) = (Recorder::start(), Recorder::start());
    let gateway = Ringgate::start(&format!(
        "
listeners:
  web:
    bind: '127.0.0.1:$web'
    http: {{}}
    pool: open
    routes:
      - {{ host: [a.example, '*.b.example'], pool: guarded }}
pools:
  guarded: {{ servers: [{guarded}], health: off }}
  open: {{ servers: [{open}], health: off }}
"
    ));
    let hosts = [
        ("a.example", true),
        ("A.EXAMPLE", true),
        ("a.example.", true),
        ("a.example:80", true),
        ("a.example.:81", true),
        ("x.b.example", true),
        ("X.B.Example.:8080", true),
        ("b.example", false),
        ("xa.example", false),
        ("a.example.com", false),
        ("xb.example", false),
    ];
    let mut wrong = Vec::new();
    for (host, is_guarded) in hosts {
        let before = guarded.received().len();
        let mut wire = Wire::over(gateway.connect("web"));
        let status = wire
            .ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .status;
        if status != 200 || (guarded.received().len() > before) != is_guarded {
            wrong.push(format!("{host}: {status}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Methods and whether they arrive as they are.
const METHODS: &[(&str, &[u16])] = &[
    ("GET", &[200]),
    ("get", &[200]),
    ("PATCH", &[200]),
    ("M-SEARCH", &[200]),
    ("PROPFIND", &[200]),
    ("X!#$%&'*+-.^_`|~1", &[200]),
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", &[200]),
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", &[400]),
    ("G\x01ET", &[400]),
    ("G\u{e4}T", &[400]),
    ("GET,POST", &[400]),
    ("GET/", &[400]),
    ("GET:", &[400]),
    ("\"GET\"", &[400]),
    ("(GET)", &[400]),
    ("G@T", &[400]),
    ("TRACE", &[405]),
];

#[test]
fn a_method_is_a_short_token_and_arrives_as_it_is() {
    let mut attacked = Attacked::start("{}");
    for (method, status) in METHODS {
        let bytes = format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        if *status == [200] {
            attacked.let_through(&bytes, "/x");
            assert_eq!(attacked.server.last().what(), format!("{method} /x"));
        } else {
            attacked.check(&Refused {
                what: method,
                bytes,
                status: status.to_vec(),
                by: By::Head,
            });
        }
    }
    attacked.end();
    let labels: Vec<String> = attacked
        .ringgate
        .metrics()
        .samples("ringgate_http_requests_total")
        .map(|sample| sample.labels["method"].clone())
        .collect();
    let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    let strangers: Vec<_> = labels
        .iter()
        .filter(|label| !known.contains(&&label[..]))
        .collect();
    assert!(
        strangers.iter().all(|label| *label == "other"),
        "{strangers:?}"
    );
}

#[test]
fn a_field_that_decides_comes_once() {
    let twice: [(&str, &str); 5] = [
        (
            "two Authorizations",
            "Authorization: Bearer a\r\nAuthorization: Bearer b",
        ),
        (
            "the same Authorization twice",
            "Authorization: Bearer a\r\nauthorization: Bearer a",
        ),
        (
            "Authorizations of two kinds",
            "Authorization: Basic YTpi\r\nX: y\r\nAUTHORIZATION: Bearer b",
        ),
        ("two keys of a limit", "X-Api-Key: a\r\nX-Api-Key: b"),
        ("the same key twice", "X-Api-Key: a\r\nx-api-key: a"),
    ];
    let limit = "{ rate_limit: { rate: 1000/s, burst: 1000, by: 'header:X-Api-Key' } }";
    let mut attacked = Attacked::start(limit);
    for (what, fields) in twice {
        attacked.check(&Refused {
            what,
            bytes: format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").into_bytes(),
            status: vec![400],
            by: By::Head,
        });
    }
    let once = "GET /once HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nX-Api-Key: a\r\nX: y\r\nX: z\r\n\r\n";
    attacked.let_through(once.as_bytes(), "/once");
    attacked.end();
}
