//! The server behind every contest: answers exchanges (`exchange.rs`) and plain HTTP requests with
//! as many bytes as they ask for, on one thread. It never looks at what a request carries, and
//! takes one request at a time from a connection.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

use clap::Parser;
use ringgate_benches::{
    ENDLESS, Event, Exchange, HEADER_BYTES, Interest, Readiness, Relay, accept, listen,
};

/// Bytes read or written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Bytes of the largest head of an HTTP request.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Answers with as many bytes as a request asks for.
#[derive(Parser)]
#[command(name = "ringserve")]
struct Options {
    /// Where to answer the exchanges of ringload
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// Where to answer HTTP/1.1: `GET /any/100` gets 100 bytes, and so does a POST when its body has come
    #[arg(long, value_name = "ADDRESS")]
    http: Vec<SocketAddr>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let mut server = Server::new()?;
    for address in options.listen {
        server.listen(address, Phase::NEW)?;
    }
    for address in options.http {
        server.listen(address, Phase::Head { bytes: Vec::new() })?;
    }
    server.run()
}

struct Server {
    readiness: Readiness,
    listeners: Vec<(TcpListener, Phase)>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    replies: Replies,
    buffer: Vec<u8>,
}

impl Server {
    fn new() -> io::Result<Self> {
        Ok(Self {
            readiness: Readiness::new()?,
            listeners: Vec::new(),
            connections: Vec::new(),
            free: Vec::new(),
            replies: Replies {
                filler: vec![0; BUFFER_BYTES].into(),
                http: HashMap::new(),
            },
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Listens; a connection that comes begins with `first`.
    fn listen(&mut self, address: SocketAddr, first: Phase) -> io::Result<()> {
        let listener = listen(address)?;
        Relay::announce(listener.local_addr()?);
        let key = listener_key(self.listeners.len());
        self.readiness.add(&listener, key, Interest::Readable)?;
        self.listeners.push((listener, first));
        Ok(())
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        loop {
            events.extend(self.readiness.wait(None)?);
            for event in events.drain(..) {
                if let Some(index) = listener_index(event.key) {
                    self.accept_all(index)?;
                } else {
                    self.advance(event);
                }
            }
        }
    }

    fn accept_all(&mut self, index: usize) -> io::Result<()> {
        while let Some(stream) = accept(&self.listeners[index].0)? {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.readiness.add(&stream, slot as u64, Interest::Edges)?;
            self.connections[slot] = Some(Connection {
                stream,
                phase: self.listeners[index].1.clone(),
                output: None,
                readable: false,
                ended: false,
            });
        }
        Ok(())
    }

    fn advance(&mut self, event: Event) {
        let slot = event.key as usize;
        let Some(connection) = &mut self.connections[slot] else {
            return;
        };
        connection.readable |= event.readable;
        connection.ended |= event.ended;
        match connection.advance(&mut self.replies, &mut self.buffer) {
            Ok(Fate::Stays) => {}
            // The clients count their failures; a server that lost one has nothing to add.
            Ok(Fate::Ends) | Err(_) => {
                self.connections[slot] = None;
                self.free.push(slot);
            }
        }
    }
}

/// Keys of listeners count down from the top, those of connections up from 0.
fn listener_key(index: usize) -> u64 {
    u64::MAX - index as u64
}

fn listener_index(key: u64) -> Option<usize> {
    (key > u64::MAX / 2).then(|| (u64::MAX - key) as usize)
}

struct Connection {
    stream: TcpStream,
    phase: Phase,
    output: Option<Output>,
    readable: bool,
    /// The client's direction has ended behind what is still to be read.
    ended: bool,
}

/// Where a connection is in its request.
#[derive(Clone)]
enum Phase {
    /// In the header of an exchange.
    Header {
        bytes: [u8; HEADER_BYTES],
        filled: usize,
    },
    /// In the rest of its request.
    Rest { left: u64, reply: u64 },
    /// In a request without end.
    Endless { received: u64 },
    /// In the head of an HTTP request.
    Head { bytes: Vec<u8> },
    /// In the body of an HTTP request.
    Body { left: u64, asked: Asked },
    /// Behind a request after which HTTP closes.
    Last,
}

impl Phase {
    /// Before an exchange.
    const NEW: Self = Self::Header {
        bytes: [0; HEADER_BYTES],
        filled: 0,
    };
}

/// A reply on its way: `left` bytes, from `bytes` over and over.
struct Output {
    bytes: Rc<[u8]>,
    position: usize,
    left: u64,
}

enum Fate {
    Stays,
    Ends,
}

impl Connection {
    fn advance(&mut self, replies: &mut Replies, buffer: &mut [u8]) -> io::Result<Fate> {
        loop {
            if let Some(output) = &mut self.output {
                if !output.write(&self.stream)? {
                    return Ok(Fate::Stays);
                }
                self.output = None;
            }
            if let Phase::Last = self.phase {
                return Ok(Fate::Ends);
            }
            if !self.readable {
                return Ok(Fate::Stays);
            }
            let count = match (&self.stream).read(buffer) {
                Ok(0) => match self.phase {
                    Phase::Endless { received } => {
                        let count = received.to_be_bytes();
                        self.output = Some(Output::once(count.as_slice().into()));
                        self.phase = Phase::Last;
                        continue;
                    }
                    _ => return Ok(Fate::Ends),
                },
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.readable = count == buffer.len() || self.ended;
            self.take(&buffer[..count], replies)?;
        }
    }

    fn take(&mut self, bytes: &[u8], replies: &mut Replies) -> io::Result<()> {
        match &mut self.phase {
            Phase::Header {
                bytes: header,
                filled,
            } => {
                let rest = bytes.len().min(HEADER_BYTES - *filled);
                header[*filled..*filled + rest].copy_from_slice(&bytes[..rest]);
                *filled += rest;
                if *filled < HEADER_BYTES {
                    return Ok(());
                }
                let exchange = Exchange::parse(*header).ok_or_else(|| unfit("too short"))?;
                self.phase = Phase::Rest {
                    left: exchange.request - HEADER_BYTES as u64,
                    reply: exchange.reply,
                };
                if exchange.request == ENDLESS {
                    self.phase = Phase::Endless {
                        received: HEADER_BYTES as u64,
                    };
                }
                self.take(&bytes[rest..], replies)
            }
            Phase::Rest { left, reply } => {
                *left = left
                    .checked_sub(bytes.len() as u64)
                    .ok_or_else(|| unfit("longer than it said"))?;
                if *left == 0 {
                    self.output = Some(Output::of(&replies.filler, *reply));
                    self.phase = Phase::NEW;
                }
                Ok(())
            }
            Phase::Endless { received } => {
                *received += bytes.len() as u64;
                Ok(())
            }
            Phase::Head { bytes: head } => {
                // A head seldom comes in pieces, and then its end may be in two of them.
                let before = head.len();
                head.extend_from_slice(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]);
                let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
                    return match head.len() {
                        0..HEAD_BYTES_MAX => Ok(()),
                        _ => Err(unfit("too long")),
                    };
                };
                let body = &bytes[end + 4 - before..];
                let text = String::from_utf8_lossy(&head[..end + 2]);
                let asked = Asked::read(&text).ok_or_else(|| unfit("none for a size"))?;
                let left = asked.body;
                head.clear();
                if left == 0 && body.is_empty() {
                    self.answer(asked, replies);
                    return Ok(());
                }
                self.phase = Phase::Body { left, asked };
                self.take(body, replies)
            }
            Phase::Body { left, asked } => {
                *left = left
                    .checked_sub(bytes.len() as u64)
                    .ok_or_else(|| unfit("longer than it said"))?;
                if *left == 0 {
                    let asked = *asked;
                    self.phase = Phase::Head { bytes: Vec::new() };
                    self.answer(asked, replies);
                }
                Ok(())
            }
            Phase::Last => Ok(()),
        }
    }

    fn answer(&mut self, asked: Asked, replies: &mut Replies) {
        self.output = Some(Output::once(replies.http(asked.size)));
        if asked.closes {
            self.phase = Phase::Last;
        }
    }
}

impl Output {
    fn of(bytes: &Rc<[u8]>, left: u64) -> Self {
        Self {
            bytes: bytes.clone(),
            position: 0,
            left,
        }
    }

    fn once(bytes: Rc<[u8]>) -> Self {
        let left = bytes.len() as u64;
        Self::of(&bytes, left)
    }

    /// Writes until all is written, which it tells, or the stream takes no more.
    fn write(&mut self, mut stream: &TcpStream) -> io::Result<bool> {
        while self.left > 0 {
            let rest = &self.bytes[self.position..];
            let rest = &rest[..rest
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX))];
            let count = match stream.write(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                result => result?,
            };
            self.position = (self.position + count) % self.bytes.len();
            if self.left != ENDLESS {
                self.left -= count as u64;
            }
        }
        Ok(true)
    }
}

