//! When keys are fetched: regularly, sooner when a token names one that is not known, and again when that failed; and
//! when the old ones are too old. It has no clock: whoever asks says what time it is.

use std::time::{Duration, Instant};

/// Two fetches are this far apart, however many tokens name keys that are not known.
const WANTED_PERIOD: Duration = Duration::from_secs(30);

/// While there are no keys at all, it is tried again after this, doubled each time up to [`WANTED_PERIOD`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// What happened so far.
#[derive(Debug)]
pub(super) struct Schedule {
    refresh: Duration,
    max_age: Duration,
    tried: Option<Instant>,
    succeeded: Option<Instant>,
    /// How often it failed since.
    failures: u32,
}

impl Schedule {
    pub(super) fn new(refresh: Duration, max_age: Duration) -> Schedule {
        Schedule {
            refresh,
            max_age,
            tried: None,
            succeeded: None,
            failures: 0,
        }
    }

    /// Whether keys are to be fetched now. `is_wanted` says that a token named one that is not known.
    pub(super) fn is_due(&self, is_wanted: bool, now: Instant) -> bool {
        let Some(tried) = self.tried else { return true };
        let period = match self.failures {
            0 if is_wanted => self.refresh.min(WANTED_PERIOD),
            0 => self.refresh,
            failures if self.succeeded.is_none() => {
                (FIRST_RETRY * 2_u32.pow(failures.min(10) - 1)).min(WANTED_PERIOD)
            }
            _ => self.refresh.min(WANTED_PERIOD),
        };
        now.saturating_duration_since(tried) >= period
    }

    /// A fetch began at that time and ended well or badly.
    pub(super) fn note(&mut self, began: Instant, is_good: bool) {
        self.tried = Some(began);
        match is_good {
            true => (self.succeeded, self.failures) = (Some(began), 0),
            false => self.failures = self.failures.saturating_add(1),
        }
    }

    /// Whether the keys that there are may not be used any more.
    pub(super) fn is_outdated(&self, now: Instant) -> bool {
        let age = self.succeeded.map(|at| now.saturating_duration_since(at));
        age.is_some_and(|age| age > self.max_age)
    }

    /// The keys that there were are not used any more.
    pub(super) fn forget(&mut self) {
        self.succeeded = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(300);
    const MAX_AGE: Duration = Duration::from_secs(3600);

    /// The seconds of an hour in which a fetch begins.
    fn fetches(is_wanted: bool, is_good: impl Fn(u64) -> bool) -> Vec<u64> {
        let begun = Instant::now();
        let mut schedule = Schedule::new(REFRESH, MAX_AGE);
        let mut fetches = Vec::new();
        for second in 0..3600 {
            let now = begun + Duration::from_secs(second);
            if schedule.is_due(is_wanted, now) {
                fetches.push(second);
                schedule.note(now, is_good(second));
            }
        }
        fetches
    }

    #[test]
    fn keys_are_fetched_regularly() {
        assert_eq!(fetches(false, |_| true)[..3], [0, 300, 600]);
    }

    #[test]
    fn however_many_keys_are_unknown_fetches_are_thirty_seconds_apart() {
        let fetches = fetches(true, |_| true);
        assert_eq!(fetches.len(), 120);
        assert!(fetches.windows(2).all(|pair| pair[1] - pair[0] == 30));
    }

    #[test]
    fn without_any_keys_it_is_tried_soon_and_then_less_often() {
        assert_eq!(fetches(true, |_| false)[..8], [0, 1, 3, 7, 15, 31, 61, 91]);
    }

    #[test]
    fn with_old_keys_a_failure_is_tried_again_every_thirty_seconds() {
        let fetches = fetches(true, |second| second == 0 || second > 100);
        assert_eq!(fetches[..6], [0, 30, 60, 90, 120, 150]);
    }

    #[test]
    fn keys_are_used_until_they_are_too_old() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(REFRESH, MAX_AGE);
        assert!(!schedule.is_outdated(begun));
        schedule.note(begun, true);
        schedule.note(begun + REFRESH, false);
        assert!(!schedule.is_outdated(begun + MAX_AGE));
        let later = begun + MAX_AGE + Duration::from_secs(1);
        assert!(schedule.is_outdated(later));
        schedule.forget();
        assert!(!schedule.is_outdated(later));
    }
}
