//! One worker: a thread, its runtime, and the connections it accepted. Started and told to drain or
//! stop from outside; never shares a connection with another worker.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use ringgate_balance::{Cursor, PoolId};
use ringgate_config as config;
use ringgate_runtime::{
    Inbox, Io, Listener, ListeningSocket, Options, Runtime, Sender, Sleep, Stream, inbox, now,
    race, spawn, tidy,
};

use crate::accept::{accept, admit};
use crate::counters::{WorkerCounters, WorkerId};
use crate::log::{AccessLog, Log};
use crate::reason::Reason;
use crate::share::Share;
use crate::signal::Signal;
use crate::snapshot::{ListenerId, Published, Shared, Snapshot};
use crate::tls::Handshakes;

/// What a worker can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Take what is queued on the listeners, close them, and end when the last connection has
    /// ended or the drain timeout is over.
    Drain,
    /// Close everything and end now.
    Stop,
    /// Count one [`WorkerCounters::beats`].
    Beat,
}

/// What a worker finds in its inbox.
pub(crate) enum Order {
    /// The process tells it something.
    Told(Message),
    /// Another worker has accepted a connection for it.
    Serve(ListenerId, OwnedFd),
}

/// What a worker needs to start.
#[derive(Debug)]
pub struct Start {
    /// Its index.
    pub id: WorkerId,
    /// How it talks to the kernel.
    pub io: config::Io,
    /// The core it stays on; `None` leaves that to the kernel.
    pub cpu: Option<usize>,
    /// Where it accepts.
    pub listeners: Vec<(ListenerId, ListeningSocket)>,
    /// Where snapshots come from.
    pub published: Published,
    /// What it shares with the other workers.
    pub shared: Arc<Shared>,
    /// Where its log lines go; `None` writes none.
    pub access_log: Option<AccessLog>,
    /// How long connections may go on after [`Message::Drain`].
    pub drain: Duration,
}

/// A worker did not start.
#[derive(Debug)]
pub enum StartError {
    /// The thread could not be made.
    Thread(io::Error),
    /// The runtime could not be made; the text tells why and the way out.
    Runtime(ringgate_runtime::StartError),
    /// A listener could not be taken over.
    Listener(io::Error),
    /// The thread ended before it could say why.
    Ended,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "a worker's thread could not be made: {error}"),
            Self::Runtime(error) => error.fmt(f),
            Self::Listener(error) => write!(f, "a worker could not take its listeners: {error}"),
            Self::Ended => f.write_str("a worker ended while it started"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running worker, as seen from other threads.
pub struct Worker {
    id: WorkerId,
    sender: Sender<Order>,
    driver: Driver,
}

/// How a worker does its input and output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// In one word: `uring` or `epoll`.
    pub word: &'static str,
    /// With the abilities it found, for people.
    pub text: String,
    /// Why it is not io_uring, when that was tried.
    pub refused: Option<String>,
}

impl Driver {
    fn of(runtime: &Runtime) -> Self {
        Self {
            word: runtime.driver(),
            text: runtime.describe(),
            refused: runtime.refused().map(ToString::to_string),
        }
    }
}

impl Worker {
    /// Its index.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// How it does its input and output.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Tells it something. After its end nobody listens.
    pub fn send(&self, message: Message) {
        self.sender.send(Order::Told(message));
    }

    pub(crate) fn orders(&self) -> Sender<Order> {
        self.sender.clone()
    }
}

/// Starts a worker and waits until it serves. `ended` is called on its thread as the last thing it
/// does, with the error that broke it, if one did.
///
/// # Errors
/// When it cannot serve; then `ended` is not called.
pub fn start(
    start: Start,
    ended: impl FnOnce(WorkerId, io::Result<()>) + Send + 'static,
) -> Result<Worker, StartError> {
    let id = start.id;
    let (report, reported) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name(format!("worker-{}", id.0))
        .spawn(move || {
            if let Some(cpu) = start.cpu {
                pin(cpu);
            }
            let served = serve(start, |outcome| {
                // The starter waits for exactly this.
                let _ = report.send(outcome);
            });
            if let Some(served) = served {
                ended(id, served);
            }
        })
        .map_err(StartError::Thread)?;
    let (sender, driver) = reported.recv().map_err(|_| StartError::Ended)??;
    Ok(Worker { id, sender, driver })
}

/// Keeps this thread on one core. Where that is not allowed, the kernel's choice is as good.
fn pin(cpu: usize) {
    let mut cpus = CpuSet::new();
    if cpus.set(cpu).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
    }
}

/// What a worker reports once it serves, or why it does not.
type Outcome = Result<(Sender<Order>, Driver), StartError>;

/// Serves until drained or stopped; `None` when it could not begin.
fn serve(start: Start, report: impl FnOnce(Outcome)) -> Option<io::Result<()>> {
    // Two buffers for each direction of a connection: more are never in use at once.
    let connections = start.published.load().connections_max as usize;
    let io = match start.io {
        config::Io::Auto => Io::Auto,
        config::Io::Uring => Io::Uring,
        config::Io::Epoll => Io::Epoll,
    };
    let options = Options {
        io,
        buffers_max: connections.saturating_mul(4),
    };
    let runtime = match Runtime::new(options) {
        Ok(runtime) => runtime,
        Err(error) => {
            report(Err(StartError::Runtime(error)));
            return None;
        }
    };
    serve_on(&runtime, start, report)
}

