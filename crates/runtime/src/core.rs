//! What a worker's runtime knows: the driver, the sockets, the buffers and the timers, and how a
//! completion moves them on. It runs no task; it wakes those that wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nix::libc::{ECANCELED, ENOBUFS};
use socket2::{Domain, SockAddr};

use crate::buffers::{BufferId, Buffers};
use crate::driver::{Driver, PipeEnds, Wait};
use crate::operation::{Completion, Kind, Operation, Token};
use crate::sockets::{Accepting, Filled, Phase, Read, SocketId, Sockets, Write};
use crate::wheel::Wheel;

/// Pipes in use at once. Each can hold a megabyte of the kernel's memory.
const PIPES_MAX: usize = 256;

/// Pipes kept for the next bulk transfer: an ordinary user may own 64 of a megabyte each before
/// the kernel makes them smaller (pipe(7), `pipe-user-pages-soft`).
const PIPES_SPARE_MAX: usize = 16;

/// The shared heart of one runtime. Only its own thread ever touches it.
pub(crate) struct Core {
    pub(crate) state: RefCell<State>,
    /// The clock, read once per turn.
    pub(crate) now: Cell<Instant>,
}

/// Everything behind the one borrow. The driver is dropped before the buffers it may refer to.
pub(crate) struct State {
    driver: Box<dyn Driver>,
    buffers: Buffers,
    sockets: Sockets,
    pub(crate) wheel: Wheel,
    /// Sockets whose receive waits for a buffer, in order of arrival.
    starved: VecDeque<SocketId>,
    completions: Vec<Completion>,
    /// Empty pipes nobody uses.
    pipes: Vec<PipeEnds>,
    pipes_leased: usize,
    /// Times a receive had to wait for a buffer.
    pub(crate) buffers_waits: u64,
}

impl Core {
    pub(crate) fn new(driver: Box<dyn Driver>, buffers: Buffers) -> Self {
        let now = driver.now();
        Self {
            state: RefCell::new(State {
                driver,
                buffers,
                sockets: Sockets::default(),
                wheel: Wheel::new(now),
                starved: VecDeque::new(),
                completions: Vec::new(),
                pipes: Vec::new(),
                pipes_leased: 0,
                buffers_waits: 0,
            }),
            now: Cell::new(now),
        }
    }

