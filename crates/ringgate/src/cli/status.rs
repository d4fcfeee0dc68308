//! `ringgate status`: ask the running process, over its admin socket, how things are. It only asks; nothing changes.

mod figure;
mod table;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use ringgate_control::client;
use ringgate_control::status::{
    Certificate, Http, Listener, Pool, Server, Status as Report, Worker,
};

use crate::cli::status::figure::{bytes, span};
use crate::cli::status::table::{Column, Table};
use crate::failure::Failure;
use crate::print::print;

/// How long the running process may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Show listeners, pools and servers of the running process
#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Print it as JSON, as `GET /v1/status` gives it
    #[arg(long)]
    json: bool,

    /// The admin socket of the running process
    #[arg(
        long,
        value_name = "SOCKET",
        default_value = "/run/ringgate/admin.sock"
    )]
    admin: PathBuf,
}

impl Status {
    pub(crate) fn act(self) -> Result<(), Failure> {
        let answer = client::get(&self.admin, "/v1/status", TIMEOUT).map_err(Failure::new)?;
        let malformed = |error| {
            Failure::new(format_args!(
                "{} gave no status: {error}",
                self.admin.display()
            ))
        };
        if self.json {
            let value: serde_json::Value =
                serde_json::from_slice(&answer.body).map_err(malformed)?;
            return print(&format!("{value:#}"));
        }
        let report: Report = serde_json::from_slice(&answer.body).map_err(malformed)?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        print(&render(&report, now))
    }
}

/// The report for people; `now` is the time since the epoch.
fn render(report: &Report, now: Duration) -> String {
    let config = report
        .config_file
        .as_ref()
        .map_or_else(String::new, |path| format!(", {}", path.display()));
    let has_tls = report
        .listeners
        .iter()
        .any(|listener| !listener.certificates.is_empty());
    let tls = match has_tls {
        true => format!("TLS in {}\n", report.tls),
        false => String::new(),
    };
    let problem = |problem: &String| format!("BAD FILE  {problem}; what was good before goes on\n");
    let problems = report.tls_problems.iter().chain(&report.auth_problems);
    let problems: String = problems.map(problem).collect();
    let head = format!(
        "ringgate {} {} for {} (pid {}{config})\n{} of {} connections, {}\n{tls}{problems}",
        report.version,
        report.state.word(),
        span(report.uptime_s),
        report.pid,
        report.connections.active,
        report.connections.max,
        report.io_driver,
    );
    [
        head,
        listeners(&report.listeners),
        http(&report.listeners),
        certificates(&report.listeners, now),
        pools(&report.pools),
        servers(&report.pools, now),
        workers(&report.workers),
    ]
    .into_iter()
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join("\n")
}

fn listeners(listeners: &[Listener]) -> String {
    let mut table = Table::new(&[
        Column::text("LISTENER"),
        Column::text("BIND"),
        Column::text("POOL"),
        Column::number("ACTIVE"),
        Column::number("TOTAL"),
        Column::number("REJECTED"),
    ]);
    for listener in listeners {
        table.row([
            listener.name.clone(),
            listener.bind.join(" "),
            pools_of(listener),
            listener.connections_active.to_string(),
            listener.connections_total.to_string(),
            listener.rejected_total.to_string(),
        ]);
    }
    table.to_string()
}

/// Nothing when no listener speaks HTTP.
fn http(listeners: &[Listener]) -> String {
    let speaking: Vec<(&Listener, &Http)> = listeners
        .iter()
        .filter_map(|listener| Some((listener, listener.http.as_ref()?)))
        .collect();
    if speaking.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        Column::text("HTTP"),
        Column::number("ROUTES"),
        Column::number("REQUESTS"),
        Column::number("2XX"),
        Column::number("3XX"),
        Column::number("4XX"),
        Column::number("5XX"),
    ]);
    for (listener, http) in speaking {
        table.row([
            listener.name.clone(),
            http.routes.to_string(),
            http.requests_total.to_string(),
            http.success.to_string(),
            http.redirection.to_string(),
            http.client_error.to_string(),
            http.server_error.to_string(),
        ]);
    }
    table.to_string()
}

/// Where a listener's connections go, those of the routes first.
fn pools_of(listener: &Listener) -> String {
    let routed = listener.routes.iter().map(|route| route.pool.as_str());
    let mut pools: Vec<&str> = Vec::new();
    for pool in routed.chain([listener.pool.as_str()]) {
        if !pool.is_empty() && !pools.contains(&pool) {
            pools.push(pool);
        }
    }
    pools.join(" ")
}

