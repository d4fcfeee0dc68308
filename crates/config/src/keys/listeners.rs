//! The keys of a listener: where it accepts and where its connections go. What its blocks hold is described elsewhere.

use super::{
    ACCEPT_PROXY, ACCESS, HTTP, HTTP_ROUTE, LISTENER_LIMITS, LISTENER_TIMEOUTS, ROUTE, TLS,
};
use crate::key::{Absent, Block, Key, Shape};

pub(crate) static LISTENER: Block = Block {
    what: "listener",
    path: "listeners.NAME",
    doc: "An accepting socket, or several with one name. NAME is 1 to 64 of the characters `A-Z a-z 0-9 _ . -`.",
    keys: &[
        &BIND,
        &LISTENER_POOL,
        &ROUTES,
        &TLS_KEY,
        &HTTP_KEY,
        &ACCEPT_PROXY_KEY,
        &ACCESS_KEY,
        &LISTENER_LIMITS_KEY,
        &LISTENER_TIMEOUTS_KEY,
    ],
    later: &[],
    elsewhere: &[(
        "rate_limit",
        "`rate_limit` of requests stands in `http`; new connections are bounded by `limits.per_client.rate`",
    )],
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
    absent: Absent::Otherwise(
        "**mandatory** without `routes` or `http.redirect`; with them, connections that no route matches are \
         refused, and requests get 404",
    ),
    doc: "The name of the pool that serves its connections, or with `http` its requests: those that no route matches.",
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

pub(crate) static ROUTES: Key = Key {
    name: "routes",
    shape: Shape::Routes(&ROUTE, &HTTP_ROUTE),
    absent: Absent::Otherwise("every connection goes to `pool`"),
    doc: "Which connections go to which pool, or with `http` which requests: the first route that matches decides. 1 \
          to 4096.",
    also: &[
        "route",
        "rules",
        "rule",
        "routers",
        "filter_chains",
        "map",
        "sni",
    ],
};

pub(crate) static TLS_KEY: Key = Key {
    name: "tls",
    shape: Shape::Block(&TLS),
    absent: Absent::Otherwise("TLS is passed through like everything else"),
    doc: "How it ends TLS: clients speak TLS with it, and servers get what was in it.",
    also: &[
        "ssl",
        "https",
        "certs",
        "crt",
        "certificate",
        "certificates",
    ],
};

pub(crate) static HTTP_KEY: Key = Key {
    name: "http",
    shape: Shape::Block(&HTTP),
    absent: Absent::Otherwise("bytes are relayed, whatever they mean"),
    doc: "It speaks HTTP: requests are routed, authenticated, limited and logged one by one. `http: {}` is enough.",
    also: &[
        "mode",
        "protocol",
        "http_connection_manager",
        "middlewares",
        "proto",
        "layer7",
    ],
};

pub(crate) static ACCEPT_PROXY_KEY: Key = Key {
    name: "proxy_protocol",
    shape: Shape::Block(&ACCEPT_PROXY),
    absent: Absent::Otherwise("no header is expected"),
    doc: "Whose PROXY headers tell who the client is.",
    also: &[
        "accept_proxy",
        "proxy",
        "proxyprotocol",
        "expect_proxy",
        "use_proxy_proto",
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
