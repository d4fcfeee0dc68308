//! Promise: what Ringgate says of itself is complete, exact, and the same at every door; none of them changes anything.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::Shutdown;

use ringgate_tests::{
    Metrics, PATIENCE, Refusing, Ringgate, Server, connect, driver_under_test, get, read_to_end,
    request, run_to_end, send_all, wait_until,
};

/// Every metric of the contract that has something to say, its type, and its labels.
const METRICS: [(&str, &str, &[&str]); 23] = [
    ("ringgate_build_info", "gauge", &["version"]),
    ("ringgate_io_driver_info", "gauge", &["driver"]),
    (
        "ringgate_listener_connections_total",
        "counter",
        &["listener"],
    ),
    (
        "ringgate_listener_connections_active",
        "gauge",
        &["listener"],
    ),
    (
        "ringgate_listener_rejected_total",
        "counter",
        &["listener", "reason"],
    ),
    (
        "ringgate_pool_connections_total",
        "counter",
        &["pool", "server"],
    ),
    (
        "ringgate_pool_connections_active",
        "gauge",
        &["pool", "server"],
    ),
    ("ringgate_pool_connect_seconds", "histogram", &["pool"]),
    ("ringgate_pool_first_byte_seconds", "histogram", &["pool"]),
    ("ringgate_pool_session_seconds", "histogram", &["pool"]),
    (
        "ringgate_pool_received_bytes_total",
        "counter",
        &["pool", "server"],
    ),
    (
        "ringgate_pool_sent_bytes_total",
        "counter",
        &["pool", "server"],
    ),
    (
        "ringgate_pool_connect_errors_total",
        "counter",
        &["pool", "server", "reason"],
    ),
    ("ringgate_pool_retries_total", "counter", &["pool"]),
    ("ringgate_pool_held", "gauge", &["pool"]),
    (
        "ringgate_closed_total",
        "counter",
        &["listener", "by", "reason"],
    ),
    ("ringgate_relay_bytes_total", "counter", &["path"]),
    ("ringgate_server_up", "gauge", &["pool", "server"]),
    (
        "ringgate_server_state",
        "gauge",
        &["pool", "server", "state"],
    ),
    ("ringgate_server_weight", "gauge", &["pool", "server"]),
    ("ringgate_health_check_seconds", "histogram", &["pool"]),
    ("ringgate_worker_connections_active", "gauge", &["worker"]),
    ("ringgate_access_log_dropped_total", "counter", &[]),
];

type Labels<'a> = &'a [(&'a str, &'a str)];

#[test]
fn every_metric_is_there_from_the_start_with_its_labels() {
    let server = Server::echo();
    let ringgate = start(&server);
    let metrics = ringgate.metrics();
    for (name, kind, labels) in METRICS {
        let family = metrics
            .families
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(family.kind, kind, "{name}");
        assert!(family.help, "{name} has no help");
        assert!(
            !family.samples.is_empty(),
            "{name} has no value before something happens"
        );
        for sample in &family.samples {
            let found: Vec<&str> = sample
                .labels
                .keys()
                .map(String::as_str)
                .filter(|label| *label != "le")
                .collect();
            let mut expected = labels.to_vec();
            expected.sort_unstable();
            assert_eq!(found, expected, "{name}");
        }
    }
    assert_eq!(
        metrics.value(
            "ringgate_io_driver_info",
            &[("driver", &driver_under_test())]
        ),
        Some(1.0)
    );
    assert!(
        metrics
            .families
            .keys()
            .all(|name| name.starts_with("ringgate_") || name.starts_with("process_"))
    );
}

