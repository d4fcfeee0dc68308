//! The keys of the PROXY protocol on a listener: whether its headers are read, and from whom.

use crate::key::{Absent, Block, Key, Shape};

pub(crate) static ACCEPT_PROXY: Block = Block {
    what: "proxy_protocol block",
    path: "listeners.NAME.proxy_protocol",
    doc: "Each connection begins with a header of the PROXY protocol, version 1 or 2, that tells who the client is; \
          without one it is closed. `access`, `limits.per_client`, `client` of a route and the log go by that client.",
    keys: &[&ACCEPT, &TRUSTED],
    later: &[],
    elsewhere: &[],
};

pub(crate) static ACCEPT: Key = Key {
    name: "accept",
    shape: Shape::Boolean,
    absent: Absent::Value("true"),
    doc: "`false` is as if the block were not there.",
    also: &["enabled", "enable", "on"],
};

pub(crate) static TRUSTED: Key = Key {
    name: "trusted",
    shape: Shape::Networks,
    absent: Absent::Otherwise("**mandatory**, unless every `bind` is a unix socket"),
    doc: "The networks that may send a header; nobody else may connect, because whoever sends one can claim to be \
          anybody. Peers of a unix socket are always trusted.",
    also: &[
        "trusted_proxies",
        "trusted_ips",
        "trust",
        "from",
        "allow",
        "set_real_ip_from",
    ],
};
