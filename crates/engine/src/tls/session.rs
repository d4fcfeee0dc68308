//! A TLS session on a stream: ciphertext in, what the peer said out, and the reverse. It holds what has
//! arrived and is not decrypted, and records that found no room, and nothing else while it is idle.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice, Write};
use std::task::{Context, Poll, Waker, ready};

use ringgate_runtime::{Chunk, Stream};
use rustls::{Connection, ProtocolVersion};

/// Times that a session is fed before what it was given is decrypted. It takes 4 KiB at a time, so
/// five times hold the longest record.
const FEEDS: usize = 5;

/// A session, during the handshake and after.
pub(crate) struct Tls {
    connection: RefCell<Connection>,
    arrived: RefCell<Arrived>,
}

/// Ciphertext that the session has not been given yet.
pub(crate) enum Arrived {
    Nothing,
    /// What was heard before it was known to be for this session.
    Heard {
        bytes: Vec<u8>,
        used: usize,
    },
    Chunk {
        chunk: Chunk,
        used: usize,
    },
}

/// How receiving ends.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// The peer does not keep to the protocol, or is not who it should be.
    Tls(rustls::Error),
    /// The stream failed, or ended without the peer's close_notify (RFC 8446 §6.1): bytes may be missing.
    Gone,
}

impl From<Flaw> for io::Error {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Tls(error) => Self::new(io::ErrorKind::InvalidData, error),
            Flaw::Gone => io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// What the peer has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Bytes wait to be taken.
    Bytes,
    /// It has nothing more to say.
    End,
}

impl Arrived {
    /// Bytes that were heard before.
    pub(crate) fn heard(bytes: Vec<u8>) -> Self {
        match bytes.is_empty() {
            true => Self::Nothing,
            false => Self::Heard { bytes, used: 0 },
        }
    }