#[test]
fn numbers_are_those_of_the_traffic() {
    const CONNECTIONS: u64 = 7;
    const QUESTION: &[u8] = &[b'q'; 1_001];
    const ANSWER: &[u8] = &[b'a'; 70_003];
    let server = Server::start(|mut stream| {
        stream.read_exact(&mut [0; QUESTION.len()]).unwrap();
        stream.write_all(ANSWER).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let ringgate = start(&server);
    for _ in 0..CONNECTIONS {
        let client = ringgate.connect("tcp");
        send_all(&client, QUESTION);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&client).unwrap().len(), ANSWER.len());
    }
    let held = ringgate.connect("tcp");
    wait_until("the last connection is at the server", PATIENCE, || {
        server.accepted() as u64 > CONNECTIONS
    });
    ringgate.wait_for_metric(
        "ringgate_listener_connections_active",
        &[("listener", "tcp")],
        1.0,
    );

    let metrics = ringgate.metrics();
    let (sent, received) = (
        CONNECTIONS * QUESTION.len() as u64,
        CONNECTIONS * ANSWER.len() as u64,
    );
    let expected: [(&str, Labels<'_>, u64); 14] = [
        (
            "ringgate_listener_connections_total",
            &[("listener", "tcp")],
            CONNECTIONS + 1,
        ),
        ("ringgate_listener_rejected_total", &[], 0),
        (
            "ringgate_pool_connections_total",
            &[("pool", "tcp"), ("server", "s")],
            CONNECTIONS + 1,
        ),
        (
            "ringgate_pool_connections_active",
            &[("pool", "tcp"), ("server", "s")],
            1,
        ),
        (
            "ringgate_pool_sent_bytes_total",
            &[("pool", "tcp"), ("server", "s")],
            sent,
        ),
        (
            "ringgate_pool_received_bytes_total",
            &[("pool", "tcp"), ("server", "s")],
            received,
        ),
        ("ringgate_relay_bytes_total", &[], sent + received),
        (
            "ringgate_closed_total",
            &[("listener", "tcp"), ("reason", "done")],
            CONNECTIONS,
        ),
        ("ringgate_closed_total", &[], CONNECTIONS),
        ("ringgate_pool_connect_errors_total", &[], 0),
        ("ringgate_pool_retries_total", &[("pool", "tcp")], 0),
        (
            "ringgate_pool_connect_seconds_count",
            &[("pool", "tcp")],
            CONNECTIONS + 1,
        ),
        (
            "ringgate_pool_first_byte_seconds_count",
            &[("pool", "tcp")],
            CONNECTIONS,
        ),
        (
            "ringgate_pool_session_seconds_count",
            &[("pool", "tcp")],
            CONNECTIONS,
        ),
    ];
    for (name, labels, value) in expected {
        assert_eq!(
            metrics.value(name, labels),
            Some(value as f64),
            "{name}{labels:?}"
        );
    }
    assert_eq!(
        metrics.value("ringgate_worker_connections_active", &[]),
        Some(1.0)
    );
    assert!(metrics.value("ringgate_pool_session_seconds_sum", &[]) > Some(0.0));

    let status = ringgate.status();
    let in_status = &status["pools"][0]["servers"][0];
    assert_eq!(in_status["connections_total"], CONNECTIONS + 1, "{status}");
    assert_eq!(in_status["connections_active"], 1, "{status}");
    assert_eq!(in_status["sent_bytes_total"], sent, "{status}");
    assert_eq!(in_status["received_bytes_total"], received, "{status}");
    drop(held);
    ringgate.wait_until_quiet();
    ringgate.wait_for_metric("ringgate_worker_connections_active", &[], 0.0);
}

#[test]
fn the_state_of_each_server_is_told() {
    let (server, refusing) = (Server::echo(), Refusing::start());
    let ringgate = Ringgate::start(&format!(
        "
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp:
    health: {{ interval: 100ms, timeout: 100ms, rise: 1, fall: 2 }}
    servers:
      - {{ name: up, address: '{server}', weight: 7 }}
      - {{ name: down, address: '{}' }}
",
        refusing.addr()
    ));
    for (name, weight) in [("up", 7.0), ("down", 1.0)] {
        ringgate.wait_for_metric(
            "ringgate_server_state",
            &[("server", name), ("state", name)],
            1.0,
        );
        let metrics = ringgate.metrics();
        assert_eq!(
            metrics.value("ringgate_server_state", &[("server", name)]),
            Some(1.0),
            "one state at a time"
        );
        assert_eq!(
            metrics.value("ringgate_server_up", &[("server", name)]),
            Some(f64::from(u8::from(name == "up")))
        );
        assert_eq!(
            metrics.value("ringgate_server_weight", &[("server", name)]),
            Some(weight)
        );
    }
    wait_until("the checks go on", PATIENCE, || {
        ringgate.metric("ringgate_health_check_seconds_count", &[("pool", "tcp")]) >= 6.0
    });

    let status = ringgate.status();
    let servers = status["pools"][0]["servers"].as_array().unwrap();
    assert_eq!(servers[0]["state"], "up", "{status}");
    assert_eq!(servers[1]["state"], "down", "{status}");
    assert_eq!(servers[1]["reason"], "connect_refused", "{status}");
}

#[test]
fn both_doors_answer_alike() {
    let server = Server::echo();
    let ringgate = start(&server);
    for path in ["/live", "/ready", "/v1/status", "/metrics", "/", "/nowhere"] {
        let over_socket = ringgate.ask(path).unwrap();
        let over_tcp = get(connect(ringgate.addr("admin")), path).unwrap();
        assert_eq!(over_socket.status, over_tcp.status, "{path}");
        assert_eq!(
            over_socket.header("content-type"),
            over_tcp.header("content-type"),
            "{path}"
        );
        assert_eq!(
            over_tcp.status,
            if path == "/nowhere" { 404 } else { 200 },
            "{path}"
        );
    }
    let names = |page: &str| {
        Metrics::parse(page)
            .unwrap()
            .families
            .into_keys()
            .collect::<Vec<_>>()
    };
    let over_tcp = get(connect(ringgate.addr("admin")), "/metrics").unwrap();
    assert_eq!(
        names(&ringgate.ask("/metrics").unwrap().body),
        names(&over_tcp.body)
    );
    assert!(
        over_tcp
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let dashboard = ringgate.ask("/").unwrap();
    assert!(
        dashboard
            .header("content-type")
            .unwrap()
            .starts_with("text/html")
            && dashboard.body.contains("<html")
    );
}

#[test]
fn writes_are_refused_at_both_doors() {
    let server = Server::echo();
    let ringgate = start(&server);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for path in [
            "/v1/status",
            "/metrics",
            "/v1/reload",
            "/v1/pools/tcp/servers/s",
        ] {
            let body = "{\"state\":\"drain\"}";
            let over_socket = request(ringgate.admin().unwrap(), method, path, body).unwrap();
            let over_tcp = request(connect(ringgate.addr("admin")), method, path, body).unwrap();
            assert_eq!(
                (over_socket.status, over_tcp.status),
                (405, 405),
                "{method} {path}"
            );
        }
    }
    assert_eq!(ringgate.metric("ringgate_server_up", &[]), 1.0);
}

#[test]
fn a_web_page_cannot_read_the_local_door_under_a_name_of_its_own() {
    let server = Server::echo();
    let ringgate = start(&server);
    let mut stream = connect(ringgate.addr("admin"));
    stream
        .write_all(b"GET /v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert!(!answer.contains("\"pools\""), "{answer}");
}

