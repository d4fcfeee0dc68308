//! The keys of a route on a listener that speaks HTTP: its conditions, where it leads and what its requests become.

use super::texts::{FIELD_CONDITIONS, METHOD, PARAMETER_CONDITIONS, PATH_PATTERN};
use super::{ROUTE_CLIENT, ROUTE_HTTP, ROUTE_NAME, ROUTE_SNI};
use crate::key::{Absent, Block, Key, Shape};

pub(crate) static HTTP_ROUTE: Block = Block {
    what: "route",
    path: "listeners.NAME.routes[]",
    doc: "On a listener with `http`: answers the requests that fulfil all of its conditions. The conditions are \
          `host`, `path`, `methods`, `headers`, `query`, `sni` and `client`, at least one of them; a list is \
          fulfilled by any of its items, `headers` and `query` by all of theirs together. It has `pool`, `pools` or \
          `http.redirect`. A route that can never match, because an earlier one takes all that it would, is a \
          mistake. Without a `name`, it is called by its first host and path, or by its first other condition, with a \
          number when another has that name.",
    keys: &[
        &ROUTE_NAME,
        &ROUTE_HOST,
        &ROUTE_PATH,
        &ROUTE_METHODS,
        &ROUTE_HEADERS,
        &ROUTE_QUERY,
        &ROUTE_SNI,
        &ROUTE_CLIENT,
        &HTTP_ROUTE_POOL,
        &ROUTE_POOLS,
        &REWRITE,
        &ROUTE_HTTP_KEY,
    ],
    later: &[],
    elsewhere: &[
        (
            "alpn",
            "what a listener with `http` speaks is decided by `tls.alpn`, not by its routes",
        ),
        (
            "passthrough",
            "a listener with `http` ends TLS for all; pass it through on a listener of its own",
        ),
        (
            "redirect",
            "a redirect stands in the `http` of the route: `http: { redirect: … }`",
        ),
        (
            "auth",
            "`auth` stands in the `http` of the route: `http: { auth: … }`",
        ),
        (
            "require",
            "`require` stands in the `http` of the route: `http: { require: … }`",
        ),
        (
            "rate_limit",
            "`rate_limit` stands in the `http` of the route: `http: { rate_limit: … }`",
        ),
    ],
};

pub(crate) static ROUTE_HOST: Key = Key {
    name: "host",
    shape: Shape::HostPatterns,
    absent: Absent::Otherwise("any host"),
    doc: "The hosts that are asked for, without a port: `a.example.com`, `\"*.example.com\"` for all names that end \
          so, or an address. Upper and lower case are one.",
    also: &[
        "hosts",
        "hostname",
        "hostnames",
        "domain",
        "domains",
        "server_name",
        "server_names",
        "authority",
        "hdr_host",
        "vhost",
    ],
};

pub(crate) static ROUTE_PATH: Key = Key {
    name: "path",
    shape: Shape::Texts(&PATH_PATTERN),
    absent: Absent::Otherwise("any path"),
    doc: "The paths that are asked for: `/login` is this one, `/admin/*` is `/admin` and all paths that begin with \
          `/admin/`, `/*` is all. Requests are brought into a canonical form first, and patterns are written in it: \
          nothing doubled (`//`), no `.` and `..`, letters and digits as themselves and not as `%41`, and `%c3` as \
          `%C3`.",
    also: &[
        "paths",
        "prefix",
        "path_prefix",
        "pathprefix",
        "path_beg",
        "path_exact",
        "location",
        "uri",
        "url",
        "path_regexp",
        "handle_path",
    ],
};

pub(crate) static ROUTE_METHODS: Key = Key {
    name: "methods",
    shape: Shape::Texts(&METHOD),
    absent: Absent::Otherwise("any method"),
    doc: "The methods, as they are sent: `GET` is not `get`.",
    also: &["method", "verbs", "verb", "limit_except"],
};

pub(crate) static ROUTE_HEADERS: Key = Key {
    name: "headers",
    shape: Shape::Map(&FIELD_CONDITIONS),
    absent: Absent::Otherwise("any fields"),
    doc: "The fields that a request has, all of them: names with exact values, `\"*\"` for any value.",
    also: &["header", "fields", "hdr", "header_match", "header_regexp"],
};

pub(crate) static ROUTE_QUERY: Key = Key {
    name: "query",
    shape: Shape::Map(&PARAMETER_CONDITIONS),
    absent: Absent::Otherwise("any query"),
    doc: "The parameters that the query has, all of them: names with exact values, decoded, `\"*\"` for any \
          value. A `+` is a plus.",
    also: &[
        "queries",
        "query_parameters",
        "params",
        "args",
        "url_param",
        "querystring",
    ],
};

pub(crate) static HTTP_ROUTE_POOL: Key = Key {
    name: "pool",
    shape: Shape::PoolName,
    absent: Absent::Otherwise("`pools` or `http.redirect` is mandatory"),
    doc: "The name of the pool that serves these requests.",
    also: &[
        "backend",
        "use_backend",
        "upstream",
        "proxy_pass",
        "reverse_proxy",
        "cluster",
        "service",
        "to",
    ],
};

pub(crate) static ROUTE_POOLS: Key = Key {
    name: "pools",
    shape: Shape::Shares,
    absent: Absent::Otherwise("`pool` or `http.redirect` is mandatory"),
    doc: "The pools that these requests are split between, each with its share: `{ stable: 95, trial: 5 }`.",
    also: &[
        "backends",
        "weighted_clusters",
        "split_clients",
        "split",
        "weighted",
        "clusters",
        "services",
    ],
};

pub(crate) static REWRITE: Key = Key {
    name: "rewrite",
    shape: Shape::Text(&PATH_PATTERN),
    absent: Absent::Otherwise("the path is as in the request"),
    doc: "What the path becomes, before the server gets it. With `/*` at its end it takes what the star in `path` \
          stood for: `path: /api/*` with `rewrite: /*` strips `/api`. The query stays.",
    also: &[
        "strip",
        "strip_prefix",
        "stripprefix",
        "uri_strip_prefix",
        "prefix_rewrite",
        "replace_path",
        "set_path",
        "add_prefix",
        "replacepath",
    ],
};

pub(crate) static ROUTE_HTTP_KEY: Key = Key {
    name: "http",
    shape: Shape::Block(&ROUTE_HTTP),
    absent: Absent::Otherwise("as on the listener"),
    doc: "What is done with these requests, where it differs from what the listener says.",
    also: &["middlewares", "middleware", "filters", "options"],
};
