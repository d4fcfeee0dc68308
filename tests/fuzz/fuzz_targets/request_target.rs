//! Any bytes as the target and the host of a request: neither parser panics, what they give is canonical and is read
//! as itself, and nothing is left in a path that a server may read as another one.
//!
//! In the folder `tests`, with `cargo install cargo-fuzz`:
//!
//! ```text
//! mkdir -p fuzz/corpus/request_target
//! cargo +nightly fuzz run request_target fuzz/corpus/request_target fuzz/seeds/request_target -- -max_len=9000
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringgate_gateway::host::Host;
use ringgate_gateway::target::{BYTES_MAX, Target, canonical};

fuzz_target!(|bytes: &[u8]| {
    for method in ["GET", "OPTIONS", "CONNECT"] {
        if let Ok(target) = Target::parse(bytes, method) {
            assert!(bytes.len() <= BYTES_MAX);
            check_target(&target, method);
            check_of_path(bytes, method);
        }
    }
    check_host(bytes);
});

fn check_target(target: &Target<'_>, method: &str) {
    if target.path == "*" {
        assert_eq!((method, target.query), ("OPTIONS", None));
    } else {
        check_path(&target.path);
    }
    if let Some(query) = target.query {
        let is_of_queries = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        assert!(query.bytes().all(is_of_queries));
    }
    if let Some((_, host)) = &target.absolute {
        check_canonical_host(host);
    }
    let mut written = Vec::new();
    target.write(&mut written);
    // Encoding makes some of the longest too long to be read again.
    if written.len() <= BYTES_MAX {
        let again = Target::parse(&written, method).expect("what is forwarded is a target");
        assert_eq!((&again.path, again.query), (&target.path, target.query));
    }
}

fn check_path(path: &str) {
    assert_eq!(canonical(path).as_deref(), Ok(path));
    assert!(path.starts_with('/') && !path.contains("//"));
    assert!(
        path.bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\\?#".contains(&byte))
    );
    for segment in path.split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        assert!(name != "." && name != "..", "{path}");
    }
    for encoded in path.split('%').skip(1) {
        let digits = encoded.get(..2).expect("two digits");
        let byte = u8::from_str_radix(digits, 16).expect("of sixteen");
        let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        assert!(!is_unreserved && !b"/\\\0".contains(&byte), "{path}");
        assert_eq!(digits, digits.to_ascii_uppercase());
    }
}

/// HTTP/2 reads what HTTP/1 does, without the absolute form.
fn check_of_path(bytes: &[u8], method: &str) {
    let target = Target::parse(bytes, method);
    match Target::of_path(bytes, method) {
        Ok(of_path) => assert_eq!(target, Ok(of_path)),
        Err(_) => assert!(target.is_ok_and(|target| target.absolute.is_some())),
    }
}

fn check_host(bytes: &[u8]) {
    if let Ok(host) = Host::parse(bytes) {
        check_canonical_host(&host);
    }
}

fn check_canonical_host(host: &Host<'_>) {
    let text = host.text();
    assert_eq!(Host::parse(text.as_bytes()).as_ref(), Ok(host));
    assert!(!host.name.is_empty() && host.name.len() <= 253 && !host.name.ends_with('.'));
    let is_of_hosts =
        |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' | b'[' | b']');
    assert!(host.name.bytes().all(is_of_hosts) && host.port != Some(0));
}