/// Nothing when no listener ends TLS.
fn certificates(listeners: &[Listener], now: Duration) -> String {
    let mut table = Table::new(&[
        Column::text("LISTENER"),
        Column::text("CERTIFICATE"),
        Column::number("NAMES"),
        Column::number("ENDS IN"),
        Column::text("FILE"),
    ]);
    if listeners
        .iter()
        .all(|listener| listener.certificates.is_empty())
    {
        return String::new();
    }
    for listener in listeners {
        for certificate in &listener.certificates {
            table.row([
                listener.name.clone(),
                certificate.name.clone(),
                certificate.names.len().to_string(),
                time_left(certificate, now),
                certificate.file.clone(),
            ]);
        }
    }
    table.to_string()
}

fn time_left(certificate: &Certificate, now: Duration) -> String {
    let end = Duration::from_secs(u64::try_from(certificate.not_after).unwrap_or(0));
    match end.checked_sub(now) {
        Some(left) => span(left.as_secs_f64()),
        None => "EXPIRED".to_owned(),
    }
}

fn pools(pools: &[Pool]) -> String {
    let mut table = Table::new(&[
        Column::text("POOL"),
        Column::text("BALANCE"),
        Column::number("USABLE"),
        Column::number("SERVERS"),
        Column::number("ACTIVE"),
        Column::number("RETRIES"),
    ]);
    for pool in pools {
        let usable = pool
            .servers
            .iter()
            .filter(|server| server.state.is_usable())
            .count();
        let active: u64 = pool
            .servers
            .iter()
            .map(|server| server.connections_active)
            .sum();
        table.row([
            pool.name.clone(),
            pool.balance.clone(),
            usable.to_string(),
            pool.servers.len().to_string(),
            active.to_string(),
            pool.retries_total.to_string(),
        ]);
    }
    table.to_string()
}

fn servers(pools: &[Pool], now: Duration) -> String {
    let mut table = Table::new(&[
        Column::text("POOL"),
        Column::text("SERVER"),
        Column::text("ADDRESS"),
        Column::number("WEIGHT"),
        Column::text("STATE"),
        Column::number("FOR"),
        Column::number("ACTIVE"),
        Column::number("TOTAL"),
        Column::number("ERRORS"),
        Column::number("RECEIVED"),
        Column::number("SENT"),
    ]);
    for pool in pools {
        for server in &pool.servers {
            table.row([
                pool.name.clone(),
                server.name.clone(),
                server.address.clone(),
                server.weight.to_string(),
                state(server),
                span(
                    now.saturating_sub(Duration::from_secs(server.since))
                        .as_secs_f64(),
                ),
                server.connections_active.to_string(),
                server.connections_total.to_string(),
                server.connect_errors_total.to_string(),
                bytes(server.received_bytes_total),
                bytes(server.sent_bytes_total),
            ]);
        }
    }
    table.to_string()
}

/// The state with its reason, if it has one.
fn state(server: &Server) -> String {
    let word = server.state.word();
    server
        .reason
        .as_ref()
        .map_or_else(|| word.to_owned(), |reason| format!("{word} ({reason})"))
}

fn workers(workers: &[Worker]) -> String {
    let mut table = Table::new(&[
        Column::number("WORKER"),
        Column::number("ACTIVE"),
        Column::text("LOOP"),
    ]);
    for worker in workers {
        let turning = if worker.turning { "turns" } else { "stuck" };
        table.row([
            worker.id.to_string(),
            worker.connections_active.to_string(),
            turning.to_owned(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, http: Option<Http>) -> Listener {
        Listener {
            name: name.to_owned(),
            bind: Vec::new(),
            pool: String::new(),
            routes: Vec::new(),
            connections_active: 0,
            connections_max: None,
            connections_total: 0,
            rejected_total: 0,
            certificates: Vec::new(),
            http,
        }
    }

    #[test]
    fn listeners_that_speak_http_have_a_table_of_their_own() {
        let requests = Http {
            routes: 2,
            requests_total: 1000,
            success: 980,
            redirection: 3,
            client_error: 16,
            server_error: 1,
        };
        let listeners = [listener("db", None), listener("api", Some(requests))];
        assert_eq!(http(&listeners[..1]), "");
        assert_eq!(
            http(&listeners),
            "HTTP  ROUTES  REQUESTS  2XX  3XX  4XX  5XX\n\
             api        2      1000  980    3   16    1\n"
        );
    }
}
