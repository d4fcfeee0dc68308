//! Operations in the simulated host: how they begin, go on as connections change, and end. When
//! their completions are seen is in `turn.rs`.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::libc::{
    ECANCELED, ECONNABORTED, ECONNREFUSED, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOMEM, ENOTCONN,
};

use super::Attempt;
use super::host::{Event, Host, Thing};
use super::link::{Found, Sent};
use super::pattern;
use super::script::{Script, Welcome};
use super::turn::Direction;
use super::watch::Watching;
use crate::buffers::{BUFFER_BYTES, BufferId, Buffers};
use crate::operation::{Completion, Kind, Operation, Token};
use crate::plain;

/// An operation that was submitted and has not begun.
pub(super) struct Queued {
    fd: RawFd,
    token: Token,
    action: Action,
}

enum Action {
    Accept,
    /// To the server of that index, or to nobody.
    Connect(Option<usize>),
    Recv {
        wait_first: bool,
    },
    Send(Part),
    Readable,
    Writable,
    Watch,
    Cancel,
}

/// What waits for something to read.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    Accept(Token),
    Recv(Token),
    Readable(Token),
}

/// What waits for room to write.
#[derive(Clone, Copy)]
pub(super) enum Writing {
    Connect(Token, usize),
    Send(Token, Part),
    Writable(Token),
}

/// A part of a buffer, and how much of it has gone.
#[derive(Clone, Copy)]
pub(super) struct Part {
    buffer: BufferId,
    start: usize,
    len: usize,
    sent: usize,
}

