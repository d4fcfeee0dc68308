//! Promise: connections to servers are kept and used again only where that is safe, and a server that has gone away
//! costs a client nothing that could be done again.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringgate_tests::{
    PATIENCE, Recorder, Refusing, Ringgate, Then, Wire, in_parallel, ok, wait_until,
};

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

/// A gateway of that many workers whose pool has these keys besides `health: off`.
fn gateway(workers: usize, pool: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: {workers}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ {pool}, health: off }}
"
    ))
}

fn wire(ringgate: &Ringgate) -> Wire {
    Wire::over(ringgate.connect("web"))
}

#[test]
fn one_connection_serves_many_clients_one_after_the_other() {
    let server = Recorder::start();
    let ringgate = gateway(1, &format!("servers: [{server}]"));
    for _ in 0..50 {
        assert_eq!(wire(&ringgate).ask(GET).status, 200);
        assert_eq!(wire(&ringgate).ask(POST).status, 200);
    }
    assert_eq!(server.connections().len(), 1);
    ringgate.wait_for_metric("ringgate_pool_connections_total", &[("pool", "app")], 1.0);
}

#[test]
fn the_connection_that_was_used_last_is_used_next() {
    let released = Arc::new(Mutex::new(HashSet::new()));
    let gates = released.clone();
    let server = Recorder::serving(move |exchange| {
        let request = exchange.request()?;
        let target = request.target().to_owned();
        wait_until("it is released", PATIENCE, || {
            !target.starts_with("/gate") || gates.lock().unwrap().contains(&target)
        });
        exchange.send(ok(&target))?;
        Ok(Then::Keep)
    });
    let ringgate = gateway(1, &format!("servers: [{server}]"));
    let mut wires: Vec<Wire> = (0..4).map(|_| wire(&ringgate)).collect();
    for (number, wire) in wires.iter_mut().enumerate() {
        wire.send(format!("GET /gate{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        server.wait_received(number + 1);
    }
    for number in [2, 0, 3, 1] {
        released.lock().unwrap().insert(format!("/gate{number}"));
        assert_eq!(wires[number].answer().status, 200);
    }
    for _ in 0..10 {
        assert_eq!(wires[0].ask(GET).status, 200);
        assert_eq!(server.last().connection, 1);
    }
    assert_eq!(server.connections().len(), 4);
}

#[test]
fn what_a_server_has_closed_is_noticed_before_it_is_used() {
    let server = Recorder::serving(|exchange| {
        exchange.request()?;
        exchange.send(ok("once"))?;
        Ok(Then::Close)
    });
    let ringgate = gateway(1, &format!("servers: [{server}]"));
    let mut wire = wire(&ringgate);
    for number in 0..20 {
        // Also what is never done twice.
        assert_eq!(wire.ask(POST).text(), "once");
        server.wait_ended(number);
    }
    assert_eq!(server.received().len(), 20);
}

#[test]
fn a_connection_that_says_it_closes_is_not_used_again() {
    for said in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let server = Recorder::answering(|_| said.into());
        let ringgate = gateway(1, &format!("servers: [{server}]"));
        let mut wire = wire(&ringgate);
        for number in 0..3 {
            assert_eq!(wire.ask(POST).status, 200, "{said:?}");
            assert_eq!(server.last().connection, number, "{said:?}");
        }
    }
}

#[test]
fn servers_that_close_idle_connections_cost_no_client_anything() {
    const REQUESTS: usize = 10_000;
    const CLIENTS: usize = 24;
    // Between none and 50 ms: now sooner, now later than the next request.
    let closing = |number: usize| Duration::from_millis((number * 7 % 51) as u64);
    let pausing = |number: usize| Duration::from_millis((number * 13 % 41) as u64);
    let server = Recorder::serving(move |exchange| {
        exchange.request()?;
        exchange.send(ok("fine"))?;
        Ok(match closing(exchange.connection + exchange.number) {
            Duration::ZERO => Then::Close,
            time => Then::KeepFor(time),
        })
    });
    let ringgate = gateway(2, &format!("servers: [{server}]"));
    let wires: Vec<_> = (0..CLIENTS).map(|_| Mutex::new(wire(&ringgate))).collect();
    let answers = in_parallel(CLIENTS, REQUESTS, |number| {
        let mut wire = wires[number % CLIENTS].lock().unwrap();
        let answer = wire.ask(GET);
        std::thread::sleep(pausing(number));
        (answer.status, answer.text())
    });
    assert_eq!(answers.len(), REQUESTS);
    let good = (200, "fine".to_owned());
    let wrong: Vec<_> = answers.iter().filter(|answer| **answer != good).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let connections = server.connections().len();
    assert!(connections < REQUESTS, "none was used again");
    assert_eq!(
        ringgate.metric("ringgate_http_requests_total", &[("code", "200")]),
        REQUESTS as f64
    );
}

/// Answers the first request of a connection and resets it on the second, whose head it has seen.
fn resets_on_the_second() -> Recorder {
    Recorder::serving(|exchange| {
        if exchange.number == 1 {
            return Ok(Then::Reset);
        }
        exchange.request()?;
        exchange.send(ok("fine"))?;
        Ok(Then::Keep)
    })
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    let server = resets_on_the_second();
    let ringgate = gateway(
        1,
        &format!("servers: [{server}], retry: {{ attempts: 3, budget: 100% }}"),
    );
    for method in ["POST", "PATCH"] {
        let before = server.connections().len();
        let mut wire = wire(&ringgate);
        assert_eq!(wire.ask(GET).text(), "fine");
        let answer = wire.ask(POST.replace("POST", method));
        assert_eq!(
            (answer.status, answer.reason()),
            (502, Some("server_reset".to_owned())),
            "{method}"
        );
        let connections = server.connections();
        assert_eq!(connections.len(), before + 1, "{method}");
        assert_eq!(connections[before].heads, 2, "{method}");
    }
}

#[test]
fn what_may_be_done_again_is_done_on_another_connection() {
    let server = resets_on_the_second();
    let ringgate = gateway(1, &format!("servers: [{server}]"));
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        let before = server.connections().len();
        let mut wire = wire(&ringgate);
        // A fresh connection answers, whichever is used first.
        for _ in 0..3 {
            wire.send(GET.replace("GET", method));
            assert_eq!(wire.try_answer(method).unwrap().status, 200, "{method}");
        }
        assert!(server.connections().len() > before, "{method}");
    }
}

