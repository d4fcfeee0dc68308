//! What a good file says about TLS, routes and the PROXY protocol: every form of every value, and the defaults.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU32;
use std::time::Duration;

use ringgate_config::{
    AcceptProxy, Certificates, ClientAuth, ClientAuthMode, Health, Listener, NamePattern, Network,
    Pair, Plan, Pool, PoolIndex, ProxyVersion, Route, ServerTls, Tls, TlsVersion, UnknownName,
    effective, parse, schema,
};

/// The plan of a good text, which `effective` must give again.
fn plan(text: &str) -> Plan {
    let plan =
        parse("test.yaml", text, &[]).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    let again =
        parse("effective", &effective(&plan), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(again, plan, "{}", effective(&plan));
    plan
}

/// The plan of one listener with these keys, beside the pools `a` and `b`.
fn listener(keys: &str) -> Listener {
    let text = format!(
        "listeners: {{ web: {{ bind: \":443\", {keys} }} }}\n\
         pools: {{ a: [10.0.0.1:80], b: [10.0.0.2:80] }}\n"
    );
    plan(&text).listeners.remove(0)
}

/// The plan of one pool with these keys.
fn pool(keys: &str) -> Pool {
    let text = format!(
        "listeners: {{ web: {{ bind: \":443\", pool: a }} }}\n\
         pools: {{ a: {{ servers: [10.0.0.1:80], {keys} }} }}\n"
    );
    plan(&text).pools.remove(0)
}

fn tls(keys: &str) -> Tls {
    listener(&format!("pool: a, tls: {{ {keys} }}"))
        .tls
        .unwrap()
}

fn route(keys: &str) -> Route {
    listener(&format!("routes: [{{ pool: b, {keys} }}]"))
        .routes
        .remove(0)
}

fn pair(cert: &str, key: &str) -> Pair {
    Pair {
        cert: cert.into(),
        key: key.into(),
    }
}

fn network(first: &str, prefix: u8) -> Network {
    Network {
        first: first.parse().unwrap(),
        prefix,
    }
}

#[test]
fn nothing_is_on_unless_the_file_says_so() {
    let listener = listener("pool: a");
    assert_eq!(listener.pool, Some(PoolIndex(0)));
    assert_eq!(listener.routes, []);
    assert_eq!(listener.tls, None);
    assert_eq!(listener.proxy_protocol, None);
    let pool = pool("balance: random");
    assert_eq!(pool.tls, None);
    assert_eq!(pool.proxy_protocol, None);
    assert!(matches!(pool.health, Health::Connect(check) if !check.tls));
}

#[test]
fn a_folder_of_certificates_is_all_that_tls_needs() {
    let expected = Tls {
        certs: Certificates::Folder("/etc/ringgate/certs".into()),
        min_version: TlsVersion::V1_2,
        alpn: vec![],
        client_auth: None,
        ticket_keys: None,
        unknown_name: UnknownName::Default,
    };
    assert_eq!(tls("certs: /etc/ringgate/certs"), expected);
    assert_eq!(tls("certs: /etc/ringgate/certs/"), expected);
}

#[test]
fn a_list_of_certificates_has_both_forms() {
    let certs = tls("certs: [{ cert: /a.pem, key: /a.key }, /b.pem, { cert: /c, key: /c }]").certs;
    let expected = [
        pair("/a.pem", "/a.key"),
        pair("/b.pem", "/b.pem"),
        pair("/c", "/c"),
    ];
    assert_eq!(certs, Certificates::List(expected.into()));
}

#[test]
fn every_key_of_tls_is_read() {
    let tls = tls(
        "certs: /c, min_version: 1.3, alpn: [h2, http/1.1, \"a\\\"b\"], ticket_keys: /k, unknown_name: refuse, \
         client_auth: { ca: /ca.pem, mode: optional, crl: /crl.pem }",
    );
    assert_eq!(tls.min_version, TlsVersion::V1_3);
    assert_eq!(tls.alpn, ["h2", "http/1.1", "a\"b"]);
    assert_eq!(tls.ticket_keys, Some("/k".into()));
    assert_eq!(tls.unknown_name, UnknownName::Refuse);
    let expected = ClientAuth {
        ca: "/ca.pem".into(),
        mode: ClientAuthMode::Optional,
        crl: Some("/crl.pem".into()),
    };
    assert_eq!(tls.client_auth, Some(expected));
}

#[test]
fn clients_must_show_a_certificate_once_there_is_a_ca() {
    let auth = tls("certs: /c, client_auth: { ca: /ca.pem }")
        .client_auth
        .unwrap();
    assert_eq!(auth.mode, ClientAuthMode::Require);
    assert_eq!(auth.crl, None);
}

#[test]
fn a_condition_is_one_value_or_a_list() {
    let exact = |name: &str| NamePattern::Exact(name.to_owned());
    let under = |name: &str| NamePattern::Under(name.to_owned());
    let check = |written: &str, expected: &[NamePattern]| {
        assert_eq!(route(&format!("sni: {written}")).sni, expected, "{written}");
    };
    check("a.example.com", &[exact("a.example.com")]);
    check("[A.Example.COM.]", &[exact("a.example.com")]);
    check("\"*.Example.com.\"", &[under("example.com")]);
    check("localhost", &[exact("localhost")]);
    check(
        "_sip.1.xn--bcher-kva.example",
        &[exact("_sip.1.xn--bcher-kva.example")],
    );
    check("[b.test, \"*.test\"]", &[exact("b.test"), under("test")]);
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", &label[..61]);
    check(&longest, &[exact(&longest)]);
    assert_eq!(route("alpn: h2").alpn, ["h2"]);
    assert_eq!(route("alpn: [h2, acme-tls/1]").alpn, ["h2", "acme-tls/1"]);
    assert_eq!(route("client: 10.0.0.1").client, [network("10.0.0.1", 32)]);
    let networks = [network("10.0.0.0", 8), network("fd00::", 8)];
    assert_eq!(route("client: [10.0.0.0/8, \"fd00::/8\"]").client, networks);
}

#[test]
fn a_route_is_called_what_the_file_says_or_by_its_first_condition() {
    let check = |keys: &str, expected: &str| assert_eq!(route(keys).name, expected, "{keys}");
    check("name: one, sni: a.test", "one");
    check(
        "client: 10.0.0.0/8, alpn: h2, sni: [\"*.A.test\", b.test]",
        "*.a.test",
    );
    check("client: 10.0.0.0/8, alpn: [h2, h3]", "h2");
    check("client: 10.0.0.1", "10.0.0.1/32");
}

#[test]
fn a_listener_has_a_pool_or_routes_or_both() {
    let without = listener("routes: [{ sni: a.test, pool: a }]");
    assert_eq!(without.pool, None);
    assert_eq!(without.pools().collect::<Vec<_>>(), [PoolIndex(0)]);
    let with = listener("pool: b, routes: [{ sni: a.test, pool: a }, { alpn: h2, pool: a }]");
    assert_eq!(with.pool, Some(PoolIndex(1)));
    let pools: Vec<PoolIndex> = with.pools().collect();
    assert_eq!(pools, [PoolIndex(0), PoolIndex(0), PoolIndex(1)]);
}

#[test]
fn a_pool_that_only_a_route_uses_is_used() {
    let text = "listeners: { web: { bind: \":1\", routes: [{ sni: a.test, pool: a }] } }\n\
                pools: { a: [10.0.0.1:80], b: [10.0.0.2:80] }\n";
    let plan = plan(text);
    let unused: Vec<&str> = plan.unused_pools().map(|pool| pool.name.as_str()).collect();
    assert_eq!(unused, ["b"]);
}

#[test]
fn a_route_passes_tls_through_a_listener_that_ends_it() {
    let routes = listener(
        "tls: { certs: /c }, routes: [{ sni: a.test, pool: a, passthrough: true }, { sni: b.test, pool: a }]",
    )
    .routes;
    let passthrough: Vec<bool> = routes.iter().map(|route| route.passthrough).collect();
    assert_eq!(passthrough, [true, false]);
}

#[test]
fn routes_that_take_only_a_part_from_each_other_are_good() {
    let routes = listener(
        "routes: [{ sni: a.example.com, pool: a }, { sni: \"*.example.com\", client: 10.0.0.0/8, pool: a }, \
         { sni: \"*.example.com\", pool: b }, { sni: example.com, pool: b }, { sni: [b.test, \"*.example.com\"], \
         pool: a }, { alpn: h2, client: 10.1.0.0/16, pool: a }, { alpn: [h2, h3], client: 10.1.0.0/16, pool: a }, \
         { client: 10.0.0.0/8, pool: a }]",
    )
    .routes;
    assert_eq!(routes.len(), 8);
}

#[test]
fn a_listener_has_at_most_4096_routes() {
    let text = |count: usize| {
        let routes: Vec<String> = (0..count)
            .map(|n| format!("{{ sni: {n}.test, pool: a }}"))
            .collect();
        format!(
            "listeners: {{ web: {{ bind: \":1\", routes: [{}] }} }}\npools: {{ a: [10.0.0.1:80] }}\n",
            routes.join(", ")
        )
    };
    assert_eq!(plan(&text(4096)).listeners[0].routes.len(), 4096);
    let mistakes = parse("test.yaml", &text(4097), &[]).unwrap_err();
    assert!(
        mistakes
            .to_string()
            .contains("the listener has 4097 routes"),
        "{mistakes}"
    );
}

#[test]
fn a_proxy_header_is_taken_from_those_who_are_trusted() {
    let accept =
        |keys: &str| listener(&format!("pool: a, proxy_protocol: {{ {keys} }}")).proxy_protocol;
    let trusted = vec![network("10.0.0.0", 8)];
    let expected = Some(AcceptProxy { trusted });
    assert_eq!(accept("accept: true, trusted: [10.0.0.0/8]"), expected);
    assert_eq!(accept("trusted: 10.0.0.0/8"), expected);
    assert_eq!(accept("accept: false, trusted: [10.0.0.0/8]"), None);
    assert_eq!(accept("accept: false"), None);
}

#[test]
fn peers_of_a_unix_socket_need_not_be_named_as_trusted() {
    for block in ["{}", "{ accept: true }", ""] {
        let text = format!(
            "listeners: {{ web: {{ bind: \"unix:/run/a\", pool: a, proxy_protocol: {block} }} }}\n\
             pools: {{ a: [10.0.0.1:80] }}\n"
        );
        let expected = Some(AcceptProxy { trusted: vec![] });
        assert_eq!(plan(&text).listeners[0].proxy_protocol, expected, "{block}");
    }
}

#[test]
fn servers_are_verified_by_the_authorities_of_the_system_unless_the_file_says_otherwise() {
    let expected = ServerTls {
        ca: None,
        server_name: None,
        identity: None,
        alpn: vec![],
        verify: true,
    };
    assert_eq!(pool("tls: {}").tls, Some(expected.clone()));
    assert_eq!(pool("tls: ").tls, Some(expected));
}

#[test]
fn every_key_of_the_tls_of_a_pool_is_read() {
    let tls = pool(
        "tls: { ca: /ca.pem, server_name: App.Internal., cert: /a.pem, key: /a.key, alpn: h2, verify: true }",
    )
    .tls;
    let expected = ServerTls {
        ca: Some("/ca.pem".into()),
        server_name: Some("app.internal".into()),
        identity: Some(pair("/a.pem", "/a.key")),
        alpn: vec!["h2".into()],
        verify: true,
    };
    assert_eq!(tls, Some(expected));
    assert!(!pool("tls: { verify: false }").tls.unwrap().verify);
}

#[test]
fn a_unix_server_is_verified_by_a_name_or_not_at_all() {
    for keys in ["server_name: app", "verify: false"] {
        let text = format!(
            "listeners: {{ web: {{ bind: \":1\", pool: a }} }}\n\
             pools: {{ a: {{ servers: [\"unix:/run/a\"], tls: {{ {keys} }} }} }}\n"
        );
        assert!(plan(&text).pools[0].tls.is_some(), "{keys}");
    }
}

#[test]
fn every_version_of_the_proxy_protocol_is_sent() {
    for version in ProxyVersion::ALL {
        let pool = pool(&format!("proxy_protocol: {version}"));
        assert_eq!(pool.proxy_protocol, Some(*version));
    }
}

#[test]
fn a_check_does_tls_where_the_pool_does_unless_the_file_says_otherwise() {
    let check = |keys: &str, expected: bool| {
        let Health::Connect(check) = pool(keys).health else {
            panic!("{keys}")
        };
        assert_eq!(check.tls, expected, "{keys}");
    };
    check("health: {}", false);
    check("health: { tls: true }", true);
    check("tls: {}", true);
    check("tls: {}, health: { interval: 1s }", true);
    check("tls: {}, health: { tls: false }", false);
    check("tls: {}, health: { tls: false, port: 8080 }", false);
}

#[test]
fn a_worker_does_1000_handshakes_at_once_unless_the_file_says_otherwise() {
    let check = |top: &str, expected: u32| {
        let text = format!(
            "{top}\nlisteners: {{ a: {{ bind: \":1\", pool: a }} }}\npools: {{ a: [10.0.0.1:80] }}\n"
        );
        assert_eq!(
            plan(&text).limits.handshakes,
            NonZeroU32::new(expected).unwrap(),
            "{top}"
        );
    };
    check("", 1000);
    check("limits: { handshakes: auto }", 1000);
    check("limits: { handshakes: 1 }", 1);
    check("limits: { handshakes: 100000 }", 100_000);
}

#[test]
fn a_handshake_may_take_as_long_as_the_pool_the_listener_or_the_process_says() {
    let check = |process: &str, listener: &str, pool: &str, expected: u64| {
        let text = format!(
            "timeouts: {{ {process} }}\n\
             listeners: {{ a: {{ bind: \":1\", pool: db, timeouts: {{ {listener} }} }} }}\n\
             pools: {{ db: {{ servers: [10.0.0.1:80], timeouts: {{ {pool} }} }} }}\n"
        );
        let plan = plan(&text);
        let timeouts = Plan::timeouts_between(&plan.listeners[0], &plan.pools[0]);
        assert_eq!(timeouts.handshake, Duration::from_secs(expected));
    };
    check("", "", "", 10);
    check("handshake: 1s", "", "", 1);
    check("handshake: 1s", "handshake: 2s", "", 2);
    check("handshake: 1s", "handshake: 2s", "handshake: 3s", 3);
}

#[test]
fn the_schema_knows_the_forms_of_tls() {
    let schema = schema();
    let listener =
        &schema["properties"]["listeners"]["patternProperties"]["^[A-Za-z0-9_.-]{1,64}$"];
    assert_eq!(listener["required"], serde_json::json!(["bind"]));
    let tls = &listener["properties"]["tls"];
    assert_eq!(tls["required"], serde_json::json!(["certs"]));
    assert_eq!(
        tls["properties"]["min_version"]["oneOf"][0]["enum"],
        serde_json::json!(["1.2", 1.2])
    );
    assert_eq!(tls["properties"]["min_version"]["default"], "1.2");
    let route = &listener["properties"]["routes"]["items"]["anyOf"][0];
    assert_eq!(route["required"], serde_json::json!(["pool"]));
    assert_eq!(route["properties"]["passthrough"]["type"], "boolean");
    assert_eq!(route["properties"]["passthrough"]["default"], false);
    let pools = &schema["properties"]["pools"]["patternProperties"]["^[A-Za-z0-9_.-]{1,64}$"];
    let tls = &pools["anyOf"][1]["properties"]["tls"];
    assert_eq!(tls["type"], serde_json::json!(["object", "null"]));
}
