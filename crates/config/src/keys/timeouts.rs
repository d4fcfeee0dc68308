//! The keys of every clock: of the process, of a listener and of a pool.

use std::time::Duration;

use super::{HOUR, MONTH, MS};
use crate::key::{Absent, Block, Key, Shape};

pub(crate) static TIMEOUTS: Block = Block {
    what: "timeouts block",
    path: "timeouts",
    doc: "The clocks of every connection, and of a stopping process.",
    keys: &[
        &CONNECT,
        &HANDSHAKE,
        &FIRST_BYTE,
        &IDLE,
        &HALF_CLOSED,
        &HEADER,
        &RESPONSE,
        &DRAIN,
    ],
    later: &[],
    elsewhere: &[],
};

const NO_DRAIN: &str =
    "`drain` holds for the whole process; set it in `timeouts` at the top of the file";
const NO_HEADER: &str =
    "`header` is about clients, before there is a pool; set it in `timeouts` of the listener";

pub(crate) static LISTENER_TIMEOUTS: Block = Block {
    what: "timeouts block of a listener",
    path: "listeners.NAME.timeouts",
    doc: "The clocks of this listener's connections. What is not set here is that of the process.",
    keys: &[
        &LISTENER_CONNECT,
        &LISTENER_HANDSHAKE,
        &LISTENER_FIRST_BYTE,
        &LISTENER_IDLE,
        &LISTENER_HALF_CLOSED,
        &LISTENER_HEADER,
        &LISTENER_RESPONSE,
    ],
    later: &[],
    elsewhere: &[("drain", NO_DRAIN)],
};

pub(crate) static POOL_TIMEOUTS: Block = Block {
    what: "timeouts block of a pool",
    path: "pools.NAME.timeouts",
    doc: "The clocks of the connections that this pool serves. What is not set here is that of the listener.",
    keys: &[
        &POOL_CONNECT,
        &POOL_HANDSHAKE,
        &POOL_FIRST_BYTE,
        &POOL_IDLE,
        &POOL_HALF_CLOSED,
        &POOL_RESPONSE,
    ],
    later: &[],
    elsewhere: &[("drain", NO_DRAIN), ("header", NO_HEADER)],
};

/// The five keys that stand in every block of timeouts differ only in what holds when they are not set, and in
/// whose handshake it is.
macro_rules! clocks {
    ($connect:ident $handshake:ident $first_byte:ident $idle:ident $half_closed:ident:
     $connect_absent:expr, $handshake_doc:expr, $handshake_absent:expr, $first_byte_absent:expr, $idle_absent:expr,
     $half_closed_absent:expr) => {
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

        pub(crate) static $handshake: Key = Key {
            name: "handshake",
            shape: Shape::Duration {
                least: MS,
                most: HOUR,
            },
            absent: $handshake_absent,
            doc: $handshake_doc,
            also: &[
                "tls",
                "ssl",
                "tls_handshake",
                "ssl_handshake_timeout",
                "handshake_timeout",
                "client_hello",
                "preread",
                "preread_timeout",
                "inspect_delay",
            ],
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

clocks!(CONNECT HANDSHAKE FIRST_BYTE IDLE HALF_CLOSED:
    Absent::Value("3s"), OF_BOTH_SIDES, Absent::Value("10s"), Absent::Value("30s"), Absent::Value("5m"),
    Absent::Value("30s"));
clocks!(LISTENER_CONNECT LISTENER_HANDSHAKE LISTENER_FIRST_BYTE LISTENER_IDLE LISTENER_HALF_CLOSED:
    OF_THE_PROCESS, OF_BOTH_SIDES, OF_THE_PROCESS, OF_THE_PROCESS, OF_THE_PROCESS, OF_THE_PROCESS);
clocks!(POOL_CONNECT POOL_HANDSHAKE POOL_FIRST_BYTE POOL_IDLE POOL_HALF_CLOSED:
    OF_THE_LISTENER, OF_SERVERS, OF_THE_LISTENER, OF_THE_LISTENER, OF_THE_LISTENER, OF_THE_LISTENER);

const OF_BOTH_SIDES: &str = "How long a client may take for all that comes before its first byte to a server: \
     its PROXY header, the TLS hello that routes look at, its TLS handshake. And how long the TLS handshake with a \
     server may take.";
const OF_SERVERS: &str = "How long the TLS handshake with a server may take.";

const OF_THE_PROCESS: Absent = Absent::Otherwise("that of the process");
const OF_THE_LISTENER: Absent = Absent::Otherwise("that of the listener");

/// The clock of a request's head, which differs only in what holds when it is not set.
macro_rules! header {
    ($header:ident: $absent:expr) => {
        pub(crate) static $header: Key = Key {
            name: "header",
            shape: Shape::Duration {
                least: MS,
                most: HOUR,
            },
            absent: $absent,
            doc: "HTTP listeners only. How long a client may take for the head of a request, from its first byte on, \
                  or from the beginning of the connection.",
            also: &[
                "headers",
                "request",
                "http_request",
                "timeout_http_request",
                "client_header",
                "client_header_timeout",
                "request_headers_timeout",
                "read_header",
                "read_header_timeout",
            ],
        };
    };
}

/// The clock of an answer, which differs only in what holds when it is not set.
macro_rules! response {
    ($response:ident: $absent:expr) => {
        pub(crate) static $response: Key = Key {
            name: "response",
            shape: Shape::Duration {
                least: MS,
                most: MONTH,
            },
            absent: $absent,
            doc: "HTTP listeners only, where it stands for `first_byte`. How long a server may take to begin its \
                  answer, from the end of the request on.",
            also: &[
                "responses",
                "proxy_read",
                "proxy_read_timeout",
                "response_header",
                "response_header_timeout",
                "request_timeout",
                "route_timeout",
            ],
        };
    };
}

header!(HEADER: Absent::Value("10s"));
header!(LISTENER_HEADER: OF_THE_PROCESS);
response!(RESPONSE: Absent::Value("60s"));
response!(LISTENER_RESPONSE: OF_THE_PROCESS);
response!(POOL_RESPONSE: OF_THE_LISTENER);

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
