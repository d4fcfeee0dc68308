//! What every exchange of a run sends, and how the end of its reply is known.

use std::net::SocketAddr;

use ringgate_benches::Exchange;

use crate::options::Shape;
use crate::reply::Reply;

/// One request, sent over and over.
pub(crate) struct Request {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    reply: Option<u64>,
}

impl Request {
    /// The request of that shape, to that server.
    pub(crate) fn new(shape: &Shape, server: SocketAddr) -> Self {
        if shape.http {
            let head = format!("GET /{} HTTP/1.1\r\nHost: {server}\r\n\r\n", shape.reply);
            return Self {
                bytes: head.into_bytes(),
                reply: None,
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
            reply: Some(shape.reply),
        }
    }

    /// The reply that it gets, of which nothing has come yet.
    pub(crate) fn reply(&self) -> Reply {
        match self.reply {
            Some(left) => Reply::Sized { left },
            None => Reply::Head { bytes: Vec::new() },
        }
    }
}
