//! Bytes of a link that have arrived and are not used up. Nearly always they lie where the network put them; only a head
//! that comes in pieces is gathered. It receives when it is told to and never looks into the bytes.

use std::io;
use std::task::{Context, Poll, ready};

use ringgate_engine::plugin::{Link, Piece};

/// What has arrived on one link.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    held: Held,
    used: usize,
    /// The peer has ended its direction.
    has_ended: bool,
}

#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Piece(Piece),
    Gathered(Vec<u8>),
}

impl Intake {
    /// One that begins with bytes that were heard before.
    pub(crate) fn of(heard: Vec<u8>) -> Self {
        Self {
            held: match heard.is_empty() {
                true => Held::Nothing,
                false => Held::Gathered(heard),
            },
            used: 0,
            has_ended: false,
        }
    }

    /// The bytes that are not used up.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Nothing => &[],
            Held::Piece(piece) => &piece[self.used..],
            Held::Gathered(bytes) => &bytes[self.used..],
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Whether the peer has ended its direction.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Uses up so many.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.used += bytes;
        if self.bytes().is_empty() {
            self.held = Held::Nothing;
            self.used = 0;
        }
    }

    /// Waits for more bytes behind those that are there; `false` at the end.
    ///
    /// # Errors
    /// Those of [`Link::recv`].
    pub(crate) fn poll_more(
        &mut self,
        link: &Link,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.has_ended {
            return Poll::Ready(Ok(false));
        }
        let piece = ready!(link.poll_recv(context))?;
        if piece.is_empty() {
            self.has_ended = true;
            return Poll::Ready(Ok(false));
        }
        self.held = match std::mem::take(&mut self.held) {
            Held::Nothing => Held::Piece(piece),
            Held::Piece(first) => {
                let mut bytes = Vec::with_capacity(first.len() - self.used + piece.len());
                bytes.extend_from_slice(&first[self.used..]);
                bytes.extend_from_slice(&piece);
                Held::Gathered(bytes)
            }
            Held::Gathered(mut bytes) => {
                bytes.drain(..self.used);
                bytes.extend_from_slice(&piece);
                Held::Gathered(bytes)
            }
        };
        self.used = 0;
        Poll::Ready(Ok(true))
    }

    /// As [`Intake::poll_more`].
    ///
    /// # Errors
    /// Those of [`Link::recv`].
    pub(crate) async fn more(&mut self, link: &Link) -> io::Result<bool> {
        std::future::poll_fn(|context| self.poll_more(link, context)).await
    }

    /// Gives all that is there away.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let bytes = self.bytes().to_vec();
        self.consume(bytes.len());
        bytes
    }
}
