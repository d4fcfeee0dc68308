//! A client of HTTP/1.1 that sends exactly the bytes it is given and reads answers by their framing. It repairs
//! nothing, retries nothing, and tells an orderly end from a reset.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::client::connect;
use crate::framing::{Body, FieldList, Framing, Head, Incoming};
use crate::wait::{PATIENCE, wait_until};

/// A client's connection.
#[derive(Debug)]
pub struct Wire {
    incoming: Incoming<TcpStream>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The final status.
    pub status: u16,
    /// The final head.
    pub head: Head,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// The fields behind a chunked body.
    pub trailers: FieldList,
    /// The statuses of the answers before it, such as 100.
    pub interim: Vec<u16>,
    /// How the body was cut; `None` when it came to its end.
    pub cut: Option<ErrorKind>,
}

impl Answer {
    /// The value of a field, its name in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it says that the connection ends with it.
    #[must_use]
    pub fn says_close(&self) -> bool {
        self.field("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The `reason` of an answer that Ringgate made.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let is_problem = self.field("content-type") == Some("application/problem+json");
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let reason = body["reason"].as_str()?.to_owned();
        is_problem.then_some(reason)
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Orderly, after these bytes.
    Fin(Vec<u8>),
    /// By a reset.
    Reset,
}

impl Wire {
    /// A fresh connection.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::over(connect(addr))
    }

    /// Over a connection that is there already.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        Self {
            incoming: Incoming::new(stream),
        }
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.incoming.from
    }

    /// Sends; a peer that has gone meanwhile is seen by what it answered.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _gone = self.stream().write_all(bytes.as_ref());
    }

    /// Sends in pieces that end at these offsets, each after the peer's system has handed it the one before.
    ///
    /// # Panics
    /// When the peer leaves a piece unread.
    pub fn send_in_pieces(&mut self, bytes: &[u8], ends: impl IntoIterator<Item = usize>) {
        let mut sent = 0;
        for end in ends {
            self.send(&bytes[sent..end]);
            sent = end;
            wait_until("the peer takes a piece", PATIENCE, || {
                self.is_taken().unwrap_or(true)
            });
        }
        self.send(&bytes[sent..]);
    }

    /// Whether the peer, on this machine, has taken all that was sent; `None` when it is gone.
    fn is_taken(&self) -> Option<bool> {
        let (ours, theirs) = (
            self.stream().local_addr().ok()?,
            self.stream().peer_addr().ok()?,
        );
        let row = format!("{} {} ", in_table(theirs)?, in_table(ours)?);
        let table = fs::read_to_string("/proc/net/tcp").ok()?;
        // proc_pid_net(5): `sl local rem st tx_queue:rx_queue …`
        let rest = table
            .lines()
            .find_map(|line| line.split_once(&row).map(|(_, rest)| rest))?;
        let queues = rest.split(' ').nth(1)?;
        Some(queues.ends_with(":00000000"))
    }

    /// Ends our side.
    pub fn finish(&self) {
        let _gone = self.stream().shutdown(Shutdown::Write);
    }

    /// The next answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn answer(&mut self) -> Answer {
        self.try_answer("GET")
            .unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The next answer, to a request by that method.
    ///
    /// # Errors
    /// Those of the connection before the head is whole, and `UnexpectedEof` when it ends before.
    pub fn try_answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut body = Vec::new();
        let mut answer = self.answer_with(method, |from| from.read_to_end(&mut body).map(drop))?;
        answer.body = body;
        Ok(answer)
    }

    /// As [`Wire::try_answer`], with a body that `read` reads, as far as it likes to.
    ///
    /// # Errors
    /// As [`Wire::try_answer`].
    pub fn answer_with(
        &mut self,
        method: &str,
        read: impl FnOnce(&mut Body<'_, TcpStream>) -> io::Result<()>,
    ) -> io::Result<Answer> {
        let mut interim = Vec::new();
        let (status, head) = loop {
            let head = self.head()?;
            match status(&head)? {
                101 => break (101, head),
                status @ 100..=199 => interim.push(status),
                status => break (status, head),
            }
        };
        let framing = match method {
            "HEAD" => Framing::Length(0),
            _ => head.framing_of_answer(status)?,
        };
        let mut from = self.incoming.body(framing);
        let cut = read(&mut from).err().map(|error| error.kind());
        Ok(Answer {
            status,
            body: Vec::new(),
            trailers: std::mem::take(&mut from.trailers),
            head,
            interim,
            cut,
        })
    }

    /// The next head, be it of an interim answer.
    ///
    /// # Errors
    /// Those of the connection, and `UnexpectedEof` when it ends before.
    pub fn head(&mut self) -> io::Result<Head> {
        let head = self.incoming.head()?;
        head.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    /// Sends a request and reads its answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    /// Reads until the peer ends.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`].
    pub fn end(&mut self) -> End {
        match self.incoming.rest() {
            Ok(rest) => End::Fin(rest),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("the connection does not end: {:?}", self.incoming.unread())
            }
            Err(_) => End::Reset,
        }
    }

    /// Exactly so many bytes that belong to no message.
    ///
    /// # Errors
    /// Those of the connection, and `UnexpectedEof` when it ends before.
    pub fn bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.incoming
            .body(Framing::Length(count))
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn status(head: &Head) -> io::Result<u16> {
    let is_http = head.word(0) == "HTTP/1.1" && head.word(1).len() == 3;
    let status = head.word(1).parse().ok().filter(|_| is_http);
    status.ok_or_else(|| {
        let message = format!("not a status line: {:?}", head.line);
        io::Error::new(ErrorKind::InvalidData, message)
    })
}

/// An address as the kernel's table of sockets writes it, its bytes in the order of this machine.
fn in_table(addr: SocketAddr) -> Option<String> {
    let SocketAddr::V4(addr) = addr else {
        return None;
    };
    let ip = u32::from_ne_bytes(addr.ip().octets());
    Some(format!("{ip:08X}:{:04X}", addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{Ended, Recorder, Then, ok};

    #[test]
    fn a_wire_and_a_recorder_understand_each_other() {
        let server = Recorder::serving(|exchange| {
            let request = exchange.request()?;
            exchange.send(ok(&format!("{}{}", request.target(), request.text())))?;
            Ok(match request.target() {
                "/reset" => Then::Reset,
                "/close" => Then::Close,
                _ => Then::Keep,
            })
        });
        let post = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        let mut wire = Wire::connect(server.addr());
        wire.send_in_pieces(post, 1..post.len());
        assert_eq!(wire.answer().text(), "/xhi");
        assert_eq!(wire.ask("GET /close HTTP/1.1\r\n\r\n").text(), "/close");
        assert_eq!(
            (wire.end(), server.wait_ended(0)),
            (End::Fin(vec![]), Ended::Here)
        );
        let mut wire = Wire::connect(server.addr());
        wire.send("GET /reset HTTP/1.1\r\n\r\n");
        server.wait_ended(1);
        assert_eq!(
            (wire.try_answer("GET").is_ok(), wire.end()),
            (true, End::Reset)
        );
        let mut wire = Wire::connect(server.addr());
        wire.send(&post[..post.len() - 1]);
        wire.finish();
        assert_eq!(
            (wire.end(), server.wait_ended(2)),
            (End::Fin(vec![]), Ended::Cut)
        );
        let what: Vec<_> = server.received().iter().map(|each| each.what()).collect();
        assert_eq!(what, ["POST /x", "GET /close", "GET /reset"]);
        assert_eq!(server.connections()[0].bytes[..post.len()], *post);
        assert!(server.faults().is_empty());
    }
}
