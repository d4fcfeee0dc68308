//! What `GET /v1/status` says, as types that both sides share: control fills and writes them, the command line
//! reads and prints them. Fields may be added; none changes its meaning.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The state of the whole process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the binary that serves.
    pub version: String,
    /// The process that serves.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: f64,
    /// What it is doing as a whole.
    pub state: State,
    /// How workers talk to the kernel, for people.
    pub io_driver: String,
    /// Where TLS is done, for people.
    pub tls: String,
    /// What is wrong with files of TLS, each in a sentence that begins with its key; what was good before goes on.
    #[serde(default)]
    pub tls_problems: Vec<String>,
    /// The same with files and keys of credentials.
    #[serde(default)]
    pub auth_problems: Vec<String>,
    /// The file it was configured by; absent when there is none.
    pub config_file: Option<PathBuf>,
    /// Counts published snapshots, from 1: it grows with every change that workers see.
    pub generation: u64,
    /// Client connections over all workers.
    pub connections: Connections,
    /// By number.
    pub workers: Vec<Worker>,
    /// In the order of the file.
    pub listeners: Vec<Listener>,
    /// In the order of the file.
    pub pools: Vec<Pool>,
}

/// What the process is doing as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not every worker has answered yet.
    Starting,
    /// Every listener accepts.
    Serving,
    /// Listeners are closed, open connections may finish.
    Draining,
}

impl State {
    /// The word in the answer, in `/ready` and in the service manager's status.
    pub const fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Serving => "serving",
            State::Draining => "draining",
        }
    }
}

/// How many client connections there are and may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Open now.
    pub active: u64,
    /// As many as may be open at once.
    pub max: u64,
}

/// One engine thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// From 0.
    pub id: u16,
    /// Connections it serves now.
    pub connections_active: u64,
    /// Whether it runs and has answered lately.
    pub turning: bool,
}

/// An accepting socket, or several with one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// As in the file.
    pub name: String,
    /// Where it accepts, as in the file.
    pub bind: Vec<String>,
    /// The pool that connections go to which no route matched; empty when they are refused.
    pub pool: String,
    /// The first that matches decides.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Open now.
    pub connections_active: u64,
    /// As many as may be open at once; absent when only the process bounds them.
    pub connections_max: Option<u64>,
    /// Admitted since the start.
    pub connections_total: u64,
    /// Refused since the start, for any reason.
    pub rejected_total: u64,
    /// What it shows to clients of TLS, the default one first; none where it does not end TLS.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// What it knows of requests; absent when it does not speak HTTP.
    #[serde(default)]
    pub http: Option<Http>,
}

/// The requests of a listener that speaks HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// How many routes it has.
    pub routes: u64,
    /// Answered since the start, by servers and by Ringgate itself.
    pub requests_total: u64,
    /// Those of them that succeeded.
    #[serde(rename = "responses_2xx_total")]
    pub success: u64,
    /// Those that sent the client elsewhere.
    #[serde(rename = "responses_3xx_total")]
    pub redirection: u64,
    /// Those that were the client's fault.
    #[serde(rename = "responses_4xx_total")]
    pub client_error: u64,
    /// Those that were the server's fault or Ringgate's.
    #[serde(rename = "responses_5xx_total")]
    pub server_error: u64,
}

/// Sends some of a listener's connections to a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// As the log calls it.
    pub name: String,
    /// Where its connections go.
    pub pool: String,
    /// Whether the listener ends TLS for others and not for these.
    pub passthrough: bool,
}

/// A certificate that a listener shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The first of its names; where it has none, what it calls itself.
    pub name: String,
    /// The DNS names that it is good for; some may begin with `*.`.
    pub names: Vec<String>,
    /// Where it was read from.
    pub file: String,
    /// The last second in which it is good, since 1970 (UTC).
    pub not_after: i64,
}

/// A group of servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// As in the file.
    pub name: String,
    /// How it chooses: the word of the file.
    pub balance: String,
    /// Further servers tried after a failed connect, since the start.
    pub retries_total: u64,
    /// In the order of the file.
    pub servers: Vec<Server>,
}

/// A member of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// As in the file; the address where the file gives none.
    pub name: String,
    /// Where it is reached, as in the file.
    pub address: String,
    /// Its share of new connections relative to the other servers, 0 to 256; 0 gets none.
    pub weight: u16,
    /// What its checks say.
    pub state: ServerState,
    /// Why the newest check failed, in the words of the log; only while it is down.
    pub reason: Option<String>,
    /// When the state last changed, in seconds since 1970 (UTC).
    pub since: u64,
    /// Seconds that the newest check took; absent before the first and where there is none.
    pub last_check_s: Option<f64>,
    /// Open now.
    pub connections_active: u64,
    /// Made since the start.
    pub connections_total: u64,
    /// Failed connects since the start, checks not included.
    pub connect_errors_total: u64,
    /// Bytes received from the server since the start.
    pub received_bytes_total: u64,
    /// Bytes sent to the server since the start.
    pub sent_bytes_total: u64,
}

/// What the checks of a server say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Not checked yet; it gets connections.
    Unknown,
    /// It gets connections.
    Up,
    /// It gets none.
    Down,
    /// Its pool has `health: off`; it gets connections.
    Unchecked,
}

impl ServerState {
    /// All of them, in the order in which they are listed.
    pub const ALL: [ServerState; 4] = [
        ServerState::Unknown,
        ServerState::Up,
        ServerState::Down,
        ServerState::Unchecked,
    ];

    /// The word in the answer and in the metric's label.
    pub const fn word(self) -> &'static str {
        match self {
            ServerState::Unknown => "unknown",
            ServerState::Up => "up",
            ServerState::Down => "down",
            ServerState::Unchecked => "unchecked",
        }
    }

    /// Whether a server in this state may get connections.
    pub const fn is_usable(self) -> bool {
        !matches!(self, ServerState::Down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_answer() {
        for state in ServerState::ALL {
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(json, state.word());
        }
        for state in [State::Starting, State::Serving, State::Draining] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
    }
}
