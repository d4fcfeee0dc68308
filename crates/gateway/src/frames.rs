//! Counts the frames of an HTTP/2 peer as they pass (RFC 9113 §4.1), so that one that makes work without asking for or
//! giving anything is found out before that work is done. It changes no byte, and reads nothing but the heads of frames.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::head::Of;

/// Frames are counted for so long.
const WINDOW: Duration = Duration::from_secs(10);

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// How many frames of a kind a peer may send in a window. Those that keep to themselves send a tenth of it.
const PINGS_MAX: u32 = 100;
const SETTINGS_MAX: u32 = 50;
const PRIORITIES_MAX: u32 = 200;
const RESETS_MAX: u32 = 100;
const EMPTY_MAX: u32 = 100;
const UNKNOWN_MAX: u32 = 100;

const UPDATES_MAX: u32 = 1000;

/// Answers of which it is remembered that they have begun; more are seldom under way.
const ANSWERS_MAX: usize = 1000;

/// No traffic of a window earns more.
const EARNED_MAX: u64 = 1 << 30;

/// A peer that reads may send one update of a window more for so many bytes that it was sent, and one PING: those of gRPC
/// measure the way by one for each message. An answer to a PING is shorter, so that no flood earns itself.
const BYTES_PER_FRAME: u64 = 32;

/// A server may end each stream that it was sent, by a reset or a DATA frame without data, whenever it likes: one for the
/// head of each frame, which is the least that there can be of a stream.
const BYTES_PER_STREAM: u64 = HEAD_BYTES as u64;

/// Some servers send two updates for each DATA frame, however short.
const BYTES_PER_SERVER_UPDATE: u64 = 4;

/// CONTINUATION frames behind one HEADERS frame.
const CONTINUATIONS_MAX: u32 = 20;

/// The frames of one connection.
#[derive(Debug)]
pub(crate) struct Frames {
    of: Of,
    /// Bytes of the payload that is passing.
    payload: u32,
    head: [u8; HEAD_BYTES],
    head_len: usize,
    window: Instant,
    counts: Counts,
    continuations: u32,
    /// Bytes that ever went to a server, and streams that it may have ended.
    sent_ever: u64,
    ends: u64,
    /// The streams of the newest answers that have begun and that a client has not taken back.
    answers: VecDeque<u32>,
    /// A header block has begun and not ended.
    header_since: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counts {
    pings: u32,
    settings: u32,
    priorities: u32,
    resets: u32,
    empty: u32,
    updates: u32,
    unknown: u32,
    /// Bytes that went to the peer.
    sent: u64,
}

/// A peer has sent more frames of a kind than any use has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flood;

impl Frames {
    /// Those of a connection that begins now, behind its preface.
    pub(crate) fn new(of: Of, now: Instant) -> Self {
        Self {
            of,
            payload: 0,
            head: [0; HEAD_BYTES],
            head_len: 0,
            window: now,
            counts: Counts::default(),
            continuations: 0,
            sent_ever: 0,
            ends: 0,
            answers: VecDeque::new(),
            header_since: None,
        }
    }

    /// Since when a header block is on its way that has not ended.
    pub(crate) fn header_since(&self) -> Option<Instant> {
        self.header_since
    }

    /// Notes bytes that went to the peer.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.counts.sent += bytes as u64;
        self.sent_ever += bytes as u64;
    }

    /// Notes that the answer on a stream has begun: whoever takes that back has got something for the work that it made.
    pub(crate) fn answered(&mut self, stream: u32) {
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(stream);
    }

