//! HTTP/2 frames as bytes (RFC 9113 §4.1), good and bad. It knows where a frame begins and ends, and nothing of what a
//! frame may say when.

use std::io::{self, Read};

/// A frame of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type, such as [`Frame::DATA`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A part of a body.
    pub const DATA: u8 = 0;
    /// Fields.
    pub const HEADERS: u8 = 1;
    /// What nobody honours.
    pub const PRIORITY: u8 = 2;
    /// The end of a stream by its number of an error.
    pub const RST_STREAM: u8 = 3;
    /// Settings of a peer, or that they were seen.
    pub const SETTINGS: u8 = 4;
    /// What only servers may send.
    pub const PUSH_PROMISE: u8 = 5;
    /// What is sent back.
    pub const PING: u8 = 6;
    /// No further streams.
    pub const GOAWAY: u8 = 7;
    /// Credit for bodies.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More fields.
    pub const CONTINUATION: u8 = 9;

    /// The stream ends with it.
    pub const END_STREAM: u8 = 1;
    /// It acknowledges a frame of its type.
    pub const ACK: u8 = 1;
    /// The block of fields ends with it.
    pub const END_HEADERS: u8 = 4;
    /// Its payload begins with the length of the padding at its end.
    pub const PADDED: u8 = 8;
    /// Its payload has five bytes of priority in front.
    pub const WITH_PRIORITY: u8 = 0x20;

    /// One with that payload.
    #[must_use]
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    /// The end of a stream.
    #[must_use]
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(Self::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// Credit.
    #[must_use]
    pub fn window(stream: u32, increment: u32) -> Self {
        Self::new(Self::WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
    }

    /// Settings by their numbers.
    #[must_use]
    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let bytes = |(name, value): &(u16, u32)| -> Vec<u8> {
            [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
        };
        let payload: Vec<u8> = settings.iter().flat_map(bytes).collect();
        Self::new(Self::SETTINGS, 0, 0, payload)
    }

    /// No streams above `last`, for the reason `code`.
    #[must_use]
    pub fn go_away(last: u32, code: u32) -> Self {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        Self::new(Self::GOAWAY, 0, 0, payload)
    }

    /// Its bytes.
    ///
    /// # Panics
    /// When the payload has more bytes than a length can say.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a payload of a test is small");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The next one of a peer.
    ///
    /// # Errors
    /// Those of the stream, `UnexpectedEof` where it ends.
    pub fn read(mut stream: impl Read) -> io::Result<Self> {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u32::from(*byte))
        };
        let length = usize::try_from(number(&head[..3])).expect("24 bits are a length");
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        let stream = number(&head[5..]) & 0x7fff_ffff;
        Ok(Self::new(head[3], head[4], stream, payload))
    }

    /// Whether it has that flag.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number that the payload has at that byte; 0 where it has none.
    #[must_use]
    pub fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).unwrap_or_default();
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}
