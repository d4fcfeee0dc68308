//! The files of tokens and users as an operator has them, and what clients show. The hashes are made here, so that the
//! formats are what they are said to be.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// The line of a token: a name, its secret, and scopes with commas between, or none.
#[must_use]
pub fn token_line(name: &str, secret: &str, scopes: &str) -> String {
    let hash = hex(digest(&SHA256, secret.as_bytes()).as_ref());
    format!("{name} sha256:{hash} {scopes}\n")
}

/// The line of a user, likewise.
///
/// # Panics
/// Never.
#[must_use]
pub fn user_line(name: &str, password: &str, scopes: &str) -> String {
    let (salt, iterations) = ([7; 16], NonZeroU32::new(1000).expect("it is not 0"));
    let mut hash = [0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, &salt, password.as_bytes(), &mut hash);
    let (salt, hash) = (hex(&salt), hex(&hash));
    format!("{name} pbkdf2-sha256:{iterations}:{salt}:{hash} {scopes}\n")
}

/// The value of `Authorization` by which a user shows a password.
#[must_use]
pub fn basic(name: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{name}:{password}"))
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
