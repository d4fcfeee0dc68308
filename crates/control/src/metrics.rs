//! The page at `/metrics`: the workers' counters folded, at each scrape, into the counters and gauges of a local
//! recorder. Every name and label of the page is here; nothing is counted here.

mod http;

use std::sync::Arc;
use std::time::Instant;

use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use ringgate_engine::counters::{Histogram, PoolCounters};
use ringgate_engine::reason::{ClosedBy, Reason};
use ringgate_engine::snapshot::{Listener, Pool, Server, Shared, Snapshot};
use ringgate_engine::tls::Failure;

use crate::About;
use crate::exposition::{Reading, labels, write_gauges, write_histograms};
use crate::facts::{Facts, ServerFacts};
use crate::footprint::Footprint;
use crate::status::ServerState;

const COUNTERS: [(&str, &str); 16] = [
    (
        "ringgate_accept_pauses_total",
        "Times a worker paused accepting because descriptors or memory ran out.",
    ),
    (
        "ringgate_access_log_dropped_total",
        "Access-log lines dropped because the log could not take them.",
    ),
    (
        "ringgate_auth_rereads_total",
        "Changes of files and keys of credentials, by whether all of it was good.",
    ),
    (
        "ringgate_buffer_waits_total",
        "Times an operation of a worker had to wait for a receive buffer.",
    ),
    (
        "ringgate_ring_overflows_total",
        "Turns of a worker's ring that left completions waiting for room in it; none is lost.",
    ),
    (
        "ringgate_closed_total",
        "Admitted connections that ended, by who ended them and why.",
    ),
    (
        "ringgate_listener_connections_total",
        "Connections admitted.",
    ),
    (
        "ringgate_listener_rejected_total",
        "Connections refused before a server was picked, by reason.",
    ),
    (
        "ringgate_pool_connect_errors_total",
        "Failed connects to a server, checks not included, by reason.",
    ),
    (
        "ringgate_pool_connections_total",
        "Connections made to a server.",
    ),
    (
        "ringgate_pool_received_bytes_total",
        "Bytes received from a server.",
    ),
    (
        "ringgate_pool_retries_total",
        "Further servers tried after a failed connect or, for an idempotent request, a bad answer.",
    ),
    (
        "ringgate_pool_sent_bytes_total",
        "Bytes on their way to a server, counted as they come from the client.",
    ),
    (
        "ringgate_relay_bytes_total",
        "Bytes relayed in both directions, by the path they took.",
    ),
    (
        "ringgate_tls_handshake_failures_total",
        "TLS handshakes with clients that failed, by reason.",
    ),
    (
        "ringgate_tls_rereads_total",
        "Changes of certificates and other files of TLS, by whether all of it was good.",
    ),
];

const GAUGES: [(&str, &str); 11] = [
    (
        "ringgate_auth_last_reread_success",
        "1 while all files and keys of credentials are good, 0 while some are bad and what they were before is used.",
    ),
    ("ringgate_build_info", "Always 1; the version that serves."),
    (
        "ringgate_io_driver_info",
        "Always 1; how workers talk to the kernel.",
    ),
    (
        "ringgate_listener_connections_active",
        "Connections open now.",
    ),
    (
        "ringgate_pool_connections_active",
        "Connections to a server open now.",
    ),
    (
        "ringgate_pool_held",
        "Clients and requests that wait now for a server to come up.",
    ),
    (
        "ringgate_server_state",
        "1 for the state that a server is in, 0 for the others.",
    ),
    (
        "ringgate_server_up",
        "1 while a server may get connections, 0 while its checks say that it is down.",
    ),
    (
        "ringgate_server_weight",
        "A server's share of new connections relative to its pool; 0 gets none.",
    ),
    (
        "ringgate_tls_last_reread_success",
        "1 while every file of TLS is good, 0 while one is bad and what it was before is served.",
    ),
    (
        "ringgate_worker_connections_active",
        "Connections that a worker serves now.",
    ),
];

