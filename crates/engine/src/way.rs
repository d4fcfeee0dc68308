//! One direction of a relay: how its bytes move, and what is noted of them. Small and interactive
//! flows are received into a buffer and sent from it; a flow that turns bulk is spliced through a
//! pipe until it goes quiet. Each direction holds at most one buffer that is being sent and one
//! that has just arrived, or a pipe: that is the whole back-pressure.

mod secured;

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use ringgate_runtime::{Chunk, Pipe, Sleep, next_turn, now, timeout};

use crate::counters::{Count, ServerCounters, WorkerCounters};
use crate::dial::Dialled;
use crate::reason::{ClosedBy, Reason};
use crate::session::{Ending, Session};
use crate::wire::Wire;

/// Receives in a row that fill their buffer before a direction counts as bulk. Measured as CPU time
/// to nginx with 256 KiB buffers, for a reply on a new connection of 64 KiB and of 256 KiB: 1 gives
/// 0.92 and 0.72, 2 gives 0.93 and 0.74, 4 gives 0.89 and 0.86, copying alone 0.90 and 1.15. One full
/// receive says little: a reply may be as long as a buffer.
const FULL_RECEIVES: u32 = 2;

/// A splice that moves less than this is a quiet one. On kept connections copying pieces of 16 KiB
/// costs 0.98 of splicing them; of 64 KiB, 1.16.
const QUIET_BYTES: usize = 16 * 1024;

/// Quiet splices in a row before a direction goes back to buffers: one is but the tail of a reply.
const QUIET_SPLICES: u32 = 4;

/// Times in a row that a direction is readable and cannot be spliced before it goes back to buffers.
/// io_uring may tell of more than there is, so that one time means nothing.
const BLOCKED_MAX: u32 = 8;

/// How long a direction keeps its pipe while nothing comes. To make a pipe and to close it costs about
/// 5 µs, as much as copying 64 KiB; a worker has 256 of them, so a flow that pauses must not keep one.
const PIPE_PATIENCE: Duration = Duration::from_millis(50);

/// Chunks that a direction moves before other connections get their turn.
const CHUNKS_PER_TURN: u64 = 64;

/// Splices that a direction makes before other connections get their turn.
const SPLICES_PER_TURN: u64 = 4;

/// One end of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    /// The other end.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// What a failed call on this side's socket means.
    fn failed(self) -> Ending {
        match self {
            Self::Client => Ending {
                by: ClosedBy::Client,
                reason: Reason::ClientReset,
            },
            Self::Server => Ending {
                by: ClosedBy::Server,
                reason: Reason::ServerReset,
            },
        }
    }

    /// The end of a connection whose both directions ended in order, this side first.
    pub(crate) fn done(self) -> Ending {
        let by = match self {
            Self::Client => ClosedBy::Client,
            Self::Server => ClosedBy::Server,
        };
        Ending {
            by,
            reason: Reason::Done,
        }
    }

    /// The end of a connection in which it was this side's turn for too long.
    pub(crate) fn idle(self) -> Ending {
        Ending::ours(match self {
            Self::Client => Reason::ClientIdle,
            Self::Server => Reason::ServerIdle,
        })
    }
}

/// What both directions share: their ends, and what they note of what they moved.
pub(crate) struct Movement<'a> {
    pub(crate) session: &'a Session,
    pub(crate) client: &'a Wire,
    pub(crate) server: &'a Wire,
    pub(crate) server_counters: &'a ServerCounters,
    pub(crate) worker: &'a WorkerCounters,
    pub(crate) connected: Instant,
    /// When the last bytes moved, or will move when they wait for their turn.
    pub(crate) last: Cell<Instant>,
    /// Where they came from.
    pub(crate) last_from: Cell<Side>,
    /// The side that ended first.
    pub(crate) ended: Cell<Option<Side>>,
}

impl<'a> Movement<'a> {
    /// None yet, of a connection that has just got its server.
    pub(crate) fn new(
        session: &'a Session,
        client: &'a Wire,
        server: &'a Dialled,
        worker: &'a WorkerCounters,
    ) -> Self {
        let connected = now();
        Self {
            session,
            client,
            server: &server.wire,
            server_counters: server.place.server.counters.of(session.worker),
            worker,
            connected,
            last: Cell::new(connected),
            // It is the client's turn to begin.
            last_from: Cell::new(Side::Server),
            ended: Cell::new(None),
        }
    }

