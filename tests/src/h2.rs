//! One end of a raw HTTP/2 connection on frames, a client's or a server's. It keeps the rules only where it is not told
//! to break them: what it is told to send it sends.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::client::connect;
use crate::frame::Frame;
use crate::hpack::{Decoder, Fields, literals};
use crate::tls::TlsClient;

/// What a client says first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The window of a stream and of a connection before anything else is said (RFC 9113 §6.9.2).
const WINDOW: i64 = 65_535;

/// Bytes of a frame's payload before anything else is said (RFC 9113 §4.2).
const FRAME_MAX: usize = 16_384;

/// The number of the setting that bounds the streams of the other end.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;

/// The number of the setting that says the window of new streams.
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// What it speaks over.
trait Duplex: Read + Write + Send + Debug {}

impl<T: Read + Write + Send + Debug> Duplex for T {}

/// One end of a connection.
#[derive(Debug)]
pub struct H2 {
    stream: Box<dyn Duplex>,
    socket: TcpStream,
    decoder: Decoder,
    /// The next stream that this end opens.
    next: u32,
    /// The block that is not whole yet, and the frame that it began with.
    block: Option<(Frame, Vec<u8>)>,
    send_window: i64,
    send_windows: BTreeMap<u32, i64>,
    /// What the other end set, by number.
    pub settings: BTreeMap<u16, u32>,
    /// What came by stream.
    pub messages: BTreeMap<u32, H2Message>,
    /// The last GOAWAY of the other end: its last stream and its code.
    pub go_away: Option<(u32, u32)>,
    /// The other end has closed or reset the connection, and all that it said before was read.
    pub closed: bool,
    /// The other end takes nothing any more.
    pub deaf: bool,
    /// Gives back credit for every DATA, as is the default.
    pub gives_credit: bool,
    /// Answers every PING, as is the default.
    pub answers_pings: bool,
    /// Acknowledgements that came, of SETTINGS and PING.
    pub acknowledged: usize,
}

/// A request or an answer, as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct H2Message {
    /// Its blocks of fields: interim ones, the head, the trailers.
    pub heads: Vec<Fields>,
    /// Its body.
    pub body: Vec<u8>,
    /// It is whole.
    pub ended: bool,
    /// The code by which the other end reset the stream.
    pub reset: Option<u32>,
}

/// How a stream ended.
#[derive(Clone, Debug)]
pub enum H2End {
    /// With a whole answer.
    Answered(H2Message),
    /// By RST_STREAM with that code.
    Reset(u32),
    /// By a GOAWAY with that code that does not let it go on.
    GoAway(u32),
    /// With the connection.
    Closed,
}

