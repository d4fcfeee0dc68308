//! The epoll driver, for hosts that refuse io_uring: the same operations, performed by plain calls
//! when a descriptor is ready. Readiness is edge-triggered and remembered, so that a descriptor is
//! registered once and asked only when it may have something to say.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{self, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{SockFlag, accept4};
use socket2::{Domain, SockAddr, SockRef};

use crate::buffers::{BUFFER_BYTES, BufferId, Buffers};
use crate::driver::{Driver, Wait};
use crate::operation::{Completion, Operation, Token};
use crate::plain;

/// Events taken in one turn.
const EVENTS_MAX: usize = 1024;

/// Connections taken from one listening socket in a row.
const ACCEPTS_MAX: usize = 64;

/// epoll and what is known of each descriptor.
pub(crate) struct Epoll {
    epoll: epoll::Epoll,
    /// Indexed by descriptor.
    descriptors: Vec<Descriptor>,
    /// What completed since the last turn.
    done: Vec<Completion>,
    /// Descriptors that were left ready and must be looked at again.
    again: Vec<RawFd>,
    events: Vec<EpollEvent>,
}

#[derive(Default)]
struct Descriptor {
    registered: bool,
    /// Others may hold the same file, so that a close does not take it out of epoll.
    adopted: bool,
    readable: bool,
    writable: bool,
    /// The peer has ended: no further edge will come.
    ended: bool,
    /// A receive stops at urgent data (tcp(7)), which is not the end of what has arrived.
    urgent: bool,
    /// A short receive since the last [`Driver::look_again`].
    short: bool,
    reading: Option<Reading>,
    writing: Option<Writing>,
}

/// What waits for a descriptor to be readable.
#[derive(Clone, Copy)]
enum Reading {
    Accept(Token),
    Recv(Token),
    Readable(Token),
}

/// What waits for a descriptor to be writable.
#[derive(Clone, Copy)]
enum Writing {
    Connect(Token),
    Send(Token, Part),
    Writable(Token),
}

/// What is being sent: a part of a buffer, and how much of it has gone.
#[derive(Clone, Copy)]
struct Part {
    buffer: BufferId,
    start: usize,
    len: usize,
    sent: usize,
}

