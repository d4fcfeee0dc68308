//! What is known of the servers, and the one owner of the truth that workers act on: every change of a server's
//! state publishes exactly one new immutable `Snapshot`. It never checks a server itself and never waits.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use ringgate_balance::{
    Algorithm, Change, Health, Member, Policy, PoolId, ServerId, State, Table, Weight,
};
use ringgate_config as config;
use ringgate_engine::counters::{Histogram, PerWorker};
use ringgate_engine::plugin::Plugin;
use ringgate_engine::reason::Reason;
use ringgate_engine::snapshot::{Listener, Pool, Published, Server, Snapshot};
use ringgate_engine::tls::{Origination, Termination};
use ringgate_gateway::Gateway;
use ringgate_gateway::counters::HttpCounters;

use crate::admission::{admission, bandwidth, renewed_admission, routes, trusted};
use crate::auth::Credentials;
use crate::gateways::gateway;
use crate::status::ServerState;
use crate::tls::{Material, Rereads};

/// The truth of one process. The counters live in what it publishes and go on from snapshot to snapshot.
#[derive(Debug)]
pub struct Facts {
    published: Published,
    /// Indexed by [`PoolId`].
    pools: Box<[PoolFacts]>,
    material: Material,
    /// What is counted of the requests of each listener that speaks HTTP, with its name.
    pub(crate) http: Box<[(Arc<str>, Arc<HttpCounters>)]>,
    /// What became of changes of the files that `material` was read from.
    pub(crate) rereads: Rereads,
    /// What became of changes of files and keys of credentials.
    pub(crate) auth_rereads: Rereads,
}

/// What is known of a pool besides what workers need.
#[derive(Debug)]
pub(crate) struct PoolFacts {
    pub(crate) balance: config::Balance,
    /// How long its checks took, the failed ones included.
    pub(crate) check_seconds: Histogram,
    /// Indexed by [`ServerId`].
    pub(crate) servers: Box<[ServerFacts]>,
}

/// What is known of a server besides what workers need.
#[derive(Debug)]
pub(crate) struct ServerFacts {
    pub(crate) weight: Weight,
    /// `None` when the server is not checked.
    health: Option<Health>,
    /// Why the newest check failed; only while the server is down.
    pub(crate) reason: Option<Reason>,
    /// When the state last changed.
    pub(crate) since: SystemTime,
    /// How long the newest check took.
    pub(crate) last_check: Option<Duration>,
}

/// What a check found and how long that took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding {
    pub(crate) verdict: Result<(), Reason>,
    pub(crate) took: Duration,
}

/// A worker's least share of further connections: what a page of a browser asks for at once.
const FURTHER_LEAST: u32 = 16;

/// How many connections there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of clients, each with one to a server.
    pub connections_max: u32,
    /// To servers besides, for clients that ask for more than one thing at once.
    pub further_max: u32,
}

impl Facts {
    /// The facts of a process that has just begun: no server has been checked, so every one of them may get
    /// connections. `material` and `credentials` were read for the same plan and as many workers. Publishes generation 1.
    ///
    /// # Panics
    /// If the plan names more than 65536 listeners, pools or servers of one pool.
    pub fn new(
        plan: &config::Plan,
        material: Material,
        credentials: &Credentials,
        workers: usize,
        Room {
            connections_max,
            further_max,
        }: Room,
    ) -> Facts {
        let since = SystemTime::now();
        let pools: Box<[PoolFacts]> = plan
            .pools
            .iter()
            .map(|pool| PoolFacts::new(pool, since))
            .collect();
        let mut http = Vec::new();
        let snapshot = Snapshot {
            generation: 1,
            listeners: plan
                .listeners
                .iter()
                .enumerate()
                .map(|(at, listener)| {
                    let tls = material.termination(at).cloned();
                    let gateway = gateway(listener, credentials, workers);
                    if let Some(gateway) = &gateway {
                        let counters = Arc::clone(gateway.rules().counters());
                        http.push((listener.name.as_str().into(), counters));
                    }
                    first_listener(listener, tls, gateway, workers, connections_max)
                })
                .collect(),
            pools: plan
                .pools
                .iter()
                .zip(&pools)
                .enumerate()
                .map(|(at, (pool, facts))| {
                    let tls = material.origination(at).cloned();
                    first_pool(PoolId(id(at)), pool, facts, tls, workers)
                })
                .collect(),
            connections_max,
            further_max: FURTHER_LEAST.max(further_max / workers.max(1) as u32),
            handshakes_max: plan.limits.handshakes.get(),
        };
        Facts {
            published: Arc::new(ArcSwap::from_pointee(snapshot)),
            pools,
            material,
            http: http.into(),
            rereads: Rereads::default(),
            auth_rereads: Rereads::default(),
        }
    }

