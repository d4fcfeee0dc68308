//! The clients of a listener: how many connections each has open and when its next one is due,
//! shared by all workers and exact however many there are. A table of fixed size: it never grows.
//! When a bucket is full, the client that has nothing open and the least to remember makes room for
//! a new one; one that has connections open or is over its rate never does.
//!
//! A client that is known is found without waiting for anybody. A slot changes hands only while its
//! client has nothing open, and only behind its bucket's door, which newcomers pass one at a time:
//! so a client never has two slots.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::hint::spin_loop;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use crate::rate::Rate;

/// The most clients that one table knows at once; it takes about 28 MiB then.
pub const CLIENTS_MAX: usize = 1 << 20;

/// The fewest clients that a table has room for.
const CLIENTS_LEAST: usize = 1 << 12;

/// Slots for each connection that may be open: so many that a bucket is hardly ever full of clients
/// with open connections.
const SLOTS_PER_CONNECTION: usize = 2;

/// Slots of a bucket.
const WAYS: usize = 16;

/// The count of a slot that is changing hands.
const MOVING: u32 = u32::MAX;

/// How often a newcomer looks at a closed door before it lets others run.
const SPINS: u32 = 64;

/// What one client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections it may have open at once.
    pub connections_max: Option<NonZeroU32>,
    /// New connections it may open.
    pub rate: Option<Rate>,
    /// IPv6 addresses that share so many leading bits are one client.
    pub ipv6_prefix: u8,
}

/// Why a client may not have one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has as many open as it may.
    Connections,
    /// It has opened as many of late as it may.
    Rate,
    /// It is new, and each client that could be forgotten for it has connections open or is over its
    /// rate.
    Full,
}

/// The open connection of a client; given back with [`Clients::leave`].
#[derive(Debug)]
#[must_use = "the connection counts until it leaves"]
pub struct Place {
    bucket: u32,
    way: u8,
}

/// The table.
#[derive(Debug)]
pub struct Clients {
    buckets: Box<[Bucket]>,
    /// Secret, so that nobody can choose addresses that meet in one bucket or pass for each other.
    secret: RandomState,
    /// Times are counted from here.
    epoch: Instant,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// Whose each slot is; 0 is nobody's.
    tags: [AtomicU64; WAYS],
    slots: [Slot; WAYS],
    /// Whether a newcomer is inside.
    occupied: AtomicBool,
}

#[derive(Debug, Default)]
struct Slot {
    /// How often the slot has changed hands in the upper half, connections open in the lower: a
    /// change of either makes a compare-and-swap from the state before fail.
    held: AtomicU64,
    /// When the client's next connection is due, in nanoseconds from the epoch.
    due_ns: AtomicU64,
}

impl Clients {
    /// A table for a listener that may have so many connections open.
    pub fn new(connections_max: u32) -> Self {
        let wanted = (connections_max as usize).saturating_mul(SLOTS_PER_CONNECTION);
        let slots = wanted.clamp(CLIENTS_LEAST, CLIENTS_MAX).next_power_of_two();
        Self {
            buckets: (0..slots / WAYS).map(|_| Bucket::default()).collect(),
            secret: RandomState::new(),
            epoch: Instant::now(),
        }
    }

    /// Counts one more connection of a client, when it may have it.
    ///
    /// # Errors
    /// Why it may not.
    pub fn admit(
        &self,
        client: IpAddr,
        limits: &ClientLimits,
        now: Instant,
    ) -> Result<Place, Refusal> {
        let passed = now.saturating_duration_since(self.epoch).as_nanos();
        let now_ns = u64::try_from(passed).unwrap_or(u64::MAX);
        let hash = self.hash(client, limits.ipv6_prefix);
        // The bucket follows from the upper half; the lowest bit keeps a tag from being nobody's.
        let bucket = (hash >> 32) as u32 & (self.buckets.len() - 1) as u32;
        let way = self.buckets[bucket as usize].admit(hash | 1, limits, now_ns)?;
        Ok(Place { bucket, way })
    }

    /// Ends the connection of a client.
    pub fn leave(&self, place: Place) {
        let slot = &self.buckets[place.bucket as usize].slots[usize::from(place.way)];
        slot.held.fetch_sub(1, Release);
    }

    /// What a client is known by. 63 bits of a keyed hash stand for the address: two clients share
    /// them by chance alone, and not within the life of a machine.
    fn hash(&self, client: IpAddr, ipv6_prefix: u8) -> u64 {
        let key = match client.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => {
                let rest = 128u32.saturating_sub(ipv6_prefix.into());
                let network = u128::MAX.checked_shl(rest).unwrap_or(0);
                Ipv6Addr::to_bits(address) & network
            }
        };
        let mut hasher = self.secret.build_hasher();
        hasher.write_u128(key);
        hasher.finish()
    }
}