impl Epoll {
    /// A fresh epoll.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            descriptors: Vec::new(),
            done: Vec::new(),
            again: Vec::new(),
            events: vec![EpollEvent::empty(); EVENTS_MAX],
        })
    }

    fn descriptor(&mut self, fd: RawFd) -> &mut Descriptor {
        let index = usize::try_from(fd).expect("descriptors are not negative");
        if index >= self.descriptors.len() {
            self.descriptors.resize_with(index + 1, Descriptor::default);
        }
        &mut self.descriptors[index]
    }

    /// Registers a descriptor when it is used for the first time.
    fn register(&mut self, fd: RawFd) -> io::Result<()> {
        let descriptor = self.descriptor(fd);
        if descriptor.registered {
            return Ok(());
        }
        descriptor.registered = true;
        descriptor.readable = true;
        descriptor.writable = true;
        let interest = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLPRI
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        Ok(self
            .epoll
            .add(borrow(fd), EpollEvent::new(interest, fd as u64))?)
    }

    /// Forgets what was known of a descriptor that leaves.
    fn forget(&mut self, fd: RawFd) {
        let descriptor = std::mem::take(self.descriptor(fd));
        if descriptor.adopted && descriptor.registered {
            // It can only fail when it is not there.
            let _ = self.epoll.delete(borrow(fd));
        }
    }

    fn complete(&mut self, token: Token, result: i32) {
        self.done.push(Completion {
            token,
            result,
            buffer: None,
            more: false,
            nonempty: false,
        });
    }

    fn read(&mut self, buffers: &mut Buffers, fd: RawFd) {
        let descriptor = self.descriptor(fd);
        if !descriptor.readable {
            return;
        }
        match descriptor.reading {
            None => {}
            Some(Reading::Accept(token)) => self.accept(fd, token),
            Some(Reading::Recv(token)) => self.recv(buffers, fd, token),
            Some(Reading::Readable(token)) => {
                // Plain calls may have drained it since the edge.
                descriptor.readable = plain::is_readable(fd);
                if descriptor.readable {
                    descriptor.reading = None;
                    self.complete(token, 0);
                }
            }
        }
    }

    fn accept(&mut self, fd: RawFd, token: Token) {
        for _ in 0..ACCEPTS_MAX {
            let accepted = accept4(fd, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK);
            match accepted {
                Ok(result) => {
                    let completion = Completion {
                        token,
                        result,
                        buffer: None,
                        more: true,
                        nonempty: false,
                    };
                    self.done.push(completion);
                }
                Err(Errno::EAGAIN) => {
                    self.descriptor(fd).readable = false;
                    return;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.descriptor(fd).reading = None;
                    return self.complete(token, -(errno as i32));
                }
            }
        }
        self.again.push(fd);
    }

    fn recv(&mut self, buffers: &mut Buffers, fd: RawFd, token: Token) {
        let Some(buffer) = buffers.take_for_driver() else {
            self.descriptor(fd).reading = None;
            return self.complete(token, -libc::ENOBUFS);
        };
        let space = buffers.space(buffer);
        let received = plain::recv_now(fd, space);
        let filled = matches!(received, Ok(1..)).then_some(buffer);
        if filled.is_none() {
            buffers.put_back(buffer);
        }
        let descriptor = self.descriptor(fd);
        if would_block(&received) {
            descriptor.readable = false;
            descriptor.urgent = false;
            return;
        }
        // A short receive has drained the socket; what comes next brings an edge, but an end that
        // has been seen does not come again.
        let full = matches!(received, Ok(BUFFER_BYTES));
        descriptor.readable = full || descriptor.ended || descriptor.urgent;
        descriptor.short |= !full;
        descriptor.reading = None;
        self.done.push(Completion {
            token,
            result: result_of(received),
            buffer: filled,
            more: false,
            nonempty: full,
        });
    }

    fn write(&mut self, buffers: &Buffers, fd: RawFd) {
        let descriptor = self.descriptor(fd);
        if !descriptor.writable {
            return;
        }
        match descriptor.writing {
            None => {}
            Some(Writing::Connect(token)) => {
                descriptor.writing = None;
                let error = SockRef::from(&borrow(fd)).take_error();
                let errno = error.ok().flatten().and_then(|error| error.raw_os_error());
                self.complete(token, -errno.unwrap_or(0));
            }
            Some(Writing::Send(token, part)) => self.send(buffers, fd, token, part),
            Some(Writing::Writable(token)) => {
                descriptor.writing = None;
                self.complete(token, 0);
            }
        }
    }

    fn send(&mut self, buffers: &Buffers, fd: RawFd, token: Token, mut part: Part) {
        let bytes = buffers.bytes(part.buffer, part.start, part.len);
        while part.sent < part.len {
            match plain::send_now(fd, &bytes[part.sent..]) {
                Ok(len) => part.sent += len,
                sent if would_block(&sent) => {
                    let descriptor = self.descriptor(fd);
                    descriptor.writable = false;
                    descriptor.writing = Some(Writing::Send(token, part));
                    return;
                }
                failed => {
                    self.descriptor(fd).writing = None;
                    return self.complete(token, result_of(failed));
                }
            }
        }
        self.descriptor(fd).writing = None;
        self.complete(token, part.len as i32);
    }

    fn connect(&mut self, fd: RawFd, address: &SockAddr, token: Token) {
        // Registered only after the call: a socket that is not connected counts as hung up.
        let connected = SockRef::from(&borrow(fd)).connect(address);
        match connected {
            Ok(()) => {
                let registered = self.register(fd);
                self.complete(token, result_of(registered.map(|()| 0)));
            }
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                if let Err(error) = self.register(fd) {
                    return self.complete(token, result_of(Err(error)));
                }
                let descriptor = self.descriptor(fd);
                descriptor.writable = false;
                descriptor.readable = false;
                descriptor.writing = Some(Writing::Connect(token));
            }
            Err(error) => self.complete(token, result_of(Err(error))),
        }
    }

    fn cancel(&mut self, fd: RawFd, token: Token) {
        let descriptor = self.descriptor(fd);
        let reading = descriptor.reading.take().map(|reading| match reading {
            Reading::Accept(token) | Reading::Recv(token) | Reading::Readable(token) => token,
        });
        let writing = descriptor.writing.take().map(|writing| match writing {
            Writing::Connect(token) | Writing::Send(token, _) | Writing::Writable(token) => token,
        });
        for cancelled in reading.into_iter().chain(writing) {
            self.complete(cancelled, -libc::ECANCELED);
        }
        self.complete(token, 0);
    }
}

