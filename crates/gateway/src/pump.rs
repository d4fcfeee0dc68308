//! Moves a body from one side to the other: bounded in size and in time, as fast as the slower side takes it, and by a
//! pipe where it is long and nothing has to look at it. It knows nothing of heads, and decides nothing but when to stop.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringgate_engine::plugin::{Guest, Link, Path, Pipe, next_turn, now};

use crate::incoming::{Cut, Incoming, Next};
use crate::outgoing::Outgoing;
use crate::patience::within;

/// A body of which so much is still to come is carried by a pipe.
const PIPED_BYTES_LEAST: u64 = 64 * 1024;

/// Times in a row that a link is readable and cannot be spliced before its bytes are received: io_uring may tell of
/// more than there is.
const BLOCKED_MAX: u32 = 8;

/// Bytes that a body moves before others get their turn.
const BYTES_PER_TURN: usize = 1024 * 1024;

/// How long a side may take nothing at all. A reader that pauses for longer is cut: it holds a connection to a server.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// Bytes that a side may take so long for: a slow reader is not one that does not read. It is a thirtieth of this in a
/// second, also where a side has less time.
const STALL_BYTES: usize = 16 * 1024;

/// How long a client may take for its body whatever its rate.
const GRACE: Duration = Duration::from_secs(10);

/// Bytes in each second that a client must send after that, as long as the server has not begun to answer.
const RATE_LEAST: u64 = 500;

/// One direction of an exchange.
pub(crate) struct Flow<'a> {
    /// The client's connection, whose bandwidth counts.
    pub(crate) guest: &'a Guest,
    /// Told of each piece.
    pub(crate) count: &'a dyn Fn(usize),
    /// The most bytes that may pass.
    pub(crate) bytes_max: u64,
    /// How long both directions may be silent.
    pub(crate) silence: Duration,
    /// When anything has moved last, in either of them.
    pub(crate) moved: &'a Cell<Instant>,
    /// It comes from a client that must not trickle; ends when the two sides talk with each other.
    pub(crate) must_hurry: Option<&'a Cell<bool>>,
    /// Neither side encrypts.
    pub(crate) is_plain: bool,
}

/// Why a body did not get to the other side whole.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Its source broke off.
    Source(Cut),
    /// Its source was silent or slow for too long.
    Silent,
    /// There is more of it than may be.
    TooLarge,
    /// The other side failed.
    Sink,
    /// The other side took nothing for too long.
    Stalled,
}

/// Moves a body to its end, and ends it on the other side.
///
/// # Errors
/// Why it did not get there whole; what waits on the way out may not have been sent then.
pub(crate) async fn pump(
    incoming: &mut Incoming<'_>,
    outgoing: &mut Outgoing<'_>,
    flow: &Flow<'_>,
) -> Result<(), Stop> {
    let mut meter = Meter::default();
    loop {
        match incoming.next_now().map_err(Stop::Source)? {
            Some(Next::Data) => {
                let data = incoming.data();
                let bytes = data.len();
                flow.note(&mut meter, bytes)?;
                if let Some(turn) = flow.guest.afford(bytes) {
                    flow.stalled(outgoing.link(), 0, outgoing.flush()).await?;
                    turn.await;
                }
                if !outgoing.hold(data) {
                    flow.stalled(outgoing.link(), bytes, outgoing.put(data))
                        .await?;
                }
                let path = if flow.is_plain { Path::Copy } else { Path::Tls };
                flow.guest.moved(bytes, path);
                incoming.consume(bytes);
                if meter.is_turn_over(bytes) {
                    next_turn().await;
                }
            }
            Some(Next::End) => {
                let trailers = incoming.trailers();
                return match outgoing.finish_now(trailers).map_err(sink)? {
                    true => Ok(()),
                    false => {
                        flow.stalled(outgoing.link(), 0, outgoing.finish(trailers))
                            .await
                    }
                };
            }
            None => {
                flow.stalled(outgoing.link(), 0, outgoing.flush()).await?;
                if !pipe(incoming, outgoing, flow, &mut meter).await? {
                    flow.wait(incoming, outgoing, &mut meter).await?;
                }
            }
        }
    }
}

/// What was moved.
#[derive(Default)]
struct Meter {
    bytes: u64,
    since_turn: usize,
    /// How long the source was waited for.
    waited: Duration,
}

impl Meter {
    fn is_turn_over(&mut self, bytes: usize) -> bool {
        self.since_turn += bytes;
        let is_over = self.since_turn >= BYTES_PER_TURN;
        if is_over {
            self.since_turn = 0;
        }
        is_over
    }
}

