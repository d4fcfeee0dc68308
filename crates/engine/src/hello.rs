//! What a TLS ClientHello asks for, read from the first bytes of a connection without ending its TLS. It takes no byte
//! away, answers nothing, and judges a hello by its form alone, never by what this build could negotiate.
//!
//! That is why rustls's own `Acceptor` is not used: it refuses hellos of clients that it cannot serve, and a server
//! behind a passthrough route may. `tls-parser` takes extensions that do not add up, and comes with twenty crates.

use rustls::pki_types::DnsName;

/// How many bytes of a connection are looked at for a hello, its record headers among them: a hello that fills a
/// record of the largest kind fits, and more than any client sends.
pub const BYTES_MAX: usize = 20 * 1024;

/// What a ClientHello asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The DNS name of the server, in lower case and without a dot at the end; `None` when the client names none, or
    /// something that is no DNS name (RFC 6066 §3), or two.
    ///
    /// With Encrypted ClientHello it is the name that can be seen: a browser's pretended ECH shows the true name and
    /// looks like the real one, which shows a public name; no route knows that one unless the operator says so.
    pub server_name: Option<String>,
    /// The protocols that the client offers by ALPN (RFC 7301), in its order; none when empty.
    pub alpn: Vec<Box<[u8]>>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// The begin of a hello; more bytes are needed.
    Incomplete,
    /// They begin with a hello.
    Hello(Hello),
    /// They do not begin as a ClientHello does.
    NotTls,
    /// They begin as a ClientHello does, but are none, or one that is longer than [`BYTES_MAX`].
    Malformed,
}

/// Looks for a hello in the bytes that have come so far, all from the first on. An answer other than
/// [`Peeked::Incomplete`] stays the same whatever comes after them, and [`BYTES_MAX`] bytes always have one.
pub fn peek(bytes: &[u8]) -> Peeked {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    match body(bytes) {
        Ok(body) => Hello::parse(&body).map_or(Peeked::Malformed, Peeked::Hello),
        Err(Peeked::Incomplete) if bytes.len() == BYTES_MAX => Peeked::Malformed,
        Err(otherwise) => otherwise,
    }
}

/// Of a record: its content type (1 byte), a version (2) and the length of what follows (2) (RFC 8446 §5.1).
const RECORD_HEADER_BYTES: usize = 5;
/// The most that a record may hold (RFC 8446 §5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;
/// Of a handshake message: its type (1 byte) and the length of its body (3) (RFC 8446 §4).
const MESSAGE_HEADER_BYTES: usize = 4;
/// The longest message that can fit, as it takes two records at least.
const MESSAGE_BYTES_MAX: usize = BYTES_MAX - 2 * RECORD_HEADER_BYTES;
/// The content type of handshake messages (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// The type of the message (RFC 8446 §4).
const CLIENT_HELLO: u8 = 1;
/// The upper half of the version in every record since SSL 3.0; the lower one means nothing (RFC 8446 §5.1).
const MAJOR_VERSION: u8 = 3;

