//! Promise: clients that are slow on purpose cost the others nothing: while slowhttptest goes on in each of its modes,
//! no good request fails and their times are those of a gateway that nobody attacks.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use ringgate_tests::{
    PATIENCE, Recorder, Ringgate, Wire, in_parallel, ok, wait_until, wait_until_still,
};

/// For how long a slowhttptest goes on, in seconds: Ringgate lets bodies go that trickle for longer than ten.
const SECONDS: &str = "8";

/// So many are an attack: of those that stay, and of those that come and go while others are looked at.
const STAYING_MIN: f64 = 250.0;
const PASSING_MIN: f64 = 20.0;

/// Good clients, and how many requests each of them sends in a try.
const CLIENTS: usize = 2;
const REQUESTS: usize = 400;

/// Tries, most of which must be good, and how many there may be: one during which the attack has paused does not count.
const TRIES: usize = 5;
const TRIES_MAX: usize = 20;

/// The slowest of so many requests count, by their mean: a busy machine makes about one of a hundred wait for
/// milliseconds, so that the time of the hundredth alone jumps to and fro.
const SLOWEST_OF: usize = 20;

/// How much the times may grow, and by how much in any case.
const GROWTH_MAX: f64 = 1.5;
const NOISE: Duration = Duration::from_micros(150);

/// How much of a processor an attack may cost. It would be missed otherwise: the times of the gateway that nobody
/// attacks grow with it.
const PROCESSOR_MAX: f64 = 0.2;

/// A mode of slowhttptest.
struct Mode {
    name: &'static str,
    args: &'static [&'static str],
    /// Connections of a slowhttptest, all of which begin within a second.
    connections: &'static str,
    /// Where connections do not stay but ask at once, get their answers and go: the same without what is bad about it,
    /// for the calm gateway. Each is a request as good as any, and many are a load.
    plain: Option<&'static [&'static str]>,
}

const MODES: [Mode; 4] = [
    Mode {
        name: "slow heads",
        args: &["-H", "-i", "1"],
        connections: "300",
        plain: None,
    },
    Mode {
        name: "slow bodies",
        args: &["-B", "-i", "1", "-s", "65536"],
        connections: "300",
        plain: None,
    },
    // Three times as many would be a load by the mere bytes of their heads, 20 KiB each.
    Mode {
        name: "ranges",
        args: &["-R", "-t", "HEAD", "-a", "1", "-b", "3000"],
        connections: "100",
        plain: Some(&["-R", "-t", "HEAD", "-a", "1", "-b", "2"]),
    },
    Mode {
        name: "slow reads",
        args: &["-X", "-w", "1", "-y", "64", "-n", "1", "-z", "8"],
        connections: "300",
        plain: None,
    },
];

