//! The keys of a pool for when its servers fail: what is tried again, and who is kept waiting.

use super::{HOUR, MS};
use crate::key::{Absent, Block, Key, Shape};

pub(crate) static HTTP2: Key = Key {
    name: "http2",
    shape: Shape::Boolean,
    absent: Absent::Value("false"),
    doc: "Whether HTTP listeners speak HTTP/2 to its servers, at once, or with `tls` by ALPN. gRPC needs it.",
    also: &[
        "h2",
        "h2c",
        "grpc",
        "proto",
        "protocol",
        "http2_protocol_options",
        "versions",
        "scheme",
    ],
};

pub(crate) static RETRY_KEY: Key = Key {
    name: "retry",
    shape: Shape::OffOr(&RETRY),
    absent: Absent::Defaults,
    doc: "What is tried on another server when one fails; `off`: nothing.",
    also: &[
        "retries",
        "retry_on",
        "retry_policy",
        "redispatch",
        "proxy_next_upstream",
        "lb_retries",
        "lb_try_duration",
    ],
};

pub(crate) static HOLD_KEY: Key = Key {
    name: "hold",
    shape: Shape::OffOr(&HOLD),
    absent: Absent::Otherwise("they are refused at once, with 503"),
    doc: "Clients of HTTP listeners are kept waiting while no server is up, instead of being refused. It means \
          nothing on other listeners.",
    also: &[
        "queue",
        "wait",
        "timeout_queue",
        "maxqueue",
        "max_pending_requests",
        "park",
    ],
};

pub(crate) static RETRY: Block = Block {
    what: "retry block",
    path: "pools.NAME.retry",
    doc: "What is tried on another server. A connection that could not be opened always is; a request that a server \
          has seen only when it is idempotent (RFC 9110 §9.2.2) and the client has got nothing of an answer.",
    keys: &[&RETRY_ATTEMPTS, &RETRY_BUDGET, &RETRY_STATUSES],
    later: &[],
    elsewhere: &[],
};

pub(crate) static RETRY_ATTEMPTS: Key = Key {
    name: "attempts",
    shape: Shape::Integer { least: 0, most: 7 },
    absent: Absent::Value("2"),
    doc: "How many further servers one request or TCP connection may try.",
    also: &[
        "count",
        "retries",
        "num_retries",
        "max",
        "tries",
        "proxy_next_upstream_tries",
    ],
};

pub(crate) static RETRY_BUDGET: Key = Key {
    name: "budget",
    shape: Shape::Percent,
    absent: Absent::Value("20%"),
    doc: "How many retries are let through, in percent of the requests of the last ten seconds, so that retries do not \
          bury servers that are hardly up.",
    also: &["retry_budget", "percent", "budget_percent", "ratio"],
};

pub(crate) static RETRY_STATUSES: Key = Key {
    name: "statuses",
    shape: Shape::Statuses,
    absent: Absent::Otherwise("none"),
    doc: "The statuses of a server after which a request is tried on another one: 500 to 599, 425 and 429.",
    also: &[
        "status",
        "codes",
        "on",
        "retry_on",
        "retriable_status_codes",
        "conditions",
    ],
};

pub(crate) static HOLD: Block = Block {
    what: "hold block",
    path: "pools.NAME.hold",
    doc: "Clients of HTTP listeners are kept waiting while no server of the pool is up.",
    keys: &[&HOLD_FOR, &HOLD_MAX],
    later: &[],
    elsewhere: &[],
};

pub(crate) static HOLD_FOR: Key = Key {
    name: "for",
    shape: Shape::Duration {
        least: MS,
        most: HOUR,
    },
    absent: Absent::Value("10s"),
    doc: "How long at most; then they are refused with 503.",
    also: &["timeout", "time", "duration", "patience", "timeout_queue"],
};

pub(crate) static HOLD_MAX: Key = Key {
    name: "max",
    shape: Shape::Integer {
        least: 1,
        most: 1_000_000,
    },
    absent: Absent::Value("1000"),
    doc: "How many at once, over all workers; the next one is refused at once.",
    also: &["limit", "requests", "maxqueue", "size", "count"],
};