    fn rest(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Heard { bytes, used } => &bytes[*used..],
            Self::Chunk { chunk, used } => &chunk[*used..],
        }
    }

    /// Gives some of it to a session that reads.
    ///
    /// # Errors
    /// When the session takes no more for now.
    pub(crate) fn feed(
        &mut self,
        mut read: impl FnMut(&mut &[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let fed = read(&mut self.rest())?;
        match self {
            Self::Heard { used, .. } | Self::Chunk { used, .. } => *used += fed,
            Self::Nothing => {}
        }
        // After the peer's close_notify a session takes nothing more: what follows is ignored (RFC 8446
        // §6.1).
        if fed == 0 || self.rest().is_empty() {
            *self = Self::Nothing;
        }
        Ok(())
    }

    /// Waits until there is something to feed.
    ///
    /// # Errors
    /// Those of recv(2), and `UnexpectedEof` at the end of the stream.
    pub(crate) fn poll(
        &mut self,
        stream: &Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Self::Nothing = self {
            let chunk = ready!(stream.poll_recv(context))?;
            if chunk.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            *self = Self::Chunk { chunk, used: 0 };
        }
        Poll::Ready(Ok(()))
    }
}

impl Tls {
    /// A session that begins or goes on; `arrived` is what is for it.
    pub(crate) fn new(connection: Connection, arrived: Arrived) -> Self {
        let mut connection = connection;
        // Nothing is sealed before everything sealed has gone out.
        connection.set_buffer_limit(None);
        Self {
            connection: RefCell::new(connection),
            arrived: RefCell::new(arrived),
        }
    }

    /// Looks at the session.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Connection) -> T) -> T {
        look(&mut self.connection.borrow_mut())
    }

    /// Waits for ciphertext, unless there is some.
    ///
    /// # Errors
    /// As [`Arrived::poll`].
    pub(crate) async fn arrive(&self, stream: &Stream) -> io::Result<()> {
        poll_fn(|context| self.arrived.borrow_mut().poll(stream, context)).await
    }

    /// Decrypts some of what has arrived, or takes the handshake a step further; whether the peer has
    /// ended.
    ///
    /// # Errors
    /// When the peer does not keep to the protocol. It has been told why, if it listens.
    pub(crate) fn step(&self, stream: &Stream) -> Result<bool, Flaw> {
        let processed = self.process();
        let speaks_1_2 = |connection: &mut Connection| {
            connection.protocol_version() == Some(ProtocolVersion::TLSv1_2)
        };
        // A client of TLS 1.2 that renegotiates waits for its answer (RFC 5246 §7.2.2). With 1.3, tickets
        // and a new key of ours go with what is sent next (RFC 8446 §4.6).
        if processed.is_err() || self.look(speaks_1_2) {
            let _ = self.write(stream);
        }
        processed
    }

    fn process(&self) -> Result<bool, Flaw> {
        let connection = &mut *self.connection.borrow_mut();
        let arrived = &mut *self.arrived.borrow_mut();
        for feed in 0..FEEDS {
            if arrived.rest().is_empty() {
                break;
            }
            match arrived.feed(|bytes| connection.read_tls(bytes)) {
                Ok(()) => {}
                // It has to decrypt before it takes more.
                Err(_) if feed > 0 => break,
                Err(_) => return Err(Flaw::Gone),
            }
        }
        let state = connection.process_new_packets().map_err(Flaw::Tls)?;
        Ok(state.peer_has_closed())
    }

    /// Waits until the peer has said something.
    ///
    /// # Errors
    /// How receiving ends, if not in order.
    pub(crate) async fn hear(&self, stream: &Stream) -> Result<Spoken, Flaw> {
        poll_fn(|context| self.poll_hear(stream, context)).await
    }

    /// As [`Tls::hear`], for a caller that polls.
    pub(crate) fn poll_hear(
        &self,
        stream: &Stream,
        context: &mut Context<'_>,
    ) -> Poll<Result<Spoken, Flaw>> {
        loop {
            if let Some(said) = self.look(said) {
                return Poll::Ready(Ok(said));
            }
            let arrived = ready!(self.arrived.borrow_mut().poll(stream, context));
            arrived.map_err(|_| Flaw::Gone)?;
            self.step(stream)?;
        }
    }

    /// Whether the peer has said something that has not been passed on.
    pub(crate) fn has_said(&self) -> bool {
        self.look(said).is_some()
    }

    /// Whether more ciphertext is there, or may be.
    pub(crate) fn may_hear_more(&self, stream: &Stream) -> bool {
        !self.arrived.borrow().rest().is_empty() || stream.has_received()
    }

    /// Decrypts what is there without waiting; whether there was something.
    ///
    /// # Errors
    /// As [`Tls::step`].
    pub(crate) fn hear_now(&self, stream: &Stream) -> Result<bool, Flaw> {
        let mut context = Context::from_waker(Waker::noop());
        let arrived = self.arrived.borrow_mut().poll(stream, &mut context);
        // The end of the stream is met again by who waits.
        let Poll::Ready(Ok(())) = arrived else {
            return Ok(false);
        };
        self.step(stream).map(|_| true)
    }

    /// Hands over what the peer has said, a piece of it; `take` tells how much it took. Nothing when
    /// nothing is left.
    ///
    /// # Errors
    /// Those of `take`.
    pub(crate) fn pass(
        &self,
        take: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        let connection = &mut *self.connection.borrow_mut();
        let Ok(piece) = connection.reader().into_first_chunk() else {
            return Ok(None);
        };
        if piece.is_empty() {
            return Ok(None);
        }
        let taken = take(piece)?;
        connection.reader().consume(taken);
        Ok(Some(taken))
    }

    /// Encrypts all of some bytes, to be flushed.
    ///
    /// # Errors
    /// None that a caller could meet.
    pub(crate) fn seal(&self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.borrow_mut().writer().write(bytes)
    }

    /// Says that nothing more will come; to be flushed.
    pub(crate) fn close_notify(&self) {
        self.connection.borrow_mut().send_close_notify();
    }

    /// Sends as many records as there is room for; whether none is left.
    pub(crate) fn write(&self, stream: &Stream) -> io::Result<bool> {
        let connection = &mut *self.connection.borrow_mut();
        let mut socket = Socket(stream);
        while connection.wants_write() {
            match connection.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Sends all records.
    ///
    /// # Errors
    /// Those of send(2).
    pub(crate) async fn flush(&self, stream: &Stream) -> io::Result<()> {
        poll_fn(|context| self.poll_flush(stream, context)).await
    }

    /// As [`Tls::flush`], for a caller that polls.
    pub(crate) fn poll_flush(
        &self,
        stream: &Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.write(stream)? {
            ready!(stream.poll_writable(context))?;
        }
        Poll::Ready(Ok(()))
    }
}

/// What a peer has said that has not been passed on.
fn said(connection: &mut Connection) -> Option<Spoken> {
    match connection.reader().into_first_chunk() {
        Ok([]) => Some(Spoken::End),
        Ok(_) => Some(Spoken::Bytes),
        Err(_) => None,
    }
}

/// A stream as records are written to it: several at a time, and never more than there is room for.
struct Socket<'a>(&'a Stream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_send(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_send(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
