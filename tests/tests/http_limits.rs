//! Promise: nobody gets more requests than the limits say, nobody gets fewer, over all workers and connections, and
//! whoever is refused is told when to come again.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use ringgate_tests::{
    Answer, Ends, H2, PATIENCE, Recorder, Ringgate, Wire, head, in_parallel, token_line, wait_for,
    wait_until,
};

/// A listener `$web` with that `http:` block, and these routes.
fn start(server: &Recorder, workers: usize, http: &str, routes: &str) -> Ringgate {
    let yaml = format!(
        "
workers: {workers}
listeners:
  web:
    bind: '127.0.0.1:$web'
    pool: app
    http: {{ {http} }}
{routes}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
    );
    Ringgate::start_prepared(&yaml, |dir| {
        let tokens = ["alice", "bob"].map(|name| token_line(name, name, ""));
        std::fs::write(dir.join("tokens"), tokens.concat()).unwrap();
    })
}

fn ask(wire: &mut Wire, path: &str, fields: &[(&str, &str)]) -> Answer {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    wire.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

/// How many of so many requests with these fields are let through, one after the other, each on its own connection.
fn let_through(
    ringgate: &Ringgate,
    count: usize,
    fields: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> usize {
    let through = |number: &usize| {
        let fields = fields(*number);
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = ask(&mut Wire::connect(ringgate.addr("web")), "/", &fields);
        assert!([200, 429].contains(&answer.status), "{answer:?}");
        answer.status == 200
    };
    (0..count).filter(through).count()
}

/// A limit that gives nothing back while a test runs: what it lets through is its burst.
const SLOW: &str = "rate: 1/1h, burst: 5";

#[test]
fn each_key_has_its_own_count_and_no_client_can_change_its_key() {
    let by = |by: &str| format!("rate_limit: {{ {SLOW}, by: '{by}' }}");
    let trusting = |by: &str| format!("trusted_proxies: [127.0.0.1], {by}");
    let one = |name, value: &str| vec![(name, value.to_owned())];
    let forwarded = |name, value: &str| {
        let value = value.to_owned();
        move |number: usize| vec![(name, value.replace("{}", &number.to_string()))]
    };
    let auth = format!("auth: {{ tokens_file: $dir/tokens }}, {}", by("consumer"));
    type Fields = Box<dyn Fn(usize) -> Vec<(&'static str, String)>>;
    let cases: Vec<(&str, String, Fields, usize)> = vec![
        ("one client", by("client_ip"), Box::new(|_| vec![]), 5),
        (
            "a client that claims to be many",
            by("client_ip"),
            Box::new(forwarded("X-Forwarded-For", "1.1.1.{}")),
            5,
        ),
        (
            "the same by Forwarded",
            by("client_ip"),
            Box::new(forwarded("Forwarded", "for=1.1.1.{}")),
            5,
        ),
        (
            "the same by X-Real-IP",
            by("client_ip"),
            Box::new(forwarded("X-Real-IP", "1.1.1.{}")),
            5,
        ),
        (
            "clients behind a trusted proxy",
            trusting(&by("client_ip")),
            Box::new(forwarded("X-Forwarded-For", "1.1.1.{}")),
            20,
        ),
        (
            "a client of a trusted proxy that claims to be many",
            trusting(&by("client_ip")),
            Box::new(forwarded("X-Forwarded-For", "1.1.1.{}, 9.9.9.9")),
            5,
        ),
        (
            "the same through a chain of trusted ones",
            trusting(&by("client_ip")),
            Box::new(forwarded("X-Forwarded-For", "1.1.1.{}, 9.9.9.9, 127.0.0.1")),
            5,
        ),
        (
            "addresses of one IPv6 network of 64 bits",
            trusting(&by("client_ip")),
            Box::new(forwarded("X-Forwarded-For", "2001:db8:1:2::{}")),
            5,
        ),
        (
            "addresses of many such networks",
            trusting(&by("client_ip")),
            Box::new(forwarded("X-Forwarded-For", "2001:db8:1:{}::1")),
            20,
        ),
        (
            "a value of a field",
            by("header:X-Key"),
            Box::new(move |_| one("X-Key", "a")),
            5,
        ),
        (
            "the same, its name in any case",
            by("header:X-Key"),
            Box::new(|number| {
                let name = if number % 2 == 0 { "x-key" } else { "X-KEY" };
                vec![(name, "a".to_owned())]
            }),
            5,
        ),
        (
            "many values",
            by("header:X-Key"),
            Box::new(forwarded("X-Key", "{}")),
            20,
        ),
        ("no such field", by("header:X-Key"), Box::new(|_| vec![]), 5),
        (
            "a field that a stranger may not say",
            by("header:CF-Connecting-IP"),
            Box::new(forwarded("CF-Connecting-IP", "1.1.1.{}")),
            5,
        ),
        (
            "the same by a trusted proxy",
            trusting(&by("header:CF-Connecting-IP")),
            Box::new(forwarded("CF-Connecting-IP", "1.1.1.{}")),
            20,
        ),
        (
            "two consumers",
            auth,
            Box::new(|number| {
                let name = if number % 2 == 0 { "alice" } else { "bob" };
                vec![("Authorization", format!("Bearer {name}"))]
            }),
            10,
        ),
    ];
    let server = Recorder::start();
    for (what, http, fields, expected) in cases {
        let ringgate = start(&server, 1, &http, "");
        assert_eq!(let_through(&ringgate, 20, fields), expected, "{what}");
        let limited = ringgate.metric("ringgate_rate_limited_total", &[("listener", "web")]);
        assert_eq!(limited, (20 - expected) as f64, "{what}");
    }
}

#[test]
fn two_fields_of_the_name_that_is_counted_are_refused() {
    let server = Recorder::start();
    let http = format!("rate_limit: {{ {SLOW}, by: 'header:X-Key' }}");
    let ringgate = start(&server, 1, &http, "");
    let mut wire = Wire::connect(ringgate.addr("web"));
    let answer = ask(&mut wire, "/", &[("X-Key", "a"), ("X-Key", "b")]);
    assert_eq!(
        (answer.status, answer.reason().as_deref()),
        (400, Some("bad_request"))
    );
}

/// The parameters of the item of that name, such as `q` and `w`.
fn parameter(field: &str, name: &str) -> u64 {
    let found = field
        .split(';')
        .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    found
        .unwrap_or_else(|| panic!("no {name} in {field}"))
        .parse()
        .unwrap()
}

#[test]
fn clients_are_told_what_is_left_and_when_to_come_again() {
    let server = Recorder::start();
    let ringgate = start(
        &server,
        1,
        "rate_limit: { rate: 2/1s, burst: 4, by: 'header:X-Key' }",
        "",
    );
    let mut wire = Wire::connect(ringgate.addr("web"));
    let mut last = u64::MAX;
    for _ in 0..4 {
        let answer = ask(&mut wire, "/", &[("X-Key", "told")]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let limit = answer.field("ratelimit").unwrap();
        let left = parameter(limit, "r");
        assert!(left < 4 && left <= last, "{limit}");
        last = left;
        let policy = answer.field("ratelimit-policy").unwrap();
        assert!(
            parameter(policy, "q") > 0 && parameter(policy, "w") > 0,
            "{policy}"
        );
    }
    // On a slow machine one has come back meanwhile.
    let refused = (0..20).map(|_| ask(&mut wire, "/", &[("X-Key", "told")]));
    let refused = refused
        .into_iter()
        .find(|answer| answer.status == 429)
        .unwrap();
    let after: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert_eq!(after, 1);
    assert_eq!(parameter(refused.field("ratelimit").unwrap(), "r"), 0);
    assert_eq!(refused.reason().as_deref(), Some("rate_limited"));
    assert!(!refused.says_close(), "the connection goes on");
    let asked = Instant::now();
    wait_until("it is let through again", PATIENCE, || {
        ask(&mut wire, "/", &[("X-Key", "told")]).status == 200
    });
    // A request that was refused did not count, so it takes no longer than was said; a busy machine apart.
    assert!(asked.elapsed() < Duration::from_secs(after) + Duration::from_secs(2));
    assert_eq!(ask(&mut wire, "/", &[("X-Key", "other")]).status, 200);
}

#[test]
fn all_limits_hold_and_a_route_has_its_own() {
    let server = Recorder::start();
    let http = "rate_limit: [{ rate: 1/1h, burst: 24, by: client_ip }, { rate: 1/1h, burst: 3, by: 'header:X-Key' }]";
    let routes = "
    routes:
      - { name: own, path: /own, pool: app, http: { rate_limit: { rate: 1/1h, burst: 2 } } }
      - { name: other, path: /other, pool: app }
      - { name: same, path: /same, pool: app, http: { rate_limit: { rate: 1/1h, burst: 2 } } }";
    let ringgate = start(&server, 1, http, routes);
    let mut wire = Wire::connect(ringgate.addr("web"));
    let mut count = |path: &str, key: &str| {
        let ask = |_: &usize| ask(&mut wire, path, &[("X-Key", key)]).status == 200;
        (0..10).filter(ask).count()
    };
    assert_eq!(
        count("/own", "a"),
        2,
        "the route's instead of the listener's"
    );
    assert_eq!(count("/same", "a"), 2, "alike, and counted apart");
    assert_eq!(count("/", "a"), 3);
    assert_eq!(count("/", "b"), 3);
    // Each request counts for the first limit, also when the second one refuses it or another route is taken.
    assert_eq!(count("/", "c"), 3);
    assert_eq!(count("/other", "d"), 0);
    let log = ringgate.access_log(60);
    let of_route = |name: &str| log.iter().filter(|line| line["route"] == name).count();
    assert_eq!((of_route("own"), of_route("other")), (10, 10));
    let limited = ringgate.metric("ringgate_rate_limited_total", &[("route", "own")]);
    assert_eq!(limited, 8.0);
}

#[test]
fn streams_of_one_connection_are_counted_one_by_one() {
    let server = Recorder::start();
    let ringgate = start(&server, 1, &format!("rate_limit: {{ {SLOW} }}"), "");
    let mut client = H2::connect(ringgate.addr("web"));
    let streams: Vec<u32> = (0..20)
        .map(|_| client.open(&head("GET", "/"), Ends::Here))
        .collect();
    let statuses: Vec<u16> = streams
        .into_iter()
        .map(|stream| client.finish(stream).answer().status())
        .collect();
    let through = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(through, 5, "{statuses:?}");
    assert_eq!(server.received().len(), 5);
}

/// What a run of clients that ask without a pause saw.
#[derive(Debug)]
struct Run {
    through: f64,
    refused: f64,
    /// Workers that had clients.
    workers: usize,
    /// Requests that the limit must have let through, and may have.
    least: f64,
    most: f64,
}

/// How many workers share so many connections, once all of these are there and no other.
fn workers_with_clients(ringgate: &Ringgate, connections: usize) -> usize {
    wait_for("every client has its worker", PATIENCE, || {
        let metrics = ringgate.metrics();
        let of_workers = metrics.samples("ringgate_worker_connections_active");
        let of_workers: Vec<f64> = of_workers.map(|sample| sample.value).collect();
        let are_there = of_workers.iter().sum::<f64>() == connections as f64;
        are_there.then(|| of_workers.iter().filter(|count| **count > 0.0).count())
    })
}

/// Eight clients ask for so long, as fast as they can, all by one key.
fn run(ringgate: &Ringgate, key: &str, rate: f64, burst: f64, length: Duration) -> Run {
    const CLIENTS: usize = 8;
    let connect = |_| Mutex::new(Wire::connect(ringgate.addr("web")));
    let wires: Vec<_> = (0..CLIENTS).map(connect).collect();
    let workers = workers_with_clients(ringgate, CLIENTS);
    let begun = Instant::now();
    let of_clients = in_parallel(CLIENTS, CLIENTS, |number| {
        let mut wire = wires[number].lock().unwrap();
        let (mut through, mut refused, mut first, mut last) = (0, 0, None, begun);
        while begun.elapsed() < length {
            last = Instant::now();
            match ask(&mut wire, "/", &[("X-Key", key)]).status {
                200 => through += 1,
                _ => refused += 1,
            }
            first.get_or_insert_with(Instant::now);
        }
        (through, refused, first.unwrap(), last)
    });
    let ended = Instant::now();
    // Between the first answer and the last question somebody always asked.
    let first = of_clients.iter().map(|client| client.2).min().unwrap();
    let last = of_clients.iter().map(|client| client.3).max().unwrap();
    Run {
        through: of_clients.iter().map(|client| client.0).sum::<usize>() as f64,
        refused: of_clients.iter().map(|client| client.1).sum::<usize>() as f64,
        workers,
        least: burst + rate * last.saturating_duration_since(first).as_secs_f64(),
        most: burst + rate * (ended - begun).as_secs_f64() + 1.0,
    }
}

#[test]
fn limits_are_exact_with_one_worker_and_with_four() {
    const RUNS: usize = 10;
    const TRIES: usize = 5;
    let (rate, burst) = (100.0, 50.0);
    let length = Duration::from_millis(500);
    let server = Recorder::start();
    for workers in [1, 4] {
        let http = "rate_limit: { rate: 100/s, burst: 50, by: 'header:X-Key' }";
        let ringgate = start(&server, workers, http, "");
        let mut took_part = 0;
        for number in 0..RUNS {
            let saturates = (0..TRIES).any(|again| {
                let key = format!("run-{number}-{again}");
                let run = run(&ringgate, &key, rate, burst, length);
                took_part = took_part.max(run.workers);
                let what = format!("{run:?}, run {number} with {workers} workers");
                assert!(run.through <= run.most * 1.01, "too many: {what}");
                // Where next to none were refused, the machine was too slow to ask for what there was.
                let is_exact = run.through >= run.least * 0.99 - 1.0;
                assert!(is_exact || run.refused < 20.0, "too few: {what}");
                is_exact
            });
            assert!(
                saturates,
                "the machine is too slow for {rate} requests a second"
            );
        }
        // The kernel deals connections out by chance: now and then one worker has them all.
        assert_eq!(took_part > 1, workers > 1, "{took_part} of {workers}");
    }
}