    /// One turn: hands over what was submitted, waits for completions no longer than `wait` and
    /// the next timer, and wakes whoever waited for what came.
    pub(crate) fn turn(&self, wait: Wait, woken: &mut Vec<Waker>) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        state.feed_starved();
        let wait = match (wait, state.wheel.next_turn()) {
            (Wait::Forever, Some(next)) => {
                Wait::AtMost(next.saturating_duration_since(self.now.get()))
            }
            (wait, _) => wait,
        };
        let mut completions = std::mem::take(&mut state.completions);
        state
            .driver
            .turn(&mut state.buffers, wait, &mut completions)?;
        self.now.set(state.driver.now());
        for completion in completions.drain(..) {
            state.complete(completion);
        }
        state.completions = completions;
        state.wheel.turn(self.now.get(), woken);
        Ok(())
    }

    /// What the driver is, for people.
    pub(crate) fn describe(&self) -> String {
        self.state.borrow().driver.describe()
    }
}

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
        self.start_recv(id);
        Poll::Pending
    }

    /// Starts to receive for nobody yet; the result waits for [`State::poll_recv`].
    pub(crate) fn start_recv(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        if let Read::Idle = socket.read {
            socket.read = Read::Armed;
            let operation = Operation::Recv {
                fd: socket.fd,
                wait_first: !socket.nonempty,
            };
            self.submit(id, Kind::Recv, operation);
        }
    }

    /// Whether a receive has ended that nobody has asked for yet.
    pub(crate) fn has_received(&mut self, id: SocketId) -> bool {
        self.sockets
            .get(id)
            .is_some_and(|socket| matches!(socket.read, Read::Received(_)))
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
        socket.write = Write::Sending { buffer, start, len };
        let operation = Operation::Send {
            fd: socket.fd,
            buffer,
            start,
            len,
        };
        self.submit(id, Kind::Send, operation);
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
        self.driver.splice(fd, pipe, len)
    }

    /// Moves bytes from a pipe into a socket, as many as it takes.
    pub(crate) fn splice_out(
        &mut self,
        id: SocketId,
        pipe: RawFd,
        len: usize,
    ) -> io::Result<usize> {
        let fd = self.nonblocking(id)?;
        self.driver.splice(pipe, fd, len)
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
        self.driver
            .submit(&mut self.buffers, token, Operation::Connect { fd, address });
    }

    /// Tells that a first receive may find bytes at once, as on a socket just accepted.
    pub(crate) fn expect_bytes(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            socket.nonempty = true;
        }
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

    pub(crate) fn give_back(&mut self, buffer: BufferId) {
        self.buffers.give_back(buffer);
        self.driver.stock(&mut self.buffers);
    }

    /// Where a buffer's bytes are.
    pub(crate) fn address(&self, buffer: BufferId) -> std::ptr::NonNull<u8> {
        self.buffers.address(buffer)
    }

    /// Lets go of a socket: nothing more is submitted, what is in flight is cancelled, and the
    /// descriptor is closed when the last of it has ended.
    pub(crate) fn close(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        if socket.phase == Phase::Closing {
            return;
        }
        socket.phase = Phase::Closing;
        socket.reader = None;
        socket.writer = None;
        match std::mem::replace(&mut socket.read, Read::Idle) {
            Read::Received(Ok(Some(filled))) => self.give_back(filled.buffer),
            Read::Accepting(accepting) => {
                accepting
                    .accepted
                    .iter()
                    .for_each(|fd| self.driver.close(*fd));
            }
            Read::Starved => self.starved.retain(|starved| *starved != id),
            _ => {}
        }
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        if socket.in_flight > 0 {
            let fd = socket.fd;
            self.submit(id, Kind::Cancel, Operation::Cancel { fd });
        } else {
            self.finish_close(id);
        }
    }

    /// Closes every socket and turns until all are gone. `false` when some would not end in time:
    /// then the kernel may still write into the buffers and they must be leaked.
    pub(crate) fn close_all(&mut self) -> bool {
        /// Turns of 10 ms; a cancelled socket operation ends within the first.
        const TURNS_MAX: usize = 100;
        self.wheel.forget_wakers();
        for pipe in std::mem::take(&mut self.pipes) {
            self.driver.close(pipe.read);
            self.driver.close(pipe.write);
        }
        for id in self.sockets.ids() {
            self.close(id);
        }
        for _ in 0..TURNS_MAX {
            if self.sockets.ids().is_empty() {
                return true;
            }
            let mut completions = Vec::new();
            let wait = Wait::AtMost(Duration::from_millis(10));
            if self
                .driver
                .turn(&mut self.buffers, wait, &mut completions)
                .is_err()
            {
                return false;
            }
            for completion in completions {
                self.complete(completion);
            }
        }
        false
    }

    fn submit(&mut self, id: SocketId, kind: Kind, operation: Operation<'_>) {
        if let Some(socket) = self.sockets.get(id) {
            socket.in_flight += 1;
        }
        let token = Token {
            kind,
            slot: id.slot,
            generation: id.generation,
        };
        self.driver.submit(&mut self.buffers, token, operation);
    }

    /// Moves a socket on by a completion, or releases what a stale one carries.
    fn complete(&mut self, completion: Completion) {
        let Completion {
            token,
            result,
            buffer,
            more,
            nonempty,
        } = completion;
        let id = SocketId {
            slot: token.slot,
            generation: token.generation,
        };
        if let Some(buffer) = buffer {
            self.buffers.lease(buffer);
        }
        let Some(socket) = self.sockets.get(id) else {
            return self.release(token.kind, result, buffer);
        };
        if !more {
            socket.in_flight -= 1;
        }
        let closing = socket.phase == Phase::Closing;
        match token.kind {
            Kind::Recv => self.received(id, result, buffer, nonempty),
            Kind::Send => self.sent(id, result),
            Kind::Accept => self.accepted(id, result, more),
            Kind::Connect => {
                socket.write = Write::Connected(errno(result));
                wake(&socket.writer);
            }
            Kind::Readable => {
                socket.read = Read::Ready;
                wake(&socket.reader);
            }
            Kind::Writable => {
                socket.write = Write::Ready;
                wake(&socket.writer);
            }
            Kind::Cancel => {}
        }
        if closing
            && self
                .sockets
                .get(id)
                .is_some_and(|socket| socket.in_flight == 0)
        {
            self.finish_close(id);
        }
    }

    /// Releases what a completion carries whose socket is gone.
    fn release(&mut self, kind: Kind, result: i32, buffer: Option<BufferId>) {
        if let Some(buffer) = buffer {
            self.give_back(buffer);
        }
        if kind == Kind::Accept && result >= 0 {
            self.driver.close(result);
        }
    }

    fn received(&mut self, id: SocketId, result: i32, buffer: Option<BufferId>, nonempty: bool) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        if socket.phase == Phase::Closing {
            if let Some(buffer) = buffer {
                self.give_back(buffer);
            }
            return;
        }
        if result == -ENOBUFS {
            socket.read = Read::Starved;
            self.starved.push_back(id);
            self.buffers_waits += 1;
            return;
        }
        socket.nonempty = nonempty;
        socket.read = Read::Received(match buffer {
            Some(buffer) if result > 0 => Ok(Some(Filled {
                buffer,
                len: result as u32,
            })),
            _ => errno(result).map(|()| None),
        });
        wake(&socket.reader);
        if let Some(buffer) = buffer.filter(|_| result <= 0) {
            self.give_back(buffer);
        }
    }

    fn sent(&mut self, id: SocketId, result: i32) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        let Write::Sending { buffer, start, len } = socket.write else {
            debug_assert!(false, "a send that ends was in flight");
            return;
        };
        let done = u32::try_from(result).unwrap_or(0);
        if done > 0 && done < len && socket.phase == Phase::Open {
            // MSG_WAITALL was cut short, by an error that the rest will meet.
            let (start, len) = (start + done, len - done);
            socket.write = Write::Sending { buffer, start, len };
            let operation = Operation::Send {
                fd: socket.fd,
                buffer,
                start,
                len,
            };
            self.submit(id, Kind::Send, operation);
            return;
        }
        socket.write = Write::Sent(errno(result));
        wake(&socket.writer);
        self.give_back(buffer);
    }

    fn accepted(&mut self, id: SocketId, result: i32, more: bool) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        match &mut socket.read {
            Read::Accepting(accepting) => {
                accepting.armed = more;
                if result >= 0 {
                    accepting.accepted.push_back(result);
                } else if result != -ECANCELED {
                    accepting.failed = Some(-result);
                }
                wake(&socket.reader);
            }
            _ if result >= 0 => self.driver.close(result),
            _ => {}
        }
    }

    /// Submits receives that waited for a buffer, as many as there are buffers.
    fn feed_starved(&mut self) {
        let mut waiting = self.starved.len();
        while waiting > 0 && self.driver.stock(&mut self.buffers) {
            waiting -= 1;
            let Some(id) = self.starved.pop_front() else {
                return;
            };
            let Some(socket) = self.sockets.get(id) else {
                continue;
            };
            socket.read = Read::Armed;
            let operation = Operation::Recv {
                fd: socket.fd,
                wait_first: false,
            };
            self.submit(id, Kind::Recv, operation);
        }
    }

    fn finish_close(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            let fd = socket.fd;
            self.sockets.remove(id);
            self.driver.close(fd);
        }
    }
}

/// The error of a half whose owner has let go of the socket.
fn closed() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// A result as system calls return it.
fn errno(result: i32) -> Result<(), i32> {
    if result < 0 { Err(-result) } else { Ok(()) }
}

fn wake(waker: &Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake_by_ref();
    }
}

fn set_waker(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}
