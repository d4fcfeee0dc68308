//! What one worker remembers of credentials that it has verified, so that a client pays for a signature or a slow hash
//! once, and how much it may spend on slow hashes. Bounded in every direction; it never remembers a password, and
//! nothing beyond the end of a token or the keys that it was verified with.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;

use super::Consumer;

/// How many of each kind are remembered; a power of two.
const KEPT_MAX: usize = 4096;

/// How many wrong passwords are remembered, so that a client with an old one costs others nothing.
const REFUSED_MAX: usize = 64;

/// Among how many places a new one may choose: so many that as good as never more of some hundred clients meet in them
/// than there is room for, which would pay for a signature each time.
const WAYS: usize = 8;

/// The end of a signed token is part of its signature: no two tokens share it by chance.
const HASHED_BYTES: usize = 64;

/// Iterations of slow hashes that a worker spends in a second, some 5 % of it.
const ITERATIONS_PER_SECOND: u32 = 50 * 4096;

/// How long a verified password is remembered, in seconds; a file that changes ends it at once.
const PASSWORD_SECONDS: u64 = 600;

/// How long a wrong one is.
const REFUSED_SECONDS: u64 = 30;

/// Tells one reading of keys or users from every other one of this process, and one guard from every other one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl Generation {
    pub(super) fn next() -> Generation {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Generation(NEXT.fetch_add(1, Relaxed))
    }
}

/// Who verified something, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) guard: Generation,
    pub(super) source: Generation,
}

/// What a worker remembers. One for each worker, for all of its guards.
#[derive(Debug)]
pub struct Memory {
    tokens: Kept<Arc<Consumer>>,
    passwords: Kept<Arc<Consumer>>,
    refused: Kept<()>,
    /// What stands for a password here; without one, none is remembered.
    mark_key: Option<hmac::Key>,
    budget: Budget,
}

impl Memory {
    /// Nothing is remembered yet.
    pub fn new() -> Memory {
        Memory {
            tokens: Kept::new(KEPT_MAX),
            passwords: Kept::new(KEPT_MAX),
            refused: Kept::new(REFUSED_MAX),
            mark_key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            budget: Budget::default(),
        }
    }

    /// Whose signed token that is, when it was verified before.
    pub(super) fn token(&self, stamp: Stamp, token: &[u8], now: u64) -> Option<&Arc<Consumer>> {
        self.tokens.get(stamp, token, now)
    }

    /// Remembers a signed token until it ends.
    pub(super) fn keep_token(
        &mut self,
        stamp: Stamp,
        token: &[u8],
        consumer: &Arc<Consumer>,
        until: u64,
    ) {
        let consumer = Arc::clone(consumer);
        self.tokens.put(stamp, token, consumer, until);
    }

    /// What stands for a name and a password.
    pub(super) fn mark(&self, credentials: &[u8]) -> Option<hmac::Tag> {
        let key = self.mark_key.as_ref()?;
        Some(hmac::sign(key, credentials))
    }

    /// What was found out about a name and a password.
    pub(super) fn password(
        &self,
        stamp: Stamp,
        mark: &hmac::Tag,
        now: u64,
    ) -> Option<Option<&Arc<Consumer>>> {
        if let Some(consumer) = self.passwords.get(stamp, mark.as_ref(), now) {
            return Some(Some(consumer));
        }
        self.refused.get(stamp, mark.as_ref(), now).map(|()| None)
    }

    /// Remembers what was found out about a name and a password.
    pub(super) fn keep_password(
        &mut self,
        stamp: Stamp,
        mark: &hmac::Tag,
        verdict: Option<&Arc<Consumer>>,
        now: u64,
    ) {
        match verdict {
            Some(consumer) => {
                let until = now.saturating_add(PASSWORD_SECONDS);
                let consumer = Arc::clone(consumer);
                self.passwords.put(stamp, mark.as_ref(), consumer, until);
            }
            None => {
                let until = now.saturating_add(REFUSED_SECONDS);
                self.refused.put(stamp, mark.as_ref(), (), until);
            }
        }
    }