/// As [`serve`], on a runtime of this thread that is there already.
pub(crate) fn serve_on(
    runtime: &Runtime,
    start: Start,
    report: impl FnOnce(Outcome),
) -> Option<io::Result<()>> {
    let driver = Driver::of(runtime);
    let served = runtime.block_on(async {
        let prepared = prepare(start);
        match prepared {
            Ok((local, sender, inbox)) => {
                report(Ok((sender, driver)));
                govern(local, inbox).await;
                true
            }
            Err(error) => {
                report(Err(StartError::Listener(error)));
                false
            }
        }
    });
    match served {
        Ok(false) => None,
        Ok(true) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    }
}

/// Takes the listeners over and begins to accept.
fn prepare(start: Start) -> io::Result<(Rc<Local>, Sender<Order>, Inbox<Order>)> {
    let (sender, inbox) = inbox()?;
    let listeners = start
        .listeners
        .into_iter()
        .map(|(id, socket)| Ok((id, Listener::new(socket)?)))
        .collect::<io::Result<Vec<_>>>()?;
    let log = start
        .access_log
        .map(|access| Log::new(access, start.shared.clone(), start.id));
    let local = Rc::new(Local {
        id: start.id,
        shared: start.shared,
        snapshot: RefCell::new(Cache::new(start.published)),
        share: Share::new(start.id),
        cursors: RefCell::default(),
        handshakes: Handshakes::default(),
        shelves: RefCell::default(),
        log,
        drain: start.drain,
        draining: Signal::default(),
        cut: Signal::default(),
        gone: Signal::default(),
        accepting: Cell::new(listeners.len()),
    });
    for (id, listener) in listeners {
        let local = local.clone();
        spawn(async move {
            accept(local.clone(), id, listener).await;
            local.accepting.set(local.accepting.get() - 1);
            local.left();
        });
    }
    Ok((local, sender, inbox))
}

/// Does what the worker is told, until nothing is left to do.
async fn govern(local: Rc<Local>, mut inbox: Inbox<Order>) {
    let obey = async {
        loop {
            match inbox.recv().await {
                Order::Serve(listener, client) => {
                    if let Ok(stream) = Stream::adopt(client) {
                        admit(&local, listener, stream);
                    }
                }
                Order::Told(Message::Beat) => local.beat(),
                Order::Told(Message::Stop) => local.cut(Reason::Shutdown),
                Order::Told(Message::Drain) if local.draining.said().is_none() => {
                    local.draining.say(());
                    let local = local.clone();
                    spawn(async move {
                        let end = Sleep::until(now() + local.drain);
                        race(end.wait(), local.gone.heard()).await;
                        local.cut(Reason::Drained);
                    });
                }
                Order::Told(Message::Drain) => {}
            }
        }
    };
    let until_gone = async {
        race(obey, local.gone.heard()).await;
    };
    match &local.log {
        Some(log) => log.hand_over_in_time(until_gone).await,
        None => until_gone.await,
    }
}

/// What the tasks of a worker share.
pub(crate) struct Local {
    pub(crate) id: WorkerId,
    pub(crate) shared: Arc<Shared>,
    snapshot: RefCell<Cache<Published, Arc<Snapshot>>>,
    /// How it evens its load out with the others.
    pub(crate) share: Share,
    /// Indexed by pool; a pool's place is made when it is first used.
    cursors: RefCell<Vec<Rc<RefCell<Cursor>>>>,
    pub(crate) handshakes: Handshakes,
    /// What plugins keep here, by its type.
    pub(crate) shelves: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
    pub(crate) log: Option<Log>,
    drain: Duration,
    /// Said when no more connections shall be accepted.
    pub(crate) draining: Signal<()>,
    /// Said when connections shall end, and why.
    pub(crate) cut: Signal<Reason>,
    /// Said when the worker has drained and holds nothing any more.
    gone: Signal<()>,
    /// Listeners that still accept.
    accepting: Cell<usize>,
}

impl Local {
    /// The snapshot of this moment.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow_mut().load().clone()
    }

    /// The counters of this worker.
    pub(crate) fn counters(&self) -> &WorkerCounters {
        self.shared.workers.of(self.id)
    }

    /// Where this worker stands in a pool's table.
    pub(crate) fn cursor(&self, pool: PoolId) -> Rc<RefCell<Cursor>> {
        let mut cursors = self.cursors.borrow_mut();
        while cursors.len() <= pool.index() {
            cursors.push(Rc::new(RefCell::new(Cursor::new(u64::from(self.id.0)))));
        }
        cursors[pool.index()].clone()
    }

    /// Notes that a connection or a listener has ended.
    pub(crate) fn left(&self) {
        if self.accepting.get() == 0 && self.counters().active.get() == 0 {
            self.gone.say(());
        }
    }

    /// Whether a new connection may go to another worker. One that drains takes none.
    pub(crate) fn may_hand_over(&self) -> bool {
        self.draining.said().is_none() && self.shared.are_introduced()
    }

    fn beat(&self) {
        tidy();
        self.counters()
            .buffers_waits
            .set(ringgate_runtime::buffers_waits());
        self.counters()
            .ring_overflows
            .set(ringgate_runtime::ring_overflows());
        self.counters().beats.add(1);
    }

    /// Ends what is open and accepts no more.
    fn cut(&self, reason: Reason) {
        self.draining.say(());
        self.cut.say(reason);
    }
}

/// Makes a place where snapshots are published.
pub fn publish(snapshot: Snapshot) -> Published {
    Arc::new(ArcSwap::from_pointee(snapshot))
}
