//! The keys of a listener that speaks HTTP: what it demands of requests, does with them and bounds. Which request goes
//! where is described with the routes.

use super::texts::{COUNTED_BY, FIELD, SCOPE, SET_FIELDS, TARGET};
use super::{AUTH_KEY, DAY, ROUTE_AUTH_KEY, SECOND};
use crate::key::{Absent, Block, Key, Shape};

pub(crate) static HTTP: Block = Block {
    what: "http block",
    path: "listeners.NAME.http",
    doc: "The listener speaks HTTP/1.1 and HTTP/2 with clients. What stands here holds for the requests that no route \
          matches, and for those of its routes where these say nothing in an `http` of their own. It is done in this \
          order: `redirect`, `rate_limit` by address and field, `auth`, `require`, `rate_limit` by consumer, \
          `limits.body`, `headers`.",
    keys: &[
        &TRUSTED_PROXIES,
        &AUTH_KEY,
        &REQUIRE,
        &RATE_LIMITS,
        &HEADERS_KEY,
        &REDIRECT_KEY,
        &HTTP_LIMITS_KEY,
    ],
    later: &["compress", "cache"],
    elsewhere: &[(
        "routes",
        "`routes` stands beside `http`: `listeners.NAME.routes`",
    )],
};

pub(crate) static ROUTE_HTTP: Block = Block {
    what: "http block of a route",
    path: "listeners.NAME.routes[].http",
    doc: "What is done with the requests of a route. Each key that is set here replaces that of the listener's `http`, \
          as a whole; what is not set is as there, but for `redirect`.",
    keys: &[
        &ROUTE_AUTH_KEY,
        &ROUTE_REQUIRE,
        &ROUTE_RATE_LIMITS,
        &ROUTE_HEADERS_KEY,
        &ROUTE_REDIRECT_KEY,
        &ROUTE_HTTP_LIMITS_KEY,
    ],
    later: &["compress", "cache"],
    elsewhere: &[(
        "trusted_proxies",
        "`trusted_proxies` holds for the whole listener: `listeners.NAME.http.trusted_proxies`",
    )],
};

pub(crate) static TRUSTED_PROXIES: Key = Key {
    name: "trusted_proxies",
    shape: Shape::Networks,
    absent: Absent::Otherwise("nobody is; the client is who connects"),
    doc: "The proxies in front whose `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Request-Id` are believed. What \
          anybody else sends of these is replaced.",
    also: &[
        "trusted",
        "trusted_proxy",
        "trusted_ips",
        "set_real_ip_from",
        "real_ip",
        "xff_num_trusted_hops",
        "forwarded_headers",
        "forwardfor",
    ],
};

const ALSO_REQUIRE: &[&str] = &[
    "requires",
    "required",
    "scopes",
    "scope",
    "permissions",
    "roles",
    "authorize",
    "authorization",
    "rbac",
    "allow",
];

pub(crate) static REQUIRE: Key = Key {
    name: "require",
    shape: Shape::OffOrTexts(&SCOPE),
    absent: Absent::Otherwise("no scope is"),
    doc: "The scopes that a consumer must have, all of them; whoever lacks one gets 403. Only together with `auth`.",
    also: ALSO_REQUIRE,
};

pub(crate) static ROUTE_REQUIRE: Key = Key {
    name: "require",
    shape: Shape::OffOrTexts(&SCOPE),
    absent: Absent::Otherwise("as on the listener; none with `auth: off`"),
    doc: "The scopes that a consumer must have, all of them; `off` for none.",
    also: ALSO_REQUIRE,
};

const ALSO_RATE_LIMIT: &[&str] = &[
    "rate_limits",
    "rate",
    "ratelimit",
    "limit_req",
    "throttle",
    "stick_table",
    "local_ratelimit",
    "quota",
];

pub(crate) static RATE_LIMITS: Key = Key {
    name: "rate_limit",
    shape: Shape::OffOrBlocks(&RATE_LIMIT),
    absent: Absent::Otherwise("no bound"),
    doc: "How many requests are let through; more get 429 and when to come again. Of a list, all hold.",
    also: ALSO_RATE_LIMIT,
};

