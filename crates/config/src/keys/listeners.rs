//! The keys of a listener: where it accepts and where its connections go. What its blocks hold is described elsewhere.

use super::{ACCESS, LISTENER_LIMITS, LISTENER_TIMEOUTS};
use crate::key::{Absent, Block, Key, Shape};

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
