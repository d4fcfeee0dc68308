//! A connected stream: receive a chunk, send a chunk. Every future here can be dropped at any
//! moment: what it had started goes on, and its result waits for the next call or is released.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::os::fd::{OwnedFd, RawFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockAddr;

use crate::buffers::{BUFFER_BYTES, BufferId};
use crate::core::Core;
use crate::pipe::Pipe;
use crate::runtime::{core, now};
use crate::sockets::{Filled, SocketId};
use crate::time::Sleep;

/// A connected stream socket. Dropping it closes it, after what is in flight has been cancelled.
pub struct Stream {
    core: Rc<Core>,
    id: SocketId,
}

impl Stream {
    /// Connects to an address. When data is to follow at once, the acknowledgement that ends the
    /// handshake waits for it, which saves a packet; a peer that has nothing to wait for must not
    /// be kept waiting for it.
    ///
    /// # Errors
    /// Those of socket(2) and connect(2).
    pub async fn connect(address: &SockAddr, next: Next) -> io::Result<Self> {
        let stream = Self::open(|core| core.state.borrow_mut().open(address.domain()))?;
        if next == Next::Data {
            stream.delay_acks();
        }
        if address.is_unix() {
            stream.connect_unix(address).await?;
            return Ok(stream);
        }
        stream
            .core
            .state
            .borrow_mut()
            .start_connect(stream.id, address.clone());
        stream.sent().await?;
        Ok(stream)
    }

