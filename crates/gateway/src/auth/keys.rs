//! The keys that signed tokens are verified with: a JWK set (RFC 7517 §5) or one public key as PEM. A key says by itself
//! which algorithms it is for, and no token ever changes that. It never fetches a key, and never shows one.

mod jwk;
mod pem;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::{ArcSwap, Guard};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::flaw::Flaw;
use super::json;
use super::memory::Generation;

/// The longest set of keys, in bytes.
pub const KEYS_BYTES_MAX: usize = 256 * 1024;

/// How many keys are tried for a token that names none.
const TRIED_MAX: usize = 8;

/// Keys, as they were read at one time.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
    pub(super) generation: Generation,
}

/// A key that a signature may be verified with.
pub(super) struct Key {
    /// By what tokens name it.
    id: Option<Box<str>>,
    /// What it may be used for.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

impl fmt::Debug for Key {
    /// Without the key, which may be a shared secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:?} for {:?}", self.id, self.algorithms)
    }
}

/// Keys that were read, and what is to be said of those that were left out.
#[derive(Debug)]
pub struct Parsed {
    /// At least one key.
    pub keys: Keys,
    /// One sentence for each key that is of no use although it should be.
    pub remarks: Vec<String>,
}

/// Why a token has no key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// None is called that.
    Unknown,
    /// It is for other algorithms.
    Algorithm,
}

impl Keys {
    /// Reads a JWK set, or a public key as PEM.
    ///
    /// # Errors
    /// What is wrong, when there is not a single key that signatures can be verified with.
    pub fn parse(text: &[u8]) -> Result<Parsed, Flaw> {
        if text.len() > KEYS_BYTES_MAX {
            return Err(Flaw::new(1, 1, "the keys are longer than 256 KiB"));
        }
        let mut remarks = Vec::new();
        let keys = match pem::is(text) {
            true => vec![pem::read(text)?],
            false => {
                let set = json::object(text).map_err(|error| {
                    let flaw = Flaw::new(
                        error.line().max(1),
                        error.column().max(1),
                        error.to_string(),
                    );
                    flaw.advise("keys are a JWK set, `{\"keys\": […]}`, or a public key as PEM")
                })?;
                jwk::read(&set, &mut remarks)?
            }
        };
        let generation = Generation::next();
        match keys.is_empty() {
            true => {
                let mut what = "there is no key that signatures can be verified with".to_owned();
                for remark in remarks.iter().take(3) {
                    what = format!("{what}; {remark}");
                }
                Err(Flaw::new(1, 1, what))
            }
            false => Ok(Parsed {
                keys: Keys { keys, generation },
                remarks,
            }),
        }
    }

    /// No keys: nothing can be verified until there are some.
    pub fn none() -> Keys {
        Keys::default()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many of them are for one of these algorithms (RFC 7518 §3.1 names).
    pub fn count_for(&self, algorithms: &[String]) -> usize {
        let algorithms: Vec<Algorithm> = algorithms.iter().filter_map(|name| named(name)).collect();
        let fits = |key: &&Key| key.algorithms.iter().any(|own| algorithms.contains(own));
        self.keys.iter().filter(fits).count()
    }

    /// The keys that may have signed a token of that key id and algorithm.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<impl Iterator<Item = &DecodingKey>, NoKey> {
        // A key without an id, such as one of a PEM file, may be meant by any.
        let is_named =
            id.is_some_and(|id| self.keys.iter().any(|key| key.id.as_deref() == Some(id)));
        let is_meant = move |key: &&Key| match id {
            Some(id) if is_named => key.id.as_deref() == Some(id),
            Some(_) => key.id.is_none(),
            None => true,
        };
        let fits = move |key: &&Key| is_meant(key) && key.algorithms.contains(&algorithm);
        if !self.keys.iter().any(|key| is_meant(&key)) {
            return Err(NoKey::Unknown);
        }
        if !self.keys.iter().any(|key| fits(&key)) {
            return Err(NoKey::Algorithm);
        }
        let fitting = self.keys.iter().filter(fits).take(TRIED_MAX);
        Ok(fitting.map(|key| &key.decoding))
    }
}

/// The keys of one place, as workers share them with those who read or fetch them.
#[derive(Debug)]
pub struct KeyRing {
    keys: ArcSwap<Keys>,
    wanted: AtomicBool,
}

impl KeyRing {
    /// A ring with these keys.
    pub fn new(keys: Keys) -> KeyRing {
        KeyRing {
            keys: ArcSwap::from_pointee(keys),
            wanted: AtomicBool::new(false),
        }
    }

    /// The keys as they are now.
    pub fn load(&self) -> Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// Puts others into their place. Whatever was verified with those before is verified again.
    pub fn publish(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }

    /// Says that a token names a key that is not there; it may be new.
    pub(super) fn want(&self) {
        if !self.wanted.load(Relaxed) {
            self.wanted.store(true, Relaxed);
        }
    }

    /// Whether a token named a key that is not there.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// Forgets that a key was asked for: it has been looked for.
    pub fn looked(&self) {
        self.wanted.store(false, Relaxed);
    }
}

/// The algorithm of that name (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).
pub(super) fn named(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        _ => name.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
