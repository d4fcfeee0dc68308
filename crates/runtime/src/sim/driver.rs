//! The simulated host as a driver. It only passes on; what the host does is in the files beside.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Instant;

use nix::libc::{ECONNREFUSED, EMFILE, ENFILE, ENOBUFS, ENOMEM};
use socket2::{Domain, SockAddr};

use super::World;
use super::host::{Host, Thing};
use crate::buffers::Buffers;
use crate::driver::{Driver, PipeEnds, Wait};
use crate::operation::{Completion, Operation, Token};

/// A driver whose kernel is a simulated world.
pub(crate) struct Simulated(Rc<RefCell<Host>>);

impl Simulated {
    /// The driver of a world; the world may keep some buffers to itself.
    pub(crate) fn new(world: &World, buffers: &mut Buffers) -> Self {
        world.0.borrow_mut().hide_buffers(buffers);
        Self(world.0.clone())
    }
}

impl Driver for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn describe(&self) -> String {
        "simulated".to_owned()
    }

    unsafe fn submit(&mut self, buffers: &mut Buffers, token: Token, operation: Operation<'_>) {
        self.0.borrow_mut().submit(buffers, token, operation);
    }

    fn turn(
        &mut self,
        buffers: &mut Buffers,
        wait: Wait,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let host = &mut *self.0.borrow_mut();
        if !host.turn(buffers, wait, completions) {
            host.violations
                .push("nothing will ever happen again".to_owned());
        }
        if !buffers.has_spare() {
            host.spare_since = host.clock;
        }
        if !host.violations.is_empty() {
            return Err(io::Error::other("a rule of the simulated world was broken"));
        }
        let unleased = completions
            .iter()
            .filter(|completion| completion.buffer.is_some())
            .count();
        buffers.audit(host.buffers_held() + unleased);
        Ok(())
    }

    fn stock(&mut self, buffers: &mut Buffers) -> usize {
        usize::from(buffers.has_spare())
    }

    fn watches(&self) -> bool {
        self.0.borrow().faults.watches
    }

    fn now(&self) -> Instant {
        let host = self.0.borrow();
        host.start + host.clock
    }

    fn socket(&mut self, _domain: Domain) -> io::Result<RawFd> {
        let host = &mut *self.0.borrow_mut();
        let fd = if host.random.chance(host.faults.socket_fails) {
            Err(host.random.one_of(&[EMFILE, ENFILE, ENOBUFS, ENOMEM]))
        } else {
            host.open_one_more(Thing::Socket(None))
        };
        fd.map_err(io::Error::from_raw_os_error)
    }

    fn adopt(&mut self, fd: OwnedFd) -> RawFd {
        self.0.borrow_mut().adopt(fd)
    }

    fn connect_now(&mut self, _fd: RawFd, _address: &SockAddr) -> io::Result<()> {
        // Servers of this world answer on IP addresses only.
        Err(io::Error::from_raw_os_error(ECONNREFUSED))
    }

    fn unacknowledged(&mut self, fd: RawFd) -> usize {
        let host = &mut *self.0.borrow_mut();
        match host.link_of(fd, "ioctl") {
            Some(link) => host.links[link].unread() as usize,
            None => 0,
        }
    }

    fn release(&mut self, _fd: RawFd) -> OwnedFd {
        unreachable!("a simulated worker is alone and hands no connection over")
    }

    fn recv_now(&mut self, fd: RawFd, space: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().recv_now(fd, space)
    }

    fn send_now(&mut self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().send_now(fd, bytes)
    }

    fn shutdown_write(&mut self, fd: RawFd) {
        self.0.borrow_mut().shutdown_write(fd);
    }

    fn reset_on_close(&mut self, fd: RawFd) {
        if let Some(descriptor) = self.0.borrow_mut().descriptor(fd, "setsockopt") {
            descriptor.reset_on_close = true;
        }
    }

    fn delay_acks(&mut self, fd: RawFd) {
        self.0.borrow_mut().descriptor(fd, "setsockopt");
    }

    fn peer(&mut self, fd: RawFd) -> io::Result<SockAddr> {
        self.0.borrow_mut().peer(fd)
    }

    fn send_pieces_now(
        &mut self,
        fd: RawFd,
        pieces: &[IoSlice<'_>],
        _more: bool,
    ) -> io::Result<usize> {
        // A send may always be short.
        let first = pieces.iter().find(|piece| !piece.is_empty());
        first.map_or(Ok(0), |piece| self.send_now(fd, piece))
    }

    fn push(&mut self, _fd: RawFd) {}

    fn local(&mut self, _fd: RawFd) -> io::Result<SockAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 1)).into())
    }

    fn refuse_new(&mut self, fd: RawFd) {
        self.0.borrow_mut().refuse_new(fd);
    }

    fn accept_waiting(&mut self, fd: RawFd) -> Option<RawFd> {
        let host = &mut *self.0.borrow_mut();
        host.descriptor(fd, "accept")?;
        host.accept_one().ok()
    }

    fn pipe(&mut self) -> Option<PipeEnds> {
        self.0.borrow_mut().pipe()
    }

    fn splice(&mut self, from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
        self.0.borrow_mut().splice(from, to, len)
    }

    fn stop_blocking(&mut self, fd: RawFd) {
        if let Some(descriptor) = self.0.borrow_mut().descriptor(fd, "fcntl") {
            descriptor.nonblocking = true;
        }
    }

    fn close(&mut self, fd: RawFd) {
        self.0.borrow_mut().close(fd);
    }
}
