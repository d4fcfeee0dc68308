//! What the owners of sockets ask of the runtime: accept, connect, receive, send, splice, look. Each
//! request changes a socket's half and hands the driver an operation; what comes of it is `core.rs`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{OwnedFd, RawFd};
use std::task::{Context, Poll, Waker};

use nix::libc::EIO;
use socket2::{Domain, SockAddr};

use crate::buffers::{BUFFER_BYTES, BufferId};
use crate::core::{State, wake};
use crate::driver::PipeEnds;
use crate::operation::{Kind, Operation, Token};
use crate::sockets::{Accepting, Filled, Read, SocketId, Watch, Write};

/// Receives that a socket has to ask for one by one before it is watched. A connection for one
/// exchange would pay for the watch and its cancel, where a ring receive each costs 0.94 of epoll; on
/// one that is kept they cost 1.06 of nginx for each small exchange, a watch 0.94.
pub(crate) const RECEIVES_BEFORE_WATCH: u8 = 4;

/// Pipes in use at once. Each can hold a megabyte of the kernel's memory.
const PIPES_MAX: usize = 256;

/// Pipes kept for the next bulk transfer: an ordinary user may own 64 of a megabyte each before
/// the kernel makes them smaller (pipe(7), `pipe-user-pages-soft`).
const PIPES_SPARE_MAX: usize = 16;

impl State {
    /// A new stream socket in the table.
    pub(crate) fn open(&mut self, domain: Domain) -> io::Result<SocketId> {
        let fd = self.driver.socket(domain)?;
        self.enter(fd)
    }

    /// Takes over a descriptor.
    pub(crate) fn adopt(&mut self, fd: OwnedFd) -> io::Result<SocketId> {
        let fd = self.driver.adopt(fd);
        self.enter(fd)
    }

    /// Puts a descriptor of the driver's into the table.
    pub(crate) fn enter(&mut self, fd: RawFd) -> io::Result<SocketId> {
        match self.sockets.insert(fd) {
            Some(id) => Ok(id),
            None => {
                self.driver.close(fd);
                Err(io::Error::from_raw_os_error(nix::libc::ENFILE))
            }
        }
    }

    /// Takes a socket out of the table on which nothing is in flight and nothing has arrived.
    pub(crate) fn release_idle(&mut self, id: SocketId) -> Option<OwnedFd> {
        let socket = self.sockets.get(id)?;
        let idle = matches!((&socket.read, &socket.write), (Read::Idle, Write::Idle));
        if socket.in_flight > 0 || !idle {
            return None;
        }
        let fd = socket.fd;
        self.sockets.remove(id);
        Some(self.driver.release(fd))
    }

