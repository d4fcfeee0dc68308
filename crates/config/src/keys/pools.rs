//! The keys of a pool, of its servers and of how these are watched.

use std::time::Duration;

use super::{HOLD_KEY, HOUR, HTTP2, POOL_TIMEOUTS, RETRY_KEY, SERVER_TLS};
use crate::key::{Absent, Block, Key, Shape};
use crate::plan::{Balance, ProxyVersion};

pub(crate) static POOL: Block = Block {
    what: "pool",
    path: "pools.NAME",
    doc: "A group of servers. NAME is 1 to 64 of the characters `A-Z a-z 0-9 _ . -`. The short form is the list of \
          servers alone.",
    keys: &[
        &BALANCE,
        &SERVERS,
        &HEALTH_KEY,
        &SERVER_TLS_KEY,
        &SEND_PROXY,
        &HTTP2,
        &RETRY_KEY,
        &HOLD_KEY,
        &POOL_TIMEOUTS_KEY,
    ],
    later: &[
        "hash_on",
        "discover",
        "outlier",
        "fail_open",
        "slow_start",
        "max_age",
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

pub(crate) static SERVER_TLS_KEY: Key = Key {
    name: "tls",
    shape: Shape::Block(&SERVER_TLS),
    absent: Absent::Otherwise("connections to the servers are not encrypted"),
    doc: "How connections to the servers are encrypted; `tls: {}` by the authorities that the system trusts.",
    also: &["ssl", "https", "proxy_ssl", "transport_socket"],
};

pub(crate) static SEND_PROXY: Key = Key {
    name: "proxy_protocol",
    shape: Shape::Word {
        words: ProxyVersion::WORDS,
        later: &[],
    },
    absent: Absent::Otherwise("no header is sent"),
    doc: "The PROXY header by which the servers learn who the client is; it is the first that they get, before TLS.",
    also: &["send_proxy", "send_proxy_v2", "proxy", "proxyprotocol"],
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
    doc: "How the servers of a pool are watched: a connection is opened and closed again, with `tls` after a \
          handshake.",
    keys: &[
        &HEALTH_INTERVAL,
        &HEALTH_TIMEOUT,
        &HEALTH_RISE,
        &HEALTH_FALL,
        &HEALTH_PORT,
        &HEALTH_TLS,
    ],
    later: &["path", "expect", "grpc", "send"],
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

pub(crate) static HEALTH_TLS: Key = Key {
    name: "tls",
    shape: Shape::Boolean,
    absent: Absent::Otherwise("`true` where the pool has `tls`, else `false`"),
    doc: "Whether a check also does a TLS handshake: by the settings of the pool's `tls`, and in a pool without it \
          without looking at the certificate. `false`: opening a connection is enough.",
    also: &["ssl", "check_ssl", "https"],
};
