//! The one description of every key: name, form, bounds, default, meaning, what other products call it. The decoder,
//! the mistakes, the JSON Schema and the reference all read it from here, so that they cannot disagree. A key is here
//! exactly when it works.

mod admission;

use std::time::Duration;

use crate::key::{Absent, Block, Key, Shape};
use crate::plan::{Balance, Io, LogFormat, LogLevel};

pub(crate) use self::admission::*;

/// Every block, in the order of the reference.
pub(crate) static BLOCKS: &[&Block] = &[
    &ROOT,
    &ADMIN,
    &LOG,
    &LIMITS,
    &TIMEOUTS,
    &LISTENER,
    &ACCESS,
    &LISTENER_LIMITS,
    &PER_CLIENT,
    &LISTENER_TIMEOUTS,
    &POOL,
    &SERVER,
    &HEALTH,
    &POOL_TIMEOUTS,
];

const MS: Duration = Duration::from_millis(1);
/// The most connections that a limit can name.
const CONNECTIONS_MAX: u32 = 16_777_216;

const HOUR: Duration = Duration::from_secs(3600);
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
    doc: "Where the line per connection goes: `stdout`, `off`, or the absolute path of a file to append to.",
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
    keys: &[&LIMIT_CONNECTIONS],
    later: &["handshakes"],
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

pub(crate) static TIMEOUTS: Block = Block {
    what: "timeouts block",
    path: "timeouts",
    doc: "The clocks of every connection, and of a stopping process.",
    keys: &[&CONNECT, &FIRST_BYTE, &IDLE, &HALF_CLOSED, &DRAIN],
    later: LATER_CLOCKS,
    elsewhere: &[],
};

const LATER_CLOCKS: &[&str] = &["handshake", "header", "response"];

const NO_DRAIN_HERE: &[(&str, &str)] = &[(
    "drain",
    "`drain` holds for the whole process; set it in `timeouts` at the top of the file",
)];

pub(crate) static LISTENER_TIMEOUTS: Block = Block {
    what: "timeouts block of a listener",
    path: "listeners.NAME.timeouts",
    doc: "The clocks of this listener's connections. What is not set here is that of the process.",
    keys: &[
        &LISTENER_CONNECT,
        &LISTENER_FIRST_BYTE,
        &LISTENER_IDLE,
        &LISTENER_HALF_CLOSED,
    ],
    later: LATER_CLOCKS,
    elsewhere: NO_DRAIN_HERE,
};

pub(crate) static POOL_TIMEOUTS: Block = Block {
    what: "timeouts block of a pool",
    path: "pools.NAME.timeouts",
    doc: "The clocks of the connections that this pool serves. What is not set here is that of the listener.",
    keys: &[
        &POOL_CONNECT,
        &POOL_FIRST_BYTE,
        &POOL_IDLE,
        &POOL_HALF_CLOSED,
    ],
    later: LATER_CLOCKS,
    elsewhere: NO_DRAIN_HERE,
};

/// The four keys that stand in every block of timeouts differ only in what holds when they are not set.
macro_rules! clocks {
    ($connect:ident $first_byte:ident $idle:ident $half_closed:ident:
     $connect_absent:expr, $first_byte_absent:expr, $idle_absent:expr, $half_closed_absent:expr) => {
        pub(crate) static $connect: Key = Key {
            name: "connect",
            shape: Shape::Duration {
                least: MS,
                most: HOUR,
            },
            absent: $connect_absent,
            doc: "How long a connection attempt to one server may take.",
            also: &["connection", "dial", "timeout_connect", "connect_timeout"],
        };

        pub(crate) static $first_byte: Key = Key {
            name: "first_byte",
            shape: Shape::Duration {
                least: MS,
                most: MONTH,
            },
            absent: $first_byte_absent,
            doc: "How long a server may take to say its first byte, once the client has spoken: from the client's \
                  latest byte on. It ends with the server's first byte, and does not run while the client is silent \
                  from the start; that is `idle`. Where a server never answers (syslog), or only after \
                  long, set it as long as `idle`.",
            also: &[
                "response",
                "request",
                "answer",
                "ttfb",
                "timeout_server",
                "first_byte_timeout",
            ],
        };

        pub(crate) static $idle: Key = Key {
            name: "idle",
            shape: Shape::Duration {
                least: MS,
                most: MONTH,
            },
            absent: $idle_absent,
            doc: "How long both directions of a connection may be silent before it is closed.",
            also: &[
                "client",
                "server",
                "tunnel",
                "keepalive",
                "proxy_timeout",
                "idle_timeout",
                "inactivity",
            ],
        };

        pub(crate) static $half_closed: Key = Key {
            name: "half_closed",
            shape: Shape::Duration {
                least: MS,
                most: MONTH,
            },
            absent: $half_closed_absent,
            doc: "How long the other direction may be silent after one side has finished sending.",
            also: &["client_fin", "server_fin", "fin", "half_close"],
        };
    };
}

