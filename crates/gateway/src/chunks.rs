//! The chunked transfer coding (RFC 9112 §7.1), read strictly: sizes of plain hexadecimal digits, every line ended by
//! CR LF, and no extensions, but that those of servers are passed over. It looks at bytes that have arrived and never
//! waits.

use crate::fields::{Field, Fields, Known};
use crate::forwarded::is_trust;
use crate::head::{Of, is_token_byte, is_value_byte};

/// Digits of a chunk's size: so many hold 2⁶⁰, more than any body.
const DIGITS_MAX: u8 = 15;

/// Bytes of an extension, which go no further.
const EXTENSION_BYTES_MAX: u16 = 256;

/// Bytes of the trailer section.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Fields of the trailer section.
const TRAILERS_MAX: usize = 64;

/// How far a body has been read.
#[derive(Debug)]
pub struct Chunks {
    of: Of,
    state: State,
    /// Bytes of the trailer section that is not complete.
    gathered: Vec<u8>,
    /// The fields after the last chunk.
    pub(crate) trailers: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        bytes: u16,
        /// It is one, and not only white space.
        has_begun: bool,
    },
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataEnd,
    DataEndLf,
    Trailers,
    Done,
    /// Nothing behind a mistake is believed, whoever asks again.
    Broken(Broken),
}

impl Default for State {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

/// What stands next in the bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// After `skip` bytes of framing come `data` bytes of the body.
    Data {
        /// To be passed over.
        skip: usize,
        /// To be taken with [`Chunks::took`].
        data: usize,
    },
    /// All bytes are framing, and more are needed.
    More,
    /// The body ends after `skip` bytes.
    End {
        /// To be passed over.
        skip: usize,
    },
}

/// The body is not coded as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub(crate) &'static str);

impl Chunks {
    /// A body of which nothing has been read.
    pub fn new(of: Of) -> Self {
        Self {
            of,
            state: State::default(),
            gathered: Vec::new(),
            trailers: Fields::default(),
        }
    }

    /// Whether the end has been read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Looks at the next bytes. What it tells to pass over is not given to it again.
    ///
    /// # Errors
    /// When they break the coding.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Broken> {
        let step = self.read(bytes);
        if let Err(broken) = step {
            self.state = State::Broken(broken);
        }
        step
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Step, Broken> {
        for (at, byte) in bytes.iter().copied().enumerate() {
            self.state = match self.state {
                State::Data { left } => {
                    let rest = bytes.len() - at;
                    let data = usize::try_from(left).unwrap_or(rest).min(rest);
                    return Ok(Step::Data { skip: at, data });
                }
                State::Done => return Ok(Step::End { skip: at }),
                State::Broken(broken) => return Err(broken),
                State::Size { size, digits } => size_digit(size, digits, byte, self.of)?,
                State::Extension {
                    size,
                    bytes,
                    has_begun,
                } => match byte {
                    b'\r' => State::SizeEnd { size },
                    _ if bytes == EXTENSION_BYTES_MAX || !is_value_byte(byte) => {
                        return Err(Broken("the extension of a chunk is malformed or too long"));
                    }
                    // White space may stand before it, and behind the size of some old servers.
                    _ if !has_begun && !matches!(byte, b';' | b' ' | b'\t') => {
                        return Err(Broken("the size of a chunk is malformed"));
                    }
                    _ => State::Extension {
                        size,
                        bytes: bytes + 1,
                        has_begun: has_begun || byte == b';',
                    },
                },
                State::SizeEnd { size } => match (byte, size) {
                    (b'\n', 0) => State::Trailers,
                    (b'\n', left) => State::Data { left },
                    _ => return Err(Broken("the size of a chunk does not end with CR LF")),
                },
                State::DataEnd if byte == b'\r' => State::DataEndLf,
                State::DataEndLf if byte == b'\n' => State::default(),
                State::DataEnd | State::DataEndLf => {
                    return Err(Broken("a chunk is longer than its size"));
                }
                State::Trailers => self.trailer_byte(byte)?,
            };
        }
        match self.state {
            State::Done => Ok(Step::End { skip: bytes.len() }),
            State::Broken(broken) => Err(broken),
            _ => Ok(Step::More),
        }
    }

