//! How many bytes of a listener may move per second: one account for all workers, from which each
//! draws enough for a while, so that not every chunk is a matter between them. It only says when
//! bytes may go on; the waiting is the relay's.

use std::num::NonZeroU64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::counters::{Count, PerWorker, WorkerId};

const SECOND_NS: u64 = 1_000_000_000;

/// What was not used may be made up for within this time: longer than timers are late.
const CREDIT_NS: u64 = 20_000_000;

/// A worker draws what flows in this time at once, within the bounds below.
const DRAW_NS: u64 = 5_000_000;
const DRAW_BYTES_LEAST: u64 = 1024;
const DRAW_BYTES_MAX: u64 = 1024 * 1024;

/// The most and the least that is spliced in one piece; a copied one is as long as a buffer at most.
const PIECE_BYTES_LEAST: u64 = 16 * 1024;
const PIECE_BYTES_MAX: u64 = 1024 * 1024;

/// A bound on bytes per second.
#[derive(Debug)]
pub struct Bandwidth {
    bytes_per_second: NonZeroU64,
    draw_bytes: u64,
    /// Until when the bytes drawn so far take, in nanoseconds from the epoch.
    spent_until_ns: AtomicU64,
    /// What each worker has drawn and not used.
    drawn: PerWorker<Count>,
    epoch: Instant,
}

impl Bandwidth {
    /// So many bytes per second, over all of so many workers.
    pub fn new(bytes_per_second: NonZeroU64, workers: usize) -> Self {
        let rate = bytes_per_second.get();
        let flows_ns =
            |ns: u64| u64::try_from(u128::from(rate) * u128::from(ns) / u128::from(SECOND_NS));
        let draw = flows_ns(DRAW_NS).unwrap_or(u64::MAX);
        Self {
            bytes_per_second,
            draw_bytes: draw.clamp(DRAW_BYTES_LEAST, DRAW_BYTES_MAX),
            spent_until_ns: AtomicU64::new(0),
            drawn: PerWorker::new(workers),
            epoch: Instant::now(),
        }
    }

    /// How many bytes should move in one piece, so that other connections get their turn.
    pub fn piece_bytes(&self) -> usize {
        let piece = self.draw_bytes.clamp(PIECE_BYTES_LEAST, PIECE_BYTES_MAX);
        usize::try_from(piece).unwrap_or(usize::MAX)
    }

    /// Takes `bytes` for a connection of that worker: `Some` when they have to wait.
    pub(crate) fn take(&self, worker: WorkerId, bytes: u64, now: Instant) -> Option<Turn<'_>> {
        let drawn = self.drawn.of(worker);
        let short = bytes.saturating_sub(drawn.get());
        if short == 0 {
            drawn.sub(bytes);
            return None;
        }
        let draw = short.max(self.draw_bytes);
        let takes_ns = self.takes_ns(draw);
        let now_ns = self.since_epoch(now);
        let after = |until: u64| {
            until
                .max(now_ns.saturating_sub(CREDIT_NS))
                .saturating_add(takes_ns)
        };
        let before = self
            .spent_until_ns
            .fetch_update(Relaxed, Relaxed, |until| Some(after(until)))
            .unwrap_or_else(|until| until);
        drawn.set(drawn.get() + draw - bytes);
        let until_ns = after(before);
        (until_ns > now_ns).then(|| Turn {
            account: self,
            at: self.epoch + Duration::from_nanos(until_ns),
            takes_ns: self.takes_ns(bytes),
        })
    }

    fn takes_ns(&self, bytes: u64) -> u64 {
        let ns =
            u128::from(bytes) * u128::from(SECOND_NS) / u128::from(self.bytes_per_second.get());
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    fn since_epoch(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }
}

/// Bytes that have to wait. When it is dropped before its time, they are put back, so that a
/// connection that ends while it waits takes nothing from the others.
pub(crate) struct Turn<'a> {
    account: &'a Bandwidth,
    /// When they may go on.
    pub(crate) at: Instant,
    takes_ns: u64,
}

impl Turn<'_> {
    /// The time has come.
    pub(crate) fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let put_back = |until: u64| Some(until.saturating_sub(self.takes_ns));
        let _ = self
            .account
            .spent_until_ns
            .fetch_update(Relaxed, Relaxed, put_back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    const MIB: u64 = 1024 * 1024;

    fn bandwidth(bytes_per_second: u64, workers: usize) -> Bandwidth {
        Bandwidth::new(bytes_per_second.try_into().unwrap(), workers)
    }

    /// Connections that each move pieces one after the other for `seconds`; what moved in all.
    fn moved(bandwidth: &Bandwidth, workers: u16, connections: usize, seconds: u64) -> u64 {
        let begun = bandwidth.epoch + Duration::from_secs(1);
        let end = begun + Duration::from_secs(seconds);
        let mut random = Random::new(connections as u64);
        let mut next: Vec<Instant> = vec![begun; connections];
        let mut moved = 0;
        loop {
            let (index, now) = next
                .iter()
                .copied()
                .enumerate()
                .min_by_key(|(_, at)| *at)
                .unwrap();
            if now >= end {
                return moved;
            }
            let worker = WorkerId(index as u16 % workers);
            let bytes = 1 + random.below(bandwidth.piece_bytes() as u64);
            moved += bytes;
            // A timer is up to 5 ms late.
            next[index] = match bandwidth.take(worker, bytes, now) {
                Some(turn) => {
                    let at = turn.at + Duration::from_micros(random.below(5000));
                    turn.done();
                    at
                }
                None => now,
            };
        }
    }

    #[test]
    fn what_moves_is_the_bandwidth_however_many_workers_and_connections() {
        for (rate, connections) in [(MIB, 1), (10 * MIB, 1), (10 * MIB, 50), (1024 * MIB, 3)] {
            for workers in [1, 8] {
                let moved = moved(&bandwidth(rate, workers.into()), workers, connections, 10);
                let share = moved as f64 / (10 * rate) as f64;
                assert!(
                    (0.98..1.12).contains(&share),
                    "{rate}, {connections}, {workers}: {share}"
                );
            }
        }
    }

    #[test]
    fn connections_that_end_while_they_wait_take_nothing_from_the_others() {
        let bandwidth = bandwidth(MIB, 1);
        let now = bandwidth.epoch + Duration::from_secs(1);
        let waiting: Vec<_> = (0..1000)
            .filter_map(|_| bandwidth.take(WorkerId(0), 16 * 1024, now))
            .collect();
        assert!(waiting.last().unwrap().at > now + Duration::from_secs(10));
        drop(waiting);
        let next = bandwidth.take(WorkerId(0), 16 * 1024, now).unwrap();
        assert!(next.at < now + Duration::from_millis(100));
    }
}
