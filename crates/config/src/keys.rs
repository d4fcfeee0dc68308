//! The one description of every key: name, form, bounds, default, meaning, what other products call it. The decoder,
//! the mistakes, the JSON Schema and the reference all read it from here, so that they cannot disagree. A key is here
//! exactly when it works.

mod admission;
mod auth;
mod http;
mod http_routes;
mod listeners;
mod pools;
mod proxy;
mod retry;
mod routes;
mod server_tls;
mod texts;
mod timeouts;
mod tls;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::key::{Absent, Block, Key, Shape};
use crate::plan::{Io, LogFormat, LogLevel};

pub(crate) use self::admission::*;
pub(crate) use self::auth::*;
pub(crate) use self::http::*;
pub(crate) use self::http_routes::*;
pub(crate) use self::listeners::*;
pub(crate) use self::pools::*;
pub(crate) use self::proxy::*;
pub(crate) use self::retry::*;
pub(crate) use self::routes::*;
pub(crate) use self::server_tls::*;
pub(crate) use self::timeouts::*;
pub(crate) use self::tls::*;

/// Every block, in the order of the reference.
pub(crate) static BLOCKS: &[&Block] = &[
    &ROOT,
    &ADMIN,
    &LOG,
    &LIMITS,
    &TIMEOUTS,
    &LISTENER,
    &HTTP,
    &AUTH,
    &JWT,
    &RATE_LIMIT,
    &HEADERS,
    &REQUEST_CHANGES,
    &RESPONSE_CHANGES,
    &REDIRECT,
    &HTTP_LIMITS,
    &ROUTE,
    &HTTP_ROUTE,
    &ROUTE_HTTP,
    &ROUTE_HTTP_LIMITS,
    &TLS,
    &CERTIFICATE,
    &CLIENT_AUTH,
    &ACCEPT_PROXY,
    &ACCESS,
    &LISTENER_LIMITS,
    &PER_CLIENT,
    &LISTENER_TIMEOUTS,
    &POOL,
    &SERVER,
    &HEALTH,
    &SERVER_TLS,
    &RETRY,
    &HOLD,
    &POOL_TIMEOUTS,
];

const MS: Duration = Duration::from_millis(1);
/// The most connections that a limit can name.
const CONNECTIONS_MAX: u32 = 16_777_216;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTH: Duration = Duration::from_secs(720 * 3600);

pub(crate) static ROOT: Block = Block {
    what: "file",
    path: "",
    doc: "Only `listeners` and `pools` are mandatory.",
    keys: &[
        &WORKERS,
        &IO,
        &ADMIN_KEY,
        &LOG_KEY,
        &LIMITS_KEY,
        &TIMEOUTS_KEY,
        &LISTENERS,
        &POOLS,
    ],
    later: &["include"],
    elsewhere: &[],
};

pub(crate) static WORKERS: Key = Key {
    name: "workers",
    shape: Shape::AutoOrInteger {
        least: 1,
        most: 256,
    },
    absent: Absent::Value("auto"),
    doc: "How many engine threads to run; `auto` is one per core that the process may use.",
    also: &[
        "worker",
        "threads",
        "nbthread",
        "shards",
        "shard",
        "worker_processes",
        "nbproc",
        "cores",
    ],
};

pub(crate) static IO: Key = Key {
    name: "io",
    shape: Shape::Word {
        words: Io::WORDS,
        later: &[],
    },
    absent: Absent::Value("auto"),
    doc: "How a worker talks to the kernel.",
    also: &["io_driver", "driver", "event_loop"],
};

pub(crate) static ADMIN_KEY: Key = Key {
    name: "admin",
    shape: Shape::Block(&ADMIN),
    absent: Absent::Defaults,
    doc: "The doors of the operator.",
    also: &["stats", "api"],
};

pub(crate) static LOG_KEY: Key = Key {
    name: "log",
    shape: Shape::Block(&LOG),
    absent: Absent::Defaults,
    doc: "What is logged, where and in which form.",
    also: &["logs", "logging", "logger"],
};

pub(crate) static LIMITS_KEY: Key = Key {
    name: "limits",
    shape: Shape::Block(&LIMITS),
    absent: Absent::Defaults,
    doc: "The bounds of the process.",
    also: &["limit"],
};

pub(crate) static TIMEOUTS_KEY: Key = Key {
    name: "timeouts",
    shape: Shape::Block(&TIMEOUTS),
    absent: Absent::Defaults,
    doc: "The clocks of every connection. A listener may set its own, and a pool's own win over both.",
    also: &["timeout"],
};

