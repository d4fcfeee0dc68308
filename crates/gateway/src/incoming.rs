//! A body that comes in, from a client or from a server, by HTTP/1 or HTTP/2: pieces of data one after the other, then
//! the end with its trailers. It holds no more than one piece and never writes.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use ringgate_engine::plugin::Link;

use crate::chunks::{Chunks, Step, allow_trailers};
use crate::fields::Fields;
use crate::head::{Framing, Of};
use crate::intake::Intake;
use crate::stream::StreamBody;

/// A body that comes in.
pub(crate) enum Incoming<'a> {
    /// There is none.
    Nothing,
    /// By HTTP/1.
    One(Framed<'a>),
    /// By HTTP/2.
    Two(StreamBody),
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// [`Incoming::data`] has something.
    Data,
    /// The body has ended in order.
    End,
}

/// How a peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It has reset the connection.
    Reset,
    /// It has ended its direction, and may still listen.
    Silent,
}

/// Why a body does not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The connection failed, or ended too early.
    Gone,
    /// The framing is broken.
    Framing(&'static str),
    /// The peer took the message back.
    Canceled,
}

impl Incoming<'_> {
    /// Waits for what comes next.
    ///
    /// # Errors
    /// Why the body does not go on.
    pub(crate) async fn next(&mut self) -> Result<Next, Cut> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Incoming::next`], for a caller that polls.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Cut>> {
        match self {
            Self::Nothing => Poll::Ready(Ok(Next::End)),
            Self::One(framed) => framed.poll_next(context),
            Self::Two(body) => body.poll_next(context),
        }
    }

    /// What comes next, if it is there already.
    ///
    /// # Errors
    /// Why the body does not go on.
    pub(crate) fn next_now(&mut self) -> Result<Option<Next>, Cut> {
        match self {
            Self::Nothing => Ok(Some(Next::End)),
            Self::One(framed) => framed.next_now(),
            Self::Two(body) => body.next_now(),
        }
    }

    /// The data that is there.
    pub(crate) fn data(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(framed) => framed.data(),
            Self::Two(body) => body.data(),
        }
    }

    /// Uses up so many bytes of the data.
    pub(crate) fn consume(&mut self, bytes: usize) {
        match self {
            Self::Nothing => {}
            Self::One(framed) => framed.consume(bytes),
            Self::Two(body) => body.consume(bytes),
        }
    }

    /// The fields after the end; none before it.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        let trailers = match self {
            Self::Nothing => None,
            Self::One(framed) => framed.trailers(),
            Self::Two(body) => body.trailers(),
        };
        trailers.filter(|trailers| !trailers.is_empty())
    }

    /// Whether the one who sends it is found to be gone, behind the end of the body.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Gone> {
        match self {
            Self::Nothing | Self::Two(_) => Poll::Pending,
            Self::One(framed) => framed.poll_gone(context),
        }
    }

    /// Whether its end has been read.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::One(framed) => framed.is_done(),
            Self::Two(body) => body.is_done(),
        }
    }
}

/// A body between the bytes of a connection.
pub(crate) struct Framed<'a> {
    link: &'a Link,
    intake: &'a mut Intake,
    of: Of,
    state: State,
    /// Bytes of data at the front of the intake.
    there: usize,
}

enum State {
    Length(u64),
    Chunked(Box<Chunks>),
    UntilClose,
    Done,
}

impl<'a> Framed<'a> {
    /// The body that follows a head with that framing.
    pub(crate) fn new(link: &'a Link, intake: &'a mut Intake, framing: Framing, of: Of) -> Self {
        Self {
            link,
            intake,
            of,
            state: match framing {
                Framing::None => State::Done,
                Framing::Length(left) => State::Length(left),
                Framing::Chunked => State::Chunked(Box::new(Chunks::new(of))),
                Framing::UntilClose => State::UntilClose,
            },
            there: 0,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Cut>> {
        loop {
            if let Some(next) = self.next_now()? {
                return Poll::Ready(Ok(next));
            }
            let more = ready!(self.intake.poll_more(self.link, context));
            if matches!((more, &self.state), (Ok(false), State::UntilClose)) {
                self.state = State::Done;
            } else if !self.intake.is_empty() {
                continue;
            } else {
                return Poll::Ready(Err(Cut::Gone));
            }
        }
    }

    fn next_now(&mut self) -> Result<Option<Next>, Cut> {
        if self.there > 0 {
            return Ok(Some(Next::Data));
        }
        let bytes = self.intake.bytes();
        match &mut self.state {
            State::Done => return Ok(Some(Next::End)),
            State::Length(left) => {
                self.there = usize::try_from(*left)
                    .unwrap_or(bytes.len())
                    .min(bytes.len());
            }
            State::UntilClose => self.there = bytes.len(),
            State::Chunked(chunks) => {
                let step = chunks
                    .step(bytes)
                    .map_err(|broken| Cut::Framing(broken.0))?;
                match step {
                    Step::Data { skip, data } => {
                        self.intake.consume(skip);
                        self.there = data;
                    }
                    Step::More => self.intake.consume(bytes.len()),
                    Step::End { skip } => {
                        allow_trailers(&mut chunks.trailers, self.of).map_err(Cut::Framing)?;
                        self.intake.consume(skip);
                        return Ok(Some(Next::End));
                    }
                }
            }
        }
        Ok((self.there > 0).then_some(Next::Data))
    }

    fn data(&self) -> &[u8] {
        &self.intake.bytes()[..self.there]
    }

    fn consume(&mut self, bytes: usize) {
        self.intake.consume(bytes);
        self.there -= bytes;
        match &mut self.state {
            State::Length(left) => {
                *left -= bytes as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
            }
            State::Chunked(chunks) => chunks.took(bytes),
            State::UntilClose | State::Done => {}
        }
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Gone> {
        if !self.is_done() || !self.intake.is_empty() {
            return Poll::Pending;
        }
        match self.intake.poll_more(self.link, context) {
            Poll::Ready(Err(_)) => Poll::Ready(Gone::Reset),
            Poll::Ready(Ok(false)) => Poll::Ready(Gone::Silent),
            Poll::Ready(Ok(true)) | Poll::Pending => Poll::Pending,
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        match &self.state {
            State::Chunked(chunks) if chunks.is_done() => Some(&chunks.trailers),
            _ => None,
        }
    }

    fn is_done(&self) -> bool {
        match &self.state {
            State::Done => true,
            State::Chunked(chunks) => chunks.is_done(),
            State::Length(_) | State::UntilClose => false,
        }
    }

    /// The link, and how many bytes are still to come on it as they are, where a pipe could carry them: nothing of them
    /// is in user space.
    pub(crate) fn unread(&self) -> Option<(&'a Link, u64)> {
        match &self.state {
            State::Length(left) if self.intake.is_empty() && !self.intake.has_ended() => {
                Some((self.link, *left))
            }
            _ => None,
        }
    }

    /// Notes bytes that were carried by a pipe.
    pub(crate) fn carried(&mut self, bytes: u64) {
        if let State::Length(left) = &mut self.state {
            *left -= bytes;
            if *left == 0 {
                self.state = State::Done;
            }
        }
    }
}
