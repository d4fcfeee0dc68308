//! What must be true of a simulated world that has ended: the log, the counters and the clock tell
//! what the peers have seen.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use ringgate_balance::PoolId;
use ringgate_config::Timeouts;
use ringgate_runtime::sim::{self, Account, Connection, Left, World};

use super::{Fate, WORKER};
use crate::log::Batch;
use crate::reason::{ClosedBy, Reason};
use crate::snapshot::{ListenerId, Published, Shared};

/// Timers fire up to a tick late (`Sleep`), and a turn takes some time in this world.
const LATE_MAX: Duration = Duration::from_millis(5 + 1).saturating_add(sim::LATENESS_MAX);

/// Bytes that can move do so in this time.
const UNHINDERED_MAX: Duration = Duration::from_millis(50);

/// The log tells times in microseconds, rounded down.
const ROUNDING: Duration = Duration::from_micros(1);

/// A line of the access log.
pub(super) struct Line {
    fields: Vec<(String, String)>,
}

impl Line {
    pub(super) fn all(batches: &Receiver<Batch>) -> Vec<Self> {
        let text: Vec<u8> = batches
            .try_iter()
            .flat_map(|batch| batch.text().to_vec())
            .collect();
        let text = String::from_utf8(text).expect("a log is text");
        let fields = |line: &str| {
            line.split(' ')
                .filter_map(|field| field.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let lines = text.lines();
        lines
            .map(|line| Self {
                fields: fields(line),
            })
            .collect()
    }

    pub(super) fn get(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map_or("", |(_, value)| value)
    }

    fn count(&self, name: &str) -> u64 {
        self.get(name).parse().expect("a count in the log")
    }

    fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs_f64(self.get(name).parse().expect("seconds in the log"))
    }

    fn is(&self, reason: Reason) -> bool {
        self.get("reason") == reason.word()
    }

    /// Whether the connection got past the door.
    fn is_admitted(&self) -> bool {
        !self.is(Reason::LimitConnections)
    }
}

/// What must be true of a world that has ended.
pub(super) struct Checks<'a> {
    pub(super) world: &'a World,
    pub(super) fate: Fate,
    pub(super) timeouts: Timeouts,
    pub(super) lines: Vec<Line>,
}

