//! The keys of session tickets: random ones that are replaced every few hours, or those of a file that several nodes
//! share. Whoever seals or opens a ticket loads the ring that is there; nobody waits for it to change.
//!
//! The file holds one key per line, 48 random bytes in base64 (`openssl rand -base64 48`): 16 that name the key, and 32
//! for AES-256-GCM. The first line seals, all of them open. Empty lines and what begins with `#` are skipped.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::tls::files::{self, Digest};
use crate::tls::problem::Fault;

pub(super) const KEY_NAME_BYTES: usize = 16;
const CIPHER_BYTES: usize = 32;
const KEY_BYTES: usize = KEY_NAME_BYTES + CIPHER_BYTES;

/// The most keys that a file may hold.
const FILE_KEYS_MAX: usize = 16;

/// The random keys that are kept: the one that seals, and two that still open, since a ticket lives as long as two
/// rotations.
const RANDOM_KEYS: usize = 3;

/// The keys of a listener's tickets.
pub(crate) struct TicketKeys {
    ring: ArcSwap<Keyring>,
    /// Of the file they are from; `None` when they are random.
    file: Option<Digest>,
}

impl TicketKeys {
    /// A random one, to be rotated.
    pub(crate) fn random() -> Result<TicketKeys, Unspecified> {
        Ok(TicketKeys {
            ring: ArcSwap::from_pointee(Keyring(vec![Arc::new(Key::random()?)])),
            file: None,
        })
    }

    /// Those of a file; `old` comes back when they are the same. The second is whether every user of the host may
    /// read it.
    pub(in crate::tls) fn read(
        path: &Path,
        old: Option<&Arc<TicketKeys>>,
    ) -> Result<(Arc<TicketKeys>, bool), Fault> {
        let contents = files::read(path)?;
        let digest = Digest::of([contents.bytes.as_slice()]);
        let keys = match old.filter(|old| old.file == Some(digest)) {
            Some(old) => Arc::clone(old),
            None => Arc::new(TicketKeys {
                ring: ArcSwap::from_pointee(Keyring(parse(path, &contents.bytes)?)),
                file: Some(digest),
            }),
        };
        Ok((keys, contents.readable_by_all))
    }

    /// Seals with a new random key from now on. Those of a file stay as they are.
    pub(crate) fn rotate(&self) -> Result<(), Unspecified> {
        if self.file.is_some() {
            return Ok(());
        }
        let new = Arc::new(Key::random()?);
        let before = self.ring.load();
        let keys = std::iter::once(new).chain(before.0.iter().cloned());
        self.ring
            .store(Arc::new(Keyring(keys.take(RANDOM_KEYS).collect())));
        Ok(())
    }

    pub(super) fn load(&self) -> Guard<Arc<Keyring>> {
        self.ring.load()
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").finish_non_exhaustive()
    }
}

/// Keys of which the first seals and all open. Never empty.
pub(super) struct Keyring(Vec<Arc<Key>>);

impl Keyring {
    pub(super) fn current(&self) -> &Key {
        &self.0[0]
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<&Key> {
        // The name of a key is no secret: every ticket tells it.
        self.0
            .iter()
            .map(AsRef::as_ref)
            .find(|key| key.name == name)
    }
}

pub(super) struct Key {
    pub(super) name: [u8; KEY_NAME_BYTES],
    /// Its nonces are random, which is good for 2^32 tickets (NIST SP 800-38D §8.3).
    pub(super) cipher: RandomizedNonceKey,
}

impl Key {
    fn random() -> Result<Key, Unspecified> {
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes)?;
        Key::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<Key, Unspecified> {
        let mut name = [0; KEY_NAME_BYTES];
        let (name_bytes, cipher_bytes) = bytes.split_at(KEY_NAME_BYTES);
        name.copy_from_slice(name_bytes);
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, cipher_bytes)?;
        Ok(Key { name, cipher })
    }
}

/// The keys in a file's text. No fault shows any part of a key.
fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Arc<Key>>, Fault> {
    let shown = path.display();
    let advice = "make a key: openssl rand -base64 48";
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Fault::new(format!("{shown} is not text")).advise(advice))?;
    let mut keys: Vec<Arc<Key>> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if keys.len() == FILE_KEYS_MAX {
            return Err(
                Fault::new(format!("{shown} holds more than {FILE_KEYS_MAX} keys"))
                    .advise("drop the last ones, they are the oldest"),
            );
        }
        let wrong =
            |what: String| Fault::new(format!("line {number} of {shown} {what}")).advise(advice);
        let decoded = BASE64_STANDARD
            .decode(line)
            .map_err(|_| wrong("is not base64".to_owned()))?;
        let decoded: [u8; KEY_BYTES] = decoded.try_into().map_err(|wrong_length: Vec<u8>| {
            wrong(format!(
                "holds {} bytes instead of {KEY_BYTES}",
                wrong_length.len()
            ))
        })?;
        let key =
            Key::from_bytes(&decoded).map_err(|_| wrong("cannot be used as a key".to_owned()))?;
        if keys.iter().any(|other| other.name == key.name) {
            return Err(wrong(
                "begins with the same 16 bytes as another line".to_owned(),
            ));
        }
        keys.push(Arc::new(key));
    }
    if keys.is_empty() {
        return Err(Fault::new(format!("{shown} holds no key")).advise(advice));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Directory;
    use crate::tls::tickets::Ticketer;

    fn line(number: u8) -> String {
        BASE64_STANDARD.encode([number; KEY_BYTES])
    }

    #[test]
    fn the_first_key_of_a_file_seals_and_all_open() {
        let directory = Directory::new();
        let path = directory.path("keys");
        let read = |text: String, old| {
            std::fs::write(&path, text).unwrap();
            TicketKeys::read(&path, old)
                .map_err(|fault| fault.what)
                .unwrap()
                .0
        };
        let ticketer = |keys| Ticketer::new(keys, Digest::of([]));
        let old = read(format!("# ours\n\n{}\n", line(1)), None);
        let same = read(format!("# ours\n\n{}\n", line(1)), Some(&old));
        assert!(Arc::ptr_eq(&old, &same));
        let new = read(format!("{}\r\n{}", line(2), line(1)), Some(&old));
        let ticket = ticketer(Arc::clone(&old)).seal(b"session", 1).unwrap();
        assert!(ticketer(Arc::clone(&new)).open(&ticket, 1).is_some());
        let ticket = ticketer(Arc::clone(&new)).seal(b"session", 1).unwrap();
        assert!(ticketer(old).open(&ticket, 1).is_none());
        new.rotate().unwrap();
        assert!(ticketer(new).open(&ticket, 1).is_some());
    }

    #[test]
    fn a_file_that_holds_no_good_keys_is_told_without_them() {
        let check = |text: &str, expected: &str| {
            let what = parse(Path::new("f"), text.as_bytes()).err().unwrap().what;
            assert!(what.contains(expected) && !what.contains("c2Vj"), "{what}");
        };
        check("", "holds no key");
        check("# nothing", "holds no key");
        check("c2Vj cmV0", "line 1 of f is not base64");
        check("\nc2VjcmV0", "line 2 of f holds 6 bytes instead of 48");
        check(
            &format!("{}\n{}", line(1), line(1)),
            "line 2 of f begins with the same",
        );
        let many: Vec<String> = (0..17).map(line).collect();
        check(&many.join("\n"), "more than 16 keys");
        assert!(parse(Path::new("f"), &[0xff, 0xfe]).is_err());
    }
}
