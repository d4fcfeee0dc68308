//! How often something may happen: the generic cell rate algorithm (ITU-T I.371), which needs one
//! number per client and no clean-up. Pure arithmetic; the numbers live where the clients do.

use std::num::NonZeroU32;
use std::time::Duration;

/// Longer is forever: 146 years. Four of them fit into 64 bits, so that no sum of a moment, an
/// interval and what may come ahead overflows.
const LONGEST_NS: u64 = u64::MAX / 4;

/// So many in each period, and some of them at once after a quiet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// From one to the next when they come evenly.
    interval_ns: u64,
    /// How far ahead of its time one may come.
    ahead_max_ns: u64,
}

impl Rate {
    /// `count` per `period`; the whole period's worth may come at once.
    pub fn new(count: NonZeroU32, period: Duration) -> Self {
        Self::with_burst(count, period, count)
    }

    /// `count` per `period`; `burst` may come at once.
    pub fn with_burst(count: NonZeroU32, period: Duration, burst: NonZeroU32) -> Self {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval_ns = period_ns.div_ceil(u64::from(count.get()));
        let interval_ns = interval_ns.clamp(1, LONGEST_NS);
        let ahead_ns = interval_ns.saturating_mul(u64::from(burst.get()) - 1);
        Self {
            interval_ns,
            ahead_max_ns: ahead_ns.min(LONGEST_NS),
        }
    }

    /// Whether one may happen at `now_ns` when the next is due at `due_ns` (0 at first): then when
    /// the one after it is due, which is later.
    pub fn admit(&self, due_ns: u64, now_ns: u64) -> Option<u64> {
        let in_time = due_ns.saturating_sub(now_ns) <= self.ahead_max_ns;
        in_time.then(|| due_ns.max(now_ns).saturating_add(self.interval_ns))
    }

    /// How many may happen at once at `now_ns`.
    pub fn left(&self, due_ns: u64, now_ns: u64) -> u64 {
        let ahead_ns = due_ns.saturating_sub(now_ns);
        (self.ahead_max_ns + self.interval_ns).saturating_sub(ahead_ns) / self.interval_ns
    }

    /// Nanoseconds from `now_ns` until one more than [`Rate::left`] may happen at once; 0 when never
    /// more can.
    pub fn until_more_ns(&self, due_ns: u64, now_ns: u64) -> u64 {
        let more_ns = self.left(due_ns, now_ns) * self.interval_ns;
        self.ahead_max_ns
            .checked_sub(more_ns)
            .map_or(0, |ahead_ns| due_ns.saturating_sub(now_ns) - ahead_ns)
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
    fn what_is_left_and_when_more_comes_is_what_is_admitted() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let burst = 1 + random.below(20) as u32;
            let rate = Rate::with_burst(
                (1 + random.below(20) as u32).try_into().unwrap(),
                Duration::from_secs(1),
                burst.try_into().unwrap(),
            );
            let (mut now, mut due) = (SECOND_NS, 0);
            assert_eq!(rate.left(due, now), u64::from(burst));
            assert_eq!(rate.until_more_ns(due, now), 0);
            for _ in 0..500 {
                now += random.below(SECOND_NS / 10);
                due = rate.admit(due, now).unwrap_or(due);
                let left = rate.left(due, now);
                let at_once = |now| {
                    let mut due = due;
                    let admit = || rate.admit(due, now).map(|next| due = next);
                    std::iter::repeat_with(admit)
                        .map_while(|admitted| admitted)
                        .count() as u64
                };
                let more = now + rate.until_more_ns(due, now);
                assert_eq!(at_once(now), left, "seed {seed}");
                assert_eq!(at_once(more - 1), left, "seed {seed}");
                assert_eq!(at_once(more), left + 1, "seed {seed}");
            }
        }
    }

    #[test]
    fn no_rate_is_too_extreme() {
        let forever = Duration::from_secs(u64::MAX);
        for (count, period) in [
            (1, forever),
            (u32::MAX, forever),
            (u32::MAX, Duration::from_nanos(1)),
            (1, Duration::ZERO),
        ] {
            for burst in [1, 2, u32::MAX] {
                let rate =
                    Rate::with_burst(count.try_into().unwrap(), period, burst.try_into().unwrap());
                for now in [0, 1, SECOND_NS, u64::MAX / 4] {
                    let next = rate.admit(0, now).unwrap();
                    assert!(next > now);
                    assert!(rate.left(next, now) < u64::from(burst));
                    for now in [0, now, u64::MAX] {
                        let more = rate.until_more_ns(next, now);
                        assert!(more <= next, "{rate:?}");
                    }
                }
            }
        }
        let once = Rate::new(NonZeroU32::MIN, forever);
        let next = once.admit(0, SECOND_NS).unwrap();
        assert_eq!(once.admit(next, 3600 * SECOND_NS), None);
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