    /// Connects to a unix socket; a full queue is asked again until there is a place.
    async fn connect_unix(&self, address: &SockAddr) -> io::Result<()> {
        const RETRY: Duration = Duration::from_millis(10);
        loop {
            let connected = self.core.state.borrow_mut().connect_now(self.id, address);
            match connected {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Sleep::until(now() + RETRY).wait().await;
                }
                decided => return decided,
            }
        }
    }

    /// A stream over a descriptor that the driver accepted.
    pub(crate) fn accepted(fd: RawFd) -> io::Result<Self> {
        let stream = Self::open(|core| core.state.borrow_mut().enter(fd))?;
        stream.core.state.borrow_mut().expect_bytes(stream.id);
        Ok(stream)
    }

    /// Takes a connection over that another runtime has accepted and not used.
    ///
    /// # Errors
    /// When the socket table is full.
    ///
    /// # Panics
    /// Outside a runtime's thread.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let stream = Self::open(|core| core.state.borrow_mut().adopt(descriptor))?;
        stream.core.state.borrow_mut().expect_bytes(stream.id);
        Ok(stream)
    }

    /// Gives the connection away, for another runtime to adopt. `None`, and the connection is
    /// closed, when something is in flight on it.
    pub fn release(self) -> Option<OwnedFd> {
        self.core.state.borrow_mut().release_idle(self.id)
    }

    fn open(enter: impl FnOnce(&Core) -> io::Result<SocketId>) -> io::Result<Self> {
        let core = core();
        let id = enter(&core)?;
        Ok(Self { core, id })
    }

    /// Starts to receive before anybody asks; [`Stream::recv`] gets the result.
    pub fn start_recv(&self) {
        self.core.state.borrow_mut().start_recv(self.id);
    }

    /// Whether something may have arrived that [`Stream::recv`] gets at once.
    pub fn has_received(&self) -> bool {
        self.core.state.borrow_mut().has_received(self.id)
    }

    /// Lets acknowledgements wait for data to carry them, as in a dialogue.
    pub fn delay_acks(&self) {
        self.core.state.borrow_mut().delay_acks(self.id);
    }

    /// The next bytes that arrived; an empty chunk is the end of the peer's direction. Bytes behind
    /// urgent data or passed descriptors may wait for the next [`crate::tidy`].
    ///
    /// # Errors
    /// Those of recv(2).
    pub async fn recv(&self) -> io::Result<Chunk> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`Stream::recv`], for a caller that polls.
    pub fn poll_recv(&self, context: &mut Context<'_>) -> Poll<io::Result<Chunk>> {
        let state = &mut *self.core.state.borrow_mut();
        state
            .poll_recv(self.id, context)
            .map_ok(|filled| match filled {
                None => Chunk { held: None },
                Some(Filled { buffer, len }) => {
                    let bytes = NonNull::slice_from_raw_parts(state.address(buffer), len as usize);
                    Chunk {
                        held: Some(Held {
                            core: self.core.clone(),
                            buffer,
                            bytes,
                        }),
                    }
                }
            })
    }

    /// Waits until the send before has ended, then starts to send a chunk and returns without
    /// waiting for its end. An error of the send before is told here.
    ///
    /// # Errors
    /// Those of send(2).
    pub async fn send(&self, chunk: Chunk) -> io::Result<()> {
        self.sent().await?;
        self.start_send(chunk);
        Ok(())
    }

    /// Waits until everything given to [`Stream::send`] has been taken over by the kernel.
    ///
    /// # Errors
    /// Those of send(2).
    pub async fn sent(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_sent(context)).await
    }

    /// As [`Stream::sent`], for a caller that polls.
    pub fn poll_sent(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.core.state.borrow_mut().poll_sent(self.id, context)
    }

    /// Starts to send a chunk when the send before has ended, as [`Stream::sent`] tells. For a
    /// caller that keeps the chunk until then: the future of [`Stream::send`] needs room for two.
    pub fn start_send(&self, mut chunk: Chunk) {
        if let Some(held) = chunk.held.take() {
            assert!(
                Rc::ptr_eq(&self.core, &held.core),
                "a chunk stays on its runtime"
            );
            let (buffer, len) = held.into_parts();
            self.core
                .state
                .borrow_mut()
                .start_send(self.id, buffer, 0, len);
        }
    }

    /// Sends as much of the pieces, in their order, as there is room for, without waiting. Not while a
    /// send of a chunk is under way.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, otherwise those of send(2).
    pub fn try_send(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.core.state.borrow_mut();
        state.try_send(self.id, pieces, false)
    }

    /// As [`Stream::try_send`], of bytes that more will follow at once: the kernel may keep what does not
    /// fill a packet, until then or until [`Stream::push`].
    ///
    /// # Errors
    /// Those of [`Stream::try_send`].
    pub fn try_send_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.core.state.borrow_mut();
        state.try_send(self.id, &[IoSlice::new(bytes)], true)
    }

    /// Lets out what the kernel has kept.
    pub fn push(&self) {
        self.core.state.borrow_mut().push(self.id);
    }

    /// Sends all of some bytes that are few: most find room at once.
    ///
    /// # Errors
    /// Those of send(2).
    pub async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_send(&[IoSlice::new(bytes)]) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until something can be received or the peer has ended. Not while a receive is under
    /// way.
    pub async fn readable(&self) {
        poll_fn(|context| self.core.state.borrow_mut().poll_readable(self.id, context)).await;
    }

    /// Waits until what was sent is taken over and more can be sent.
    ///
    /// # Errors
    /// Those of the send before.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_writable(context)).await
    }

    /// As [`Stream::writable`], for a caller that polls.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.core.state.borrow_mut().poll_writable(self.id, context)
    }

    /// Moves what has arrived into an empty pipe, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has arrived, otherwise those of recv(2).
    pub fn splice_in(&self, pipe: &mut Pipe) -> io::Result<usize> {
        let moved =
            self.core
                .state
                .borrow_mut()
                .splice_in(self.id, pipe.ends.write, pipe.piece_max)?;
        pipe.held += moved;
        Ok(moved)
    }

    /// Moves what a pipe holds into the stream, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when the stream takes no more now, otherwise those of send(2).
    pub fn splice_out(&self, pipe: &mut Pipe) -> io::Result<usize> {
        let moved = self
            .core
            .state
            .borrow_mut()
            .splice_out(self.id, pipe.ends.read, pipe.held)?;
        pipe.held -= moved;
        Ok(moved)
    }

    /// Ends the sending direction; what was sent before still arrives. Wait for
    /// [`Stream::sent`] first.
    pub fn shutdown_write(&self) {
        self.core.state.borrow_mut().shutdown_write(self.id);
    }

    /// Whether the last send failed or was cut short. The kernel tells a reset once: after a send
    /// that met it, a receive finds an end that is none.
    pub fn send_failed(&self) -> bool {
        self.core.state.borrow_mut().send_failed(self.id)
    }

    /// Bytes sent that the peer has not acknowledged yet.
    pub fn unacknowledged(&self) -> usize {
        self.core.state.borrow_mut().unacknowledged(self.id)
    }

    /// Closes with a reset, so that the peer cannot take the end for an orderly one.
    pub fn reset(self) {
        self.reset_on_close();
    }

    /// Lets the close that comes be a reset.
    pub fn reset_on_close(&self) {
        self.core.state.borrow_mut().reset_on_close(self.id);
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// Those of getpeername(2): the connection may be gone already.
    pub fn peer(&self) -> io::Result<SockAddr> {
        self.core.state.borrow_mut().peer(self.id)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local(&self) -> io::Result<SockAddr> {
        self.core.state.borrow_mut().local(self.id)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.core.state.borrow_mut().close(self.id);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.id).finish()
    }
}

/// What the side that connects does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has data to send.
    Data,
    /// It may have nothing to say before the other side speaks.
    Unknown,
}

/// Bytes that arrived, in a buffer of the pool, which they hold until they are sent or dropped.
pub struct Chunk {
    held: Option<Held>,
}

struct Held {
    core: Rc<Core>,
    buffer: BufferId,
    bytes: NonNull<[u8]>,
}

impl Chunk {
    /// Bytes of the largest chunk: a receive that gives so many may have left more behind.
    pub const BYTES_MAX: usize = BUFFER_BYTES;
}

impl Held {
    /// The buffer and how many bytes are in it, without giving the buffer back.
    fn into_parts(self) -> (BufferId, u32) {
        let parts = (self.buffer, self.bytes.len() as u32);
        let held = std::mem::ManuallyDrop::new(self);
        // SAFETY: the field is read once, and the `Held` it came from is never dropped.
        drop(unsafe { std::ptr::read(&held.core) });
        parts
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.core.state.borrow_mut().give_back(self.buffer);
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.held {
            // SAFETY: the buffer is leased to this chunk alone, the kernel filled these bytes and
            // has let go of them, and the pool's memory stays mapped while `core` lives.
            Some(held) => unsafe { held.bytes.as_ref() },
            None => &[],
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}