impl Flow<'_> {
    /// Waits for the side that it goes to, as long as that takes something.
    async fn stalled(
        &self,
        link: Option<&Link>,
        bytes: usize,
        sending: impl Future<Output = io::Result<()>>,
    ) -> Result<(), Stop> {
        let patience = STALL.min(self.silence);
        let least = (STALL_BYTES as f64 * patience.div_duration_f64(STALL)) as usize;
        let patience = patience * (1 + (bytes / STALL_BYTES) as u32);
        let Some(link) = link else {
            // On a stream a piece goes out as it is taken.
            let sent = within(now() + patience, sending).await;
            return sent.ok_or(Stop::Stalled)?.map_err(sink);
        };
        // A socket that has long been full tells of room only when it has much of it again.
        let mut sending = pin!(sending);
        let mut left = None;
        loop {
            let patience = left.map_or(patience / 8, |_| patience);
            if let Some(sent) = within(now() + patience, sending.as_mut()).await {
                return sent.map_err(sink);
            }
            let before = left.replace(link.unacknowledged());
            match left.zip(before) {
                Some((left, before)) if left + least.max(1) > before => return Err(Stop::Stalled),
                _ => self.moved.set(now()),
            }
        }
    }

    fn note(&self, meter: &mut Meter, bytes: usize) -> Result<(), Stop> {
        self.moved.set(now());
        meter.bytes += bytes as u64;
        if meter.bytes > self.bytes_max {
            return Err(Stop::TooLarge);
        }
        (self.count)(bytes);
        Ok(())
    }

    /// Waits for what comes next.
    async fn wait(
        &self,
        incoming: &mut Incoming<'_>,
        outgoing: &mut Outgoing<'_>,
        meter: &mut Meter,
    ) -> Result<(), Stop> {
        let began = now();
        let deadline = self.deadline(began, meter);
        let next = poll_fn(|context| match incoming.poll_next(context) {
            Poll::Ready(next) => Poll::Ready(next.map(drop).map_err(Stop::Source)),
            Poll::Pending => outgoing.poll_reset(context).map(|()| Err(Stop::Sink)),
        });
        let next = within(deadline, next).await;
        meter.waited += now().saturating_duration_since(began);
        match next {
            Some(next) => next,
            // The two sides may have begun to talk meanwhile.
            None if self.deadline(began, meter) > now() => Ok(()),
            None => Err(Stop::Silent),
        }
    }

    fn deadline(&self, began: Instant, meter: &Meter) -> Instant {
        let silent = began.max(self.moved.get()) + self.silence;
        let hurries = self.must_hurry.is_some_and(Cell::get);
        if !hurries {
            return silent;
        }
        let earned = Duration::from_secs(meter.bytes / RATE_LEAST);
        let left = (GRACE + earned).saturating_sub(meter.waited);
        silent.min(began + left)
    }
}

fn sink(_: io::Error) -> Stop {
    Stop::Sink
}

/// Carries the rest of a long body by a pipe; `false` when that is not to be done.
async fn pipe(
    incoming: &mut Incoming<'_>,
    outgoing: &mut Outgoing<'_>,
    flow: &Flow<'_>,
    meter: &mut Meter,
) -> Result<bool, Stop> {
    let Incoming::One(framed) = incoming else {
        return Ok(false);
    };
    let Some((from, mut left)) = framed.unread() else {
        return Ok(false);
    };
    if left < PIPED_BYTES_LEAST || !from.is_plain() || !flow.is_plain {
        return Ok(false);
    }
    let Some(to) = outgoing.bare() else {
        return Ok(false);
    };
    let Some(mut pipe) = Pipe::lease() else {
        return Ok(false);
    };
    let piece_max = flow.guest.piece_bytes().unwrap_or(usize::MAX);
    let mut blocked = 0;
    while left > 0 && blocked < BLOCKED_MAX {
        pipe.limit(usize::try_from(left).unwrap_or(piece_max).min(piece_max));
        match from.splice_in(&mut pipe) {
            // Only a receive can tell an end from urgent data (tcp(7)).
            Ok(0) => break,
            Ok(moved) => {
                blocked = 0;
                left -= moved as u64;
                // At once: whoever goes on with the body, if this is given up, must not look for them.
                framed.carried(moved as u64);
                flow.note(meter, moved)?;
                if let Some(turn) = flow.guest.afford(moved) {
                    turn.await;
                }
                empty(&mut pipe, to, flow).await?;
                flow.guest.moved(moved, Path::Splice);
                if meter.is_turn_over(moved) {
                    next_turn().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                blocked += 1;
                let began = now();
                let deadline = flow.deadline(began, meter);
                let readable = within(deadline, from.readable()).await;
                meter.waited += now().saturating_duration_since(began);
                if readable.is_none() && flow.deadline(began, meter) <= now() {
                    return Err(Stop::Silent);
                }
            }
            Err(_) => return Err(Stop::Source(Cut::Gone)),
        }
    }
    Ok(left == 0)
}

/// Sends all that a pipe holds.
async fn empty(pipe: &mut Pipe, to: &Link, flow: &Flow<'_>) -> Result<(), Stop> {
    while !pipe.is_empty() {
        match to.splice_out(pipe) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                flow.stalled(Some(to), 0, to.writable()).await?;
            }
            Err(_) => return Err(Stop::Sink),
        }
    }
    Ok(())
}
