//! Any bytes as the first of a connection that may be TLS: `peek` never panics, has one answer however they come, and
//! never reads in it what rustls does not.
//!
//! In the folder `tests`, with `cargo install cargo-fuzz`:
//!
//! ```text
//! mkdir -p fuzz/corpus/client_hello
//! cargo +nightly fuzz run client_hello fuzz/corpus/client_hello fuzz/seeds/client_hello -- -max_len=24000
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate_engine::hello::{BYTES_MAX, Hello, Peeked, peek};
use rustls::server::Acceptor;

fuzz_target!(|bytes: &[u8]| {
    let whole = peek(bytes);
    assert!(whole != Peeked::Incomplete || bytes.len() < BYTES_MAX);
    for end in prefixes(bytes) {
        let part = peek(&bytes[..end]);
        assert!(
            part == Peeked::Incomplete || part == whole,
            "{end}: {part:?}"
        );
    }
    if whole != Peeked::Incomplete {
        assert_eq!(peek(&[bytes, bytes].concat()), whole);
    }
    if let Peeked::Hello(hello) = &whole {
        check_name(hello);
        let size = usize::from(bytes[bytes.len() - 1]) + 32;
        let cut_otherwise = in_records(&message(bytes), size);
        if cut_otherwise.len() <= BYTES_MAX {
            assert_eq!(peek(&cut_otherwise), whole, "in records of {size}");
        }
    }
    if let Some(expected) = as_rustls_reads(&bytes[..bytes.len().min(BYTES_MAX)]) {
        // It takes names of a type that is not known without their length, which RFC 6066 §3 asks for.
        assert!(
            whole == Peeked::Hello(expected) || whole == Peeked::Malformed,
            "{whole:?}"
        );
    }
});

/// All of a short input, some dozen of a long one.
fn prefixes(bytes: &[u8]) -> impl Iterator<Item = usize> {
    (0..bytes.len()).step_by(bytes.len() / 48 + 1)
}

fn check_name(hello: &Hello) {
    if let Some(name) = &hello.server_name {
        assert!(!name.is_empty() && name.len() <= 253 && !name.ends_with('.'));
        let is_of_names = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        assert!(name.bytes().all(is_of_names));
    }
}

/// The hello that the records hold.
fn message(mut bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        message.extend_from_slice(&bytes[5..5 + length]);
        bytes = &bytes[5 + length..];
        if message.len() >= 4 && message.len() == 4 + be24(&message[1..4]) {
            return message;
        }
    }
}

fn be24(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |fragment: &[u8]| {
        let length = (fragment.len() as u16).to_be_bytes();
        [&[22, 3, 1][..], &length, fragment].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

fn as_rustls_reads(mut bytes: &[u8]) -> Option<Hello> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            return Some(Hello {
                server_name: hello
                    .server_name()
                    .map(|name| name.trim_end_matches('.').to_ascii_lowercase()),
                alpn: hello.alpn().into_iter().flatten().map(Into::into).collect(),
            });
        }
    }
    None
}
