//! HTTP/2 servers for tests on raw frames: a script for each connection, plain or over TLS. They keep what they
//! received, and never more of the protocol than their script does.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::h2::{Ends, H2, H2Message};
use crate::servers::Server;
use crate::tls::TlsServer;

/// A server that speaks HTTP/2 at once.
#[derive(Debug)]
pub struct H2Server {
    server: Server,
    received: Arc<Mutex<Vec<H2Message>>>,
}

impl H2Server {
    /// Does `serve` with each connection and its number, the first one's is 0. These are its settings.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(
        settings: &[(u16, u32)],
        serve: impl Fn(&mut H2, usize) + Send + Sync + 'static,
    ) -> Self {
        let settings = settings.to_vec();
        let accept = move |stream: TcpStream| {
            let socket = stream.try_clone()?;
            H2::accept(stream, socket, &settings)
        };
        Self::accepting(accept, serve)
    }

    /// The same over TLS.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start_tls(
        tls: TlsServer,
        serve: impl Fn(&mut H2, usize) + Send + Sync + 'static,
    ) -> Self {
        let accept = move |stream: TcpStream| {
            let socket = stream.try_clone()?;
            H2::accept(tls.accept(stream)?, socket, &[])
        };
        Self::accepting(accept, serve)
    }

    fn accepting(
        accept: impl Fn(TcpStream) -> io::Result<H2> + Send + Sync + 'static,
        serve: impl Fn(&mut H2, usize) + Send + Sync + 'static,
    ) -> Self {
        let received: Arc<Mutex<Vec<H2Message>>> = Arc::default();
        let keeping = received.clone();
        let connections = AtomicUsize::new(0);
        let server = Server::start(move |stream| {
            // Whoever only looks whether the port is open says nothing.
            let Ok(mut end) = accept(stream) else { return };
            serve(&mut end, connections.fetch_add(1, Relaxed));
            let messages = std::mem::take(&mut end.messages);
            keeping
                .lock()
                .expect("servers do not panic")
                .extend(messages.into_values());
        });
        Self { server, received }
    }

    /// Answers every request with what `answer` makes of it, once it is whole, and keeps the connection.
    #[must_use]
    pub fn answering(answer: impl Fn(&H2Message) -> H2Answer + Send + Sync + 'static) -> Self {
        Self::start(&[], move |end, _| serve_all(end, &answer))
    }

    /// The requests of the connections that have ended.
    ///
    /// # Panics
    /// When a server did.
    #[must_use]
    pub fn received(&self) -> Vec<H2Message> {
        self.received.lock().expect("servers do not panic").clone()
    }

    /// Where it listens and how many connections it has accepted.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }
}

/// What a server answers.
#[derive(Clone, Debug, Default)]
pub struct H2Answer {
    /// The fields of its head, with `:status`.
    pub head: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Vec<(&'static str, String)>,
}

impl H2Answer {
    /// 200 with that body.
    #[must_use]
    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self {
            head: vec![(":status", "200".to_owned()), ("content-length", length)],
            body,
            trailers: Vec::new(),
        }
    }

    /// Sends it on a stream.
    pub fn send(&self, end: &mut H2, stream: u32) {
        let (has_body, has_trailers) = (!self.body.is_empty(), !self.trailers.is_empty());
        let ends = |is_last: bool| if is_last { Ends::Here } else { Ends::Later };
        end.fields(
            stream,
            &by_ref(&self.head),
            ends(!has_body && !has_trailers),
        );
        end.body(stream, &self.body, ends(!has_trailers));
        if has_trailers {
            end.fields(stream, &by_ref(&self.trailers), Ends::Here);
        }
    }
}

fn by_ref<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    let by_ref = fields.iter().map(|(name, value)| (*name, value.as_str()));
    by_ref.collect()
}

/// Answers whole requests until the other end closes.
pub fn serve_all(end: &mut H2, answer: &impl Fn(&H2Message) -> H2Answer) {
    let mut answered = Vec::new();
    loop {
        let is_open = |end: &H2, answered: &[u32]| {
            let mut whole = end.messages.iter().filter(|(_, message)| message.ended);
            whole
                .find(|(stream, _)| !answered.contains(stream))
                .map(|(stream, _)| *stream)
        };
        end.wait("a whole request", |end| is_open(end, &answered).is_some());
        let Some(stream) = is_open(end, &answered) else {
            return;
        };
        answered.push(stream);
        answer(&end.messages[&stream]).send(end, stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::{H2End, head};

    #[test]
    fn both_ends_understand_each_other() {
        let server = H2Server::answering(|request| H2Answer {
            trailers: vec![("x-length", request.body.len().to_string())],
            ..H2Answer::body(request.body.clone())
        });
        let mut client = H2::connect(server.server().addr());
        let large = vec![b'x'; 1_000_000];
        for body in [&b""[..], b"small", &large] {
            let stream = client.open(&head("POST", "/"), Ends::Later);
            client.body(stream, body, Ends::Later);
            client.fields(stream, &[("x-check", "1")], Ends::Here);
            let answer = client.finish(stream).answer();
            assert_eq!((answer.status(), answer.body.len()), (200, body.len()));
            let length = body.len().to_string();
            assert_eq!(answer.trailer("x-length"), Some(length.as_str()));
        }
        drop(client);
        let received = crate::wait_for("it is kept", crate::PATIENCE, || {
            Some(server.received()).filter(|received| received.len() == 3)
        });
        assert_eq!(received[1].text(), "small");
        assert_eq!(received[1].trailer("x-check"), Some("1"));
    }

    #[test]
    fn a_stream_ends_in_one_of_four_ways() {
        let server = H2Server::start(&[], |end, number| {
            let mut known = Vec::new();
            let Some(stream) = end.next_request(&mut known) else {
                return;
            };
            match number {
                0 => end.send(&crate::frame::Frame::reset(stream, 7)),
                1 => end.send(&crate::frame::Frame::go_away(0, 11)),
                _ => return,
            }
            end.wait("the end", |_| false);
        });
        let ask = || {
            let mut client = H2::connect(server.server().addr());
            let stream = client.get("/");
            client.finish(stream)
        };
        assert!(matches!(ask(), H2End::Reset(7)));
        assert!(matches!(ask(), H2End::GoAway(11)));
        assert!(matches!(ask(), H2End::Closed));
    }
}
