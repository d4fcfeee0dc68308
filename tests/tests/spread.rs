//! Promise: connections are spread over the servers of a pool as their weights say.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::TcpStream;

use ringgate_tests::{Ringgate, Server, answers, wait_until};

/// How far a server's share of the connections may be from its share of the weight.
const TOLERANCE: f64 = 0.02;

const WEIGHTS: [(&str, u32); 4] = [("a", 5), ("b", 3), ("c", 2), ("never", 0)];

#[test]
fn round_robin_follows_the_weights() {
    check("round_robin", WEIGHTS, 1_000);
}

#[test]
fn random_follows_the_weights() {
    // One standard deviation is 0.5 / √20,000 = 0.35 % at most: the tolerance is more than five of them.
    check("random", WEIGHTS, 20_000);
}

#[test]
fn p2c_treats_equal_servers_alike() {
    check("p2c", [("a", 1), ("b", 1), ("c", 1), ("d", 1)], 20_000);
}

/// Makes short connections from several clients through two workers and counts who answered.
fn check(balance: &str, weights: [(&str, u32); 4], connections: usize) {
    let servers = weights.map(|(name, weight)| (name, weight, Server::saying(name)));
    let lines: String = servers
        .iter()
        .map(|(_, weight, server)| format!("      - {{ address: '{server}', weight: {weight} }}\n"))
        .collect();
    let ringgate = Ringgate::start(&format!(
        "
workers: 2
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app }}
pools:
  app:
    balance: {balance}
    health: off
    servers:
{lines}"
    ));
    let answers = answers(ringgate.addr("web"), 4, connections);
    let weight_sum: u32 = weights.iter().map(|(_, weight)| weight).sum();
    for (name, weight) in weights {
        let answered = answers.get(name).copied().unwrap_or_default();
        let share = answered as f64 / connections as f64;
        let expected = f64::from(weight) / f64::from(weight_sum);
        assert!(
            (share - expected).abs() <= TOLERANCE,
            "{balance}: {name} got {share}, not {expected}: {answers:?}"
        );
        assert!(
            weight > 0 || answered == 0,
            "{balance}: weight 0 got {answered} connections"
        );
    }
}

#[test]
fn p2c_spreads_the_connections_that_are_held_by_weight() {
    const HELD: usize = 300;
    let servers = ["a", "b", "c"].map(Server::greeting);
    let [a, b, c] = &servers;
    let ringgate = Ringgate::start(&format!(
        "
workers: 2
listeners:
  db: {{ bind: '127.0.0.1:$db', pool: db }}
pools:
  db:
    balance: p2c
    health: off
    servers:
      - {{ name: a, address: '{a}', weight: 5 }}
      - {{ name: b, address: '{b}', weight: 3 }}
      - {{ name: c, address: '{c}', weight: 2 }}
"
    ));
    let held: Vec<(String, TcpStream)> = (0..HELD).map(|_| open(&ringgate)).collect();
    for (name, weight) in [("a", 0.5), ("b", 0.3), ("c", 0.2)] {
        let share = count(&held, name) as f64 / HELD as f64;
        assert!(
            (share - weight).abs() <= TOLERANCE,
            "{name} holds {share}, not {weight}"
        );
    }
}

#[test]
fn least_conn_evens_out_the_connections_that_are_held() {
    let servers = ["a", "b", "c"].map(Server::greeting);
    let [a, b, c] = &servers;
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
listeners:
  db: {{ bind: '127.0.0.1:$db', pool: db }}
pools:
  db:
    balance: least_conn
    health: off
    servers:
      - {{ name: a, address: '{a}', weight: 2 }}
      - {{ name: b, address: '{b}' }}
      - {{ name: c, address: '{c}' }}
"
    ));
    let mut held: Vec<(String, TcpStream)> = (0..80).map(|_| open(&ringgate)).collect();
    assert_eq!(
        ["a", "b", "c"].map(|name| count(&held, name)),
        [40, 20, 20],
        "by weight, one after the other"
    );

    held.retain(|(name, _)| name != "b");
    ringgate.wait_for_metric("ringgate_pool_connections_active", &[("server", "b")], 0.0);
    held.extend((0..20).map(|_| open(&ringgate)));
    assert_eq!(
        ["a", "b", "c"].map(|name| count(&held, name)),
        [40, 20, 20],
        "the emptied server is filled up first"
    );
}

#[test]
fn with_two_workers_least_conn_sees_the_connections_of_both() {
    let servers = ["a", "b"].map(Server::greeting);
    let [a, b] = &servers;
    let ringgate = Ringgate::start(&format!(
        "
workers: 2
listeners:
  db: {{ bind: '127.0.0.1:$db', pool: db }}
pools:
  db:
    balance: least_conn
    health: off
    servers: [{a}, {b}]
"
    ));
    let held: Vec<(String, TcpStream)> = (0..100).map(|_| open(&ringgate)).collect();
    wait_until("both workers serve", ringgate_tests::PATIENCE, || {
        let active =
            |worker| ringgate.metric("ringgate_worker_connections_active", &[("worker", worker)]);
        active("0") > 0.0 && active("1") > 0.0
    });
    assert_eq!(["a", "b"].map(|name| count(&held, name)), [50, 50]);
}

/// A connection that is held, and the name of the server it ended up at.
fn open(ringgate: &Ringgate) -> (String, TcpStream) {
    use std::io::Read;
    let mut stream = ringgate.connect("db");
    let mut name = [0];
    stream.read_exact(&mut name).unwrap();
    (char::from(name[0]).to_string(), stream)
}

fn count(held: &[(String, TcpStream)], name: &str) -> usize {
    held.iter().filter(|(known, _)| known == name).count()
}