#[test]
fn a_server_that_refuses_connections_is_passed_over_with_any_method() {
    let (refusing, server) = (Refusing::start(), Recorder::start());
    let servers = format!("servers: [{}, {server}]", refusing.addr());
    let ringgate = gateway(1, &servers);
    for _ in 0..10 {
        let mut wire = wire(&ringgate);
        assert_eq!(wire.ask(GET).status, 200);
        let answer = wire.ask(POST);
        assert_eq!(
            (answer.status, server.last().text()),
            (200, "hello".to_owned())
        );
    }
    let errors = ringgate.metric(
        "ringgate_pool_connect_errors_total",
        &[("reason", "connect_refused")],
    );
    assert!(errors >= 1.0);
    let retried = ringgate
        .access_log(20)
        .iter()
        .filter(|line| line["retries"] == 1)
        .count();
    assert!(retried >= 1, "the log tells of it");
}

#[test]
fn when_every_server_refuses_the_client_is_told_so() {
    let refusing = Refusing::start();
    let ringgate = gateway(1, &format!("servers: [{}]", refusing.addr()));
    let mut wire = wire(&ringgate);
    for request in [GET, POST] {
        let answer = wire.ask(request);
        assert_eq!(
            (answer.status, answer.reason()),
            (502, Some("connect_refused".to_owned()))
        );
    }
    let line = &ringgate.access_log(1)[0];
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&502.into(), &"connect_refused".into())
    );
}

#[test]
fn a_status_that_asks_for_another_server_gets_one_for_what_may_be_done_again() {
    let tired = Recorder::answering(|_| {
        b"HTTP/1.1 503 Tired\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntired".to_vec()
    });
    let fresh = Recorder::answering(|_| ok("fresh"));
    let servers = format!(
        "servers: [{tired}, {fresh}], retry: {{ attempts: 1, budget: 100%, statuses: [503] }}"
    );
    let ringgate = gateway(1, &servers);
    let mut wire = wire(&ringgate);
    for _ in 0..20 {
        let answer = wire.ask(GET);
        assert_eq!((answer.status, &answer.text()[..]), (200, "fresh"));
    }
    let asked = tired.received().len();
    assert!(asked >= 5, "it was asked {asked} times");
    ringgate.wait_for_metric(
        "ringgate_pool_retries_total",
        &[("pool", "app")],
        asked as f64,
    );
    let posts: Vec<u16> = (0..10).map(|_| wire.ask(POST).status).collect();
    assert!(posts.contains(&200) && posts.contains(&503), "{posts:?}");
    let texts: Vec<_> = fresh
        .received()
        .iter()
        .chain(&tired.received())
        .map(|each| each.what())
        .collect();
    assert_eq!(texts.iter().filter(|what| *what == "POST /x").count(), 10);
}