    /// Where the snapshots are published; every worker gets a clone.
    pub fn published(&self) -> Published {
        Arc::clone(&self.published)
    }

    /// The newest snapshot.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// What was counted of the listeners that speak HTTP, with their names.
    pub(crate) fn http(&self) -> impl Iterator<Item = (&str, &HttpCounters)> + Clone {
        let listeners = self.http.iter();
        listeners.map(|(name, counters)| (&**name, &**counters))
    }

    /// The pools of a snapshot with what is known of them.
    pub(crate) fn pools<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a Pool, &'a PoolFacts)> {
        snapshot.pools.iter().map(AsRef::as_ref).zip(&self.pools)
    }

    /// Takes in what a check found. When that changes the server's state, the change is logged and published.
    pub(crate) fn observe(&mut self, pool: PoolId, server: ServerId, finding: Finding) {
        let facts = &mut self.pools[pool.index()];
        facts.check_seconds.record(finding.took);
        let known = &mut facts.servers[server.index()];
        known.last_check = Some(finding.took);
        let Some(health) = &mut known.health else {
            return;
        };
        let was_usable = health.state().is_usable();
        let change = health.observe(finding.verdict.is_ok());
        known.reason = finding
            .verdict
            .err()
            .filter(|_| health.state() == State::Down);
        let Some(change) = change else { return };
        known.since = SystemTime::now();
        let membership_changed = was_usable != health.state().is_usable();
        let reason = known.reason;

        let snapshot = self.publish_table(membership_changed.then_some(pool));
        let pool = snapshot.pool(pool);
        log_change(pool, pool.server(server), change, reason);
    }

    /// What the TLS of listeners and pools is made of.
    pub(crate) fn material(&self) -> &Material {
        &self.material
    }

    /// Publishes new TLS of the same plan. What is the same as before is shared.
    pub(crate) fn renew_tls(&mut self, plan: &config::Plan, material: Material) {
        let before = self.published.load_full();
        let listeners = plan.listeners.iter().zip(&before.listeners).enumerate();
        let listeners = listeners.map(|(at, (planned, listener))| {
            let tls = material.termination(at);
            match tls.map(Arc::as_ptr) == listener.tls.as_ref().map(Arc::as_ptr) {
                true => Arc::clone(listener),
                false => renewed_listener(listener, planned, tls.cloned()),
            }
        });
        let listeners = listeners.collect();
        let pools = before.pools.iter().enumerate().map(|(at, pool)| {
            let tls = material.origination(at);
            match tls.map(Arc::as_ptr) == pool.tls.as_ref().map(Arc::as_ptr) {
                true => Arc::clone(pool),
                false => renewed_pool(pool, pool.table.clone(), tls.cloned()),
            }
        });
        let pools = pools.collect();
        self.material = material;
        self.publish(&before, listeners, pools);
    }

    /// Publishes the next generation, with the table of `changed` made anew. Everything else is shared with the
    /// generation before.
    fn publish_table(&self, changed: Option<PoolId>) -> Arc<Snapshot> {
        let before = self.published.load_full();
        let mut pools = before.pools.clone();
        if let Some(id) = changed {
            let pool = before.pool(id);
            pools[id.index()] =
                renewed_pool(pool, self.pools[id.index()].table(), pool.tls.clone());
        }
        self.publish(&before, before.listeners.clone(), pools)
    }

    fn publish(
        &self,
        before: &Snapshot,
        listeners: Box<[Arc<Listener>]>,
        pools: Box<[Arc<Pool>]>,
    ) -> Arc<Snapshot> {
        let next = Arc::new(Snapshot {
            generation: before.generation + 1,
            listeners,
            pools,
            connections_max: before.connections_max,
            further_max: before.further_max,
            handshakes_max: before.handshakes_max,
        });
        self.published.store(Arc::clone(&next));
        next
    }
}

impl PoolFacts {
    fn new(pool: &config::Pool, since: SystemTime) -> PoolFacts {
        let policy = match pool.health {
            config::Health::Off => None,
            config::Health::Connect(check) => Some(Policy {
                rise: check.rise.into(),
                fall: check.fall.into(),
            }),
        };
        let servers = pool.servers.iter().map(|server| ServerFacts {
            weight: Weight::new(server.weight).unwrap_or(Weight::MAX),
            health: policy.map(Health::new),
            reason: None,
            since,
            last_check: None,
        });
        PoolFacts {
            balance: pool.balance,
            check_seconds: Histogram::default(),
            servers: servers.collect(),
        }
    }