pub(crate) static LISTENERS: Key = Key {
    name: "listeners",
    shape: Shape::Named(&LISTENER),
    absent: Absent::Mistake,
    doc: "The accepting sockets by name. At least one.",
    also: &[
        "listener",
        "frontend",
        "frontends",
        "entrypoint",
        "entrypoints",
        "entry_points",
    ],
};

pub(crate) static POOLS: Key = Key {
    name: "pools",
    shape: Shape::NamedOrServers(&POOL),
    absent: Absent::Mistake,
    doc: "The groups of servers by name. At least one. A pool that needs nothing else may be its list of servers \
          alone.",
    also: &[
        "pool",
        "backend",
        "backends",
        "cluster",
        "clusters",
        "upstream",
        "upstreams",
    ],
};

pub(crate) static ADMIN: Block = Block {
    what: "admin block",
    path: "admin",
    doc: "The doors of the operator.",
    keys: &[&ADMIN_SOCKET, &ADMIN_HTTP],
    later: &[],
    elsewhere: &[],
};

pub(crate) static ADMIN_SOCKET: Key = Key {
    name: "socket",
    shape: Shape::SocketPath,
    absent: Absent::Value("/run/ringgate/admin.sock"),
    doc: "The unix socket that the command line talks to; its file permissions decide who may.",
    also: &["path", "unix"],
};

pub(crate) static ADMIN_HTTP: Key = Key {
    name: "http",
    shape: Shape::HttpDoor,
    absent: Absent::Value("127.0.0.1:9900"),
    doc: "The address of the read-only HTTP door: dashboard, `/metrics`, `/live`, `/ready`, `/v1/status`. On a \
          loopback address it answers 421 to a `Host` that is neither an IP address nor `localhost`. `off` closes it.",
    also: &["bind", "address", "listen", "metrics"],
};

pub(crate) static LOG: Block = Block {
    what: "log block",
    path: "log",
    doc: "What is logged, where and in which form.",
    keys: &[&LOG_LEVEL, &LOG_ACCESS, &LOG_FORMAT],
    later: &[],
    elsewhere: &[],
};

pub(crate) static LOG_LEVEL: Key = Key {
    name: "level",
    shape: Shape::Word {
        words: LogLevel::WORDS,
        later: &[],
    },
    absent: Absent::Value("info"),
    doc: "The least severe event that the process log (standard error) still shows.",
    also: &["verbosity", "severity"],
};

pub(crate) static LOG_ACCESS: Key = Key {
    name: "access",
    shape: Shape::AccessLog,
    absent: Absent::Value("stdout"),
    doc: "Where the line per connection, or with `http` per request, goes: `stdout`, `off`, or the absolute path of a file to append to.",
    also: &["access_log", "file", "output", "target"],
};

pub(crate) static LOG_FORMAT: Key = Key {
    name: "format",
    shape: Shape::Word {
        words: LogFormat::WORDS,
        later: &[],
    },
    absent: Absent::Value("json"),
    doc: "The form of a log line.",
    also: &["encoding", "encoder"],
};

pub(crate) static LIMITS: Block = Block {
    what: "limits block",
    path: "limits",
    doc: "The bounds of the process.",
    keys: &[&LIMIT_CONNECTIONS, &LIMIT_HANDSHAKES],
    later: &[],
    elsewhere: &[],
};

pub(crate) static LIMIT_CONNECTIONS: Key = Key {
    name: "connections",
    shape: Shape::AutoOrInteger {
        least: 1,
        most: CONNECTIONS_MAX,
    },
    absent: Absent::Value("auto"),
    doc: "How many client connections may be open at once, over all listeners; more are refused and counted. `auto` is \
          what the limit of open files (`RLIMIT_NOFILE`) leaves room for.",
    also: &["maxconn", "max_connections", "worker_connections"],
};

/// What `limits.handshakes: auto` stands for.
pub(crate) const HANDSHAKES_AUTO: NonZeroU32 = NonZeroU32::new(1000).expect("it is not zero");

pub(crate) static LIMIT_HANDSHAKES: Key = Key {
    name: "handshakes",
    shape: Shape::AutoOrInteger {
        least: 1,
        most: 100_000,
    },
    absent: Absent::Value("auto"),
    doc: "How many TLS handshakes with clients a worker has under way, each of which takes some 20 KiB. A new one \
          takes the place of the one whose client has been silent for longest. `auto` is 1000. Whatever it is, \
          handshakes get the time that running connections leave, and a sixteenth of it when they leave none.",
    also: &["handshake", "maxsslconn", "maxsslrate", "tls_handshakes"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_works_is_not_called_unavailable() {
        for block in BLOCKS {
            for key in block.keys {
                assert!(
                    !block.later.contains(&key.name),
                    "{}.{}",
                    block.path,
                    key.name
                );
            }
        }
    }
}