pub(crate) static ROUTE_RATE_LIMITS: Key = Key {
    name: "rate_limit",
    shape: Shape::OffOrBlocks(&RATE_LIMIT),
    absent: Absent::Otherwise("as on the listener"),
    doc: "How many requests are let through, counted apart from those of the listener; `off` for any number.",
    also: ALSO_RATE_LIMIT,
};

pub(crate) static RATE_LIMIT: Block = Block {
    what: "rate_limit block",
    path: "listeners.NAME.http.rate_limit",
    doc: "How many requests are let through, exact over all workers. They are spread over the period: after a quiet \
          time `burst` of them may come at once, and then one every period divided by the number. Requests that are \
          refused do not count.",
    keys: &[&LIMIT_RATE, &LIMIT_BURST, &LIMIT_BY],
    later: &["shared"],
    elsewhere: &[],
};

pub(crate) static LIMIT_RATE: Key = Key {
    name: "rate",
    shape: Shape::Rate {
        count_max: 1_000_000,
        period_least: SECOND,
        period_most: DAY,
    },
    absent: Absent::Mistake,
    doc: "So many per period: `100/s`, `100/10s`, `6000/m`.",
    also: &[
        "average",
        "requests",
        "limit",
        "events",
        "requests_per_unit",
        "max",
    ],
};

pub(crate) static LIMIT_BURST: Key = Key {
    name: "burst",
    shape: Shape::Integer {
        least: 1,
        most: 1_000_000,
    },
    absent: Absent::Otherwise("the number of `rate`: a period's worth"),
    doc: "How many may come at once after a quiet time.",
    also: &["bursts", "max_tokens", "bucket", "nodelay"],
};

pub(crate) static LIMIT_BY: Key = Key {
    name: "by",
    shape: Shape::Text(&COUNTED_BY),
    absent: Absent::Value("client_ip"),
    doc: "For whom it is counted: `client_ip` is the address of the client, an IPv6 one by its /64; `consumer` whom \
          `auth` has found, and `header:NAME` the value of a field, both the address where there is none.",
    also: &[
        "key",
        "per",
        "on",
        "source",
        "zone",
        "source_criterion",
        "descriptors",
    ],
};

const ALSO_HEADERS: &[&str] = &[
    "header",
    "fields",
    "add_header",
    "proxy_set_header",
    "http_request",
    "http_response",
    "request_headers_to_add",
    "custom_request_headers",
    "header_up",
    "header_down",
];

pub(crate) static HEADERS_KEY: Key = Key {
    name: "headers",
    shape: Shape::Block(&HEADERS),
    absent: Absent::Otherwise("none are changed"),
    doc: "Fields that are changed on their way.",
    also: ALSO_HEADERS,
};

pub(crate) static ROUTE_HEADERS_KEY: Key = Key {
    name: "headers",
    shape: Shape::Block(&HEADERS),
    absent: Absent::Otherwise("as on the listener"),
    doc: "Fields that are changed on their way, in place of all that the listener changes.",
    also: ALSO_HEADERS,
};

pub(crate) static HEADERS: Block = Block {
    what: "headers block",
    path: "listeners.NAME.http.headers",
    doc: "Fields that are changed on their way. Those that frame a message or belong to one connection are not to be \
          changed, such as `content-length` and `connection`.",
    keys: &[&REQUEST_CHANGES_KEY, &RESPONSE_CHANGES_KEY],
    later: &[],
    elsewhere: &[
        (
            "set",
            "say for which way: `request: { set: … }` or `response: { set: … }`",
        ),
        (
            "remove",
            "say for which way: `request: { remove: … }` or `response: { remove: … }`",
        ),
    ],
};

pub(crate) static REQUEST_CHANGES_KEY: Key = Key {
    name: "request",
    shape: Shape::Block(&REQUEST_CHANGES),
    absent: Absent::Otherwise("none"),
    doc: "Fields of requests, before the server gets them.",
    also: &["requests", "req", "up", "to_server", "upstream"],
};

pub(crate) static RESPONSE_CHANGES_KEY: Key = Key {
    name: "response",
    shape: Shape::Block(&RESPONSE_CHANGES),
    absent: Absent::Otherwise("none"),
    doc: "Fields of answers of servers, before the client gets them; redirects have those that are set, too.",
    also: &[
        "responses",
        "resp",
        "res",
        "down",
        "to_client",
        "downstream",
    ],
};