impl Bucket {
    fn admit(&self, tag: u64, limits: &ClientLimits, now_ns: u64) -> Result<u8, Refusal> {
        if let Some(known) = self.admit_known(tag, limits, now_ns) {
            return known;
        }
        let _inside = self.enter();
        // Another worker may have brought the same client in meanwhile.
        if let Some(known) = self.admit_known(tag, limits, now_ns) {
            return known;
        }
        let way = self.vacate(limits, now_ns).ok_or(Refusal::Full)?;
        let slot = &self.slots[way];
        let due_ns = limits.rate.and_then(|rate| rate.admit(0, now_ns));
        slot.due_ns.store(due_ns.unwrap_or(0), Relaxed);
        self.tags[way].store(tag, Release);
        let times = slot.held.load(Relaxed) >> 32;
        let moved = times.wrapping_add(1) << 32 | 1;
        slot.held.store(moved, Release);
        Ok(way as u8)
    }

    /// `None` when the client is not known.
    fn admit_known(
        &self,
        tag: u64,
        limits: &ClientLimits,
        now_ns: u64,
    ) -> Option<Result<u8, Refusal>> {
        let way = (0..WAYS).find(|way| self.tags[*way].load(Acquire) == tag)?;
        let slot = &self.slots[way];
        let max = limits.connections_max.map_or(MOVING - 1, NonZeroU32::get);
        let mut held = slot.held.load(Acquire);
        loop {
            let open = held as u32;
            // Looked at after `held`: when the exchange succeeds, it was this client's all the time.
            if open == MOVING || self.tags[way].load(Acquire) != tag {
                return None;
            }
            if open >= max {
                return Some(Err(Refusal::Connections));
            }
            match slot
                .held
                .compare_exchange_weak(held, held + 1, Acquire, Acquire)
            {
                Ok(_) => break,
                Err(newer) => held = newer,
            }
        }
        // From here on the slot is this client's until the connection leaves.
        let admit = |due_ns| {
            limits
                .rate
                .map_or(Some(due_ns), |rate| rate.admit(due_ns, now_ns))
        };
        if limits.rate.is_some() && slot.due_ns.fetch_update(Relaxed, Relaxed, admit).is_err() {
            slot.held.fetch_sub(1, Release);
            return Some(Err(Refusal::Rate));
        }
        Some(Ok(way as u8))
    }

    /// Frees the slot of the client with the least to remember, and takes it.
    fn vacate(&self, limits: &ClientLimits, now_ns: u64) -> Option<usize> {
        loop {
            let idle = (0..WAYS).filter_map(|way| {
                let slot = &self.slots[way];
                let held = slot.held.load(Acquire);
                let due_ns = slot.due_ns.load(Relaxed);
                let is_over = limits
                    .rate
                    .is_some_and(|rate| rate.admit(due_ns, now_ns).is_none());
                (held as u32 == 0 && !is_over).then_some((due_ns, way, held))
            });
            let (_, way, held) = idle.min()?;
            let moving = held | u64::from(MOVING);
            // It fails when the client has come back meanwhile.
            if self.slots[way]
                .held
                .compare_exchange(held, moving, Acquire, Relaxed)
                .is_ok()
            {
                return Some(way);
            }
        }
    }

    /// Waits for the door. Whoever is inside looks at each slot once or twice and never waits.
    fn enter(&self) -> Inside<'_> {
        let mut spins = 0;
        while self.occupied.swap(true, Acquire) {
            spins += 1;
            if spins % SPINS == 0 {
                std::thread::yield_now();
            }
            spin_loop();
        }
        Inside(&self.occupied)
    }
}