    /// Turns a socket into one that accepts.
    pub(crate) fn listen(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            let accepting = Accepting {
                accepted: VecDeque::new(),
                armed: false,
                failed: None,
            };
            socket.read = Read::Accepting(Box::new(accepting));
        }
    }

    /// The next accepted descriptor, which becomes the caller's.
    pub(crate) fn poll_accept(
        &mut self,
        id: SocketId,
        context: &Context<'_>,
    ) -> Poll<io::Result<RawFd>> {
        let Some(socket) = self.sockets.get(id) else {
            return Poll::Ready(Err(closed()));
        };
        let Read::Accepting(accepting) = &mut socket.read else {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        };
        if let Some(fd) = accepting.accepted.pop_front() {
            return Poll::Ready(Ok(fd));
        }
        if let Some(error) = accepting.failed.take() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
        }
        set_waker(&mut socket.reader, context);
        if !accepting.armed {
            accepting.armed = true;
            let fd = socket.fd;
            self.submit(id, Kind::Accept, Operation::Accept { fd });
        }
        Poll::Pending
    }

    /// What has arrived on a stream; receiving starts with the first call and its result waits for
    /// the next one, so that no byte is lost when the caller stops waiting.
    pub(crate) fn poll_recv(
        &mut self,
        id: SocketId,
        context: &Context<'_>,
    ) -> Poll<io::Result<Option<Filled>>> {
        let Some(socket) = self.sockets.get(id) else {
            return Poll::Ready(Err(closed()));
        };
        match socket.read {
            Read::Received(result) => {
                socket.read = Read::Idle;
                return Poll::Ready(result.map_err(io::Error::from_raw_os_error));
            }
            Read::Ready => socket.read = Read::Idle,
            _ => {}
        }
        set_waker(&mut socket.reader, context);
        match (&socket.read, socket.watch) {
            (Read::Idle, Watch::On { readable: true, .. }) => self.recv_now(id),
            _ => {
                self.start_recv(id);
                Poll::Pending
            }
        }
    }

    /// Receives from a watched socket that something has arrived on.
    fn recv_now(&mut self, id: SocketId) -> Poll<io::Result<Option<Filled>>> {
        let Some(socket) = self.sockets.get(id) else {
            return Poll::Ready(Err(closed()));
        };
        let Some(buffer) = self.buffers.take_for_driver() else {
            // A receive that is submitted finds one sooner or later.
            self.submit_recv(id);
            return Poll::Pending;
        };
        let received = self.driver.recv_now(socket.fd, self.buffers.space(buffer));
        match received {
            Ok(len @ 1..) => {
                if len < BUFFER_BYTES {
                    socket.watch.drained();
                    socket.look_again = true;
                }
                self.buffers.lease(buffer);
                let len = len as u32;
                Poll::Ready(Ok(Some(Filled { buffer, len })))
            }
            Ok(0) => {
                self.buffers.put_back(buffer);
                Poll::Ready(Ok(None))
            }
            Err(error) => {
                self.buffers.put_back(buffer);
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Poll::Ready(Err(error));
                }
                socket.watch.set_readable(false);
                Poll::Pending
            }
        }
    }

    /// Starts to receive for nobody yet; the result waits for [`State::poll_recv`].
    pub(crate) fn start_recv(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        if socket.watch.is_on() {
            return;
        }
        if socket.receives == RECEIVES_BEFORE_WATCH && self.driver.watches() {
            // It is told at once when something is there.
            socket.watch = Watch::On {
                readable: false,
                ended: false,
            };
            let fd = socket.fd;
            return self.submit(id, Kind::Watch, Operation::Watch { fd });
        }
        self.submit_recv(id);
    }

    fn submit_recv(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id)
            && let Read::Idle = socket.read
        {
            socket.read = Read::Armed;
            let operation = Operation::Recv {
                fd: socket.fd,
                wait_first: !socket.nonempty,
            };
            self.submit(id, Kind::Recv, operation);
        }
    }

    /// Whether something may have arrived that nobody has asked for yet.
    pub(crate) fn has_received(&mut self, id: SocketId) -> bool {
        self.sockets.get(id).is_some_and(|socket| {
            matches!(socket.read, Read::Received(_))
                || matches!(socket.watch, Watch::On { readable: true, .. })
        })
    }

    /// Whether the last send failed or was cut short.
    pub(crate) fn send_failed(&mut self, id: SocketId) -> bool {
        self.sockets
            .get(id)
            .is_some_and(|socket| socket.send_failed)
    }

    pub(crate) fn delay_acks(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            self.driver.delay_acks(socket.fd);
        }
    }

    /// Waits until a descriptor is readable.
    pub(crate) fn poll_readable(&mut self, id: SocketId, context: &Context<'_>) -> Poll<()> {
        let Some(socket) = self.sockets.get(id) else {
            return Poll::Ready(());
        };
        match socket.read {
            Read::Ready => {
                socket.read = Read::Idle;
                return Poll::Ready(());
            }
            Read::Idle if socket.watch.is_on() => {
                if let Watch::On { readable: true, .. } = socket.watch {
                    return Poll::Ready(());
                }
                set_waker(&mut socket.reader, context);
            }
            Read::Idle => {
                socket.read = Read::Armed;
                let operation = Operation::Readable { fd: socket.fd };
                set_waker(&mut socket.reader, context);
                self.submit(id, Kind::Readable, operation);
            }
            _ => set_waker(&mut socket.reader, context),
        }
        Poll::Pending
    }

    /// Starts to send, when nothing else is being written. The buffer is given back when the send
    /// ends, whoever still looks.
    pub(crate) fn start_send(&mut self, id: SocketId, buffer: BufferId, start: u32, len: u32) {
        let Some(socket) = self.sockets.get(id) else {
            return self.give_back(buffer);
        };
        debug_assert!(
            matches!(socket.write, Write::Idle),
            "one send in flight per socket"
        );
        // Most sends find room, and then the bytes are still in the cache.
        let bytes = self.buffers.bytes(buffer, start as usize, len as usize);
        let (start, len) = match self.driver.send_now(socket.fd, bytes) {
            Ok(sent) if sent == bytes.len() => {
                socket.send_failed = false;
                return self.give_back(buffer);
            }
            Ok(sent) => (start + sent as u32, len - sent as u32),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (start, len),
            Err(error) => {
                socket.send_failed = true;
                socket.write = Write::Sent(Err(error.raw_os_error().unwrap_or(EIO)));
                return self.give_back(buffer);
            }
        };
        socket.write = Write::Sending { buffer, start, len };
        let operation = Operation::Send {
            fd: socket.fd,
            buffer,
            start,
            len,
        };
        self.submit(id, Kind::Send, operation);
    }

    /// Sends as much of the pieces as there is room for, when nothing else is being written.
    pub(crate) fn try_send(
        &mut self,
        id: SocketId,
        pieces: &[IoSlice<'_>],
        more: bool,
    ) -> io::Result<usize> {
        let socket = self.sockets.get(id).ok_or_else(closed)?;
        if !matches!(socket.write, Write::Idle) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let sent = self.driver.send_pieces_now(socket.fd, pieces, more);
        let blocked = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        socket.send_failed = sent.as_ref().is_err_and(|error| !blocked(error));
        sent
    }

    /// Lets out what was kept because more was to come.
    pub(crate) fn push(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            self.driver.push(socket.fd);
        }
    }

    /// Whether the writing half is free again; an error of the last send is told once.
    pub(crate) fn poll_sent(
        &mut self,
        id: SocketId,
        context: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(socket) = self.sockets.get(id) else {
            return Poll::Ready(Err(closed()));
        };
        match socket.write {
            Write::Idle => Poll::Ready(Ok(())),
            Write::Ready => {
                socket.write = Write::Idle;
                Poll::Ready(Ok(()))
            }
            Write::Sent(result) | Write::Connected(result) => {
                socket.write = Write::Idle;
                Poll::Ready(result.map_err(io::Error::from_raw_os_error))
            }
            Write::Sending { .. } | Write::Connecting(_) | Write::Awaiting => {
                set_waker(&mut socket.writer, context);
                Poll::Pending
            }
        }
    }

    /// Waits until a descriptor is writable, after what is being written.
    pub(crate) fn poll_writable(
        &mut self,
        id: SocketId,
        context: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(socket) = self.sockets.get(id) else {
            return Poll::Ready(Err(closed()));
        };
        if let Write::Idle = socket.write {
            socket.write = Write::Awaiting;
            let operation = Operation::Writable { fd: socket.fd };
            set_waker(&mut socket.writer, context);
            self.submit(id, Kind::Writable, operation);
            return Poll::Pending;
        }
        self.poll_sent(id, context)
    }

    /// Moves bytes from a socket into a pipe, as many as there are and fit.
    pub(crate) fn splice_in(&mut self, id: SocketId, pipe: RawFd, len: usize) -> io::Result<usize> {
        let fd = self.nonblocking(id)?;
        let spliced = self.driver.splice(fd, pipe, len);
        if let Err(error) = &spliced
            && error.kind() == io::ErrorKind::WouldBlock
            && let Some(socket) = self.sockets.get(id)
        {
            // The pipe is empty, so it is the socket that has nothing, or stands at urgent data.
            socket.watch.set_readable(false);
            socket.look_again = true;
        }
        spliced
    }

    /// Moves bytes from a pipe into a socket, as many as it takes.
    pub(crate) fn splice_out(
        &mut self,
        id: SocketId,
        pipe: RawFd,
        len: usize,
    ) -> io::Result<usize> {
        let fd = self.nonblocking(id)?;
        let spliced = self.driver.splice(pipe, fd, len);
        if let Err(error) = &spliced
            && error.kind() != io::ErrorKind::WouldBlock
            && let Some(socket) = self.sockets.get(id)
        {
            socket.send_failed = true;
        }
        spliced
    }

    fn nonblocking(&mut self, id: SocketId) -> io::Result<RawFd> {
        let socket = self.sockets.get(id).ok_or_else(closed)?;
        if !socket.nonblocking {
            socket.nonblocking = true;
            self.driver.stop_blocking(socket.fd);
        }
        Ok(socket.fd)
    }

    /// A pipe to move bytes through, as long as there are not too many.
    pub(crate) fn lease_pipe(&mut self) -> Option<PipeEnds> {
        let pipe = match self.pipes.pop() {
            Some(pipe) => pipe,
            None if self.pipes_leased < PIPES_MAX => self.driver.pipe()?,
            None => return None,
        };
        self.pipes_leased += 1;
        Some(pipe)
    }

    /// Takes a pipe back; one that still holds bytes is closed, and so is one too many.
    pub(crate) fn return_pipe(&mut self, pipe: PipeEnds, empty: bool) {
        self.pipes_leased -= 1;
        if empty && self.pipes.len() < PIPES_SPARE_MAX {
            self.pipes.push(pipe);
        } else {
            self.driver.close(pipe.read);
            self.driver.close(pipe.write);
        }
    }

    /// Starts to connect a fresh socket; [`State::poll_sent`] tells the end.
    pub(crate) fn start_connect(&mut self, id: SocketId, address: SockAddr) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        let fd = socket.fd;
        socket.in_flight += 1;
        socket.write = Write::Connecting(Box::new(address));
        let Write::Connecting(address) = &socket.write else {
            unreachable!("set in the line above")
        };
        let token = Token {
            kind: Kind::Connect,
            slot: id.slot,
            generation: id.generation,
        };
        // SAFETY: the address is boxed in the socket's writing half, which keeps it until the connect
        // has ended, as the socket keeps its descriptor.
        unsafe {
            self.driver
                .submit(&mut self.buffers, token, Operation::Connect { fd, address });
        }
    }

    /// Tells that a first receive may find bytes at once, as on a socket just accepted.
    pub(crate) fn expect_bytes(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            socket.nonempty = true;
        }
    }

    /// Connects a socket of a family that decides at once.
    pub(crate) fn connect_now(&mut self, id: SocketId, address: &SockAddr) -> io::Result<()> {
        let socket = self.sockets.get(id).ok_or_else(closed)?;
        socket.nonblocking = true;
        self.driver.connect_now(socket.fd, address)
    }

    pub(crate) fn unacknowledged(&mut self, id: SocketId) -> usize {
        match self.sockets.get(id) {
            Some(socket) => self.driver.unacknowledged(socket.fd),
            None => 0,
        }
    }

    /// Has sockets looked at once more that have received since the last time. A receive can be short
    /// although something is left, at urgent data (tcp(7)) and at descriptors passed along (unix(7)),
    /// and nothing tells of that.
    pub(crate) fn look_again(&mut self) {
        self.driver.look_again(&mut self.buffers);
        for socket in self.sockets.iter_mut() {
            if std::mem::take(&mut socket.look_again) {
                socket.watch.set_readable(true);
                wake(&socket.reader);
            }
        }
    }

    /// Gives memory of the buffers back that a burst has left behind.
    pub(crate) fn trim(&mut self) {
        self.buffers.trim();
    }

    pub(crate) fn shutdown_write(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            self.driver.shutdown_write(socket.fd);
        }
    }

    pub(crate) fn reset_on_close(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            self.driver.reset_on_close(socket.fd);
        }
    }

    pub(crate) fn local(&mut self, id: SocketId) -> io::Result<SockAddr> {
        match self.sockets.get(id) {
            Some(socket) => self.driver.local(socket.fd),
            None => Err(closed()),
        }
    }

    pub(crate) fn peer(&mut self, id: SocketId) -> io::Result<SockAddr> {
        match self.sockets.get(id) {
            Some(socket) => self.driver.peer(socket.fd),
            None => Err(closed()),
        }
    }

    pub(crate) fn refuse_new(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            self.driver.refuse_new(socket.fd);
        }
    }

    /// A descriptor that the driver accepted and nobody has taken yet.
    pub(crate) fn accepted_before(&mut self, id: SocketId) -> Option<RawFd> {
        match &mut self.sockets.get(id)?.read {
            Read::Accepting(accepting) => accepting.accepted.pop_front(),
            _ => None,
        }
    }

    /// As [`State::accepted_before`], then what still waits in the kernel's queue.
    pub(crate) fn accept_waiting(&mut self, id: SocketId) -> Option<RawFd> {
        match self.accepted_before(id) {
            Some(fd) => Some(fd),
            None => self.driver.accept_waiting(self.sockets.get(id)?.fd),
        }
    }

    /// Tells what is in flight on a listening socket to end, and leaves it open.
    pub(crate) fn cancel_accept(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id)
            && matches!(&socket.read, Read::Accepting(accepting) if accepting.armed)
        {
            let fd = socket.fd;
            self.submit(id, Kind::Cancel, Operation::Cancel { fd });
        }
    }

    /// Whether no accept is in flight.
    pub(crate) fn poll_accept_ended(&mut self, id: SocketId, context: &Context<'_>) -> Poll<()> {
        let Some(socket) = self.sockets.get(id) else {
            return Poll::Ready(());
        };
        match &socket.read {
            Read::Accepting(accepting) if accepting.armed => {
                set_waker(&mut socket.reader, context);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Where a buffer's bytes are.
    pub(crate) fn address(&self, buffer: BufferId) -> std::ptr::NonNull<u8> {
        self.buffers.address(buffer)
    }
}

/// The error of a half whose owner has let go of the socket.
fn closed() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

fn set_waker(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}