pub(crate) static REQUEST_CHANGES: Block = Block {
    what: "request block",
    path: "listeners.NAME.http.headers.request",
    doc: "Fields of requests that are changed, after what the client sent was made safe. `host` may be set.",
    keys: &[&SET, &REMOVE],
    later: &[],
    elsewhere: &[],
};

pub(crate) static RESPONSE_CHANGES: Block = Block {
    what: "response block",
    path: "listeners.NAME.http.headers.response",
    doc: "Fields of answers that are changed.",
    keys: &[&SET, &REMOVE],
    later: &[],
    elsewhere: &[],
};

pub(crate) static SET: Key = Key {
    name: "set",
    shape: Shape::Map(&SET_FIELDS),
    absent: Absent::Otherwise("none"),
    doc: "Fields that are set, whatever there was; a value is written as it is sent, in visible ASCII characters.",
    also: &[
        "add",
        "append",
        "replace",
        "set_header",
        "headers_to_add",
        "put",
    ],
};

pub(crate) static REMOVE: Key = Key {
    name: "remove",
    shape: Shape::Texts(&FIELD),
    absent: Absent::Otherwise("none"),
    doc: "Fields that are removed.",
    also: &[
        "delete",
        "del",
        "del_header",
        "unset",
        "hide",
        "headers_to_remove",
    ],
};

const ALSO_REDIRECT: &[&str] = &[
    "redirects",
    "return",
    "redir",
    "redirect_scheme",
    "https_redirect",
    "force_https",
    "rewrite",
];

pub(crate) static REDIRECT_KEY: Key = Key {
    name: "redirect",
    shape: Shape::Redirect(&REDIRECT),
    absent: Absent::Otherwise("none"),
    doc: "Where clients are sent whose requests no route matches; then the listener has no `pool`. `https` is the same \
          host, path and query by `https`.",
    also: ALSO_REDIRECT,
};

pub(crate) static ROUTE_REDIRECT_KEY: Key = Key {
    name: "redirect",
    shape: Shape::Redirect(&REDIRECT),
    absent: Absent::Otherwise("none"),
    doc: "Where clients are sent, before anything else; then the route has no pool. `https` is the same host, path and \
          query by `https`; behind a proxy that ends TLS, only requests with `headers: { x-forwarded-proto: http }` are \
          to be sent there.",
    also: ALSO_REDIRECT,
};

pub(crate) static REDIRECT: Block = Block {
    what: "redirect block",
    path: "listeners.NAME.http.redirect",
    doc: "Where clients are sent. They are answered at once: before limits, `auth` and all else.",
    keys: &[&REDIRECT_TO, &REDIRECT_STATUS],
    later: &[],
    elsewhere: &[],
};

pub(crate) static REDIRECT_TO: Key = Key {
    name: "to",
    shape: Shape::Text(&TARGET),
    absent: Absent::Mistake,
    doc: "The target: `https`, or a URL or absolute path in which `$host`, `$path` and `$query` stand for those of the \
          request; `$query` has its `?`, and is empty when there is none.",
    also: &["url", "location", "target", "uri", "prefix", "replacement"],
};

/// The statuses of a redirect (RFC 9110 §15.4).
pub(crate) const REDIRECT_STATUSES: &[u16] = &[301, 302, 303, 307, 308];

pub(crate) static REDIRECT_STATUS: Key = Key {
    name: "status",
    shape: Shape::Status(REDIRECT_STATUSES),
    absent: Absent::Value("308"),
    doc: "The status of the answer: 301 and 308 for good, 302, 303 and 307 for now; 307 and 308 keep the method.",
    also: &["code", "response_code", "permanent"],
};

pub(crate) static HTTP_LIMITS_KEY: Key = Key {
    name: "limits",
    shape: Shape::Block(&HTTP_LIMITS),
    absent: Absent::Defaults,
    doc: "The bounds of requests.",
    also: &["limit", "max", "buffer"],
};