/// The hello's body, put together from its records; otherwise what the bytes are instead.
fn body(bytes: &[u8]) -> Result<Vec<u8>, Peeked> {
    let mut message = Vec::with_capacity(bytes.len());
    let mut promised_bytes = 0;
    let mut rest = bytes;
    while let Some(content_type) = rest.first() {
        let major_version = rest.get(1).copied().unwrap_or(MAJOR_VERSION);
        if (*content_type, major_version) != (HANDSHAKE, MAJOR_VERSION) {
            let is_first = rest.len() == bytes.len();
            return Err(if is_first {
                Peeked::NotTls
            } else {
                Peeked::Malformed
            });
        }
        let Some((header, after)) = rest.split_first_chunk::<RECORD_HEADER_BYTES>() else {
            return Err(Peeked::Incomplete);
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // An empty record of handshake messages is an offence of its own (RFC 8446 §5.1).
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err(Peeked::Malformed);
        }
        promised_bytes += length;
        let (fragment, next) = after.split_at(length.min(after.len()));
        message.extend_from_slice(fragment);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Peeked::NotTls);
        }
        if let Some(&[_, high, middle, low]) = message.first_chunk::<MESSAGE_HEADER_BYTES>() {
            let body_bytes = u32::from_be_bytes([0, high, middle, low]) as usize;
            let message_bytes = MESSAGE_HEADER_BYTES + body_bytes;
            // It ends where a record ends, as keys may change after it (RFC 8446 §5.1).
            if message_bytes > MESSAGE_BYTES_MAX || promised_bytes > message_bytes {
                return Err(Peeked::Malformed);
            }
            if message.len() == message_bytes {
                return Ok(message.split_off(MESSAGE_HEADER_BYTES));
            }
        }
        rest = next;
    }
    Err(Peeked::Incomplete)
}

/// The extension that names the server (RFC 6066 §3).
const SERVER_NAME: u16 = 0;
/// The only type of name that there is (RFC 6066 §3).
const HOST_NAME: u8 = 0;
/// The extension with the protocols that the client offers (RFC 7301 §3.1).
const ALPN: u16 = 16;
/// How many protocols may be offered. Clients offer two or three; each costs an allocation here.
const PROTOCOLS_MAX: usize = 64;
/// RFC 8446 §4.1.2.
const VERSION_BYTES: usize = 2;
const RANDOM_BYTES: usize = 32;
const SESSION_ID_BYTES_MAX: usize = 32;

impl Hello {
    /// Of the body of a ClientHello (RFC 8446 §4.1.2); `None` when it is malformed.
    fn parse(mut body: &[u8]) -> Option<Self> {
        body.split_off(..VERSION_BYTES + RANDOM_BYTES)?;
        let session_id = short_vector(&mut body)?;
        let cipher_suites = vector(&mut body)?;
        let compression_methods = short_vector(&mut body)?;
        if session_id.len() > SESSION_ID_BYTES_MAX
            || cipher_suites.is_empty()
            || !cipher_suites.len().is_multiple_of(2)
            || compression_methods.is_empty()
        {
            return None;
        }
        // There may be no extensions at all, not even their length (RFC 5246 §7.4.1.2).
        let mut extensions = match body {
            [] => &[],
            _ => vector(&mut body)?,
        };
        if !body.is_empty() {
            return None;
        }
        let mut hello = Self::default();
        let mut seen = Vec::new();
        while !extensions.is_empty() {
            let kind = number(&mut extensions)?;
            let content = vector(&mut extensions)?;
            match kind {
                SERVER_NAME => hello.server_name = server_name(content)?,
                ALPN => hello.alpn = protocols(content)?,
                _ => {}
            }
            seen.push(kind);
        }
        // No extension comes twice (RFC 8446 §4.2).
        seen.sort_unstable();
        let are_different = seen.windows(2).all(|pair| pair[0] != pair[1]);
        are_different.then_some(hello)
    }
}

/// Of the content of the extension; the outer `None` when it is malformed.
fn server_name(mut content: &[u8]) -> Option<Option<String>> {
    let mut list = vector(&mut content)?;
    if list.is_empty() || !content.is_empty() {
        return None;
    }
    let mut names = Vec::new();
    while !list.is_empty() {
        let kind = *list.split_off_first()?;
        // Whatever types of name will come, they begin with a length (RFC 6066 §3).
        let name = vector(&mut list)?;
        if kind == HOST_NAME {
            names.push(name);
        }
    }
    Some(match names[..] {
        [name] => dns_name(name),
        _ => None,
    })
}