impl Host {
    pub(super) fn submit(&mut self, buffers: &mut Buffers, token: Token, operation: Operation<'_>) {
        let (fd, action) = match operation {
            Operation::Accept { fd } => (fd, Action::Accept),
            Operation::Connect { fd, address } => {
                let address = address.as_socket();
                let server = self.servers.iter().position(|at| Some(*at) == address);
                (fd, Action::Connect(server))
            }
            Operation::Recv { fd, wait_first } => (fd, Action::Recv { wait_first }),
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
                (fd, Action::Send(part))
            }
            Operation::Readable { fd } => (fd, Action::Readable),
            Operation::Writable { fd } => (fd, Action::Writable),
            Operation::Watch { fd } => (fd, Action::Watch),
            Operation::Cancel { fd } => (fd, Action::Cancel),
        };
        self.note(name(token.kind), fd, 0);
        let Some(descriptor) = self.descriptor(fd, name(token.kind)) else {
            return;
        };
        descriptor.in_flight += 1;
        match Direction::of(token.kind) {
            Direction::In => descriptor.reads += 1,
            Direction::Out => descriptor.writes += 1,
            Direction::Watch | Direction::Neither => {}
        }
        if descriptor.reads > 1 {
            self.violated("two operations that read in flight", fd);
        } else if descriptor.writes > 1 {
            self.violated("two operations that write in flight", fd);
        }
        let queued = Queued { fd, token, action };
        if self.faults.eager {
            self.begin(buffers, queued);
        } else {
            self.queued.push_back(queued);
        }
    }

    /// Begins an operation, which may end it.
    pub(super) fn begin(&mut self, buffers: &mut Buffers, queued: Queued) {
        let Queued { fd, token, action } = queued;
        let Some(descriptor) = self.descriptor(fd, "an operation that begins") else {
            return;
        };
        match action {
            Action::Accept => descriptor.reading = Some(Reading::Accept(token)),
            Action::Readable => descriptor.reading = Some(Reading::Readable(token)),
            // io_uring takes the buffer before it looks whether anything is there.
            Action::Recv { wait_first: false } if !buffers.has_spare() => {
                return self.complete(fd, token, -ENOBUFS);
            }
            Action::Recv { .. } => descriptor.reading = Some(Reading::Recv(token)),
            Action::Send(part) => descriptor.writing = Some(Writing::Send(token, part)),
            Action::Writable => descriptor.writing = Some(Writing::Writable(token)),
            Action::Connect(server) => return self.connect(fd, token, server),
            Action::Watch => {
                descriptor.watching = Some(Watching::new(token));
                return self.tell(fd);
            }
            Action::Cancel => return self.cancel(fd, token),
        }
        match Direction::of(token.kind) {
            Direction::In => self.read(buffers, fd),
            _ => self.write(buffers, fd),
        }
    }

    /// Moves on what waits to read.
    pub(super) fn read(&mut self, buffers: &mut Buffers, fd: RawFd) {
        let Some(descriptor) = self.descriptor(fd, "read") else {
            return;
        };
        match descriptor.reading {
            None => {}
            Some(Reading::Accept(token)) => self.accept(fd, token),
            Some(Reading::Recv(token)) => self.recv(buffers, fd, token),
            Some(Reading::Readable(token)) => {
                let readable = match &descriptor.thing {
                    Thing::Bell(bell) => plain::is_readable(bell.as_raw_fd()),
                    Thing::Socket(Some(link)) => {
                        let link = *link;
                        self.links[link].readable()
                    }
                    _ => true,
                };
                if readable {
                    self.end_read(fd, token, 0);
                }
            }
        }
    }

    fn accept(&mut self, fd: RawFd, token: Token) {
        while !self.door.waiting.is_empty() {
            match self.accept_one() {
                Ok(accepted) => {
                    let more = !self.random.chance(self.faults.accept_ends);
                    let completion = Completion {
                        token,
                        result: accepted,
                        buffer: None,
                        more,
                        nonempty: false,
                    };
                    self.done(fd, completion);
                    if !more {
                        return self.forget_read(fd);
                    }
                }
                Err(error) => return self.end_read(fd, token, -error),
            }
        }
    }

    /// A descriptor for the next connection that waits.
    pub(super) fn accept_one(&mut self) -> Result<RawFd, i32> {
        if self.random.chance(self.faults.accept_fails) {
            let errors = [ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM];
            let error = self.random.one_of(&errors);
            if error == ECONNABORTED
                && let Some(link) = self.door.waiting.pop_front()
            {
                let account = &mut self.links[link].account;
                account.failed = true;
                account.closed_at = Some(self.clock);
            }
            return Err(error);
        }
        let Some(link) = self.door.waiting.front().copied() else {
            return Err(ENOTCONN);
        };
        let fd = self.open_one_more(Thing::Socket(Some(link)))?;
        self.door.waiting.pop_front();
        self.links[link].fd = Some(fd);
        Ok(fd)
    }

    fn recv(&mut self, buffers: &mut Buffers, fd: RawFd, token: Token) {
        let Some(link) = self.link_of(fd, "recv") else {
            return self.end_read(fd, token, -ENOTCONN);
        };
        let len = match self.links[link].found() {
            Found::Nothing => return,
            Found::End => return self.end_read(fd, token, 0),
            Found::Failed(error) => return self.end_read(fd, token, -error),
            Found::Bytes(len) => len.min(BUFFER_BYTES),
        };
        let Some(buffer) = buffers.take_for_driver() else {
            return self.end_read(fd, token, -ENOBUFS);
        };
        let len = self.part_of(len, self.faults.short_receives);
        let bytes = self.links[link].take(len);
        let space = buffers.space(buffer);
        pattern::fill(bytes.stream, bytes.position, &mut space[..len]);
        let completion = Completion {
            token,
            result: len as i32,
            buffer: Some(buffer),
            more: false,
            nonempty: self.links[link].waiting() > 0,
        };
        self.forget_read(fd);
        self.done(fd, completion);
        self.wake(link);
    }

    /// Now and then less than the whole.
    pub(super) fn part_of(&mut self, len: usize, chance: u32) -> usize {
        if self.random.chance(chance) {
            self.random.between(1, len as u64) as usize
        } else {
            len
        }
    }

    /// Moves on what waits to write.
    pub(super) fn write(&mut self, buffers: &mut Buffers, fd: RawFd) {
        let Some(descriptor) = self.descriptor(fd, "write") else {
            return;
        };
        match descriptor.writing {
            None | Some(Writing::Connect(..)) => {}
            Some(Writing::Send(token, part)) => self.send(buffers, fd, token, part),
            Some(Writing::Writable(token)) => {
                let link = self.link_of(fd, "poll");
                if link.is_none_or(|link| self.links[link].writable()) {
                    self.end_write(fd, token, 0);
                }
            }
        }
    }

    fn send(&mut self, buffers: &mut Buffers, fd: RawFd, token: Token, mut part: Part) {
        let Some(link) = self.link_of(fd, "send") else {
            return self.end_write(fd, token, -ENOTCONN);
        };
        let sent = self.links[link].send(part.len - part.sent);
        let len = match sent {
            Sent::NoRoom => return,
            // An error after some bytes waits for the next call, which finds the socket gone.
            Sent::Failed(_) if part.sent > 0 => {
                return self.end_write(fd, token, part.sent as i32);
            }
            Sent::Failed(error) => return self.end_write(fd, token, -error),
            Sent::Taken(len) | Sent::Unwanted(len) => len,
        };
        let from = part.start + part.sent;
        let bytes = buffers.bytes(part.buffer, from, len);
        let right = self.links[link].heard.hear(bytes);
        if !right {
            self.violated("what is sent is not what was received", fd);
        }
        part.sent += len;
        self.arrives(link, matches!(sent, Sent::Unwanted(_)));
        let cut_short = part.sent < part.len && self.random.chance(self.faults.short_sends);
        self.links[link].account.cut_short |= cut_short;
        if part.sent == part.len || cut_short {
            return self.end_write(fd, token, part.sent as i32);
        }
        if let Some(descriptor) = self.descriptor(fd, "send") {
            descriptor.writing = Some(Writing::Send(token, part));
        }
    }

    /// Bytes reach a peer, or the place where it was.
    pub(super) fn arrives(&mut self, link: usize, unwanted: bool) {
        if unwanted {
            let after = Duration::from_micros(self.random.between(1, 1000));
            self.happens_in(after, Event::Fail(link, nix::libc::ECONNRESET));
        } else {
            self.wake(link);
        }
    }

    fn connect(&mut self, fd: RawFd, token: Token, server: Option<usize>) {
        let attempt = self.attempts.len();
        self.attempts.push(Attempt {
            began_at: self.clock,
            cancelled_at: None,
            ended_at: None,
        });
        if let Some(descriptor) = self.descriptor(fd, "connect") {
            descriptor.writing = Some(Writing::Connect(token, attempt));
        }
        let welcome = match server {
            Some(_) => Welcome::draw(&mut self.random),
            None => Welcome::Error(Duration::from_micros(10), ECONNREFUSED),
        };
        let (after, result) = match welcome {
            Welcome::After(after) => (after, server.unwrap_or(0) as i32),
            Welcome::Error(after, error) => (after, -error),
            Welcome::Silence => return,
        };
        self.happens_in(
            after,
            Event::Connected {
                fd,
                attempt,
                result,
            },
        );
    }

    /// An attempt ends, if it still goes on: with a server's index or an error.
    pub(super) fn connected(&mut self, fd: RawFd, attempt: usize, result: i32) {
        // The attempt may have been given up, and the number may be another socket's.
        if self.attempts[attempt].cancelled_at.is_some() {
            return;
        }
        let Some(descriptor) = self.descriptor(fd, "connect") else {
            return;
        };
        let Some(Writing::Connect(token, current)) = descriptor.writing else {
            return;
        };
        if current != attempt {
            return;
        }
        if let Ok(server) = usize::try_from(result) {
            let script = Script::server(&mut self.random);
            let link = self.link(self.servers[server], script);
            self.links[link].fd = Some(fd);
            if let Some(descriptor) = self.descriptor(fd, "connect") {
                descriptor.thing = Thing::Socket(Some(link));
            }
        }
        self.attempts[attempt].ended_at = Some(self.clock);
        self.end_write(fd, token, result.min(0));
    }

    /// Ends what waits on a descriptor. What has ended already keeps its result.
    fn cancel(&mut self, fd: RawFd, token: Token) {
        let Some(descriptor) = self.descriptor(fd, "cancel") else {
            return;
        };
        let (reading, writing) = (descriptor.reading.take(), descriptor.writing.take());
        let watching = descriptor.watching.take();
        let found = [reading.is_some(), writing.is_some(), watching.is_some()];
        let found = found.map(i32::from).iter().sum();
        let result = if found > 0 { found } else { -ENOENT };
        // The kernel may tell of the cancel before or after what it cancelled.
        let first = self.random.chance(500);
        if first {
            self.complete(fd, token, result);
        }
        if let Some(Reading::Accept(token) | Reading::Recv(token) | Reading::Readable(token)) =
            reading
        {
            self.complete(fd, token, -ECANCELED);
        }
        if let Some(Watching { token, .. }) = watching {
            self.complete(fd, token, -ECANCELED);
        }
        match writing {
            Some(Writing::Send(token, part)) if part.sent > 0 => {
                self.complete(fd, token, part.sent as i32);
            }
            Some(Writing::Connect(token, attempt)) => {
                self.attempts[attempt].cancelled_at = Some(self.clock);
                self.complete(fd, token, -ECANCELED);
            }
            Some(Writing::Send(token, _) | Writing::Writable(token)) => {
                self.complete(fd, token, -ECANCELED);
            }
            None => {}
        }
        if !first {
            self.complete(fd, token, result);
        }
    }

    fn forget_read(&mut self, fd: RawFd) {
        if let Some(descriptor) = self.descriptor(fd, "read") {
            descriptor.reading = None;
        }
    }

    fn end_read(&mut self, fd: RawFd, token: Token, result: i32) {
        self.forget_read(fd);
        self.complete(fd, token, result);
    }

    fn end_write(&mut self, fd: RawFd, token: Token, result: i32) {
        if let Some(descriptor) = self.descriptor(fd, "write") {
            descriptor.writing = None;
        }
        self.complete(fd, token, result);
    }

    fn complete(&mut self, fd: RawFd, token: Token, result: i32) {
        let completion = Completion {
            token,
            result,
            buffer: None,
            more: false,
            nonempty: false,
        };
        self.done(fd, completion);
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Accept => "accept",
        Kind::Connect => "connect",
        Kind::Recv => "recv",
        Kind::Send => "send",
        Kind::Readable => "poll in",
        Kind::Writable => "poll out",
        Kind::Watch => "watch",
        Kind::Cancel => "cancel",
    }
}
