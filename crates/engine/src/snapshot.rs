//! The whole truth that a worker acts on: listeners, pools, tables and limits, immutable. Control
//! publishes a new one for every change; a connection keeps the one it began with. Never changed
//! in place, except for the counters it points to.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use ringgate_balance::{Loads, PoolId, ServerId, Table};
use ringgate_config::{Address, Hold, ProxyVersion, Retry, TimeoutOverrides, Timeouts};

use ringgate_runtime::Sender;

use crate::access::AccessList;
use crate::admit::Admission;
use crate::bandwidth::Bandwidth;
use crate::counters::{
    ListenerCounters, PerWorker, PoolCounters, ServerCounters, WorkerCounters, WorkerId,
};
use crate::plugin::Plugin;
use crate::reason::Reason;
use crate::routes::Routes;
use crate::tls::{Origination, Termination};
use crate::worker::{Order, Worker};

/// The index of a listener in [`Snapshot::listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u16);

/// Where control publishes snapshots and workers load them.
pub type Published = Arc<ArcSwap<Snapshot>>;

/// One consistent state of everything a worker needs to know.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts publications, from 1.
    pub generation: u64,
    /// Indexed by [`ListenerId`].
    pub listeners: Box<[Arc<Listener>]>,
    /// Indexed by [`PoolId`].
    pub pools: Box<[Arc<Pool>]>,
    /// How many connections the process may hold at once, over all workers.
    pub connections_max: u32,
    /// How many connections to servers a worker may hold besides one for each client, where its clients ask for more
    /// than one thing at once.
    pub further_max: u32,
    /// How many TLS handshakes a worker does at once.
    pub handshakes_max: u32,
}

impl Snapshot {
    /// The pool of that id.
    pub fn pool(&self, id: PoolId) -> &Arc<Pool> {
        &self.pools[id.index()]
    }

    /// Whether it has to be known where the connections of a listener come from: for its rules, or for
    /// servers that are told.
    pub(crate) fn asks_for_addresses(&self, listener: ListenerId) -> bool {
        let listener = self.listener(listener);
        let told = |pool| self.pool(pool).proxy_protocol.is_some();
        listener.expects_a_beginning()
            || listener.plugin.is_some()
            || listener.admission.asks_for_addresses()
            || listener.pool.is_some_and(told)
    }

    /// The listener of that id.
    pub fn listener(&self, id: ListenerId) -> &Arc<Listener> {
        &self.listeners[usize::from(id.0)]
    }
}

/// An accepting socket's rules.
#[derive(Debug)]
pub struct Listener {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// Where connections go that no route matched; `None` when they are refused.
    pub pool: Option<PoolId>,
    /// Which connections go elsewhere.
    pub routes: Routes,
    /// Whose PROXY headers are believed, the allowed; `None` when none are expected.
    pub trusted: Option<AccessList>,
    /// How it ends TLS; `None` when it does not.
    pub tls: Option<Arc<Termination>>,
    /// Who serves its connections; `None` when they are relayed as they are.
    pub plugin: Option<Arc<dyn Plugin>>,
    /// The process's timeouts, overlaid with the listener's.
    pub timeouts: Timeouts,
    /// Who may connect, and how often.
    pub admission: Admission,
    /// How fast its connections may be together, both directions; `None` when as fast as they can.
    pub bandwidth: Option<Arc<Bandwidth>>,
    /// What each worker counts of it.
    pub counters: Arc<PerWorker<ListenerCounters>>,
}

impl Listener {
    /// Whether it can refuse a connection for that reason.
    pub fn may_refuse(&self, reason: Reason) -> bool {
        let expects_a_header = reason == Reason::ProxyHeader && self.trusted.is_some();
        expects_a_header || self.admission.may_refuse(reason)
    }
}

/// A group of servers and the table that chooses among those that may get connections now.
#[derive(Debug)]
pub struct Pool {
    /// Its place in [`Snapshot::pools`].
    pub id: PoolId,
    /// The name in the configuration.
    pub name: Arc<str>,
    /// Chooses; holds only servers that may get connections now.
    pub table: Table,
    /// Indexed by [`ServerId`]: all servers of the pool, usable or not.
    pub servers: Box<[Arc<Server>]>,
    /// What the pool overrides of a listener's timeouts.
    pub timeouts: TimeoutOverrides,
    /// How connections to its servers are encrypted; `None` when they are not.
    pub tls: Option<Arc<Origination>>,
    /// The PROXY header that its servers get.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How often something is tried on another server.
    pub retry: Retry,
    /// Whether clients are kept waiting while no server is up, where that can be done.
    pub hold: Option<Hold>,
    /// Clients kept waiting now, over all workers.
    pub held: Arc<AtomicU32>,
    /// Its servers speak HTTP/2.
    pub http2: bool,
    /// What each worker counts of it.
    pub counters: Arc<PerWorker<PoolCounters>>,
}