impl H2 {
    /// A client that knows beforehand that the server speaks HTTP/2.
    ///
    /// # Panics
    /// When it cannot connect.
    #[must_use]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &[])
    }

    /// The same, with these settings.
    ///
    /// # Panics
    /// When it cannot connect.
    #[must_use]
    pub fn connect_with(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = connect(addr);
        let socket = stream.try_clone().expect("a socket can be cloned");
        Self::client(stream, socket, settings)
    }

    /// A client that agrees on `h2` by ALPN.
    ///
    /// # Errors
    /// Those of the handshake.
    ///
    /// # Panics
    /// When it cannot connect, or the other end does not agree.
    pub fn connect_tls(client: &TlsClient, addr: SocketAddr, name: &str) -> io::Result<Self> {
        let stream = client.clone().offering(&["h2"]).connect(addr, name)?;
        assert_eq!(stream.conn.alpn_protocol(), Some(b"h2".as_slice()));
        let socket = stream.sock.try_clone().expect("a socket can be cloned");
        Ok(Self::client(stream, socket, &[]))
    }

    fn client(stream: impl Duplex + 'static, socket: TcpStream, settings: &[(u16, u32)]) -> Self {
        let mut end = Self::new(Box::new(stream), socket, 1);
        end.bytes(&[PREFACE, &Frame::settings(settings).bytes()].concat());
        end
    }

    /// The server's end of a connection that was accepted: it reads the preface first.
    ///
    /// # Errors
    /// Those of the stream, and `InvalidData` for any other preface.
    pub fn accept(
        stream: impl Read + Write + Send + Debug + 'static,
        socket: TcpStream,
        settings: &[(u16, u32)],
    ) -> io::Result<Self> {
        let mut end = Self::new(Box::new(stream), socket, 2);
        let mut preface = [0; PREFACE.len()];
        end.stream.read_exact(&mut preface)?;
        if preface != PREFACE {
            return Err(ErrorKind::InvalidData.into());
        }
        end.send(&Frame::settings(settings));
        Ok(end)
    }

    fn new(stream: Box<dyn Duplex>, socket: TcpStream, next: u32) -> Self {
        Self {
            stream,
            socket,
            decoder: Decoder::default(),
            next,
            block: None,
            send_window: WINDOW,
            send_windows: BTreeMap::new(),
            settings: BTreeMap::new(),
            messages: BTreeMap::new(),
            go_away: None,
            closed: false,
            deaf: false,
            gives_credit: true,
            answers_pings: true,
            acknowledged: 0,
        }
    }

    /// The address of this end.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("a socket has an address")
    }

    /// Sends bytes as they are; nothing happens when the other end is gone.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let sent = self.stream.write_all(bytes);
        self.deaf |= sent.and_then(|()| self.stream.flush()).is_err();
    }

    /// Sends a frame as it is.
    pub fn send(&mut self, frame: &Frame) {
        self.bytes(&frame.bytes());
    }

    /// The number that the next stream gets.
    #[must_use]
    pub fn next_stream(&self) -> u32 {
        self.next
    }

    /// Leaves out the numbers of so many streams, which were opened by bytes.
    pub fn skip_streams(&mut self, count: u32) {
        self.next += 2 * count;
    }

    /// Opens a stream with these fields.
    pub fn open(&mut self, fields: &[(&str, &str)], ends: Ends) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.fields(stream, fields, ends);
        stream
    }

    /// Opens a stream with a whole GET, its host `a`.
    pub fn get(&mut self, path: &str) -> u32 {
        self.open(&head("GET", path), Ends::Here)
    }

    /// Sends fields on a stream, in one frame.
    pub fn fields(&mut self, stream: u32, fields: &[(&str, &str)], ends: Ends) {
        let flags = Frame::END_HEADERS | ends.flag();
        self.send(&Frame::new(Frame::HEADERS, flags, stream, literals(fields)));
    }

    /// Sends a body by frames, as far as the windows let it, and waits for credit.
    ///
    /// # Panics
    /// When no credit comes.
    pub fn body(&mut self, stream: u32, mut bytes: &[u8], ends: Ends) {
        while !bytes.is_empty() {
            self.wait("credit", |end| {
                end.credit(stream) > 0 || end.is_unwanted(stream)
            });
            if self.closed || self.deaf || self.is_unwanted(stream) {
                return;
            }
            let credit = usize::try_from(self.credit(stream)).expect("credit is positive");
            let (now, rest) = bytes.split_at(bytes.len().min(credit).min(FRAME_MAX));
            let sent = i64::try_from(now.len()).expect("a frame is small");
            self.send_window -= sent;
            let left = self.stream_window(stream) - sent;
            self.send_windows.insert(stream, left);
            let flags = if rest.is_empty() { ends.flag() } else { 0 };
            self.send(&Frame::new(Frame::DATA, flags, stream, now));
            bytes = rest;
        }
    }

    /// Bytes that may be sent on a stream now.
    #[must_use]
    pub fn credit(&self, stream: u32) -> i64 {
        self.send_window.min(self.stream_window(stream))
    }

    fn stream_window(&self, stream: u32) -> i64 {
        let initial = self.settings.get(&INITIAL_WINDOW_SIZE);
        let initial = initial.map_or(WINDOW, |size| i64::from(*size));
        *self.send_windows.get(&stream).unwrap_or(&initial)
    }

    /// Reads until the stream has ended in one way or another.
    ///
    /// # Panics
    /// When it does not.
    pub fn finish(&mut self, stream: u32) -> H2End {
        self.wait("the stream ends", |end| end.is_over(stream));
        let message = self.messages.get(&stream);
        match (message, self.go_away) {
            (
                Some(H2Message {
                    reset: Some(code), ..
                }),
                _,
            ) => H2End::Reset(*code),
            (Some(message), _) if message.ended => H2End::Answered(message.clone()),
            (_, Some((_, code))) => H2End::GoAway(code),
            _ => H2End::Closed,
        }
    }

    /// Whether nobody waits for the rest of a body: the stream was reset, or answered before.
    fn is_unwanted(&self, stream: u32) -> bool {
        let is_own = stream % 2 == self.next % 2;
        let message = self.messages.get(&stream);
        message.is_some_and(|message| message.reset.is_some() || (is_own && message.ended))
    }

    fn is_over(&self, stream: u32) -> bool {
        let left_behind = self
            .go_away
            .is_some_and(|(last, code)| last < stream || code != 0);
        let message = self.messages.get(&stream);
        left_behind || message.is_some_and(|message| message.ended || message.reset.is_some())
    }

    /// Reads until this holds, or the other end has closed.
    ///
    /// # Panics
    /// When nothing comes any more before.
    pub fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) && !self.closed {
            self.step(what);
        }
    }

    /// Reads until the other end has closed, and gives the code of its GOAWAY; `None` without one.
    ///
    /// # Panics
    /// When it does not close.
    pub fn close_code(&mut self) -> Option<u32> {
        self.wait("the connection is closed", |_| false);
        self.go_away.map(|(_, code)| code)
    }

    /// Reads the next frame.
    ///
    /// # Panics
    /// When nothing comes.
    pub fn next_frame(&mut self) {
        self.step("a frame");
    }

    /// Reads what is there already.
    pub fn read_ready(&mut self) {
        while !self.closed && self.is_readable() {
            self.step("a frame that has begun");
        }
    }

    fn is_readable(&self) -> bool {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// The stream of the next request that the other end has begun, `None` when it closed.
    ///
    /// # Panics
    /// When nothing comes.
    pub fn next_request(&mut self, known: &mut Vec<u32>) -> Option<u32> {
        self.wait("a request", |end| {
            end.messages.keys().any(|stream| !known.contains(stream))
        });
        let stream = *self
            .messages
            .keys()
            .find(|stream| !known.contains(stream))?;
        known.push(stream);
        Some(stream)
    }

    /// Reads one frame and does what it asks for.
    fn step(&mut self, what: &str) {
        match Frame::read(&mut self.stream) {
            Ok(frame) => self.take(frame),
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!(
                "waited in vain: {what}; {:?}, {:?}",
                self.messages, self.go_away
            ),
            Err(_) => self.closed = true,
        }
    }

    fn take(&mut self, frame: Frame) {
        match frame.kind {
            Frame::DATA => self.take_data(&frame),
            Frame::HEADERS => self.begin_block(frame),
            Frame::CONTINUATION => self.take_block(&frame),
            Frame::RST_STREAM => {
                self.messages.entry(frame.stream).or_default().reset = Some(frame.number(0));
            }
            Frame::SETTINGS | Frame::PING if frame.has(Frame::ACK) => self.acknowledged += 1,
            Frame::SETTINGS => self.take_settings(&frame),
            Frame::PING if !self.answers_pings => {}
            Frame::PING => self.send(&Frame::new(Frame::PING, Frame::ACK, 0, frame.payload)),
            Frame::GOAWAY => self.go_away = Some((frame.number(0) & 0x7fff_ffff, frame.number(4))),
            Frame::WINDOW_UPDATE if frame.stream == 0 => {
                self.send_window += i64::from(frame.number(0));
            }
            Frame::WINDOW_UPDATE => {
                let window = self.stream_window(frame.stream) + i64::from(frame.number(0));
                self.send_windows.insert(frame.stream, window);
            }
            _ => {}
        }
    }

    fn take_data(&mut self, frame: &Frame) {
        let message = self.messages.entry(frame.stream).or_default();
        message.body.extend(unpadded(frame));
        message.ended |= frame.has(Frame::END_STREAM);
        let length = u32::try_from(frame.payload.len()).expect("a frame is small");
        if self.gives_credit && length > 0 {
            let both = [
                Frame::window(0, length),
                Frame::window(frame.stream, length),
            ];
            self.bytes(&both.map(|frame| frame.bytes()).concat());
        }
    }

    fn begin_block(&mut self, frame: Frame) {
        let skipped = if frame.has(Frame::WITH_PRIORITY) {
            5
        } else {
            0
        };
        let block = unpadded(&frame)[skipped..].to_vec();
        self.block = Some((frame, block));
        self.end_block();
    }

    fn take_block(&mut self, frame: &Frame) {
        let (first, block) = self.block.as_mut().expect("CONTINUATION follows HEADERS");
        block.extend(&frame.payload);
        first.flags |= frame.flags & Frame::END_HEADERS;
        self.end_block();
    }

    fn end_block(&mut self) {
        let Some((frame, block)) = self
            .block
            .take_if(|(frame, _)| frame.has(Frame::END_HEADERS))
        else {
            return;
        };
        let fields = self.decoder.decode(&block).expect("a good block");
        let message = self.messages.entry(frame.stream).or_default();
        message.heads.push(fields);
        message.ended |= frame.has(Frame::END_STREAM);
    }

    fn take_settings(&mut self, frame: &Frame) {
        let before = self.settings.get(&INITIAL_WINDOW_SIZE).copied();
        for pair in frame.payload.chunks_exact(6) {
            let name = u16::from_be_bytes([pair[0], pair[1]]);
            let value = u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
            self.settings.insert(name, value);
        }
        // RFC 9113 §6.9.2: the windows of open streams change by the difference.
        let window = |size: Option<u32>| size.map_or(WINDOW, i64::from);
        let after = self.settings.get(&INITIAL_WINDOW_SIZE).copied();
        for open in self.send_windows.values_mut() {
            *open += window(after) - window(before);
        }
        self.send(&Frame::new(Frame::SETTINGS, Frame::ACK, 0, []));
    }
}

