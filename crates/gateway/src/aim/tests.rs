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

fn network(text: &str) -> Network {
    let (first, prefix) = text.split_once('/').unwrap();
    Network {
        first: first.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
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
    is_trusted: bool,
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
        is_trusted: false,
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
            is_peer_trusted: self.is_trusted,
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
    let wanted = routes.iter().flat_map(|route| &route.query);
    let wanted = wanted.map(|each| (each.name.as_bytes().into(), ()));
    let search = Search {
        conditions: &[],
        asked,
        wanted: &wanted.collect(),
        parameters: &OnceCell::new(),
        found: u32::MAX,
    };
    routes.iter().position(|route| {
        let host = route.host.iter().any(|each| fits(each, asked.host));
        (route.host.is_empty() || host)
            && (route.path.is_empty() || matching(&route.path, asked.path).is_some())
            && Conditions::of(route).hold(&search)
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

/// Many routes of one host and path of which each wants something else; one near the end wants nothing else.
fn many(change: impl Fn(&mut HttpRoute, usize)) -> Vec<HttpRoute> {
    let mut routes: Vec<HttpRoute> = (0..4096).map(|_| route(&["h"], &["/a"])).collect();
    for (index, route) in routes.iter_mut().enumerate() {
        if index != 4094 {
            change(route, index % 4000);
        }
    }
    routes
}

#[track_caller]
fn finds(routes: &[HttpRoute], request: Request, expected: usize) {
    let asked = request.asked();
    assert_eq!(
        Routes::new(routes).find(&asked),
        Some(expected),
        "{asked:?}"
    );
    assert_eq!(by_trying(routes, &asked), Some(expected), "{asked:?}");
}

#[test]
fn many_routes_of_one_path_are_told_apart_by_whatever_they_differ_in() {
    let asks = || request("h", "/a");
    let by_field = many(|route, number| {
        let tenant = number.to_string();
        route.headers = vec![condition("x-api", "1"), condition("x-tenant", &tenant)];
    });
    let tenant = |api: &str, tenant: &str| asks().field("x-api", api).field("x-tenant", tenant);
    finds(&by_field, tenant("1", "0"), 0);
    finds(&by_field, tenant("1", "95"), 95);
    finds(&by_field, tenant("1", "3999"), 3999);
    finds(&by_field, tenant("2", "3999"), 4094);
    finds(&by_field, tenant("1", "4000"), 4094);

    let by_presence = many(|route, number| {
        route.headers = vec![condition(&format!("x-{number}"), "*")];
    });
    finds(&by_presence, asks().field("x-9", "").field("x-7", "y"), 7);

    let by_parameter = many(|route, number| {
        route.query = vec![
            condition("v", "1"),
            condition("tenant", &number.to_string()),
        ];
    });
    let query = |query| Request {
        query: Some(query),
        ..asks()
    };
    finds(&by_parameter, query("tenant=90&v=1&tenant=%37"), 7);
    finds(&by_parameter, query("v=2&tenant=7"), 4094);

    let by_method = many(|route, number| route.methods = vec!["GET".into(), format!("M{number}")]);
    finds(&by_method, asks(), 0);
    let method = |method| Request { method, ..asks() };
    finds(&by_method, method("M77"), 77);
    finds(&by_method, method("PUT"), 4094);

    let by_name = many(|route, number| {
        let under = format!("*.u{number}.example");
        route.sni = vec![name(&format!("n{number}.example")), name(&under)];
    });
    let sni = |name| Request {
        sni: Some(name),
        ..asks()
    };
    finds(&by_name, sni("n70.example"), 70);
    finds(&by_name, sni("a.b.u80.example"), 80);
    finds(&by_name, sni("u80.example"), 4094);

    let by_client = many(|route, number| {
        let [high, low] = (number as u16).to_be_bytes();
        let first = IpAddr::from([10, high, low, 0]);
        route.client = vec![Network { first, prefix: 24 }];
    });
    let client = |client| Request { client, ..asks() };
    finds(&by_client, client("10.1.2.3"), 258);
    finds(&by_client, client("::ffff:10.1.2.3"), 258);
    finds(&by_client, client("2001:db8::1"), 4094);
}

#[test]
fn what_a_stranger_may_not_say_is_not_there() {
    let mut routes = [route(&[], &["/*"])];
    routes[0].headers = vec![condition("x-real-ip", "10.0.0.1")];
    let said = || request("h", "/").field("x-real-ip", "10.0.0.1");
    check(&routes, said(), None);
    let by_a_proxy = Request {
        is_trusted: true,
        ..said()
    };
    check(&routes, by_a_proxy, Some(0));
}

#[test]
fn a_network_of_an_address_has_its_first_bits() {
    let check = |address: &str, prefix, expected: &str| {
        let found = bucket::network(address.parse().unwrap(), prefix);
        assert_eq!(found.to_string(), expected);
    };
    check("10.1.2.3", 0, "0.0.0.0/0");
    check("10.1.2.3", 9, "10.0.0.0/9");
    check("10.1.2.3", 32, "10.1.2.3/32");
    check("2001:db8::1", 0, "::/0");
    check("2001:db8::1", 33, "2001:db8::/33");
    check("2001:db8::1", 128, "2001:db8::1/128");
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
                let (hosts, paths) = (some(&HOSTS), some(&PATHS));
                // In every other turn all are of one host and path.
                let mut route = match seed % 2 {
                    0 => route(&hosts, &paths),
                    _ => route(&[], &[]),
                };
                route.methods = some(&METHODS).into_iter().map(str::to_owned).collect();
                let headers = some(&["1", "2", "3", "*"]).into_iter().zip(["x-a", "x-b"]);
                route.headers = headers
                    .map(|(value, name)| condition(name, value))
                    .collect();
                let query = some(&["1", "2", "*"]).into_iter().zip(["a", "b"]);
                route.query = query.map(|(value, name)| condition(name, value)).collect();
                route.sni = some(&["s", "*.s", "t.s"]).into_iter().map(name).collect();
                let clients = some(&["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"]);
                route.client = clients.into_iter().map(network).collect();
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
            request.query = Some(one(&["", "a=1", "a=1&b=2", "b=3&a=2&a=1", "b"]));
            let sni = one(&["", "s", "t.s", "u.t.s", "x"]);
            request.sni = Some(sni).filter(|sni| !sni.is_empty());
            request.client = one(&["10.1.2.3", "10.2.3.4", "192.0.2.1", "2001:db8::7"]);
            let asked = request.asked();
            let expected = by_trying(&routes, &asked);
            assert_eq!(index.find(&asked), expected, "seed {seed}: {asked:?}");
        }
    }
}
