//! A whole worker in a simulated world, seed by seed: clients come, are relayed to servers and
//! go, among faults; then everything that passed must add up. A seed that fails is named, and
//! `RINGGATE_SIM_SEED=<seed>` runs it alone and tells every event; `<from>..<to>` runs a range.
//! Compiled into tests alone.

mod checks;

use std::cell::Cell;
use std::collections::HashSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Once};
use std::time::Duration;

use ringgate_balance::{Algorithm, Member, ServerId, Table, Weight};
use ringgate_config::{Address, LogFormat};
use ringgate_runtime::sim::{self, Random, Scene, World};
use ringgate_runtime::{Runtime, Sleep, now, spawn};

use crate::counters::{PerWorker, WorkerId};
use crate::log::AccessLog;
use crate::reason::Reason;
use crate::snapshot::{ListenerId, Server, Shared, Snapshot, testing};
use crate::worker::{Message, Order, Start, publish, serve_on};
use checks::{Checks, Line};

/// Worlds that each test of this file sees.
const SEEDS: u64 = 1000;

/// Batches of log lines that a world may write.
const BATCHES_MAX: usize = 10_000;

/// How connections end in these worlds.
const REASONS: [Reason; 12] = [
    Reason::Done,
    Reason::ClientReset,
    Reason::ServerReset,
    Reason::ClientIdle,
    Reason::ServerIdle,
    Reason::ConnectRefused,
    Reason::ConnectTimeout,
    Reason::ConnectError,
    Reason::LimitConnections,
    Reason::Drained,
    Reason::Shutdown,
    Reason::Overload,
];

const WORKER: WorkerId = WorkerId(0);

#[test]
fn worlds_add_up() {
    run_all(0);
}

#[test]
fn more_worlds_add_up() {
    run_all(1);
}

#[test]
fn even_more_worlds_add_up() {
    run_all(2);
}

#[test]
fn a_seed_runs_the_same_every_time() {
    for seed in [1, 77, 4711] {
        let first = run(seed, false);
        assert_eq!(first, run(seed, false), "seed {seed}");
    }
}

/// Runs one share of the seeds, or what the environment asks for.
fn run_all(part: u64) {
    let asked = std::env::var("RINGGATE_SIM_SEED").ok();
    let number = |text: &str| text.parse::<u64>().expect("RINGGATE_SIM_SEED is a number");
    let (seeds, traced) = match asked.as_deref().map(|asked| asked.split_once("..")) {
        None => (part * SEEDS..(part + 1) * SEEDS, false),
        Some(_) if part > 0 => return,
        Some(Some((from, to))) => (number(from)..number(to), false),
        Some(None) => {
            let seed = number(asked.as_deref().unwrap_or_default());
            (seed..seed + 1, true)
        }
    };
    tell_seeds();
    let mut reasons = HashSet::new();
    let mut spliced = 0;
    for seed in seeds {
        SEED.set(Some(seed));
        let seen = run(seed, traced);
        reasons.extend(seen.reasons);
        spliced += seen.spliced;
    }
    SEED.set(None);
    if asked.is_none() {
        // Seeds that never meet a thing prove nothing of it.
        let missed: Vec<_> = REASONS
            .iter()
            .filter(|reason| !reasons.contains(reason.word()))
            .collect();
        assert!(missed.is_empty(), "no seed ends by {missed:?}");
        assert!(spliced > 0, "no seed splices");
    }
}

thread_local! {
    /// The seed that this thread runs.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes a panic tell its seed first, past the capture of the test's output: a second panic while
/// the first one unwinds would abort the process and lose what was captured.
fn tell_seeds() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Some(seed) = SEED.take() {
                let _ = writeln!(
                    std::io::stderr(),
                    "RINGGATE_SIM_SEED={seed} runs this world again: {panic}"
                );
            }
            before(panic);
        }));
    });
}

/// What a world has shown.
#[derive(Debug, PartialEq)]
struct Seen {
    /// Tells it from every other.
    fingerprint: u64,
    /// Why its connections ended.
    reasons: HashSet<String>,
    spliced: u64,
}

