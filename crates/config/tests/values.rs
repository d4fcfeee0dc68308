//! What a good file means: every form of every value, defaults, and who wins over whom.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use ringgate_config::{
    Access, AccessLog, Address, Balance, Bandwidth, Bind, ConnectionLimit, Health, HealthCheck,
    HealthPort, Io, ListenerLimits, LogFormat, LogLevel, Network, PerClient, Plan, Rate, Server,
    Workers, effective, parse,
};

const LISTENERS: &str = "listeners: { db: { bind: \":5432\", pool: db } }\n";
const POOLS: &str = "pools: { db: [10.0.0.1:5432] }\n";

/// The plan of a good text, which `effective` must give again.
fn plan(text: &str) -> Plan {
    let plan =
        parse("test.yaml", text, &[]).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
    let again =
        parse("effective", &effective(&plan), &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(again, plan, "{}", effective(&plan));
    plan
}

/// The plan of a text about the process, with a listener and a pool added.
fn process(text: &str) -> Plan {
    plan(&format!("{text}\n{LISTENERS}{POOLS}"))
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_shortest_file_has_every_default() {
    let plan = process("");
    assert_eq!(plan.workers, Workers::Auto);
    assert_eq!(plan.io, Io::Auto);
    assert_eq!(plan.admin.socket, PathBuf::from("/run/ringgate/admin.sock"));
    assert_eq!(plan.admin.http, Some(addr("127.0.0.1:9900")));
    assert_eq!(plan.log.level, LogLevel::Info);
    assert_eq!(plan.log.access, AccessLog::Stdout);
    assert_eq!(plan.log.format, LogFormat::Json);
    assert_eq!(plan.limits.connections, ConnectionLimit::Auto);
    assert_eq!(plan.drain, secs(30));
    let timeouts = plan.listeners[0].timeouts;
    assert_eq!(
        (timeouts.connect, timeouts.idle, timeouts.half_closed),
        (secs(3), secs(300), secs(30))
    );
    let pool = plan.pool(plan.listeners[0].pool.unwrap());
    assert_eq!(pool.name, "db");
    assert_eq!(pool.balance, Balance::RoundRobin);
    let server = Server {
        name: "10.0.0.1:5432".into(),
        address: Address::Ip(addr("10.0.0.1:5432")),
        weight: 1,
    };
    assert_eq!(pool.servers, [server]);
    let check = HealthCheck {
        interval: secs(2),
        timeout: secs(1),
        rise: 2,
        fall: 3,
        port: HealthPort::Server,
        tls: false,
    };
    assert_eq!(pool.health, Health::Connect(check));
}

#[test]
fn workers_and_connections_are_auto_or_a_number() {
    assert_eq!(process("workers: auto").workers, Workers::Auto);
    assert_eq!(
        process("workers: 256").workers,
        Workers::Exactly(NonZeroU16::new(256).unwrap())
    );
    assert_eq!(
        process("workers: \"4\"").workers,
        Workers::Exactly(NonZeroU16::new(4).unwrap())
    );
    let limit = process("limits: { connections: 10000 }").limits.connections;
    assert_eq!(
        limit,
        ConnectionLimit::Exactly(NonZeroU32::new(10_000).unwrap())
    );
}

#[test]
fn off_is_a_word_and_not_a_boolean() {
    assert_eq!(process("admin: { http: off }").admin.http, None);
    assert_eq!(process("admin: { http: \"off\" }").admin.http, None);
    assert_eq!(process("log: { access: off }").log.access, AccessLog::Off);
    let text = format!("{LISTENERS}pools: {{ db: {{ servers: [10.0.0.1:80], health: off }} }}");
    assert_eq!(plan(&text).pools[0].health, Health::Off);
}

#[test]
fn words_and_names_may_look_like_other_things() {
    let text = "listeners:\n  no: { bind: \":1\", pool: 1.5 }\n  \"-\": { bind: \":2\", pool: \"null\" }\n\
                pools:\n  1.5: [10.0.0.1:80]\n  \"null\": [10.0.0.1:80]\n  true: [10.0.0.1:80]\n";
    let plan = plan(text);
    let names: Vec<&str> = plan
        .listeners
        .iter()
        .map(|listener| listener.name.as_str())
        .collect();
    assert_eq!(names, ["no", "-"]);
    assert_eq!(plan.pool(plan.listeners[0].pool.unwrap()).name, "1.5");
    assert_eq!(plan.pool(plan.listeners[1].pool.unwrap()).name, "null");
}

#[test]
fn every_form_of_duration_is_read() {
    let check = |text: &str, expected| {
        assert_eq!(
            process(&format!("timeouts: {{ idle: {text} }}"))
                .timeouts
                .idle,
            expected,
            "{text}"
        );
    };
    check("1ms", Duration::from_millis(1));
    check("1500ms", Duration::from_millis(1500));
    check("90s", secs(90));
    check("5m", secs(300));
    check("720h", secs(720 * 3600));
    check("\"7s\"", secs(7));
    check("007s", secs(7));
    assert_eq!(process("timeouts: { drain: 0s }").drain, Duration::ZERO);
}

#[test]
fn every_form_of_bind_is_read() {
    let check = |text: &str, expected: &[Bind]| {
        let text = format!("listeners: {{ db: {{ bind: {text}, pool: db }} }}\n{POOLS}");
        assert_eq!(plan(&text).listeners[0].binds, expected, "{text}");
    };
    let ip = |text: &str| Bind::Ip {
        addr: addr(text),
        dual_stack: false,
    };
    let dual = |port: u16| Bind::Ip {
        addr: addr(&format!("[::]:{port}")),
        dual_stack: true,
    };
    check("1.2.3.4:443", &[ip("1.2.3.4:443")]);
    check("0.0.0.0:443", &[ip("0.0.0.0:443")]);
    check("\"[::]:443\"", &[ip("[::]:443")]);
    check("\"[2001:db8::1]:443\"", &[ip("[2001:db8::1]:443")]);
    check("\":443\"", &[dual(443)]);
    check(":443", &[dual(443)]);
    check("unix:/run/x.sock", &[Bind::Unix("/run/x.sock".into())]);
    check(
        "\"unix:/run/a \\\"b\\\" \\u00fc\\t.sock\"",
        &[Bind::Unix("/run/a \"b\" ü\t.sock".into())],
    );
    check(
        "[\":1\", 127.0.0.1:2, unix:/a]",
        &[dual(1), ip("127.0.0.1:2"), Bind::Unix("/a".into())],
    );
}

#[test]
fn addresses_that_differ_in_family_port_or_breadth_live_together() {
    let text = "listeners:\n  a: { bind: [0.0.0.0:80, \"[::]:80\", 127.0.0.1:80, \"[::1]:80\"], pool: db }\n  \
                b: { bind: [\":81\", 127.0.0.1:81], pool: db }\n";
    assert_eq!(plan(&format!("{text}{POOLS}")).listeners.len(), 2);
    let closed = "admin: { http: off }\nlisteners: { a: { bind: \":9900\", pool: db } }\n";
    assert_eq!(plan(&format!("{closed}{POOLS}")).listeners.len(), 1);
}

#[test]
fn a_server_may_be_another_listener_or_look_like_one() {
    let check = |binds: &str, servers: &str| {
        plan(&format!(
            "listeners:\n{binds}pools:\n  db: [{servers}]\n  other: [10.0.0.9:80]\n"
        ));
    };
    check(
        "  a: { bind: \":80\", pool: db }\n",
        "10.0.0.1:80, 127.0.0.1:81",
    );
    check("  a: { bind: \"0.0.0.0:80\", pool: db }\n", "\"[::1]:80\"");
    check("  a: { bind: \"[::]:80\", pool: db }\n", "127.0.0.1:80");
    check("  a: { bind: \":80\", pool: other }\n", "127.0.0.1:80");
    check(
        "  a: { bind: \":80\", pool: db }\n  b: { bind: 127.0.0.1:80, pool: other }\n",
        "127.0.0.1:80",
    );
    check(
        "  a: { bind: \"[fe80::1%2]:80\", pool: db }\n",
        "\"[fe80::1%3]:80\"",
    );
}

#[test]
fn a_pool_that_no_listener_uses_is_known() {
    let text = format!("{LISTENERS}pools: {{ spare: [10.0.0.1:80], db: [10.0.0.1:80] }}\n");
    let plan = plan(&text);
    let unused: Vec<&str> = plan.unused_pools().map(|pool| pool.name.as_str()).collect();
    assert_eq!(unused, ["spare"]);
}

#[test]
fn servers_have_both_forms_in_one_list() {
    let text = "listeners: { db: { bind: \":1\", pool: db } }\npools:\n  db:\n    balance: p2c\n    servers:\n      \
                - \"[fd00::1]:80\"\n      - { address: unix:/run/b.sock, weight: 256 }\n      \
                - { address: 10.0.0.1:80, name: c.d-e_F, weight: 0 }\n";
    let servers = plan(text).pools.remove(0).servers;
    let expected = [
        ("[fd00::1]:80", Address::Ip(addr("[fd00::1]:80")), 1),
        ("unix:/run/b.sock", Address::Unix("/run/b.sock".into()), 256),
        ("c.d-e_F", Address::Ip(addr("10.0.0.1:80")), 0),
    ];
    assert_eq!(
        servers,
        expected.map(|(name, address, weight)| Server {
            name: name.into(),
            address,
            weight
        })
    );
}

#[test]
fn every_balance_is_read() {
    for balance in Balance::ALL {
        let text =
            format!("{LISTENERS}pools: {{ db: {{ servers: [10.0.0.1:80], balance: {balance} }} }}");
        assert_eq!(plan(&text).pools[0].balance, *balance);
    }
}

#[test]
fn a_pool_wins_over_a_listener_and_that_over_the_process() {
    let text = "timeouts: { connect: 1s, idle: 10s, half_closed: 20s }\n\
                listeners:\n  a: { bind: \":1\", pool: db, timeouts: { idle: 11s, half_closed: 21s } }\n  \
                b: { bind: \":2\", pool: db }\n\
                pools: { db: { servers: [10.0.0.1:80], timeouts: { half_closed: 22s } } }\n";
    let plan = plan(text);
    let check = |listener: usize, expected: [u64; 3]| {
        let listener = &plan.listeners[listener];
        let timeouts = Plan::timeouts_between(listener, plan.pool(listener.pool.unwrap()));
        assert_eq!(
            [timeouts.connect, timeouts.idle, timeouts.half_closed],
            expected.map(secs),
            "{}",
            listener.name
        );
    };
    check(0, [1, 11, 22]);
    check(1, [1, 10, 22]);
}

#[test]
fn the_default_timeout_of_a_check_fits_into_its_interval() {
    let check = |health: &str, expected: Duration| {
        let text =
            format!("{LISTENERS}pools: {{ db: {{ servers: [10.0.0.1:80], health: {health} }} }}");
        let Health::Connect(check) = plan(&text).pools[0].health else {
            panic!("{text}")
        };
        assert_eq!(check.timeout, expected, "{text}");
    };
    check("{}", secs(1));
    check("{ interval: 100ms }", Duration::from_millis(100));
    check("{ interval: 10s, timeout: 10s }", secs(10));
}

#[test]
fn a_check_goes_to_the_port_that_the_file_names() {
    let text = format!(
        "{LISTENERS}pools: {{ db: {{ servers: [\"[fe80::1%2]:80\"], health: {{ port: 8080 }} }} }}"
    );
    let plan = plan(&text);
    let Health::Connect(check) = plan.pools[0].health else {
        panic!("{text}")
    };
    assert_eq!(
        check.address_of(&plan.pools[0].servers[0]),
        Address::Ip(addr("[fe80::1%2]:8080"))
    );
}

#[test]
fn an_alias_repeats_a_block() {
    let text = format!(
        "{LISTENERS}pools:\n  db: {{ servers: [10.0.0.1:80], health: &slow {{ interval: 1m }} }}\n  \
         web: {{ servers: [10.0.0.2:80], health: *slow }}\n"
    );
    let plan = plan(&text);
    assert_eq!(plan.pools[0].health, plan.pools[1].health);
}

#[test]
fn what_editors_leave_behind_is_read() {
    let check = |text: &str| assert_eq!(plan(text), process(""), "{text:?}");
    let text = format!("{LISTENERS}{POOLS}");
    check(&format!("\u{feff}{text}"));
    check(&format!("---\n{text}...\n"));
    check(&text.replace('\n', "\r\n"));
    check(&format!("# first\n\n{text}# last"));
    check(&format!("admin:\nlog: ~\ntimeouts: null\n{text}"));
}

#[test]
fn a_pool_has_at_most_4096_servers() {
    let servers = |count: usize| {
        let list: Vec<String> = (0..count)
            .map(|n| format!("10.0.{}.{}:80", n / 256, n % 256))
            .collect();
        format!("{LISTENERS}pools: {{ db: [{}] }}\n", list.join(", "))
    };
    assert_eq!(plan(&servers(4096)).pools[0].servers.len(), 4096);
    let mistakes = parse("test.yaml", &servers(4097), &[]).unwrap_err();
    assert!(
        mistakes.to_string().contains("the pool has 4097 servers"),
        "{mistakes}"
    );
}

/// The plan of one listener with these keys.
fn listener(keys: &str) -> ringgate_config::Listener {
    let text = format!("listeners: {{ db: {{ bind: \":5432\", pool: db, {keys} }} }}\n{POOLS}");
    plan(&text).listeners.remove(0)
}

#[test]
fn a_listener_lets_everybody_in_unless_it_says_otherwise() {
    let plain = listener("");
    assert_eq!(plain.access, None);
    assert_eq!(plain.limits, ListenerLimits::default());
}

#[test]
fn every_form_of_network_is_read() {
    let check = |text: &str, first: &str, prefix: u8| {
        let network = Network {
            first: first.parse().unwrap(),
            prefix,
        };
        for (key, access) in [
            ("allow", (vec![network], vec![])),
            ("deny", (vec![], vec![network])),
        ] {
            let (allow, deny) = access;
            let expected = Some(Access { allow, deny });
            for written in [text.to_owned(), format!("[{text}]")] {
                assert_eq!(
                    listener(&format!("access: {{ {key}: {written} }}")).access,
                    expected,
                    "{text}"
                );
            }
        }
    };
    check("10.0.0.0/8", "10.0.0.0", 8);
    check("0.0.0.0/0", "0.0.0.0", 0);
    check("192.0.2.1/32", "192.0.2.1", 32);
    check("192.0.2.1", "192.0.2.1", 32);
    check("'fd00::/8'", "fd00::", 8);
    check("'::/0'", "::", 0);
    check("'FD00:0::1'", "fd00::1", 128);
}

#[test]
fn networks_may_lie_in_each_other() {
    let text = "access: { allow: [10.0.0.0/8, 10.1.2.0/24], deny: [10.1.0.0/16] }";
    assert_eq!(listener(text).access.unwrap().allow.len(), 2);
}

#[test]
fn every_form_of_rate_is_read() {
    for (text, count, period) in [
        ("50/s", 50, secs(1)),
        ("100/10s", 100, secs(10)),
        ("6000/m", 6000, secs(60)),
        ("1/h", 1, secs(3600)),
        ("7/1500ms", 7, Duration::from_millis(1500)),
    ] {
        let count = NonZeroU32::new(count).unwrap();
        let expected = PerClient {
            connections: None,
            rate: Some(Rate { count, period }),
            ipv6_prefix: 64,
        };
        let limits = listener(&format!("limits: {{ per_client: {{ rate: {text} }} }}")).limits;
        assert_eq!(limits.per_client, Some(expected), "{text}");
    }
}

#[test]
fn every_bound_of_a_listener_is_read() {
    let limits = listener(
        "limits: { connections: 10, per_client: { connections: 3, ipv6_prefix: 56 }, bandwidth: 10MiB/s }",
    )
    .limits;
    let expected = ListenerLimits {
        connections: NonZeroU32::new(10),
        per_client: Some(PerClient {
            connections: NonZeroU32::new(3),
            rate: None,
            ipv6_prefix: 56,
        }),
        bandwidth: NonZeroU64::new(10 << 20).map(Bandwidth),
    };
    assert_eq!(limits, expected);
    for (text, bytes) in [
        ("64KiB/s", 64 << 10),
        ("1GiB/s", 1 << 30),
        ("1024GiB/s", 1 << 40),
    ] {
        let limits = listener(&format!("limits: {{ bandwidth: {text} }}")).limits;
        assert_eq!(
            limits.bandwidth,
            NonZeroU64::new(bytes).map(Bandwidth),
            "{text}"
        );
    }
}

#[test]
fn a_first_byte_is_waited_for_as_the_pool_the_listener_or_the_process_says() {
    let check = |process: &str, listener: &str, pool: &str, expected: Duration| {
        let text = format!(
            "timeouts: {{ {process} }}\n\
             listeners: {{ a: {{ bind: \":1\", pool: db, timeouts: {{ {listener} }} }} }}\n\
             pools: {{ db: {{ servers: [10.0.0.1:80], timeouts: {{ {pool} }} }} }}\n"
        );
        let plan = plan(&text);
        let listener = &plan.listeners[0];
        let timeouts = Plan::timeouts_between(listener, plan.pool(listener.pool.unwrap()));
        assert_eq!(timeouts.first_byte, expected);
    };
    check("", "", "", secs(30));
    check("first_byte: 1s", "", "", secs(1));
    check("first_byte: 1s", "first_byte: 2s", "", secs(2));
    check(
        "first_byte: 1s",
        "first_byte: 2s",
        "first_byte: 3s",
        secs(3),
    );
}
