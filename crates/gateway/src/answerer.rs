//! A server that owes an answer: heads, of which all but the last are informational, then a body. Servers are not
//! trusted: what does not keep to HTTP is no answer.

use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use ringgate_engine::plugin::{Link, Reason};

use crate::fields::Known;
use crate::head::{
    Framing, HeadLimits, Of, ResponseHead, Search, Version, content_length, has_no_body,
    read_response,
};
use crate::incoming::{Framed, Incoming};
use crate::intake::Intake;
use crate::stream::{StreamBody, push_all};

/// The bounds of a server's head.
const LIMITS: HeadLimits = HeadLimits {
    bytes: 64 * 1024,
    fields: 200,
};

/// Informational answers before the final one.
const INFORMATIONAL_MAX: u32 = 16;

/// Where the answer comes from.
pub(crate) enum Source<'a> {
    /// A connection of HTTP/1.
    One {
        /// The connection.
        link: &'a Link,
        /// What has arrived on it.
        intake: &'a mut Intake,
    },
    /// A stream of HTTP/2.
    Two(ResponseFuture),
}

/// A server that was asked something.
pub(crate) struct Answerer<'a> {
    source: Source<'a>,
    method: &'a str,
    search: Search,
    informed: u32,
    body: Option<h2::RecvStream>,
    /// Something has come from it.
    pub(crate) has_spoken: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The server ended the connection without a word: it may never have seen the request.
    Closed,
    /// It has refused to begin (RFC 9113 §8.7).
    Refused,
    /// It broke off.
    Broken(Reason),
}

impl<'a> Answerer<'a> {
    /// The one that answers a request of that method.
    pub(crate) fn new(source: Source<'a>, method: &'a str) -> Self {
        Self {
            source,
            method,
            search: Search::default(),
            informed: 0,
            body: None,
            has_spoken: false,
        }
    }

    /// Waits for the next head.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn poll_head(
        &mut self,
        head: &mut ResponseHead,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Silence>> {
        match &mut self.source {
            Source::One { link, intake } => loop {
                let bytes = intake.bytes();
                self.has_spoken |= !bytes.is_empty();
                let found = self.search.find(bytes);
                match found.map_err(|_| bad())? {
                    Some(length) if length <= LIMITS.bytes => {
                        read_response(&bytes[..length], LIMITS, self.method, head)
                            .map_err(Silence::Broken)?;
                        intake.consume(length);
                        self.search = Search::default();
                        break;
                    }
                    None if bytes.len() <= LIMITS.bytes => {}
                    _ => return Poll::Ready(Err(bad())),
                }
                match ready!(intake.poll_more(link, context)) {
                    Ok(true) => {}
                    Ok(false) | Err(_) if !self.has_spoken => {
                        return Poll::Ready(Err(Silence::Closed));
                    }
                    Ok(false) => return Poll::Ready(Err(bad())),
                    Err(_) => return Poll::Ready(Err(Silence::Broken(Reason::ServerReset))),
                }
            },
            Source::Two(response) => {
                if let Poll::Ready(Some(informed)) = response.poll_informational(context) {
                    let informed = informed.map_err(|error| silence(&error))?;
                    head.version = Version::V2;
                    head.status = informed.status().as_u16();
                    head.fields.clear();
                    push_all(informed.headers(), &mut head.fields);
                    head.framing = Framing::None;
                } else {
                    let answer = ready!(std::pin::Pin::new(response).poll(context));
                    let answer = answer.map_err(|error| silence(&error))?;
                    self.has_spoken = true;
                    self.body = Some(read_answer(answer, self.method, head)?);
                }
            }
        }
        if head.status < 200 && head.status != 101 {
            self.informed += 1;
            if self.informed > INFORMATIONAL_MAX {
                return Poll::Ready(Err(bad()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The body behind the final head.
    pub(crate) fn body(&mut self, framing: Framing) -> Incoming<'_> {
        match (&mut self.source, self.body.take()) {
            // What comes all the same is nobody's: the crate resets a stream that is let go.
            (Source::Two(_), _) if framing == Framing::None => Incoming::Nothing,
            (Source::One { link, intake }, _) => {
                Incoming::One(Framed::new(link, intake, framing, Of::Server))
            }
            (Source::Two(_), Some(body)) => Incoming::Two(StreamBody::new(body, Of::Server)),
            (Source::Two(_), None) => Incoming::Nothing,
        }
    }
}

fn bad() -> Silence {
    Silence::Broken(Reason::BadResponse)
}

fn silence(error: &h2::Error) -> Silence {
    let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM)
        || (error.is_go_away()
            && error.is_remote()
            && error.reason() == Some(h2::Reason::NO_ERROR));
    match error.is_io() {
        _ if is_refused => Silence::Refused,
        true => Silence::Closed,
        false => Silence::Broken(Reason::BadResponse),
    }
}

/// Reads the final head of a server of HTTP/2.
fn read_answer(
    answer: http::Response<h2::RecvStream>,
    method: &str,
    head: &mut ResponseHead,
) -> Result<h2::RecvStream, Silence> {
    let (parts, body) = answer.into_parts();
    head.version = Version::V2;
    head.status = parts.status.as_u16();
    head.fields.clear();
    push_all(&parts.headers, &mut head.fields);
    let mut lengths = head.fields.all(Known::ContentLength);
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) => Some(content_length(length).ok_or(bad())?),
        (Some(_), Some(_)) => return Err(bad()),
    };
    if head.status >= 600 || head.status == 101 {
        return Err(bad());
    }
    head.framing = match length {
        _ if has_no_body(head.status, method) || body.is_end_stream() => Framing::None,
        Some(0) | None => Framing::Chunked,
        Some(length) => Framing::Length(length),
    };
    Ok(body)
}
