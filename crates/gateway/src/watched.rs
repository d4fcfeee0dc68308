//! A link whose frames of HTTP/2 are counted as they are read. Of a peer that sends too many, nothing more is read: who
//! polls the connection looks for it, and decides.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ringgate_engine::plugin::now;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frames::Frames;
use crate::head::Of;
use crate::io::{LinkIo, ToLink};

/// Bytes of a client's preface, which are no frame (RFC 9113 §3.4).
const PREFACE_BYTES: usize = 24;

/// What is known of the frames of a connection.
pub(crate) struct Watch {
    frames: RefCell<Frames>,
    is_flooded: Cell<bool>,
}

impl Watch {
    /// Of a connection on which nothing has been read.
    pub(crate) fn begin(of: Of) -> Rc<Self> {
        Rc::new(Self {
            frames: Frames::new(of, now()).into(),
            is_flooded: Cell::new(false),
        })
    }

    /// Whether the peer has sent too many.
    pub(crate) fn is_flooded(&self) -> bool {
        self.is_flooded.get()
    }

    /// Notes that the answer on that stream has begun.
    pub(crate) fn note_answer(&self, stream: h2::StreamId) {
        self.frames.borrow_mut().answered(stream.into());
    }

    /// Since when a header block is on its way that has not ended.
    pub(crate) fn header_since(&self) -> Option<Instant> {
        self.frames.borrow().header_since()
    }
}

/// A link whose frames are counted as they are read.
pub(crate) struct Watched<L> {
    io: LinkIo<L>,
    watch: Rc<Watch>,
    preface_left: usize,
}

impl<L> Watched<L> {
    /// That of a client, which begins with its preface.
    pub(crate) fn client(io: LinkIo<L>, watch: Rc<Watch>) -> Self {
        let preface_left = PREFACE_BYTES;
        Self {
            io,
            watch,
            preface_left,
        }
    }

    /// That of a server.
    pub(crate) fn server(io: LinkIo<L>, watch: Rc<Watch>) -> Self {
        let preface_left = 0;
        Self {
            io,
            watch,
            preface_left,
        }
    }
}

impl<L: ToLink> AsyncRead for Watched<L> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.is_flooded() {
            return Poll::Pending;
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(context, into))?;
        let fresh = &into.filled()[before..];
        let skipped = fresh.len().min(this.preface_left);
        this.preface_left -= skipped;
        let mut frames = this.watch.frames.borrow_mut();
        if frames.pass(&fresh[skipped..], now()).is_err() {
            this.watch.is_flooded.set(true);
            into.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<L: ToLink> AsyncWrite for Watched<L> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = ready!(Pin::new(&mut this.io).poll_write_vectored(context, pieces))?;
        this.watch.frames.borrow_mut().sent(sent);
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}
