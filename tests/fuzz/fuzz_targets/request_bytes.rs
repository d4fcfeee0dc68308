//! Any bytes as a request of HTTP/1: its head ends where it ends however the bytes come, what is taken for one is read
//! the same when it is written again, and its chunks give the same bytes in any pieces.
//!
//! In the folder `tests`, with `cargo install cargo-fuzz`:
//!
//! ```text
//! mkdir -p fuzz/corpus/request_bytes
//! cargo +nightly fuzz run request_bytes fuzz/corpus/request_bytes fuzz/seeds/request_bytes -- -max_len=5000
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate_gateway::chunks::{Chunks, Step};
use ringgate_gateway::fields::Known;
use ringgate_gateway::head::{
    Framing, HeadLimits, METHOD_BYTES_MAX, Of, RequestHead, Search, TARGET_BYTES_MAX, Version,
    is_no_request, is_token_byte, is_value_byte, read_request,
};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 32 * 1024,
    fields: 100,
};

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = end_of_head(bytes) else {
        return;
    };
    let mut head = RequestHead::default();
    if read_request(&bytes[..end], LIMITS, &mut head).is_err() {
        return;
    }
    check(&head);
    let prefixes = (1..end).step_by(end / 32 + 1);
    for length in prefixes {
        assert!(!is_no_request(&bytes[..length]), "{length}");
    }
    let written = written(&head);
    assert_eq!(end_of_head(&written), Some(written.len()));
    let mut again = RequestHead::default();
    read_request(&written, LIMITS, &mut again)
        .ok()
        .expect("what was read can be written");
    assert_eq!(
        (&again.method, &again.target, again.version, again.framing),
        (&head.method, &head.target, head.version, head.framing)
    );
    assert!(again.fields.iter().eq(head.fields.iter()));
    if head.framing == Framing::Chunked {
        check_chunks(&bytes[end..]);
    }
});

/// Where the head ends, the same whether its bytes come at once or by and by.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let whole = Search::default().find(bytes).ok().flatten();
    let mut search = Search::default();
    let mut ends = (0..=bytes.len())
        .step_by(bytes.len() / 64 + 1)
        .chain([bytes.len()]);
    let found = ends.find_map(|length| search.find(&bytes[..length]).transpose());
    let found = found.and_then(Result::ok);
    assert_eq!(found, whole);
    if let Some(end) = whole {
        assert!(bytes[..end].ends_with(b"\r\n\r\n"));
    }
    whole
}

fn check(head: &RequestHead) {
    let RequestHead {
        method,
        target,
        fields,
        ..
    } = head;
    assert!(!method.is_empty() && method.len() <= METHOD_BYTES_MAX);
    assert!(method.bytes().all(|byte| is_token_byte(&byte)));
    assert!(!target.is_empty() && target.len() <= TARGET_BYTES_MAX);
    assert!(target.bytes().all(|byte| byte > b' ' && byte != 0x7f));
    assert!(fields.len() <= LIMITS.fields);
    for field in fields.iter() {
        assert!(!field.name.is_empty() && field.name.iter().all(is_token_byte));
        assert!(field.value.iter().copied().all(is_value_byte));
    }
    let (lengths, codings) = (
        fields.all(Known::ContentLength).count(),
        fields.all(Known::TransferEncoding).count(),
    );
    match head.framing {
        Framing::None => assert!(lengths <= 1 && codings == 0),
        Framing::Length(length) => assert!(length > 0 && (lengths, codings) == (1, 0)),
        Framing::Chunked => {
            assert!((lengths, codings) == (0, 1) && head.version == Version::V1_1);
        }
        Framing::UntilClose => panic!("no request ends with its connection"),
    }
}

fn written(head: &RequestHead) -> Vec<u8> {
    let version = match head.version {
        Version::V1_0 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let mut out = format!("{} {} {version}\r\n", head.method, head.target).into_bytes();
    head.fields.write(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// What is read as the body, in pieces of that size: its bytes and where it ends.
fn read_chunks(of: Of, bytes: &[u8], piece: usize) -> Option<(Vec<u8>, usize)> {
    let mut chunks = Chunks::new(of);
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let next = &bytes[at..bytes.len().min(at + piece)];
        match chunks.step(next).ok()? {
            Step::Data { skip, data } => {
                body.extend_from_slice(&next[skip..skip + data]);
                chunks.took(data);
                at += skip + data;
                if data == 0 && at == bytes.len() {
                    return None;
                }
            }
            Step::End { skip } => return Some((body, at + skip)),
            Step::More if next.is_empty() => return None,
            Step::More => at += next.len(),
        }
    }
}

fn check_chunks(bytes: &[u8]) {
    for of in [Of::Client, Of::Server] {
        let whole = read_chunks(of, bytes, bytes.len().max(1));
        assert_eq!(read_chunks(of, bytes, 1), whole);
        assert_eq!(read_chunks(of, bytes, 7), whole);
        if let Some((body, end)) = whole {
            assert!(body.len() < end && bytes[..end].ends_with(b"\r\n"));
            assert_eq!(read_chunks(of, &bytes[..end], 1), Some((body, end)));
            assert_eq!(read_chunks(of, &bytes[..end - 1], 1), None);
        }
    }
    // Of a client less is taken, and that is read the same.
    if let Some(of_client) = read_chunks(Of::Client, bytes, 1) {
        assert_eq!(read_chunks(Of::Server, bytes, 1), Some(of_client));
    }
}
