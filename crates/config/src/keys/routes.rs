//! The keys of a route: its conditions and where it leads.

use crate::key::{Absent, Block, Key, Shape};

pub(crate) static ROUTE: Block = Block {
    what: "route",
    path: "listeners.NAME.routes[]",
    doc: "On a listener without `http`: sends the connections that fulfil all of its conditions to a pool. The \
          conditions are `sni`, `alpn` and `client`, at least one of them; a list is fulfilled by any of its items. A \
          route that can never match, because an earlier one takes all that it would, is a mistake. `sni` and `alpn` \
          are read from the first bytes of TLS; a client that speaks something else fulfils neither.",
    keys: &[
        &ROUTE_NAME,
        &ROUTE_SNI,
        &ROUTE_ALPN,
        &ROUTE_CLIENT,
        &ROUTE_POOL,
        &PASSTHROUGH,
    ],
    later: &[],
    elsewhere: &[
        (
            "host",
            "conditions of HTTP ask for `http: {}` on the listener; for the name that clients ask for by TLS, set \
            `sni`",
        ),
        ("path", NEEDS_HTTP),
        ("methods", NEEDS_HTTP),
        ("headers", NEEDS_HTTP),
        ("query", NEEDS_HTTP),
        (
            "rewrite",
            "what becomes of requests asks for `http: {}` on the listener",
        ),
        (
            "http",
            "what is done with requests asks for `http: {}` on the listener, too",
        ),
        (
            "pools",
            "to split requests between pools, set `http: {}` on the listener; for connections, set `pool`",
        ),
    ],
};

const NEEDS_HTTP: &str = "conditions of HTTP ask for `http: {}` on the listener";

pub(crate) static ROUTE_NAME: Key = Key {
    name: "name",
    shape: Shape::Name,
    absent: Absent::Otherwise("its first conditions"),
    doc: "What it is called in the log and in metrics; unique among the names that the routes of the listener are \
          given.",
    also: &["id", "label"],
};

pub(crate) static ROUTE_SNI: Key = Key {
    name: "sni",
    shape: Shape::HostPatterns,
    absent: Absent::Otherwise("any name, or none"),
    doc: "The names that clients ask for by SNI: `a.example.com`, or `\"*.example.com\"` for all names that end so, \
          with one label before it or several, but not `example.com` itself. Upper and lower case are one.",
    also: &[
        "server_name",
        "server_names",
        "snis",
        "hosts",
        "hostname",
        "hostnames",
        "domain",
        "domains",
        "req_ssl_sni",
        "ssl_fc_sni",
        "hostsni",
    ],
};

pub(crate) static ROUTE_ALPN: Key = Key {
    name: "alpn",
    shape: Shape::Protocols,
    absent: Absent::Otherwise("any, or none"),
    doc: "The protocols that clients offer by ALPN, such as `h2`, `http/1.1` or `postgresql`.",
    also: &[
        "protocol",
        "protocols",
        "application_protocols",
        "req_ssl_alpn",
    ],
};

pub(crate) static ROUTE_CLIENT: Key = Key {
    name: "client",
    shape: Shape::Networks,
    absent: Absent::Otherwise("from anywhere"),
    doc: "Where clients come from. Clients of a unix socket have no address and come from nowhere, unless a PROXY \
          header tells.",
    also: &[
        "clients",
        "src",
        "source",
        "client_ip",
        "source_prefix_ranges",
        "from",
    ],
};

pub(crate) static ROUTE_POOL: Key = Key {
    name: "pool",
    shape: Shape::PoolName,
    absent: Absent::Mistake,
    doc: "The name of the pool that serves these connections.",
    also: &[
        "pools",
        "backend",
        "use_backend",
        "upstream",
        "proxy_pass",
        "cluster",
        "service",
        "to",
    ],
};

pub(crate) static PASSTHROUGH: Key = Key {
    name: "passthrough",
    shape: Shape::Boolean,
    absent: Absent::Value("false"),
    doc: "On a listener with `tls`: TLS is not ended for these connections, their server gets it as the client sent \
          it. Such a route has `sni` or `alpn`. Without `tls` that is so for all routes.",
    also: &["tls_passthrough", "pass_through", "ssl_passthrough"],
};
