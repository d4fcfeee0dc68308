//! Plans, processes and directories for this crate's tests, so that a test says only what it is about.
//! Compiled into tests alone.

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use ringgate_config::{
    AccessLog, Address, Admin, Balance, Bind, ConnectionLimit, Health, HealthCheck, HealthPort, Io,
    Limits, Listener, ListenerLimits, Log, LogFormat, LogLevel, Plan, Pool, PoolIndex, Retry,
    Server, TimeoutOverrides, Timeouts, Workers,
};
use ringgate_engine::snapshot::Shared;
use ringgate_engine::worker::Message;

use crate::auth::Credentials;
use crate::facts::{Facts, Room};
use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::process::Process;
use crate::pulse::Pulse;
use crate::status::State;
use crate::{About, Tell, tls};

/// A listener `web` on port 1 and a pool `app` of these servers, checked every 20 ms with rise 2 and fall 3.
pub(crate) fn plan(servers: &[&str]) -> Plan {
    let timeouts = Timeouts {
        connect: Duration::from_secs(3),
        handshake: Duration::from_secs(10),
        first_byte: Duration::from_secs(30),
        idle: Duration::from_secs(300),
        half_closed: Duration::from_secs(30),
        header: Duration::from_secs(10),
        response: Duration::from_secs(60),
    };
    Plan {
        workers: Workers::Auto,
        io: Io::Auto,
        admin: Admin {
            socket: "/nowhere/admin.sock".into(),
            http: None,
        },
        log: Log {
            level: LogLevel::Info,
            access: AccessLog::Off,
            format: LogFormat::Json,
        },
        limits: Limits {
            connections: ConnectionLimit::Exactly(NonZeroU32::MIN),
            handshakes: NonZeroU32::MIN,
        },
        drain: Duration::from_secs(30),
        timeouts,
        listeners: vec![Listener {
            name: "web".to_owned(),
            binds: vec![Bind::Ip {
                addr: SocketAddr::from(([127, 0, 0, 1], 1)),
                dual_stack: false,
            }],
            pool: Some(PoolIndex(0)),
            routes: Vec::new(),
            access: None,
            proxy_protocol: None,
            tls: None,
            limits: ListenerLimits::default(),
            timeouts,
            http: None,
        }],
        pools: vec![Pool {
            name: "app".to_owned(),
            balance: Balance::RoundRobin,
            servers: servers.iter().map(|address| server(address)).collect(),
            health: Health::Connect(HealthCheck {
                interval: Duration::from_millis(20),
                timeout: Duration::from_millis(20),
                rise: 2,
                fall: 3,
                port: HealthPort::Server,
                tls: false,
            }),
            timeouts: TimeoutOverrides::default(),
            tls: None,
            proxy_protocol: None,
            http2: false,
            retry: Retry {
                attempts: 2,
                budget_percent: 20,
                statuses: Vec::new(),
            },
            hold: None,
        }],
    }
}

fn server(address: &str) -> Server {
    let address = match address.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Ip(address.parse().expect("a test writes a good address")),
    };
    Server {
        name: address.to_string(),
        address,
        weight: 1,
    }
}

/// What the worker of a test's process has been told, except for beats.
pub(crate) type Heard = Rc<RefCell<Vec<Message>>>;

/// The facts of a process that begins with this plan.
pub(crate) fn facts(plan: &Plan, workers: usize, connections_max: u32) -> Facts {
    let material = tls::load(plan, workers, SystemTime::now()).expect("its files are good");
    Facts::new(
        plan,
        material,
        &Credentials::read(plan).unwrap(),
        workers,
        Room {
            connections_max,
            further_max: connections_max,
        },
    )
}

/// A process with [`plan`] and one worker that only listens.
pub(crate) fn process_and_heard(servers: &[&str]) -> (Process, Heard) {
    process_of(plan(servers))
}

/// The same with any plan.
pub(crate) fn process_of(plan: Plan) -> (Process, Heard) {
    let heard = Heard::default();
    let tell: Tell = {
        let heard = Rc::clone(&heard);
        Box::new(move |message| {
            if message != Message::Beat {
                heard.borrow_mut().push(message);
            }
        })
    };
    let process = Process {
        about: About {
            version: "1.2.3".to_owned(),
            config: None,
            driver: "none".to_owned(),
            driver_text: "no driver".to_owned(),
            tls: "nowhere".to_owned(),
            started: Instant::now(),
        },
        facts: Rc::new(RefCell::new(facts(&plan, 1, 100))),
        plan,
        shared: Arc::new(Shared::new(1)),
        pulse: RefCell::new(Pulse::new(vec![tell], Instant::now())),
        state: Cell::new(State::Starting),
        endings_before: Cell::default(),
        metrics: Metrics::new(Instant::now()),
        pages: Pages::default(),
        log_lines_dropped: None,
    };
    (process, heard)
}

/// The same when nobody cares what the worker hears.
pub(crate) fn process(servers: &[&str]) -> Process {
    process_and_heard(servers).0
}

/// Waits until `condition` holds, and fails when it does not come to hold in far more time than it needs.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A directory of one test's own; removed with everything in it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "ringgate-control-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a fresh name");
        Directory(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn files(&self) -> usize {
        fs::read_dir(&self.0)
            .expect("the directory is there")
            .count()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
