//! A server of HTTP/1.1 that keeps every byte it was sent and answers what a test tells it to, good or bad. It reads
//! strictly: what a careful gateway would not send is kept as a fault.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::client::reset;
use crate::framing::{Body, FieldList, Head, Incoming};
use crate::oracle::all_compliant;
use crate::servers::{Refusing, Server};
use crate::wait::{PATIENCE, wait_for, wait_until};

/// So many bytes of a connection are kept; more are only counted.
const KEPT_MAX: usize = 1024 * 1024;

/// The server. Its connections go on when it is dropped. Then it asserts that what it has received leaves no room for a
/// second reading of its bounds, in the opinion of the oracle.
#[derive(Debug)]
pub struct Recorder {
    server: Server,
    tape: Tape,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            all_compliant(self);
        }
    }
}

/// A whole request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its head.
    pub head: Head,
    /// Its body; empty when the test read it in another way.
    pub body: Vec<u8>,
    /// The fields behind a chunked body.
    pub trailers: FieldList,
}

impl Received {
    /// Method and target.
    #[must_use]
    pub fn what(&self) -> String {
        format!("{} {}", self.head.word(0), self.head.word(1))
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &str {
        self.head.word(1)
    }

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
}

/// What a connection has brought.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The bytes, up to the first MiB.
    pub bytes: Vec<u8>,
    /// How many came in all.
    pub count: u64,
    /// Heads that came, with a whole request behind or not.
    pub heads: usize,
    /// Set when the peer has ended it, or we have.
    pub ended: Option<Ended>,
}

/// Who ended a connection to a server, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server, as the test told it to.
    Here,
    /// The peer, between two requests.
    Fin,
    /// The peer, within a request.
    Cut,
    /// The peer, by a reset.
    Reset,
}

/// What a server does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Waits for the next request.
    Keep,
    /// Waits for the next request so long, then closes.
    KeepFor(Duration),
    /// Closes.
    Close,
    /// Resets.
    Reset,
}

impl Recorder {
    /// Reads each request to its end and sends these bytes.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn answering(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serving(move |exchange| {
            let request = exchange.request()?;
            exchange.send(answer(&request))?;
            Ok(Then::Keep)
        })
    }

    /// Answers every request with 200 and its target.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        Self::answering(|request| ok(request.target()))
    }

    /// Does `serve` after each head.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn serving(
        serve: impl Fn(&mut Exchange<'_>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        Self::serving_at(Refusing::start(), serve)
    }

    /// Like [`Recorder::serving`], where connects were refused until now.
    ///
    /// # Panics
    /// Never: the port is ours.
    #[must_use]
    pub fn serving_at(
        place: Refusing,
        serve: impl Fn(&mut Exchange<'_>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let tape = Tape::default();
        let recorded = tape.clone();
        let server = Server::start_at(place, move |stream| recorded.serve(stream, &serve));
        Self { server, tape }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The whole requests so far, in the order of their ends.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.tape.lock().received.clone()
    }

    /// The last whole request.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn last(&self) -> Received {
        let tape = self.tape.lock();
        tape.received.last().expect("a request has come").clone()
    }

    /// The connections so far, in the order in which they came.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        self.tape.lock().connections.clone()
    }

    /// How many bytes came, over all connections.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let tape = self.tape.lock();
        tape.connections.iter().map(|each| each.count).sum()
    }

    /// The bytes of every head so far, also of those that no whole request came of.
    pub(crate) fn heads(&self) -> Vec<Vec<u8>> {
        self.tape.lock().heads.clone()
    }

    /// What a careful gateway would not have sent.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.tape.lock().faults.clone()
    }

    /// Waits for that many whole requests.
    ///
    /// # Panics
    /// When there are fewer after [`PATIENCE`].
    pub fn wait_received(&self, count: usize) -> Vec<Received> {
        wait_for(&format!("{count} requests came"), PATIENCE, || {
            let tape = self.tape.lock();
            (tape.received.len() >= count).then(|| tape.received.clone())
        })
    }

    /// Waits until a connection has ended, and says how.
    ///
    /// # Panics
    /// When it has not after [`PATIENCE`].
    pub fn wait_ended(&self, connection: usize) -> Ended {
        wait_for("the server's connection ends", PATIENCE, || {
            self.tape.lock().connections.get(connection)?.ended
        })
    }

    /// Waits until every connection has ended.
    ///
    /// # Panics
    /// When one has not after [`PATIENCE`].
    pub fn wait_all_ended(&self) {
        wait_until("the server's connections end", PATIENCE, || {
            let tape = self.tape.lock();
            tape.connections.iter().all(|each| each.ended.is_some())
        });
    }
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)
    }
}

/// An answer of 200 with that body.
#[must_use]
pub fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A request whose head has come.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its number on the connection, from 0.
    pub number: usize,
    /// Its head.
    pub head: Head,
    incoming: &'a mut Incoming<Tapped>,
    tape: &'a Tape,
    is_whole: bool,
}