    /// Notes that so many of the bytes of data were taken.
    pub fn took(&mut self, bytes: usize) {
        if let State::Data { left } = self.state {
            self.state = match left.saturating_sub(bytes as u64) {
                0 => State::DataEnd,
                left => State::Data { left },
            };
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, Broken> {
        if self.gathered.len() == TRAILER_BYTES_MAX {
            return Err(Broken("the trailers are too long"));
        }
        self.gathered.push(byte);
        if byte != b'\n' {
            return Ok(State::Trailers);
        }
        let [line @ .., b'\r', b'\n'] = self.gathered.as_slice() else {
            return Err(Broken("a line of the trailers does not end with CR LF"));
        };
        if line.is_empty() {
            self.gathered = Vec::new();
            return Ok(State::Done);
        }
        let Some((name, value)) = trailer(line) else {
            return Err(Broken("a trailer is malformed"));
        };
        self.trailers.push(name, value);
        if self.trailers.len() > TRAILERS_MAX {
            return Err(Broken("there are too many trailers"));
        }
        self.gathered.clear();
        Ok(State::Trailers)
    }
}

fn size_digit(size: u64, digits: u8, byte: u8, of: Of) -> Result<State, Broken> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(State::SizeEnd { size }),
        b';' | b' ' | b'\t' if of == Of::Server && digits > 0 => {
            return Ok(State::Extension {
                size,
                bytes: 0,
                has_begun: byte == b';',
            });
        }
        b';' => return Err(Broken("chunk extensions are not taken")),
        _ => return Err(Broken("the size of a chunk is malformed")),
    };
    if digits == DIGITS_MAX {
        return Err(Broken("the size of a chunk is too long"));
    }
    Ok(State::Size {
        size: size << 4 | u64::from(digit),
        digits: digits + 1,
    })
}

fn trailer(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let name = &line[..colon];
    // Only these are white space here: a CR is none (RFC 9110 §5.6.3).
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let is_inside = |byte: &u8| !is_space(byte);
    let value = &line[colon + 1..];
    let start = value.iter().position(is_inside).unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(is_inside)
        .map_or(start, |last| last + 1);
    let value = &value[start..end];
    let is_good = !name.is_empty()
        && name.iter().all(is_token_byte)
        && value.iter().all(|byte| is_value_byte(*byte));
    let name = std::str::from_utf8(name).ok()?;
    is_good.then_some((name, value))
}

/// Keeps of the trailers of a body what may stand there: not what frames, routes, authenticates or speaks for us
/// (RFC 9110 §6.5.1). A client that sends such a field is not believed anything, nor is a server that frames once more;
/// the others of a server are left out.
///
/// # Errors
/// When the message is not believed.
pub(crate) fn allow_trailers(trailers: &mut Fields, of: Of) -> Result<(), &'static str> {
    let is_wrong = |field| match of {
        // A server could take one with `_` for one of ours, as CGI does.
        Of::Client => is_of_head(field) || field.name.contains(&b'_'),
        Of::Server => matches!(field.known, Known::ContentLength | Known::TransferEncoding),
    };
    if trailers.iter().any(is_wrong) {
        return Err("a field may not stand in the trailers");
    }
    trailers.remove_if(is_of_head);
    Ok(())
}

