//! Why nobody was recognised. The log and the metrics hear the reason; the client hears only that its credentials are not
//! good, so that no answer teaches how to make better ones.

/// Why a request has no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// Nothing was presented.
    Missing,
    /// The scheme of `Authorization` is not one that is asked for.
    Scheme,
    /// A token is not written as it should be.
    Malformed,
    /// A name and a password are not written as they should be.
    MalformedBasic,
    /// No such static token is known.
    UnknownToken,
    /// No such user has this password.
    Password,
    /// The token is past its end.
    Expired,
    /// The token is before its beginning.
    NotYetValid,
    /// The signature is not of the key.
    BadSignature,
    /// The token names a key that is not known.
    UnknownKey,
    /// The token is signed by an algorithm that is not believed, or not of its key.
    Algorithm,
    /// The token insists on something that is not understood.
    Critical,
    /// Another one issued the token.
    Issuer,
    /// The token is for somebody else.
    Audience,
    /// A claim is missing or of the wrong type.
    Claims,
    /// There are no keys to verify with: those who hold them have not answered for too long.
    KeysUnavailable,
    /// Too many passwords are being verified.
    Busy,
}

impl Denied {
    /// Every reason.
    pub const ALL: [Denied; 17] = [
        Denied::Missing,
        Denied::Scheme,
        Denied::Malformed,
        Denied::MalformedBasic,
        Denied::UnknownToken,
        Denied::Password,
        Denied::Expired,
        Denied::NotYetValid,
        Denied::BadSignature,
        Denied::UnknownKey,
        Denied::Algorithm,
        Denied::Critical,
        Denied::Issuer,
        Denied::Audience,
        Denied::Claims,
        Denied::KeysUnavailable,
        Denied::Busy,
    ];

    /// The word for it: the label of the metric and the detail of the log.
    pub fn word(self) -> &'static str {
        match self {
            Denied::Missing => "missing",
            Denied::Scheme => "scheme",
            Denied::Malformed => "malformed",
            Denied::MalformedBasic => "malformed_basic",
            Denied::UnknownToken => "unknown_token",
            Denied::Password => "password",
            Denied::Expired => "expired",
            Denied::NotYetValid => "not_yet_valid",
            Denied::BadSignature => "bad_signature",
            Denied::UnknownKey => "unknown_key",
            Denied::Algorithm => "algorithm",
            Denied::Critical => "critical",
            Denied::Issuer => "issuer",
            Denied::Audience => "audience",
            Denied::Claims => "claims",
            Denied::KeysUnavailable => "keys_unavailable",
            Denied::Busy => "busy",
        }
    }

    /// Whether it is our fault and not the client's: the answer is 503, not 401.
    pub fn is_ours(self) -> bool {
        matches!(self, Denied::KeysUnavailable | Denied::Busy)
    }

    /// Whether a token was presented that is not good.
    pub(super) fn is_of_token(self) -> bool {
        !matches!(
            self,
            Denied::Missing | Denied::Scheme | Denied::MalformedBasic | Denied::Password
        )
    }
}