impl Exchange<'_> {
    /// The target.
    #[must_use]
    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    /// The connection.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.incoming.from.stream
    }

    /// Sends.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream().write_all(bytes.as_ref())
    }

    /// Reads the request to its end.
    ///
    /// # Errors
    /// Those of the connection, and of a body that is not HTTP.
    pub fn request(&mut self) -> io::Result<Received> {
        let mut bytes = Vec::new();
        let mut received = self.read_whole(|body| body.read_to_end(&mut bytes).map(drop))?;
        received.body = bytes;
        self.tape.lock().received.push(received.clone());
        Ok(received)
    }

    /// Reads the request's body by `read`, which must come to its end.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn body(
        &mut self,
        read: impl FnOnce(&mut Body<'_, Tapped>) -> io::Result<()>,
    ) -> io::Result<()> {
        let received = self.read_whole(read)?;
        self.tape.lock().received.push(received);
        Ok(())
    }

    fn read_whole(
        &mut self,
        read: impl FnOnce(&mut Body<'_, Tapped>) -> io::Result<()>,
    ) -> io::Result<Received> {
        assert!(!self.is_whole, "the body was read already");
        let mut body = self.incoming.body(self.head.framing_of_request()?);
        read(&mut body)?;
        let rest = io::copy(&mut body, &mut io::sink())?;
        assert_eq!(rest, 0, "a body is read to its end");
        self.is_whole = true;
        Ok(Received {
            connection: self.connection,
            head: self.head.clone(),
            body: Vec::new(),
            trailers: std::mem::take(&mut body.trailers),
        })
    }

    /// Exactly so many bytes that belong to no request, such as those after an upgrade.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        self.is_whole = true;
        let mut bytes = Vec::new();
        let framing = crate::framing::Framing::Length(count);
        self.incoming.body(framing).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Waits until the peer ends the connection or sends more.
    ///
    /// # Errors
    /// Those of the connection; also `WouldBlock` when nothing comes.
    pub fn wait_for_end(&self) -> io::Result<bool> {
        self.stream().peek(&mut [0]).map(|got| got == 0)
    }
}

/// What came, shared by the threads of a recorder.
#[derive(Clone, Debug, Default)]
struct Tape(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    connections: Vec<Connection>,
    heads: Vec<Vec<u8>>,
    received: Vec<Received>,
    faults: Vec<String>,
}

impl Tape {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn serve(&self, stream: TcpStream, serve: &impl Fn(&mut Exchange<'_>) -> io::Result<Then>) {
        let connection = {
            let mut tape = self.lock();
            tape.connections.push(Connection::default());
            tape.connections.len() - 1
        };
        let mut incoming = Incoming::new(Tapped {
            stream,
            tape: self.clone(),
            connection,
        });
        let ended = self.serve_all(connection, &mut incoming, serve);
        let ended = ended.unwrap_or_else(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Ended::Cut,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ended::Reset,
            _ => {
                self.lock().faults.push(format!("{connection}: {error}"));
                Ended::Here
            }
        });
        drop(incoming);
        self.lock().connections[connection].ended = Some(ended);
    }

    fn note_head(&self, connection: usize, head: &Head) {
        let mut tape = self.lock();
        tape.connections[connection].heads += 1;
        tape.heads.push(head.raw.clone());
    }

    fn serve_all(
        &self,
        connection: usize,
        incoming: &mut Incoming<Tapped>,
        serve: &impl Fn(&mut Exchange<'_>) -> io::Result<Then>,
    ) -> io::Result<Ended> {
        for number in 0.. {
            let head = match incoming.head() {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(Ended::Fin),
                // The time of `KeepFor` is over, or the gateway keeps an idle connection longer than a test lasts.
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock && incoming.unread().is_empty() =>
                {
                    return Ok(Ended::Here);
                }
                Err(error) => return Err(error),
            };
            incoming.from.stream.set_read_timeout(Some(PATIENCE))?;
            self.note_head(connection, &head);
            let mut exchange = Exchange {
                connection,
                number,
                head,
                incoming: &mut *incoming,
                tape: self,
                is_whole: false,
            };
            let then = serve(&mut exchange)?;
            match then {
                Then::Keep if !exchange.is_whole => drop(exchange.request()?),
                Then::Keep => {}
                Then::KeepFor(time) => incoming.from.stream.set_read_timeout(Some(time))?,
                Then::Close => return Ok(Ended::Here),
                Then::Reset => {
                    reset(incoming.from.stream.try_clone()?);
                    return Ok(Ended::Here);
                }
            }
        }
        unreachable!("a connection does not bring that many requests")
    }
}

/// A connection of which every byte that is read is kept.
#[derive(Debug)]
pub struct Tapped {
    stream: TcpStream,
    tape: Tape,
    connection: usize,
}

impl Read for Tapped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.stream.read(buffer)?;
        let mut tape = self.tape.lock();
        let connection = &mut tape.connections[self.connection];
        connection.count += got as u64;
        let room = KEPT_MAX.saturating_sub(connection.bytes.len());
        connection.bytes.extend_from_slice(&buffer[..got.min(room)]);
        Ok(got)
    }
}