/// A running slowhttptest, started again whenever it ends, as it does after a second where no connection stays. Killed
/// when dropped.
struct Attack {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    fn start(
        ringgate: &Ringgate,
        args: &'static [&'static str],
        connections: &'static str,
    ) -> Self {
        const LOOK_AGAIN: Duration = Duration::from_millis(5);
        let url = format!("http://{}/slow", ringgate.addr("web"));
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let thread = std::thread::spawn(move || {
            while !seen.load(Relaxed) {
                let mut child = spawn(&url, args, connections);
                while !seen.load(Relaxed) && child.try_wait().unwrap().is_none() {
                    std::thread::park_timeout(LOOK_AGAIN);
                }
                child.kill().ok();
                child.wait().unwrap();
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn spawn(url: &str, args: &[&str], connections: &str) -> Child {
    let child = Command::new("slowhttptest")
        .args(args)
        .args(["-c", connections, "-r", connections])
        .args(["-l", SECONDS, "-p", "20", "-v", "0", "-u", url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.expect("scripts/test installs slowhttptest")
}

/// What good clients saw.
#[derive(Debug)]
struct Try {
    attacked: Duration,
    calm: Duration,
    /// The part of a processor that the attack took.
    cost: f64,
}

impl Try {
    fn is_good(&self) -> bool {
        let most = self.calm.mul_f64(GROWTH_MAX).max(self.calm + NOISE);
        self.attacked <= most && self.cost <= PROCESSOR_MAX
    }
}

/// Two gateways on one processor, before one server: who gets the busier of two has slow clients of its own.
struct Scene {
    attacked: Ringgate,
    calm: Ringgate,
    _server: Recorder,
}

impl Scene {
    fn new() -> Self {
        let large = "x".repeat(4 * 1024 * 1024);
        let server = Recorder::answering(move |request| match &request.what()[..] {
            "GET /good" => ok("good"),
            "HEAD /slow" => b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n".into(),
            _ => ok(&large),
        });
        let processor = first_processor();
        let start = || {
            let wrapper = ["taskset", "-c", &processor];
            let yaml = format!(
                "
workers: 1
timeouts: {{ header: 60s, idle: 60s }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
            );
            Ringgate::start_through(&wrapper, &yaml)
        };
        Self {
            attacked: start(),
            calm: start(),
            _server: server,
        }
    }

    fn gateways(&self) -> [&Ringgate; 2] {
        [&self.attacked, &self.calm]
    }

    /// Starts the attack.
    fn attack(&self, mode: &'static Mode) -> Vec<Attack> {
        let args = [Some(mode.args), mode.plain];
        let of_gateways = self.gateways().into_iter().zip(args);
        let attack =
            |(gateway, args): (&Ringgate, _)| Some(Attack::start(gateway, args?, mode.connections));
        let attacks = of_gateways.filter_map(attack).collect();
        self.wait_for_attackers(mode);
        // What fits into the buffers of those who do not read comes fast.
        if mode.plain.is_none() {
            let received = "ringgate_pool_received_bytes_total";
            wait_until_still("what servers send", || self.attacked.metric(received, &[]));
        }
        attacks
    }

    fn wait_for_attackers(&self, mode: &Mode) {
        let before = self.begun();
        wait_until(&format!("{} come", mode.name), PATIENCE, || {
            self.is_attacked_since(before, mode)
        });
    }

    /// The connections so far.
    fn begun(&self) -> [f64; 2] {
        let total = "ringgate_listener_connections_total";
        self.gateways().map(|gateway| gateway.metric(total, &[]))
    }

    fn is_attacked_since(&self, before: [f64; 2], mode: &Mode) -> bool {
        if mode.plain.is_some() {
            let mut passed = self.begun().into_iter().zip(before);
            return passed.all(|(now, then)| now - then >= PASSING_MIN);
        }
        let open = "ringgate_listener_connections_active";
        self.attacked.metric(open, &[]) >= STAYING_MIN
    }

    /// The processor time that the attack has cost so far: both gateways serve the good clients alike.
    fn cost(&self) -> f64 {
        let [attacked, calm] = self.gateways().map(|each| each.proc().cpu());
        attacked.as_secs_f64() - calm.as_secs_f64()
    }

    fn one_try(&self) -> Try {
        let (started, cost) = (Instant::now(), self.cost());
        let [attacked, calm] = self.times();
        let cost = (self.cost() - cost) / started.elapsed().as_secs_f64();
        Try {
            attacked,
            calm,
            cost,
        }
    }

    /// The mean times of the slowest requests, of those to the attacked gateway and of those to the calm one. Each
    /// client asks them in turn: whatever else the machine has to do, slowhttptest above all, delays both alike, and
    /// only what the attack costs the gateway itself is left.
    fn times(&self) -> [Duration; 2] {
        let times = Mutex::new([Vec::new(), Vec::new()]);
        in_parallel(CLIENTS, CLIENTS, |_| {
            let mut wires = self
                .gateways()
                .map(|gateway| Wire::connect(gateway.addr("web")));
            for _ in 0..REQUESTS {
                for (number, wire) in wires.iter_mut().enumerate() {
                    let asked = Instant::now();
                    let answer = wire.ask("GET /good HTTP/1.1\r\nHost: a\r\n\r\n");
                    let time = asked.elapsed();
                    assert_eq!((answer.status, &answer.text()[..]), (200, "good"));
                    times.lock().unwrap()[number].push(time);
                }
            }
        });
        times.into_inner().unwrap().map(|mut times: Vec<Duration>| {
            times.sort_unstable();
            let slowest = &times[times.len() - times.len() / SLOWEST_OF..];
            slowest.iter().sum::<Duration>() / slowest.len() as u32
        })
    }
}

/// The first that we may run on.
fn first_processor() -> String {
    let ours = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let first = (0..CpuSet::count()).find(|number| ours.is_set(*number).unwrap());
    first.unwrap().to_string()
}

#[test]
fn good_clients_notice_nothing_of_slow_ones() {
    let scene = Scene::new();
    let _warm = scene.times();
    for mode in &MODES {
        let attacks = scene.attack(mode);
        let mut tries = Vec::new();
        for _ in 0..TRIES_MAX {
            scene.wait_for_attackers(mode);
            let begun = scene.begun();
            let this = scene.one_try();
            if scene.is_attacked_since(begun, mode) {
                tries.push(this);
            }
            if tries.len() == TRIES {
                break;
            }
        }
        println!("{}: {tries:.2?}", mode.name);
        assert_eq!(
            tries.len(),
            TRIES,
            "{}: the attack does not last",
            mode.name
        );
        let good = tries.iter().filter(|each| each.is_good()).count();
        assert!(good > TRIES / 2, "{}: {tries:#?}", mode.name);
        drop(attacks);
        for gateway in scene.gateways() {
            gateway.wait_until_quiet();
        }
    }
}
