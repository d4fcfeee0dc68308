//! Which fields tell a server whom to trust: who the client is, what it asked for, who vouches for it. Told by a
//! stranger they are removed; the list is closed and needs no setting.

use crate::fields::{Field, Known};

/// Whether a field tells of the client or its request what only a trusted proxy may. Those that the gateway sets
/// itself are among them.
pub(crate) fn is_trust(field: Field<'_>) -> bool {
    match field.known {
        Known::Forwarded
        | Known::XConsumer
        | Known::XForwardedFor
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XForwardedProto
        | Known::XRequestId => true,
        Known::Other => is_trust_name(field.name),
        known => is_never(known),
    }
}

/// Whether a field is passed on for nobody: each makes some servers answer for another target, or ask another one.
pub(super) fn is_never(known: Known) -> bool {
    matches!(
        known,
        Known::Proxy | Known::XMethodOverride | Known::XOriginalUrl | Known::XRewriteUrl
    )
}

fn is_trust_name(name: &[u8]) -> bool {
    // Most names are told apart by two bytes.
    match name {
        [b'x', b'-', ..] => {}
        [b't', b'r', ..] => return name == b"true-client-ip",
        [b'c', b'f', ..] => return name == b"cf-connecting-ip",
        [b'f', b'a', ..] => return name == b"fastly-client-ip",
        [b's', b's', ..] => return name.starts_with(b"ssl-client-"),
        _ => return false,
    }
    const FAMILIES: [&[u8]; 7] = [
        b"x-forwarded-",
        b"x-auth-request-",
        b"x-client-cert",
        b"x-envoy-",
        b"x-original-",
        b"x-remote-",
        b"x-ssl-",
    ];
    FAMILIES.iter().any(|family| name.starts_with(family))
        || matches!(
            name,
            b"x-authenticated-user"
                | b"x-client-ip"
                | b"x-cluster-client-ip"
                | b"x-host"
                | b"x-real-ip"
                | b"x-user"
        )
}
