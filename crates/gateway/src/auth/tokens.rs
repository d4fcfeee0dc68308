//! Static tokens, known by the hashes that a file holds: one line each, `NAME sha256:HEX [scope,scope]`. A secret is
//! hashed before it is looked up, and hashes are compared in constant time, so the time of an answer tells nothing of
//! any secret; no secret is ever kept.
//!
//! A plain SHA-256 is enough here, as it would not be for passwords: a secret of ours has 256 random bits, and nobody
//! can go through so many.

use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use super::Consumer;
use super::flaw::{self, Flaw, Word, from_hex, to_hex};

/// The longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 512;

const SHAPE: &str = "a line is `NAME sha256:HEX [scope,scope]`";

/// What the hash of a line begins with.
const SCHEME: &str = "sha256:";

/// The tokens of a file.
#[derive(Default)]
pub struct Tokens {
    known: HashMap<Digest, Arc<Consumer>, BuildHasherDefault<AsItIs>>,
}

/// The hash of a secret. Found by its first bytes: hashes are as random as it gets, and no client chooses which of them
/// are here.
#[derive(Eq)]
struct Digest([u8; 32]);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        state.write_u64(u64::from_le_bytes(first));
    }
}

impl Tokens {
    /// Reads a file of tokens.
    ///
    /// # Errors
    /// Everything that is wrong with it, up to 100 flaws.
    pub fn parse(text: &str) -> Result<Tokens, Vec<Flaw>> {
        let mut tokens = Tokens::default();
        let mut names = HashSet::new();
        let flaws = flaw::read(text, SHAPE, |entry| {
            let digest = read_digest(entry.hash)?;
            if !names.insert(entry.name.text) {
                let what = format!("`{}` has a token already", entry.name.text);
                return Err(entry.name.flaw(what));
            }
            if tokens.known.contains_key(&digest) {
                return Err(entry.hash.flaw("another line has the same token"));
            }
            let consumer = Arc::new(Consumer::new(entry.name.text, entry.scopes));
            tokens.known.insert(digest, consumer);
            Ok(())
        });
        flaws.none_or(tokens)
    }

    /// Whose secret that is.
    pub fn find(&self, secret: &[u8]) -> Option<&Arc<Consumer>> {
        if secret.is_empty() || secret.len() > SECRET_BYTES_MAX {
            return None;
        }
        self.known.get(&sha256(secret))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether one of them is called that.
    pub fn has_name(&self, name: &str) -> bool {
        self.known.values().any(|consumer| &*consumer.name == name)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.len())
    }
}

/// The line of a token, without its end.
pub fn line(name: &str, secret: &[u8], scopes: &[String]) -> String {
    let mut line = format!("{name} {SCHEME}{}", to_hex(&sha256(secret).0));
    if !scopes.is_empty() {
        line.push(' ');
        line.push_str(&scopes.join(","));
    }
    line
}

fn read_digest(hash: Word<'_>) -> Result<Digest, Flaw> {
    let digits = hash.text.strip_prefix(SCHEME);
    digits.and_then(from_hex).map(Digest).ok_or_else(|| {
        hash.flaw("this is no hash of a token")
            .advise("it is `sha256:` with 64 hexadecimal digits, as `ringgate token new` writes it")
    })
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Digest(hash)
}

/// Takes a number for its own hash.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests;