clocks!(CONNECT FIRST_BYTE IDLE HALF_CLOSED:
    Absent::Value("3s"), Absent::Value("30s"), Absent::Value("5m"), Absent::Value("30s"));
clocks!(LISTENER_CONNECT LISTENER_FIRST_BYTE LISTENER_IDLE LISTENER_HALF_CLOSED:
    OF_THE_PROCESS, OF_THE_PROCESS, OF_THE_PROCESS, OF_THE_PROCESS);
clocks!(POOL_CONNECT POOL_FIRST_BYTE POOL_IDLE POOL_HALF_CLOSED:
    OF_THE_LISTENER, OF_THE_LISTENER, OF_THE_LISTENER, OF_THE_LISTENER);

const OF_THE_PROCESS: Absent = Absent::Otherwise("that of the process");
const OF_THE_LISTENER: Absent = Absent::Otherwise("that of the listener");

pub(crate) static DRAIN: Key = Key {
    name: "drain",
    shape: Shape::Duration {
        least: Duration::ZERO,
        most: MONTH,
    },
    absent: Absent::Value("30s"),
    doc: "How long a stopping process waits for open connections to finish; `0s` closes them at once.",
    also: &[
        "shutdown",
        "graceful",
        "grace",
        "hard_stop_after",
        "worker_shutdown_timeout",
    ],
};

pub(crate) static LISTENER: Block = Block {
    what: "listener",
    path: "listeners.NAME",
    doc: "An accepting socket, or several with one name. NAME is 1 to 64 of the characters `A-Z a-z 0-9 _ . -`.",
    keys: &[
        &BIND,
        &LISTENER_POOL,
        &ACCESS_KEY,
        &LISTENER_LIMITS_KEY,
        &LISTENER_TIMEOUTS_KEY,
    ],
    later: &["proxy_protocol", "tls", "http", "routes"],
    elsewhere: &[],
};

pub(crate) static BIND: Key = Key {
    name: "bind",
    shape: Shape::Binds,
    absent: Absent::Mistake,
    doc: "Where to accept: `\":443\"` (all addresses, IPv4 and IPv6), `1.2.3.4:443`, `\"[::]:443\"` (IPv6 only), \
          `unix:/path`, or a list of these. No address may stand in the file twice. Every user may write to the socket \
          file of a unix listener (mode 0666): the permissions of its folder decide who can connect.",
    also: &["listen", "address", "addr", "port", "on"],
};

pub(crate) static LISTENER_POOL: Key = Key {
    name: "pool",
    shape: Shape::PoolName,
    absent: Absent::Mistake,
    doc: "The name of the pool that serves its connections.",
    also: &[
        "pools",
        "backend",
        "default_backend",
        "use_backend",
        "upstream",
        "proxy_pass",
        "cluster",
        "to",
    ],
};

pub(crate) static ACCESS_KEY: Key = Key {
    name: "access",
    shape: Shape::Block(&ACCESS),
    absent: Absent::Otherwise("everybody"),
    doc: "Which addresses may connect.",
    also: &["acl", "allow", "deny", "whitelist", "blacklist", "firewall"],
};

pub(crate) static LISTENER_LIMITS_KEY: Key = Key {
    name: "limits",
    shape: Shape::Block(&LISTENER_LIMITS),
    absent: Absent::Otherwise("those of the process"),
    doc: "Its bounds, and those of each client.",
    also: &["limit", "maxconn", "rate_limit"],
};

pub(crate) static LISTENER_TIMEOUTS_KEY: Key = Key {
    name: "timeouts",
    shape: Shape::Block(&LISTENER_TIMEOUTS),
    absent: Absent::Defaults,
    doc: "The clocks of its connections.",
    also: &["timeout"],
};

pub(crate) static POOL: Block = Block {
    what: "pool",
    path: "pools.NAME",
    doc: "A group of servers. NAME is 1 to 64 of the characters `A-Z a-z 0-9 _ . -`. The short form is the list of \
          servers alone.",
    keys: &[&BALANCE, &SERVERS, &HEALTH_KEY, &POOL_TIMEOUTS_KEY],
    later: &[
        "hash_on",
        "discover",
        "outlier",
        "fail_open",
        "slow_start",
        "retry",
        "hold",
        "max_age",
        "tls",
        "proxy_protocol",
        "sticky",
    ],
    elsewhere: &[],
};

pub(crate) static BALANCE: Key = Key {
    name: "balance",
    shape: Shape::Word {
        words: Balance::WORDS,
        later: &["source_hash", "maglev", "least_time"],
    },
    absent: Absent::Value("round_robin"),
    doc: "How the server of a new connection is chosen.",
    also: &[
        "algorithm",
        "policy",
        "lb_policy",
        "lb_algorithm",
        "method",
        "strategy",
        "load_balancing",
    ],
};

