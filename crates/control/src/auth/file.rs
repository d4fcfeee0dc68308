//! One file of credentials: tokens, users or keys. It is read whole, and what it holds is put into its place only when all
//! of it is good; a mistake is told with its line.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use ringgate_gateway::auth::{FILE_BYTES_MAX, Flaw, KEYS_BYTES_MAX, KeyRing, Keys, Tokens, Users};

use super::swap;
use crate::tls::Problem;
use crate::tls::files::{self, Digest};
use crate::tls::problem::Fault;

/// How many flaws of a file are told.
const FLAWS_TOLD: usize = 5;

/// A file that the configuration names.
#[derive(Debug)]
pub(super) struct NamedFile {
    pub(super) path: PathBuf,
    /// Where the configuration names it first.
    key: String,
    pub(super) contents: Contents,
    /// Of the bytes that were taken over last.
    digest: Mutex<Option<Digest>>,
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum Contents {
    Tokens(Arc<ArcSwap<Tokens>>),
    Users(Arc<ArcSwap<Users>>),
    Keys(Arc<KeyRing>),
}

/// What became of a reading.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// How much of what there is now; `None` when the file is as it was.
    pub(super) changed: Option<String>,
    /// What the operator should know.
    pub(super) remarks: Vec<String>,
}

impl Contents {
    pub(super) fn tokens() -> Contents {
        Contents::Tokens(swap())
    }

    pub(super) fn users() -> Contents {
        Contents::Users(swap())
    }

    pub(super) fn keys() -> Contents {
        Contents::Keys(Arc::new(KeyRing::new(Keys::none())))
    }

    /// Whether another one is of the same kind.
    pub(super) fn is_like(&self, other: &Contents) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn bytes_max(&self) -> usize {
        match self {
            Contents::Tokens(_) | Contents::Users(_) => FILE_BYTES_MAX,
            Contents::Keys(_) => KEYS_BYTES_MAX,
        }
    }

    /// Takes over what the bytes say, or nothing of it.
    fn take(&self, bytes: &[u8]) -> Result<Read, Vec<Flaw>> {
        let text = || {
            std::str::from_utf8(bytes).map_err(|error| {
                let before = &bytes[..error.valid_up_to()];
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let what = "this is no text in UTF-8".to_owned();
                vec![Flaw {
                    line,
                    column: 1,
                    what,
                    advice: None,
                }]
            })
        };
        let mut read = Read::default();
        let changed = match self {
            Contents::Tokens(place) => {
                let tokens = Tokens::parse(text()?)?;
                let count = tokens.len();
                place.store(Arc::new(tokens));
                format!("{count} tokens")
            }
            Contents::Users(place) => {
                let users = Users::parse(text()?)?;
                let count = users.len();
                place.store(Arc::new(users));
                format!("{count} users")
            }
            Contents::Keys(ring) => {
                let parsed = Keys::parse(bytes).map_err(|flaw| vec![flaw])?;
                let count = parsed.keys.len();
                read.remarks = parsed.remarks;
                ring.publish(parsed.keys);
                format!("{count} keys")
            }
        };
        read.changed = Some(changed);
        Ok(read)
    }
}

impl NamedFile {
    pub(super) fn new(path: &Path, key: String, contents: Contents) -> NamedFile {
        NamedFile {
            path: path.to_owned(),
            key,
            contents,
            digest: Mutex::new(None),
        }
    }

    /// Where the configuration names it first.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Reads it, and takes over what it holds when that is another thing than before and good.
    pub(super) fn reread(&self) -> Result<Read, Problem> {
        let shown = self.path.display();
        let read = files::read_within(&self.path, self.contents.bytes_max() as u64);
        let read = read.map_err(|fault| fault.at(&self.key))?;
        let digest = Some(Digest::of([read.bytes.as_slice()]));
        let mut known = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == digest {
            return Ok(Read::default());
        }
        let taken = self.contents.take(&read.bytes);
        let mut taken = taken.map_err(|flaws| self.fault(&flaws).at(&self.key))?;
        *known = digest;
        for remark in &mut taken.remarks {
            *remark = format!("{shown}: {remark}");
        }
        // The hash of a password can be guessed against; that of a random token, or a public key, cannot.
        if read.readable_by_all && matches!(self.contents, Contents::Users(_)) {
            let remark = format!("{shown} can be read by every user of the host (chmod o-r)");
            taken.remarks.push(remark);
        }
        Ok(taken)
    }

    fn fault(&self, flaws: &[Flaw]) -> Fault {
        let shown = self.path.display();
        let told: Vec<String> = flaws
            .iter()
            .take(FLAWS_TOLD)
            .map(|flaw| format!("{shown}:{flaw}"))
            .collect();
        let mut fault = Fault::new(told.join("; "));
        if flaws.len() > FLAWS_TOLD {
            fault.what.push_str("; and more");
        }
        let mut advice: Vec<&str> = flaws
            .iter()
            .take(FLAWS_TOLD)
            .filter_map(|flaw| flaw.advice)
            .collect();
        advice.dedup();
        advice.into_iter().fold(fault, Fault::advise)
    }
}
