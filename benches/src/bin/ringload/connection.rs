//! A connection on which exchanges happen, one at a time. It is told when its socket is ready, and
//! never waits.

use std::io::{self, Read, Write};
use std::time::Instant;

use ringgate_benches::Event;

use crate::reply::Reply;
use crate::request::Request;
use crate::stream::Stream;

/// One connection.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    phase: Phase,
    /// When the exchange under way was meant to begin.
    pub(crate) intended: Instant,
}

enum Phase {
    Idle,
    /// The connection, its handshake or a further part of the request waits for the socket.
    Sending {
        sent: usize,
    },
    Receiving {
        reply: Reply,
    },
}

/// Whether an exchange goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Pending,
    Done,
}

impl Connection {
    /// A connection on which nothing happens yet.
    pub(crate) fn idle(stream: Stream) -> Self {
        Self {
            stream,
            phase: Phase::Idle,
            intended: Instant::now(),
        }
    }

    /// A connection in the making, on which an exchange begins when it is there.
    pub(crate) fn connecting(stream: Stream, intended: Instant) -> Self {
        Self {
            stream,
            phase: Phase::Sending { sent: 0 },
            intended,
        }
    }

    /// Begins an exchange.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) fn begin(&mut self, request: &Request, intended: Instant) -> io::Result<()> {
        self.phase = Phase::Sending { sent: 0 };
        self.intended = intended;
        self.send(request)
    }

    /// Goes on with the exchange when the socket is ready for it.
    ///
    /// # Errors
    /// Those of the stream, and a reply that is none.
    pub(crate) fn advance(
        &mut self,
        event: Event,
        request: &Request,
        buffer: &mut [u8],
    ) -> io::Result<Progress> {
        // A handshake may have to read before it can send.
        self.send(request)?;
        match &mut self.phase {
            Phase::Idle if event.ended => Err(io::ErrorKind::UnexpectedEof.into()),
            Phase::Receiving { reply } => {
                if event.readable {
                    receive(&mut self.stream, reply, event.ended, buffer)?;
                }
                if !reply.is_complete() {
                    return Ok(Progress::Pending);
                }
                self.phase = Phase::Idle;
                Ok(Progress::Done)
            }
            _ => Ok(Progress::Pending),
        }
    }

    fn send(&mut self, request: &Request) -> io::Result<()> {
        let Phase::Sending { sent } = &mut self.phase else {
            return Ok(());
        };
        while *sent < request.bytes.len() {
            *sent += match self.stream.write(&request.bytes[*sent..]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                result => result?,
            };
        }
        match self.stream.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            result => result?,
        }
        let reply = request.reply();
        self.phase = Phase::Receiving { reply };
        Ok(())
    }
}

/// Reads what has come; a short read means that no more has, unless the stream has ended.
fn receive(
    stream: &mut Stream,
    reply: &mut Reply,
    ended: bool,
    buffer: &mut [u8],
) -> io::Result<()> {
    while !reply.is_complete() {
        let count = match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            result => result?,
        };
        reply.take(&buffer[..count])?;
        if count < buffer.len() && !ended && !stream.reads_short() {
            return Ok(());
        }
    }
    Ok(())
}