impl Pool {
    /// The server of that id.
    pub fn server(&self, id: ServerId) -> &Arc<Server> {
        &self.servers[id.index()]
    }
}

impl Loads for Pool {
    fn active(&self, server: ServerId) -> u32 {
        self.server(server).active.load(Relaxed)
    }
}

/// A member of a pool. It outlives snapshots: its counters go on when a table changes.
#[derive(Debug)]
pub struct Server {
    /// The name in the configuration, the address where none was given.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: Address,
    /// Connections open or being made now, over all workers; what `least_conn` and `p2c` look at.
    pub active: AtomicU32,
    /// What each worker counts of it.
    pub counters: PerWorker<ServerCounters>,
}

/// What all workers share besides the snapshot.
#[derive(Debug)]
pub struct Shared {
    /// Connections open now, over all workers; compared with [`Snapshot::connections_max`].
    pub connections: AtomicU32,
    /// What each worker counts of itself.
    pub workers: PerWorker<WorkerCounters>,
    /// Where each worker takes orders; empty until all have started.
    orders: OnceLock<Box<[Sender<Order>]>>,
}

impl Shared {
    /// The shared state of `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self {
            connections: AtomicU32::new(0),
            workers: PerWorker::new(workers),
            orders: OnceLock::new(),
        }
    }

    /// Makes the workers known to each other, so that they can even out their load. In order of
    /// their ids, once all have started.
    pub fn introduce<'a>(&self, workers: impl IntoIterator<Item = &'a Worker>) {
        let orders = workers.into_iter().map(Worker::orders).collect();
        // A second introduction would name the same workers.
        let _ = self.orders.set(orders);
    }

    /// Gives a connection that was just accepted to another worker.
    pub(crate) fn hand_over(&self, worker: WorkerId, listener: ListenerId, client: OwnedFd) {
        if let Some(orders) = self
            .orders
            .get()
            .and_then(|all| all.get(usize::from(worker.0)))
        {
            orders.send(Order::Serve(listener, client));
        }
    }

    /// Whether connections can be handed over.
    pub(crate) fn are_introduced(&self) -> bool {
        self.orders.get().is_some()
    }
}

/// A snapshot for tests of this room.
#[cfg(test)]
pub(crate) mod testing {
    use std::time::Duration;

    use ringgate_balance::{Algorithm, Member, Weight};

    use super::*;
    use crate::counters::WorkerId;

    pub(crate) const WORKER: WorkerId = WorkerId(0);

    /// One listener, one pool, one server that nobody will dial.
    pub(crate) fn snapshot() -> Snapshot {
        let second = Duration::from_secs(1);
        let server = Server {
            name: "server".into(),
            address: Address::Ip(([127, 0, 0, 1], 1).into()),
            active: AtomicU32::new(0),
            counters: PerWorker::new(1),
        };
        let member = Member {
            id: ServerId(0),
            weight: Weight::default(),
        };
        let pool = Pool {
            id: PoolId(0),
            name: "pool".into(),
            table: Table::new(Algorithm::RoundRobin, &[member]),
            servers: [Arc::new(server)].into(),
            timeouts: TimeoutOverrides::default(),
            tls: None,
            proxy_protocol: None,
            retry: Retry {
                attempts: 2,
                budget_percent: 20,
                statuses: Vec::new(),
            },
            hold: None,
            held: Arc::default(),
            http2: false,
            counters: Arc::new(PerWorker::new(1)),
        };
        let listener = Listener {
            name: "listener".into(),
            pool: Some(PoolId(0)),
            routes: Routes::default(),
            trusted: None,
            tls: None,
            plugin: None,
            timeouts: Timeouts {
                connect: second,
                handshake: second,
                first_byte: 60 * second,
                idle: 60 * second,
                half_closed: second,
                header: second,
                response: second,
            },
            admission: Admission::default(),
            bandwidth: None,
            counters: Arc::new(PerWorker::new(1)),
        };
        Snapshot {
            generation: 1,
            listeners: [Arc::new(listener)].into(),
            pools: [Arc::new(pool)].into(),
            connections_max: 1,
            further_max: 1,
            handshakes_max: 1,
        }
    }
}
