//! The table of sockets: what is in flight on each, what has arrived, and who waits for it. It
//! decides nothing; `core.rs` moves its entries from state to state.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::task::Waker;

use socket2::SockAddr;

use crate::buffers::BufferId;
use crate::operation::SLOTS_MAX;

/// A socket's place in the table. The generation tells it from earlier users of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// One socket.
pub(crate) struct Socket {
    pub(crate) fd: RawFd,
    generation: u32,
    /// Operations the driver has not ended yet. The descriptor stays open until it is 0.
    pub(crate) in_flight: u16,
    pub(crate) phase: Phase,
    /// Plain calls on it do not wait (O_NONBLOCK).
    pub(crate) nonblocking: bool,
    /// The last receive left bytes behind, so that the next one may try at once.
    pub(crate) nonempty: bool,
    /// The last send failed, or was cut short by an error that the rest will meet.
    pub(crate) send_failed: bool,
    /// Receives that have ended, up to the number after which a watch pays.
    pub(crate) receives: u8,
    pub(crate) watch: Watch,
    /// It seemed that nothing is left to receive, which urgent data can feign.
    pub(crate) look_again: bool,
    pub(crate) read: Read,
    pub(crate) reader: Option<Waker>,
    pub(crate) write: Write,
    pub(crate) writer: Option<Waker>,
}

/// The life of a socket: closing is stop submitting, cancel, join, close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Its owner has let go; what is in flight has been told to end.
    Closing,
}

/// Whether the driver tells whenever something arrives, so that it is received by plain calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Off,
    On {
        /// Something may wait to be received.
        readable: bool,
        /// The peer has ended, which is told once.
        ended: bool,
    },
}

impl Watch {
    pub(crate) fn is_on(self) -> bool {
        self != Self::Off
    }

    /// Notes whether something may still wait to be received.
    pub(crate) fn set_readable(&mut self, now: bool) {
        if let Self::On { readable, .. } = self {
            *readable = now;
        }
    }

    /// A receive was short: nothing is left but an end.
    pub(crate) fn drained(&mut self) {
        if let Self::On { readable, ended } = self {
            *readable = *ended;
        }
    }
}

/// The reading half.
pub(crate) enum Read {
    Idle,
    /// A receive or a readiness wait is in flight.
    Armed,
    /// A receive waits for a buffer.
    Starved,
    /// A receive ended: with bytes and their buffer, with the end of the stream (`Ok(None)`), or
    /// with an error number.
    Received(Result<Option<Filled>, i32>),
    /// A readiness wait ended.
    Ready,
    /// A listening socket.
    Accepting(Box<Accepting>),
}

/// Bytes that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    pub(crate) buffer: BufferId,
    pub(crate) len: u32,
}

/// What a listening socket holds.
pub(crate) struct Accepting {
    /// Accepted descriptors nobody has taken yet.
    pub(crate) accepted: VecDeque<RawFd>,
    /// A multishot accept is in flight.
    pub(crate) armed: bool,
    /// Accepting ended with this error number and goes on when asked to.
    pub(crate) failed: Option<i32>,
}

/// The writing half.
pub(crate) enum Write {
    Idle,
    /// A send is in flight; the buffer is its own until it ends.
    Sending {
        buffer: BufferId,
        start: u32,
        len: u32,
    },
    /// A send ended: with all bytes, or with an error number.
    Sent(Result<(), i32>),
    /// A connect is in flight; the kernel reads the address.
    Connecting(Box<SockAddr>),
    /// A connect ended: well, or with an error number.
    Connected(Result<(), i32>),
    /// A readiness wait is in flight.
    Awaiting,
    /// A readiness wait ended.
    Ready,
}

/// All sockets of a worker.
#[derive(Default)]
pub(crate) struct Sockets {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

enum Entry {
    Used(Socket),
    /// Keeps the generation that the next user gets.
    Free {
        generation: u32,
    },
}

impl Sockets {
    /// A place for a descriptor, or `None` when the table is as large as tokens can name.
    pub(crate) fn insert(&mut self, fd: RawFd) -> Option<SocketId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.entries.len() < SLOTS_MAX as usize => {
                self.entries.push(Entry::Free { generation: 1 });
                (self.entries.len() - 1) as u32
            }
            None => return None,
        };
        let entry = &mut self.entries[slot as usize];
        let Entry::Free { generation } = *entry else {
            unreachable!("the free list names free places only")
        };
        *entry = Entry::Used(Socket {
            fd,
            generation,
            in_flight: 0,
            phase: Phase::Open,
            nonblocking: false,
            nonempty: false,
            send_failed: false,
            receives: 0,
            watch: Watch::Off,
            look_again: false,
            read: Read::Idle,
            reader: None,
            write: Write::Idle,
            writer: None,
        });
        Some(SocketId { slot, generation })
    }

    /// The socket of that id, unless it is gone.
    pub(crate) fn get(&mut self, id: SocketId) -> Option<&mut Socket> {
        match self.entries.get_mut(id.slot as usize) {
            Some(Entry::Used(socket)) if socket.generation == id.generation => Some(socket),
            _ => None,
        }
    }

    /// Frees the place of a socket on which nothing is in flight.
    pub(crate) fn remove(&mut self, id: SocketId) {
        let Some(socket) = self.get(id) else { return };
        debug_assert_eq!(
            socket.in_flight, 0,
            "a socket leaves when nothing is in flight on it"
        );
        let generation = socket.generation.wrapping_add(1);
        self.entries[id.slot as usize] = Entry::Free { generation };
        self.free.push(id.slot);
    }

    /// All sockets.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.entries.iter_mut().filter_map(|entry| match entry {
            Entry::Used(socket) => Some(socket),
            Entry::Free { .. } => None,
        })
    }

    /// The ids of all sockets.
    pub(crate) fn ids(&self) -> Vec<SocketId> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(slot, entry)| match entry {
                Entry::Used(socket) => Some(SocketId {
                    slot: slot as u32,
                    generation: socket.generation,
                }),
                Entry::Free { .. } => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_name_does_not_find_the_next_user_of_a_place() {
        let mut sockets = Sockets::default();
        let first = sockets.insert(3).unwrap();
        sockets.remove(first);
        let second = sockets.insert(4).unwrap();
        assert_eq!(second.slot, first.slot);
        assert!(sockets.get(first).is_none());
        assert_eq!(sockets.get(second).unwrap().fd, 4);
        assert_eq!(sockets.ids(), [second]);
    }
}
