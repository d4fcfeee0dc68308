//! The interface behind which the kernel stands: operations in, completions out, and the few
//! plain calls on sockets, which a driver of a real kernel leaves as they are. Everything above it
//! is the same for every driver; nothing above it makes a system call on a socket.

use std::io::{self, IoSlice};
use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr};

use crate::buffers::Buffers;
use crate::operation::{Completion, Operation, Token};
use crate::plain;

/// How long a turn may wait for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Take what is there.
    Not,
    /// Until the first completion, or until the time has passed.
    AtMost(Duration),
    /// Until the first completion.
    Forever,
}

/// Both ends of a pipe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PipeEnds {
    pub(crate) read: RawFd,
    pub(crate) write: RawFd,
    /// Bytes that fit, as far as page-sized pieces go.
    pub(crate) capacity: usize,
}

/// A way to perform operations.
pub(crate) trait Driver {
    /// What it is, in one word.
    fn name(&self) -> &'static str;

    /// What it is and which abilities it found, for people.
    fn describe(&self) -> String;

    /// Starts an operation. It never fails here: what is wrong with it is told by its completion.
    ///
    /// # Safety
    /// What the operation names must last until its completion: the descriptor stays open, the
    /// buffer of a send stays leased to it, the address of a connect stays where it is.
    unsafe fn submit(&mut self, buffers: &mut Buffers, token: Token, operation: Operation<'_>);

    /// Hands over what was submitted, waits, and appends what completed. Interrupted and full
    /// queues are no errors: the caller turns again.
    ///
    /// # Errors
    /// Only for what makes the driver unusable.
    fn turn(
        &mut self,
        buffers: &mut Buffers,
        wait: Wait,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()>;

    /// Tells the driver that a buffer came back or that the pool has grown; it may take some for
    /// receives to come. Tells how many receives could end now.
    fn stock(&mut self, buffers: &mut Buffers) -> usize;

    /// Turns after which completions waited for room; a driver without a queue of its own has none.
    fn overflows(&self) -> u64 {
        0
    }

    /// Tries receives that wait once more where the last one was short, for drivers that remember by
    /// themselves what is ready: see [`crate::core::State::look_again`].
    fn look_again(&mut self, _buffers: &mut Buffers) {}

    /// Whether it performs [`Operation::Watch`].
    fn watches(&self) -> bool;

    /// The clock that timers go by.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// A new stream socket, close-on-exec, without Nagle's delay where the family has one.
    ///
    /// # Errors
    /// Of socket(2): descriptors or memory ran out, or the family is not available.
    fn socket(&mut self, domain: Domain) -> io::Result<RawFd>;

    /// Takes a descriptor over, to be closed by [`Driver::close`].
    fn adopt(&mut self, fd: OwnedFd) -> RawFd;

    /// Connects without waiting, for families that decide at once (unix(7)).
    ///
    /// # Errors
    /// `WouldBlock` when the server's queue is full, otherwise those of connect(2).
    fn connect_now(&mut self, fd: RawFd, address: &SockAddr) -> io::Result<()> {
        plain::connect_now(fd, address)
    }

    /// Bytes sent that the peer has not acknowledged yet; 0 where that cannot be told.
    fn unacknowledged(&mut self, fd: RawFd) -> usize {
        plain::unacknowledged(fd)
    }

    /// Lets go of a descriptor without closing it.
    fn release(&mut self, fd: RawFd) -> OwnedFd;

    /// Receives what has arrived, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has arrived, otherwise those of recv(2).
    fn recv_now(&mut self, fd: RawFd, space: &mut [u8]) -> io::Result<usize> {
        plain::recv_now(fd, space)
    }

    /// Sends as much as there is room for, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, otherwise those of send(2).
    fn send_now(&mut self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        plain::send_now(fd, bytes)
    }

    /// As [`Driver::send_now`], of pieces in a row; with `more` to come, the kernel keeps what does not
    /// fill a packet until then (MSG_MORE, send(2)).
    ///
    /// # Errors
    /// As [`Driver::send_now`].
    fn send_pieces_now(
        &mut self,
        fd: RawFd,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        plain::send_pieces_now(fd, pieces, more)
    }

    /// Lets out what was kept (TCP_NODELAY, tcp(7)).
    fn push(&mut self, fd: RawFd) {
        plain::push(fd);
    }

    /// Ends the sending direction. An error would mean that the connection is gone, which the
    /// receiving direction tells too.
    fn shutdown_write(&mut self, fd: RawFd) {
        plain::shutdown_write(fd);
    }

    /// Makes the close to come a reset (SO_LINGER with zero, socket(7)).
    fn reset_on_close(&mut self, fd: RawFd) {
        plain::reset_on_close(fd);
    }

    /// Lets acknowledgements wait for data to carry them (TCP_QUICKACK off, tcp(7)).
    fn delay_acks(&mut self, fd: RawFd) {
        plain::delay_acks(fd);
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// Of getpeername(2), when the connection is already gone.
    fn peer(&mut self, fd: RawFd) -> io::Result<SockAddr> {
        plain::peer(fd)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Of getsockname(2).
    fn local(&mut self, fd: RawFd) -> io::Result<SockAddr> {
        plain::local(fd)
    }

    /// Refuses new connections of a listening socket while those being made are still completed,
    /// so that none is lost between the last accept and the close.
    fn refuse_new(&mut self, fd: RawFd) {
        plain::refuse_new(fd);
    }

    /// One non-blocking accept; `None` when none is waiting.
    fn accept_waiting(&mut self, fd: RawFd) -> Option<RawFd> {
        plain::accept_waiting(fd)
    }

    /// A pipe of a useful size, or `None` when the system gives none.
    fn pipe(&mut self) -> Option<PipeEnds> {
        plain::pipe()
    }

    /// Moves up to `len` bytes between a socket and a pipe without waiting (splice(2)).
    ///
    /// # Errors
    /// `WouldBlock` when nothing can be moved now; otherwise what ended the socket.
    fn splice(&mut self, from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
        plain::splice(from, to, len)
    }

    /// Keeps plain calls on a socket from waiting (O_NONBLOCK). Operations still wait.
    fn stop_blocking(&mut self, fd: RawFd) {
        plain::stop_blocking(fd);
    }

    /// Closes a descriptor on which nothing is in flight.
    fn close(&mut self, fd: RawFd);
}
