//! How many retries a pool may make: a share of its requests, so that retries cannot multiply a load that its servers
//! already fail under. Pure arithmetic without a clock.

/// Retries that are let through before any request has earned one: a pool that serves little may still retry.
const RESERVE: u32 = 10;

/// What one retry costs, in hundredths.
const COST: u32 = 100;

/// Retries saved up, in hundredths of one.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    percent: u32,
    saved: u32,
}

impl Budget {
    /// Lets `percent` retries through for each hundred requests.
    pub const fn new(percent: u8) -> Self {
        Self {
            percent: percent as u32,
            saved: if percent == 0 { 0 } else { RESERVE * COST },
        }
    }

    /// Notes a request.
    pub fn earn(&mut self) {
        self.saved = (self.saved + self.percent).min(RESERVE * COST);
    }

    /// Whether one more retry may be made now; it is paid for then.
    pub fn spend(&mut self) -> bool {
        let rest = self.saved.checked_sub(COST);
        self.saved = rest.unwrap_or(self.saved);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_requests_once_the_reserve_is_used_up() {
        for (percent, expected) in [(0, 0), (20, 10 + 200), (100, 10 + 990)] {
            let mut budget = Budget::new(percent);
            let retried = (0..1000).filter(|_| {
                budget.earn();
                budget.spend()
            });
            let retried = retried.count() as i64;
            assert!((retried - expected).abs() <= 10, "{percent}: {retried}");
        }
    }
}