    fn wire(&self, side: Side) -> &'a Wire {
        match side {
            Side::Client => self.client,
            Side::Server => self.server,
        }
    }

    fn moved(&self, from: Side, bytes: usize, path: &Count) {
        let bytes = bytes as u64;
        self.last.set(self.last.get().max(now()));
        self.last_from.set(from);
        path.add(bytes);
        match from {
            Side::Client => {
                self.session
                    .bytes_in
                    .set(self.session.bytes_in.get() + bytes);
                self.server_counters.sent_bytes.add(bytes);
            }
            Side::Server => {
                self.session
                    .bytes_out
                    .set(self.session.bytes_out.get() + bytes);
                self.server_counters.received_bytes.add(bytes);
                if self.session.first_byte.get().is_none() {
                    let first_byte = now().saturating_duration_since(self.connected);
                    self.session.first_byte.set(Some(first_byte));
                    let pool = self.session.pool().counters.of(self.session.worker);
                    pool.first_byte.record(first_byte);
                }
            }
        }
    }

    /// Takes room in the listener's bandwidth for bytes that have arrived, and gives what to wait
    /// for when there is none yet. That time is not one in which nothing moves.
    fn afford(&self, bytes: usize) -> Option<Rare<impl Future<Output = ()> + use<'_>>> {
        let bandwidth = self.session.listener.bandwidth.as_ref()?;
        let turn = bandwidth.take(self.session.worker, bytes as u64, now())?;
        self.last.set(self.last.get().max(turn.at));
        Some(Box::pin(async move {
            Sleep::until(turn.at).wait().await;
            turn.done();
        }))
    }

    /// Whether the server has been asked something and has not said anything yet.
    pub(crate) fn awaits_first_byte(&self) -> bool {
        self.session.first_byte.get().is_none() && self.session.bytes_in.get() > 0
    }
}

/// What a direction seldom waits for. Boxed, it takes no room in the many that do not.
type Rare<F> = Pin<Box<F>>;

/// One direction.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    movement: &'a Movement<'a>,
    from: Side,
}

impl<'a> Way<'a> {
    pub(crate) fn new(movement: &'a Movement<'a>, from: Side) -> Self {
        Self { movement, from }
    }