fn is_of_head(field: Field<'_>) -> bool {
    let is_known = !matches!(field.known, Known::Other | Known::Date);
    let names: [&[u8]; 7] = [
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"max-forwards",
        b"range",
        b"set-cookie",
    ];
    is_known || is_trust(field) || names.contains(&field.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body that the bytes hold when they come in pieces of that size, and how many were used.
    fn read(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize), Broken> {
        read_of(Of::Client, bytes, piece)
    }

    fn read_of(of: Of, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize), Broken> {
        let mut chunks = Chunks::new(of);
        let (mut body, mut used, mut there) = (Vec::new(), 0, 0);
        loop {
            match chunks.step(&bytes[used..there])? {
                Step::Data { skip, data } => {
                    used += skip;
                    body.extend_from_slice(&bytes[used..used + data]);
                    used += data;
                    chunks.took(data);
                }
                Step::End { skip } => return Ok((body, used + skip)),
                Step::More => {
                    used = there;
                    assert!(there < bytes.len(), "the bytes hold a whole body");
                    there = bytes.len().min(there + piece);
                }
            }
        }
    }

    #[test]
    fn a_body_is_the_same_however_its_bytes_come() {
        let bytes = b"5\r\nhello\r\n1\r\n \r\n0000a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET";
        for piece in 1..=bytes.len() {
            let (body, used) = read(bytes, piece).unwrap();
            assert_eq!(body, b"hello 0123456789", "{piece}");
            assert_eq!(&bytes[used..], b"GET", "{piece}");
        }
    }

    #[test]
    fn what_others_might_read_differently_is_broken() {
        for bytes in [
            &b"+5\r\nhello\r\n0\r\n\r\n"[..],
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5;a=b\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhelloo\r\n0\r\n\r\n",
            b"\r\n",
            b"-1\r\n",
            b"1000000000000000\r\n",
            b"0\r\nX\r\n\r\n",
            b"0\r\n X: 1\r\n\r\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\nX: \x00\r\n\r\n",
        ] {
            let shown = String::from_utf8_lossy(bytes);
            assert!(read(bytes, 1).is_err(), "{shown:?}");
            assert!(read(bytes, bytes.len()).is_err(), "{shown:?}");
        }
    }

    #[test]
    fn extensions_of_servers_are_passed_over() {
        let bytes = b"5;a=\"b\";c\r\nhello\r\n1 \t;x\r\n!\r\n0;z\r\n\r\nGET";
        for piece in 1..=bytes.len() {
            let (body, used) = read_of(Of::Server, bytes, piece).unwrap();
            assert_eq!((&body[..], &bytes[used..]), (&b"hello!"[..], &b"GET"[..]));
        }
        let long = [b"5;", &[b'x'; 300][..], b"\r\nhello\r\n0\r\n\r\n"].concat();
        for bytes in [
            &b";a\r\n"[..],
            b"5 5\r\nhello\r\n",
            b"5;a\nhello\r\n",
            b"5;\x00\r\nhello\r\n",
            &long,
        ] {
            assert!(read_of(Of::Server, bytes, 1).is_err());
        }
    }

    #[test]
    fn trailers_that_may_not_be_there_are_refused_or_left_out() {
        let allowed = |of, name: &str| {
            let mut trailers = Fields::default();
            trailers.push(name, b"1");
            allow_trailers(&mut trailers, of).map(|()| trailers.len())
        };
        for (name, of_client, of_server) in [
            ("x-sum", Some(1), Some(1)),
            ("grpc-status", Some(1), Some(1)),
            ("my_key", None, Some(1)),
            ("x-request-id", None, Some(0)),
            ("set-cookie", None, Some(0)),
            ("content-length", None, None),
            ("transfer-encoding", None, None),
        ] {
            assert_eq!(allowed(Of::Client, name).ok(), of_client, "{name}");
            assert_eq!(allowed(Of::Server, name).ok(), of_server, "{name}");
        }
    }

    #[test]
    fn nothing_behind_a_mistake_is_read_again() {
        let mut chunks = Chunks::new(Of::Client);
        assert!(chunks.step(b"5;a\r\nhello\r\n0\r\n\r\n").is_err());
        for again in [&b"\nhello\r\n0\r\n\r\n"[..], b"0\r\n\r\n", b""] {
            assert!(chunks.step(again).is_err());
        }
        assert!(!chunks.is_done());
    }
}
