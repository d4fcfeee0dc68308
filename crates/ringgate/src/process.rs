//! From a plan to a serving process, in the order in which a mistake costs least: everything is checked and claimed
//! before the first client can connect. It never moves a byte and never decides about a server.

mod cores;
mod descriptors;
mod logging;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ringgate_config::{ConnectionLimit, Places, Plan};
use ringgate_control::admin::Doors;
use ringgate_control::facts::{Facts, Room};
use ringgate_control::instance::Claim;
use ringgate_control::logwriter::LogWriter;
use ringgate_control::{About, Setup, Tell};
use ringgate_engine::counters::WorkerId;
use ringgate_engine::listen::{self, Bound, Inherited, SocketFile};
use ringgate_engine::snapshot::Shared;
use ringgate_engine::tls;
use ringgate_engine::worker::{self, Driver, Start, Worker};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::failure::Failure;
use crate::material;
use crate::process::descriptors::ConnectionBudget;

/// A process whose listeners accept and whose workers turn.
pub(crate) struct Process {
    setup: Setup,
    /// Removes the files of unix listeners when the process has ended in order.
    _socket_files: Vec<SocketFile>,
}

impl Process {
    /// Claims what the plan asks for, binds its listeners and starts its workers. `places` are those of its
    /// values, and `config` is the file that it was made from, if there is one.
    ///
    /// # Errors
    /// With the first thing that could not be had, and the way out; nothing stays claimed.
    pub(crate) fn start(
        plan: Plan,
        places: &Places,
        config: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        logging::begin(&plan.log);
        let cores = cores::place(plan.workers);
        let (material, credentials) = material::read(&plan, places, cores.len())?;
        let room = room(&plan, cores.len())?;

        let claim = Claim::take(&plan.admin.socket).map_err(Failure::new)?;
        let doors = Doors::open(claim, plan.admin.http).map_err(Failure::new)?;
        let log = LogWriter::open(&plan.log.access).map_err(Failure::new)?;
        let Bound {
            workers: listening,
            files,
        } = listen(&plan, cores.len())?;

        let facts = Facts::new(&plan, material, &credentials, cores.len(), room);
        let shared = Arc::new(Shared::new(cores.len()));
        let (ended_sender, ended) = mpsc::unbounded_channel();
        let mut workers: Vec<Worker> = Vec::with_capacity(cores.len());
        let mut driver = None;
        for ((id, cpu), listeners) in (0..).map(WorkerId).zip(cores).zip(listening) {
            let ended_sender = ended_sender.clone();
            let access_log = log.as_ref().map(|log| log.access_log(plan.log.format));
            let start = Start {
                id,
                io: plan.io,
                cpu,
                listeners,
                published: facts.published(),
                shared: Arc::clone(&shared),
                access_log,
                drain: plan.drain,
            };
            let ended = move |id: WorkerId, outcome: io::Result<()>| {
                if let Err(error) = outcome {
                    error!(worker = id.0, "the worker's driver broke: {error}");
                }
                // Nobody receives it only when the process is about to end anyway.
                let _ = ended_sender.send(id);
            };
            let worker = worker::start(start, ended).map_err(Failure::new)?;
            driver = Some(worker.driver().clone());
            workers.push(worker);
        }
        shared.introduce(&workers);
        let driver = driver.expect("there is at least one worker");
        announce(&plan, workers.len(), &driver);

        let version = env!("CARGO_PKG_VERSION").to_owned();
        let about = About {
            version,
            config,
            driver: driver.word.to_owned(),
            driver_text: driver.text,
            tls: tls::place().to_owned(),
            started,
        };
        let tell = |worker: Worker| -> Tell { Box::new(move |message| worker.send(message)) };
        let setup = Setup {
            about,
            plan,
            credentials,
            facts,
            shared,
            workers: workers.into_iter().map(tell).collect(),
            ended,
            doors,
            log,
        };
        Ok(Self {
            setup,
            _socket_files: files,
        })
    }

    /// Serves until told to stop, and returns when the last connection has ended or may not go on.
    ///
    /// # Errors
    /// When the process stopped for another reason than being told to.
    pub(crate) fn serve(self) -> Result<(), Failure> {
        ringgate_control::run(self.setup).map_err(Failure::new)
    }
}

/// How many connections there may be at once; says so, and warns when there are too few files for them.
fn room(plan: &Plan, workers: usize) -> Result<Room, Failure> {
    let files_max = descriptors::raise_limit().map_err(|error| {
        Failure::new(format_args!(
            "cannot read the limit of open files (RLIMIT_NOFILE): {error}"
        ))
    })?;
    let budget = ConnectionBudget::of(plan, workers, files_max);
    let ConnectionBudget {
        connections_max,
        room,
        further_max,
        files_max,
    } = budget;
    let origin = match plan.limits.connections {
        ConnectionLimit::Auto => format!("RLIMIT_NOFILE {files_max}"),
        ConnectionLimit::Exactly(_) => "limits.connections".to_owned(),
    };
    info!("connections: up to {connections_max} (from {origin})");
    if !budget.fits() {
        warn!(
            "limits.connections is {connections_max}, but RLIMIT_NOFILE {files_max} leaves room for {room}: \
             raise it (`LimitNOFILE=` in the unit, `ulimit -n` in a shell) or lower limits.connections"
        );
    }
    Ok(Room {
        connections_max,
        further_max,
    })
}

/// The listening sockets of each worker: those that the service manager handed over, and the rest opened here.
fn listen(plan: &Plan, workers: usize) -> Result<Bound, Failure> {
    let mut inherited = Inherited::from_environment().map_err(|error| {
        Failure::new(format_args!(
            "cannot use the sockets of the service manager: {error}"
        ))
    })?;
    let listening = listen::bind(plan, workers, &mut inherited).map_err(Failure::new)?;
    for address in inherited.unused() {
        warn!(
            "the service manager handed over {address}, which no listener binds: its clients are not served"
        );
    }
    Ok(listening)
}

fn announce(plan: &Plan, workers: usize, driver: &Driver) {
    if let Some(refused) = &driver.refused {
        warn!("{refused}; serving on epoll, which costs a little more");
    }
    info!(workers, io = %driver.text, "started");
    for listener in &plan.listeners {
        let binds: Vec<String> = listener.binds.iter().map(ToString::to_string).collect();
        let mut pools: Vec<&str> = Vec::new();
        for pool in listener.pools() {
            let name = &plan.pool(pool).name;
            if !pools.contains(&name.as_str()) {
                pools.push(name);
            }
        }
        let (bind, pools) = (binds.join(" "), pools.join(" "));
        info!(listener = %listener.name, %bind, %pools, "listening");
    }
    let ends_tls = plan.listeners.iter().any(|listener| listener.tls.is_some());
    if ends_tls || plan.pools.iter().any(|pool| pool.tls.is_some()) {
        let handshakes = plan.limits.handshakes;
        info!(
            "TLS in {}; up to {handshakes} handshakes at once for each worker",
            tls::place()
        );
    }
}
