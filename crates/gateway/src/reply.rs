//! What goes back to a client: informational answers, then one final head and its body. It decides how the client's
//! version of HTTP shows where the body ends, and nothing else.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Response, StatusCode};
use ringgate_engine::plugin::Guest;

use crate::asked::Asked;
use crate::fields::{Fields, Known, write_field};
use crate::head::{Framing, Version};
use crate::outgoing::{Frame, Outgoing, Written};
use crate::stream::{StreamOut, map_of};
use crate::watched::Watch;

/// Where the answer to one request goes.
pub(crate) enum Reply<'a> {
    /// To a client of HTTP/1.
    One(Answer<'a>),
    /// To a stream of HTTP/2.
    Two(Streamed),
}

/// The answer to a request of HTTP/2.
pub(crate) struct Streamed {
    stream: SendResponse<Bytes>,
    watch: Rc<Watch>,
    has_begun: bool,
}

/// The answer to a request of HTTP/1.
pub(crate) struct Answer<'a> {
    /// The client.
    pub(crate) guest: &'a Guest,
    /// What has not gone out.
    pub(crate) out: &'a mut Vec<u8>,
    /// The client's version.
    pub(crate) version: Version,
    /// The connection ends with this answer.
    pub(crate) closes: bool,
    /// An HTTP/1.0 client has asked to go on.
    pub(crate) keeps_alive: bool,
    /// The method is HEAD: a length would be that of another answer.
    pub(crate) is_head: bool,
}

/// A final head.
pub(crate) struct Head<'a> {
    /// 200 to 599.
    pub(crate) status: u16,
    /// Its fields, without those of framing and of the connection.
    pub(crate) fields: &'a Fields,
    /// Where its body ends.
    pub(crate) framing: Framing,
    /// The length of the body that a GET would get, for HEAD and 304.
    pub(crate) length: Option<&'a [u8]>,
}

impl Reply<'_> {
    /// To a stream of HTTP/2 of a connection that is watched.
    pub(crate) fn streamed(stream: SendResponse<Bytes>, watch: Rc<Watch>) -> Self {
        Self::Two(Streamed {
            stream,
            watch,
            has_begun: false,
        })
    }

    /// Whether a client of HTTP/2 has been answered something.
    pub(crate) fn has_begun(&self) -> bool {
        matches!(self, Self::Two(Streamed { has_begun, .. }) if *has_begun)
    }

    /// Tells the client something on the way (RFC 9110 §15.2). HTTP/1.0 knows nothing of it.
    ///
    /// # Errors
    /// When the client takes no more.
    pub(crate) async fn inform(&mut self, status: u16, fields: &Fields) -> io::Result<()> {
        match self {
            Self::One(answer) if answer.version == Version::V1_0 => Ok(()),
            Self::One(answer) => {
                let mut head = Vec::new();
                push_line(&mut head, status);
                fields.write(&mut head);
                head.extend_from_slice(b"\r\n");
                answer.guest.client().send_all(&head).await
            }
            Self::Two(Streamed { stream, .. }) => {
                let mut response = Response::new(());
                *response.status_mut() =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::CONTINUE);
                *response.headers_mut() = map_of(fields.iter());
                // A stream that was reset hears of it with the final answer.
                let _ = stream.send_informational(response);
                Ok(())
            }
        }
    }

    /// Begins the final answer; its body follows.
    ///
    /// # Errors
    /// When the client takes no more.
    pub(crate) fn begin(&mut self, head: &Head<'_>) -> io::Result<Outgoing<'_>> {
        match self {
            Self::One(answer) => Ok(Outgoing::One(answer.begin(head))),
            Self::Two(Streamed {
                stream,
                watch,
                has_begun,
            }) => {
                let mut response = Response::new(());
                *response.status_mut() =
                    StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let fields = response.headers_mut();
                *fields = map_of(head.fields.iter().filter(|field| !is_ours(field.known)));
                let length = match head.framing {
                    Framing::Length(length) => Some(length.into()),
                    _ => head
                        .length
                        .and_then(|length| http::HeaderValue::from_bytes(length).ok()),
                };
                if let Some(length) = length {
                    fields.insert(http::header::CONTENT_LENGTH, length);
                }
                let is_over = head.framing == Framing::None;
                let body = stream
                    .send_response(response, is_over)
                    .map_err(io::Error::other)?;
                *has_begun = true;
                watch.note_answer(stream.stream_id());
                Ok(Outgoing::Two(StreamOut::new(body, is_over)))
            }
        }
    }

    /// Goes by what the client says of its connection.
    pub(crate) fn go_by(&mut self, asked: &Asked<'_>) {
        if let Self::One(answer) = self {
            let is_old = answer.version == Version::V1_0;
            answer.keeps_alive = is_old && asked.options.keep_alive;
            answer.closes |= asked.options.close || (is_old && !asked.options.keep_alive);
        }
    }

    /// Whether the connection ends with this answer.
    pub(crate) fn closes(&self) -> bool {
        match self {
            Self::One(answer) => answer.closes,
            Self::Two(..) => false,
        }
    }

    /// Whether the client has taken its request back.
    pub(crate) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::One(_) => Poll::Pending,
            Self::Two(Streamed { stream, .. }) => stream.poll_reset(context).map(drop),
        }
    }

    /// Ends a stream in the middle, with that code.
    pub(crate) fn reset(&mut self, code: h2::Reason) {
        if let Self::Two(Streamed { stream, .. }) = self {
            stream.send_reset(code);
        }
    }

    /// Lets the connection end with this answer, where the version has such a thing.
    pub(crate) fn close(&mut self) {
        if let Self::One(answer) = self {
            answer.closes = true;
        }
    }
}

impl Answer<'_> {
    fn begin(&mut self, head: &Head<'_>) -> Written<'_> {
        let out = &mut *self.out;
        push_line(out, head.status);
        head.fields.write_if(out, |known| !is_ours(known));
        let frame = match head.framing {
            Framing::None => {
                match head.length {
                    Some(length) => write_field(out, "content-length", length),
                    None if !self.is_head && head.status != 204 && head.status != 304 => {
                        write_field(out, "content-length", b"0");
                    }
                    None => {}
                }
                Frame::Bare
            }
            Framing::Length(length) => {
                let mut digits = itoa::Buffer::new();
                write_field(out, "content-length", digits.format(length).as_bytes());
                Frame::Bare
            }
            Framing::Chunked | Framing::UntilClose if self.version == Version::V1_0 => {
                self.closes = true;
                Frame::Bare
            }
            Framing::Chunked | Framing::UntilClose => {
                write_field(out, "transfer-encoding", b"chunked");
                Frame::Chunks
            }
        };
        self.closes |= self.guest.is_draining();
        if self.closes {
            write_field(out, "connection", b"close");
        } else if self.keeps_alive {
            write_field(out, "connection", b"keep-alive");
        }
        out.extend_from_slice(b"\r\n");
        Written::new(self.guest.client(), frame, out)
    }
}

/// Writes the first line of a response of HTTP/1 (RFC 9112 §4).
pub(crate) fn push_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    let known = StatusCode::from_u16(status).ok();
    let words = known.and_then(|status| status.canonical_reason());
    out.extend_from_slice(words.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whether a field of an answer is written by [`Reply::begin`] or speaks of a connection only.
pub(crate) fn is_ours(known: Known) -> bool {
    known == Known::ContentLength || known.is_hop_by_hop()
}
