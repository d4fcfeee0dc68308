//! The strict half of an HTTP/1.1 parser that both ends of a test share: heads, and bodies by their framing. It
//! forgives nothing that a careful peer would not send, and keeps the bytes of a head as they came.

use std::io::{self, ErrorKind, Read};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// The largest head, and the largest trailer section.
const HEAD_MAX: usize = 256 * 1024;

/// Names in lower case with their values, in the order in which they came.
pub type FieldList = Vec<(String, String)>;

/// The first line and the fields of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The bytes, with the empty line.
    pub raw: Vec<u8>,
    /// The first line, without its end. A byte is a character here.
    pub line: String,
    /// The fields.
    pub fields: FieldList,
}

impl Head {
    /// The value of the first field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The values of all fields of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.fields.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The word of the first line with that number.
    #[must_use]
    pub fn word(&self, number: usize) -> &str {
        self.line.split(' ').nth(number).unwrap_or_default()
    }

    fn parse(raw: &[u8]) -> io::Result<Self> {
        let text: String = raw.iter().map(|byte| char::from(*byte)).collect();
        let (line, rest) = text
            .split_once("\r\n")
            .ok_or_else(|| broken("a head without a line"))?;
        Ok(Self {
            raw: raw.to_vec(),
            line: line.to_owned(),
            fields: fields(rest.strip_suffix("\r\n").unwrap_or(rest))?,
        })
    }

    /// How the body of a request goes.
    pub(crate) fn framing_of_request(&self) -> io::Result<Framing> {
        Ok(self.framing()?.unwrap_or(Framing::Length(0)))
    }

    /// How the body of an answer goes, that to HEAD apart.
    pub(crate) fn framing_of_answer(&self, status: u16) -> io::Result<Framing> {
        Ok(match (status, self.framing()?) {
            (100..=199 | 204 | 304, _) => Framing::Length(0),
            (_, Some(framing)) => framing,
            (_, None) => Framing::UntilClose,
        })
    }

    /// RFC 9112 §6.3, and never both fields, nor one of them twice.
    fn framing(&self) -> io::Result<Option<Framing>> {
        let lengths: Vec<&str> = self.all("content-length").collect();
        let codings: Vec<&str> = self.all("transfer-encoding").collect();
        match (&lengths[..], &codings[..]) {
            ([], []) => Ok(None),
            ([], ["chunked"]) => Ok(Some(Framing::Chunked)),
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = length.parse().map_err(|_| broken("a length"))?;
                Ok(Some(Framing::Length(length)))
            }
            _ => Err(broken(&format!("lengths {lengths:?}, codings {codings:?}"))),
        }
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A connection's bytes as messages.
#[derive(Debug)]
pub(crate) struct Incoming<R> {
    pub(crate) from: R,
    unread: Vec<u8>,
}

impl<R: Read> Incoming<R> {
    pub(crate) fn new(from: R) -> Self {
        Self {
            from,
            unread: Vec::new(),
        }
    }

    /// The next head; `None` when the peer ends before its first byte.
    pub(crate) fn head(&mut self) -> io::Result<Option<Head>> {
        let raw = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break self.take(at + 4);
            }
            if self.unread.len() > HEAD_MAX {
                return Err(broken("a head without an end"));
            }
            if self.more()? == 0 {
                return match self.unread.is_empty() {
                    true => Ok(None),
                    false => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
        };
        Head::parse(&raw).map(Some)
    }

    /// The body that follows.
    pub(crate) fn body(&mut self, framing: Framing) -> Body<'_, R> {
        let (left, done) = match framing {
            Framing::Length(length) => (length, length == 0),
            Framing::Chunked | Framing::UntilClose => (0, false),
        };
        Body {
            incoming: self,
            framing,
            left,
            begun: false,
            done,
            trailers: Vec::new(),
        }
    }

    /// All that is left until the end.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? != 0 {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// What has come and was not asked for.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    fn line(&mut self) -> io::Result<String> {
        let line = loop {
            if let Some(at) = find(&self.unread, b"\r\n") {
                break self.take(at + 2);
            }
            if self.unread.len() > HEAD_MAX {
                return Err(broken("a line without an end"));
            }
            self.some_more()?;
        };
        let line = &line[..line.len() - 2];
        Ok(line.iter().map(|byte| char::from(*byte)).collect())
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.unread.split_off(count);
        std::mem::replace(&mut self.unread, rest)
    }

    fn some_more(&mut self) -> io::Result<()> {
        match self.more()? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn more(&mut self) -> io::Result<usize> {
        let before = self.unread.len();
        self.unread.resize(before + CHUNK, 0);
        let got = self.from.read(&mut self.unread[before..]);
        self.unread
            .truncate(before + got.as_ref().map_or(0, |got| *got));
        got
    }
}

