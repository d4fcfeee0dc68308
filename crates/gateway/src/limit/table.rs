//! When the next request of each key is due: shared by all workers, exact however many there are, and of bounded size.
//! A known key is found without waiting for anybody. It never forgets a key that is over its rate.
//!
//! A key has a bucket of 16 slots in each of three levels, of which the second and the third are made when the one
//! before is too small: a limit that nobody meets costs nothing, one that a few clients meet 64 KiB, and no flood of
//! keys makes it larger than 18 MiB. A newcomer takes a slot whose key has nothing to remember. Where there is none
//! left, the key that has used the least of its allowance makes room; where all are over their rate, the newcomer is
//! refused, until the first of them is not: that is one interval of the rate at most, and letting it pass uncounted
//! instead would make a limit void for whoever has enough keys.
//!
//! A slot changes hands only behind its key's door, which newcomers pass one at a time: so a key never has two slots.
//! What is due in a slot only ever grows, also when it changes hands. So a compare-and-swap from a moment that was seen
//! while the slot was the key's succeeds only while it still is.

use std::hint::spin_loop;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use ringgate_engine::rate::Rate;

/// Slots of a bucket.
const WAYS: usize = 16;

/// Buckets of the levels: 4096, 65,536 and 1,048,576 slots. Powers of two, so that keys which share a bucket of a
/// larger level share one of each smaller level too, and the door with it.
const BUCKETS: [usize; 3] = [1 << 8, 1 << 12, 1 << 16];

/// What is due in a slot that is changing hands.
const MOVING: u64 = u64::MAX;

/// How often a newcomer looks at a closed door before it lets others run.
const SPINS: u32 = 64;

/// What became of a request, and when its key's next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is counted.
    Admitted {
        /// In nanoseconds.
        due_ns: u64,
    },
    /// Its key is over the rate, or nobody can be forgotten for it: it is not counted.
    Refused {
        /// In nanoseconds; of another key when this one has no slot.
        due_ns: u64,
    },
}

/// The keys of one limit.
#[derive(Debug)]
pub(crate) struct Table {
    levels: [OnceLock<Box<[Bucket]>>; BUCKETS.len()],
    /// Of the buckets of the first level: whether a newcomer is inside.
    doors: OnceLock<Box<[AtomicBool]>>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// Whose each slot is; 0 is nobody's.
    tags: [AtomicU64; WAYS],
    /// When the key's next request is due, in nanoseconds from the limit's beginning.
    due_ns: [AtomicU64; WAYS],
}

/// A slot that a newcomer may take, and what was due in it.
struct Vacant<'a> {
    bucket: &'a Bucket,
    way: usize,
    due_ns: u64,
}

impl Table {
    /// Nobody is known.
    pub(crate) const fn new() -> Self {
        Self {
            levels: [const { OnceLock::new() }; BUCKETS.len()],
            doors: OnceLock::new(),
        }
    }

    /// Counts a request of the key with this hash, when the rate lets it.
    ///
    /// 63 bits of the hash, which is secret, stand for the key: two keys share them by chance alone.
    pub(crate) fn admit(&self, hash: u64, rate: &Rate, now_ns: u64) -> Answer {
        // The bucket follows from the upper half; the lowest bit keeps a tag from being nobody's.
        let (place, tag) = ((hash >> 32) as usize, hash | 1);
        self.admit_known(place, tag, rate, now_ns)
            .unwrap_or_else(|| self.admit_newcomer(place, tag, rate, now_ns))
    }

    /// `None` when the key is not known.
    fn admit_known(&self, place: usize, tag: u64, rate: &Rate, now_ns: u64) -> Option<Answer> {
        self.buckets(place)
            .find_map(|bucket| bucket.admit(tag, rate, now_ns))
    }

    fn admit_newcomer(&self, place: usize, tag: u64, rate: &Rate, now_ns: u64) -> Answer {
        let _inside = self.enter(place);
        // Another worker may have brought the same key in meanwhile.
        if let Some(known) = self.admit_known(place, tag, rate, now_ns) {
            return known;
        }
        loop {
            let vacant = match self.vacant(place, rate, now_ns) {
                Ok(vacant) => vacant,
                Err(due_ns) => return Answer::Refused { due_ns },
            };
            let first = rate.admit(0, now_ns).unwrap_or(now_ns);
            let due_ns = first.max(vacant.due_ns + 1);
            if vacant.take(tag, due_ns) {
                return Answer::Admitted { due_ns };
            }
        }
    }