    /// The servers that may get connections now.
    fn table(&self) -> Table {
        let members: Vec<Member> = self
            .servers
            .iter()
            .enumerate()
            .filter(|(_, server)| server.state().is_usable())
            .map(|(index, server)| Member {
                id: ServerId(id(index)),
                weight: server.weight,
            })
            .collect();
        Table::new(algorithm(self.balance), &members)
    }
}

impl ServerFacts {
    /// The state for people and metrics.
    pub(crate) fn state(&self) -> ServerState {
        match self.health.as_ref().map(Health::state) {
            None => ServerState::Unchecked,
            Some(State::Unknown) => ServerState::Unknown,
            Some(State::Up) => ServerState::Up,
            Some(State::Down) => ServerState::Down,
        }
    }
}

fn first_listener(
    listener: &config::Listener,
    tls: Option<Arc<Termination>>,
    gateway: Option<Arc<Gateway>>,
    workers: usize,
    connections_max: u32,
) -> Arc<Listener> {
    Arc::new(Listener {
        name: listener.name.as_str().into(),
        pool: listener.pool.map(|pool| PoolId(id(pool.0))),
        routes: routes(listener),
        trusted: trusted(listener),
        tls,
        plugin: gateway.map(|gateway| gateway as Arc<dyn Plugin>),
        timeouts: listener.timeouts,
        admission: admission(listener, connections_max),
        bandwidth: bandwidth(listener, workers),
        counters: Arc::new(PerWorker::new(workers)),
    })
}

/// The same listener with other TLS; what it counts and whom it has admitted goes on.
fn renewed_listener(
    listener: &Listener,
    planned: &config::Listener,
    tls: Option<Arc<Termination>>,
) -> Arc<Listener> {
    Arc::new(Listener {
        name: Arc::clone(&listener.name),
        pool: listener.pool,
        routes: routes(planned),
        trusted: trusted(planned),
        tls,
        plugin: listener.plugin.clone(),
        timeouts: listener.timeouts,
        admission: renewed_admission(&listener.admission, planned),
        bandwidth: listener.bandwidth.clone(),
        counters: Arc::clone(&listener.counters),
    })
}

/// The same pool with another table or other TLS; what it counts goes on.
fn renewed_pool(pool: &Pool, table: Table, tls: Option<Arc<Origination>>) -> Arc<Pool> {
    Arc::new(Pool {
        id: pool.id,
        name: Arc::clone(&pool.name),
        table,
        servers: pool.servers.clone(),
        timeouts: pool.timeouts,
        tls,
        proxy_protocol: pool.proxy_protocol,
        retry: pool.retry.clone(),
        hold: pool.hold,
        held: Arc::clone(&pool.held),
        http2: pool.http2,
        counters: Arc::clone(&pool.counters),
    })
}

fn first_pool(
    id: PoolId,
    pool: &config::Pool,
    facts: &PoolFacts,
    tls: Option<Arc<Origination>>,
    workers: usize,
) -> Arc<Pool> {
    let servers = pool.servers.iter().map(|server| {
        Arc::new(Server {
            name: server.name.as_str().into(),
            address: server.address.clone(),
            active: AtomicU32::new(0),
            counters: PerWorker::new(workers),
        })
    });
    Arc::new(Pool {
        id,
        name: pool.name.as_str().into(),
        table: facts.table(),
        servers: servers.collect(),
        timeouts: pool.timeouts,
        tls,
        proxy_protocol: pool.proxy_protocol,
        retry: pool.retry.clone(),
        hold: pool.hold,
        held: Arc::default(),
        http2: pool.http2,
        counters: Arc::new(PerWorker::new(workers)),
    })
}

/// The number of an id from a place in the plan.
fn id(index: usize) -> u16 {
    u16::try_from(index).expect("a plan names fewer than 65536 things of a kind")
}

fn algorithm(balance: config::Balance) -> Algorithm {
    match balance {
        config::Balance::RoundRobin => Algorithm::RoundRobin,
        config::Balance::LeastConn => Algorithm::LeastConn,
        config::Balance::P2c => Algorithm::P2c,
        config::Balance::Random => Algorithm::Random,
    }
}

