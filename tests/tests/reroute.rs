//! Promise: a server that dies under load costs at most the requests in flight on it, and gets traffic again when it
//! is back.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringgate_tests::{Keep, Load, Nginx, PATIENCE, Ringgate, wait_until};

/// How long a failure that happened may take to be noticed by a client on a busy machine.
const NOTICE: Duration = Duration::from_millis(250);

const ROUNDS: usize = 5;
const KEPT: usize = 16;
const FRESH: usize = 4;
const WRK: usize = 16;

/// Of the 36 connections, a third is a server's share.
const SHARE_MIN: f64 = 8.0;

#[test]
fn a_server_stopped_and_started_five_times_under_full_load_costs_only_what_was_in_flight() {
    let mut servers = ["a", "b", "c"].map(Nginx::start);
    let [a, b, c] = servers.each_ref().map(Nginx::addr);
    let ringgate = Ringgate::start(&format!(
        "
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app }}
pools:
  app:
    balance: least_conn
    health: {{ interval: 200ms, timeout: 200ms, rise: 2, fall: 2 }}
    servers:
      - {{ name: a, address: '{a}' }}
      - {{ name: b, address: '{b}' }}
      - {{ name: c, address: '{c}' }}
"
    ));
    let of_b = |metric: &str| ringgate.metric(metric, &[("server", "b")]);
    ringgate.wait_for_metric("ringgate_server_state", &[("state", "up")], 3.0);

    let web = ringgate.addr("web");
    let wrk = Wrk::start(&format!("http://{web}/"));
    let loads = [
        Load::start(web, KEPT, Keep::Alive),
        Load::start(web, FRESH, Keep::Fresh),
    ];

    let has_its_share = || {
        wait_until("the server has its share", PATIENCE, || {
            assert!(loads.iter().all(Load::works), "{loads:?}");
            of_b("ringgate_pool_connections_active") >= SHARE_MIN
        });
    };
    let mut kills = Vec::new();
    let mut in_flight_sum = 0.0;
    for _ in 0..ROUNDS {
        has_its_share();
        let before = ringgate.metrics();
        let killed = Instant::now();
        servers[1].kill();
        wait_until("the checks see the death", PATIENCE, || {
            of_b("ringgate_server_up") == 0.0
        });
        kills.push(killed..Instant::now() + NOTICE);
        let b = [("server", "b")];
        let before = |metric| before.value(metric, &b).unwrap();
        let made_since =
            of_b("ringgate_pool_connections_total") - before("ringgate_pool_connections_total");
        in_flight_sum += before("ringgate_pool_connections_active") + made_since;

        let carry_on = || {
            let answered = || loads.iter().map(Load::answered).sum::<u64>();
            let before = answered();
            wait_until("the others carry on", PATIENCE, || {
                answered() > before + 1_000
            });
            of_b("ringgate_pool_connect_errors_total")
        };
        // Twice: what had begun before the death was seen may still end in an error.
        assert_eq!(carry_on(), carry_on(), "a server that is down is not tried");

        servers[1].start_again();
        wait_until("the checks see the return", PATIENCE, || {
            of_b("ringgate_server_up") == 1.0
        });
    }

    has_its_share();
    let failures: Vec<_> = loads.into_iter().flat_map(Load::stop).collect();
    for failure in &failures {
        let has_cause = kills.iter().any(|dying| dying.contains(&failure.at));
        assert!(
            has_cause && !failure.refused,
            "a request failed without a cause: {failure:?}, kills {kills:?}"
        );
    }
    let failed = failures.len() + wrk.stop();
    assert!(
        failed as f64 <= in_flight_sum,
        "{failed} requests failed, {in_flight_sum} connections were on the killed server"
    );
    assert!(failed > 0, "the server was not under load");
}

/// A running wrk, killed when dropped.
struct Wrk(Option<Child>);

impl Wrk {
    fn start(url: &str) -> Self {
        let wrk = Command::new("wrk")
            .args(["-t1", &format!("-c{WRK}"), "-d300s", url])
            .stdout(Stdio::piped())
            .spawn();
        Self(Some(wrk.expect("scripts/test installs wrk")))
    }

    /// Ends it as a user would, by SIGINT, and adds up the `Socket errors` of its report.
    fn stop(mut self) -> usize {
        let wrk = self.0.take().unwrap();
        kill(Pid::from_raw(wrk.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let report = String::from_utf8(wrk.wait_with_output().unwrap().stdout).unwrap();
        assert!(
            report.contains("requests in"),
            "wrk did not report: {report}"
        );
        assert!(
            !report.contains("Non-2xx"),
            "wrk got something else than an answer: {report}"
        );
        // Without errors there is no such line.
        let errors = report
            .lines()
            .find_map(|line| line.trim().strip_prefix("Socket errors: "));
        let numbers = errors
            .unwrap_or_default()
            .split(|c: char| !c.is_ascii_digit());
        numbers.filter_map(|word| word.parse::<usize>().ok()).sum()
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        if let Some(mut wrk) = self.0.take() {
            wrk.kill().ok();
            wrk.wait().ok();
        }
    }
}
