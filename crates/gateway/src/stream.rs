//! Bodies on a stream of HTTP/2 (RFC 9113 §8.1), as `incoming.rs` and `outgoing.rs` see them: with the flow control of
//! the `h2` crate, so that no more is held than the other side has taken.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::chunks::allow_trailers;
use crate::fields::{Field, Fields};
use crate::head::Of;
use crate::incoming::{Cut, Next};

/// A body that comes in on a stream.
pub(crate) struct StreamBody {
    of: Of,
    stream: RecvStream,
    piece: Bytes,
    trailers: Fields,
    is_done: bool,
}

impl StreamBody {
    /// The body on this stream.
    pub(crate) fn new(stream: RecvStream, of: Of) -> Self {
        let is_done = stream.is_end_stream();
        Self {
            of,
            stream,
            piece: Bytes::new(),
            trailers: Fields::default(),
            is_done,
        }
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// Why the body does not go on.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Cut>> {
        loop {
            if !self.piece.is_empty() {
                return Poll::Ready(Ok(Next::Data));
            }
            if self.is_done {
                return Poll::Ready(Ok(Next::End));
            }
            match ready!(self.stream.poll_data(context)) {
                Some(piece) => self.piece = piece.map_err(|error| cut(&error))?,
                None => {
                    let trailers = ready!(self.stream.poll_trailers(context));
                    if let Some(trailers) = trailers.map_err(|error| cut(&error))? {
                        self.take_trailers(&trailers)?;
                    }
                    self.is_done = true;
                }
            }
        }
    }

    fn take_trailers(&mut self, trailers: &HeaderMap) -> Result<(), Cut> {
        push_all(trailers, &mut self.trailers);
        allow_trailers(&mut self.trailers, self.of).map_err(Cut::Framing)
    }

    /// What comes next, if it is there already.
    ///
    /// # Errors
    /// Why the body does not go on.
    pub(crate) fn next_now(&mut self) -> Result<Option<Next>, Cut> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => next.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    /// The data that is there.
    pub(crate) fn data(&self) -> &[u8] {
        &self.piece
    }

    /// Uses up so many bytes of it; the peer may send as many more.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.piece.advance(bytes);
        // It fails only when more is released than was received.
        let _ = self.stream.flow_control().release_capacity(bytes);
    }

    /// The fields after the end.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        Some(&self.trailers)
    }

    /// Whether the end has been read.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done && self.piece.is_empty()
    }
}

fn cut(error: &h2::Error) -> Cut {
    match error.is_reset() {
        true => Cut::Canceled,
        false => Cut::Gone,
    }
}

/// Adds all fields of a map, in its order.
pub(crate) fn push_all(map: &HeaderMap, fields: &mut Fields) {
    for (name, value) in map {
        fields.push(name.as_str(), value.as_bytes().trim_ascii());
    }
}

/// The fields as a map; what cannot stand in one is left out.
pub(crate) fn map_of<'a>(fields: impl Iterator<Item = Field<'a>>) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.size_hint().1.unwrap_or_default());
    for field in fields {
        let name = HeaderName::from_bytes(field.name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
            map.append(name, value);
        }
    }
    map
}

/// A body that goes out on a stream.
pub(crate) struct StreamOut {
    stream: SendStream<Bytes>,
    /// The newest piece: it may turn out to be the last.
    kept: Bytes,
    is_over: bool,
}

impl StreamOut {
    /// The body on this stream; `is_over` when it ended with its head.
    pub(crate) fn new(stream: SendStream<Bytes>, is_over: bool) -> Self {
        Self {
            stream,
            kept: Bytes::new(),
            is_over,
        }
    }

    /// Keeps a piece until it is known whether it is the last, if there is none yet; whether it does.
    pub(crate) fn hold(&mut self, data: &[u8]) -> bool {
        let is_free = self.kept.is_empty();
        if is_free {
            self.kept = Bytes::copy_from_slice(data);
        }
        is_free
    }

    /// Sends the piece before, and keeps this one until it is known whether it is the last.
    ///
    /// # Errors
    /// When the peer takes no more.
    pub(crate) async fn put(&mut self, data: &[u8]) -> io::Result<()> {
        self.flush().await?;
        self.kept = Bytes::copy_from_slice(data);
        Ok(())
    }

    /// Sends what is kept.
    ///
    /// # Errors
    /// When the peer takes no more.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.send_kept(false).await
    }

    async fn send_kept(&mut self, is_last: bool) -> io::Result<()> {
        while !self.kept.is_empty() {
            let wanted = self.kept.len();
            self.stream.reserve_capacity(wanted);
            let room = poll_fn(|context| self.poll_room(context)).await?;
            let piece = self.kept.split_to(room.min(wanted));
            let ends = is_last && self.kept.is_empty();
            self.is_over = self.is_over || ends;
            self.stream.send_data(piece, ends).map_err(gone)?;
        }
        Ok(())
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(self.stream.poll_capacity(context)) {
                Some(room) => drop(room.map_err(gone)?),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// When the peer takes no more.
    pub(crate) async fn finish(&mut self, trailers: Option<&Fields>) -> io::Result<()> {
        self.send_kept(trailers.is_none()).await?;
        match trailers {
            _ if self.is_over => Ok(()),
            Some(trailers) => {
                self.is_over = true;
                self.stream
                    .send_trailers(map_of(trailers.iter()))
                    .map_err(gone)
            }
            None => {
                self.is_over = true;
                self.stream.send_data(Bytes::new(), true).map_err(gone)
            }
        }
    }

    /// Lets the client see that the answer is not whole.
    pub(crate) fn abort(&mut self) {
        if !self.is_over {
            self.is_over = true;
            self.stream.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    }

    /// Whether the peer has taken the stream back.
    pub(crate) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(context).map(drop)
    }

    /// Lets the server know that nobody waits for its answer.
    pub(crate) fn cancel(&mut self) {
        self.stream.send_reset(h2::Reason::CANCEL);
    }
}

fn gone(error: h2::Error) -> io::Error {
    io::Error::other(error)
}