/// Rows that exist from the start, so that an alert on an increase also sees the first one. Every other reason
/// gets its row when it first happens.
const CLOSED_FROM_START: [(ClosedBy, Reason); 14] = [
    (ClosedBy::Client, Reason::Done),
    (ClosedBy::Client, Reason::ClientReset),
    (ClosedBy::Server, Reason::Done),
    (ClosedBy::Server, Reason::ServerReset),
    (ClosedBy::Ringgate, Reason::ClientIdle),
    (ClosedBy::Ringgate, Reason::ServerIdle),
    (ClosedBy::Ringgate, Reason::FirstByteTimeout),
    (ClosedBy::Ringgate, Reason::NoServer),
    (ClosedBy::Ringgate, Reason::ConnectRefused),
    (ClosedBy::Ringgate, Reason::ConnectTimeout),
    (ClosedBy::Ringgate, Reason::ConnectError),
    (ClosedBy::Ringgate, Reason::Drained),
    (ClosedBy::Ringgate, Reason::Shutdown),
    (ClosedBy::Ringgate, Reason::Overload),
];
const REJECTED_FROM_START: [Reason; 1] = [Reason::LimitConnections];
const CONNECT_ERRORS_FROM_START: [Reason; 3] = [
    Reason::ConnectRefused,
    Reason::ConnectTimeout,
    Reason::ConnectError,
];

/// What is folded into the page.
pub(crate) struct Sources<'a> {
    pub(crate) about: &'a About,
    pub(crate) facts: &'a Facts,
    pub(crate) shared: &'a Shared,
    /// Lines that the log's writer dropped, on top of those that workers could not hand to it.
    pub(crate) log_lines_dropped: u64,
}

/// Folds and renders.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    footprint: Footprint,
}

impl Metrics {
    /// Of a process that started then.
    pub(crate) fn new(started: Instant) -> Metrics {
        let recorder = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&recorder, || {
            for (name, help) in COUNTERS {
                describe_counter!(name, help);
            }
            for (name, help) in GAUGES {
                describe_gauge!(name, help);
            }
        });
        Metrics {
            recorder,
            footprint: Footprint::new(started),
        }
    }

    /// The page as of now.
    pub(crate) fn page(&self, sources: &Sources<'_>) -> String {
        let snapshot = sources.facts.snapshot();
        with_local_recorder(&self.recorder, || {
            fold_process(sources);
            for listener in &snapshot.listeners {
                fold_listener(listener);
            }
            for (pool, facts) in sources.facts.pools(&snapshot) {
                counter!("ringgate_pool_retries_total", "pool" => pool.name.clone())
                    .absolute(pool.counters.sum(|worker| &worker.retries));
                gauge!("ringgate_pool_held", "pool" => pool.name.clone())
                    .set(pool.counters.sum(|worker| &worker.held) as f64);
                for (server, facts) in pool.servers.iter().zip(&facts.servers) {
                    fold_server(pool, server, facts);
                }
            }
        });
        let mut page = in_order(&self.recorder.handle().render());
        write_certificate_ends(&mut page, sources.facts);
        fold_histograms(&mut page, &snapshot, sources);
        http::write(&mut page, sources.facts.http());
        self.footprint.write(&mut page);
        page
    }
}

