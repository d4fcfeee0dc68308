//! A JWK set (RFC 7517 §5): every key in it that signatures can be verified with, and a remark on those that are broken.
//! Keys for other purposes and of unknown kinds are passed over in silence, as the RFC wants it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::{Key, named};
use crate::auth::flaw::Flaw;

/// The most keys of a set.
const KEYS_MAX: usize = 256;

/// What a modulus may have (RFC 7518 §3.3), in bytes.
const MODULUS_BYTES_MIN: usize = 256;
const MODULUS_BYTES_MAX: usize = 1024;

/// What RSA keys are for; in practice each for one of them.
pub(super) const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// What shared secrets are for, each with the bytes that it must have (RFC 7518 §3.2).
const SECRETS: [(Algorithm, usize); 3] = [
    (Algorithm::HS256, 32),
    (Algorithm::HS384, 48),
    (Algorithm::HS512, 64),
];

/// Reads the keys of a set.
pub(super) fn read(set: &Map<String, Value>, remarks: &mut Vec<String>) -> Result<Vec<Key>, Flaw> {
    let Some(Value::Array(members)) = set.get("keys") else {
        let flaw = Flaw::new(1, 1, "this is no JWK set: it has no list `keys`");
        return Err(flaw.advise("a single key is a set too: `{\"keys\": [KEY]}`"));
    };
    if members.len() > KEYS_MAX {
        return Err(Flaw::new(1, 1, "these are more than 256 keys"));
    }
    let mut keys = Vec::new();
    for (number, member) in (1..).zip(members) {
        match key(member) {
            Ok(key) => keys.extend(key),
            Err(what) => remarks.push(format!("key {number} of the set {what}")),
        }
    }
    Ok(keys)
}

/// A key of the set; `None` when it is for something else, and what is wrong with it when it is broken.
fn key(member: &Value) -> Result<Option<Key>, String> {
    let member = member.as_object().ok_or("is no object")?;
    if !is_for_verifying(member) {
        return Ok(None);
    }
    let id = match member.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str().into()),
        Some(_) => return Err("has a `kid` that is no string".to_owned()),
    };
    let Some((decoding, mut algorithms)) = material(member)? else {
        return Ok(None);
    };
    if let Some(own) = member.get("alg") {
        let own = own.as_str().ok_or("has an `alg` that is no string")?;
        let own = named(own);
        algorithms.retain(|algorithm| Some(*algorithm) == own);
        if algorithms.is_empty() {
            return Err("has an `alg` that does not fit it".to_owned());
        }
    }
    Ok(Some(Key {
        id,
        algorithms,
        decoding,
    }))
}

fn is_for_verifying(member: &Map<String, Value>) -> bool {
    let is_for_signatures = member.get("use").is_none_or(|purpose| purpose == "sig");
    let may_verify = match member.get("key_ops") {
        Some(Value::Array(operations)) => operations.iter().any(|one| one == "verify"),
        Some(_) => false,
        None => true,
    };
    is_for_signatures && may_verify
}

/// The key itself, and all that its kind may be used for.
fn material(member: &Map<String, Value>) -> Result<Option<(DecodingKey, Vec<Algorithm>)>, String> {
    let text = |name: &str| member.get(name).and_then(Value::as_str);
    let bytes = |name: &str| {
        let text = text(name).ok_or(format!("has no `{name}`"))?;
        let bytes = URL_SAFE_NO_PAD.decode(text);
        bytes.map_err(|_| format!("has a `{name}` that is not base64url without padding"))
    };
    let found = match (text("kty"), text("crv")) {
        (Some("EC"), Some("P-256")) => {
            let point = point(&bytes("x")?, &bytes("y")?, 32, &ECDSA_P256_SHA256_FIXED)?;
            (DecodingKey::from_ec_der(&point), vec![Algorithm::ES256])
        }
        (Some("EC"), Some("P-384")) => {
            let point = point(&bytes("x")?, &bytes("y")?, 48, &ECDSA_P384_SHA384_FIXED)?;
            (DecodingKey::from_ec_der(&point), vec![Algorithm::ES384])
        }
        (Some("OKP"), Some("Ed25519")) => {
            let x = bytes("x")?;
            if x.len() != 32 || UnparsedPublicKey::new(&ED25519, &x).parse().is_err() {
                return Err("has an `x` that is no Ed25519 key".to_owned());
            }
            (DecodingKey::from_ed_der(&x), vec![Algorithm::EdDSA])
        }
        (Some("RSA"), _) => {
            let (modulus, exponent) = (without_zeros(bytes("n")?), without_zeros(bytes("e")?));
            check_rsa(&modulus, &exponent)?;
            let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
            (key, RSA.to_vec())
        }
        (Some("oct"), _) => secret(&bytes("k")?)?,
        (Some(_), _) => return Ok(None),
        (None, _) => return Err("has no `kty`".to_owned()),
    };
    Ok(Some(found))
}

/// The point of a curve as X9.62 writes it, when it is one.
fn point(
    x: &[u8],
    y: &[u8],
    length: usize,
    algorithm: &'static dyn VerificationAlgorithm,
) -> Result<Vec<u8>, String> {
    let point = [&[4], x, y].concat();
    let is_long_enough = x.len() == length && y.len() == length;
    if !is_long_enough || UnparsedPublicKey::new(algorithm, &point).parse().is_err() {
        return Err("is no point of its curve".to_owned());
    }
    Ok(point)
}

/// Some write a zero in front, although RFC 7518 §6.3.1.1 forbids it.
fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), String> {
    if modulus.len() < MODULUS_BYTES_MIN || modulus.len() > MODULUS_BYTES_MAX {
        let bits = modulus.len() * 8;
        return Err(format!(
            "is an RSA key of {bits} bits, where 2048 to 8192 are taken"
        ));
    }
    // 1 would make every message its own signature.
    let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
    match is_odd && exponent != [1] && exponent.len() <= 8 {
        true => Ok(()),
        false => Err("has an `e` that is no exponent of RSA".to_owned()),
    }
}

fn secret(secret: &[u8]) -> Result<(DecodingKey, Vec<Algorithm>), String> {
    let long_enough = SECRETS.iter().filter(|(_, bytes)| secret.len() >= *bytes);
    let algorithms: Vec<Algorithm> = long_enough.map(|(algorithm, _)| *algorithm).collect();
    match DecodingKey::from_secret(secret) {
        Ok(key) if !algorithms.is_empty() => Ok((key, algorithms)),
        _ => Err("is a secret of less than 32 bytes".to_owned()),
    }
}
