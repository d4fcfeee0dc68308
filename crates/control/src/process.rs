//! The process as its governor sees it: what it is doing, what is known, and who works. Everything here belongs to
//! one thread; it never blocks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, UNIX_EPOCH};

use ringgate_config::Plan;
use ringgate_engine::counters::PerWorker;
use ringgate_engine::reason::Reason;
use ringgate_engine::snapshot::{Listener, Pool, Server, Shared, Snapshot};

use crate::About;
use crate::endings::Endings;
use crate::facts::{Facts, PoolFacts, ServerFacts};
use crate::metrics::{Metrics, Sources};
use crate::pages::Pages;
use crate::pulse::Pulse;
use crate::status::{self, State, Status};
use crate::tls::Certificate;

/// What every part of control looks at.
pub(crate) struct Process {
    pub(crate) about: About,
    pub(crate) plan: Plan,
    pub(crate) facts: Rc<RefCell<Facts>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pulse: RefCell<Pulse>,
    pub(crate) state: Cell<State>,
    /// How connections had ended when the process was first told to end.
    pub(crate) endings_before: Cell<Endings>,
    pub(crate) metrics: Metrics,
    pub(crate) pages: Pages,
    /// Counted by the log's writer; `None` when there is no access log.
    pub(crate) log_lines_dropped: Option<Arc<AtomicU64>>,
}

impl Process {
    /// The page at `/metrics`.
    pub(crate) fn metrics_page(&self) -> String {
        self.metrics.page(&Sources {
            about: &self.about,
            facts: &self.facts.borrow(),
            shared: &self.shared,
            log_lines_dropped: self
                .log_lines_dropped
                .as_ref()
                .map_or(0, |count| count.load(Relaxed)),
        })
    }

    /// The answer at `/v1/status`.
    pub(crate) fn status(&self) -> Status {
        let facts = self.facts.borrow();
        let snapshot = facts.snapshot();
        Status {
            version: self.about.version.clone(),
            pid: std::process::id(),
            uptime_s: self.about.started.elapsed().as_secs_f64(),
            state: self.state.get(),
            io_driver: self.about.driver_text.clone(),
            tls: self.about.tls.clone(),
            tls_problems: facts
                .rereads
                .problems
                .iter()
                .map(ToString::to_string)
                .collect(),
            auth_problems: facts
                .auth_rereads
                .problems
                .iter()
                .map(ToString::to_string)
                .collect(),
            config_file: self.about.config.clone(),
            generation: snapshot.generation,
            connections: status::Connections {
                active: self.shared.connections.load(Relaxed).into(),
                max: snapshot.connections_max.into(),
            },
            workers: self.workers(),
            listeners: self.listeners(&facts, &snapshot),
            pools: facts
                .pools(&snapshot)
                .map(|(pool, facts)| pool_status(pool, facts))
                .collect(),
        }
    }

    /// One line for `systemctl status`.
    pub(crate) fn summary(&self) -> String {
        let facts = self.facts.borrow();
        let snapshot = facts.snapshot();
        let (mut servers, mut usable) = (0, 0);
        for (_, pool) in facts.pools(&snapshot) {
            servers += pool.servers.len();
            usable += pool
                .servers
                .iter()
                .filter(|server| server.state().is_usable())
                .count();
        }
        let state = self.state.get().word();
        format!("{state}; {usable} of {servers} servers usable")
    }

    fn workers(&self) -> Vec<status::Worker> {
        let pulse = self.pulse.borrow();
        let turning = pulse.turning(Instant::now());
        (0..)
            .zip(self.shared.workers.iter())
            .zip(turning)
            .map(|((id, counters), turning)| status::Worker {
                id,
                connections_active: counters.active.get(),
                turning,
            })
            .collect()
    }

    fn listeners(&self, facts: &Facts, snapshot: &Snapshot) -> Vec<status::Listener> {
        let planned = self.plan.listeners.iter();
        planned
            .zip(&snapshot.listeners)
            .enumerate()
            .map(|(at, (planned, listener))| {
                let binds = planned.binds.iter().map(ToString::to_string);
                let routes = planned.routes.iter().map(|route| status::Route {
                    name: route.name.clone(),
                    pool: self.plan.pool(route.pool).name.clone(),
                    passthrough: route.passthrough,
                });
                status::Listener {
                    bind: binds.collect(),
                    pool: listener
                        .pool
                        .map_or("", |pool| &snapshot.pool(pool).name)
                        .to_owned(),
                    routes: routes.collect(),
                    ..listener_status(listener, facts.material().certificates(at))
                }
            })
            .collect()
    }
}

fn listener_status<'a>(
    listener: &Listener,
    certificates: impl Iterator<Item = &'a Certificate>,
) -> status::Listener {
    let counters: &PerWorker<_> = &listener.counters;
    status::Listener {
        name: listener.name.to_string(),
        bind: Vec::new(),
        pool: String::new(),
        routes: Vec::new(),
        connections_active: counters.sum(|worker| &worker.active),
        connections_max: listener
            .admission
            .connections
            .as_ref()
            .map(|limit| u64::from(limit.max.get())),
        connections_total: counters.sum(|worker| &worker.connections),
        rejected_total: Reason::ALL
            .into_iter()
            .map(|reason| counters.sum(|worker| worker.rejected.of(reason)))
            .sum(),
        certificates: certificates
            .map(|certificate| status::Certificate {
                name: certificate.name.clone(),
                names: certificate.names.clone(),
                file: certificate.file.display().to_string(),
                not_after: certificate.not_after,
            })
            .collect(),
    }
}

fn pool_status(pool: &Pool, facts: &PoolFacts) -> status::Pool {
    status::Pool {
        name: pool.name.to_string(),
        balance: facts.balance.to_string(),
        retries_total: pool.counters.sum(|worker| &worker.retries),
        servers: pool
            .servers
            .iter()
            .zip(&facts.servers)
            .map(|(server, facts)| server_status(server, facts))
            .collect(),
    }
}

fn server_status(server: &Server, facts: &ServerFacts) -> status::Server {
    let counters = &server.counters;
    status::Server {
        name: server.name.to_string(),
        address: server.address.to_string(),
        weight: facts.weight.get(),
        state: facts.state(),
        reason: facts.reason.map(|reason| reason.word().to_owned()),
        since: facts
            .since
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        last_check_s: facts.last_check.map(|took| took.as_secs_f64()),
        connections_active: counters.sum(|worker| &worker.active),
        connections_total: counters.sum(|worker| &worker.connections),
        connect_errors_total: Reason::ALL
            .into_iter()
            .map(|reason| counters.sum(|worker| worker.connect_errors.of(reason)))
            .sum(),
        received_bytes_total: counters.sum(|worker| &worker.received_bytes),
        sent_bytes_total: counters.sum(|worker| &worker.sent_bytes),
    }
}
