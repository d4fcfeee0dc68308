//! The plan: what the file asks for, checked and with every default filled in. It cannot be wrong (no option that
//! means "default", no string that means a number, every pool that is named exists), and it never knows where in
//! the file a value came from.

mod admission;
mod http;
mod remarks;
mod tls;

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use self::admission::{Access, Bandwidth, ListenerLimits, Network, PerClient, Rate};
pub use self::http::{
    Auth, FieldChanges, FieldCondition, Hold, Http, HttpLimits, HttpRoute, Jwt, JwtKeys, LimitBy,
    PathPattern, RateLimit, Redirect, RedirectTo, Retry, Stages,
};
pub use self::remarks::Remark;
pub use self::tls::{
    AcceptProxy, Certificates, ClientAuth, ClientAuthMode, NamePattern, Pair, ProxyVersion, Route,
    ServerTls, Tls, TlsVersion, UnknownName,
};
use crate::keys;
use crate::value;
pub use crate::word::{Algorithm, Balance, Io, LogFormat, LogLevel};

/// Everything that one process serves and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How many engine threads to run.
    pub workers: Workers,
    /// How a worker talks to the kernel.
    pub io: Io,
    /// The doors of the operator.
    pub admin: Admin,
    /// What is logged, where and in which form.
    pub log: Log,
    /// The bounds of the process.
    pub limits: Limits,
    /// How long a stopping process waits for open connections.
    pub drain: Duration,
    /// The process-wide timeouts, already applied to every listener; kept to be shown.
    pub timeouts: Timeouts,
    /// The accepting sockets, in the order of the file; at least one.
    pub listeners: Vec<Listener>,
    /// The groups of servers, in the order of the file; at least one. [`PoolIndex`] points in here.
    pub pools: Vec<Pool>,
}

impl Plan {
    /// The pool at `index`.
    ///
    /// # Panics
    /// When `index` comes from another plan.
    #[must_use]
    pub fn pool(&self, index: PoolIndex) -> &Pool {
        &self.pools[index.0]
    }

    /// The pools that no listener uses, in the order of the file.
    pub fn unused_pools(&self) -> impl Iterator<Item = &Pool> {
        let used: HashSet<PoolIndex> = self.listeners.iter().flat_map(Listener::pools).collect();
        self.pools
            .iter()
            .enumerate()
            .filter(move |(index, _)| !used.contains(&PoolIndex(*index)))
            .map(|(_, pool)| pool)
    }

    /// The timeouts of a connection that `listener` accepted and `pool` serves: the pool's word wins over the
    /// listener's, and that over the process's.
    #[must_use]
    pub fn timeouts_between(listener: &Listener, pool: &Pool) -> Timeouts {
        listener.timeouts.overlaid(&pool.timeouts)
    }
}

/// How many engine threads to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per core that the process may use.
    Auto,
    /// Exactly this many, 1 to 256.
    Exactly(NonZeroU16),
}

impl FromStr for Workers {
    type Err = String;

    /// The value of `workers` in the file; the error says what is expected.
    fn from_str(text: &str) -> Result<Self, String> {
        value::workers(text, &keys::WORKERS)
            .map_err(|wrong| format!("{}; {}", wrong.what, wrong.advice.join("; ")))
    }
}

/// The doors of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The unix socket that the command line talks to. Absolute.
    pub socket: PathBuf,
    /// The address of the read-only HTTP door; `None` when it is closed (`http: off`).
    pub http: Option<SocketAddr>,
}

/// What is logged, where and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe event that the process log shows.
    pub level: LogLevel,
    /// Where the line per connection or request goes.
    pub access: AccessLog,
    /// The form of both logs.
    pub format: LogFormat,
}

/// Where the line per connection or request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To the standard output of the process.
    Stdout,
    /// To the end of this file, which is created when missing. Absolute.
    File(PathBuf),
}

/// The bounds of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many client connections may be open at once, over all listeners.
    pub connections: ConnectionLimit,
    /// How many TLS handshakes a worker does at once; more wait for their turn.
    pub handshakes: NonZeroU32,
}

/// How many client connections may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// As many as the limit of open files (`RLIMIT_NOFILE`) leaves room for.
    Auto,
    /// At most this many.
    Exactly(NonZeroU32),
}

/// The clocks of one connection. None of them is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a connection attempt to one server may take.
    pub connect: Duration,
    /// How long a client may take for its PROXY header and its TLS handshake, and a server for the latter.
    pub handshake: Duration,
    /// How long the server may take to say its first byte, from the client's latest byte on.
    pub first_byte: Duration,
    /// How long both directions may be silent before the connection is closed.
    pub idle: Duration,
    /// How long the other direction may be silent after one side has finished sending.
    pub half_closed: Duration,
    /// How long a client may take for the head of a request, from its first byte or the connection's begin on.
    pub header: Duration,
    /// How long a server may take to begin its answer, from the end of the request on.
    pub response: Duration,
}

impl Timeouts {
    /// These timeouts with those of `over` in place of the ones that it sets.
    #[must_use]
    pub fn overlaid(&self, over: &TimeoutOverrides) -> Self {
        Self {
            connect: over.connect.unwrap_or(self.connect),
            handshake: over.handshake.unwrap_or(self.handshake),
            first_byte: over.first_byte.unwrap_or(self.first_byte),
            idle: over.idle.unwrap_or(self.idle),
            half_closed: over.half_closed.unwrap_or(self.half_closed),
            header: over.header.unwrap_or(self.header),
            response: over.response.unwrap_or(self.response),
        }
    }
}

