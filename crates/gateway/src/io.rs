//! A link as the `h2` crate reads and writes one: bytes in the order in which they come, and nothing else. What it reads
//! is copied once, into the crate's own buffer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ringgate_engine::plugin::{Guest, Link, Piece, Upstream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A link as the `h2` crate reads and writes one.
pub(crate) struct LinkIo<L> {
    link: L,
    piece: Option<(Piece, usize)>,
}

impl<L> LinkIo<L> {
    /// The link, with nothing read of it.
    pub(crate) fn new(link: L) -> Self {
        Self { link, piece: None }
    }

    /// Puts bytes before what is read.
    pub(crate) fn heard(mut self, bytes: Vec<u8>) -> Self {
        self.piece = (!bytes.is_empty()).then(|| (Piece::Bytes(bytes), 0));
        self
    }
}

/// What leads to a link.
pub(crate) trait ToLink: Unpin {
    fn link(&self) -> &Link;
}

impl ToLink for Rc<Upstream> {
    fn link(&self) -> &Link {
        self
    }
}

impl ToLink for Guest {
    fn link(&self) -> &Link {
        self.client()
    }
}

impl<L: ToLink> AsyncRead for LinkIo<L> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some((piece, used)) = &mut this.piece {
                let rest = &piece[*used..];
                let taken = rest.len().min(into.remaining());
                into.put_slice(&rest[..taken]);
                *used += taken;
                if *used == piece.len() {
                    this.piece = None;
                }
                if taken > 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            let piece = ready!(this.link.link().poll_recv(context))?;
            if piece.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.piece = Some((piece, 0));
        }
    }
}

impl<L: ToLink> AsyncWrite for LinkIo<L> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.link.link().poll_send(&[IoSlice::new(bytes)], context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.link().poll_send(pieces, context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.link().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = self.link.link();
        ready!(link.poll_flush(context))?;
        link.shutdown();
        Poll::Ready(Ok(()))
    }
}
