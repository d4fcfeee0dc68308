//! Watched sockets in the simulated host, and the plain calls that receive from them and send at
//! once. A watch tells of what is new and of nothing else, so that whoever forgets what he was told
//! waits for ever.

use std::io;
use std::os::fd::RawFd;

use nix::libc::{EAGAIN, ENOTCONN};

use super::host::Host;
use super::link::{Found, Sent};
use super::pattern;
use crate::operation::{Completion, Token};

/// A watch, and what it has told of.
pub(super) struct Watching {
    pub(super) token: Token,
    arrived: u64,
    over: bool,
}

impl Watching {
    pub(super) fn new(token: Token) -> Self {
        Self {
            token,
            arrived: 0,
            over: false,
        }
    }
}

impl Host {
    /// Tells whoever watches a socket of what is new on it.
    pub(super) fn tell(&mut self, fd: RawFd) {
        let Some(link) = self.link_of(fd, "watch") else {
            return;
        };
        let account = &self.links[link].account;
        let (written, taken) = (account.written, account.taken);
        let over = account.ended || account.failed;
        let Some(descriptor) = self.descriptor(fd, "watch") else {
            return;
        };
        let Some(watching) = &mut descriptor.watching else {
            return;
        };
        let arrived = written > watching.arrived.max(taken);
        let is_over = over && !watching.over;
        if !arrived && !is_over {
            return;
        }
        (watching.arrived, watching.over) = (written, over);
        let token = watching.token;
        let more = !self.random.chance(self.faults.watch_ends);
        if !more && let Some(descriptor) = self.descriptor(fd, "watch") {
            descriptor.watching = None;
        }
        let completion = Completion {
            token,
            result: 1,
            buffer: None,
            more,
            nonempty: over,
        };
        self.done(fd, completion);
    }

    pub(super) fn recv_now(&mut self, fd: RawFd, space: &mut [u8]) -> io::Result<usize> {
        if self.descriptor(fd, "recv").is_some_and(|it| it.reads > 0) {
            self.violated("a receive overtakes an operation in flight", fd);
        }
        let found = match self.link_of(fd, "recv") {
            Some(link) => (link, self.links[link].found()),
            None => return Err(io::Error::from_raw_os_error(ENOTCONN)),
        };
        let result = match found {
            (_, Found::Nothing) => Err(EAGAIN),
            (_, Found::End) => Ok(0),
            (_, Found::Failed(error)) => Err(error),
            (link, Found::Bytes(len)) => {
                let len = len.min(space.len());
                let bytes = self.links[link].take(len);
                pattern::fill(bytes.stream, bytes.position, &mut space[..len]);
                self.links[link].account.last_arrival = Some(self.clock);
                self.wake(link);
                Ok(len)
            }
        };
        self.noted("recv now", fd, result)
    }

    pub(super) fn send_now(&mut self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        if self.descriptor(fd, "send").is_some_and(|it| it.writes > 0) {
            self.violated("a send overtakes an operation in flight", fd);
        }
        let Some(link) = self.link_of(fd, "send") else {
            return Err(io::Error::from_raw_os_error(ENOTCONN));
        };
        if self.random.chance(self.faults.send_blocks) {
            return self.noted("send now", fd, Err(EAGAIN));
        }
        let sent = self.links[link].send(bytes.len());
        let result = match sent {
            Sent::NoRoom => Err(EAGAIN),
            Sent::Failed(error) => Err(error),
            Sent::Taken(len) | Sent::Unwanted(len) => Ok(len),
        };
        if let Ok(len) = result {
            if !self.links[link].heard.hear(&bytes[..len]) {
                self.violated("what is sent is not what was received", fd);
            }
            self.arrives(link, matches!(sent, Sent::Unwanted(_)));
        }
        self.noted("send now", fd, result)
    }

    fn noted(
        &mut self,
        call: &'static str,
        fd: RawFd,
        result: Result<usize, i32>,
    ) -> io::Result<usize> {
        let value = match result {
            Ok(count) => count as i64,
            Err(error) => -i64::from(error),
        };
        self.note(call, fd, value);
        result.map_err(io::Error::from_raw_os_error)
    }
}
