//! Which worker a new connection should go to. The kernel spreads connections by a hash of their
//! addresses, or not at all where workers accept from one socket; what it leaves uneven is evened
//! out here, when a connection is new and belongs to nobody yet.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use crate::counters::{PerWorker, WorkerCounters, WorkerId};

/// An imbalance is real when a worker holds this much more than the mean: an eighth. Measured with 100
/// connections on 4 workers: the fullest held 30 at most in ten runs, and 35 when a quarter and four
/// more were allowed; then short connections on 2 workers cost 0.99 of what they cost now.
const MEAN_SHARE: u64 = 8;

/// And this many connections more, below which it is chance.
const SLACK: u64 = 2;

/// Up to so many workers are compared all; of more, two at random are, which is nearly as good
/// (Mitzenmacher, "The Power of Two Choices", 2001) and touches few cache lines.
const COMPARED_MAX: usize = 8;

/// A worker's own view of the others.
pub(crate) struct Share {
    here: WorkerId,
    random: Cell<u64>,
    /// How many connections were sent to each worker in one turn: it counts them when it takes them
    /// up, and a burst is handed over before that.
    sent: RefCell<Sent>,
}

#[derive(Default)]
struct Sent {
    turn: Option<Instant>,
    connections: Vec<u64>,
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
    /// From a socket that workers share, it goes wherever there is less to do. `turn` is when this
    /// turn of the worker began.
    pub(crate) fn elsewhere(
        &self,
        workers: &PerWorker<WorkerCounters>,
        total: u64,
        shared: bool,
        turn: Instant,
    ) -> Option<WorkerId> {
        let count = workers.len();
        if count < 2 {
            return None;
        }
        let sent = &mut *self.sent.borrow_mut();
        if sent.turn.replace(turn) != Some(turn) {
            sent.connections.clear();
            sent.connections.resize(count, 0);
        }
        let active = |worker: WorkerId| {
            workers.of(worker).active.get() + sent.connections[usize::from(worker.0)]
        };
        let own = active(self.here);
        let mean = total / count as u64;
        if !shared && own <= mean + mean / MEAN_SHARE + SLACK {
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
        sent.connections[usize::from(least.0)] += 1;
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
    use std::time::Duration;

    use super::*;

    fn elsewhere(active: &[u64], shared: bool) -> Option<u16> {
        let workers: PerWorker<WorkerCounters> = PerWorker::new(active.len());
        for (cell, active) in workers.iter().zip(active) {
            cell.active.set(*active);
        }
        let total = active.iter().sum();
        Share::new(WorkerId(0))
            .elsewhere(&workers, total, shared, Instant::now())
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
        let turn = Instant::now();
        let next = |turn| {
            let worker = share.elsewhere(&workers, 100, false, turn);
            worker.map(|worker| worker.0)
        };
        let burst: Vec<_> = (0..3).map(|_| next(turn)).collect();
        assert_eq!(burst, [Some(1), Some(2), Some(1)]);
        assert_eq!(next(turn + Duration::from_millis(1)), Some(1));
    }

    #[test]
    fn of_many_workers_a_less_loaded_one_is_found() {
        let mut active = [10; 64];
        active[0] = 1000;
        assert!(elsewhere(&active, false).is_some());
    }
}
