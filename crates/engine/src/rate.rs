//! How often something may happen: the generic cell rate algorithm (ITU-T I.371), which needs one
//! number per client and no clean-up. Pure arithmetic; the numbers live where the clients do.

use std::num::NonZeroU32;
use std::time::Duration;

/// So many in each period, the whole period's worth at once after a quiet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// From one to the next when they come evenly.
    interval_ns: u64,
    /// How far ahead of its time one may come.
    ahead_max_ns: u64,
}

impl Rate {
    /// `count` per `period`.
    pub fn new(count: NonZeroU32, period: Duration) -> Self {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval_ns = period_ns.div_ceil(u64::from(count.get()));
        Self {
            interval_ns,
            ahead_max_ns: interval_ns.saturating_mul(u64::from(count.get()) - 1),
        }
    }

    /// Whether one may happen at `now_ns` when the next is due at `due_ns` (0 at first): then when
    /// the one after it is due.
    pub(crate) fn admit(&self, due_ns: u64, now_ns: u64) -> Option<u64> {
        let in_time = due_ns.saturating_sub(now_ns) <= self.ahead_max_ns;
        in_time.then(|| due_ns.max(now_ns).saturating_add(self.interval_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    const SECOND_NS: u64 = 1_000_000_000;

    fn rate(count: u32, seconds: u64) -> Rate {
        Rate::new(count.try_into().unwrap(), Duration::from_secs(seconds))
    }

    /// How many of those that come at these moments are admitted.
    fn admitted(rate: &Rate, moments: impl IntoIterator<Item = u64>) -> u64 {
        let mut due = 0;
        let admit = |now: &u64| match rate.admit(due, *now) {
            Some(next) => {
                due = next;
                true
            }
            None => false,
        };
        moments.into_iter().filter(admit).count() as u64
    }

    #[test]
    fn a_period_s_worth_may_come_at_once_and_then_the_rate_holds() {
        for (count, seconds) in [(1, 1), (50, 1), (3, 10), (6000, 60), (1_000_000, 1)] {
            let rate = rate(count, seconds);
            let many = u64::from(count) * 2;
            assert_eq!(
                admitted(&rate, (0..many).map(|_| 5 * SECOND_NS)),
                u64::from(count)
            );
        }
        // Ten periods of twice as many as may come: the burst and the rate, to the last one.
        for (count, seconds) in [(1, 1), (50, 1), (3, 10), (6000, 60), (7, 1)] {
            let period = seconds * SECOND_NS;
            let step = period / (2 * u64::from(count));
            let moments = (0..20 * u64::from(count)).map(|turn| SECOND_NS + turn * step);
            let expected = 11 * u64::from(count);
            let seen = admitted(&rate(count, seconds), moments);
            assert!(
                expected - seen <= 1,
                "{count}/{seconds}s: {seen} of {expected}"
            );
        }
    }

    #[test]
    fn no_stretch_of_time_admits_more_than_the_burst_and_the_rate() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let count = 1 + random.below(20) as u32;
            let rate = rate(count, 1);
            let (mut now, mut due, mut times) = (0, 0, Vec::new());
            for _ in 0..500 {
                now += random.below(2 * SECOND_NS / u64::from(count));
                if let Some(next) = rate.admit(due, now) {
                    due = next;
                    times.push(now);
                }
            }
            for first in 0..times.len() {
                for last in first..times.len() {
                    let passed = times[last] - times[first];
                    let most = u64::from(count) + passed * u64::from(count) / SECOND_NS;
                    assert!((last - first + 1) as u64 <= most, "seed {seed}");
                }
            }
        }
    }
}