    fn from(self) -> &'a Wire {
        self.movement.wire(self.from)
    }

    fn to(self) -> &'a Wire {
        self.movement.wire(self.from.other())
    }

    /// Moves everything to the end of the direction, and passes the end on.
    ///
    /// # Errors
    /// When a side fails.
    pub(crate) fn pump(self) -> impl Future<Output = Result<(), Broken>> + use<'a> {
        let mut full = 0;
        // An `async fn` would hold its arguments twice.
        async move {
            if let Some(heard) = self.heard() {
                self.say(heard).await?;
            }
            if self.from().tls.is_some() || self.to().tls.is_some() {
                let secured: Rare<_> = Box::pin(self.pump_secured());
                return secured.await;
            }
            let (from, to) = (&self.from().stream, &self.to().stream);
            for received in 1u64.. {
                if received % CHUNKS_PER_TURN == 0 {
                    next_turn().await;
                }
                let Ok(chunk) = from.recv().await else {
                    // What came before the failure still goes out.
                    to.sent().await.map_err(|_| self.sending_failed())?;
                    return Err(self.receiving_failed());
                };
                if chunk.is_empty() {
                    break;
                }
                full = if chunk.len() == Chunk::BYTES_MAX {
                    full + 1
                } else {
                    0
                };
                self.moved(chunk.len(), &self.movement.worker.copied_bytes);
                if let Some(turn) = self.movement.afford(chunk.len()) {
                    turn.await;
                }
                to.sent().await.map_err(|_| self.sending_failed())?;
                to.start_send(chunk);
                if full >= FULL_RECEIVES
                    && let Some(spliced) = self.splice_soon()
                {
                    full = 0;
                    spliced.await?;
                }
            }
            to.sent().await.map_err(|_| self.sending_failed())?;
            if from.send_failed() {
                return Err(self.receiving_failed());
            }
            self.end();
            Ok(())
        }
    }

    /// Passes the end of the direction on. When both have ended, the close that follows says so.
    fn end(self) {
        if self.movement.ended.get().is_none() {
            self.movement.ended.set(Some(self.from));
            self.to().stream.shutdown_write();
        }
    }

    /// What was heard of this side before it was relayed.
    fn heard(self) -> Option<Vec<u8>> {
        let said = self.movement.session.said.as_ref()?;
        let heard = (self.from == Side::Client).then(|| said.heard.take())?;
        (!heard.is_empty()).then_some(heard)
    }

    /// Sends what was heard.
    fn say(self, heard: Vec<u8>) -> Rare<impl Future<Output = Result<(), Broken>> + use<'a>> {
        self.moved(heard.len(), &self.movement.worker.copied_bytes);
        Box::pin(async move {
            if let Some(turn) = self.movement.afford(heard.len()) {
                turn.await;
            }
            let sent = self.to().send_all(&heard).await;
            sent.map_err(|_| self.sending_failed())
        })
    }

    /// Splices, when there is a pipe for it.
    fn splice_soon(self) -> Option<Rare<impl Future<Output = Result<(), Broken>> + use<'a>>> {
        Pipe::lease().map(|pipe| Box::pin(self.splice(pipe)))
    }

    /// Splices until the direction goes quiet, or until there is something that only a receive can
    /// tell: an end, or urgent data (tcp(7)), at which the kernel splices nothing more.
    async fn splice(self, mut pipe: Pipe) -> Result<(), Broken> {
        let (from, to) = (&self.from().stream, &self.to().stream);
        to.sent().await.map_err(|_| self.sending_failed())?;
        if let Some(bandwidth) = &self.movement.session.listener.bandwidth {
            pipe.limit(bandwidth.piece_bytes());
        }
        let mut quiet = 0;
        let mut blocked = 0;
        for spliced in 1u64.. {
            if quiet == QUIET_SPLICES {
                break;
            }
            if spliced % SPLICES_PER_TURN == 0 {
                next_turn().await;
            }
            match from.splice_in(&mut pipe) {
                Ok(0) => break,
                Ok(moved) => {
                    blocked = 0;
                    quiet = if moved < QUIET_BYTES { quiet + 1 } else { 0 };
                    self.moved(moved, &self.movement.worker.spliced_bytes);
                    if let Some(turn) = self.movement.afford(moved) {
                        turn.await;
                    }
                    self.empty(&mut pipe).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let readable = timeout(now() + PIPE_PATIENCE, from.readable()).await;
                    blocked += 1;
                    if readable.is_none() || blocked == BLOCKED_MAX {
                        break;
                    }
                }
                Err(_) => return Err(self.receiving_failed()),
            }
        }
        Ok(())
    }

    /// Sends all that a pipe holds.
    async fn empty(self, pipe: &mut Pipe) -> Result<(), Broken> {
        let to = &self.to().stream;
        while !pipe.is_empty() {
            match to.splice_out(pipe) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    to.writable().await.map_err(|_| self.sending_failed())?;
                }
                Err(_) => return Err(self.sending_failed()),
            }
        }
        Ok(())
    }

    fn moved(self, bytes: usize, path: &Count) {
        self.movement.moved(self.from, bytes, path);
    }

    fn sending_failed(self) -> Broken {
        Broken::Sending(self.from.other().failed())
    }

    fn receiving_failed(self) -> Broken {
        Broken::Receiving(self.from.failed())
    }
}

/// How a direction broke.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Broken {
    /// The side it came from failed: nothing more will come from it, and nothing can go to it.
    Receiving(Ending),
    /// The side it went to failed to take more; what it has sent may still arrive.
    Sending(Ending),
}

impl Broken {
    /// What the failure makes of the connection.
    pub(crate) fn ending(self) -> Ending {
        match self {
            Self::Receiving(ending) | Self::Sending(ending) => ending,
        }
    }
}
