//! What a good file says about HTTP: every form of every value, the defaults, and what a route has from its listener.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU32;
use std::time::Duration;

use ringgate_config::{
    Algorithm, Auth, FieldCondition, Hold, Http, HttpLimits, HttpRoute, Jwt, JwtKeys, LimitBy,
    Listener, NamePattern, Network, PathPattern, Plan, Pool, PoolIndex, Rate, RateLimit, Redirect,
    RedirectTo, Retry, effective, parse, schema,
};

/// The plan of a good text, which `effective` must give again.
fn plan(text: &str) -> Plan {
    let plan =
        parse("test.yaml", text, &[]).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    let text = effective(&plan);
    let again =
        parse("effective", &text, &[]).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    assert_eq!(again, plan, "{text}");
    assert_eq!(effective(&again), text);
    plan
}

/// The plan of one listener with these keys, beside the pools `a` and `b`.
fn listener(keys: &str) -> Listener {
    let text = format!(
        "listeners: {{ web: {{ bind: \":80\", {keys} }} }}\n\
         pools: {{ a: [10.0.0.1:80], b: [10.0.0.2:80] }}\n"
    );
    plan(&text).listeners.remove(0)
}

fn http(keys: &str) -> Http {
    listener(&format!("pool: a, http: {{ {keys} }}"))
        .http
        .unwrap()
}

fn auth(keys: &str) -> Auth {
    http(&format!("auth: {{ {keys} }}")).stages.auth.unwrap()
}

fn jwt(keys: &str) -> Jwt {
    auth(&format!("jwt: {{ {keys} }}")).jwt.unwrap()
}

/// The routes of a listener whose `http` has these keys.
fn routes(http: &str, routes: &str) -> Vec<HttpRoute> {
    let keys = format!("tls: {{ certs: /c }}, http: {{ {http} }}, routes: [{routes}]");
    listener(&keys).http.unwrap().routes
}

fn route(keys: &str) -> HttpRoute {
    routes("", &format!("{{ pool: b, {keys} }}")).remove(0)
}

