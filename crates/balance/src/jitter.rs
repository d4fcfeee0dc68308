//! Spreading of periodic work, so that checks started together do not stay together.
//! It never draws a random number itself.

use std::time::Duration;

/// The interval made up to 10 % shorter or longer, evenly over all values of `random`.
///
/// Exact to a nanosecond up to 500 years, which longer intervals are cut to.
pub fn spread(interval: Duration, random: u64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(500 * 365 * 86_400);
    let interval = interval.min(LONGEST);
    let nanoseconds = interval.as_nanos();
    let shortest = nanoseconds - nanoseconds / 10;
    let extra = (nanoseconds / 5 * u128::from(random)) >> 64;
    Duration::from_nanos_u128(shortest + extra)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cursor;

    #[test]
    fn an_interval_stays_within_a_tenth_and_uses_all_of_it() {
        let interval = Duration::from_secs(2);
        assert_eq!(spread(interval, 0), Duration::from_millis(1800));
        assert_eq!(spread(interval, 1 << 63), interval);
        assert_eq!(
            spread(interval, u64::MAX),
            Duration::from_nanos(2_199_999_999)
        );
        assert_eq!(spread(Duration::ZERO, u64::MAX), Duration::ZERO);
        assert!(spread(Duration::MAX, u64::MAX) > Duration::from_secs(1 << 33));
    }

    #[test]
    fn many_intervals_average_to_the_one_asked_for() {
        let mut random = Cursor::new(6);
        let total: Duration = (0..10_000)
            .map(|_| spread(Duration::from_secs(1), random.random()))
            .sum();
        assert!(total.abs_diff(Duration::from_secs(10_000)) < Duration::from_secs(20));
    }
}
