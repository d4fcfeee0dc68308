//! Users and the hashes of their passwords, for `Basic` (RFC 7617): one line each, which `ringgate token new NAME
//! --password` writes, `NAME pbkdf2-sha256:ITERATIONS:SALT:HASH [scope,scope]`, salt and hash in hexadecimal digits. It
//! never keeps a password, and names without a line cost as much as those with one.
//!
//! A hash that is slow enough for passwords is too slow for a thread that serves others, so three bounds hold together:
//! PBKDF2 with 1,000 to 10,000 iterations, which is about a millisecond and no more; what has been verified is remembered
//! by each worker (see `memory.rs`), so that a client pays once; and a worker spends some 200,000 iterations in a second
//! at most, beyond which clients that it does not remember are told to come again. A file that leaks is thus worth less
//! protection than with argon2: give passwords that no dictionary has, or use tokens.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};

use super::Consumer;
use super::flaw::{self, Flaw, Word, from_hex, to_hex};
use super::memory::Generation;

/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 512;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// How many iterations a new line gets.
const ITERATIONS: u32 = 4096;

const ITERATIONS_MIN: u32 = 1000;
const ITERATIONS_MAX: u32 = 10_000;

const SHAPE: &str = "a line is `NAME pbkdf2-sha256:ITERATIONS:SALT:HASH [scope,scope]`";

/// What the hash of a line begins with.
const SCHEME: &str = "pbkdf2-sha256:";

/// The users of a file.
#[derive(Default)]
pub struct Users {
    known: HashMap<Box<str>, User>,
    pub(super) generation: Generation,
}

/// A user, or what stands for one that there is not.
pub(super) struct User {
    hashed: Hashed,
    consumer: Option<Arc<Consumer>>,
}

/// A hashed password.
#[derive(Clone, Copy)]
struct Hashed {
    iterations: NonZeroU32,
    salt: [u8; SALT_BYTES],
    hash: [u8; 32],
}

/// Nobody's: its hash is of no password that anybody knows.
const NOBODY: User = User {
    hashed: Hashed {
        iterations: NonZeroU32::new(ITERATIONS).expect("it is not 0"),
        salt: [0; SALT_BYTES],
        hash: [0; 32],
    },
    consumer: None,
};

impl Users {
    /// Reads a file of users.
    ///
    /// # Errors
    /// Everything that is wrong with it, up to 100 flaws.
    pub fn parse(text: &str) -> Result<Users, Vec<Flaw>> {
        let mut users = Users {
            known: HashMap::new(),
            generation: Generation::next(),
        };
        let flaws = flaw::read(text, SHAPE, |entry| {
            let hashed = read_hashed(entry.hash)?;
            if users.has_name(entry.name.text) {
                let what = format!("`{}` has a line already", entry.name.text);
                return Err(entry.name.flaw(what));
            }
            let user = User {
                hashed,
                consumer: Some(Arc::new(Consumer::new(entry.name.text, entry.scopes))),
            };
            users.known.insert(entry.name.text.into(), user);
            Ok(())
        });
        flaws.none_or(users)
    }

    /// The user of that name, or what is as costly to ask.
    pub(super) fn get(&self, name: &str) -> &User {
        self.known.get(name).unwrap_or(&NOBODY)
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
        self.known.contains_key(name)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.known.len())
    }
}

impl User {
    /// What it costs to ask for the password.
    pub(super) fn iterations(&self) -> u32 {
        self.hashed.iterations.get()
    }

    /// Who that is, when the password is right. Slow, on purpose.
    pub(super) fn verify(&self, password: &[u8]) -> Option<&Arc<Consumer>> {
        let Hashed {
            iterations,
            salt,
            hash,
        } = &self.hashed;
        let verdict = pbkdf2::verify(PBKDF2_HMAC_SHA256, *iterations, salt, password, hash);
        verdict.ok().and(self.consumer.as_ref())
    }
}

/// The line of a user, without its end. The salt is to be random.
pub fn line(name: &str, password: &[u8], salt: [u8; SALT_BYTES], scopes: &[String]) -> String {
    let mut hash = [0; 32];
    let iterations = NOBODY.hashed.iterations;
    pbkdf2::derive(PBKDF2_HMAC_SHA256, iterations, &salt, password, &mut hash);
    let (salt, hash) = (to_hex(&salt), to_hex(&hash));
    let mut line = format!("{name} {SCHEME}{iterations}:{salt}:{hash}");
    if !scopes.is_empty() {
        line.push(' ');
        line.push_str(&scopes.join(","));
    }
    line
}

fn read_hashed(word: Word<'_>) -> Result<Hashed, Flaw> {
    let parts = || {
        let mut parts = word.text.strip_prefix(SCHEME)?.split(':');
        let (iterations, salt) = (parts.next()?, parts.next()?);
        let hash = parts.next()?;
        let iterations = iterations.parse::<u32>().ok()?;
        let read = (iterations, from_hex(salt)?, from_hex(hash)?);
        parts.next().is_none().then_some(read)
    };
    let Some((iterations, salt, hash)) = parts() else {
        let flaw = word.flaw("this is no hash of a password");
        return Err(flaw.advise("`ringgate token new NAME --password` writes such a line"));
    };
    let in_bounds = (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations);
    match NonZeroU32::new(iterations).filter(|_| in_bounds) {
        Some(iterations) => Ok(Hashed {
            iterations,
            salt,
            hash,
        }),
        None => Err(word
            .flaw(format!("{iterations} iterations are too few or too many"))
            .advise("from 1000 to 10000; more would keep other clients waiting")),
    }
}

#[cfg(test)]
mod tests;
