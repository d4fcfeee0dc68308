//! What can be wrong with a request before anything is asked of it: its target, its host, its fields of the
//! connection. Each flaw knows its answer. None of them repeats what the client sent.

/// Why a request is refused as it stands. The client is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// The target is longer than [`crate::target::BYTES_MAX`].
    TargetTooLong,
    /// The target is empty, or in a form that its method does not have (RFC 9112 §3.2).
    TargetForm,
    /// The scheme is neither `http` nor `https`.
    Scheme,
    /// A user's name stands before the host (RFC 9110 §4.2.4).
    Userinfo,
    /// A byte of the path may not stand there (RFC 3986 §3.3), or is a backslash.
    PathByte,
    /// A percent sign without two hexadecimal digits behind it.
    PathPercent,
    /// An encoded slash, backslash or NUL: servers differ in what they take it for.
    PathEncoded,
    /// A dot segment with parameters (`/..;/`), which some servers take for a dot segment.
    PathParameters,
    /// The path leads out of its root.
    PathRoot,
    /// A byte of the query may not stand there.
    QueryByte,
    /// There is no host.
    HostMissing,
    /// The host is no name and no address.
    HostForm,
    /// The host is longer than 253 bytes, or one of its labels than 63.
    HostTooLong,
    /// The port of the host is no number from 1 to 65535.
    HostPort,
    /// `Connection` does not list tokens.
    ConnectionForm,
    /// `Connection` names a field that is not of the connection alone.
    ConnectionNames,
}

impl Flaw {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            _ => 400,
        }
    }

    /// The reason in log and answer.
    pub fn word(self) -> &'static str {
        match self {
            Self::TargetTooLong => "too_large",
            _ => "bad_request",
        }
    }

    /// What is wrong, in a sentence for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::TargetTooLong => "The request target is longer than 8 KiB.",
            Self::TargetForm => "The request target has no form that this method allows.",
            Self::Scheme => "The scheme is neither http nor https.",
            Self::Userinfo => "The authority has a user in it.",
            Self::PathByte => "The path has a byte that must be encoded or is not allowed.",
            Self::PathPercent => "The path has a % without two hexadecimal digits behind it.",
            Self::PathEncoded => "The path has an encoded slash, backslash or NUL.",
            Self::PathParameters => "The path has a dot segment with parameters.",
            Self::PathRoot => "The path leads out of its root.",
            Self::QueryByte => "The query has a byte that must be encoded.",
            Self::HostMissing => "The request has no host.",
            Self::HostForm => "The host is no valid name or address.",
            Self::HostTooLong => "The host is longer than names may be.",
            Self::HostPort => "The port of the host is no number from 1 to 65535.",
            Self::ConnectionForm => "Connection is no list of tokens.",
            Self::ConnectionNames => "Connection names a field that must reach the server.",
        }
    }
}
