//! When the next exchange is to begin: as soon as there is a connection for it, or at fixed times.
//! The times are fixed before the run, so a slow server cannot thin out the load it is measured by
//! ("coordinated omission").

use std::time::{Duration, Instant};

/// The beginnings of a run's exchanges.
pub(crate) struct Pace {
    start: Instant,
    end: Instant,
    rate: Option<f64>,
    begun: u64,
}

impl Pace {
    /// From `start` on, for `length`, so many per second or as many as possible.
    pub(crate) fn new(start: Instant, length: Duration, rate: Option<f64>) -> Self {
        Self {
            start,
            end: start + length,
            rate,
            begun: 0,
        }
    }

    /// The intended time of an exchange that may begin now; `None` when none may yet.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due(now)?;
        if due > now {
            return None;
        }
        self.begun += 1;
        Some(due)
    }

    /// When the next exchange is due; `None` when there is no further one.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let due = match self.rate {
            None => now,
            Some(rate) => self.start + Duration::from_secs_f64(self.begun as f64 / rate),
        };
        (due < self.end).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_that_could_not_begin_in_time_are_not_forgotten() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(start, second, Some(4.0));
        assert_eq!(pace.begin(start), Some(start));
        assert_eq!(pace.begin(start), None);
        let late = start + 10 * second;
        let begun: Vec<_> = std::iter::from_fn(|| pace.begin(late)).collect();
        assert_eq!(begun, [1, 2, 3].map(|quarter| start + quarter * second / 4));
    }

    #[test]
    fn without_a_rate_an_exchange_begins_at_any_time_before_the_end() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(start, second, None);
        let middle = start + second / 2;
        assert_eq!(pace.begin(middle), Some(middle));
        assert_eq!(pace.begin(middle), Some(middle));
        assert_eq!(pace.begin(start + second), None);
    }
}
