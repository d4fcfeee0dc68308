//! The keys that say who may connect to a listener, how often and how fast.

use std::time::Duration;

use super::CONNECTIONS_MAX;
use crate::key::{Absent, Block, Key, Shape};

pub(crate) static ACCESS: Block = Block {
    what: "access block",
    path: "listeners.NAME.access",
    doc: "Which addresses may connect. The longest network that holds an address decides, over both lists together. An \
          address in no network is refused when there is an `allow` list, and admitted otherwise. IPv4 clients are \
          judged by IPv4 networks, also when they come in over an IPv6 socket; clients of a unix socket have no address \
          and are always admitted. Who is refused gets a reset, and `denied_address` in the log and in \
          `ringgate_listener_rejected_total`. Lists may have tens of thousands of networks.",
    keys: &[&ACCESS_ALLOW, &ACCESS_DENY],
    later: &[],
    elsewhere: &[],
};

pub(crate) static ACCESS_ALLOW: Key = Key {
    name: "allow",
    shape: Shape::Networks,
    absent: Absent::Otherwise("everybody whom `deny` does not name"),
    doc: "The networks whose clients may connect; then nobody else may.",
    also: &[
        "allowed",
        "allowlist",
        "whitelist",
        "permit",
        "accept",
        "from",
    ],
};

pub(crate) static ACCESS_DENY: Key = Key {
    name: "deny",
    shape: Shape::Networks,
    absent: Absent::Otherwise("nobody"),
    doc: "The networks whose clients may not connect.",
    also: &[
        "denied",
        "denylist",
        "blacklist",
        "block",
        "reject",
        "except",
    ],
};

pub(crate) static LISTENER_LIMITS: Block = Block {
    what: "limits block of a listener",
    path: "listeners.NAME.limits",
    doc: "The bounds of a listener. What is not set here is bounded by the process alone.",
    keys: &[&LISTENER_CONNECTIONS, &PER_CLIENT_KEY, &BANDWIDTH],
    later: &[],
    elsewhere: &[
        ("rate", "`rate` bounds one client: `per_client.rate`"),
        (
            "ipv6_prefix",
            "`ipv6_prefix` says what one client is: `per_client.ipv6_prefix`",
        ),
        ("handshakes", "`handshakes` holds for the whole process"),
    ],
};

pub(crate) static LISTENER_CONNECTIONS: Key = Key {
    name: "connections",
    shape: Shape::Integer {
        least: 1,
        most: CONNECTIONS_MAX,
    },
    absent: Absent::Otherwise("`limits.connections` of the process"),
    doc: "How many of its connections may be open at once, over all workers; more are reset, counted and logged as \
          `limit_connections`.",
    also: &["maxconn", "max_connections", "limit_conn"],
};

pub(crate) static PER_CLIENT_KEY: Key = Key {
    name: "per_client",
    shape: Shape::Block(&PER_CLIENT),
    absent: Absent::Otherwise("no bound"),
    doc: "The bounds of each client.",
    also: &["client", "per_ip", "per_source", "client_ip"],
};

pub(crate) static BANDWIDTH: Key = Key {
    name: "bandwidth",
    shape: Shape::Bandwidth {
        least: 1 << 10,
        most: 1 << 40,
    },
    absent: Absent::Otherwise("no bound"),
    doc: "How much may be relayed per second, over all its connections and both directions together. Connections take \
          turns and wait; nobody is refused, and that wait is no silence to `idle`.",
    also: &[
        "rate_limit",
        "bwlim",
        "proxy_download_rate",
        "proxy_upload_rate",
        "throughput",
    ],
};

pub(crate) static PER_CLIENT: Block = Block {
    what: "per_client block",
    path: "listeners.NAME.limits.per_client",
    doc: "The bounds of each client of a listener, exact over all workers. A client is an IPv4 address, or the IPv6 \
          addresses that share their first bits. Clients of a unix socket are not told apart and not bounded here. As \
          many clients are known at once as the listener may have connections open, twice, at least 4096 and at most \
          1048576; a client that has nothing open is forgotten for a new one, unless it is over its rate. In the rare \
          case that all that could make room are not to be forgotten, the new one is refused as `overload`.",
    keys: &[&CLIENT_CONNECTIONS, &CLIENT_RATE, &IPV6_PREFIX],
    later: &[],
    elsewhere: &[],
};

pub(crate) static CLIENT_CONNECTIONS: Key = Key {
    name: "connections",
    shape: Shape::Integer {
        least: 1,
        most: CONNECTIONS_MAX,
    },
    absent: Absent::Otherwise("no bound"),
    doc: "How many connections a client may have open at once; more are reset, counted and logged as \
          `limit_client_connections`.",
    also: &["maxconn", "max_connections", "limit_conn", "conn_cur"],
};

pub(crate) static CLIENT_RATE: Key = Key {
    name: "rate",
    shape: Shape::Rate {
        count_max: 1_000_000,
        period_least: Duration::from_secs(1),
        period_most: Duration::from_secs(3600),
    },
    absent: Absent::Otherwise("no bound"),
    doc: "How many connections a client may open: `50/s`, `100/10s`. After a quiet time it may open a period's worth at \
          once. More are reset, counted and logged as `limit_client_rate`; those that are refused do not count.",
    also: &["connection_rate", "conn_rate", "rate_limit", "limit_req"],
};

pub(crate) static IPV6_PREFIX: Key = Key {
    name: "ipv6_prefix",
    shape: Shape::Integer {
        least: 1,
        most: 128,
    },
    absent: Absent::Value("64"),
    doc: "How many leading bits the IPv6 addresses of one client share; a host usually has a /64 to itself.",
    also: &["prefix", "ipv6_mask"],
};
