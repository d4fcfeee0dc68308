//! How the connections of clients have ended so far, in the three ways that matter to someone who stops the process.
//! It only adds up what the workers counted.

use std::ops::Sub;

use ringgate_engine::reason::{ClosedBy, Reason};
use ringgate_engine::snapshot::Snapshot;

/// Connections that have ended; refused ones never began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endings {
    /// For a reason of their own.
    pub(crate) finished: u64,
    /// Cut because the drain timeout was over.
    pub(crate) drained: u64,
    /// Cut because the process was to stop at once.
    pub(crate) shutdown: u64,
}

impl Endings {
    /// Those since the start.
    pub(crate) fn so_far(snapshot: &Snapshot) -> Endings {
        let mut endings = Endings::default();
        for worker in snapshot
            .listeners
            .iter()
            .flat_map(|listener| listener.counters.iter())
        {
            for (by, reason) in pairs() {
                let ended = worker.closed[by as usize].of(reason).get();
                match reason {
                    Reason::Drained => endings.drained += ended,
                    Reason::Shutdown => endings.shutdown += ended,
                    _ => endings.finished += ended,
                }
            }
        }
        endings
    }
}

impl Sub for Endings {
    type Output = Endings;

    fn sub(self, earlier: Endings) -> Endings {
        Endings {
            finished: self.finished - earlier.finished,
            drained: self.drained - earlier.drained,
            shutdown: self.shutdown - earlier.shutdown,
        }
    }
}

fn pairs() -> impl Iterator<Item = (ClosedBy, Reason)> {
    ClosedBy::ALL
        .into_iter()
        .flat_map(|by| Reason::ALL.map(|reason| (by, reason)))
}

#[cfg(test)]
mod tests {
    use ringgate_engine::counters::WorkerId;

    use super::*;
    use crate::testing::process;

    #[test]
    fn only_what_ended_since_counts_and_by_its_reason() {
        let snapshot = process(&["127.0.0.1:1"]).facts.borrow().snapshot();
        let closed = &snapshot.listeners[0].counters.of(WorkerId(0)).closed;
        let end = |by: ClosedBy, reason, count| closed[by as usize].of(reason).add(count);
        end(ClosedBy::Client, Reason::Done, 100);
        let before = Endings::so_far(&snapshot);
        end(ClosedBy::Client, Reason::Done, 1);
        end(ClosedBy::Server, Reason::ServerReset, 2);
        end(ClosedBy::Ringgate, Reason::Drained, 4);
        end(ClosedBy::Ringgate, Reason::Shutdown, 8);
        let expected = Endings {
            finished: 3,
            drained: 4,
            shutdown: 8,
        };
        assert_eq!(Endings::so_far(&snapshot) - before, expected);
    }
}
