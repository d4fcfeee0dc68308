//! The closed list of operations a driver performs, and how they are named while in flight. An
//! operation is told by kind, slot and generation, never by a pointer: a completion that comes
//! late finds another generation in its slot and does its book-keeping only.

use std::os::fd::RawFd;

use socket2::SockAddr;

use crate::buffers::BufferId;

/// What an operation does, as carried in its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Accept,
    Connect,
    Recv,
    Send,
    Readable,
    Writable,
    Watch,
    Cancel,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Accept,
        Self::Connect,
        Self::Recv,
        Self::Send,
        Self::Readable,
        Self::Writable,
        Self::Watch,
        Self::Cancel,
    ];
}

/// The name of an operation in flight: `kind:8 | slot:24 | generation:32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Slots fit into 24 bits of a token.
pub(crate) const SLOTS_MAX: u32 = 1 << 24;

impl Token {
    pub(crate) fn pack(self) -> u64 {
        debug_assert!(self.slot < SLOTS_MAX);
        (self.kind as u64) << 56 | u64::from(self.slot) << 32 | u64::from(self.generation)
    }

    /// The token that was packed, or `None` when no [`Token::pack`] can have made the number.
    pub(crate) fn unpack(packed: u64) -> Option<Self> {
        Some(Self {
            kind: *Kind::ALL.get((packed >> 56) as usize)?,
            slot: (packed >> 32) as u32 & (SLOTS_MAX - 1),
            generation: packed as u32,
        })
    }
}

/// An operation to start. What it points to stays with the socket's slot until its completion.
#[derive(Debug)]
pub(crate) enum Operation<'a> {
    /// Accept connections until an error or a cancel; a completion for each.
    Accept { fd: RawFd },
    /// Connect. The address is kept by the caller until the completion.
    Connect { fd: RawFd, address: &'a SockAddr },
    /// Receive once into a buffer of the pool. `wait_first` tells that the socket is known empty,
    /// so that a first attempt would be wasted.
    Recv { fd: RawFd, wait_first: bool },
    /// Send the whole of a leased buffer's part. The lease is kept by the caller until the
    /// completion.
    Send {
        fd: RawFd,
        buffer: BufferId,
        start: u32,
        len: u32,
    },
    /// Complete once when the descriptor is readable.
    Readable { fd: RawFd },
    /// Complete once when the descriptor is writable.
    Writable { fd: RawFd },
    /// Tell whenever something has arrived, until a cancel. What arrives meanwhile may be told
    /// once; whoever is told receives until nothing is left.
    Watch { fd: RawFd },
    /// Cancel all operations in flight on the descriptor.
    Cancel { fd: RawFd },
}

/// The end of an operation, or one result of an [`Operation::Accept`] or [`Operation::Watch`] that
/// goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    /// A count or descriptor, or an error number negated, as system calls return it.
    pub(crate) result: i32,
    /// The buffer that a receive filled; whoever takes the completion owns it.
    pub(crate) buffer: Option<BufferId>,
    /// Further completions of the same operation will come.
    pub(crate) more: bool,
    /// More bytes waited in the socket when the receive ended; of a watch: the peer has ended,
    /// so that a short receive does not mean that nothing is left.
    pub(crate) nonempty: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_packed() {
        for kind in Kind::ALL {
            for (slot, generation) in [(0, 0), (1, u32::MAX), (SLOTS_MAX - 1, 7)] {
                let token = Token {
                    kind,
                    slot,
                    generation,
                };
                assert_eq!(Token::unpack(token.pack()), Some(token));
            }
        }
    }

    #[test]
    fn a_number_with_no_kind_is_no_token() {
        assert_eq!(Token::unpack(u64::MAX), None);
    }
}
