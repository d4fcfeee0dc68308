//! The io_uring driver: operations become submission entries, one `io_uring_enter` per turn
//! submits and waits, completions come back by token. Receives take their buffer from a ring of
//! buffers provided to the kernel, so that a socket nobody writes to holds none. A watch is one poll
//! that goes on (IORING_POLL_ADD_MULTI of io_uring_enter(2), since 5.13).

mod provided;
mod refused;
mod ring;

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use io_uring::{cqueue, opcode, squeue, types};
use nix::libc;
use socket2::{Domain, Socket, Type};

use crate::buffers::{BUFFER_BYTES, BufferId, Buffers};
use crate::driver::{Driver, Wait};
use crate::operation::{Completion, Kind, Operation, Token};
use crate::plain;

use provided::{GROUP, Provided};
pub use refused::Refused;
use ring::Ring;

/// IORING_RECVSEND_POLL_FIRST of linux/io_uring.h (since 5.19): wait before the first attempt.
const POLL_FIRST: u16 = 1;

/// The peer has ended, or the connection is over. What else a watch tells is not what poll(2) would,
/// but what the kernel was woken for, which may be more than there is.
const ENDED: i16 = libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR;

/// io_uring, tried and found working.
pub(crate) struct Uring {
    // Dropped first: closing the ring ends what may still refer to the provided ring.
    ring: Ring,
    provided: Provided,
}

impl Uring {
    /// Makes a ring, proves that it works, and restricts it.
    pub(crate) fn new(buffers: &mut Buffers) -> Result<Self, Refused> {
        let mut ring = Ring::new()?;
        let provided = Provided::register(&ring)?;
        ring.restrict_and_enable()?;
        let mut uring = Self { ring, provided };
        uring.provided.stock(buffers);
        match uring.prove(buffers) {
            Ok(()) => Ok(uring),
            Err(refused) => {
                // A receive may still be in flight, and closing a ring does not wait for it.
                std::mem::forget(uring);
                buffers.leak();
                Err(refused)
            }
        }
    }

    /// Receives one message over a socket pair: what counts is that it works, not that every step
    /// before was accepted.
    fn prove(&mut self, buffers: &mut Buffers) -> Result<(), Refused> {
        /// A receive of bytes that wait completes in the first turn.
        const TURNS_MAX: usize = 10;
        let refused = |error| Refused::new("a receive into a provided buffer", error);
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM, None).map_err(refused)?;
        theirs.send(b"ringgate").map_err(refused)?;
        let token = Token {
            kind: Kind::Recv,
            slot: 0,
            generation: 0,
        };
        // SAFETY: a receive names no memory, and once the first turn has submitted it, the kernel
        // holds the socket by itself.
        unsafe {
            self.submit(
                buffers,
                token,
                Operation::Recv {
                    fd: ours.as_raw_fd(),
                    wait_first: false,
                },
            );
        }
        let mut completions = Vec::new();
        for _ in 0..TURNS_MAX {
            let wait = Wait::AtMost(std::time::Duration::from_millis(100));
            self.turn(buffers, wait, &mut completions)
                .map_err(refused)?;
            if let Some(Completion { result, buffer, .. }) = completions.pop() {
                if let Some(buffer) = buffer {
                    buffers.lease(buffer);
                    buffers.give_back(buffer);
                }
                return match result {
                    8 => Ok(()),
                    failed => Err(refused(io::Error::from_raw_os_error(-failed))),
                };
            }
        }
        Err(refused(io::ErrorKind::TimedOut.into()))
    }
}

impl Driver for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn describe(&self) -> String {
        self.ring.describe()
    }

    unsafe fn submit(&mut self, buffers: &mut Buffers, token: Token, operation: Operation<'_>) {
        let entry = match operation {
            Operation::Accept { fd } => opcode::AcceptMulti::new(types::Fd(fd))
                .flags(libc::SOCK_CLOEXEC)
                .build(),
            Operation::Connect { fd, address } => {
                opcode::Connect::new(types::Fd(fd), address.as_ptr().cast(), address.len()).build()
            }
            Operation::Recv { fd, wait_first } => {
                let poll_first = if wait_first { POLL_FIRST } else { 0 };
                opcode::Recv::new(types::Fd(fd), std::ptr::null_mut(), BUFFER_BYTES as u32)
                    .ioprio(poll_first)
                    .buf_group(GROUP)
                    .build()
                    .flags(squeue::Flags::BUFFER_SELECT)
            }
            Operation::Send {
                fd,
                buffer,
                start,
                len,
            } => {
                // SAFETY: start + len is the part of this one buffer that a receive filled.
                let from = unsafe { buffers.address(buffer).add(start as usize) };
                opcode::Send::new(types::Fd(fd), from.as_ptr(), len)
                    .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
                    .build()
            }
            Operation::Readable { fd } => {
                opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).build()
            }
            Operation::Writable { fd } => {
                opcode::PollAdd::new(types::Fd(fd), libc::POLLOUT as u32).build()
            }
            Operation::Watch { fd } => {
                opcode::PollAdd::new(types::Fd(fd), (libc::POLLIN | libc::POLLRDHUP) as u32)
                    .multi(true)
                    .build()
            }
            Operation::Cancel { fd } => {
                opcode::AsyncCancel2::new(types::CancelBuilder::fd(types::Fd(fd)).all()).build()
            }
        };
        // SAFETY: what the entry points to outlives the operation: a send's buffer is leased to it
        // and a connect's address is boxed in its socket's slot until the completion has come
        // (`core.rs`), and both are leaked if the ring cannot be joined at the end.
        unsafe { self.ring.push(entry.user_data(token.pack())) };
    }

    fn turn(
        &mut self,
        buffers: &mut Buffers,
        wait: Wait,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        self.ring.enter(wait)?;
        let provided = &mut self.provided;
        self.ring.reap(|entry| {
            let buffer = cqueue::buffer_select(entry.flags()).map(BufferId);
            if buffer.is_some() {
                provided.taken();
            }
            if let Some(token) = Token::unpack(entry.user_data()) {
                let result = entry.result();
                let nonempty = match token.kind {
                    Kind::Watch => result >= 0 && result & i32::from(ENDED) != 0,
                    _ => cqueue::sock_nonempty(entry.flags()),
                };
                completions.push(Completion {
                    token,
                    result,
                    buffer,
                    more: cqueue::more(entry.flags()),
                    nonempty,
                });
            }
        });
        self.provided.stock(buffers);
        if cfg!(debug_assertions) {
            let unleased = completions
                .iter()
                .filter(|completion| completion.buffer.is_some())
                .count();
            buffers.audit(self.provided.len() + unleased);
        }
        Ok(())
    }

    fn stock(&mut self, buffers: &mut Buffers) -> usize {
        self.provided.stock(buffers)
    }

    fn overflows(&self) -> u64 {
        self.ring.overflows()
    }

    fn watches(&self) -> bool {
        true
    }

    fn socket(&mut self, domain: Domain) -> io::Result<RawFd> {
        plain::stream_socket(domain).map(IntoRawFd::into_raw_fd)
    }

    fn adopt(&mut self, fd: OwnedFd) -> RawFd {
        fd.into_raw_fd()
    }

    fn release(&mut self, fd: RawFd) -> OwnedFd {
        plain::own(fd)
    }

    fn close(&mut self, fd: RawFd) {
        plain::close(fd);
    }
}