fn fold_process(sources: &Sources<'_>) {
    let Sources { about, shared, .. } = sources;
    gauge!("ringgate_build_info", "version" => about.version.clone()).set(1.0);
    gauge!("ringgate_io_driver_info", "driver" => about.driver.clone()).set(1.0);
    counter!("ringgate_access_log_dropped_total")
        .absolute(sources.log_lines_dropped + shared.workers.sum(|worker| &worker.log_dropped));
    counter!("ringgate_relay_bytes_total", "path" => "copy")
        .absolute(shared.workers.sum(|worker| &worker.copied_bytes));
    counter!("ringgate_relay_bytes_total", "path" => "splice")
        .absolute(shared.workers.sum(|worker| &worker.spliced_bytes));
    counter!("ringgate_relay_bytes_total", "path" => "tls")
        .absolute(shared.workers.sum(|worker| &worker.tls_bytes));
    let rereads = &sources.facts.auth_rereads;
    counter!("ringgate_auth_rereads_total", "result" => "success").absolute(rereads.succeeded);
    counter!("ringgate_auth_rereads_total", "result" => "failure").absolute(rereads.failed);
    gauge!("ringgate_auth_last_reread_success")
        .set(f64::from(u8::from(rereads.problems.is_empty())));
    let rereads = &sources.facts.rereads;
    counter!("ringgate_tls_rereads_total", "result" => "success").absolute(rereads.succeeded);
    counter!("ringgate_tls_rereads_total", "result" => "failure").absolute(rereads.failed);
    gauge!("ringgate_tls_last_reread_success")
        .set(f64::from(u8::from(rereads.problems.is_empty())));
    for (number, worker) in shared.workers.iter().enumerate() {
        let label = [("worker", number.to_string())];
        gauge!("ringgate_worker_connections_active", &label).set(worker.active.get() as f64);
        counter!("ringgate_accept_pauses_total", &label).absolute(worker.accept_pauses.get());
        counter!("ringgate_buffer_waits_total", &label).absolute(worker.buffers_waits.get());
        counter!("ringgate_ring_overflows_total", &label).absolute(worker.ring_overflows.get());
    }
}

fn fold_listener(listener: &Listener) {
    let name = || listener.name.clone();
    let counters = &listener.counters;
    counter!("ringgate_listener_connections_total", "listener" => name())
        .absolute(counters.sum(|worker| &worker.connections));
    gauge!("ringgate_listener_connections_active", "listener" => name())
        .set(counters.sum(|worker| &worker.active) as f64);
    if listener.tls.is_some() {
        for failure in Failure::ALL {
            counter!("ringgate_tls_handshake_failures_total", "listener" => name(), "reason" => failure.word())
                .absolute(counters.sum(|worker| &worker.handshake_failures[failure as usize]));
        }
    }
    for reason in Reason::ALL {
        let rejected = counters.sum(|worker| worker.rejected.of(reason));
        let may_happen = REJECTED_FROM_START.contains(&reason) || listener.may_refuse(reason);
        if rejected > 0 || may_happen {
            counter!("ringgate_listener_rejected_total", "listener" => name(), "reason" => reason.word())
                .absolute(rejected);
        }
        for by in ClosedBy::ALL {
            let closed = counters.sum(|worker| worker.closed[by as usize].of(reason));
            if closed > 0 || CLOSED_FROM_START.contains(&(by, reason)) {
                counter!("ringgate_closed_total", "listener" => name(), "by" => by.word(), "reason" => reason.word())
                    .absolute(closed);
            }
        }
    }
}

fn fold_server(pool: &Pool, server: &Server, facts: &ServerFacts) {
    let label = [
        ("pool", pool.name.to_string()),
        ("server", label_text(&server.name)),
    ];
    let counters = &server.counters;
    counter!("ringgate_pool_connections_total", &label)
        .absolute(counters.sum(|worker| &worker.connections));
    counter!("ringgate_pool_received_bytes_total", &label)
        .absolute(counters.sum(|worker| &worker.received_bytes));
    counter!("ringgate_pool_sent_bytes_total", &label)
        .absolute(counters.sum(|worker| &worker.sent_bytes));
    gauge!("ringgate_pool_connections_active", &label)
        .set(counters.sum(|worker| &worker.active) as f64);
    gauge!("ringgate_server_weight", &label).set(f64::from(facts.weight.get()));
    let now = facts.state();
    gauge!("ringgate_server_up", &label).set(f64::from(u8::from(now.is_usable())));

    let with = |name: &'static str, word: &'static str| {
        let [pool, server] = label.clone();
        [pool, server, (name, word.to_owned())]
    };
    for state in ServerState::ALL {
        gauge!("ringgate_server_state", &with("state", state.word()))
            .set(f64::from(u8::from(state == now)));
    }
    for reason in Reason::ALL {
        let errors = counters.sum(|worker| worker.connect_errors.of(reason));
        if errors > 0 || CONNECT_ERRORS_FROM_START.contains(&reason) {
            counter!(
                "ringgate_pool_connect_errors_total",
                &with("reason", reason.word())
            )
            .absolute(errors);
        }
    }
}

