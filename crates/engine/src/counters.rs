//! Counters a worker writes and control reads: one cell per worker, so that a write is a plain
//! store and never a contended line. Nothing here is reset; a reader keeps what it saw last.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::reason::{ClosedBy, Reason};
use crate::tls::Failure;

/// The index of a worker, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// A number that only its own worker changes and any thread may read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`. Only the worker that owns the cell may call this: the sum is not atomic, which is
    /// what makes it cost no more than a plain addition.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` away, for gauges. The same rule as for [`Count::add`] holds.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Replaces the number, for gauges. The same rule as for [`Count::add`] holds.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The number as last written.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One `T` for each worker, each on cache lines of its own.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[Padded<T>]>);

/// Keeps neighbours off each other's cache line; two lines, since x86-64 prefetches in pairs.
#[repr(align(128))]
#[derive(Debug)]
struct Padded<T>(T);

impl<T: Default> PerWorker<T> {
    /// Cells for `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self::with(workers, T::default)
    }
}

impl<T> PerWorker<T> {
    /// Cells for `workers` workers, each made by `make`.
    pub fn with(workers: usize, mut make: impl FnMut() -> T) -> Self {
        Self((0..workers).map(|_| Padded(make())).collect())
    }

    /// The cell of one worker.
    ///
    /// # Panics
    /// If there is no such worker; ids are handed out from the same count as the cells.
    pub fn of(&self, worker: WorkerId) -> &T {
        &self.0[usize::from(worker.0)].0
    }

    /// How many workers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none, which a process that serves never has.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The cells of all workers, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|cell| &cell.0)
    }

    /// The sum over all workers of what `count` picks.
    pub fn sum(&self, count: impl Fn(&T) -> &Count) -> u64 {
        self.iter()
            .fold(0, |sum, cell| sum.wrapping_add(count(cell).get()))
    }
}

/// What one worker counts of one listener.
#[derive(Debug, Default)]
pub struct ListenerCounters {
    /// Connections admitted (`ringgate_listener_connections_total`).
    pub connections: Count,
    /// Connections open now (`ringgate_listener_connections_active`).
    pub active: Count,
    /// Connections refused before a server was picked, by reason (`ringgate_listener_rejected_total`).
    pub rejected: PerReason,
    /// TLS handshakes with its clients that failed (`ringgate_tls_handshake_failures_total`).
    pub handshake_failures: [Count; Failure::ALL.len()],
    /// Admitted connections that ended, by who ended them and why (`ringgate_closed_total`).
    pub closed: [PerReason; ClosedBy::ALL.len()],
}

/// One count for each reason.
#[derive(Debug, Default)]
pub struct PerReason([Count; Reason::ALL.len()]);

impl PerReason {
    /// The count of one reason.
    pub fn of(&self, reason: Reason) -> &Count {
        &self.0[reason as usize]
    }
}

/// What one worker counts of one pool.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// Further servers tried, after a failed connect or for an idempotent request
    /// (`ringgate_pool_retries_total`).
    pub retries: Count,
    /// Clients and requests that wait now for a server to come up (`ringgate_pool_held`).
    pub held: Count,
    /// Time to connect to a server, of successful connects (`ringgate_pool_connect_seconds`).
    pub connect: Histogram,
    /// Time from the connect to the server's first byte (`ringgate_pool_first_byte_seconds`).
    pub first_byte: Histogram,
    /// Time from accept to close (`ringgate_pool_session_seconds`).
    pub session: Histogram,
}

/// What one worker counts of one server.
#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Connections made (`ringgate_pool_connections_total`).
    pub connections: Count,
    /// Connections open now (`ringgate_pool_connections_active`).
    pub active: Count,
    /// Bytes received from the server (`ringgate_pool_received_bytes_total`).
    pub received_bytes: Count,
    /// Bytes on their way to the server, counted as they come from the client
    /// (`ringgate_pool_sent_bytes_total`).
    pub sent_bytes: Count,
    /// Failed connects, by reason (`ringgate_pool_connect_errors_total`).
    pub connect_errors: PerReason,
}

/// What one worker counts of itself.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Connections open now (`ringgate_worker_connections_active`).
    pub active: Count,
    /// Answers to [`crate::worker::Message::Beat`]; a worker that turns keeps answering.
    pub beats: Count,
    /// Bytes relayed through a buffer in user space (`ringgate_relay_bytes_total{path="copy"}`).
    pub copied_bytes: Count,
    /// Bytes relayed through a pipe (`ringgate_relay_bytes_total{path="splice"}`).
    pub spliced_bytes: Count,
    /// Bytes relayed of which one side at least is encrypted by us, as the peers said them
    /// (`ringgate_relay_bytes_total{path="tls"}`).
    pub tls_bytes: Count,
    /// Time that TLS handshakes with clients took which succeeded (`ringgate_tls_handshake_seconds`).
    pub handshake: Histogram,
    /// Access-log lines dropped because the writer was behind.
    pub log_dropped: Count,
    /// Times an operation had to wait for a receive buffer.
    pub buffers_waits: Count,
    /// Turns of its ring that left completions waiting for room.
    pub ring_overflows: Count,
    /// Times accepting paused because descriptors or memory ran out.
    pub accept_pauses: Count,
}

/// The upper bounds of a [`Histogram`]'s buckets, in seconds; one more bucket takes the rest.
pub const SECONDS_BOUNDS: [f64; 20] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 600.0, 3600.0,
];

/// Durations by bucket. Each bucket keeps its sum too, so that a reader can hand the mean of a
/// bucket on and the total stays exact.
#[derive(Debug, Default)]
pub struct Histogram([Bucket; SECONDS_BOUNDS.len() + 1]);

/// One bucket of a [`Histogram`].
#[derive(Debug, Default)]
pub struct Bucket {
    /// How many durations fell into the bucket.
    pub count: Count,
    /// Their sum in nanoseconds.
    pub nanos: Count,
}

impl Histogram {
    /// Records one duration.
    pub fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = &self.0[SECONDS_BOUNDS.partition_point(|bound| *bound < seconds)];
        bucket.count.add(1);
        bucket
            .nanos
            .add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The buckets, in the order of [`SECONDS_BOUNDS`], the overflow bucket last.
    pub fn buckets(&self) -> &[Bucket] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_pass() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(100));
        histogram.record(Duration::from_micros(101));
        histogram.record(Duration::from_secs(7200));
        let counts: Vec<u64> = histogram
            .buckets()
            .iter()
            .map(|bucket| bucket.count.get())
            .collect();
        assert_eq!(
            (counts[0], counts[1], counts[SECONDS_BOUNDS.len()]),
            (1, 1, 1)
        );
        assert_eq!(counts.iter().sum::<u64>(), 3);
    }

    #[test]
    fn workers_do_not_share_cells() {
        let cells: PerWorker<WorkerCounters> = PerWorker::new(3);
        cells.of(WorkerId(1)).beats.add(2);
        cells.of(WorkerId(2)).beats.add(5);
        assert_eq!(cells.of(WorkerId(0)).beats.get(), 0);
        assert_eq!(cells.sum(|worker| &worker.beats), 7);
    }
}
