//! What a worker's runtime knows: the driver, the sockets, the buffers and the timers, and how a
//! completion moves them on. It runs no task; it wakes those that wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::buffers::{BufferId, Buffers};
use crate::driver::{Driver, PipeEnds, Wait};
use crate::operation::{Completion, Kind, Operation, Token};
use crate::requests::RECEIVES_BEFORE_WATCH;
use crate::sockets::{Filled, Phase, Read, SocketId, Sockets, Watch, Write};
use crate::spare::Waiting;
use crate::wheel::Wheel;
use nix::libc::{ECANCELED, ENOBUFS};

/// The shared heart of one runtime. Only its own thread ever touches it.
pub(crate) struct Core {
    pub(crate) state: RefCell<State>,
    /// The clock, read once per turn.
    pub(crate) now: Cell<Instant>,
    /// Who waits until there is nothing else to do.
    pub(crate) spare: RefCell<Waiting>,
}

/// Everything behind the one borrow. The driver is dropped before the buffers it may refer to.
pub(crate) struct State {
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) buffers: Buffers,
    pub(crate) sockets: Sockets,
    pub(crate) wheel: Wheel,
    /// Sockets whose receive waits for a buffer, in order of arrival.
    starved: VecDeque<SocketId>,
    completions: Vec<Completion>,
    /// Empty pipes nobody uses.
    pub(crate) pipes: Vec<PipeEnds>,
    pub(crate) pipes_leased: usize,
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
            spare: RefCell::new(Waiting::new(now)),
        }
    }

    /// One turn: hands over what was submitted, waits for completions no longer than `wait` and
    /// the next timer, and wakes whoever waited for what came.
    pub(crate) fn turn(&self, wait: Wait, woken: &mut Vec<Waker>) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let fed_all = state.feed_starved();
        let wait = match (wait, state.wheel.next_turn()) {
            _ if !fed_all => Wait::Not,
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

    /// What the driver is, in one word.
    pub(crate) fn driver(&self) -> &'static str {
        self.state.borrow().driver.name()
    }

    /// What the driver is, for people.
    pub(crate) fn describe(&self) -> String {
        self.state.borrow().driver.describe()
    }
}

impl State {
    pub(crate) fn give_back(&mut self, buffer: BufferId) {
        self.buffers.give_back(buffer);
        self.driver.stock(&mut self.buffers);
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

    pub(crate) fn submit(&mut self, id: SocketId, kind: Kind, operation: Operation<'_>) {
        if let Some(socket) = self.sockets.get(id) {
            socket.in_flight += 1;
        }
        let token = Token {
            kind,
            slot: id.slot,
            generation: id.generation,
        };
        // SAFETY: a socket's descriptor is closed when nothing is in flight on it, and the buffer of
        // its send belongs to its writing half until `sent` sees the end.
        unsafe { self.driver.submit(&mut self.buffers, token, operation) };
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
            Kind::Watch => self.watched(id, more, nonempty),
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
        socket.receives = RECEIVES_BEFORE_WATCH.min(socket.receives + 1);
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

    /// Something has arrived on a watched socket, or the watch has ended, as it does when
    /// completions overflow.
    fn watched(&mut self, id: SocketId, more: bool, ended_now: bool) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        match &mut socket.watch {
            Watch::On { readable, ended } if more => {
                *readable = true;
                *ended |= ended_now;
            }
            _ => {
                socket.watch = Watch::Off;
                socket.receives = 0;
                socket.nonempty = true;
            }
        }
        wake(&socket.reader);
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
        socket.send_failed = done < len;
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

    /// Submits receives that waited for a buffer, as many as there are buffers. `false` when more
    /// may be fed at once: those that were may find nothing and leave their buffers.
    fn feed_starved(&mut self) -> bool {
        if self.starved.is_empty() {
            return true;
        }
        let buffers = self.driver.stock(&mut self.buffers);
        for _ in 0..buffers {
            let Some(id) = self.starved.pop_front() else {
                return true;
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
        buffers == 0 || self.starved.is_empty()
    }

    fn finish_close(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get(id) {
            let fd = socket.fd;
            self.sockets.remove(id);
            self.driver.close(fd);
        }
    }
}

/// A result as system calls return it.
fn errno(result: i32) -> Result<(), i32> {
    if result < 0 { Err(-result) } else { Ok(()) }
}

pub(crate) fn wake(waker: &Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake_by_ref();
    }
}
