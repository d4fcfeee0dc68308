//! Which worker a new connection should go to. The kernel spreads connections by a hash of their
//! addresses, or not at all where workers accept from one socket; what it leaves uneven is evened
//! out here, when a connection is new and belongs to nobody yet.

use std::cell::{Cell, RefCell};

use crate::counters::{PerWorker, WorkerCounters, WorkerId};

/// An imbalance is real when a worker holds this much more than the mean. Of 100 connections held by 4
/// workers the fullest had 30 at most in ten runs, with a quarter and 4 connections 35; short connections
/// on 2 workers cost 1.01 of what they do then. An eighth …
const MEAN_SHARE: u64 = 8;

/// … and this many connections, below which it is chance.
const SLACK: u64 = 2;

/// Up to so many workers are compared all; of more, two at random are, which is nearly as good
/// (Mitzenmacher, "The Power of Two Choices", 2001) and touches few cache lines.
const COMPARED_MAX: usize = 8;

/// A worker's own view of the others.
pub(crate) struct Share {
    here: WorkerId,
    random: Cell<u64>,
    /// By worker: how many connections were sent to it while it counted so many.
    sent: RefCell<Vec<Sent>>,
}

#[derive(Clone, Copy, Default)]
struct Sent {
    connections: u64,
    counted: u64,
}

impl Share {
    pub(crate) fn new(here: WorkerId) -> Self {
        Self {
            here,
            random: Cell::new(u64::from(here.0).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            sent: RefCell::default(),
        }
    }

    /// The less loaded worker that a connection accepted here should go to, if it should go away.
    /// From a socket that workers share, it goes wherever there is less to do.
    pub(crate) fn elsewhere(
        &self,
        workers: &PerWorker<WorkerCounters>,
        total: u64,
        shared: bool,
    ) -> Option<WorkerId> {
        let count = workers.len();
        let mut sent = self.sent.borrow_mut();
        sent.resize(count, Sent::default());
        // It counts a connection when it takes it up, and a burst is handed over before that.
        let active = |worker: WorkerId| {
            let counted = workers.of(worker).active.get();
            let sent = sent[usize::from(worker.0)];
            counted
                + if sent.counted == counted {
                    sent.connections
                } else {
                    0
                }
        };
        let own = active(self.here);
        let mean = total / count as u64;
        if count < 2 || (!shared && own <= mean + mean / MEAN_SHARE + SLACK) {
            return None;
        }
        let least = if count <= COMPARED_MAX {
            (0..count as u16)
                .map(WorkerId)
                .min_by_key(|worker| active(*worker))?
        } else {
            let (first, second) = (self.draw(count), self.draw(count));
            if active(first) <= active(second) {
                first
            } else {
                second
            }
        };
        if active(least) >= own {
            return None;
        }
        let counted = workers.of(least).active.get();
        let connections = active(least) - counted + 1;
        sent[usize::from(least.0)] = Sent {
            connections,
            counted,
        };
        Some(least)
    }

    /// A worker at random (xorshift, Marsaglia 2003).
    fn draw(&self, count: usize) -> WorkerId {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        WorkerId((random % count as u64) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere(active: &[u64], shared: bool) -> Option<u16> {
        let workers: PerWorker<WorkerCounters> = PerWorker::new(active.len());
        for (cell, active) in workers.iter().zip(active) {
            cell.active.set(*active);
        }
        let total = active.iter().sum();
        Share::new(WorkerId(0))
            .elsewhere(&workers, total, shared)
            .map(|worker| worker.0)
    }

    #[test]
    fn a_connection_stays_unless_the_imbalance_is_real() {
        for (active, shared, expected) in [
            (&[100][..], false, None),
            (&[4, 0], false, None),
            (&[50, 50], false, None),
            (&[56, 44], false, None),
            (&[70, 30], false, Some(1)),
            (&[30, 70], false, None),
            (&[90, 60, 20, 70], false, Some(2)),
            (&[1, 0], true, Some(1)),
            (&[0, 0], true, None),
            (&[3, 3], true, None),
        ] {
            assert_eq!(elsewhere(active, shared), expected, "{active:?}");
        }
    }

    #[test]
    fn a_burst_is_not_sent_to_one_worker_alone() {
        let workers: PerWorker<WorkerCounters> = PerWorker::new(3);
        workers.of(WorkerId(0)).active.set(100);
        let share = Share::new(WorkerId(0));
        let to: Vec<_> = (0..4)
            .map(|_| share.elsewhere(&workers, 100, false).map(|worker| worker.0))
            .collect();
        assert_eq!(to, [Some(1), Some(2), Some(1), Some(2)]);
    }

    #[test]
    fn of_many_workers_a_less_loaded_one_is_found() {
        let mut active = [10; 64];
        active[0] = 1000;
        assert!(elsewhere(&active, false).is_some());
    }
}