    /// The slot with the least to remember, in the first level that has one with nothing; else when the one of a full
    /// table is due that makes room first.
    fn vacant(&self, place: usize, rate: &Rate, now_ns: u64) -> Result<Vacant<'_>, u64> {
        let mut least: Option<Vacant<'_>> = None;
        for level in 0..BUCKETS.len() {
            let slot = self.bucket(level, place).least();
            if slot.due_ns <= now_ns {
                return Ok(slot);
            }
            if least
                .as_ref()
                .is_none_or(|least| slot.due_ns < least.due_ns)
            {
                least = Some(slot);
            }
        }
        match least {
            Some(slot) if rate.admit(slot.due_ns, now_ns).is_some() => Ok(slot),
            Some(slot) => Err(slot.due_ns),
            None => Err(now_ns),
        }
    }

    /// The bucket of a level, which is made when there is none yet.
    fn bucket(&self, level: usize, place: usize) -> &Bucket {
        let make = || (0..BUCKETS[level]).map(|_| Bucket::default()).collect();
        let buckets = self.levels[level].get_or_init(make);
        &buckets[place & (BUCKETS[level] - 1)]
    }

    /// The buckets that there are.
    fn buckets(&self, place: usize) -> impl Iterator<Item = &Bucket> {
        let made = self.levels.iter().map_while(OnceLock::get);
        made.map(move |buckets| &buckets[place & (buckets.len() - 1)])
    }

    /// Waits for the door. Whoever is inside looks at each slot a few times and never waits, but for a level that is
    /// being made.
    fn enter(&self, place: usize) -> Inside<'_> {
        let make = || (0..BUCKETS[0]).map(|_| AtomicBool::new(false)).collect();
        let door = &self.doors.get_or_init(make)[place & (BUCKETS[0] - 1)];
        let mut spins = 0;
        while door.swap(true, Acquire) {
            spins += 1;
            if spins % SPINS == 0 {
                std::thread::yield_now();
            }
            spin_loop();
        }
        Inside(door)
    }
}

impl Bucket {
    /// `None` when the key is not here.
    fn admit(&self, tag: u64, rate: &Rate, now_ns: u64) -> Option<Answer> {
        let way = (0..WAYS).find(|way| self.tags[*way].load(Relaxed) == tag)?;
        let slot = &self.due_ns[way];
        let mut due_ns = slot.load(Acquire);
        loop {
            // Looked at after what is due: while that has not changed, it is this key's.
            if due_ns == MOVING || self.tags[way].load(Acquire) != tag {
                return None;
            }
            let seen = match rate.admit(due_ns, now_ns) {
                Some(next_ns) => slot
                    .compare_exchange_weak(due_ns, next_ns, AcqRel, Acquire)
                    .map(|_| Answer::Admitted { due_ns: next_ns }),
                None => match slot.load(Acquire) {
                    newer if newer == due_ns => Ok(Answer::Refused { due_ns }),
                    newer => Err(newer),
                },
            };
            match seen {
                Ok(answer) => return Some(answer),
                Err(newer) => due_ns = newer,
            }
        }
    }

    /// The slot that is due first. No slot of a bucket is moving while its door is held.
    fn least(&self) -> Vacant<'_> {
        let slots = self.due_ns.iter().enumerate();
        let dues = slots.map(|(way, due_ns)| (due_ns.load(Acquire), way));
        let (due_ns, way) = dues.min().expect("a bucket has slots");
        Vacant {
            bucket: self,
            way,
            due_ns,
        }
    }
}

impl Vacant<'_> {
    /// False when the key that has the slot has come back meanwhile.
    fn take(&self, tag: u64, due_ns: u64) -> bool {
        let slot = &self.bucket.due_ns[self.way];
        let taken = slot.compare_exchange(self.due_ns, MOVING, AcqRel, Relaxed);
        if taken.is_ok() {
            self.bucket.tags[self.way].store(tag, Release);
            slot.store(due_ns, Release);
        }
        taken.is_ok()
    }
}

