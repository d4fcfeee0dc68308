//! One public key as PEM (RFC 7468 §13): its kind is seen by how its DER begins, which is the same for every key of a
//! kind. Private keys and certificates are refused with a word on what to do.

use aws_lc_rs::rsa::PublicKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::Key;
use crate::auth::flaw::Flaw;

/// How an RFC 5480 key of the curve P-256 begins, up to its point.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The same of P-384.
const P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];

/// How an RFC 8410 key of Ed25519 begins.
const ED25519: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What an RSA key of 2048 bits takes at least as RFC 8017 §A.1.1 writes it.
const RSA_DER_BYTES_MIN: usize = 256 + 8;

const BEGIN: &str = "-----BEGIN ";

/// Whether that is PEM rather than JSON.
pub(super) fn is(text: &[u8]) -> bool {
    !text.trim_ascii_start().starts_with(b"{")
        && text
            .windows(BEGIN.len())
            .any(|part| part == BEGIN.as_bytes())
}

/// Reads the key.
pub(super) fn read(text: &[u8]) -> Result<Key, Flaw> {
    let text = std::str::from_utf8(text).map_err(|_| Flaw::new(1, 1, "this is no PEM"))?;
    let Some(begin) = text.find(BEGIN) else {
        return Err(Flaw::new(1, 1, "this is no PEM"));
    };
    let line = text[..begin].matches('\n').count() + 1;
    let flaw = |what: &str| Flaw::new(line, 1, what);
    let block = text[begin + BEGIN.len()..].split_once("-----");
    let Some((label, block)) = block else {
        return Err(flaw("this PEM block does not begin as it should"));
    };
    if label.ends_with("PRIVATE KEY") {
        let flaw = flaw("this is a private key, where only a public one belongs");
        return Err(flaw.advise("openssl pkey -in FILE -pubout"));
    }
    if label == "CERTIFICATE" {
        let flaw = flaw("this is a certificate, where a public key belongs");
        return Err(flaw.advise("openssl x509 -in FILE -noout -pubkey"));
    }
    if label != "PUBLIC KEY" && label != "RSA PUBLIC KEY" {
        return Err(flaw("this PEM block is no public key"));
    }
    let Some((body, rest)) = block.split_once(&format!("-----END {label}-----")) else {
        return Err(flaw("this PEM block does not end"));
    };
    if rest.contains(BEGIN) {
        let flaw = flaw("there is more than one PEM block");
        return Err(flaw.advise("several keys are a JWK set, `{\"keys\": […]}`"));
    }
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD
        .decode(body)
        .map_err(|_| flaw("what is in this PEM block is no base64"))?;
    let (decoding, algorithms) =
        of_der(&der).ok_or_else(|| flaw("this is no key of a kind that is known"))?;
    Ok(Key {
        id: None,
        algorithms,
        decoding,
    })
}

fn of_der(der: &[u8]) -> Option<(DecodingKey, Vec<Algorithm>)> {
    let ec = |point: &[u8], algorithm: &'static dyn VerificationAlgorithm, name| {
        let is_good = UnparsedPublicKey::new(algorithm, point).parse().is_ok();
        is_good.then(|| (DecodingKey::from_ec_der(point), vec![name]))
    };
    if let Some(point) = der.strip_prefix(P256) {
        return ec(point, &ECDSA_P256_SHA256_FIXED, Algorithm::ES256);
    }
    if let Some(point) = der.strip_prefix(P384) {
        return ec(point, &ECDSA_P384_SHA384_FIXED, Algorithm::ES384);
    }
    if let Some(key) = der.strip_prefix(ED25519) {
        let is_good = key.len() == 32;
        return is_good.then(|| (DecodingKey::from_ed_der(key), vec![Algorithm::EdDSA]));
    }
    let key = PublicKey::from_der(der).ok()?;
    let key: &[u8] = key.as_ref();
    let is_long_enough = key.len() >= RSA_DER_BYTES_MIN;
    is_long_enough.then(|| (DecodingKey::from_rsa_der(key), super::jwk::RSA.to_vec()))
}
