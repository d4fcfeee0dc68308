//! One connection of the simulated world, between a socket of ours and a peer that follows a
//! script: what is on its way in both directions, and how each side has ended. Bytes are counted,
//! not kept, since the pattern tells what they are.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

use nix::libc::{ECONNRESET, EPIPE};

use super::pattern::{Heard, Segment, StreamId};
use super::random::Random;
use super::script::{Begins, Ends, Says, Script};
use super::{Account, Left};

/// A connection.
pub(super) struct Link {
    pub(super) peer: SocketAddr,
    /// What the peer sends is this stream, unless it echoes.
    pub(super) stream: StreamId,
    script: Script,
    /// Our socket, while it is open.
    pub(super) fd: Option<RawFd>,
    /// What we did and when, and what came of it.
    pub(super) account: Account,
    /// What we have sent.
    pub(super) heard: Heard,
    /// How much of it the peer has read.
    read: u64,
    /// The peer has closed its socket: what arrives there is answered with a reset.
    gone: bool,
    /// The peer does nothing any more.
    pub(super) over: bool,
    /// The error that the next call on our socket gets.
    error: Option<i32>,
    next_read: Duration,
    next_write: Duration,
    /// When the peer last did something.
    pub(super) acted_at: Duration,
    /// When the peer looks at the connection again.
    pub(super) act_at: Option<Duration>,
}

/// What became of bytes that we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Taken(usize),
    NoRoom,
    Failed(i32),
    /// Taken, and the peer will answer with a reset.
    Unwanted(usize),
}

/// What we find when we receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Bytes(usize),
    Nothing,
    End,
    Failed(i32),
}

impl Link {
    pub(super) fn new(peer: SocketAddr, stream: StreamId, script: Script) -> Self {
        Self {
            peer,
            stream,
            script,
            fd: None,
            account: Account::default(),
            heard: Heard::default(),
            read: 0,
            gone: false,
            over: false,
            error: None,
            next_read: Duration::ZERO,
            next_write: Duration::ZERO,
            acted_at: Duration::ZERO,
            act_at: None,
        }
    }

    pub(super) fn reset_after(&self) -> Option<Duration> {
        self.script.reset_after
    }

    /// What a receive would find; an error is told once.
    pub(super) fn found(&mut self) -> Found {
        let waiting = self.waiting();
        if waiting > 0 {
            return Found::Bytes(waiting as usize);
        }
        if let Some(error) = self.error.take() {
            return Found::Failed(error);
        }
        if self.account.ended || self.account.failed {
            return Found::End;
        }
        Found::Nothing
    }

    /// Bytes that have come and were not received.
    pub(super) fn waiting(&self) -> u64 {
        self.account.written - self.account.taken
    }

    /// Takes bytes that [`Link::found`] told of, and names them.
    pub(super) fn take(&mut self, len: usize) -> Segment {
        let position = self.account.taken;
        self.account.taken += len as u64;
        let stream = match self.script.says {
            Says::Bytes(_) => self.stream,
            // Nothing is echoed before its stream is known.
            Says::Echo => self.heard.stream.unwrap_or(self.stream),
        };
        Segment {
            stream,
            position,
            len,
        }
    }

    pub(super) fn readable(&self) -> bool {
        self.waiting() > 0 || self.account.ended || self.account.failed
    }

    pub(super) fn writable(&self) -> bool {
        self.room_out() > 0 || self.account.failed || self.gone
    }

    fn room_out(&self) -> u64 {
        (self.script.room_out + self.read).saturating_sub(self.heard.len)
    }

    /// Whether bytes can be sent, and how many of `len`; who sends them lets [`Link::heard`] hear.
    pub(super) fn send(&mut self, len: usize) -> Sent {
        if let Some(error) = self.error.take() {
            return Sent::Failed(error);
        }
        if self.account.failed || self.account.left != Left::Open {
            return Sent::Failed(EPIPE);
        }
        match (self.room_out() as usize).min(len) {
            0 if self.gone => Sent::Unwanted(len),
            0 => Sent::NoRoom,
            len if self.gone => Sent::Unwanted(len),
            len => Sent::Taken(len),
        }
    }

    /// The peer resets, or the network loses it.
    pub(super) fn fail(&mut self, error: i32) {
        if self.over && !self.gone {
            return;
        }
        // A socket whose peer has ended its direction is told EPIPE (tcp_reset of Linux).
        let error = if self.account.ended && error == ECONNRESET {
            EPIPE
        } else {
            error
        };
        self.error = Some(error);
        self.account.failed = true;
        self.over = true;
        self.gone = true;
    }

