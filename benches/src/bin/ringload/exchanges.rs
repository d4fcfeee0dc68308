//! Exchanges on many connections, on one thread: begun when the pace says so, timed from when they
//! were meant to begin.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringgate_benches::{Interest, Readiness};

use crate::connection::{Connection, Progress};
use crate::options::Load;
use crate::pace::Pace;
use crate::report::{Report, Tally};
use crate::request::Request;
use crate::stream::Stream;
use crate::tls::TlsClient;

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// How long exchanges that have begun in time may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Which connections exchanges use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Made before the run, used again and again.
    Kept,
    /// One for each exchange; the client closes first.
    New,
    /// The same, and a connection that fails keeps none from being made.
    Flood,
}

/// Runs exchanges and tells what came of them.
///
/// # Errors
/// When the run could not begin.
pub(crate) fn run(
    server: SocketAddr,
    tls: Option<TlsClient>,
    load: &Load,
    request: Request,
    connections: Connections,
) -> io::Result<Report> {
    // Waiting for a fixed time is as exact as the kernel makes it (PR_SET_TIMERSLACK).
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    let mut run = Run {
        server,
        tls,
        connections,
        request,
        readiness: Readiness::new()?,
        slots: (0..load.connections).map(|_| None).collect(),
        free: (0..load.connections).rev().collect(),
        tally: Tally::new(load.rate),
    };
    if connections == Connections::Kept {
        run.connect_all()?;
    }
    run.run(load)
}

struct Run {
    server: SocketAddr,
    tls: Option<TlsClient>,
    connections: Connections,
    request: Request,
    readiness: Readiness,
    slots: Vec<Option<Connection>>,
    /// Slots on which no exchange is under way.
    free: Vec<usize>,
    tally: Tally,
}

impl Run {
    fn connect_all(&mut self) -> io::Result<()> {
        for (key, slot) in self.slots.iter_mut().enumerate() {
            let began = Instant::now();
            let stream = Stream::open(self.server, self.tls.as_ref())?;
            self.tally.shaken(began, stream.handshake());
            stream.socket().set_nonblocking(true)?;
            let key = key as u64;
            self.readiness.add(stream.socket(), key, Interest::Edges)?;
            *slot = Some(Connection::idle(stream));
        }
        Ok(())
    }

    fn run(mut self, load: &Load) -> io::Result<Report> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut events = Vec::new();
        let start = Instant::now();
        let last = start + load.seconds + GRACE;
        let mut pace = Pace::new(start, load.seconds, load.rate);
        let mut now = start;
        loop {
            self.begin_due(&mut pace);
            let due = pace.due(now);
            if self.under_way() == 0 && due.is_none() {
                break;
            }
            if now >= last || (self.free.is_empty() && self.under_way() == 0) {
                let unfinished = self.under_way() as u64 + u64::from(due.is_some());
                self.tally.failed_times("not done in time", unfinished);
                break;
            }
            let until = due.filter(|_| !self.free.is_empty()).unwrap_or(last);
            let timeout = until.min(last).saturating_duration_since(Instant::now());
            events.extend(self.readiness.wait(Some(timeout))?);
            for event in events.drain(..) {
                self.advance(event, &mut buffer);
            }
            now = Instant::now();
        }
        if self.tls.is_some_and(|tls| tls.resumes) {
            // There is nothing to resume before a first exchange on each.
            self.tally.check_resumed(load.connections as u64);
        }
        Ok(self.tally.finish(start))
    }

    fn under_way(&self) -> usize {
        self.slots.len() - self.free.len() - self.tally.lost
    }

    fn begin_due(&mut self, pace: &mut Pace) {
        while let Some(&slot) = self.free.last()
            && let Some(intended) = pace.begin(Instant::now())
        {
            self.free.pop();
            if let Err(error) = self.begin(slot, intended) {
                self.lose(slot, &error);
            }
        }
    }

    fn begin(&mut self, slot: usize, intended: Instant) -> io::Result<()> {
        match &mut self.slots[slot] {
            Some(connection) => connection.begin(&self.request, intended),
            empty => {
                let stream = Stream::begin(self.server, self.tls.as_ref())?;
                let key = slot as u64;
                self.readiness.add(stream.socket(), key, Interest::Edges)?;
                *empty = Some(Connection::connecting(stream, intended));
                Ok(())
            }
        }
    }

    fn advance(&mut self, event: ringgate_benches::Event, buffer: &mut [u8]) {
        let slot = event.key as usize;
        let Some(connection) = &mut self.slots[slot] else {
            return;
        };
        match connection.advance(event, &self.request, buffer) {
            Ok(Progress::Pending) => {}
            Ok(Progress::Done) => {
                let now = Instant::now();
                self.tally.done(now, now - connection.intended);
                if self.connections != Connections::Kept {
                    let handshake = connection.stream.handshake();
                    self.tally.shaken(connection.intended, handshake);
                    self.slots[slot] = None;
                }
                self.free.push(slot);
            }
            Err(error) => {
                self.free.retain(|free| *free != slot);
                self.lose(slot, &error);
            }
        }
    }

    /// Gives a slot up: the run has failed, and a peer that refuses is not to be hammered, unless
    /// it is by a flood.
    fn lose(&mut self, slot: usize, error: &io::Error) {
        self.slots[slot] = None;
        match self.connections {
            Connections::Flood => self.free.push(slot),
            Connections::Kept | Connections::New => self.tally.lost += 1,
        }
        self.tally.failed_times(&error.to_string(), 1);
    }
}
