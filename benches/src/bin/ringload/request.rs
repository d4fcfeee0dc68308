//! What every exchange of a run sends, and how the end of its reply is known.

use std::net::SocketAddr;

use ringgate_benches::Exchange;

use crate::options::Shape;
use crate::reply::Reply;

/// One request, sent over and over.
pub(crate) struct Request {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    answer: Answer,
}

/// What answers a request.
enum Answer {
    Sized(u64),
    Http,
    Hello,
}

impl Request {
    /// Nothing, and no reply to it.
    pub(crate) const NONE: Self = Self {
        bytes: Vec::new(),
        answer: Answer::Sized(0),
    };

    /// The request of that shape, to that server.
    pub(crate) fn new(shape: &Shape, server: SocketAddr) -> Self {
        if shape.http {
            return Self {
                bytes: http(shape, server),
                answer: Answer::Http,
            };
        }
        let exchange = Exchange {
            request: shape.request,
            reply: shape.reply,
        };
        let mut bytes = exchange.header().to_vec();
        bytes.resize(shape.request as usize, 0);
        Self {
            bytes,
            answer: Answer::Sized(shape.reply),
        }
    }

    /// The first message of a TLS handshake, which a server's first message answers.
    pub(crate) fn hello(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            answer: Answer::Hello,
        }
    }

    /// The reply that it gets, of which nothing has come yet.
    pub(crate) fn reply(&self) -> Reply {
        match self.answer {
            Answer::Sized(left) => Reply::Sized { left },
            Answer::Http => Reply::Head { bytes: Vec::new() },
            Answer::Hello => Reply::Hello,
        }
    }
}

/// A request of HTTP/1.1 with all that is asked for.
fn http(shape: &Shape, server: SocketAddr) -> Vec<u8> {
    let method = match shape.body {
        Some(_) => "POST",
        None => "GET",
    };
    let (under, size) = (&shape.under, shape.reply);
    let mut head = format!("{method} {under}{size} HTTP/1.1\r\nHost: {server}\r\n");
    for field in &shape.field {
        head += &format!("{field}\r\n");
    }
    let body = shape.body.unwrap_or(0);
    if body > 0 {
        head += &format!("Content-Length: {body}\r\n");
    }
    let mut bytes = (head + "\r\n").into_bytes();
    bytes.resize(bytes.len() + body as usize, b'x');
    bytes
}