/// Runs one world to its end and checks it.
fn run(seed: u64, traced: bool) -> Seen {
    let mut random = Random::new(!seed);
    let servers = addresses(&mut random);
    let world = World::new(Scene {
        seed,
        servers: servers.clone(),
        clients: random.between(1, 6) as usize,
        traced,
    });
    let fate = Fate::draw(&mut random);
    let snapshot = snapshot(&servers, &mut random);
    let timeouts = snapshot.listeners[0].timeouts;
    let published = publish(snapshot);
    let shared = Arc::new(Shared::new(1));
    let (sink, lines) = sync_channel(BATCHES_MAX);
    let start = Start {
        id: WORKER,
        io: ringgate_config::Io::Auto,
        cpu: None,
        listeners: vec![(ListenerId(0), world.listening_socket())],
        published: published.clone(),
        shared: shared.clone(),
        access_log: Some(AccessLog {
            format: LogFormat::Text,
            sink,
            queued: Arc::default(),
        }),
        drain: fate.drain,
    };
    let runtime = Runtime::simulated(&world).expect("a simulated runtime can be made");
    let served = serve_on(&runtime, start, |outcome| {
        let Ok((sender, _)) = outcome else {
            panic!("a simulated worker starts");
        };
        let world = world.clone();
        spawn(async move {
            let message = fate.comes(&world).await;
            sender.send(Order::Told(message));
        });
    });
    check_rules(&world);
    assert!(
        matches!(served, Some(Ok(()))),
        "the worker ended: {served:?}"
    );
    check_nothing_is_held(&runtime);
    drop(runtime);
    check_rules(&world);
    assert_eq!(world.descriptors_open(), 0, "descriptors left open");
    let checks = Checks {
        world: &world,
        fate,
        timeouts,
        lines: Line::all(&lines),
    };
    checks.connections();
    checks.attempts();
    checks.counters(&published, &shared);
    let reason = |line: &Line| line.get("reason").to_owned();
    Seen {
        fingerprint: world.fingerprint(),
        reasons: checks.lines.iter().map(reason).collect(),
        spliced: shared.workers.of(WORKER).spliced_bytes.get(),
    }
}

fn check_rules(world: &World) {
    let violations = world.violations();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// What a connection held is let go of soon after its end.
fn check_nothing_is_held(runtime: &Runtime) {
    let held = runtime.block_on(async {
        Sleep::until(now() + Duration::from_secs(1)).wait().await;
        sim::held()
    });
    let only_the_bell = sim::Held {
        sockets: 1,
        buffers: 0,
        timers: 0,
        pipes: 0,
    };
    assert_eq!(held.expect("the world goes on"), only_the_bell);
}

fn addresses(random: &mut Random) -> Vec<SocketAddr> {
    (0..random.between(2, 3) as u16)
        .map(|index| (Ipv4Addr::new(10, 0, 1, 1), 9000 + index).into())
        .collect()
}

/// One listener and a pool of servers.
fn snapshot(addresses: &[SocketAddr], random: &mut Random) -> Snapshot {
    let millis = Duration::from_millis;
    let mut snapshot = testing::snapshot();
    snapshot.connections_max = random.one_of(&[2, 100, 100]);
    let listener = Arc::get_mut(&mut snapshot.listeners[0]).expect("nobody else has it yet");
    listener.timeouts.connect = random.one_of(&[millis(50), millis(500)]);
    listener.timeouts.idle = random.one_of(&[millis(100), millis(1000), millis(5000)]);
    listener.timeouts.half_closed = random.one_of(&[millis(70), millis(800)]);
    let pool = Arc::get_mut(&mut snapshot.pools[0]).expect("nobody else has it yet");
    let server = |address: &SocketAddr| Server {
        name: address.to_string().into(),
        address: Address::Ip(*address),
        active: 0.into(),
        counters: PerWorker::new(1),
    };
    pool.servers = addresses.iter().map(|at| Arc::new(server(at))).collect();
    let ids = (0..).map(ServerId).take(addresses.len());
    let members: Vec<Member> = ids
        .map(|id| Member {
            id,
            weight: Weight::default(),
        })
        .collect();
    pool.table = Table::new(Algorithm::LeastConn, &members);
    snapshot
}

/// What the worker is told, and when.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Nothing before this time; `None` waits until all connections have ended.
    told_after: Option<Duration>,
    message: Message,
    drain: Duration,
}

impl Fate {
    fn draw(random: &mut Random) -> Self {
        let early = random.time(Duration::ZERO, Duration::from_millis(60));
        Self {
            told_after: random.chance(250).then_some(early),
            message: random.one_of(&[Message::Drain, Message::Drain, Message::Stop]),
            drain: random.one_of(&[Duration::from_millis(300), Duration::from_secs(3600)]),
        }
    }

    /// Waits until it is time.
    async fn comes(self, world: &World) -> Message {
        const OFTEN: Duration = Duration::from_millis(100);
        if let Some(after) = self.told_after {
            Sleep::until(now() + after).wait().await;
            return self.message;
        }
        // Timeouts end what peers do not; this is longer than the slowest of them take.
        let patience = Duration::from_secs(3600);
        while !world.is_quiet() {
            assert!(world.elapsed() < patience, "a connection does not end");
            Sleep::until(now() + OFTEN).wait().await;
        }
        self.message
    }

    /// Whether connections may be cut at this time.
    fn cuts(self, at: Duration) -> bool {
        self.told_after.is_some_and(|told| match self.message {
            Message::Stop => at >= told,
            _ => at >= told + self.drain,
        })
    }
}