    /// Bytes that we sent and the peer has not read, as long as it may.
    pub(super) fn unread(&self) -> u64 {
        if self.over {
            0
        } else {
            self.heard.len - self.read
        }
    }

    /// Whether the peer has read everything and the end.
    fn sees_end(&self) -> bool {
        self.account.left != Left::Open && self.read == self.heard.len
    }

    /// The peer does what it can now. Tells when it wants to go on by itself, if it does.
    pub(super) fn act(&mut self, now: Duration, random: &mut Random) -> Option<Duration> {
        if self.over || self.account.left == Left::Reset {
            self.over = true;
            return None;
        }
        let wants_read = self.read_some(now);
        let wants_write = self.write_some(now, random);
        self.end();
        match (wants_read, wants_write) {
            _ if self.over => None,
            (Some(read), Some(write)) => Some(read.min(write)),
            (read, write) => read.or(write),
        }
    }

    fn read_some(&mut self, now: Duration) -> Option<Duration> {
        let unread =
            (self.heard.len - self.read).min(self.script.read_max.saturating_sub(self.read));
        if unread == 0 {
            return None;
        }
        if now < self.next_read {
            return Some(self.next_read);
        }
        let len = unread.min(self.script.read_bytes);
        self.read += len;
        self.next_read = now + self.script.read_gap;
        (len < unread).then_some(self.next_read)
    }

    /// How much the peer will have written at most, as far as it knows now.
    fn goal(&self) -> u64 {
        match self.script.says {
            Says::Bytes(len) => len,
            Says::Echo if self.heard.stream.is_some() => self.read,
            Says::Echo => 0,
        }
    }

    fn has_begun(&self) -> bool {
        match self.script.begins {
            Begins::AtOnce => true,
            Begins::WhenSpokenTo => self.read > 0 || self.sees_end(),
            Begins::WhenEnded => self.sees_end(),
        }
    }

    fn write_some(&mut self, now: Duration, random: &mut Random) -> Option<Duration> {
        let room = self.script.room_in.saturating_sub(self.waiting());
        let left = self.goal().saturating_sub(self.account.written);
        if self.account.ended || !self.has_begun() || left == 0 || room == 0 {
            return None;
        }
        if now < self.next_write {
            return Some(self.next_write);
        }
        if self.fd.is_none() && self.account.closed_at.is_some() {
            // Nobody is there any more: the peer is told so by a reset.
            self.over = true;
            return None;
        }
        let len = random
            .between(1, self.script.write_bytes)
            .max(self.script.write_bytes / 2)
            .min(left)
            .min(room);
        self.account.written += len;
        self.next_write = now + self.script.write_gap;
        (len < left && len < room).then_some(self.next_write)
    }

    /// The peer ends what it has to end.
    fn end(&mut self) {
        let said = self.has_begun()
            && self.account.written >= self.goal()
            && (self.script.says != Says::Echo || self.sees_end());
        match self.script.ends {
            Ends::WhenSaid if said => self.account.ended = true,
            Ends::WhenEnded if said && self.sees_end() => self.account.ended = true,
            Ends::Whole if said => {
                self.gone = true;
                self.over = true;
                if self.read < self.heard.len {
                    self.over = false;
                    self.fail(ECONNRESET);
                } else {
                    self.account.ended = true;
                }
            }
            _ => {}
        }
        if self.account.ended && self.sees_end() {
            self.over = true;
        }
    }
}

/// What a pipe holds.
#[derive(Default)]
pub(super) struct PipeBytes {
    pub(super) segments: VecDeque<Segment>,
    pub(super) len: usize,
}

impl PipeBytes {
    pub(super) fn push(&mut self, segment: Segment) {
        self.len += segment.len;
        self.segments.push_back(segment);
    }

    /// Takes out up to `len` bytes of one stream that follow each other.
    pub(super) fn pop(&mut self, len: usize) -> Option<Segment> {
        let first = self.segments.front_mut()?;
        let taken = Segment {
            len: first.len.min(len),
            ..*first
        };
        first.position += taken.len as u64;
        first.len -= taken.len;
        if first.len == 0 {
            self.segments.pop_front();
        }
        self.len -= taken.len;
        Some(taken)
    }
}