/// A newcomer behind a bucket's door.
struct Inside<'a>(&'a AtomicBool);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::net::Ipv4Addr;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use crate::testing::Random;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(connections_max: u32, rate: Option<(u32, u32)>) -> ClientLimits {
        ClientLimits {
            connections_max: NonZeroU32::new(connections_max),
            rate: rate.map(|(count, seconds)| {
                Rate::new(NonZeroU32::new(count).unwrap(), SECOND * seconds)
            }),
            ipv6_prefix: 64,
        }
    }

    fn v4(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    /// A table of one bucket.
    fn bucket() -> Clients {
        Clients {
            buckets: [Bucket::default()].into(),
            ..Clients::new(1)
        }
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client_and_mapped_ones_are_ipv4() {
        let check = |prefix: u8, one: &str, other: &str, same: bool| {
            let clients = Clients::new(1);
            let limits = ClientLimits {
                ipv6_prefix: prefix,
                ..limits(1, None)
            };
            let admit = |text: &str| {
                let address = text.parse().unwrap();
                clients.admit(address, &limits, Instant::now()).map(drop)
            };
            assert_eq!(admit(one), Ok(()));
            assert_eq!(admit(other).is_err(), same, "/{prefix}: {one} and {other}");
        };
        check(64, "2001:db8::1", "2001:db8::ffff:1", true);
        check(64, "2001:db8::1", "2001:db8:0:1::1", false);
        check(56, "2001:db8::1", "2001:db8:0:ff::1", true);
        check(128, "2001:db8::1", "2001:db8::2", false);
        check(1, "::1", "7fff::1", true);
        check(1, "::1", "8000::1", false);
        check(64, "1.2.3.4", "::ffff:1.2.3.4", true);
        check(64, "1.2.3.4", "1.2.3.5", false);
        check(64, "::ffff:1.2.3.4", "::ffff:1.2.3.5", false);
    }

    /// Each of many clients asks far more often than it may, spread over the threads.
    fn admitted(threads: u32, clients_each: u32, limits: &ClientLimits) -> HashMap<IpAddr, u32> {
        let table = Clients::new(100_000);
        let now = Instant::now() + SECOND;
        let counts: Vec<AtomicU32> = (0..clients_each).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (table, counts) = (&table, &counts);
                scope.spawn(move || {
                    for turn in (thread..80).step_by(threads as usize) {
                        for (number, count) in counts.iter().enumerate() {
                            let client = v4(number as u32 ^ (turn & 1));
                            let count = match turn & 1 {
                                0 => count,
                                _ => &counts[number ^ 1],
                            };
                            if table.admit(client, limits, now).is_ok() {
                                count.fetch_add(1, Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let counts = counts.iter().enumerate();
        counts
            .map(|(number, count)| (v4(number as u32), count.load(Relaxed)))
            .collect()
    }

    #[test]
    fn one_thread_or_eight_give_the_same_answer() {
        for limits in [
            limits(10, None),
            limits(0, Some((7, 1))),
            limits(10, Some((7, 60))),
        ] {
            let expected = if limits.rate.is_some() { 7 } else { 10 };
            for threads in [1, 8] {
                let seen = admitted(threads, 2000, &limits);
                assert!(
                    seen.values().all(|count| *count == expected),
                    "{threads}: {limits:?}"
                );
            }
        }
    }

    #[test]
    fn never_more_than_the_limit_is_open_while_clients_come_and_go_over_full_buckets() {
        let table = bucket();
        let limits = limits(2, None);
        let open: Vec<AtomicU32> = (0..40).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for seed in 0..8 {
                let (table, open) = (&table, &open);
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    let mut held = Vec::new();
                    for _ in 0..50_000 {
                        let client = random.below(40) as usize;
                        if held.len() < 3
                            && let Ok(place) =
                                table.admit(v4(client as u32), &limits, Instant::now())
                        {
                            assert!(open[client].fetch_add(1, Relaxed) < 2);
                            held.push((client, place));
                        } else if !held.is_empty() {
                            let (client, place) =
                                held.swap_remove(random.below(held.len() as u64) as usize);
                            open[client].fetch_sub(1, Relaxed);
                            table.leave(place);
                        }
                    }
                    for (client, place) in held {
                        open[client].fetch_sub(1, Relaxed);
                        table.leave(place);
                    }
                });
            }
        });
        let left = |slot: &Slot| slot.held.load(Relaxed) as u32;
        assert!(table.buckets[0].slots.iter().all(|slot| left(slot) == 0));
    }

    #[test]
    fn a_flood_of_new_clients_forgets_nobody_who_is_open_or_over_the_rate() {
        let clients = Clients::new(1);
        let limits = limits(3, Some((3, 3600)));
        let now = Instant::now() + SECOND;
        let _open: Vec<Place> = (0..3)
            .map(|_| clients.admit(v4(1), &limits, now).unwrap())
            .collect();
        for _ in 0..3 {
            clients.leave(clients.admit(v4(2), &limits, now).unwrap());
        }
        for number in 100..1_000_000 {
            clients.leave(clients.admit(v4(number), &limits, now).unwrap());
        }
        let refusal = |client| clients.admit(client, &limits, now).unwrap_err();
        assert_eq!(refusal(v4(1)), Refusal::Connections);
        assert_eq!(refusal(v4(2)), Refusal::Rate);
        assert_eq!(clients.buckets.len() * WAYS, CLIENTS_LEAST);
    }

    #[test]
    fn a_newcomer_is_refused_while_nobody_can_be_forgotten() {
        let clients = bucket();
        let limits = limits(1, None);
        let now = Instant::now();
        let mut open: Vec<Place> = (0..WAYS as u32)
            .map(|number| clients.admit(v4(number), &limits, now).unwrap())
            .collect();
        let newcomer = || clients.admit(v4(1000), &limits, now);
        assert_eq!(newcomer().unwrap_err(), Refusal::Full);
        clients.leave(open.swap_remove(5));
        assert_eq!(newcomer().map(drop), Ok(()));
        assert_eq!(
            clients.admit(v4(5), &limits, now).unwrap_err(),
            Refusal::Full
        );
    }

    #[test]
    fn the_size_follows_the_limit_within_bounds() {
        for (connections_max, slots) in [(1, 4096), (10_000, 32_768), (u32::MAX, CLIENTS_MAX)] {
            assert_eq!(Clients::new(connections_max).buckets.len() * WAYS, slots);
        }
    }
}