/// Whether a stream ends with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// With this one.
    Here,
    /// With a later one.
    Later,
}

impl Ends {
    fn flag(self) -> u8 {
        match self {
            Self::Here => Frame::END_STREAM,
            Self::Later => 0,
        }
    }
}

/// The pseudo-header fields of a request to the host `a`.
#[must_use]
pub fn head<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [
        (":method", method),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", path),
    ]
}

fn unpadded(frame: &Frame) -> &[u8] {
    if !frame.has(Frame::PADDED) {
        return &frame.payload;
    }
    let (length, rest) = frame.payload.split_first().expect("a length of padding");
    &rest[..rest.len() - usize::from(*length)]
}

impl H2Message {
    /// Its status, once its head has come; 0 before.
    #[must_use]
    pub fn status(&self) -> u16 {
        let status = |fields: &Fields| value(fields, ":status")?.parse().ok();
        let mut heads = self.heads.iter().filter_map(status);
        heads.find(|status| *status >= 200).unwrap_or(0)
    }

    /// A field of its head, the first of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let is_interim = |fields: &&Fields| {
            value(fields, ":status").is_some_and(|status| status.starts_with('1'))
        };
        value(self.heads.iter().find(|fields| !is_interim(fields))?, name)
    }

    /// A field of its trailers.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        let is_head = |fields: &Fields| fields.iter().any(|(name, _)| name.starts_with(':'));
        value(self.heads.last().filter(|fields| !is_head(fields))?, name)
    }

    /// Its body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn value<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let field = fields.iter().find(|(known, _)| known == name);
    field.map(|(_, value)| value.as_str())
}

impl H2End {
    /// The answer.
    ///
    /// # Panics
    /// When it ended in any other way.
    #[must_use]
    #[track_caller]
    pub fn answer(self) -> H2Message {
        match self {
            Self::Answered(message) => message,
            other => panic!("no answer but {other:?}"),
        }
    }

    /// The status of the answer, `None` when it ended in any other way.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(message) => Some(message.status()),
            _ => None,
        }
    }
}