/// A body that is being read. Its end is 0 bytes; a body that is cut is an error.
#[derive(Debug)]
pub struct Body<'a, R> {
    incoming: &'a mut Incoming<R>,
    framing: Framing,
    /// Of the length, or of the chunk.
    left: u64,
    /// Whether there was a chunk.
    begun: bool,
    done: bool,
    /// The fields behind the last chunk, once it has been read.
    pub trailers: FieldList,
}

impl<R: Read> Body<'_, R> {
    /// Reads the size of the next chunk, and the trailers behind the last.
    fn next_chunk(&mut self) -> io::Result<()> {
        if self.begun && !self.incoming.line()?.is_empty() {
            return Err(broken("a chunk that does not end"));
        }
        self.begun = true;
        let size = self.incoming.line()?;
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = u64::from_str_radix(&size, 16).ok().filter(|_| digits);
        self.left = size.ok_or_else(|| broken("the size of a chunk"))?;
        if self.left == 0 {
            let mut lines = String::new();
            loop {
                let line = self.incoming.line()?;
                if line.is_empty() {
                    break;
                }
                lines += &line;
                lines += "\r\n";
            }
            self.trailers = fields(&lines)?;
            self.done = true;
        }
        Ok(())
    }
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.done {
            return Ok(0);
        }
        if self.framing == Framing::Chunked && self.left == 0 {
            self.next_chunk()?;
            if self.done {
                return Ok(0);
            }
        }
        let most = match self.framing {
            Framing::UntilClose => buffer.len(),
            _ => usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len())),
        };
        let unread = self.incoming.unread.len().min(most);
        let got = if unread > 0 {
            buffer[..unread].copy_from_slice(&self.incoming.take(unread));
            unread
        } else {
            self.incoming.from.read(&mut buffer[..most])?
        };
        match (self.framing, got) {
            (Framing::UntilClose, 0) => self.done = true,
            (Framing::UntilClose, _) => {}
            (_, 0) => return Err(ErrorKind::UnexpectedEof.into()),
            (framing, _) => {
                self.left -= got as u64;
                self.done = framing != Framing::Chunked && self.left == 0;
            }
        }
        Ok(got)
    }
}

fn fields(lines: &str) -> io::Result<FieldList> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic());
        let is_value = !value.contains(['\r', '\n', '\0']);
        let value = value.trim_matches([' ', '\t']);
        (is_name && is_value).then(|| (name.to_ascii_lowercase(), value.to_owned()))
    };
    let lines = lines.split_terminator("\r\n");
    lines
        .map(|line| field(line).ok_or_else(|| broken(&format!("the field {line:?}"))))
        .collect()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes one at a time.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn messages_follow_each_other_by_their_framing() {
        let bytes = b"POST / HTTP/1.1\r\nA: 1\r\nTransfer-Encoding: chunked\r\n\r\n\
                      5\r\nhello\r\n1\r\n!\r\n0\r\nT: v\r\n\r\n\
                      PUT /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n";
        let mut incoming = Incoming::new(Dripping(bytes));
        let mut read = Vec::new();
        while let Some(head) = incoming.head().unwrap() {
            let mut body = incoming.body(head.framing_of_request().unwrap());
            let mut text = String::new();
            body.read_to_string(&mut text).unwrap();
            read.push((head.word(1).to_owned(), text, body.trailers));
        }
        let trailers = vec![("t".to_owned(), "v".to_owned())];
        let expected = [
            ("/", "hello!", trailers),
            ("/x", "abc", vec![]),
            ("/", "", vec![]),
        ];
        let expected =
            expected.map(|(target, body, trailers)| (target.into(), body.into(), trailers));
        assert_eq!(read, expected);
    }

    #[test]
    fn what_a_careful_peer_would_not_send_is_an_error() {
        let check = |message: &str, expected: ErrorKind| {
            let mut incoming = Incoming::new(message.as_bytes());
            let verdict = incoming.head().and_then(|head| {
                let framing = head.unwrap().framing_of_request()?;
                io::copy(&mut incoming.body(framing), &mut io::sink())
            });
            assert_eq!(verdict.unwrap_err().kind(), expected, "{message:?}");
        };
        let invalid = ErrorKind::InvalidData;
        check("POST / HTTP/1.1\r\nA : b\r\n\r\n", invalid);
        check("POST / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", invalid);
        check(
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            invalid,
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
            invalid,
        );
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}5;a=b\r\nhello\r\n0\r\n\r\n"), invalid);
        check(&format!("{chunked}5\r\nhelloo\r\n0\r\n\r\n"), invalid);
        check(
            &format!("{chunked}5\r\nhello\r\n"),
            ErrorKind::UnexpectedEof,
        );
        check(
            "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na",
            ErrorKind::UnexpectedEof,
        );
    }
}
