//! A signed token (RFC 7515, RFC 7519, with the advice of RFC 8725): three parts of strict base64url, an algorithm that
//! both the configuration and the key are for, and a signature. Nothing in a token names where a key comes from: `jku`,
//! `x5u`, `jwk` and `x5c` are never read. What is claimed is read after the signature has been verified, never before.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, crypto};
use serde_json::{Map, Value};

use super::claims::{Believed, Rules};
use super::keys::{KeyRing, Keys, NoKey, named};
use super::{Denied, json};

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The longest name of a key, in bytes.
const KEY_ID_BYTES_MAX: usize = 256;

/// Verifies a token at this second.
pub(super) fn verify(
    token: &[u8],
    rules: &Rules,
    ring: &KeyRing,
    keys: &Keys,
    now: u64,
) -> Result<Believed, Denied> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Denied::Malformed);
    }
    let token = std::str::from_utf8(token).map_err(|_| Denied::Malformed)?;
    let (message, signature) = token.rsplit_once('.').ok_or(Denied::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(Denied::Malformed)?;
    if claims.contains('.') {
        return Err(Denied::Malformed);
    }
    let header = Header::read(header)?;
    if !rules.algorithms.contains(&header.algorithm) {
        return Err(Denied::Algorithm);
    }
    check_length(signature, header.algorithm)?;
    if keys.is_empty() {
        return Err(Denied::KeysUnavailable);
    }
    let candidates = keys.candidates(header.key_id.as_deref(), header.algorithm);
    let mut candidates = candidates.map_err(|reason| match reason {
        NoKey::Unknown => {
            ring.want();
            Denied::UnknownKey
        }
        NoKey::Algorithm => Denied::Algorithm,
    })?;
    let is_signed = candidates.any(|key| {
        crypto::verify(signature, message.as_bytes(), key, header.algorithm).is_ok_and(|good| good)
    });
    if !is_signed {
        return Err(Denied::BadSignature);
    }
    rules.judge(&object(claims)?, now)
}

/// What a token says about how it is signed.
struct Header {
    algorithm: Algorithm,
    key_id: Option<String>,
}

impl Header {
    fn read(part: &str) -> Result<Header, Denied> {
        let header = object(part)?;
        // Nothing that a token may insist on is understood here (RFC 7515 §4.1.11).
        if header.contains_key("crit") {
            return Err(Denied::Critical);
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Denied::Malformed),
        };
        text("typ")?;
        let algorithm = text("alg")?.ok_or(Denied::Malformed)?;
        let key_id = text("kid")?;
        if key_id.is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
            return Err(Denied::Malformed);
        }
        Ok(Header {
            algorithm: named(algorithm).ok_or(Denied::Algorithm)?,
            key_id: key_id.cloned(),
        })
    }
}

/// Signatures of a fixed length are refused by any other one before they are looked at.
fn check_length(signature: &str, algorithm: Algorithm) -> Result<(), Denied> {
    let bytes = match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 | Algorithm::ES256 | Algorithm::EdDSA => 64,
        Algorithm::ES384 => 96,
        // As long as the modulus, which the verifier sees to.
        _ => return Ok(()),
    };
    match base64::encoded_len(bytes, false) == Some(signature.len()) {
        true => Ok(()),
        false => Err(Denied::BadSignature),
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Denied> {
    let text = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Denied::Malformed)?;
    json::object(&text).map_err(|_| Denied::Malformed)
}

#[cfg(test)]
mod tests;
