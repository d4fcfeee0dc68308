//! Promise: a request goes where the first route that it fulfils says, by the path that the server will see, changed as
//! the route says and in no other way; thousands of routes cost no more than a few.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write as _;
use std::time::Duration;

use ringgate_tests::{
    Answer, Authority, Config, Recorder, Ringgate, Says, TlsClient, Wire, first_line, in_parallel,
    ok, run_to_end,
};

/// Pools by name, each of one server that answers with that name.
fn pools(names: &[&'static str]) -> (Vec<Recorder>, String) {
    let servers: Vec<Recorder> = names
        .iter()
        .copied()
        .map(|name| Recorder::answering(move |_| ok(name)))
        .collect();
    let pools = names
        .iter()
        .zip(&servers)
        .map(|(name, server)| format!("  {name}: {{ servers: ['{server}'], health: off }}\n"));
    let pools = format!("pools:\n{}", pools.collect::<String>());
    (servers, pools)
}

fn yaml(http: &str, routes: &str, pools: &str) -> String {
    format!(
        "
workers: 1
listeners:
  web:
    bind: '127.0.0.1:$web'
    http: {{ {http} }}
    routes:
{routes}
{pools}"
    )
}

fn ask(ringgate: &Ringgate, request: &str) -> Answer {
    Wire::connect(ringgate.addr("web")).ask(request)
}

/// A request of one line and these fields, a Host of `a` where there is none, and the body of the answer or its status.
fn goes_to(ringgate: &Ringgate, line: &str, fields: &str) -> String {
    let host = if fields.contains("Host:") {
        ""
    } else {
        "Host: a\r\n"
    };
    let answer = ask(ringgate, &format!("{line} HTTP/1.1\r\n{host}{fields}\r\n"));
    match answer.status {
        200 => answer.text(),
        status => status.to_string(),
    }
}

#[test]
fn conditions_choose_the_first_route_that_has_them_all() {
    let names = [
        "exact", "under", "host", "wild", "get", "flag", "query", "both", "client", "rest",
    ];
    let (_servers, pools) = pools(&names);
    let ringgate = Ringgate::start(&yaml(
        "",
        "
      - { host: [h.example.com, Other.example.com], pool: host }
      - { host: '*.wild.example.com', pool: wild }
      - { path: /exact, pool: exact }
      - { path: [/under/*, /below/*], methods: [POST, PUT], headers: { x-both: '1' }, query: { q: '2' }, pool: both }
      - { path: [/under/*, /below/*], pool: under }
      - { path: /method, methods: [GET, HEAD], pool: get }
      - { path: /flag, headers: { X-Version: '2', x-flag: '*' }, pool: flag }
      - { path: /query, query: { v: '1', debug: '*' }, pool: query }
      - { path: /query, query: { 'a name': 'ä & b' }, pool: both }
      - { path: /trust, headers: { x-authenticated-user: root }, pool: flag }
      - { path: /client, client: [10.0.0.0/8], pool: rest }
      - { path: /client, client: [127.0.0.0/8], pool: client }
      - { path: /rest/*, pool: rest }",
        &pools,
    ));
    for (line, fields, expected) in [
        ("GET /", "Host: h.example.com\r\n", "host"),
        ("GET /exact", "Host: h.example.com\r\n", "host"),
        ("GET /", "Host: H.Example.COM\r\n", "host"),
        ("GET /", "Host: h.example.com:8080\r\n", "host"),
        ("GET /", "Host: h.example.com.\r\n", "host"),
        (
            "GET http://h.example.com/",
            "Host: h.example.com\r\n",
            "host",
        ),
        ("GET /", "Host: other.example.com\r\n", "host"),
        ("GET /", "Host: x.wild.example.com\r\n", "wild"),
        ("GET /", "Host: wild.example.com\r\n", "404"),
        ("GET /", "Host: xwild.example.com\r\n", "404"),
        ("GET /query?a%20name=%C3%A4%20%26%20b", "", "both"),
        ("GET /query?a%20name=%C3%A4+%26+b", "", "404"),
        ("GET /trust", "X-Authenticated-User: root\r\n", "404"),
        ("GET /exact", "", "exact"),
        ("GET /exact?q=1", "", "exact"),
        ("GET /exact/", "", "404"),
        ("GET /Exact", "", "404"),
        ("GET /exactly", "", "404"),
        ("GET /e%78act", "", "exact"),
        ("GET /under/../exact", "", "exact"),
        ("GET /under", "", "under"),
        ("GET /under/", "", "under"),
        ("GET /under/a/b", "", "under"),
        ("GET /below//a", "", "under"),
        ("GET /underneath", "", "404"),
        ("GET /rest/../under/./x", "", "under"),
        ("POST /under/a?q=2", "X-Both: 1\r\n", "both"),
        ("GET /under/a?q=2", "X-Both: 1\r\n", "under"),
        ("POST /under/a?q=2", "", "under"),
        ("POST /under/a?q=3", "X-Both: 1\r\n", "under"),
        ("GET /method", "", "get"),
        ("HEAD /methods", "", "404"),
        ("POST /method", "", "404"),
        ("get /method", "", "404"),
        ("GET /flag", "X-Version: 2\r\nX-Flag: anything\r\n", "flag"),
        ("GET /flag", "X-Version: 2\r\nX-Flag:\r\n", "flag"),
        ("GET /flag", "X-Version: 22\r\nX-Flag: 1\r\n", "404"),
        ("GET /flag", "X-Version: 2\r\n", "404"),
        ("GET /query?debug&v=1", "", "query"),
        ("GET /query?v=1&debug=0", "", "query"),
        ("GET /query?v=1", "", "404"),
        ("GET /query?v=12&debug", "", "404"),
        ("GET /query?xv=1&debug", "", "404"),
        ("GET /client", "", "client"),
        ("GET /client", "X-Forwarded-For: 10.0.0.1\r\n", "client"),
        ("GET /rest/x", "", "rest"),
        ("GET /nowhere", "", "404"),
    ] {
        assert_eq!(
            goes_to(&ringgate, line, fields),
            expected,
            "{line} {fields:?}"
        );
    }
}

#[test]
fn tricks_with_the_path_do_not_reach_what_another_route_guards() {
    let (servers, pools) = pools(&["public", "admin"]);
    let ringgate = Ringgate::start_prepared(
        &yaml(
            "",
            "
      - { path: /admin/*, pool: admin, http: { auth: { tokens_file: $dir/tokens } } }
      - { path: /*, pool: public }",
            &pools,
        ),
        |dir| std::fs::write(dir.join("tokens"), "").unwrap(),
    );
    for (target, expected) in [
        ("/admin", "401"),
        ("/admin/", "401"),
        ("/admin/x", "401"),
        ("//admin", "401"),
        ("/./admin", "401"),
        ("/%2e/admin", "401"),
        ("/pub/../admin", "401"),
        ("/pub/%2e%2e/admin", "401"),
        ("/pub/%2E./admin", "401"),
        ("/admin/.", "401"),
        ("/admin/x/..", "401"),
        ("/%61dmin", "401"),
        ("/a%64min/x", "401"),
        ("http://a/admin", "401"),
        ("/pub/..%2fadmin", "400"),
        ("/pub/..%2Fadmin", "400"),
        ("/pub/..%5cadmin", "400"),
        ("/pub/..\\admin", "400"),
        ("/pub/..;/admin", "400"),
        ("/admin%00.css", "400"),
        ("/../admin", "400"),
        ("/%2e%2e/admin", "400"),
        ("/%zz/admin", "400"),
        ("/ADMIN", "public"),
        ("/admin%20", "public"),
        ("/pub/%252e%252e/admin", "public"),
        ("/admins", "public"),
    ] {
        assert_eq!(
            goes_to(&ringgate, &format!("GET {target}"), ""),
            expected,
            "{target}"
        );
    }
    assert_eq!(servers[1].bytes(), 0, "nothing reached the guarded server");
    // What was matched is what was forwarded.
    for request in servers[0].received() {
        let path = request.target().to_ascii_lowercase();
        assert!(!path.contains("/../") && !path.contains("//"), "{path}");
    }
}

#[test]
fn paths_are_rewritten_and_fields_changed_as_the_route_says() {
    let server = Recorder::answering(|request| {
        let target = request.target();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nServer: secret\r\nX-Keep: 1\r\n\r\n{target}",
            target.len()
        )
        .into_bytes()
    });
    let pools = format!("pools:\n  app: {{ servers: ['{server}'], health: off }}\n");
    let ringgate = Ringgate::start(&yaml(
        "headers: { request: { set: { x-from: listener }, remove: [x-gone] }, response: { set: { x-by: ringgate }, remove: [Server] } }",
        "
      - { path: /api/*, rewrite: /*, pool: app }
      - { path: /old/*, rewrite: /v2/new/*, pool: app }
      - { path: /fixed/*, rewrite: /index.html, pool: app }
      - { path: /own, pool: app, http: { headers: { request: { set: { x-from: route } } } } }
      - { path: /*, pool: app }",
        &pools,
    ));
    for (target, expected) in [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api/a/b?c=d", "/a/b?c=d"),
        ("/api//a", "/a"),
        ("/old/x", "/v2/new/x"),
        ("/old?q", "/v2/new?q"),
        ("/fixed/a?b=c", "/index.html?b=c"),
        ("/other", "/other"),
    ] {
        let fields = "Host: a\r\nX-From: client\r\nX-Gone: 1\r\n";
        let answer = ask(&ringgate, &format!("GET {target} HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(answer.text(), expected, "{target}");
        let all: Vec<&str> = answer.head.all("x-by").collect();
        assert_eq!((all, answer.field("server")), (vec!["ringgate"], None));
        assert_eq!(answer.field("x-keep"), Some("1"));
        let request = server.last();
        let all: Vec<&str> = request.head.all("x-from").collect();
        assert_eq!((all, request.field("x-gone")), (vec!["listener"], None));
    }
    let answer = ask(
        &ringgate,
        "GET /own HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\n\r\n",
    );
    assert_eq!(
        answer.field("server"),
        Some("secret"),
        "the route's changes replace the listener's"
    );
    let request = server.last();
    assert_eq!(
        (request.field("x-from"), request.field("x-gone")),
        (Some("route"), Some("1"))
    );
}

#[test]
fn redirects_say_where_and_ask_no_server() {
    let ringgate = Ringgate::start(
        "
workers: 1
listeners:
  web:
    bind: '127.0.0.1:$web'
    http: { redirect: https, headers: { response: { set: { strict-transport-security: max-age=9 } } } }
    routes:
      - { path: /to/*, http: { redirect: { to: 'https://b.example$path$query', status: 307 } } }
      - { path: /fixed, http: { redirect: { to: /elsewhere, status: 301 } } }
      - { path: /host, http: { redirect: { to: 'https://$host/x' } } }
pools:
  none: ['127.0.0.1:9']
",
    );
    for (target, host, status, location) in [
        (
            "/a?b=c",
            "a.example.com",
            308,
            "https://a.example.com/a?b=c",
        ),
        ("/", "a.example.com:8080", 308, "https://a.example.com/"),
        ("/x/../y", "a.example.com", 308, "https://a.example.com/y"),
        (
            "//evil.example",
            "a.example.com",
            308,
            "https://a.example.com/evil.example",
        ),
        ("/to/a?b=c", "a", 307, "https://b.example/to/a?b=c"),
        ("/to/a", "a", 307, "https://b.example/to/a"),
        ("/fixed?q=1", "a", 301, "/elsewhere"),
        ("/host", "A.example.com", 308, "https://a.example.com/x"),
    ] {
        let mut wire = Wire::connect(ringgate.addr("web"));
        for _ in 0..2 {
            let answer = wire.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(answer.status, status, "{target}");
            assert_eq!(answer.field("location"), Some(location), "{target}");
            let strict = answer.field("strict-transport-security");
            assert_eq!(strict, Some("max-age=9"), "{target}");
        }
    }
    let attack = "GET /a%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ask(&ringgate, attack).field("set-cookie"), None);
}

#[test]
fn names_of_tls_choose_too() {
    let authority = Authority::new("ca");
    let (_servers, pools) = pools(&["one", "two", "rest"]);
    let yaml = yaml(
        "",
        "
      - { sni: one.example.com, path: /both, pool: one }
      - { sni: '*.example.com', path: /both, pool: two }
      - { path: /both, pool: rest }",
        &pools,
    )
    .replace("    http: {", "    tls: { certs: $dir/certs }\n    http: {");
    let names = ["one.example.com", "other.example.com", "a.example.net"];
    let ringgate = Ringgate::start_prepared(&yaml, |dir| {
        authority
            .sign(&Says::names(&names))
            .write(&dir.join("certs"), "all");
    });
    for (name, expected) in names.iter().zip(["one", "two", "rest"]) {
        let client = TlsClient::new(&authority);
        let mut stream = client.connect(ringgate.addr("web"), name).unwrap();
        use std::io::{Read, Write};
        let request = format!("GET /both HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(first_line(&mut stream).unwrap(), "HTTP/1.1 200 OK\r");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with(expected), "{name}: {rest}");
    }
}

#[test]
fn a_split_has_its_shares() {
    const REQUESTS: usize = 4_000;
    let (_servers, pools) = pools(&["old", "new", "never"]);
    let route = "      - { path: /*, pools: { old: 90, new: 10, never: 0 } }";
    let ringgate = Ringgate::start(&yaml("", route, &pools));
    let of_clients = in_parallel(4, 4, |_| {
        let mut wire = Wire::connect(ringgate.addr("web"));
        let ask = |_| wire.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text();
        (0..REQUESTS / 4)
            .map(ask)
            .filter(|name| name == "new")
            .count()
    });
    let new: usize = of_clients.iter().sum();
    // A tenth, give or take four standard deviations of chance.
    assert!((324..=476).contains(&new), "{new} of {REQUESTS}");
    let never = ringgate.metric("ringgate_pool_connections_total", &[("pool", "never")]);
    assert_eq!(never, 0.0);
}

/// So many routes, half of them by host and half by path, that answer by themselves.
fn redirects(count: usize) -> String {
    let mut routes = String::new();
    for number in 0..count / 2 {
        let to = format!("http: {{ redirect: {{ to: 'https://r{number}.example/' }} }}");
        writeln!(routes, "      - {{ host: h{number}.example.com, {to} }}").unwrap();
        writeln!(routes, "      - {{ path: /p{number}/*, {to} }}").unwrap();
    }
    yaml("", &routes, "pools:\n  none: ['127.0.0.1:9']\n")
}

/// What requests to the last two routes cost, in time of the processor.
fn cost(ringgate: &Ringgate, count: usize) -> Duration {
    const REQUESTS: usize = 4_000;
    let last = count / 2 - 1;
    let by_host = format!("GET / HTTP/1.1\r\nHost: h{last}.example.com\r\n\r\n");
    let by_path = format!("GET /p{last}/x HTTP/1.1\r\nHost: a\r\n\r\n");
    let before = ringgate.proc().cpu();
    in_parallel(4, 4, |_| {
        let mut wire = Wire::connect(ringgate.addr("web"));
        for _ in 0..REQUESTS / 2 {
            for request in [&by_host, &by_path] {
                assert_eq!(wire.ask(request).status, 308);
            }
        }
    });
    ringgate.proc().cpu() - before
}

#[test]
fn four_thousand_routes_cost_no_more_than_four() {
    const TRIES: usize = 4;
    let (few, many) = (4, 4_000);
    let [with_few, with_many] = [few, many].map(|count| Ringgate::start(&redirects(count)));
    let ratio = || cost(&with_many, many).as_secs_f64() / cost(&with_few, few).as_secs_f64();
    // A scan would cost several times as much, each time.
    let mut ratios = Vec::new();
    while ratios.iter().all(|ratio| *ratio >= 1.5) {
        assert!(ratios.len() < TRIES, "{ratios:.2?}");
        ratios.push(ratio());
    }
    println!("{ratios:.2?}");
}

#[test]
fn check_names_routes_that_never_match_and_doors_that_stand_open() {
    let of = |routes: &str| {
        let text = yaml("", routes, "pools:\n  app: ['127.0.0.1:9']\n");
        let config = Config::write(&text);
        std::fs::write(config.dir().join("tokens"), "").unwrap();
        let checked = run_to_end(&["check", "-c", &config.file().display().to_string()]);
        (
            checked.code,
            format!("{}{}", checked.stdout, checked.stderr),
        )
    };
    let (code, quiet) = of(
        "      - { name: first, path: /a, pool: app }\n      - { name: second, path: /b, pool: app }",
    );
    assert_eq!(code, Some(0), "{quiet}");
    assert!(
        !quiet.contains("second") && !quiet.contains("warning"),
        "{quiet}"
    );
    for (what, expected, routes) in [
        (
            "below a path that takes all",
            1,
            "      - { name: first, path: /*, pool: app }\n      - { name: second, path: /b, pool: app }",
        ),
        (
            "below the same with fewer conditions",
            1,
            "      - { name: first, path: /b/*, pool: app }\n      - { name: second, path: /b/c, methods: [GET], pool: app }",
        ),
        (
            "below a wildcard",
            1,
            "      - { name: first, host: '*.example.com', pool: app }\n      - { name: second, host: a.example.com, path: /b, pool: app }",
        ),
        (
            "open beside one that is not",
            0,
            "      - { name: first, path: /a, pool: app, http: { auth: { tokens_file: $dir/tokens } } }\n      - { name: second, path: /b, pool: app }",
        ),
    ] {
        let (code, said) = of(routes);
        assert_eq!(code, Some(expected), "{what}: {said}");
        assert!(said.contains("second"), "{what}: {said}");
    }
}