/// Replies ready to be sent.
struct Replies {
    filler: Rc<[u8]>,
    /// HTTP responses by the size of their body.
    http: HashMap<usize, Rc<[u8]>>,
}

impl Replies {
    fn http(&mut self, size: usize) -> Rc<[u8]> {
        let response = self.http.entry(size).or_insert_with(|| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
            let mut response = head.into_bytes();
            response.resize(response.len() + size, b'x');
            response.into()
        });
        response.clone()
    }
}

/// What an HTTP request asks for.
#[derive(Clone, Copy)]
struct Asked {
    /// Bytes of the reply's body; at most 16 MiB.
    size: usize,
    /// Bytes of its own body.
    body: u64,
    /// No other request follows.
    closes: bool,
}

impl Asked {
    /// Reads a head such as `GET /any/SIZE HTTP/1.1` and its fields; `None` when it is not such a one.
    fn read(head: &str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let target = lines.next()?.split(' ').nth(1)?;
        let mut asked = Self {
            size: target.rsplit('/').next()?.parse().ok()?,
            body: 0,
            closes: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                asked.body = value.parse().ok()?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return None;
            } else if name.eq_ignore_ascii_case("connection") {
                asked.closes = value.eq_ignore_ascii_case("close");
            }
        }
        (asked.size <= 1 << 24).then_some(asked)
    }
}

fn unfit(what: &str) -> io::Error {
    io::Error::other(format!("a request is {what}"))
}