impl Checks<'_> {
    pub(super) fn connections(&self) {
        let mut nameless = 0;
        for connection in self.world.connections() {
            let name = connection.address.to_string();
            let mut lines = self.lines.iter().filter(|line| line.get("client") == name);
            let (line, another) = (lines.next(), lines.next());
            assert!(another.is_none(), "{name} is logged twice");
            if connection.client.nameless {
                nameless += 1;
            }
            match line {
                Some(line) => self.connection(&connection, line),
                None => assert!(
                    connection.client.nameless || connection.client.known_at.is_none(),
                    "{name} is not logged"
                ),
            }
            assert!(
                connection.client.closed_at.is_some(),
                "{name} is not closed"
            );
        }
        let unknown = self
            .lines
            .iter()
            .filter(|line| line.get("client") == "unknown");
        assert_eq!(unknown.count(), nameless, "clients without a name");
    }

    /// What was logged of a connection is what happened.
    fn connection(&self, connection: &Connection, line: &Line) {
        let Connection {
            address,
            client,
            server,
        } = connection;
        let (from_client, from_server) = (line.count("bytes_in"), line.count("bytes_out"));
        assert!(from_client <= client.taken, "{address}: bytes from nowhere");
        assert!(
            client.delivered <= from_server,
            "{address}: bytes from nowhere"
        );
        if let Some(server) = server {
            assert!(from_server <= server.taken, "{address}: bytes from nowhere");
            assert!(
                server.delivered <= from_client,
                "{address}: bytes from nowhere"
            );
            let passed_on = |from: &Account, to: &Account| to.shut_at.is_none() || from.ended;
            assert!(
                passed_on(client, server) && passed_on(server, client),
                "{address}: an end was passed on that never came"
            );
        }
        let broke = |account: &Account| account.failed || account.cut_short;
        let word = line.get("reason");
        if line.is(Reason::Done) {
            self.done(connection, from_client, from_server);
        } else if line.is(Reason::ClientReset) {
            assert!(broke(client), "{address}: {word}");
            let unclean = |server: &Account| server.left == Left::Reset;
            assert!(server.as_ref().is_none_or(unclean), "{address}: {word}");
        } else if line.is(Reason::ServerReset) {
            let failed = server.as_ref().is_none_or(broke);
            assert!(failed && client.left == Left::Reset, "{address}: {word}");
        } else if line.is(Reason::ClientIdle) || line.is(Reason::ServerIdle) {
            self.idle(connection, line);
        } else if line.is(Reason::Drained) || line.is(Reason::Shutdown) {
            let at = client.known_at.unwrap_or_default() + line.seconds("duration_s");
            assert!(self.fate.cuts(at + ROUNDING), "{address}: {word}");
        } else {
            assert_eq!(from_client + from_server, 0, "{address}: {word}");
            assert_eq!(client.left, Left::Reset, "{address}: {word}");
        }
    }

    /// All bytes of both peers have arrived, and both ends were orderly.
    fn done(&self, connection: &Connection, from_client: u64, from_server: u64) {
        let Connection {
            address,
            client,
            server,
        } = connection;
        assert!(client.ended, "{address}: the client never ended");
        assert_eq!(
            client.left,
            Left::Ended,
            "{address}: reset after an orderly end"
        );
        assert_eq!(
            from_client, client.written,
            "{address}: bytes from the client"
        );
        assert_eq!(
            from_server, client.delivered,
            "{address}: bytes to the client"
        );
        if let Some(server) = server {
            assert!(server.ended, "{address}: the server never ended");
            assert_eq!(
                server.left,
                Left::Ended,
                "{address}: reset after an orderly end"
            );
            assert_eq!(
                from_server, server.written,
                "{address}: bytes from the server"
            );
            assert_eq!(
                from_client, server.delivered,
                "{address}: bytes to the server"
            );
        }
    }

    /// It was idle for exactly as long as it may be.
    fn idle(&self, connection: &Connection, line: &Line) {
        let Connection {
            address,
            client,
            server: Some(server),
        } = connection
        else {
            return;
        };
        let stalled = |from: &Account, to: &Account| {
            let since = from.unhindered_since.max(to.unhindered_since);
            let long_ago = from.closed_at.is_some_and(|at| since + UNHINDERED_MAX < at);
            from.unreceived > 0 && to.roomy && long_ago
        };
        assert!(
            !stalled(client, server) && !stalled(server, client),
            "{address}: bytes waited that could go on"
        );
        let forgotten = |from: &Account, to: &Account| {
            let since = from.unhindered_since.max(to.unhindered_since);
            let long_ago = from.closed_at.is_some_and(|at| since + UNHINDERED_MAX < at);
            from.ended && from.unreceived == 0 && to.shut_at.is_none() && to.roomy && long_ago
        };
        assert!(
            !forgotten(client, server) && !forgotten(server, client),
            "{address}: an end waited that could be passed on"
        );
        let last = [client.last_arrival, server.last_arrival, server.known_at];
        let last = last.into_iter().flatten().max().unwrap_or_default();
        let half_closed = [client.shut_at, server.shut_at].into_iter().flatten().min();
        let due = match half_closed {
            Some(since) => last.max(since) + self.timeouts.half_closed,
            None => last + self.timeouts.idle,
        };
        let ended = client.known_at.unwrap_or_default() + line.seconds("duration_s");
        assert!(
            ended + ROUNDING >= due && ended <= due + LATE_MAX,
            "{address}: {} at {ended:?}, due at {due:?}",
            line.get("reason")
        );
    }

    /// An attempt to connect ends within its timeout, and is not given up before.
    pub(super) fn attempts(&self) {
        for attempt in self.world.attempts() {
            let due = attempt.began_at + self.timeouts.connect;
            let given_up = attempt.cancelled_at;
            let early = given_up.is_some_and(|at| at < due && !self.fate.cuts(at));
            assert!(!early, "given up early: {attempt:?}");
            let late = given_up.or(attempt.ended_at);
            assert!(
                late.is_some_and(|at| at <= due + LATE_MAX),
                "given up late: {attempt:?}"
            );
        }
    }

    /// Counters tell what the log tells, and what is open is nothing.
    pub(super) fn counters(&self, published: &Published, shared: &Shared) {
        let snapshot = published.load();
        let listener = snapshot.listener(ListenerId(0)).counters.of(WORKER);
        let worker = shared.workers.of(WORKER);
        let admitted = self.lines.iter().filter(|line| line.is_admitted());
        assert_eq!(listener.connections.get(), admitted.count() as u64);
        let rejected = listener.rejected.of(Reason::LimitConnections).get();
        assert_eq!(
            listener.connections.get() + rejected,
            self.lines.len() as u64
        );
        for (by, reason) in ClosedBy::ALL
            .into_iter()
            .flat_map(|by| Reason::ALL.map(|reason| (by, reason)))
        {
            let is_such = |line: &&Line| {
                line.is_admitted() && line.is(reason) && line.get("closed_by") == by.word()
            };
            let logged = self.lines.iter().filter(is_such).count() as u64;
            let counted = listener.closed[by as usize].of(reason).get();
            assert_eq!(counted, logged, "{by:?} {reason:?}");
        }
        let sum = |name: &str| -> u64 { self.lines.iter().map(|line| line.count(name)).sum() };
        let (bytes_in, bytes_out) = (sum("bytes_in"), sum("bytes_out"));
        assert_eq!(
            worker.copied_bytes.get() + worker.spliced_bytes.get(),
            bytes_in + bytes_out
        );
        let servers = &snapshot.pool(PoolId(0)).servers;
        let of_servers = servers.iter().map(|server| server.counters.of(WORKER));
        let (mut sent, mut received) = (0, 0);
        for server in of_servers {
            sent += server.sent_bytes.get();
            received += server.received_bytes.get();
            assert_eq!(server.active.get(), 0, "a server's connections");
        }
        assert_eq!((sent, received), (bytes_in, bytes_out));
        assert_eq!(listener.active.get(), 0, "a listener's connections");
        assert_eq!(worker.active.get(), 0, "a worker's connections");
        let open = shared
            .connections
            .load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(open, 0, "all connections");
    }
}