    /// Whether a slow hash of so many iterations may be computed now.
    pub(super) fn may_spend(&mut self, iterations: u32, now: u64) -> bool {
        self.budget.take(iterations, now)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// What is spent on slow hashes in this second.
#[derive(Debug, Default)]
struct Budget {
    second: u64,
    spent: u32,
}

impl Budget {
    fn take(&mut self, iterations: u32, now: u64) -> bool {
        if now != self.second {
            *self = Budget {
                second: now,
                spent: 0,
            };
        }
        let fits = self.spent.saturating_add(iterations) <= ITERATIONS_PER_SECOND;
        if fits {
            self.spent += iterations;
        }
        fits
    }
}

/// A bounded number of values, each until its time has come or another one takes its place.
#[derive(Debug)]
struct Kept<V> {
    /// `WAYS` places beside each other for what has the same hash; empty until there is something to remember.
    places: Vec<Option<Entry<V>>>,
    places_max: usize,
    hasher: RandomState,
    /// Which of the places is given up next.
    turn: usize,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    /// Of the key, which it stands for until the rest is looked at: nobody else can compute it.
    hash: u64,
    stamp: Stamp,
    until: u64,
    key: Box<[u8]>,
    value: V,
}

impl<V> Entry<V> {
    fn is(&self, hash: u64, stamp: Stamp, key: &[u8]) -> bool {
        self.hash == hash && self.stamp == stamp && verify_slices_are_equal(&self.key, key).is_ok()
    }
}

impl<V> Kept<V> {
    fn new(places_max: usize) -> Self {
        Self {
            places: Vec::new(),
            places_max,
            hasher: RandomState::new(),
            turn: 0,
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let end = &key[key.len().saturating_sub(HASHED_BYTES)..];
        self.hasher.hash_one(end)
    }

    /// The places of what has this hash.
    fn places_of(&self, hash: u64) -> Range<usize> {
        let sets = self.places_max / WAYS;
        let first = (hash % sets as u64) as usize * WAYS;
        first..first + WAYS
    }

    fn get(&self, stamp: Stamp, key: &[u8], now: u64) -> Option<&V> {
        if self.places.is_empty() {
            return None;
        }
        let hash = self.hash(key);
        self.places[self.places_of(hash)]
            .iter()
            .flatten()
            .find(|entry| entry.is(hash, stamp, key))
            .filter(|entry| now < entry.until)
            .map(|entry| &entry.value)
    }

    fn put(&mut self, stamp: Stamp, key: &[u8], value: V, until: u64) {
        if self.places.is_empty() {
            self.places.resize_with(self.places_max, || None);
        }
        let hash = self.hash(key);
        let range = self.places_of(hash);
        let places = &mut self.places[range];
        let is_same = |place: &Option<Entry<V>>| {
            let entry = place.as_ref();
            entry.is_none_or(|entry| entry.is(hash, stamp, key))
        };
        let place = places.iter().position(is_same).unwrap_or_else(|| {
            self.turn = (self.turn + 1) % WAYS;
            self.turn
        });
        places[place] = Some(Entry {
            hash,
            stamp,
            until,
            key: key.into(),
            value,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            guard: Generation::next(),
            source: Generation::next(),
        }
    }

    #[test]
    fn what_is_kept_ends_with_its_time_and_its_source() {
        let mut kept = Kept::new(KEPT_MAX);
        let (one, other) = (stamp(), stamp());
        kept.put(one, b"a token", 7, 100);
        assert_eq!(kept.get(one, b"a token", 99), Some(&7));
        assert_eq!(kept.get(one, b"a token", 100), None);
        assert_eq!(kept.get(one, b"b token", 99), None);
        assert_eq!(kept.get(one, b"a toke", 99), None);
        assert_eq!(kept.get(other, b"a token", 99), None);
        kept.put(one, b"a token", 8, 200);
        assert_eq!(kept.get(one, b"a token", 199), Some(&8));
    }

    #[test]
    fn the_newest_is_always_kept_and_no_more_than_there_are_places() {
        let mut kept = Kept::new(64);
        let stamp = stamp();
        for number in 0..10_000_u32 {
            let key = number.to_be_bytes();
            kept.put(stamp, &key, number, 10);
            assert_eq!(kept.get(stamp, &key, 9), Some(&number));
        }
        assert_eq!(kept.places.len(), 64);
    }

    #[test]
    fn some_hundred_clients_have_room() {
        let stamp = stamp();
        let keys = || (0..500_u32).map(u32::to_be_bytes);
        let has_room_for_all = |_: &u32| {
            let mut kept = Kept::new(KEPT_MAX);
            keys().for_each(|key| kept.put(stamp, &key, (), 10));
            keys().all(|key| kept.get(stamp, &key, 9).is_some())
        };
        // By chance, one of 2,000 has not.
        assert!((0..100).filter(has_room_for_all).count() >= 98);
    }

    #[test]
    fn a_second_has_room_for_so_many_slow_hashes() {
        let mut budget = Budget::default();
        let in_second = |budget: &mut Budget, second| {
            let takes = std::iter::repeat_with(|| budget.take(4096, second));
            takes.take(1000).filter(|fits| *fits).count()
        };
        assert_eq!(in_second(&mut budget, 7), 50);
        assert_eq!(in_second(&mut budget, 8), 50);
        assert_eq!(in_second(&mut budget, 7), 50, "a clock may be set back");
    }
}
