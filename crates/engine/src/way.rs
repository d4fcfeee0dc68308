//! One direction of a relay: how its bytes move, and what is noted of them. Small and interactive
//! flows are received into a buffer and sent from it; a flow that turns bulk is spliced through a
//! pipe until it goes quiet. Each direction holds at most one buffer that is being sent and one
//! that has just arrived, or a pipe: that is the whole back-pressure.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use ringgate_runtime::{Chunk, Pipe, Sleep, Stream, next_turn, now, timeout};

use crate::counters::{Count, PoolCounters, ServerCounters, WorkerCounters};
use crate::reason::{ClosedBy, Reason};
use crate::session::{Ending, Session};

/// Receives in a row that fill their buffer before a direction counts as bulk.
const FULL_RECEIVES: u32 = 4;

/// A splice that moves less than this is a quiet one.
const QUIET_BYTES: usize = 16 * 1024;

/// Quiet splices in a row before a direction goes back to buffers.
const QUIET_SPLICES: u32 = 4;

/// Chunks that a direction moves before other connections get their turn.
const CHUNKS_PER_TURN: u64 = 16;

/// Splices that a direction makes before other connections get their turn.
const SPLICES_PER_TURN: u64 = 4;

/// How long a direction keeps its pipe while nothing comes.
const PIPE_PATIENCE: Duration = Duration::from_millis(50);

/// One end of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
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

/// What both directions note of what they moved.
pub(crate) struct Movement<'a> {
    pub(crate) session: &'a Session,
    pub(crate) pool: &'a PoolCounters,
    pub(crate) server: &'a ServerCounters,
    pub(crate) worker: &'a WorkerCounters,
    pub(crate) connected: Instant,
    /// When the last bytes moved, or will move when they wait for their turn, and from which side.
    pub(crate) last: Cell<(Instant, Side)>,
    /// The side that ended first.
    pub(crate) ended: Cell<Option<Side>>,
}

impl Movement<'_> {
    fn moved(&self, from: Side, bytes: usize, path: &Count) {
        let bytes = bytes as u64;
        self.last.set((self.last.get().0.max(now()), from));
        path.add(bytes);
        match from {
            Side::Client => {
                self.session
                    .bytes_in
                    .set(self.session.bytes_in.get() + bytes);
                self.server.sent_bytes.add(bytes);
            }
            Side::Server => {
                self.session
                    .bytes_out
                    .set(self.session.bytes_out.get() + bytes);
                self.server.received_bytes.add(bytes);
                if self.session.first_byte.get().is_none() {
                    let first_byte = now().saturating_duration_since(self.connected);
                    self.session.first_byte.set(Some(first_byte));
                    self.pool.first_byte.record(first_byte);
                }
            }
        }
    }

    /// Waits until the listener's bandwidth has room for bytes that have arrived. That time is not
    /// one in which nothing moves.
    async fn afford(&self, bytes: usize) {
        let Some(bandwidth) = &self.session.listener.bandwidth else {
            return;
        };
        if let Some(turn) = bandwidth.take(self.session.worker, bytes as u64, now()) {
            let (last, side) = self.last.get();
            self.last.set((last.max(turn.at), side));
            Sleep::until(turn.at).wait().await;
            turn.done();
        }
    }

    /// Whether the server has been asked something and has not said anything yet.
    pub(crate) fn awaits_first_byte(&self) -> bool {
        self.session.first_byte.get().is_none() && self.session.bytes_in.get() > 0
    }
}

/// One direction: its two ends, and which side each is.
pub(crate) struct Way<'a> {
    pub(crate) from: &'a Stream,
    pub(crate) from_side: Side,
    pub(crate) to: &'a Stream,
    pub(crate) to_side: Side,
}

impl Way<'_> {
    /// Moves everything to the end of the direction, and passes the end on.
    ///
    /// # Errors
    /// When a side fails.
    pub(crate) async fn pump(&self, movement: &Movement<'_>) -> Result<(), Broken> {
        let mut full = 0;
        for received in 1u64.. {
            if received % CHUNKS_PER_TURN == 0 {
                next_turn().await;
            }
            let chunk = match self.from.recv().await {
                Ok(chunk) => chunk,
                Err(_) => {
                    // What came before the failure still goes out.
                    self.sent(self.to.sent().await)?;
                    return Err(Broken::Receiving(self.from_side.failed()));
                }
            };
            if chunk.is_empty() {
                break;
            }
            full = if chunk.len() == Chunk::BYTES_MAX {
                full + 1
            } else {
                0
            };
            movement.moved(self.from_side, chunk.len(), &movement.worker.copied_bytes);
            movement.afford(chunk.len()).await;
            self.sent(self.to.send(chunk).await)?;
            if full >= FULL_RECEIVES
                && let Some(pipe) = Pipe::lease()
            {
                full = 0;
                if let Next::End = self.splice(pipe, movement).await? {
                    break;
                }
            }
        }
        self.sent(self.to.sent().await)?;
        if self.from.send_failed() {
            return Err(Broken::Receiving(self.from_side.failed()));
        }
        if movement.ended.get().is_none() {
            movement.ended.set(Some(self.from_side));
            self.to.shutdown_write();
        }
        // Otherwise both have ended, and the close that follows says so.
        Ok(())
    }

    /// Splices until the direction ends or goes quiet.
    async fn splice(&self, mut pipe: Pipe, movement: &Movement<'_>) -> Result<Next, Broken> {
        self.sent(self.to.sent().await)?;
        if let Some(bandwidth) = &movement.session.listener.bandwidth {
            pipe.limit(bandwidth.piece_bytes());
        }
        let mut quiet = 0;
        let mut blocked = false;
        for spliced in 1u64.. {
            if quiet == QUIET_SPLICES {
                break;
            }
            if spliced % SPLICES_PER_TURN == 0 {
                next_turn().await;
            }
            match self.from.splice_in(&mut pipe) {
                Ok(0) => return Ok(Next::End),
                Ok(moved) => {
                    blocked = false;
                    quiet = if moved < QUIET_BYTES { quiet + 1 } else { 0 };
                    movement.moved(self.from_side, moved, &movement.worker.spliced_bytes);
                    movement.afford(moved).await;
                    self.empty(&mut pipe).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let readable = timeout(now() + PIPE_PATIENCE, self.from.readable()).await;
                    // What is readable and cannot be spliced is urgent data (tcp(7)).
                    if readable.is_none() || std::mem::replace(&mut blocked, true) {
                        break;
                    }
                }
                Err(_) => return Err(Broken::Receiving(self.from_side.failed())),
            }
        }
        Ok(Next::Buffers)
    }

    /// Sends all that a pipe holds.
    async fn empty(&self, pipe: &mut Pipe) -> Result<(), Broken> {
        while !pipe.is_empty() {
            match self.to.splice_out(pipe) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.sent(self.to.writable().await)?;
                }
                Err(_) => return Err(Broken::Sending(self.to_side.failed())),
            }
        }
        Ok(())
    }

    fn sent<T>(&self, result: io::Result<T>) -> Result<T, Broken> {
        result.map_err(|_| Broken::Sending(self.to_side.failed()))
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

/// How a direction goes on after a splice.
enum Next {
    /// With buffers.
    Buffers,
    /// Not at all: its end has come.
    End,
}
