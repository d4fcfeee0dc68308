//! Promise: clients that are slow on purpose cost the others nothing: while slowhttptest goes on in each of its modes,
//! no good request fails and their times stay what they were.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ringgate_tests::{PATIENCE, Recorder, Ringgate, Wire, in_parallel, ok, wait_until};

/// The slow connections of an attack, and for how long they come.
const CONNECTIONS: &str = "300";
const SECONDS: &str = "20";

/// Good clients, and how many requests of them are one window of time.
const CLIENTS: usize = 2;
const REQUESTS: usize = 400;

/// Windows whose median counts, and how often they are looked at before the attack is said to cost something.
const WINDOWS: usize = 5;
const TRIES: usize = 5;

/// How much the times may grow.
const GROWTH_MAX: f64 = 1.5;

/// Times below this are those of the machine's own noise.
const NOISE: Duration = Duration::from_micros(300);

/// A mode of slowhttptest and what else it is told.
const MODES: [(&str, &[&str]); 4] = [
    ("slow heads", &["-H", "-i", "1"]),
    ("slow bodies", &["-B", "-i", "1", "-s", "65536"]),
    ("ranges", &["-R", "-t", "HEAD", "-a", "1", "-b", "3000"]),
    (
        "slow reads",
        &["-X", "-w", "1", "-y", "64", "-n", "1", "-z", "8"],
    ),
];

/// The time within which 99 of 100 requests of a window are answered; every one of them must be.
fn window(ringgate: &Ringgate) -> Duration {
    let times = Mutex::new(Vec::new());
    in_parallel(CLIENTS, CLIENTS, |_| {
        let mut wire = Wire::connect(ringgate.addr("web"));
        let mut own = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let asked = Instant::now();
            let answer = wire.ask("GET /good HTTP/1.1\r\nHost: a\r\n\r\n");
            own.push(asked.elapsed());
            assert_eq!((answer.status, answer.text().as_str()), (200, "good"));
        }
        times.lock().unwrap().extend(own);
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

fn median_of_windows(ringgate: &Ringgate) -> Duration {
    let mut windows: Vec<Duration> = (0..WINDOWS).map(|_| window(ringgate)).collect();
    windows.sort_unstable();
    windows[WINDOWS / 2]
}

/// A running slowhttptest, killed when dropped.
struct Attack(Child);

impl Attack {
    fn start(ringgate: &Ringgate, mode: &[&str]) -> Self {
        let url = format!("http://{}/slow", ringgate.addr("web"));
        let child = Command::new("slowhttptest")
            .args(mode)
            .args([
                "-c",
                CONNECTIONS,
                "-r",
                CONNECTIONS,
                "-l",
                SECONDS,
                "-p",
                "20",
                "-v",
                "0",
            ])
            .args(["-u", &url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("scripts/test installs slowhttptest"))
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn good_clients_notice_nothing_of_slow_ones() {
    let large = "x".repeat(4 * 1024 * 1024);
    let server = Recorder::answering(move |request| match request.target() {
        "/good" => ok("good"),
        _ => ok(&large),
    });
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ header: 10s, idle: 10s }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
    ));
    let _warm = window(&ringgate);
    for (name, mode) in MODES {
        let calm = median_of_windows(&ringgate);
        let metric = |name| ringgate.metric(name, &[("listener", "web")]);
        let total = "ringgate_listener_connections_total";
        let before = metric(total);
        let attack = Attack::start(&ringgate, mode);
        wait_until(&format!("{name}: they have come"), PATIENCE, || {
            // Ranges come and go.
            match mode[0] {
                "-R" => metric(total) > before + 100.0,
                _ => metric("ringgate_listener_connections_active") > 100.0,
            }
        });
        let most = calm.max(NOISE).mul_f64(GROWTH_MAX);
        let mut tries = vec![median_of_windows(&ringgate)];
        while tries.len() < TRIES && tries.iter().all(|time| *time > most) {
            tries.push(median_of_windows(&ringgate));
        }
        println!("{name}: {calm:?} when calm, then {tries:?}");
        assert!(
            tries.iter().any(|time| *time <= most),
            "{name}: {calm:?} became {tries:?}"
        );
        drop(attack);
        ringgate.wait_until_quiet();
    }
}
