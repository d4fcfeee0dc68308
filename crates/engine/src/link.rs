//! One end of a connection as a plugin sees it: bytes that the peer said, in the pieces in which they arrived, and bytes
//! for the peer. Whether TLS lies between makes no difference. It knows no protocol and keeps no byte for later.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::task::{Context, Poll, ready};

use ringgate_runtime::{Chunk, Pipe};

use crate::tls::{Spoken, Tls};
use crate::wire::Wire;

/// Bytes that are encrypted before they have to go out.
const SEALED_BYTES_MAX: usize = 64 * 1024;

/// Decrypted bytes that are handed over as one piece.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// A connection to a client or a server.
pub struct Link {
    pub(crate) wire: Wire,
}

/// Bytes that arrived.
#[derive(Debug)]
pub enum Piece {
    /// In a buffer of the pool, as they came from the network.
    Chunk(Chunk),
    /// Decrypted.
    Bytes(Vec<u8>),
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Chunk(chunk) => chunk,
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Link {
    pub(crate) fn new(wire: Wire) -> Self {
        Self { wire }
    }

    /// Whether bytes pass as they are.
    pub fn is_plain(&self) -> bool {
        self.wire.tls.is_none()
    }

    /// The protocol that TLS has agreed on (RFC 7301).
    pub fn protocol(&self) -> Option<Vec<u8>> {
        let tls = self.wire.tls.as_ref()?;
        tls.look(|connection| connection.alpn_protocol().map(<[u8]>::to_vec))
    }

    /// The next bytes; none at the end of the peer's direction.
    ///
    /// # Errors
    /// Those of recv(2), `InvalidData` when the peer breaks TLS, and `UnexpectedEof` when TLS was not ended by
    /// close_notify (RFC 8446 §6.1): bytes may be missing then.
    pub async fn recv(&self) -> io::Result<Piece> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`Link::recv`], for a caller that polls.
    pub fn poll_recv(&self, context: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        let stream = &self.wire.stream;
        let Some(tls) = &self.wire.tls else {
            return stream.poll_recv(context).map_ok(Piece::Chunk);
        };
        let heard = ready!(tls.poll_hear(stream, context));
        Poll::Ready(match heard {
            Ok(Spoken::Bytes) => Ok(Piece::Bytes(said(tls)?)),
            Ok(Spoken::End) => Ok(Piece::Bytes(Vec::new())),
            Err(flaw) => Err(flaw.into()),
        })
    }

    /// Sends all of some pieces, in their order.
    ///
    /// # Errors
    /// Those of send(2).
    pub async fn send(&self, pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut pieces = pieces;
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let sent = poll_fn(|context| self.poll_send(pieces, context)).await?;
            IoSlice::advance_slices(&mut pieces, sent);
        }
        self.flush().await
    }

    /// Sends all of some bytes.
    ///
    /// # Errors
    /// Those of send(2).
    pub async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.send(&mut [IoSlice::new(bytes)]).await
    }

    /// Sends what there is room for at once; nothing where the link encrypts.
    ///
    /// # Errors
    /// Those of send(2).
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.wire.tls.is_some() {
            return Ok(0);
        }
        match self.wire.stream.try_send(&[IoSlice::new(bytes)]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        }
    }

    /// Takes some of the pieces over, for a caller that polls; what is encrypted goes out with
    /// [`Link::poll_flush`].
    ///
    /// # Errors
    /// Those of send(2).
    pub fn poll_send(
        &self,
        pieces: &[IoSlice<'_>],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let stream = &self.wire.stream;
        let Some(tls) = &self.wire.tls else {
            loop {
                match stream.try_send(pieces) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(stream.poll_writable(context))?;
                    }
                    sent => return Poll::Ready(sent),
                }
            }
        };
        ready!(tls.poll_flush(stream, context))?;
        let mut sealed = 0;
        for piece in pieces {
            let room = SEALED_BYTES_MAX - sealed;
            sealed += tls.seal(&piece[..piece.len().min(room)])?;
            if sealed == SEALED_BYTES_MAX {
                break;
            }
        }
        tls.write(stream)?;
        Poll::Ready(Ok(sealed))
    }

    /// Waits until what was taken over has gone out.
    ///
    /// # Errors
    /// Those of send(2).
    pub async fn flush(&self) -> io::Result<()> {
        match &self.wire.tls {
            Some(tls) => tls.flush(&self.wire.stream).await,
            None => Ok(()),
        }
    }

    /// As [`Link::flush`], for a caller that polls.
    ///
    /// # Errors
    /// Those of send(2).
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.wire.tls {
            Some(tls) => tls.poll_flush(&self.wire.stream, context),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Bytes sent that the peer has not acknowledged yet.
    pub fn unacknowledged(&self) -> usize {
        self.wire.stream.unacknowledged()
    }

    /// Ends the sending direction; what was sent before still arrives.
    ///
    /// # Errors
    /// Those of send(2).
    pub async fn finish(&self) -> io::Result<()> {
        self.wire.finish().await?;
        self.wire.stream.shutdown_write();
        Ok(())
    }

    /// Ends the sending direction at once; what has gone out still arrives.
    pub fn shutdown(&self) {
        self.wire.stream.shutdown_write();
    }

    /// Lets the close that comes be a reset: the peer shall not take the end for an orderly one.
    pub fn reset_on_close(&self) {
        self.wire.stream.reset_on_close();
    }

    /// Moves what has arrived into an empty pipe, without waiting. On plain links only, and not while a receive is
    /// under way.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has arrived, otherwise those of recv(2).
    pub fn splice_in(&self, pipe: &mut Pipe) -> io::Result<usize> {
        self.wire.stream.splice_in(pipe)
    }

    /// Moves what a pipe holds to the peer, without waiting. On plain links only.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, otherwise those of send(2).
    pub fn splice_out(&self, pipe: &mut Pipe) -> io::Result<usize> {
        self.wire.stream.splice_out(pipe)
    }

    /// Waits until something can be spliced from here, or the peer has ended.
    pub async fn readable(&self) {
        self.wire.stream.readable().await;
    }

    /// Waits until more can be spliced to here.
    ///
    /// # Errors
    /// Those of send(2).
    pub async fn writable(&self) -> io::Result<()> {
        self.wire.stream.writable().await
    }
}

/// What a session holds of what its peer has said.
fn said(tls: &Tls) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < PIECE_BYTES_MAX {
        let passed = tls.pass(|piece| {
            let room = piece.len().min(PIECE_BYTES_MAX - bytes.len());
            bytes.extend_from_slice(&piece[..room]);
            Ok(room)
        })?;
        if passed.is_none() {
            break;
        }
    }
    Ok(bytes)
}