fn dns_name(name: &[u8]) -> Option<String> {
    let name = DnsName::try_from(str::from_utf8(name).ok()?).ok()?;
    let name = name.as_ref();
    Some(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
}

/// Of the content of the extension; `None` when it is malformed.
fn protocols(mut content: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut list = vector(&mut content)?;
    if list.is_empty() || !content.is_empty() {
        return None;
    }
    let mut protocols = Vec::new();
    while !list.is_empty() {
        let protocol = short_vector(&mut list)?;
        if protocol.is_empty() || protocols.len() == PROTOCOLS_MAX {
            return None;
        }
        protocols.push(protocol.into());
    }
    Some(protocols)
}

/// Takes a vector whose length is written in two bytes (RFC 8446 §3.4).
fn vector<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(bytes)?;
    bytes.split_off(..length.into())
}

/// Takes a vector whose length is written in one byte (RFC 8446 §3.4).
fn short_vector<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = *bytes.split_off_first()?;
    bytes.split_off(..length.into())
}

/// Takes a number of two bytes.
fn number(bytes: &mut &[u8]) -> Option<u16> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u16::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;
    use crate::testing::Random;

    /// What rustls says first to a server of that name, in one record.
    fn real(name: &'static str, protocols: &[&str]) -> Vec<u8> {
        let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|text| (*text).into()).collect();
        let name = ServerName::try_from(name).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    fn asks(server_name: Option<&str>, alpn: &[&str]) -> Peeked {
        Peeked::Hello(Hello {
            server_name: server_name.map(Into::into),
            alpn: alpn.iter().map(|text| text.as_bytes().into()).collect(),
        })
    }

    /// The message in records of that size.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |fragment: &[u8]| {
            let length = (fragment.len() as u16).to_be_bytes();
            [&[HANDSHAKE, 3, 1][..], &length, fragment].concat()
        };
        message.chunks(size).flat_map(record).collect()
    }

    /// A hello with these extensions, each of a type and a content, in one record.
    fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        with_rest(&listed(extensions))
    }

    /// A hello of which this stands where its extensions should, in one record.
    fn with_rest(rest: &[u8]) -> Vec<u8> {
        records(&message(rest), RECORD_BYTES_MAX)
    }

    fn message(rest: &[u8]) -> Vec<u8> {
        let begin = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
        let length = (begin.len() + rest.len()) as u32;
        [&(1 << 24 | length).to_be_bytes(), &begin[..], rest].concat()
    }

    fn listed(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let extension = |(kind, content): &(u16, Vec<u8>)| {
            [&kind.to_be_bytes()[..], &long(content.clone())].concat()
        };
        long(extensions.iter().flat_map(extension).collect())
    }

    fn long(content: Vec<u8>) -> Vec<u8> {
        [&(content.len() as u16).to_be_bytes(), &content[..]].concat()
    }

    /// The extension with these names, each of a type and a text.
    fn names(names: &[(u8, &[u8])]) -> (u16, Vec<u8>) {
        let name = |(kind, text): &(u8, &[u8])| [vec![*kind], long(text.to_vec())].concat();
        (SERVER_NAME, long(names.iter().flat_map(name).collect()))
    }

    fn alpn(list: &[u8]) -> (u16, Vec<u8>) {
        (ALPN, long(list.to_vec()))
    }

    #[test]
    fn a_real_hello_is_read_once_its_last_byte_has_come() {
        let check = |bytes: Vec<u8>, expected: Peeked| {
            for end in 0..bytes.len() {
                assert_eq!(peek(&bytes[..end]), Peeked::Incomplete, "{end} bytes");
            }
            assert_eq!(peek(&bytes), expected);
            assert_eq!(peek(&[bytes, b"whatever".to_vec()].concat()), expected);
        };
        let both = asks(Some("www.example.com"), &["h2", "http/1.1"]);
        check(real("WWW.example.com.", &["h2", "http/1.1"]), both);
        check(
            real("xn--bcher-kva.example", &[]),
            asks(Some("xn--bcher-kva.example"), &[]),
        );
        check(real("192.0.2.1", &["h2"]), asks(None, &["h2"]));
    }

    #[test]
    fn a_hello_may_be_cut_into_records_of_any_size() {
        let message = &real("www.example.com", &["h2"])[RECORD_HEADER_BYTES..];
        for size in 1..=message.len() {
            let bytes = records(message, size);
            assert_eq!(
                peek(&bytes),
                asks(Some("www.example.com"), &["h2"]),
                "{size}"
            );
            assert_eq!(
                peek(&bytes[..bytes.len() - 1]),
                Peeked::Incomplete,
                "{size}"
            );
        }
    }

    #[test]
    fn what_is_no_hello_is_known_by_its_first_bytes() {
        let check = |bytes: &[u8], expected: Peeked| {
            assert_eq!(peek(bytes), expected, "{bytes:02x?}");
        };
        check(b"", Peeked::Incomplete);
        check(b"G", Peeked::NotTls);
        check(b"GET / HTTP/1.1\r\n\r\n", Peeked::NotTls);
        check(b"PROXY TCP4", Peeked::NotTls);
        check(&[0x80, 0x2e, 1, 3, 1], Peeked::NotTls);
        check(&[21, 3, 1, 0, 2, 1, 0], Peeked::NotTls);
        check(&[22, 2], Peeked::NotTls);
        check(&[22, 3, 1, 0, 4, 2], Peeked::NotTls);
        check(&[22, 3, 1, 0], Peeked::Incomplete);
        check(&[22, 3, 1, 0xff, 0xff], Peeked::Malformed);
        check(&[22, 3, 1, 0x40, 0x01], Peeked::Malformed);
        check(&[22, 3, 1, 0x40, 0x00], Peeked::Incomplete);
        check(&[22, 3, 1, 0, 0], Peeked::Malformed);
        check(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff], Peeked::Malformed);
        // A second record that is empty, of alerts, of no version.
        check(&[22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 0], Peeked::Malformed);
        check(&[22, 3, 1, 0, 1, 1, 21], Peeked::Malformed);
        check(&[22, 3, 1, 0, 1, 1, 22, 4], Peeked::Malformed);
        // A record that goes on after the hello.
        check(&[22, 3, 1, 0, 5, 1, 0, 0, 0], Peeked::Malformed);
    }

    #[test]
    fn a_hello_is_read_up_to_a_length_and_no_further() {
        let padded = |bytes| {
            let name = names(&[(HOST_NAME, b"a.example")]);
            message(&listed(&[name, (21, vec![0; bytes])]))
        };
        let unpadded = padded(0).len();
        let found = asks(Some("a.example"), &[]);
        let full = padded(RECORD_BYTES_MAX - unpadded);
        assert_eq!(peek(&records(&full, RECORD_BYTES_MAX)), found);
        let longest = MESSAGE_BYTES_MAX - unpadded;
        let bytes = records(&padded(longest), RECORD_BYTES_MAX);
        assert_eq!(bytes.len(), BYTES_MAX);
        assert_eq!(peek(&bytes), found);
        assert_eq!(peek(&bytes[..BYTES_MAX - 1]), Peeked::Incomplete);
        let too_long = records(&padded(longest + 1), RECORD_BYTES_MAX);
        assert_eq!(peek(&too_long[..9]), Peeked::Malformed);
        let in_many = records(&full, 10);
        assert_eq!(peek(&in_many[..BYTES_MAX - 1]), Peeked::Incomplete);
        assert_eq!(peek(&in_many[..BYTES_MAX]), Peeked::Malformed);
    }

    #[test]
    fn only_one_dns_name_counts() {
        let check = |list: &[(u8, &[u8])], expected: Option<&str>| {
            assert_eq!(
                peek(&hello(&[names(list)])),
                asks(expected, &[]),
                "{list:?}"
            );
        };
        let label = "a".repeat(63);
        let longest = [label.as_str(); 4].join(".")[..253].to_owned();
        check(&[(HOST_NAME, b"WWW.Example.COM")], Some("www.example.com"));
        check(&[(HOST_NAME, b"a_b.example.")], Some("a_b.example"));
        check(&[(HOST_NAME, longest.as_bytes())], Some(&longest));
        check(&[(HOST_NAME, format!("{longest}a").as_bytes())], None);
        check(&[(HOST_NAME, "b\u{fc}cher.example".as_bytes())], None);
        for name in [
            "a\0b",
            "",
            ".",
            "192.0.2.1",
            "2001:db8::1",
            "[::1]",
            "a..b",
            "*.a",
            "a b",
        ] {
            check(&[(HOST_NAME, name.as_bytes())], None);
        }
        check(
            &[(HOST_NAME, b"a.example"), (HOST_NAME, b"b.example")],
            None,
        );
        check(&[(9, b"?"), (HOST_NAME, b"a.example")], Some("a.example"));
        check(&[(9, b"?")], None);
    }

    #[test]
    fn a_hello_whose_parts_do_not_add_up_is_malformed() {
        let check = |bytes: Vec<u8>, expected: Peeked| {
            assert_eq!(peek(&bytes), expected, "{bytes:02x?}");
        };
        check(with_rest(&[]), asks(None, &[]));
        check(with_rest(&[0, 0]), asks(None, &[]));
        check(with_rest(&[0]), Peeked::Malformed);
        check(with_rest(&[0, 0, 0]), Peeked::Malformed);
        check(with_rest(&[0, 1, 0]), Peeked::Malformed);
        check(with_rest(&[0, 4, 0, 9, 0, 1]), Peeked::Malformed);
        check(hello(&[(SERVER_NAME, vec![])]), Peeked::Malformed);
        check(hello(&[(SERVER_NAME, vec![0, 0])]), Peeked::Malformed);
        check(
            hello(&[(SERVER_NAME, vec![0, 4, 0, 0, 1])]),
            Peeked::Malformed,
        );
        check(
            hello(&[(SERVER_NAME, vec![0, 4, 0, 0, 2, b'a'])]),
            Peeked::Malformed,
        );
        check(
            hello(&[(SERVER_NAME, vec![0, 4, 0, 0, 1, b'a', 0])]),
            Peeked::Malformed,
        );
        check(
            hello(&[alpn(b"\x02h2\x08http/1.1")]),
            asks(None, &["h2", "http/1.1"]),
        );
        check(hello(&[alpn(b"")]), Peeked::Malformed);
        check(hello(&[alpn(b"\x00")]), Peeked::Malformed);
        check(hello(&[alpn(b"\x03h2")]), Peeked::Malformed);
        check(
            hello(&[alpn(&b"\x01a".repeat(PROTOCOLS_MAX + 1))]),
            Peeked::Malformed,
        );
        let name = names(&[(HOST_NAME, b"a.example")]);
        check(hello(&[name.clone(), (9, vec![]), name]), Peeked::Malformed);
        check(
            hello(&[(9, vec![]), (10, vec![]), (9, vec![1])]),
            Peeked::Malformed,
        );
        // Encrypted ClientHello of the outer kind: the name that can be seen counts.
        let visible = names(&[(HOST_NAME, b"public.example")]);
        check(
            hello(&[(0xfe0d, vec![0; 8]), visible]),
            asks(Some("public.example"), &[]),
        );
    }

    #[test]
    fn damaged_hellos_have_one_answer_however_they_come() {
        let message = real("www.example.com", &["h2"])[RECORD_HEADER_BYTES..].to_vec();
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let mut bytes = records(&message, 1 + random.below(600) as usize);
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            let whole = peek(&bytes);
            for end in 0..bytes.len() {
                let part = peek(&bytes[..end]);
                assert!(
                    part == Peeked::Incomplete || part == whole,
                    "seed {seed}, {end} bytes"
                );
            }
        }
    }
}