/// The timeouts that a pool sets for its connections; `None` leaves the listener's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutOverrides {
    /// See [`Timeouts::connect`].
    pub connect: Option<Duration>,
    /// See [`Timeouts::handshake`].
    pub handshake: Option<Duration>,
    /// See [`Timeouts::first_byte`].
    pub first_byte: Option<Duration>,
    /// See [`Timeouts::idle`].
    pub idle: Option<Duration>,
    /// See [`Timeouts::half_closed`].
    pub half_closed: Option<Duration>,
    /// See [`Timeouts::header`].
    pub header: Option<Duration>,
    /// See [`Timeouts::response`].
    pub response: Option<Duration>,
}

/// One or more accepting sockets with one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// 1 to 64 of `A-Z a-z 0-9 _ . -`; unique among the listeners.
    pub name: String,
    /// Where it accepts; at least one, no two in the plan overlap.
    pub binds: Vec<Bind>,
    /// Where connections go that no route matched; `None`, only where there are routes, when they are refused.
    pub pool: Option<PoolIndex>,
    /// The first that matches decides.
    pub routes: Vec<Route>,
    /// The addresses that may connect; `None` when all may.
    pub access: Option<Access>,
    /// Whose PROXY headers tell who the client is; `None` when none are expected.
    pub proxy_protocol: Option<AcceptProxy>,
    /// How it ends TLS; `None` when it does not.
    pub tls: Option<Tls>,
    /// What it does with HTTP; `None` when it relays bytes.
    pub http: Option<Http>,
    /// Its bounds.
    pub limits: ListenerLimits,
    /// The timeouts of its connections, before the pool's own are laid over ([`Plan::timeouts_between`]).
    pub timeouts: Timeouts,
}

impl Listener {
    /// The pools that its connections may go to.
    pub fn pools(&self) -> impl Iterator<Item = PoolIndex> {
        let routed = self.routes.iter().map(|route| route.pool);
        let http = self.http.iter().flat_map(|http| &http.routes);
        let split = http.flat_map(|route| route.pools.iter().map(|(pool, _)| *pool));
        routed.chain(split).chain(self.pool)
    }
}

/// The place of a pool in [`Plan::pools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolIndex(pub usize);

/// Where a listener accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A TCP socket.
    Ip {
        /// The address; the port is never 0.
        addr: SocketAddr,
        /// `true` only for `[::]`: IPv4 clients are accepted too (`IPV6_V6ONLY` off). `false` on an IPv6 address
        /// means `IPV6_V6ONLY` on.
        dual_stack: bool,
    },
    /// A unix stream socket at this absolute path, which fits into `sun_path`.
    Unix(PathBuf),
}

impl fmt::Display for Bind {
    /// As the file writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip {
                addr,
                dual_stack: true,
            } => write!(f, ":{}", addr.port()),
            Self::Ip {
                addr,
                dual_stack: false,
            } => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A group of servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// 1 to 64 of `A-Z a-z 0-9 _ . -`; unique among the pools.
    pub name: String,
    /// How it chooses.
    pub balance: Balance,
    /// Its members, 1 to 4096; at least one has a weight above 0.
    pub servers: Vec<Server>,
    /// How its servers are watched.
    pub health: Health,
    /// The timeouts that it sets for its connections.
    pub timeouts: TimeoutOverrides,
    /// How connections to its servers are encrypted; `None` when they are not.
    pub tls: Option<ServerTls>,
    /// The PROXY header that its servers get before anything else; `None` when they get none.
    pub proxy_protocol: Option<ProxyVersion>,
    /// HTTP listeners speak HTTP/2 to its servers, by prior knowledge or, with TLS, by ALPN.
    pub http2: bool,
    /// How often something is tried on another server.
    pub retry: Retry,
    /// Whether clients of HTTP listeners are kept waiting while no server is up; `None` when they are refused.
    pub hold: Option<Hold>,
}

/// A member of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Unique within the pool; the address in text when the file gives none.
    pub name: String,
    /// Where it is reached.
    pub address: Address,
    /// Its share of new connections against the other servers, 0 to 256; 0 gets none.
    pub weight: u16,
}

/// Where a server is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Over TCP; a concrete address, and the port is never 0.
    Ip(SocketAddr),
    /// At a unix stream socket with this absolute path, which fits into `sun_path`.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    /// As the file writes it; also the default name of a server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How the servers of a pool are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not at all: every server counts as up.
    Off,
    /// By a TCP (or unix) connection that is opened and closed again.
    Connect(HealthCheck),
}

/// A check that a connection to the server can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// How long one check may take; at most `interval`.
    pub timeout: Duration,
    /// How many checks in a row must succeed before a server that is down counts as up; 1 to 100.
    pub rise: u8,
    /// How many checks in a row must fail before a server that is up counts as down; 1 to 100.
    pub fall: u8,
    /// The port to check on.
    pub port: HealthPort,
    /// Whether the check ends when a TLS handshake has, by the pool's settings, or without verification where the
    /// pool has none. Where the pool has TLS it is so unless the file says otherwise.
    pub tls: bool,
}

/// The port that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthPort {
    /// The one that serves.
    Server,
    /// This one, at the server's IP address. Never in a pool with a unix server.
    Exactly(NonZeroU16),
}

impl HealthCheck {
    /// Where `server` is checked.
    #[must_use]
    pub fn address_of(&self, server: &Server) -> Address {
        match (self.port, &server.address) {
            (HealthPort::Exactly(port), Address::Ip(addr)) => {
                let mut checked = *addr;
                checked.set_port(port.get());
                Address::Ip(checked)
            }
            _ => server.address.clone(),
        }
    }
}
