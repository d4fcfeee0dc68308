//! A body that goes out, to a server or to a client, by HTTP/1 or HTTP/2. Small pieces wait for each other and go out
//! together, large ones go out from where they lie. It never reads.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use ringgate_engine::plugin::Link;

use crate::fields::Fields;
use crate::stream::StreamOut;

/// Pieces of at most so many bytes are copied behind what waits.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Bytes around a chunk: its size and two ends of lines.
const FRAME_BYTES_MAX: usize = 2 * size_of::<usize>() + 4;

/// Bytes that may wait.
const WAITING_BYTES_MAX: usize = 16 * 1024;

/// A body that goes out.
pub(crate) enum Outgoing<'a> {
    /// By HTTP/1.
    One(Written<'a>),
    /// By HTTP/2.
    Two(StreamOut),
}

/// How HTTP/1 shows where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// By its length, or by the end of the connection: bytes as they are.
    Bare,
    /// By a last chunk.
    Chunks,
}

impl<'a> Outgoing<'a> {
    /// The connection that it fills by itself, if it does.
    pub(crate) fn link(&self) -> Option<&'a Link> {
        match self {
            Self::One(written) => Some(written.link),
            Self::Two(_) => None,
        }
    }

    /// Sends a piece, or lets it wait for the next.
    ///
    /// # Errors
    /// When the peer takes no more.
    pub(crate) async fn put(&mut self, data: &[u8]) -> io::Result<()> {
        if self.hold(data) {
            return Ok(());
        }
        match self {
            Self::One(written) => written.put(data).await,
            Self::Two(stream) => stream.put(data).await,
        }
    }

    /// Lets a piece wait for the next, if there is room for it; whether it does.
    pub(crate) fn hold(&mut self, data: &[u8]) -> bool {
        match self {
            Self::One(written) => written.hold(data),
            Self::Two(stream) => stream.hold(data),
        }
    }

    /// Ends the body, if nobody has to be waited for; whether it has. If it has not, [`Outgoing::finish`] does.
    ///
    /// # Errors
    /// When the peer takes no more.
    pub(crate) fn finish_now(&mut self, trailers: Option<&Fields>) -> io::Result<bool> {
        match self {
            Self::One(written) => written.finish_now(trailers),
            Self::Two(_) => Ok(false),
        }
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// When the peer takes no more.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::One(written) => written.flush().await,
            Self::Two(stream) => stream.flush().await,
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// When the peer takes no more.
    pub(crate) async fn finish(&mut self, trailers: Option<&Fields>) -> io::Result<()> {
        match self {
            Self::One(written) => written.finish(trailers).await,
            Self::Two(stream) => stream.finish(trailers).await,
        }
    }

    /// Lets the peer see that the body is not whole.
    pub(crate) fn abort(&mut self) {
        match self {
            Self::One(written) => written.link.reset_on_close(),
            Self::Two(stream) => stream.abort(),
        }
    }

    /// The link on which bytes go out as they are, when nothing waits before them.
    pub(crate) fn bare(&self) -> Option<&Link> {
        match self {
            Self::One(written) if written.frame == Frame::Bare && written.waiting.is_empty() => {
                Some(written.link).filter(|link| link.is_plain())
            }
            _ => None,
        }
    }

    /// Whether the peer has taken the message back.
    pub(crate) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::One(_) => Poll::Pending,
            Self::Two(stream) => stream.poll_reset(context),
        }
    }
}

/// A body between the bytes of a connection.
pub(crate) struct Written<'a> {
    link: &'a Link,
    frame: Frame,
    /// What goes out before the next piece; at first the head.
    waiting: &'a mut Vec<u8>,
    /// The end has been written.
    has_ended: bool,
}

impl<'a> Written<'a> {
    /// The body behind a head, which may still wait in `waiting`.
    pub(crate) fn new(link: &'a Link, frame: Frame, waiting: &'a mut Vec<u8>) -> Self {
        Self {
            link,
            frame,
            waiting,
            has_ended: false,
        }
    }

    fn hold(&mut self, data: &[u8]) -> bool {
        let fits = self.waiting.len() + data.len() + FRAME_BYTES_MAX <= WAITING_BYTES_MAX;
        if data.len() > COPIED_BYTES_MAX || !fits {
            return false;
        }
        let end = self.begin_piece(data.len());
        self.waiting.extend_from_slice(data);
        self.waiting.extend_from_slice(end);
        true
    }

    /// Writes what stands before a piece; what stands behind it.
    fn begin_piece(&mut self, bytes: usize) -> &'static [u8] {
        match self.frame {
            Frame::Bare => b"",
            Frame::Chunks => {
                push_size(self.waiting, bytes);
                b"\r\n"
            }
        }
    }

    async fn put(&mut self, data: &[u8]) -> io::Result<()> {
        let end = self.begin_piece(data.len());
        let mut pieces = [
            IoSlice::new(self.waiting),
            IoSlice::new(data),
            IoSlice::new(end),
        ];
        let sent = self.link.send(&mut pieces).await;
        self.waiting.clear();
        sent
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let sent = self.link.send_all(self.waiting).await;
        self.waiting.clear();
        sent
    }

    fn finish_now(&mut self, trailers: Option<&Fields>) -> io::Result<bool> {
        self.end(trailers);
        // To send nothing would ask the socket how it is.
        if self.waiting.is_empty() {
            return Ok(true);
        }
        let sent = self.link.send_now(self.waiting)?;
        self.waiting.drain(..sent);
        Ok(self.waiting.is_empty())
    }

    async fn finish(&mut self, trailers: Option<&Fields>) -> io::Result<()> {
        self.end(trailers);
        self.flush().await
    }

    fn end(&mut self, trailers: Option<&Fields>) {
        let has_ended = std::mem::replace(&mut self.has_ended, true);
        if self.frame == Frame::Chunks && !has_ended {
            self.waiting.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                trailers.write(self.waiting);
            }
            self.waiting.extend_from_slice(b"\r\n");
        }
    }
}

/// Writes the size of a chunk, with its line's end.
fn push_size(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    out.extend(
        (0..digits)
            .rev()
            .map(|place| DIGITS[size >> (4 * place) & 15]),
    );
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_chunk_is_hexadecimal() {
        for size in [0, 1, 15, 16, 255, 4096, 0xabcdef] {
            let mut out = Vec::new();
            push_size(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").into_bytes());
        }
    }
}
