//! The process as its governor sees it: what it is doing, what is known, and who works. Everything here belongs to
//! one thread; it never blocks.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, UNIX_EPOCH};

use ringgate_config::{HttpRoute, Plan};
use ringgate_engine::counters::PerWorker;
use ringgate_engine::reason::Reason;
use ringgate_engine::snapshot::{Listener, Pool, Server, Shared, Snapshot};
use ringgate_gateway::counters::HttpCounters;

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
        let http: HashMap<&str, &HttpCounters> = facts.http().collect();
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
                let http_routes = planned.http.iter().flat_map(|http| &http.routes);
                status::Listener {
                    bind: binds.collect(),
                    pool: listener
                        .pool
                        .map_or("", |pool| &snapshot.pool(pool).name)
                        .to_owned(),
                    routes: routes
                        .chain(http_routes.flat_map(|route| self.http_routes(route)))
                        .collect(),
                    http: http
                        .get(&*listener.name)
                        .map(|counters| http_status(counters)),
                    ..listener_status(listener, facts.material().certificates(at))
                }
            })
            .collect()
    }

    /// The parts of a route of HTTP: one for each pool that its requests are split over, and one that goes nowhere when
    /// they are redirected.
    fn http_routes(&self, route: &HttpRoute) -> Vec<status::Route> {
        let part = |pool: &str| status::Route {
            name: route.name.clone(),
            pool: pool.to_owned(),
            passthrough: false,
        };
        match route.pools.as_slice() {
            [] => vec![part("")],
            pools => pools
                .iter()
                .map(|(pool, _)| part(&self.plan.pool(*pool).name))
                .collect(),
        }
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
        http: None,
    }
}

fn http_status(counters: &HttpCounters) -> status::Http {
    let mut http = status::Http {
        routes: counters.routes() as u64,
        ..status::Http::default()
    };
    for row in counters.requests() {
        http.requests_total += row.count;
        match row.status.class() {
            2 => http.success += row.count,
            3 => http.redirection += row.count,
            4 => http.client_error += row.count,
            5 => http.server_error += row.count,
            _ => {}
        }
    }
    http
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use ringgate_config::{Http, HttpLimits, PoolIndex, Stages};
    use ringgate_engine::counters::WorkerId;

    use super::*;
    use crate::testing::{plan, process, process_of};

    #[test]
    fn a_listener_that_speaks_http_says_what_became_of_its_requests() {
        assert_eq!(process(&["127.0.0.1:1"]).status().listeners[0].http, None);
        let mut plan = plan(&["127.0.0.1:1"]);
        let route = |name: &str, pools: &[PoolIndex]| HttpRoute {
            name: name.to_owned(),
            sni: Vec::new(),
            client: Vec::new(),
            host: Vec::new(),
            path: Vec::new(),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            pools: pools.iter().map(|pool| (*pool, 1)).collect(),
            rewrite: None,
            stages: Stages::default(),
        };
        plan.listeners[0].http = Some(Http {
            trusted_proxies: Vec::new(),
            limits: HttpLimits {
                header_bytes: 1,
                fields: 1,
                requests_per_connection: NonZeroU32::MIN,
                streams: NonZeroU32::MIN,
            },
            stages: Stages::default(),
            routes: vec![route("all", &[PoolIndex(0)]), route("away", &[])],
        });
        let process = process_of(plan).0;
        for status in [101, 200, 204, 301, 404, 429, 429, 502, 999] {
            let facts = process.facts.borrow();
            let (_, counters) = facts.http().next().unwrap();
            let worker = counters.of(WorkerId(0));
            worker.request(1, "GET", status, Duration::ZERO);
        }
        let listener = &process.status().listeners[0];
        let expected = status::Http {
            routes: 2,
            requests_total: 9,
            success: 2,
            redirection: 1,
            client_error: 3,
            server_error: 1,
        };
        assert_eq!(listener.http, Some(expected));
        let routes = listener.routes.iter();
        let routes: Vec<_> = routes.map(|route| (&*route.name, &*route.pool)).collect();
        assert_eq!(routes, [("all", "app"), ("away", "")]);
        let row =
            r#"ringgate_http_requests_total{listener="web",route="all",method="GET",code="429"} 2"#;
        let page = process.metrics_page();
        assert!(page.lines().any(|line| line == row), "{page}");
    }
}