/// The plan of one pool with these keys.
fn pool(keys: &str) -> Pool {
    let text = format!(
        "listeners: {{ web: {{ bind: \":80\", pool: a }} }}\n\
         pools: {{ a: {{ servers: [10.0.0.1:80], {keys} }} }}\n"
    );
    plan(&text).pools.remove(0)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn rate_limit(requests: u32, seconds: u64, burst: u32, by: LimitBy) -> RateLimit {
    let rate = Rate {
        count: count(requests),
        period: secs(seconds),
    };
    RateLimit {
        rate,
        burst: count(burst),
        by,
    }
}

fn condition(name: &str, value: Option<&str>) -> FieldCondition {
    FieldCondition {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    }
}

#[test]
fn an_empty_block_is_enough_to_speak_http() {
    for keys in ["http: {}", "http: "] {
        let listener = listener(&format!("pool: a, {keys}"));
        let http = listener.http.unwrap();
        let limits = HttpLimits {
            header_bytes: 32 << 10,
            fields: 100,
            requests_per_connection: count(10_000),
            streams: count(100),
        };
        assert_eq!(http.limits, limits);
        assert_eq!(http.trusted_proxies, []);
        assert_eq!(http.routes, []);
        assert_eq!(http.stages.auth, None);
        assert_eq!(http.stages.body_max, Some(10 << 20));
        assert_eq!(http.stages.rate_limits, []);
        assert_eq!(http.stages.redirect, None);
        assert_eq!(listener.pool, Some(PoolIndex(0)));
    }
    assert_eq!(listener("pool: a").http, None);
}

#[test]
fn every_bound_of_requests_is_read() {
    let http = http(
        "trusted_proxies: [10.0.0.0/8, \"fd00::/8\"], limits: { header: 1MiB, fields: 10, body: 3KiB, \
         requests_per_connection: 1, streams: 1000 }",
    );
    let limits = HttpLimits {
        header_bytes: 1 << 20,
        fields: 10,
        requests_per_connection: count(1),
        streams: count(1000),
    };
    assert_eq!(http.limits, limits);
    assert_eq!(http.trusted_proxies.len(), 2);
    assert_eq!(http.stages.body_max, Some(3 << 10));
    assert_eq!(self::http("limits: { body: off }").stages.body_max, None);
    assert_eq!(
        self::http("limits: { body: 1024GiB }").stages.body_max,
        Some(1 << 40)
    );
}

#[test]
fn every_way_to_authenticate_is_read() {
    let expected = Auth {
        realm: "ringgate".to_owned(),
        tokens_file: Some("/t".into()),
        users_file: None,
        jwt: None,
        client_certificate: false,
    };
    assert_eq!(auth("tokens_file: /t"), expected);
    let users = auth("users_file: /u, realm: the shop");
    assert_eq!(users.users_file, Some("/u".into()));
    assert_eq!(users.realm, "the shop");
    let keys = "pool: a, tls: { certs: /c, client_auth: { ca: /ca } }, http: { auth: { client_certificate: true } }";
    let by_certificate = listener(keys).http.unwrap().stages.auth.unwrap();
    assert!(by_certificate.client_certificate);
    assert_eq!(http("auth: off").stages.auth, None);
}

#[test]
fn keys_of_signed_tokens_are_in_a_file_or_behind_a_url() {
    let url = |url: &str, ca: Option<&str>, refresh, max_age| JwtKeys::Url {
        url: url.to_owned(),
        ca: ca.map(Into::into),
        refresh: secs(refresh),
        max_age: secs(max_age),
    };
    let check = |keys: &str, expected: JwtKeys| assert_eq!(jwt(keys).keys, expected, "{keys}");
    check("keys: /k.json", JwtKeys::File("/k.json".into()));
    check(
        "keys: https://a.test/k",
        url("https://a.test/k", None, 300, 86_400),
    );
    check(
        "keys: \"https://[2001:db8::1]:8443/k?v=1\", ca: /ca, refresh: 10s, max_age: 1m",
        url("https://[2001:db8::1]:8443/k?v=1", Some("/ca"), 10, 60),
    );
    check(
        "keys: https://a.test, refresh: 24h",
        url("https://a.test", None, 86_400, 86_400),
    );
    for local in [
        "http://127.0.0.1:80/k",
        "http://127.1.2.3/k",
        "http://[::1]/k",
        "http://localhost/k",
    ] {
        check(&format!("keys: \"{local}\""), url(local, None, 300, 86_400));
    }
}

#[test]
fn what_a_signed_token_must_say_is_read() {
    let plain = jwt("keys: /k");
    assert_eq!(plain.issuer, None);
    assert_eq!(plain.audience, [""; 0]);
    assert_eq!(plain.leeway, secs(30));
    assert_eq!(
        (plain.consumer_claim.as_str(), plain.scope_claim.as_str()),
        ("sub", "scope")
    );
    let all = Algorithm::ALL.iter().filter(|each| !each.is_symmetric());
    let all: Vec<&str> = all.map(|each| each.word()).collect();
    assert_eq!(all.len(), 9);
    assert_eq!(plain.algorithms, all);
    let jwt = jwt(
        "keys: /k, issuer: \"https://a.test\", audience: [b, \"c d\"], algorithms: [HS256, EdDSA], leeway: 0s, \
         consumer: \"https://a.test/name\", scopes: scp",
    );
    assert_eq!(jwt.issuer.as_deref(), Some("https://a.test"));
    assert_eq!(jwt.audience, ["b", "c d"]);
    assert_eq!(jwt.algorithms, ["HS256", "EdDSA"]);
    assert_eq!(jwt.leeway, Duration::ZERO);
    assert_eq!(jwt.consumer_claim, "https://a.test/name");
    assert_eq!(jwt.scope_claim, "scp");
    assert_eq!(
        self::jwt("keys: /k, audience: b, algorithms: ES384").audience,
        ["b"]
    );
}

#[test]
fn rate_limits_are_one_or_several() {
    let limits = |written: &str| http(&format!("rate_limit: {written}")).stages.rate_limits;
    assert_eq!(
        limits("{ rate: 100/10s }"),
        [rate_limit(100, 10, 100, LimitBy::ClientIp)]
    );
    assert_eq!(
        limits("{ rate: 1/24h, burst: 5, by: \"header:X-Api-Key\" }"),
        [rate_limit(
            1,
            86_400,
            5,
            LimitBy::Header("x-api-key".to_owned())
        )]
    );
    let both = [
        rate_limit(10, 1, 10, LimitBy::ClientIp),
        rate_limit(100, 60, 1, LimitBy::ClientIp),
    ];
    assert_eq!(
        limits("[{ rate: 10/s }, { rate: 100/m, burst: 1, by: client_ip }]"),
        both
    );
    assert_eq!(limits("off"), []);
    let by = http("auth: { tokens_file: /t }, rate_limit: { rate: 1/s, by: consumer }");
    assert_eq!(
        by.stages.rate_limits,
        [rate_limit(1, 1, 1, LimitBy::Consumer)]
    );
}

#[test]
fn fields_are_changed_both_ways() {
    let stages = http(
        "headers: { request: { set: { Host: b.test, X-A: \"a \\\"b\\\"\", x-b: \"\", x-c: 1 }, remove: X-D }, \
         response: { remove: [Server, x-e] } }",
    )
    .stages;
    let set: Vec<(&str, &str)> = stages
        .request_fields
        .set
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert_eq!(
        set,
        [
            ("host", "b.test"),
            ("x-a", "a \"b\""),
            ("x-b", ""),
            ("x-c", "1")
        ]
    );
    assert_eq!(stages.request_fields.remove, ["x-d"]);
    assert_eq!(stages.response_fields.remove, ["server", "x-e"]);
    assert_eq!(stages.response_fields.set, []);
}

#[test]
fn a_redirect_goes_to_https_or_to_a_url() {
    let redirect = |written: &str| {
        let listener = listener(&format!("http: {{ redirect: {written} }}"));
        assert_eq!(listener.pool, None);
        listener.http.unwrap().stages.redirect.unwrap()
    };
    let url = |url: &str| RedirectTo::Url(url.to_owned());
    let check = |written: &str, to: RedirectTo, status: u16| {
        assert_eq!(redirect(written), Redirect { to, status }, "{written}");
    };
    check("https", RedirectTo::Https, 308);
    check("{ to: https, status: 301 }", RedirectTo::Https, 301);
    check("{ to: /new }", url("/new"), 308);
    check(
        "{ to: \"/new$path$query\", status: 303 }",
        url("/new$path$query"),
        303,
    );
    check(
        "{ to: \"https://b.test$path$query\" }",
        url("https://b.test$path$query"),
        308,
    );
    check(
        "{ to: \"https://www.$host:8443/a?b=c#d\" }",
        url("https://www.$host:8443/a?b=c#d"),
        308,
    );
    check(
        "{ to: \"http://[::1]:80$query\" }",
        url("http://[::1]:80$query"),
        308,
    );
    check("{ to: https://b.test }", url("https://b.test"), 308);
}

#[test]
fn every_condition_of_a_route_is_read() {
    let route = route(
        "name: one, host: [A.test., \"*.b.test\", 10.0.0.1, \"[2001:DB8::0:1]\", \"::1\"], \
         path: [/, /a, /b/, /c/*, \"/%C3%BC;x=1\"], methods: [GET, M-SEARCH], headers: { X-A: \"1\", upgrade: \"*\" }, \
         query: { v: \"a b\", Debug: \"*\", e: \"\" }, sni: a.test, client: 10.0.0.0/8, rewrite: /d",
    );
    assert_eq!(route.name, "one");
    let exact = |name: &str| NamePattern::Exact(name.to_owned());
    let host = [
        exact("a.test"),
        NamePattern::Under("b.test".to_owned()),
        exact("10.0.0.1"),
        exact("[2001:db8::1]"),
        exact("[::1]"),
    ];
    assert_eq!(route.host, host);
    let path = |path: &str| PathPattern::Exact(path.to_owned());
    let under = |path: &str| PathPattern::Under(path.to_owned());
    assert_eq!(
        route.path,
        [
            path("/"),
            path("/a"),
            path("/b/"),
            under("/c"),
            path("/%C3%BC;x=1")
        ]
    );
    assert_eq!(route.methods, ["GET", "M-SEARCH"]);
    assert_eq!(
        route.headers,
        [condition("x-a", Some("1")), condition("upgrade", None)]
    );
    let query = [
        condition("v", Some("a b")),
        condition("Debug", None),
        condition("e", Some("")),
    ];
    assert_eq!(route.query, query);
    assert_eq!(route.sni, [exact("a.test")]);
    let network = Network {
        first: "10.0.0.0".parse().unwrap(),
        prefix: 8,
    };
    assert_eq!(route.client, [network]);
    assert_eq!(route.pools, [(PoolIndex(1), 1)]);
    assert_eq!(route.rewrite, Some(path("/d")));
    assert_eq!(self::route("path: /*").path, [under("")]);
    let stripped = self::route("path: [/a/*, /b/*], rewrite: /*");
    assert_eq!(stripped.rewrite, Some(under("")));
}

#[test]
fn a_route_leads_to_a_pool_to_shares_or_elsewhere() {
    let routes = routes(
        "",
        "{ path: /a, pool: b }, { path: /b, pools: { a: 95, b: 5 } }, { path: /c, pools: { b: 7, a: 0 } }, \
         { path: /d, http: { redirect: { to: /e } } }",
    );
    let pools: Vec<&[(PoolIndex, u32)]> =
        routes.iter().map(|route| route.pools.as_slice()).collect();
    let (a, b) = (PoolIndex(0), PoolIndex(1));
    assert_eq!(
        pools,
        [&[(b, 1)][..], &[(a, 95), (b, 5)], &[(b, 7), (a, 0)], &[]]
    );
    assert_eq!(routes[3].stages.redirect.as_ref().unwrap().status, 308);
}

#[test]
fn pools_of_routes_are_used() {
    let text = "listeners: { web: { bind: \":1\", http: {}, routes: [{ path: /a, pool: a }, { path: /b, pools: { b: 1 \
                } }] } }\npools: { a: [10.0.0.1:80], b: [10.0.0.2:80], c: [10.0.0.3:80] }\n";
    let plan = plan(text);
    let unused: Vec<&str> = plan.unused_pools().map(|pool| pool.name.as_str()).collect();
    assert_eq!(unused, ["c"]);
}

#[test]
fn a_route_without_a_name_is_called_by_what_it_asks_for_and_no_two_alike() {
    let check = |conditions: &[&str], expected: &[&str]| {
        let written: Vec<String> = conditions
            .iter()
            .map(|conditions| format!("{{ pool: b, {conditions} }}"))
            .collect();
        let routes = routes("", &written.join(", "));
        let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        assert_eq!(names, expected);
    };
    check(&["host: a.test, path: /b/*, methods: GET"], &["a.test/b/*"]);
    check(&["host: \"*.a.test\", client: 10.0.0.1"], &["*.a.test"]);
    check(&["path: /b, sni: a.test"], &["/b"]);
    check(&["methods: GET, sni: a.test"], &["a.test"]);
    check(&["methods: [PUT, GET], query: { a: b }"], &["PUT"]);
    check(&["query: { a: b }, headers: { x: y }"], &["x"]);
    check(&["query: { a: b }"], &["a"]);
    check(
        &[
            "host: a.test, methods: GET",
            "host: a.test, methods: PUT",
            "name: a.test, host: a.test, methods: POST",
            "path: /a, methods: GET",
            "path: /a, methods: PUT",
            "name: b, path: /a",
        ],
        &["a.test#2", "a.test#3", "a.test", "/a", "/a#2", "b"],
    );
}

#[test]
fn a_route_has_from_its_listener_what_it_does_not_say_itself() {
    let of_listener = "auth: { tokens_file: /t }, require: [a, b], rate_limit: [{ rate: 1/s }, { rate: 1/m, by: \
                       consumer }], headers: { request: { set: { x: y } }, response: { remove: [z] } }, limits: { \
                       body: 1KiB }";
    let with = |keys: &str| {
        let keys = format!("{{ path: /a, pool: a, http: {{ {keys} }} }}");
        routes(of_listener, &keys).remove(0).stages
    };
    let listener = http(of_listener).stages;
    assert_eq!(with(""), listener);
    let open = with("auth: off");
    assert_eq!((open.auth, open.require), (None, vec![]));
    assert_eq!(open.rate_limits, listener.rate_limits);
    assert_eq!(open.request_fields, listener.request_fields);
    let other = with("auth: { users_file: /u }");
    assert_eq!(other.require, ["a", "b"]);
    assert_eq!(with("require: c").require, ["c"]);
    assert_eq!(with("require: off").require, [""; 0]);
    assert!(with("require: off").auth.is_some());
    assert_eq!(with("rate_limit: off").rate_limits, []);
    assert_eq!(
        with("rate_limit: { rate: 2/s }").rate_limits,
        [rate_limit(2, 1, 2, LimitBy::ClientIp)]
    );
    // Also where it says what the listener says.
    let same = "rate_limit: [{ rate: 1/s }, { rate: 1/m, by: consumer }]";
    assert_eq!(with(same).rate_limits, listener.rate_limits);
    assert!(with(same).counts_apart && !open.counts_apart);
    assert_eq!(
        with("headers: {}").request_fields,
        ringgate_config::FieldChanges::default()
    );
    let changed = with("headers: { response: { set: { a: b } } }");
    assert_eq!(changed.request_fields.set, []);
    assert_eq!(changed.response_fields.remove, [""; 0]);
    assert_eq!(with("limits: { body: off }").body_max, None);
    assert_eq!(with("limits: { body: 2KiB }").body_max, Some(2 << 10));
    assert_eq!(with("limits: {}").body_max, Some(1 << 10));
}

#[test]
fn a_route_does_not_inherit_where_others_are_sent() {
    let text = "http: { redirect: https }, routes: [{ path: /a, pool: a }]";
    let http = listener(text).http.unwrap();
    assert!(http.stages.redirect.is_some());
    assert_eq!(http.routes[0].stages.redirect, None);
}

#[test]
fn a_listener_with_http_and_tls_offers_both_versions() {
    let alpn = |keys: &str, http: &str| {
        listener(&format!("pool: a, tls: {{ certs: /c{keys} }}{http}"))
            .tls
            .unwrap()
            .alpn
    };
    assert_eq!(alpn("", ", http: {}"), ["h2", "http/1.1"]);
    assert_eq!(alpn(", alpn: http/1.1", ", http: {}"), ["http/1.1"]);
    assert_eq!(
        alpn(", alpn: [http/1.1, h2]", ", http: {}"),
        ["http/1.1", "h2"]
    );
    assert_eq!(alpn("", ""), [""; 0]);
}

#[test]
fn routes_that_take_only_a_part_from_each_other_are_good() {
    let routes = routes(
        "",
        "{ path: /api/v1/*, pool: a }, { path: /api/*, methods: GET, pool: a }, { path: /api/*, pool: a }, \
         { path: /apis, pool: a }, { path: [/b, /c/*], methods: [GET, PUT], pool: a }, \
         { path: [/b, /d], methods: GET, pool: a }, { path: /c, methods: [GET, POST], pool: a }, \
         { headers: { x: \"1\", y: \"*\" }, pool: a }, { headers: { x: \"1\" }, pool: a }, \
         { headers: { x: \"*\" }, pool: a }, { headers: { y: \"2\" }, pool: a }, { query: { x: \"1\" }, pool: a }, \
         { host: a.test, pool: a }, { sni: a.test, pool: a }, { host: \"*.test\", client: 10.0.0.0/8, pool: a }, \
         { path: /*, http: { redirect: { to: /z } } }",
    );
    assert_eq!(routes.len(), 16);
}

#[test]
fn pools_say_what_is_tried_again_and_who_waits() {
    let plain = pool("balance: random");
    let default = Retry {
        attempts: 2,
        budget_percent: 20,
        statuses: vec![],
    };
    assert_eq!(
        (plain.http2, plain.retry, plain.hold),
        (false, default.clone(), None)
    );
    let full = pool(
        "http2: true, retry: { attempts: 7, budget: 100%, statuses: [502, 425, 429, 599] }, hold: { for: 1ms, max: 1 \
         }, timeouts: { response: 1h }",
    );
    let retry = Retry {
        attempts: 7,
        budget_percent: 100,
        statuses: vec![502, 425, 429, 599],
    };
    let hold = |patience, max| {
        Some(Hold {
            patience,
            max: count(max),
        })
    };
    assert_eq!((full.http2, full.retry), (true, retry));
    assert_eq!(full.hold, hold(Duration::from_millis(1), 1));
    assert_eq!(full.timeouts.response, Some(secs(3600)));
    assert_eq!(pool("hold: {}").hold, hold(secs(10), 1000));
    assert_eq!(pool("hold: ").hold, hold(secs(10), 1000));
    assert_eq!(pool("hold: off").hold, None);
    assert_eq!(pool("retry: {}").retry, default);
    assert_eq!(pool("retry: off").retry.attempts, 0);
    assert_eq!(pool("retry: { statuses: 503 }").retry.statuses, [503]);
    assert!(pool("http2: true, tls: { alpn: [http/1.1, h2] }").http2);
    assert!(pool("http2: true, tls: {}").http2);
}

#[test]
fn the_clocks_of_http_are_those_of_the_process_the_listener_or_the_pool() {
    let check = |process: &str, listener: &str, pool: &str, header: u64, response: u64| {
        let text = format!(
            "timeouts: {{ {process} }}\n\
             listeners: {{ a: {{ bind: \":1\", pool: db, timeouts: {{ {listener} }} }} }}\n\
             pools: {{ db: {{ servers: [10.0.0.1:80], timeouts: {{ {pool} }} }} }}\n"
        );
        let plan = plan(&text);
        let timeouts = Plan::timeouts_between(&plan.listeners[0], &plan.pools[0]);
        assert_eq!(
            (timeouts.header, timeouts.response),
            (secs(header), secs(response))
        );
    };
    check("", "", "", 10, 60);
    check("header: 1s, response: 2s", "", "", 1, 2);
    check(
        "header: 1s, response: 2s",
        "header: 3s, response: 4s",
        "",
        3,
        4,
    );
    check(
        "response: 2s",
        "response: 4s",
        "response: 720h",
        10,
        720 * 3600,
    );
}

#[test]
fn an_open_door_beside_closed_ones_is_remarked() {
    let check = |keys: &str, expected: &[&str]| {
        let text = format!(
            "listeners: {{ web: {{ bind: \":80\", {keys} }} }}\npools: {{ a: [10.0.0.1:80] }}\n"
        );
        let remarks = plan(&text).remarks();
        let remarks: Vec<&str> = remarks.iter().map(|remark| remark.key.as_str()).collect();
        assert_eq!(remarks, expected, "{keys}");
    };
    let closed = "auth: { tokens_file: /t }";
    check("pool: a", &[]);
    check("pool: a, http: {}, routes: [{ path: /a, pool: a }]", &[]);
    check(
        &format!("pool: a, http: {{ {closed} }}, routes: [{{ path: /a, pool: a }}]"),
        &[],
    );
    check(
        &format!(
            "pool: a, http: {{ {closed} }}, routes: [{{ path: /a, pool: a, http: {{ auth: off }} }}]"
        ),
        &["listeners.web.routes[0]"],
    );
    check(
        &format!(
            "pool: a, http: {{}}, routes: [{{ path: /a, pool: a, http: {{ {closed} }} }}, {{ path: /b, pool: a }}, \
             {{ path: /c, http: {{ redirect: {{ to: /a }} }} }}]"
        ),
        &["listeners.web.pool", "listeners.web.routes[1]"],
    );
    check(
        &format!("http: {{ {closed} }}, routes: [{{ path: /a, pool: a, http: {{ auth: off }} }}]"),
        &[],
    );
}

#[test]
fn a_remark_is_shown_where_it_belongs() {
    let text = "listeners:\n  web:\n    bind: \":80\"\n    http: { auth: { tokens_file: /t } }\n    routes:\n\
                \x20     - { path: /a, pool: a }\n      - { path: /b, pool: a, http: { auth: off } }\n\
                pools: { a: [10.0.0.1:80] }\n";
    let (plan, places) = ringgate_config::parse_with_places("a.yaml", text, &[]).unwrap();
    let remarks = plan.remarks();
    let [remark] = remarks.as_slice() else {
        panic!("{remarks:?}")
    };
    let shown = places.mistake(&remark.key, remark.what.clone(), [remark.advice.clone()]);
    assert_eq!(shown.place, "a.yaml:7:9");
    assert_eq!(
        shown.what,
        "the route `/b` is open to everybody, while the route `/a` needs authentication"
    );
}

#[test]
fn the_schema_knows_the_forms_of_http() {
    let schema = schema();
    let names = "^[A-Za-z0-9_.-]{1,64}$";
    let listener = &schema["properties"]["listeners"]["patternProperties"][names]["properties"];
    let http = &listener["http"];
    assert_eq!(http["type"], serde_json::json!(["object", "null"]));
    let limits = &http["properties"]["limits"]["properties"];
    assert_eq!(limits["header"]["default"], "32KiB");
    assert_eq!(limits["body"]["anyOf"][0]["const"], "off");
    let route = &listener["routes"]["items"]["anyOf"][1]["properties"];
    assert_eq!(route["headers"]["additionalProperties"], false);
    assert_eq!(
        route["http"]["properties"]["auth"]["anyOf"][0]["const"],
        "off"
    );
    let pool = &schema["properties"]["pools"]["patternProperties"][names]["anyOf"][1]["properties"];
    assert_eq!(pool["http2"]["default"], false);
    assert_eq!(
        pool["retry"]["anyOf"][1]["properties"]["budget"]["default"],
        "20%"
    );
}
