//! The heads of HTTP/1 messages, read strictly (RFC 9112): where the standard leaves a choice, the stricter way is taken,
//! so that no other program can read a message differently. It never waits and never writes.

use std::mem::MaybeUninit;

use ringgate_engine::plugin::Reason;

use crate::fields::{Fields, Known};
use crate::refusal::Refusal;

/// Bytes of the longest method.
pub const METHOD_BYTES_MAX: usize = 32;

/// Bytes of the longest request target.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Fields that a head is given room for without an allocation: as many as a server may send.
const FIELDS_AT_HAND: usize = 200;

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A client's: it is read as strictly as can be.
    Client,
    /// A server's.
    Server,
}

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    V1_0,
    /// HTTP/1.1.
    V1_1,
    /// HTTP/2.
    V2,
}

/// Where the body of a message ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes; never 0.
    Length(u64),
    /// With the last chunk, or where the stream ends in HTTP/2.
    Chunked,
    /// With the connection. Responses only.
    UntilClose,
}

/// The bounds of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of line and fields together.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// The head of a request as it came.
#[derive(Debug)]
pub struct RequestHead {
    /// Its version.
    pub version: Version,
    /// A token (RFC 9110 §9.1).
    pub method: String,
    /// The request target as it was sent.
    pub target: String,
    /// Its fields; the host is among them, also of HTTP/2.
    pub fields: Fields,
    /// Where its body ends.
    pub framing: Framing,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            version: Version::V1_1,
            method: String::new(),
            target: String::new(),
            fields: Fields::default(),
            framing: Framing::None,
        }
    }
}

/// The head of a response as it came.
#[derive(Debug)]
pub struct ResponseHead {
    /// Its version.
    pub version: Version,
    /// 100 to 599.
    pub status: u16,
    /// Its fields.
    pub fields: Fields,
    /// Where its body ends.
    pub framing: Framing,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            version: Version::V1_1,
            status: 0,
            fields: Fields::default(),
            framing: Framing::None,
        }
    }
}

/// Where a head ends in bytes that arrive by and by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search {
    /// Bytes looked at.
    seen: usize,
    /// Where the line begins that is not complete.
    line: usize,
}

impl Search {
    /// The length of the head, with its empty line; `None` when more is needed. `bytes` begins with the same bytes at
    /// each call.
    ///
    /// # Errors
    /// When a line does not end by CR and LF.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let fresh = bytes.get(self.seen..).unwrap_or_default();
        for end in memchr::memchr_iter(b'\n', fresh) {
            let end = self.seen + end;
            if end == self.line || bytes[end - 1] != b'\r' {
                return Err(Refusal::bad("a line does not end with CR LF"));
            }
            if end - 1 == self.line && self.line > 0 {
                return Ok(Some(end + 1));
            }
            if end - 1 == self.line {
                return Err(Refusal::bad("the request begins with an empty line"));
            }
            self.line = end + 1;
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

/// Whether no request can begin so: then there is no use in waiting for the rest.
pub fn is_no_request(bytes: &[u8]) -> bool {
    let method = bytes.iter().position(|byte| *byte == b' ');
    let method = &bytes[..method.unwrap_or(bytes.len())];
    method.len() > METHOD_BYTES_MAX
        || (bytes.first() == Some(&b' '))
        || !method.iter().all(is_token_byte)
}

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
pub fn is_token_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Reads a complete head of a request.
///
/// # Errors
/// Why it is refused.
pub fn read_request(
    bytes: &[u8],
    limits: HeadLimits,
    head: &mut RequestHead,
) -> Result<(), Refusal> {
    head.fields.clear();
    head.method.clear();
    head.target.clear();
    let parsed = with_room(limits.fields, |room| {
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, room) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {
                if request
                    .method
                    .is_none_or(|method| method.len() > METHOD_BYTES_MAX)
                {
                    return Err(Refusal::bad("the method is too long"));
                }
                head.version = version(request.version);
                head.method.push_str(request.method.unwrap_or_default());
                head.target.push_str(request.path.unwrap_or_default());
                take_fields(request.headers, &mut head.fields)
            }
            Ok(_) => Err(Refusal::bad("the head of the request is malformed")),
            Err(error) => Err(refused(error, bytes)),
        }
    });
    parsed?;
    if head.target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::new(
            414,
            Reason::TooLarge,
            "the request target is too long",
        ));
    }
    head.framing = request_framing(head.version, &head.fields)?;
    Ok(())
}

/// Reads a complete head of a response to a request of that method.
///
/// # Errors
/// When it does not keep to HTTP.
pub fn read_response(
    bytes: &[u8],
    limits: HeadLimits,
    method: &str,
    head: &mut ResponseHead,
) -> Result<(), Reason> {
    head.fields.clear();
    with_room(limits.fields, |room| {
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            bytes,
            room,
        );
        match parsed {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {
                head.version = version(response.version);
                head.status = response.code.unwrap_or_default();
                take_fields(response.headers, &mut head.fields).map_err(|_| Reason::BadResponse)
            }
            _ => Err(Reason::BadResponse),
        }
    })?;
    head.framing = response_framing(head, method)?;
    Ok(())
}

/// Gives a parser room for so many fields.
fn with_room<'b, T>(
    fields: usize,
    parse: impl FnOnce(&mut [MaybeUninit<httparse::Header<'b>>]) -> T,
) -> T {
    if fields <= FIELDS_AT_HAND {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_AT_HAND];
        return parse(&mut room[..fields]);
    }
    let mut room: Vec<_> = (0..fields).map(|_| MaybeUninit::uninit()).collect();
    parse(&mut room)
}

fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::V1_0,
        _ => Version::V1_1,
    }
}

fn take_fields(parsed: &[httparse::Header<'_>], fields: &mut Fields) -> Result<(), Refusal> {
    for field in parsed {
        if field.name.len() > Fields::NAME_BYTES_MAX {
            return Err(Refusal::bad("the name of a field is too long"));
        }
        let value = field.value.trim_ascii();
        // Without a branch for each byte.
        let is_good = value
            .iter()
            .fold(true, |all, byte| all & is_value_byte(*byte));
        if !is_good {
            return Err(Refusal::bad("the value of a field is malformed"));
        }
        fields.push(field.name, value);
    }
    Ok(())
}

/// Whether a byte may stand in the value of a field (RFC 9110 §5.5).
pub fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn refused(error: httparse::Error, bytes: &[u8]) -> Refusal {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let has_three_words = line.split(|byte| *byte == b' ').count() == 3;
    match error {
        httparse::Error::TooManyHeaders => {
            Refusal::new(431, Reason::TooLarge, "the request has too many fields")
        }
        httparse::Error::Version if has_three_words => Refusal::new(
            505,
            Reason::BadRequest,
            "this version of HTTP is not spoken here",
        ),
        _ => Refusal::bad("the head of the request is malformed"),
    }
}

/// Where the body of a request ends (RFC 9112 §6.3). Whatever two programs could read differently is refused.
fn request_framing(version: Version, fields: &Fields) -> Result<Framing, Refusal> {
    let mut coded = fields.all(Known::TransferEncoding);
    let mut lengths = fields.all(Known::ContentLength);
    match (coded.next(), lengths.next()) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(Refusal::bad(
            "both Content-Length and Transfer-Encoding are given",
        )),
        (None, Some(length)) => {
            if lengths.next().is_some() {
                return Err(Refusal::bad("Content-Length is given twice"));
            }
            match content_length(length) {
                Some(0) => Ok(Framing::None),
                Some(length) => Ok(Framing::Length(length)),
                None => Err(Refusal::bad("Content-Length is malformed")),
            }
        }
        (Some(_), None) if version == Version::V1_0 => {
            Err(Refusal::bad("HTTP/1.0 knows no Transfer-Encoding"))
        }
        (Some(coding), None) => {
            if coded.next().is_some() {
                return Err(Refusal::bad("Transfer-Encoding is given twice"));
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                return Ok(Framing::Chunked);
            }
            let is_token = !coding.is_empty() && coding.iter().all(is_token_byte);
            match is_token {
                true => Err(Refusal::new(
                    501,
                    Reason::BadRequest,
                    "this transfer coding is not spoken here",
                )),
                false => Err(Refusal::bad("Transfer-Encoding is not just `chunked`")),
            }
        }
    }
}

/// Where the body of a response ends.
fn response_framing(head: &ResponseHead, method: &str) -> Result<Framing, Reason> {
    let fields = &head.fields;
    let mut coded = fields.all(Known::TransferEncoding);
    let mut lengths = fields.all(Known::ContentLength);
    let (coding, length) = (coded.next(), lengths.next());
    let is_ambiguous = coded.next().is_some()
        || lengths.next().is_some()
        || (coding.is_some() && length.is_some())
        || (coding.is_some() && head.version == Version::V1_0);
    if is_ambiguous || !(100..=599).contains(&head.status) {
        return Err(Reason::BadResponse);
    }
    let length = match length {
        Some(length) => Some(content_length(length).ok_or(Reason::BadResponse)?),
        None => None,
    };
    if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(Reason::BadResponse);
    }
    if has_no_body(head.status, method) {
        return Ok(Framing::None);
    }
    Ok(match (coding, length) {
        (Some(_), _) => Framing::Chunked,
        (None, Some(0)) => Framing::None,
        (None, Some(length)) => Framing::Length(length),
        (None, None) => Framing::UntilClose,
    })
}

/// Whether a response has no body whatever its fields say (RFC 9110 §6.4.1).
pub fn has_no_body(status: u16, method: &str) -> bool {
    status < 200 || status == 204 || status == 304 || method == "HEAD"
}

/// The value of `Content-Length`: digits alone, without leading zeros, at most 2⁶³−1.
pub fn content_length(value: &[u8]) -> Option<u64> {
    let is_plain = match value {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_plain {
        return None;
    }
    let mut length: u64 = 0;
    for digit in value {
        length = length
            .checked_mul(10)?
            .checked_add(u64::from(digit - b'0'))?;
    }
    (length <= i64::MAX as u64).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_whole_or_refused() {
        let limits = HeadLimits {
            bytes: 1024 * 1024,
            fields: 100,
        };
        for (name_bytes, is_kept) in [
            (Fields::NAME_BYTES_MAX, true),
            (Fields::NAME_BYTES_MAX + 1, false),
        ] {
            let name = "a".repeat(name_bytes);
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: b\r\n\r\n");
            let mut read = RequestHead::default();
            let verdict = read_request(head.as_bytes(), limits, &mut read);
            assert_eq!(verdict.is_ok(), is_kept, "{name_bytes}");
            let is_there = read
                .fields
                .iter()
                .any(|field| field.name == name.as_bytes());
            assert_eq!(is_there, is_kept, "{name_bytes}");
        }
    }
}