    /// Whether a client takes an answer back that has begun; it can do so once.
    fn takes_back_an_answer(&mut self) -> bool {
        let [.., a, b, c, d] = self.head;
        let stream = u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1);
        let found = self.answers.iter().rposition(|answer| *answer == stream);
        found.is_some_and(|at| self.answers.remove(at).is_some())
    }

    /// Counts what passes.
    ///
    /// # Errors
    /// When it is too much.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passing = bytes.len().min(self.payload as usize);
                self.payload -= passing as u32;
                bytes = &bytes[passing..];
                continue;
            }
            let taken = bytes.len().min(HEAD_BYTES - self.head_len);
            self.head[self.head_len..self.head_len + taken].copy_from_slice(&bytes[..taken]);
            self.head_len += taken;
            bytes = &bytes[taken..];
            if self.head_len == HEAD_BYTES {
                self.head_len = 0;
                self.count(now)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, now: Instant) -> Result<(), Flood> {
        let [a, b, c, kind, flags, ..] = self.head;
        self.payload = u32::from_be_bytes([0, a, b, c]);
        if self.window + WINDOW < now {
            self.window = now;
            self.counts = Counts::default();
        }
        let ends_block = flags & END_HEADERS != 0;
        let is_empty_data = kind == DATA && self.payload == 0 && flags & END_STREAM == 0;
        if self.of == Of::Server && (kind == RST_STREAM || is_empty_data) {
            return self.count_end();
        }
        if self.of == Of::Client && kind == RST_STREAM && self.takes_back_an_answer() {
            return Ok(());
        }
        let counts = &mut self.counts;
        let earned = |bytes: u64| (counts.sent / bytes).min(EARNED_MAX) as u32;
        let frames = earned(BYTES_PER_FRAME);
        let updates = match self.of {
            Of::Client => frames,
            Of::Server => earned(BYTES_PER_SERVER_UPDATE),
        };
        let (count, most) = match kind {
            DATA if is_empty_data => (&mut counts.empty, EMPTY_MAX),
            DATA => return Ok(()),
            HEADERS => {
                self.continuations = 0;
                self.header_since = (!ends_block).then_some(now);
                return Ok(());
            }
            CONTINUATION => {
                if ends_block {
                    self.header_since = None;
                }
                (&mut self.continuations, CONTINUATIONS_MAX)
            }
            PRIORITY => (&mut counts.priorities, PRIORITIES_MAX),
            RST_STREAM => (&mut counts.resets, RESETS_MAX),
            SETTINGS => (&mut counts.settings, SETTINGS_MAX),
            PING => (&mut counts.pings, PINGS_MAX + frames),
            WINDOW_UPDATE => (&mut counts.updates, UPDATES_MAX + updates),
            _ => (&mut counts.unknown, UNKNOWN_MAX),
        };
        *count += 1;
        match *count > most {
            true => Err(Flood),
            false => Ok(()),
        }
    }

    fn count_end(&mut self) -> Result<(), Flood> {
        self.ends += 1;
        match self.ends > u64::from(RESETS_MAX) + self.sent_ever / BYTES_PER_STREAM {
            true => Err(Flood),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, kind: u8, flags: u8) -> Vec<u8> {
        let mut frame = vec![
            0,
            (length >> 8) as u8,
            length as u8,
            kind,
            flags,
            0,
            0,
            0,
            1,
        ];
        frame.resize(HEAD_BYTES + length, 0);
        frame
    }

    fn pass(frame: &[u8], times: u32) -> Result<(), Flood> {
        let now = Instant::now();
        let mut frames = Frames::new(Of::Client, now);
        (0..times).try_for_each(|_| frames.pass(frame, now))
    }

    #[test]
    fn a_kind_is_let_through_as_often_as_it_may_be() {
        for (length, kind, flags, most) in [
            (8, PING, 0, PINGS_MAX),
            (0, SETTINGS, 0, SETTINGS_MAX),
            (5, PRIORITY, 0, PRIORITIES_MAX),
            (4, RST_STREAM, 0, RESETS_MAX),
            (0, DATA, 0, EMPTY_MAX),
            (0, CONTINUATION, 0, CONTINUATIONS_MAX),
            (3, 0xbe, 0, UNKNOWN_MAX),
        ] {
            let frame = frame(length, kind, flags);
            assert_eq!(pass(&frame, most), Ok(()), "{kind}");
            assert_eq!(pass(&frame, most + 1), Err(Flood), "{kind}");
        }
        assert_eq!(pass(&frame(100, DATA, 0), 100_000), Ok(()));
        assert_eq!(pass(&frame(20, HEADERS, END_HEADERS), 100_000), Ok(()));
    }

    #[test]
    fn a_peer_that_is_sent_something_may_say_so() {
        const SENT: usize = 9 * 32 * 1000;
        let now = Instant::now();
        for (of, length, kind, most) in [
            (Of::Client, 4, WINDOW_UPDATE, UPDATES_MAX + 9000),
            (Of::Client, 8, PING, PINGS_MAX + 9000),
            (Of::Client, 4, RST_STREAM, RESETS_MAX),
            (Of::Server, 4, WINDOW_UPDATE, UPDATES_MAX + 72_000),
            (Of::Server, 8, PING, PINGS_MAX + 9000),
            (Of::Server, 4, RST_STREAM, RESETS_MAX + 32_000),
            (Of::Server, 0, DATA, RESETS_MAX + 32_000),
        ] {
            let mut frames = Frames::new(of, now);
            frames.sent(SENT);
            let frame = frame(length, kind, 0);
            let mut pass = || frames.pass(&frame, now);
            assert_eq!((0..most).try_for_each(|_| pass()), Ok(()), "{kind}");
            assert_eq!(pass(), Err(Flood), "{kind}");
        }
    }

    #[test]
    fn an_answer_is_taken_back_once_and_pays_for_no_other() {
        let now = Instant::now();
        let mut frames = Frames::new(Of::Client, now);
        let reset = |stream: u32| {
            let mut reset = frame(4, RST_STREAM, 0);
            reset[5..HEAD_BYTES].copy_from_slice(&stream.to_be_bytes());
            reset
        };
        (1..=2 * ANSWERS_MAX as u32).for_each(|stream| frames.answered(stream));
        let newest = ANSWERS_MAX as u32 + 1..=2 * ANSWERS_MAX as u32;
        for stream in newest.skip(1) {
            assert_eq!(frames.pass(&reset(stream), now), Ok(()), "{stream}");
        }
        // Of those that were forgotten, taken back before or never answered, as many as of any.
        for stream in [1, 2000, 9001]
            .into_iter()
            .cycle()
            .take(RESETS_MAX as usize)
        {
            assert_eq!(frames.pass(&reset(stream), now), Ok(()));
        }
        assert_eq!(frames.pass(&reset(9001), now), Err(Flood));
    }

    #[test]
    fn a_server_may_end_streams_long_after_it_was_sent_them() {
        let then = Instant::now();
        let now = then + WINDOW + Duration::from_secs(1);
        let mut frames = Frames::new(Of::Server, then);
        frames.sent(9 * 150);
        let reset = frame(4, RST_STREAM, 0);
        let most = RESETS_MAX + 150;
        assert_eq!((0..most).try_for_each(|_| frames.pass(&reset, now)), Ok(()));
        assert_eq!(frames.pass(&reset, now), Err(Flood));
    }

    #[test]
    fn it_makes_no_difference_how_the_bytes_come() {
        let now = Instant::now();
        let bytes: Vec<u8> = (0..PINGS_MAX).flat_map(|_| frame(8, PING, 0)).collect();
        for piece in [1, 7, 9, 17, 1000] {
            let mut frames = Frames::new(Of::Client, now);
            let mut pieces = bytes.chunks(piece);
            assert!(
                pieces.all(|bytes| frames.pass(bytes, now).is_ok()),
                "{piece}"
            );
            assert_eq!(frames.pass(&frame(8, PING, 0), now), Err(Flood));
        }
    }

    #[test]
    fn a_header_block_is_open_until_it_ends() {
        let now = Instant::now();
        let mut frames = Frames::new(Of::Client, now);
        frames.pass(&frame(3, HEADERS, 0), now).unwrap();
        assert_eq!(frames.header_since(), Some(now));
        frames
            .pass(&frame(3, CONTINUATION, END_HEADERS), now)
            .unwrap();
        assert_eq!(frames.header_since(), None);
    }
}
