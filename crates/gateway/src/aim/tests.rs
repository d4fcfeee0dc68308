//! The index of routes against tables, and against trying one route after the other.

use super::*;
use crate::testing::Random;
use ringgate_config::{Network, Stages};

fn name(text: &str) -> NamePattern {
    match text.strip_prefix("*.") {
        Some(name) => NamePattern::Under(name.to_owned()),
        None => NamePattern::Exact(text.to_owned()),
    }
}

fn path(text: &str) -> PathPattern {
    match text.strip_suffix("/*") {
        Some(under) => PathPattern::Under(under.to_owned()),
        None => PathPattern::Exact(text.to_owned()),
    }
}

fn route(hosts: &[&str], paths: &[&str]) -> HttpRoute {
    HttpRoute {
        name: String::new(),
        sni: Vec::new(),
        client: Vec::new(),
        host: hosts.iter().map(|text| name(text)).collect(),
        path: paths.iter().map(|text| path(text)).collect(),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        pools: Vec::new(),
        rewrite: None,
        stages: Stages::default(),
    }
}

fn condition(name: &str, value: &str) -> FieldCondition {
    FieldCondition {
        name: name.to_owned(),
        value: (value != "*").then(|| value.to_owned()),
    }
}

/// A request by its host and path, and what else is asked.
struct Request {
    sni: Option<&'static str>,
    client: &'static str,
    host: String,
    path: String,
    method: &'static str,
    fields: Fields,
    query: Option<&'static str>,
}

fn request(host: &str, path: &str) -> Request {
    Request {
        sni: None,
        client: "192.0.2.1",
        host: host.to_owned(),
        path: path.to_owned(),
        method: "GET",
        fields: Fields::default(),
        query: None,
    }
}

impl Request {
    fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push(name, value.as_bytes());
        self
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            sni: self.sni,
            client: self.client.parse().ok(),
            host: &self.host,
            path: &self.path,
            method: self.method,
            fields: &self.fields,
            query: self.query,
        }
    }
}

#[track_caller]
fn check(routes: &[HttpRoute], request: Request, expected: Option<usize>) {
    let asked = request.asked();
    let found = Routes::new(routes).find(&asked);
    assert_eq!(found, expected, "{asked:?}");
    assert_eq!(by_trying(routes, &asked), expected, "{asked:?}");
}

/// What the index must say.
fn by_trying(routes: &[HttpRoute], asked: &Asked<'_>) -> Option<usize> {
    routes.iter().position(|route| {
        let host = route.host.iter().any(|each| fits(each, asked.host));
        (route.host.is_empty() || host)
            && (route.path.is_empty() || matching(&route.path, asked.path).is_some())
            && Conditions::of(route).hold(asked)
    })
}

#[test]
fn the_first_of_the_file_whose_host_and_path_match_decides() {
    let routes = [
        route(&["a.example"], &["/admin/*"]),
        route(&["*.example"], &["/admin/*", "/exact"]),
        route(&["a.example", "*.b.example"], &[]),
        route(&[], &["/exact/"]),
        route(&[], &["/a/b/*"]),
        route(&[], &["/a/*"]),
        route(&["[::1]"], &["/*"]),
    ];
    for (host, path, expected) in [
        ("a.example", "/admin", Some(0)),
        ("a.example", "/admin/", Some(0)),
        ("a.example", "/admin/x/y", Some(0)),
        ("a.example", "/administrator", Some(2)),
        ("b.example", "/admin/x", Some(1)),
        ("x.b.example", "/admin/x", Some(1)),
        ("a.example", "/exact", Some(1)),
        ("a.example", "/exact/", Some(2)),
        ("x.b.example", "/", Some(2)),
        ("x.y.b.example", "/a/b/c", Some(2)),
        ("b.example", "/", None),
        ("example", "/admin", None),
        ("other", "/exact/", Some(3)),
        ("other", "/exact", None),
        ("other", "/a/b", Some(4)),
        ("other", "/a/b/c", Some(4)),
        ("other", "/a/bc", Some(5)),
        ("other", "/a", Some(5)),
        ("other", "/", None),
        ("[::1]", "/", Some(6)),
        ("[::1]", "*", Some(6)),
        ("[::1]", "/a", Some(5)),
        ("other", "*", None),
    ] {
        check(&routes, request(host, path), expected);
    }
}