pub(crate) static SERVERS: Key = Key {
    name: "servers",
    shape: Shape::Servers,
    absent: Absent::Mistake,
    doc: "The members: addresses, or blocks with more than an address. 1 to 4096; at least one with a weight above 0.",
    also: &[
        "server",
        "backend",
        "backends",
        "endpoint",
        "endpoints",
        "node",
        "nodes",
        "member",
        "members",
        "targets",
        "hosts",
    ],
};

pub(crate) static HEALTH_KEY: Key = Key {
    name: "health",
    shape: Shape::OffOr(&HEALTH),
    absent: Absent::Defaults,
    doc: "How the servers are watched; `off` counts every server as up.",
    also: &[
        "check",
        "checks",
        "health_check",
        "healthcheck",
        "health_checks",
        "option_httpchk",
    ],
};

pub(crate) static POOL_TIMEOUTS_KEY: Key = Key {
    name: "timeouts",
    shape: Shape::Block(&POOL_TIMEOUTS),
    absent: Absent::Defaults,
    doc: "The clocks of the connections that it serves.",
    also: &["timeout"],
};

pub(crate) static SERVER: Block = Block {
    what: "server",
    path: "pools.NAME.servers[]",
    doc: "A member of a pool; its address alone may stand for it.",
    keys: &[&SERVER_ADDRESS, &SERVER_NAME, &SERVER_WEIGHT],
    later: &["backup", "max_connections"],
    elsewhere: &[],
};

pub(crate) static SERVER_ADDRESS: Key = Key {
    name: "address",
    shape: Shape::Address,
    absent: Absent::Mistake,
    doc: "Where it is reached: `10.0.0.1:80`, `\"[fd00::1]:80\"` or `unix:/path`.",
    also: &["addr", "host", "ip", "url", "endpoint", "socket_address"],
};

pub(crate) static SERVER_NAME: Key = Key {
    name: "name",
    shape: Shape::Name,
    absent: Absent::Otherwise("the address"),
    doc: "What it is called in the log, in metrics and on the command line; unique within the pool.",
    also: &["id", "label"],
};

pub(crate) static SERVER_WEIGHT: Key = Key {
    name: "weight",
    shape: Shape::Integer {
        least: 0,
        most: 256,
    },
    absent: Absent::Value("1"),
    doc: "Its share of new connections against the other servers of the pool; 0 gets none.",
    also: &["share", "priority"],
};

const HEALTH_LEAST: Duration = Duration::from_millis(10);

pub(crate) static HEALTH: Block = Block {
    what: "health block",
    path: "pools.NAME.health",
    doc: "How the servers of a pool are watched: a connection is opened and closed again.",
    keys: &[
        &HEALTH_INTERVAL,
        &HEALTH_TIMEOUT,
        &HEALTH_RISE,
        &HEALTH_FALL,
        &HEALTH_PORT,
    ],
    later: &["path", "expect", "grpc", "send", "tls"],
    elsewhere: &[],
};

pub(crate) static HEALTH_INTERVAL: Key = Key {
    name: "interval",
    shape: Shape::Duration {
        least: HEALTH_LEAST,
        most: HOUR,
    },
    absent: Absent::Value("2s"),
    doc: "From the start of one check of a server to the start of the next.",
    also: &["inter", "every", "period", "frequency"],
};

/// The timeout of a check when the file gives none and the interval leaves room for it.
pub(crate) const HEALTH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);

pub(crate) static HEALTH_TIMEOUT: Key = Key {
    name: "timeout",
    shape: Shape::Duration {
        least: HEALTH_LEAST,
        most: HOUR,
    },
    absent: Absent::Otherwise("`1s`, or the interval when that is shorter"),
    doc: "How long one check may take; at most the interval.",
    also: &["timeouts", "timeout_check"],
};

pub(crate) static HEALTH_RISE: Key = Key {
    name: "rise",
    shape: Shape::Integer {
        least: 1,
        most: 100,
    },
    absent: Absent::Value("2"),
    doc: "How many checks in a row must succeed before a server that is down counts as up.",
    also: &["healthy_threshold", "passes", "success", "successes"],
};

pub(crate) static HEALTH_FALL: Key = Key {
    name: "fall",
    shape: Shape::Integer {
        least: 1,
        most: 100,
    },
    absent: Absent::Value("3"),
    doc: "How many checks in a row must fail before a server that is up counts as down.",
    also: &[
        "unhealthy_threshold",
        "fails",
        "failures",
        "max_fails",
        "retries",
    ],
};

pub(crate) static HEALTH_PORT: Key = Key {
    name: "port",
    shape: Shape::Integer {
        least: 1,
        most: 65535,
    },
    absent: Absent::Otherwise("the server's own"),
    doc: "The port to check on, at each server's IP address.",
    also: &["check_port"],
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
