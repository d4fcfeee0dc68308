//! Signed tokens and the sets of keys that verify them, made for a test (RFC 7515, RFC 7517). It signs whatever it is
//! given, good or bad.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key that signs tokens by ES256.
#[derive(Debug)]
pub struct JwtKey {
    pair: EcdsaKeyPair,
    kid: String,
}

impl JwtKey {
    /// A new one with that id.
    ///
    /// # Panics
    /// When the cryptography fails.
    #[must_use]
    pub fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self {
            pair: pair.expect("a key can be made"),
            kid: kid.to_owned(),
        }
    }

    /// What verifies its signatures.
    #[must_use]
    pub fn jwk(&self) -> Value {
        // SEC 1 §2.3.3: an uncompressed point is 4, x, y.
        let (x, y) = self.point()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.kid, "x": base64url(x), "y": base64url(y),
        })
    }

    /// The public point, as a forger may use it for a secret.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid });
        self.sign_with(&header, claims)
    }

    /// A token with these claims and that header, whatever it says.
    #[must_use]
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&signed_part(header, &claims.to_string()))
    }

    /// A token with that text before its signature, see [`signed_part`].
    ///
    /// # Panics
    /// When the cryptography fails.
    #[must_use]
    pub fn sign_text(&self, signed: &str) -> String {
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.expect("a key can sign");
        format!("{signed}.{}", base64url(signature.as_ref()))
    }
}

/// A set of keys as a file or a server gives it.
#[must_use]
pub fn jwks(keys: &[&JwtKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// A token that a shared secret signs by HS256, with that header.
#[must_use]
pub fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = signed_part(header, &claims.to_string());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", base64url(signature.as_ref()))
}

/// Header and claims of a token, before its signature.
#[must_use]
pub fn signed_part(header: &Value, claims: &str) -> String {
    let header = base64url(header.to_string().as_bytes());
    format!("{header}.{}", base64url(claims.as_bytes()))
}

/// RFC 4648 §5, without padding.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