fn log_change(pool: &Pool, server: &Server, change: Change, reason: Option<Reason>) {
    let (pool_name, server_name) = (&*pool.name, &*server.name);
    match change {
        Change::Up => {
            tracing::info!(
                pool = pool_name,
                server = server_name,
                state = "up",
                "server is up"
            );
        }
        Change::Down => {
            let reason = reason.map_or("", Reason::word);
            tracing::warn!(
                pool = pool_name,
                server = server_name,
                state = "down",
                reason,
                "server is down"
            );
        }
    }
    if pool.table.is_empty() {
        tracing::error!(
            pool = pool_name,
            "no server of the pool may get connections"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{facts, plan};

    const FINE: Finding = Finding {
        verdict: Ok(()),
        took: Duration::from_millis(1),
    };
    const REFUSED: Finding = Finding {
        verdict: Err(Reason::ConnectRefused),
        took: Duration::from_millis(2),
    };
    const POOL: PoolId = PoolId(0);

    fn two_servers() -> Facts {
        facts(&plan(&["127.0.0.1:1", "127.0.0.1:2"]), 2, 100)
    }

    #[test]
    fn every_server_of_weight_above_zero_gets_connections_before_it_is_checked() {
        let mut plan = plan(&["127.0.0.1:1", "127.0.0.1:2"]);
        plan.pools[0].servers[1].weight = 0;
        let snapshot = facts(&plan, 1, 7).snapshot();
        assert_eq!((snapshot.generation, snapshot.connections_max), (1, 7));
        let table = &snapshot.pool(POOL).table;
        assert!(table.contains(ServerId(0)) && !table.contains(ServerId(1)));
    }

    #[test]
    fn each_change_of_state_publishes_one_snapshot_and_nothing_else_does() {
        let mut facts = two_servers();
        let mut generations = Vec::new();
        // Unknown → up, still up, two failures of three, the third, still down, one success of two, the second.
        for finding in [FINE, FINE, REFUSED, REFUSED, REFUSED, REFUSED, FINE, FINE] {
            facts.observe(POOL, ServerId(0), finding);
            generations.push(facts.snapshot().generation);
        }
        assert_eq!(generations, [2, 2, 2, 2, 3, 3, 3, 4]);
    }

    #[test]
    fn a_server_that_falls_leaves_the_table_and_comes_back() {
        let mut facts = two_servers();
        facts.observe(POOL, ServerId(1), REFUSED);
        let table = facts.snapshot().pool(POOL).table.clone();
        assert!(table.contains(ServerId(0)) && !table.contains(ServerId(1)));
        let known = &facts.pools[0].servers[1];
        assert_eq!(
            (known.state(), known.reason),
            (ServerState::Down, Some(Reason::ConnectRefused))
        );

        facts.observe(POOL, ServerId(1), FINE);
        facts.observe(POOL, ServerId(1), FINE);
        assert!(facts.snapshot().pool(POOL).table.contains(ServerId(1)));
        assert_eq!(facts.pools[0].servers[1].reason, None);
    }

    #[test]
    fn what_did_not_change_is_shared_with_the_snapshot_before() {
        let mut facts = two_servers();
        let before = facts.snapshot();
        facts.observe(POOL, ServerId(0), REFUSED);
        let after = facts.snapshot();
        assert!(Arc::ptr_eq(&before.listeners[0], &after.listeners[0]));
        assert!(!Arc::ptr_eq(&before.pools[0], &after.pools[0]));
        assert!(Arc::ptr_eq(
            &before.pools[0].counters,
            &after.pools[0].counters
        ));
        for (old, new) in before.pools[0].servers.iter().zip(&after.pools[0].servers) {
            assert!(Arc::ptr_eq(old, new));
        }
        assert!(
            before.pools[0].table.contains(ServerId(0)),
            "a snapshot never changes"
        );
    }

    #[test]
    fn a_first_success_shares_the_table() {
        let mut facts = two_servers();
        let before = facts.snapshot();
        facts.observe(POOL, ServerId(0), FINE);
        assert!(Arc::ptr_eq(&before.pools[0], &facts.snapshot().pools[0]));
    }

    #[test]
    fn a_server_that_is_not_checked_stays_usable() {
        let mut plan = plan(&["127.0.0.1:1"]);
        plan.pools[0].health = config::Health::Off;
        let mut facts = facts(&plan, 1, 1);
        facts.observe(POOL, ServerId(0), REFUSED);
        assert_eq!(facts.snapshot().generation, 1);
        assert!(facts.pools[0].servers[0].state().is_usable());
    }
}