#[test]
fn retries_are_a_part_of_the_requests_even_when_every_server_fails() {
    const REQUESTS: usize = 200;
    const BUDGET_PERCENT: usize = 20;
    /// What a budget may let through before it knows of requests.
    const GRACE: usize = 12;
    let [a, b] = [(); 2].map(|()| {
        Recorder::answering(|_| b"HTTP/1.1 503 Tired\r\nContent-Length: 5\r\n\r\ntired".to_vec())
    });
    let servers = format!(
        "servers: [{a}, {b}], retry: {{ attempts: 3, budget: {BUDGET_PERCENT}%, statuses: [503] }}"
    );
    let ringgate = gateway(1, &servers);
    let mut wire = wire(&ringgate);
    for _ in 0..REQUESTS {
        let answer = wire.ask(GET);
        assert_eq!(
            (answer.status, &answer.text()[..]),
            (503, "tired"),
            "the last answer is passed on"
        );
    }
    let asked = a.received().len() + b.received().len();
    let most = REQUESTS + REQUESTS * BUDGET_PERCENT / 100 + GRACE;
    assert!(
        (REQUESTS + 5..=most).contains(&asked),
        "{asked} for {REQUESTS}"
    );
    let retries = (asked - REQUESTS) as f64;
    ringgate.wait_for_metric("ringgate_pool_retries_total", &[("pool", "app")], retries);
}

/// A gateway to a place where nobody listens, as its checks have seen, with these keys in its pool.
fn without_server(pool: &str) -> (Ringgate, Refusing) {
    let place = Refusing::start();
    let ringgate = Ringgate::start(&format!(
        "
workers: 2
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{}], health: {{ interval: 100ms, rise: 1, fall: 1 }}{pool} }}
",
        place.addr()
    ));
    ringgate.wait_for_metric("ringgate_server_state", &[("state", "down")], 1.0);
    (ringgate, place)
}

#[test]
fn clients_are_held_while_no_server_is_up_and_then_served() {
    let (ringgate, place) = without_server(", hold: { for: 20s, max: 100 }");
    let mut wires: Vec<Wire> = (0..10).map(|_| wire(&ringgate)).collect();
    for (number, wire) in wires.iter_mut().enumerate() {
        wire.send(if number % 2 == 0 { GET } else { POST });
    }
    ringgate.wait_for_metric("ringgate_pool_held", &[("pool", "app")], 10.0);
    let server = Recorder::serving_at(place, |exchange| {
        exchange.request()?;
        exchange.send(ok("held"))?;
        Ok(Then::Keep)
    });
    for wire in &mut wires {
        assert_eq!(wire.answer().text(), "held");
    }
    assert_eq!(server.received().len(), 10);
    ringgate.wait_for_metric("ringgate_pool_held", &[("pool", "app")], 0.0);
}

#[test]
fn who_is_held_in_vain_or_over_the_bound_is_told_to_come_again() {
    let (ringgate, _place) = without_server(", hold: { for: 1s, max: 2 }");
    let began = Instant::now();
    let mut wires: Vec<Wire> = (0..5).map(|_| wire(&ringgate)).collect();
    wires.iter_mut().for_each(|wire| wire.send(GET));
    let mut reasons: Vec<_> = wires
        .iter_mut()
        .map(|wire| {
            let answer = wire.answer();
            let says_when = answer.field("retry-after").is_some();
            assert!(answer.status == 503 && says_when, "{answer:?}");
            answer.reason().unwrap()
        })
        .collect();
    reasons.sort_unstable();
    let [full, timeout] = ["hold_full", "hold_timeout"];
    assert_eq!(reasons, [full, full, full, timeout, timeout]);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_client_that_leaves_while_it_is_held_makes_room() {
    let (ringgate, _place) = without_server(", hold: { for: 20s, max: 1 }");
    let held = |count: f64| ringgate.wait_for_metric("ringgate_pool_held", &[], count);
    let mut first = wire(&ringgate);
    first.send(GET);
    held(1.0);
    drop(first);
    held(0.0);
    let mut second = wire(&ringgate);
    second.send(GET);
    held(1.0);
}

#[test]
fn without_hold_nobody_waits_for_a_server_that_is_down() {
    let (ringgate, _place) = without_server("");
    let answer = wire(&ringgate).ask(GET);
    assert_eq!(
        (answer.status, answer.reason()),
        (503, Some("no_server".to_owned()))
    );
    assert!(answer.field("retry-after").is_some());
}