/// A newcomer behind its key's door.
struct Inside<'a>(&'a AtomicBool);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND_NS: u64 = 1_000_000_000;

    fn rate(count: u32, seconds: u64, burst: u32) -> Rate {
        let [count, burst] = [count, burst].map(|number| number.try_into().unwrap());
        Rate::with_burst(count, Duration::from_secs(seconds), burst)
    }

    /// Spreads numbers evenly (splitmix64).
    fn hash(number: u64) -> u64 {
        let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    /// Keys of one bucket in every level.
    fn neighbour(number: u64) -> u64 {
        (number + 1) << 1
    }

    fn admitted(answer: Answer) -> bool {
        matches!(answer, Answer::Admitted { .. })
    }

    fn levels(table: &Table) -> usize {
        table.levels.iter().filter_map(OnceLock::get).count()
    }

    #[test]
    fn it_grows_with_the_keys_that_it_has_to_remember_and_not_with_those_that_it_can_forget() {
        let (table, rate) = (Table::new(), rate(1, 1, 1));
        assert_eq!(levels(&table), 0);
        // Each second a hundred others.
        for number in 0..20_000 {
            let now_ns = (1 + number / 100) * SECOND_NS;
            assert!(admitted(table.admit(hash(number), &rate, now_ns)));
        }
        assert_eq!(levels(&table), 1);
        for number in 0..20_000 {
            assert!(admitted(table.admit(hash(number), &rate, 900 * SECOND_NS)));
        }
        assert_eq!(levels(&table), 2);
        for number in 0..20_000 {
            assert!(!admitted(table.admit(hash(number), &rate, 900 * SECOND_NS)));
        }
    }

    #[test]
    fn a_key_over_its_rate_is_never_forgotten_and_one_that_used_less_goes_first() {
        let (table, rate) = (Table::new(), rate(10, 3600, 10));
        let now_ns = SECOND_NS;
        let admit = |number| admitted(table.admit(neighbour(number), &rate, now_ns));
        for _ in 0..10 {
            assert!(admit(0));
        }
        for _ in 0..9 {
            assert!(admit(1));
        }
        for flood in 1000..100_000 {
            assert!(admit(flood), "each of the flood is new");
        }
        assert!(!admit(0));
        assert!(admit(1));
        assert!(!admit(1));
    }

    #[test]
    fn a_newcomer_is_refused_until_the_first_key_can_be_forgotten() {
        let (table, rate) = (Table::new(), rate(1, 60, 1));
        let all = (WAYS * BUCKETS.len()) as u64;
        for number in 0..all {
            let now_ns = (1 + number) * SECOND_NS;
            assert!(admitted(table.admit(neighbour(number), &rate, now_ns)));
        }
        let newcomer = |now_ns| table.admit(neighbour(all), &rate, now_ns);
        let due_ns = 61 * SECOND_NS;
        assert_eq!(newcomer(50 * SECOND_NS), Answer::Refused { due_ns });
        assert!(admitted(newcomer(due_ns)));
        assert!(!admitted(newcomer(due_ns)));
        for number in 1..all {
            assert!(!admitted(table.admit(
                neighbour(number),
                &rate,
                60 * SECOND_NS
            )));
        }
    }

    #[test]
    fn threads_that_fight_over_full_buckets_never_give_a_key_two_slots() {
        let (table, rate) = (Table::new(), rate(5, 3600, 5));
        let over = 20;
        for number in 0..over {
            for _ in 0..4 {
                assert!(admitted(table.admit(neighbour(number), &rate, SECOND_NS)));
            }
        }
        let counts: Vec<AtomicU64> = (0..over).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (table, counts) = (&table, &counts);
                scope.spawn(move || {
                    for turn in 0..20_000 {
                        // More keys than slots: those that used the most stay, and have one request left.
                        let number = hash(turn * 4 + thread) % 200;
                        let answer = table.admit(neighbour(number), &rate, SECOND_NS);
                        if admitted(answer) && number < over {
                            counts[number as usize].fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert!(
            counts.iter().all(|count| count.load(Relaxed) == 1),
            "{counts:?}"
        );
        let tags = table.buckets(0).flat_map(|bucket| &bucket.tags);
        let mut tags: Vec<u64> = tags.map(|tag| tag.load(Relaxed)).collect();
        assert_eq!(tags.len(), WAYS * BUCKETS.len());
        tags.sort_unstable();
        assert!(tags.is_sorted_by(|one, next| one < next), "{tags:?}");
    }
}