#[test]
fn clients_that_never_finish_their_request_do_not_close_the_door() {
    let server = Server::echo();
    let ringgate = start(&server);
    let _slow: Vec<_> = (0..100)
        .map(|_| {
            let stream = connect(ringgate.addr("admin"));
            send_all(&stream, "GET /met");
            stream
        })
        .collect();
    assert_eq!(
        ringgate.ask("/ready").unwrap().status,
        200,
        "the other door answers at once"
    );
    assert_eq!(
        get(connect(ringgate.addr("admin")), "/ready")
            .unwrap()
            .status,
        200,
        "this one when their time is over"
    );
}

#[test]
fn the_status_verb_shows_what_the_socket_says() {
    let server = Server::echo();
    let ringgate = start(&server);
    let table = ringgate.command(&["status"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    for told in [
        "serving",
        "tcp",
        &format!("127.0.0.1:{}", ringgate.addr("tcp").port()),
        &server.to_string(),
        "round_robin",
    ] {
        assert!(
            table.stdout.contains(told),
            "{told:?} is not in\n{}",
            table.stdout
        );
    }
    let json = ringgate.command(&["status", "--json"]);
    assert_eq!(json.code, Some(0), "{json:?}");
    let (from_verb, from_socket): (serde_json::Value, _) = (
        serde_json::from_str(&json.stdout).unwrap(),
        ringgate.status(),
    );
    for part in ["version", "pid", "state", "listeners", "config_file"] {
        assert_eq!(from_verb[part], from_socket[part], "{part}");
    }

    let nobody = run_to_end(&["status", "--admin", "/nonexistent/admin.sock"]);
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(
        nobody.stderr.contains("/nonexistent/admin.sock"),
        "{nobody:?}"
    );
}

#[test]
fn the_read_only_door_can_be_closed() {
    let server = Server::echo();
    let ringgate = Ringgate::start(&format!(
        "
admin: {{ socket: $dir/admin.sock, http: off }}
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: [{server}]
"
    ));
    assert_eq!(ringgate.ask("/ready").unwrap().status, 200);
}

fn start(server: &Server) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 2
listeners:
  tcp: {{ bind: '127.0.0.1:$tcp', pool: tcp }}
pools:
  tcp: {{ servers: [{{ name: s, address: '{server}' }}], health: off }}
"
    ))
}