impl Driver for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn describe(&self) -> String {
        "epoll".to_owned()
    }

    unsafe fn submit(&mut self, buffers: &mut Buffers, token: Token, operation: Operation<'_>) {
        let (fd, reading, writing) = match operation {
            Operation::Cancel { fd } => return self.cancel(fd, token),
            Operation::Connect { fd, address } => return self.connect(fd, address, token),
            Operation::Accept { fd } => (fd, Some(Reading::Accept(token)), None),
            Operation::Watch { .. } => unreachable!("it says that it does not watch"),
            Operation::Recv { fd, .. } => (fd, Some(Reading::Recv(token)), None),
            Operation::Readable { fd } => (fd, Some(Reading::Readable(token)), None),
            Operation::Writable { fd } => (fd, None, Some(Writing::Writable(token))),
            Operation::Send {
                fd,
                buffer,
                start,
                len,
            } => {
                let part = Part {
                    buffer,
                    start: start as usize,
                    len: len as usize,
                    sent: 0,
                };
                (fd, None, Some(Writing::Send(token, part)))
            }
        };
        if let Err(error) = self.register(fd) {
            return self.complete(token, result_of(Err(error)));
        }
        let descriptor = self.descriptor(fd);
        if reading.is_some() {
            descriptor.reading = reading;
            self.read(buffers, fd);
        } else {
            descriptor.writing = writing;
            self.write(buffers, fd);
        }
    }

    fn turn(
        &mut self,
        buffers: &mut Buffers,
        wait: Wait,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let timeout = match wait {
            _ if !self.done.is_empty() || !self.again.is_empty() => EpollTimeout::ZERO,
            Wait::Not => EpollTimeout::ZERO,
            Wait::Forever => EpollTimeout::NONE,
            // Rounded up: a timer that is not due yet would only turn once more.
            Wait::AtMost(time) => {
                let millis = time.as_nanos().div_ceil(1_000_000);
                EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX))
                    .unwrap_or(EpollTimeout::MAX)
            }
        };
        let mut events = std::mem::take(&mut self.events);
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for fd in std::mem::take(&mut self.again) {
            self.read(buffers, fd);
        }
        for event in &events[..count] {
            let (fd, flags) = (event.data() as RawFd, event.events());
            let over = flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
            let descriptor = self.descriptor(fd);
            descriptor.ended |= over || flags.contains(EpollFlags::EPOLLRDHUP);
            descriptor.urgent |= flags.contains(EpollFlags::EPOLLPRI);
            descriptor.readable |= descriptor.ended || flags.contains(EpollFlags::EPOLLIN);
            descriptor.writable |= over || flags.contains(EpollFlags::EPOLLOUT);
            self.read(buffers, fd);
            self.write(buffers, fd);
        }
        self.events = events;
        completions.append(&mut self.done);
        if cfg!(debug_assertions) {
            buffers.audit(
                completions
                    .iter()
                    .filter(|completion| completion.buffer.is_some())
                    .count(),
            );
        }
        Ok(())
    }

    fn stock(&mut self, buffers: &mut Buffers) -> usize {
        usize::from(buffers.has_spare())
    }

    fn watches(&self) -> bool {
        // It remembers by itself what is ready.
        false
    }

    fn look_again(&mut self, buffers: &mut Buffers) {
        for fd in 0..self.descriptors.len() {
            if !buffers.has_spare() {
                // Those that have something to receive come first.
                return;
            }
            let descriptor = &mut self.descriptors[fd];
            if std::mem::take(&mut descriptor.short) {
                descriptor.readable = true;
                self.read(buffers, fd as RawFd);
            }
        }
    }

    fn socket(&mut self, domain: Domain) -> io::Result<RawFd> {
        let fd = plain::stream_socket(domain)?.into_raw_fd();
        plain::stop_blocking(fd);
        Ok(fd)
    }

    fn adopt(&mut self, fd: OwnedFd) -> RawFd {
        plain::stop_blocking(fd.as_raw_fd());
        let fd = fd.into_raw_fd();
        self.descriptor(fd).adopted = true;
        fd
    }

    fn release(&mut self, fd: RawFd) -> OwnedFd {
        self.forget(fd);
        plain::own(fd)
    }

    fn splice(&mut self, from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
        let spliced = plain::splice(from, to, len);
        if would_block(&spliced) {
            // The pipe is empty on the way in and full of what is sent on the way out, so it is the
            // socket that has to wait, and the next edge tells when it need not.
            if self.descriptor(from).registered {
                let descriptor = self.descriptor(from);
                descriptor.readable = descriptor.ended || descriptor.urgent;
            } else {
                self.descriptor(to).writable = false;
            }
        }
        spliced
    }

    fn stop_blocking(&mut self, _fd: RawFd) {
        // Every socket of this driver is non-blocking from the start.
    }

    fn close(&mut self, fd: RawFd) {
        self.forget(fd);
        plain::close(fd);
    }
}

/// Looks at a descriptor without owning it.
fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: descriptors come from the socket table, which closes them last of all, through
    // `close` above; no loan outlives the call it is made for.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// A result as system calls return it.
fn result_of(result: io::Result<usize>) -> i32 {
    match result {
        Ok(count) => count as i32,
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
    }
}

fn would_block(result: &io::Result<usize>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