/// A label's value such that the page shows exactly `text`: the exporter takes a backslash for one that escapes
/// already, unless there are two.
fn label_text(text: &str) -> String {
    text.replace('\\', r"\\")
}

/// Written by hand: the exporter would go on showing certificates that are gone.
fn write_certificate_ends(page: &mut String, facts: &Facts) {
    let rows = facts.material().certificate_ends();
    write_gauges(
        page,
        "ringgate_tls_cert_expiry_timestamp_seconds",
        "The last second, since 1970, in which a certificate that clients get is good.",
        rows.iter()
            .map(|(name, end)| (labels(&[("name", name)]), *end)),
    );
}

fn fold_histograms(page: &mut String, snapshot: &Snapshot, sources: &Sources<'_>) {
    let Sources { facts, shared, .. } = sources;
    let label = |pool: &Pool| labels(&[("pool", &pool.name)]);
    let mut of_pools = |name: &str, help: &str, pick: fn(&PoolCounters) -> &Histogram| {
        let row = |pool: &Arc<Pool>| (label(pool), Reading::of(pool.counters.iter().map(pick)));
        write_histograms(page, name, help, snapshot.pools.iter().map(row));
    };
    of_pools(
        "ringgate_pool_connect_seconds",
        "Time to connect to a server, of connects that succeeded.",
        |worker| &worker.connect,
    );
    of_pools(
        "ringgate_pool_first_byte_seconds",
        "Time from the connect to the server's first byte.",
        |worker| &worker.first_byte,
    );
    of_pools(
        "ringgate_pool_session_seconds",
        "Time from accepting a connection to its end.",
        |worker| &worker.session,
    );
    write_histograms(
        page,
        "ringgate_tls_handshake_seconds",
        "Time that a TLS handshake with a client took, of handshakes that succeeded.",
        [(
            String::new(),
            Reading::of(shared.workers.iter().map(|worker| &worker.handshake)),
        )],
    );
    write_histograms(
        page,
        "ringgate_health_check_seconds",
        "Time that a check of a server took, failed checks included.",
        facts
            .pools(snapshot)
            .map(|(pool, facts)| (label(pool), Reading::of([&facts.check_seconds]))),
    );
}