#[test]
fn all_other_conditions_hold_too() {
    let mut routes: Vec<HttpRoute> = (0..5).map(|_| route(&[], &["/*"])).collect();
    routes[0].methods = vec!["POST".to_owned(), "PUT".to_owned()];
    routes[1].headers = vec![condition("x-version", "2"), condition("x-flag", "*")];
    routes[2].query = vec![condition("v", "1"), condition("debug", "*")];
    routes[3].sni = vec![name("*.s.example"), name("t.example")];
    let first = "10.0.0.0".parse().unwrap();
    routes[4].client = vec![Network { first, prefix: 8 }];
    let plain = || request("h", "/");
    let method = |method| Request { method, ..plain() };
    let query = |query| Request {
        query: Some(query),
        ..plain()
    };
    let sni = |sni| Request {
        sni: Some(sni),
        ..plain()
    };
    let client = |client| Request { client, ..plain() };
    check(&routes, plain(), None);
    check(&routes, method("PUT"), Some(0));
    check(&routes, method("put"), None);
    check(&routes, plain().field("x-version", "2"), None);
    let both = plain().field("X-Version", "1").field("x-version", "2");
    check(&routes, both.field("x-flag", ""), Some(1));
    let other = plain().field("x-version", "2, 1").field("x-flag", "1");
    check(&routes, other, None);
    check(&routes, query("debug&v=1"), Some(2));
    check(&routes, query("debug&v=2"), None);
    check(&routes, sni("a.s.example"), Some(3));
    check(&routes, sni("t.example"), Some(3));
    check(&routes, sni("s.example"), None);
    check(&routes, client("10.1.2.3"), Some(4));
    check(&routes, client("::ffff:10.1.2.3"), Some(4));
    check(&routes, client("unix"), None);
}

#[test]
fn many_routes_of_one_path_are_told_apart_by_a_field() {
    let mut routes: Vec<HttpRoute> = (0..4096).map(|_| route(&["h"], &["/a"])).collect();
    for (index, route) in routes.iter_mut().enumerate() {
        let tenant = (index % 4000).to_string();
        route.headers = vec![condition("x-api", "1"), condition("x-tenant", &tenant)];
    }
    routes[4095].headers.clear();
    let index = Routes::new(&routes);
    let find = |api: &str, tenant: &str| {
        let request = request("h", "/a")
            .field("x-api", api)
            .field("x-tenant", tenant);
        index.find(&request.asked())
    };
    assert_eq!(find("1", "0"), Some(0));
    assert_eq!(find("1", "95"), Some(95));
    assert_eq!(find("1", "3999"), Some(3999));
    assert_eq!(find("2", "3999"), Some(4095));
    assert_eq!(find("1", "4000"), Some(4095));
}

#[test]
fn no_route_matches_nothing() {
    check(&[], request("h", "/"), None);
    assert!(Routes::new(&[]).is_empty());
}

#[test]
fn any_routes_give_what_trying_one_after_the_other_gives() {
    const HOSTS: [&str; 7] = ["a", "b.a", "c.b.a", "*.a", "*.b.a", "*.c.b.a", "x"];
    const PATHS: [&str; 9] = [
        "/", "/*", "/a", "/a/*", "/a/", "/a/b", "/a/b/*", "/b/*", "/a/b/c",
    ];
    const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
    for seed in 0..1_000 {
        let mut random = Random::new(seed);
        let mut some = |all: &[&'static str]| -> Vec<&'static str> {
            let count = random.below(3);
            let one = |_| all[random.below(all.len() as u64) as usize];
            (0..count).map(one).collect()
        };
        let routes: Vec<HttpRoute> = (0..30)
            .map(|_| {
                let mut route = route(&some(&HOSTS), &some(&PATHS));
                route.methods = some(&METHODS).into_iter().map(str::to_owned).collect();
                let headers = some(&["1", "2", "3", "*"]).into_iter().zip(["x-a", "x-b"]);
                route.headers = headers
                    .map(|(value, name)| condition(name, value))
                    .collect();
                route
            })
            .collect();
        let index = Routes::new(&routes);
        for _ in 0..10 {
            let mut one = |all: &[&'static str]| all[random.below(all.len() as u64) as usize];
            let host = one(&["a", "b.a", "c.b.a", "d.c.b.a", "x", "y.x", ""]);
            let path = one(&[
                "/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "*", "/a/b/c/d",
            ]);
            let mut request = request(host, path)
                .field("x-a", one(&["1", "2", "4"]))
                .field("x-b", one(&["1", "3"]));
            request.method = one(&METHODS);
            let asked = request.asked();
            let expected = by_trying(&routes, &asked);
            assert_eq!(index.find(&asked), expected, "seed {seed}: {asked:?}");
        }
    }
}
