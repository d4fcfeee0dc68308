//! What a simulated peer does in one connection: how much it sends and when, how it reads, and
//! how it ends. A seed draws it; most peers are well-behaved, so that most connections end in
//! order.

use std::time::Duration;

use super::random::Random;

/// The life of one peer.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) says: Says,
    pub(super) begins: Begins,
    /// Bytes it writes at a time, and the pause after.
    pub(super) write_bytes: u64,
    pub(super) write_gap: Duration,
    /// Bytes it reads at a time, and the pause after.
    pub(super) read_bytes: u64,
    pub(super) read_gap: Duration,
    /// After so many bytes it reads no more.
    pub(super) read_max: u64,
    pub(super) ends: Ends,
    /// It resets the connection after this time.
    pub(super) reset_after: Option<Duration>,
    /// How much fits into the socket's queues, towards us and towards it.
    pub(super) room_in: u64,
    pub(super) room_out: u64,
}

/// What it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// A stream of its own, of this length: nothing, or at least its name.
    Bytes(u64),
    /// What it has heard.
    Echo,
}

/// When it begins to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    AtOnce,
    /// When it has read something, or the end.
    WhenSpokenTo,
    /// When it has read everything.
    WhenEnded,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Ends its direction when it has said everything.
    WhenSaid,
    /// Ends its direction when, besides, the other direction has ended.
    WhenEnded,
    /// Closes the socket when it has said everything, whatever may still come.
    Whole,
    /// Not by itself.
    Never,
}

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// It is made after this time.
    After(Duration),
    /// It fails with this error after this time.
    Error(Duration, i32),
    /// Nothing ever comes back.
    Silence,
}

impl Welcome {
    pub(super) fn draw(random: &mut Random) -> Self {
        use nix::libc::{ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT};
        let after = random.time(Duration::from_micros(20), Duration::from_millis(4));
        match random.between(0, 99) {
            0..86 => Self::After(after),
            86..88 => Self::After(after * 100),
            88..96 => {
                let errors = [ECONNREFUSED, ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT];
                Self::Error(after, random.one_of(&errors))
            }
            _ => Self::Silence,
        }
    }
}

impl Script {
    /// A client.
    pub(super) fn client(random: &mut Random) -> Self {
        let says = Says::Bytes(length(random));
        let ends = match random.between(0, 99) {
            0..55 => Ends::WhenSaid,
            55..85 => Ends::WhenEnded,
            85..93 => Ends::Whole,
            _ => Ends::Never,
        };
        Self::draw(random, says, Begins::AtOnce, ends)
    }

    /// A server, in one connection.
    pub(super) fn server(random: &mut Random) -> Self {
        let (says, begins) = match random.between(0, 99) {
            0..45 => (Says::Echo, Begins::AtOnce),
            45..60 => (Says::Bytes(length(random)), Begins::AtOnce),
            60..80 => (Says::Bytes(length(random)), Begins::WhenSpokenTo),
            _ => (Says::Bytes(length(random)), Begins::WhenEnded),
        };
        let ends = match random.between(0, 99) {
            0..45 => Ends::WhenSaid,
            45..90 => Ends::WhenEnded,
            90..95 => Ends::Whole,
            _ => Ends::Never,
        };
        Self::draw(random, says, begins, ends)
    }

    fn draw(random: &mut Random, says: Says, begins: Begins, ends: Ends) -> Self {
        // At most some dozens of writes, so that a world stays small.
        let len = match says {
            Says::Bytes(len) => len,
            Says::Echo => 64 * 1024,
        };
        let write_bytes = random
            .one_of(&[1, 7, 1460, 16 * 1024, 100_000])
            .max(len / 40);
        Self {
            says,
            begins,
            write_bytes,
            write_gap: gap(random),
            read_bytes: random.one_of(&[4 * 1024, 20_000, 64 * 1024, 1 << 20]),
            read_gap: gap(random),
            read_max: match random.between(0, 99) {
                0..94 => u64::MAX,
                94..97 => 0,
                _ => random.between(1, 100_000),
            },
            ends,
            reset_after: random
                .chance(70)
                .then(|| random.time(Duration::ZERO, Duration::from_millis(30))),
            room_in: random.one_of(&[2_000, 40_000, 100_000, 400_000]),
            room_out: random.one_of(&[2_000, 16_384, 100_000, 400_000]),
        }
    }
}

/// How long a stream is: mostly short, now and then long enough to be spliced.
fn length(random: &mut Random) -> u64 {
    let name = super::pattern::NAME_BYTES as u64;
    match random.between(0, 99) {
        0..10 => 0,
        10..65 => random.between(name, 2_000),
        65..85 => random.between(name, 60_000),
        _ => random.between(60_000, 500_000),
    }
}

/// A pause of a peer: mostly none, now and then one that timeouts notice.
fn gap(random: &mut Random) -> Duration {
    let (low, high) = match random.between(0, 99) {
        0..60 => (0, 0),
        60..85 => (1, 500),
        85..96 => (1_000, 10_000),
        _ => (40_000, 2_000_000),
    };
    random.time(Duration::from_micros(low), Duration::from_micros(high))
}
