//! Why a connection was refused or ended, and who ended it: the words of the log's `reason` and
//! `closed_by` and of the metric labels. Only words that this engine can say are here.

/// Why a connection was refused or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// Both sides ended their direction in order.
    Done,
    /// The client reset the connection.
    ClientReset,
    /// The server reset the connection.
    ServerReset,
    /// Nothing came from the client for the idle or half-closed timeout, and it was its turn.
    ClientIdle,
    /// Nothing came from the server for the idle or half-closed timeout, and it was its turn.
    ServerIdle,
    /// The server did not answer at all within the first-byte timeout.
    FirstByteTimeout,
    /// The server's host refused the connection.
    ConnectRefused,
    /// The server did not accept within the connect timeout.
    ConnectTimeout,
    /// Connecting failed in another way (no route, address not available, …).
    ConnectError,
    /// No server of the pool may get connections now.
    NoServer,
    /// The process or the listener holds as many connections as it may.
    LimitConnections,
    /// The client has as many connections open as it may.
    LimitClientConnections,
    /// The client opens connections faster than it may.
    LimitClientRate,
    /// The listener's access lists deny the client's address.
    DeniedAddress,
    /// No PROXY header that can be believed came from the one who connected, or not in time.
    ProxyHeader,
    /// The TLS handshake failed, with the client or with every server tried.
    TlsHandshake,
    /// Nothing serves the name that the client asks for.
    TlsNoName,
    /// The drain timeout ended while the connection was open.
    Drained,
    /// The process was told to stop at once.
    Shutdown,
    /// The client took too long for the head of a request, or for its body.
    HeaderTimeout,
    /// The server did not begin its answer within the response timeout.
    ResponseTimeout,
    /// No server came up while the client was kept waiting.
    HoldTimeout,
    /// As many clients are kept waiting as may be.
    HoldFull,
    /// The client does not keep to HTTP, or asks for what nobody may.
    BadRequest,
    /// The request is larger than it may be.
    TooLarge,
    /// The client has not shown who it is.
    Unauthorized,
    /// The consumer does not have the scopes that it needs.
    Forbidden,
    /// The client makes requests faster than it may.
    RateLimited,
    /// No route matches the request, and its listener has no pool.
    NoRoute,
    /// The server does not keep to HTTP, or broke its answer off.
    BadResponse,
    /// The process ran out of descriptors, of memory or of room to know clients for the connection.
    Overload,
}

impl Reason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 31] = [
        Self::Done,
        Self::ClientReset,
        Self::ServerReset,
        Self::ClientIdle,
        Self::ServerIdle,
        Self::FirstByteTimeout,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectError,
        Self::NoServer,
        Self::LimitConnections,
        Self::LimitClientConnections,
        Self::LimitClientRate,
        Self::DeniedAddress,
        Self::ProxyHeader,
        Self::TlsHandshake,
        Self::TlsNoName,
        Self::Drained,
        Self::Shutdown,
        Self::HeaderTimeout,
        Self::ResponseTimeout,
        Self::HoldTimeout,
        Self::HoldFull,
        Self::BadRequest,
        Self::TooLarge,
        Self::Unauthorized,
        Self::Forbidden,
        Self::RateLimited,
        Self::NoRoute,
        Self::BadResponse,
        Self::Overload,
    ];

    /// The word used in the log, the metrics and the admin API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ClientReset => "client_reset",
            Self::ServerReset => "server_reset",
            Self::ClientIdle => "client_idle",
            Self::ServerIdle => "server_idle",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectError => "connect_error",
            Self::NoServer => "no_server",
            Self::LimitConnections => "limit_connections",
            Self::LimitClientConnections => "limit_client_connections",
            Self::LimitClientRate => "limit_client_rate",
            Self::DeniedAddress => "denied_address",
            Self::ProxyHeader => "proxy_header",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsNoName => "tls_no_name",
            Self::Drained => "drained",
            Self::Shutdown => "shutdown",
            Self::HeaderTimeout => "header_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::HoldTimeout => "hold_timeout",
            Self::HoldFull => "hold_full",
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::NoRoute => "no_route",
            Self::BadResponse => "bad_response",
            Self::Overload => "overload",
        }
    }
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ClosedBy {
    /// The peer that connected to us.
    Client,
    /// The peer we connected to.
    Server,
    /// Ringgate itself.
    Ringgate,
}

impl ClosedBy {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Ringgate];

    /// The word used in the log and the metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Ringgate => "ringgate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order_of_the_lists() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
        for (number, by) in ClosedBy::ALL.into_iter().enumerate() {
            assert_eq!(by as usize, number);
        }
    }
}