pub(crate) static ROUTE_HTTP_LIMITS_KEY: Key = Key {
    name: "limits",
    shape: Shape::Block(&ROUTE_HTTP_LIMITS),
    absent: Absent::Otherwise("as on the listener"),
    doc: "The bounds of its requests.",
    also: &["limit", "max", "buffer"],
};

pub(crate) static HTTP_LIMITS: Block = Block {
    what: "limits block of http",
    path: "listeners.NAME.http.limits",
    doc: "The bounds of requests. What is over one of them is refused with a status that tells which: 431, 413, 429.",
    keys: &[
        &HEADER_LIMIT,
        &FIELDS_LIMIT,
        &BODY_LIMIT,
        &REQUESTS_LIMIT,
        &STREAMS_LIMIT,
    ],
    later: &[],
    elsewhere: &[],
};

pub(crate) static ROUTE_HTTP_LIMITS: Block = Block {
    what: "limits block of a route",
    path: "listeners.NAME.routes[].http.limits",
    doc: "The bounds of the requests of a route. The others hold before a route is known: for the whole listener.",
    keys: &[&ROUTE_BODY_LIMIT],
    later: &[],
    elsewhere: &[
        (
            "header",
            "`header` holds for the whole listener: `http.limits.header`",
        ),
        (
            "fields",
            "`fields` holds for the whole listener: `http.limits.fields`",
        ),
        (
            "requests_per_connection",
            "`requests_per_connection` holds for the whole listener: `http.limits.requests_per_connection`",
        ),
        (
            "streams",
            "`streams` holds for the whole listener: `http.limits.streams`",
        ),
    ],
};

pub(crate) static HEADER_LIMIT: Key = Key {
    name: "header",
    shape: Shape::Size {
        least: 1 << 10,
        most: 1 << 20,
    },
    absent: Absent::Value("32KiB"),
    doc: "How large the head of a request may be: its line and its fields.",
    also: &[
        "headers",
        "header_size",
        "max_header",
        "tune_bufsize",
        "large_client_header_buffers",
        "max_request_headers_kb",
    ],
};

pub(crate) static FIELDS_LIMIT: Key = Key {
    name: "fields",
    shape: Shape::Integer {
        least: 10,
        most: 1000,
    },
    absent: Absent::Value("100"),
    doc: "How many fields a request may have; each part of a cookie is one.",
    also: &["max_headers", "maxhdr", "header_count", "max_headers_count"],
};

const ALSO_BODY: &[&str] = &[
    "body_size",
    "max_body",
    "max_size",
    "max_body_size",
    "client_max_body_size",
    "max_request_bytes",
    "max_request_body_bytes",
    "request_body",
];

pub(crate) static BODY_LIMIT: Key = Key {
    name: "body",
    shape: Shape::OffOrSize {
        least: 1 << 10,
        most: 1 << 40,
    },
    absent: Absent::Value("10MiB"),
    doc: "How large the body of a request may be; `off` for any size.",
    also: ALSO_BODY,
};

pub(crate) static ROUTE_BODY_LIMIT: Key = Key {
    name: "body",
    shape: Shape::OffOrSize {
        least: 1 << 10,
        most: 1 << 40,
    },
    absent: Absent::Otherwise("as on the listener"),
    doc: "How large the body of a request may be; `off` for any size.",
    also: ALSO_BODY,
};

pub(crate) static REQUESTS_LIMIT: Key = Key {
    name: "requests_per_connection",
    shape: Shape::Integer {
        least: 1,
        most: 1_000_000_000,
    },
    absent: Absent::Value("10000"),
    doc: "How many requests a connection may carry before it is closed, gently.",
    also: &[
        "requests",
        "keepalive_requests",
        "max_requests",
        "max_requests_per_connection",
    ],
};

pub(crate) static STREAMS_LIMIT: Key = Key {
    name: "streams",
    shape: Shape::Integer {
        least: 1,
        most: 1000,
    },
    absent: Absent::Value("100"),
    doc: "How many requests an HTTP/2 connection may have open at once.",
    also: &[
        "max_streams",
        "concurrent_streams",
        "max_concurrent_streams",
        "http2_max_concurrent_streams",
        "tune_h2_max_concurrent_streams",
    ],
};