/// The exporter's page with its families and rows in a fixed order; it renders them in the order of a hash map.
fn in_order(page: &str) -> String {
    let mut families: Vec<Vec<&str>> = page
        .split("\n\n")
        .map(|family| family.lines().collect())
        .filter(|family: &Vec<&str>| !family.is_empty())
        .collect();
    for family in &mut families {
        // `# HELP` sorts before `# TYPE`, and both before any name.
        family.sort_unstable();
    }
    families.sort_unstable();
    let mut ordered = String::with_capacity(page.len());
    for line in families.into_iter().flatten() {
        ordered.push_str(line);
        ordered.push('\n');
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use ringgate_engine::counters::WorkerId;

    use super::*;
    use crate::testing::process;

    const WORKER: WorkerId = WorkerId(0);

    /// The names that dashboards for any Prometheus client know.
    const PROCESS: [&str; 7] = [
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
        "process_virtual_memory_bytes",
    ];

    fn assert_has(page: &str, line: &str) {
        assert!(
            page.lines().any(|found| found == line),
            "no {line} in:\n{page}"
        );
    }

    #[test]
    fn the_page_shows_exactly_what_workers_counted() {
        let process = process(&["127.0.0.1:1", "127.0.0.1:2"]);
        let snapshot = process.facts.borrow().snapshot();
        let listener = snapshot.listeners[0].counters.of(WORKER);
        let pool = &snapshot.pools[0];
        let server = pool.servers[1].counters.of(WORKER);

        listener.connections.add(7);
        listener.active.set(2);
        listener.closed[ClosedBy::Ringgate as usize]
            .of(Reason::Overload)
            .add(3);
        server.received_bytes.add(1 << 53);
        server.connect_errors.of(Reason::ConnectTimeout).add(4);
        pool.counters
            .of(WORKER)
            .session
            .record(Duration::from_millis(1500));
        process.shared.workers.of(WORKER).copied_bytes.add(9);
        process.shared.workers.of(WORKER).log_dropped.add(5);
        pool.counters.of(WORKER).held.add(6);
        process.metrics_page();
        pool.counters.of(WORKER).held.sub(5);
        listener.connections.add(1);
        let page = process.metrics_page();

        assert_has(&page, r#"ringgate_build_info{version="1.2.3"} 1"#);
        assert_has(&page, r#"ringgate_io_driver_info{driver="none"} 1"#);
        assert_has(
            &page,
            r#"ringgate_listener_connections_total{listener="web"} 8"#,
        );
        assert_has(
            &page,
            r#"ringgate_listener_connections_active{listener="web"} 2"#,
        );
        assert_has(
            &page,
            r#"ringgate_listener_rejected_total{listener="web",reason="limit_connections"} 0"#,
        );
        assert_has(
            &page,
            r#"ringgate_closed_total{listener="web",by="ringgate",reason="overload"} 3"#,
        );
        assert_has(
            &page,
            r#"ringgate_closed_total{listener="web",by="client",reason="done"} 0"#,
        );
        assert_has(
            &page,
            r#"ringgate_closed_total{listener="web",by="ringgate",reason="drained"} 0"#,
        );
        assert_has(
            &page,
            r#"ringgate_pool_received_bytes_total{pool="app",server="127.0.0.1:2"} 9007199254740992"#,
        );
        assert_has(
            &page,
            r#"ringgate_pool_connect_errors_total{pool="app",server="127.0.0.1:2",reason="connect_timeout"} 4"#,
        );
        assert_has(
            &page,
            r#"ringgate_pool_session_seconds_sum{pool="app"} 1.5"#,
        );
        assert_has(
            &page,
            r#"ringgate_pool_session_seconds_bucket{pool="app",le="2.5"} 1"#,
        );
        assert_has(&page, r#"ringgate_pool_held{pool="app"} 1"#);
        assert_has(&page, r#"ringgate_relay_bytes_total{path="copy"} 9"#);
        assert_has(&page, "ringgate_access_log_dropped_total 5");
        assert_has(
            &page,
            r#"ringgate_server_up{pool="app",server="127.0.0.1:1"} 1"#,
        );
        assert_has(
            &page,
            r#"ringgate_server_state{pool="app",server="127.0.0.1:1",state="unknown"} 1"#,
        );
        assert_has(
            &page,
            r#"ringgate_server_state{pool="app",server="127.0.0.1:1",state="down"} 0"#,
        );
        assert_has(&page, r#"ringgate_worker_connections_active{worker="0"} 0"#);
    }

    #[test]
    fn every_row_is_unique_and_follows_its_help_and_type() {
        let page = process(&["127.0.0.1:1"]).metrics_page();
        let mut rows = HashSet::new();
        let mut family = "";
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                assert_eq!(kind.split(' ').next().unwrap(), family, "{line}");
            } else {
                let row = line.rsplit_once(' ').unwrap().0;
                let name = row.split('{').next().unwrap();
                let suffix = name
                    .strip_prefix(family)
                    .unwrap_or_else(|| panic!("{line} in {family}"));
                assert!(
                    ["", "_bucket", "_sum", "_count"].contains(&suffix),
                    "{line} in {family}"
                );
                assert!(rows.insert(row.to_owned()), "twice: {row}");
            }
        }
        let names = COUNTERS.iter().chain(&GAUGES).map(|(name, _)| *name);
        // No listener of this process ends TLS.
        let names = names.filter(|name| !name.starts_with("ringgate_tls_"));
        for name in names.chain(PROCESS) {
            assert!(
                rows.iter().any(|row| row.split('{').next() == Some(name)),
                "{name} has no row"
            );
        }
    }

    #[test]
    fn any_text_may_be_a_servers_name() {
        let process = process(&["unix:/run/a \"quoted\\\n\nserver"]);
        assert_has(
            &process.metrics_page(),
            r#"ringgate_server_up{pool="app",server="unix:/run/a \"quoted\\\n\nserver"} 1"#,
        );
    }
}
