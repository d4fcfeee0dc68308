//! Pipes of the simulated host, and the plain calls that move bytes between them and sockets.

use std::io;
use std::os::fd::RawFd;

use nix::libc::{EAGAIN, EINVAL};

use super::host::{Host, Thing};
use super::link::{Found, Sent};
use crate::driver::PipeEnds;

impl Host {
    pub(super) fn pipe(&mut self) -> Option<PipeEnds> {
        if self.random.chance(self.faults.no_pipe) {
            return None;
        }
        let pipe = self.pipes.len();
        let read = self.open_one_more(Thing::PipeRead(pipe)).ok()?;
        let Ok(write) = self.open_one_more(Thing::PipeWrite(pipe)) else {
            self.close(read);
            return None;
        };
        self.pipes.push(Default::default());
        let capacity = self.random.one_of(&[64 * 1024, 1 << 20]);
        Some(PipeEnds {
            read,
            write,
            capacity,
        })
    }

    pub(super) fn splice(&mut self, from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
        let result = match (self.pipe_or_link(from), self.pipe_or_link(to)) {
            (Some(End::Socket(link)), Some(End::Into(pipe))) => {
                self.splice_in(from, link, pipe, len)
            }
            (Some(End::OutOf(pipe)), Some(End::Socket(link))) => {
                self.splice_out(pipe, to, link, len)
            }
            _ => {
                self.violated("splice between things that cannot be spliced", from);
                Err(EINVAL)
            }
        };
        let value = match result {
            Ok(moved) => moved as i64,
            Err(error) => -i64::from(error),
        };
        self.note("splice", from, value);
        result.map_err(io::Error::from_raw_os_error)
    }

    fn splice_in(&mut self, fd: RawFd, link: usize, pipe: usize, len: usize) -> Result<usize, i32> {
        self.may_splice(fd, |reads, _| reads);
        let found = match self.links[link].found() {
            Found::Bytes(found) => found.min(len),
            Found::Nothing => return Err(EAGAIN),
            Found::End => return Ok(0),
            Found::Failed(error) => return Err(error),
        };
        // Whoever watches relies on being told, so it must be true.
        let watched = self
            .descriptor(fd, "splice")
            .is_some_and(|descriptor| descriptor.watching.is_some());
        if !watched && self.random.chance(self.faults.splice_blocks) {
            return Err(EAGAIN);
        }
        let moved = self.part_of(found, self.faults.splice_partly);
        let bytes = self.links[link].take(moved);
        self.links[link].account.last_arrival = Some(self.clock);
        self.pipes[pipe].push(bytes);
        self.wake(link);
        Ok(moved)
    }

    fn splice_out(
        &mut self,
        pipe: usize,
        fd: RawFd,
        link: usize,
        len: usize,
    ) -> Result<usize, i32> {
        self.may_splice(fd, |_, writes| writes);
        let most = self.pipes[pipe].len.min(len);
        if most == 0 || self.random.chance(self.faults.splice_blocks) {
            return Err(EAGAIN);
        }
        let most = self.part_of(most, self.faults.splice_partly);
        let sent = self.links[link].send(most);
        let most = match sent {
            Sent::Taken(len) | Sent::Unwanted(len) => len,
            Sent::NoRoom => return Err(EAGAIN),
            Sent::Failed(error) => return Err(error),
        };
        let mut moved = 0;
        while moved < most
            && let Some(bytes) = self.pipes[pipe].pop(most - moved)
        {
            moved += bytes.len;
            if !self.links[link].heard.hear_segment(bytes) {
                self.violated("what is spliced is not what was received", fd);
            }
        }
        self.arrives(link, matches!(sent, Sent::Unwanted(_)));
        Ok(moved)
    }

    /// A splice must not wait, nor overtake an operation of the same direction.
    fn may_splice(&mut self, fd: RawFd, in_flight: impl Fn(u32, u32) -> u32) {
        let Some(descriptor) = self.descriptor(fd, "splice") else {
            return;
        };
        let blocking = !descriptor.nonblocking;
        let overtaken = in_flight(descriptor.reads, descriptor.writes) > 0;
        if blocking {
            self.violated("splice on a socket that would wait", fd);
        }
        if overtaken {
            self.violated("splice overtakes an operation in flight", fd);
        }
    }

    fn pipe_or_link(&mut self, fd: RawFd) -> Option<End> {
        match self.descriptor(fd, "splice")?.thing {
            Thing::PipeRead(pipe) => Some(End::OutOf(pipe)),
            Thing::PipeWrite(pipe) => Some(End::Into(pipe)),
            Thing::Socket(link) => link.map(End::Socket),
            Thing::Listener(_) | Thing::Bell(_) => None,
        }
    }
}

enum End {
    OutOf(usize),
    Into(usize),
    Socket(usize),
}
