//! The target of a request (RFC 9112 §3.2) with its path in canonical form: what is matched is what is forwarded. A
//! path that is canonical already is scanned once and not copied; what servers may read in two ways is refused.
//!
//! Percent-encoded bytes that need no encoding are decoded once (RFC 3986 §6.2.2.2), the others keep it in upper
//! case; bytes that should be encoded and that browsers send as they are (`|`, `[`, …) are encoded; dot segments are
//! removed and slashes merged. A reserved byte and its encoding (`:` and `%3A`) stay two things, as the RFC has it.

mod path;

use std::borrow::Cow;

use crate::flaw::Flaw;
use crate::host::{Host, Scheme};

pub use self::path::canonical;
pub(crate) use self::path::decoded;

/// Bytes of the longest target.
pub const BYTES_MAX: usize = 8192;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Canonical; `*` when a server is asked as a whole (`OPTIONS *`).
    pub path: Cow<'a, str>,
    /// As it came, without its question mark; visible ASCII without `#`.
    pub query: Option<&'a str>,
    /// Of the absolute form alone: with what `Host` has to agree.
    pub absolute: Option<(Scheme, Host<'a>)>,
}

impl<'a> Target<'a> {
    /// Of a request line of HTTP/1. `CONNECT` has no target that this takes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(raw: &'a [u8], method: &str) -> Result<Self, Flaw> {
        match raw.first() {
            _ if raw.len() > BYTES_MAX => Err(Flaw::TargetTooLong),
            Some(b'/') => Self::origin(raw),
            Some(b'*') if raw.len() == 1 => Self::asterisk(method),
            Some(b'a'..=b'z' | b'A'..=b'Z') if method != "CONNECT" => Self::absolute(raw, method),
            _ => Err(Flaw::TargetForm),
        }
    }

    /// Of HTTP/2's `:path`, which has no absolute form (RFC 9113 §8.3.1).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_path(raw: &'a [u8], method: &str) -> Result<Self, Flaw> {
        match raw.first() {
            Some(b'/' | b'*') => Self::parse(raw, method),
            _ if raw.len() > BYTES_MAX => Err(Flaw::TargetTooLong),
            _ => Err(Flaw::TargetForm),
        }
    }

    /// Appends path and query as they are forwarded.
    pub fn write(&self, out: &mut Vec<u8>) {
        write(&self.path, self.query, out);
    }

    fn origin(raw: &'a [u8]) -> Result<Self, Flaw> {
        let (path, rest) = path::take(raw)?;
        Ok(Self {
            path,
            query: query(rest)?,
            absolute: None,
        })
    }

    fn asterisk(method: &str) -> Result<Self, Flaw> {
        if method != "OPTIONS" {
            return Err(Flaw::TargetForm);
        }
        Ok(Self {
            path: Cow::Borrowed("*"),
            query: None,
            absolute: None,
        })
    }

    fn absolute(raw: &'a [u8], method: &str) -> Result<Self, Flaw> {
        let colon = memchr::memchr(b':', raw).ok_or(Flaw::TargetForm)?;
        let rest = raw[colon..].strip_prefix(b"://").ok_or(Flaw::TargetForm)?;
        let scheme = Scheme::parse(&raw[..colon])?;
        let is_end = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
        let end = rest.iter().position(is_end).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let host = Host::parse(authority)?;
        let mut target = match rest.first() {
            // RFC 9112 §3.2.4: without a path and a query, the server as a whole is meant.
            None if method == "OPTIONS" => Self::asterisk(method)?,
            Some(b'/') => Self::origin(rest)?,
            _ => Self {
                path: Cow::Borrowed("/"),
                query: query(rest)?,
                absolute: None,
            },
        };
        target.absolute = Some((scheme, host));
        Ok(target)
    }
}

/// Appends a path and a query as they are forwarded.
pub fn write(path: &str, query: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(path.as_bytes());
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
}

/// What stands behind a path: nothing, or a question mark and the query.
fn query(rest: &[u8]) -> Result<Option<&str>, Flaw> {
    let Some((mark, query)) = rest.split_first() else {
        return Ok(None);
    };
    let is_wrong = |byte: &u8| !byte.is_ascii_graphic() || *byte == b'#';
    if *mark != b'?' || query.iter().any(is_wrong) {
        return Err(Flaw::QueryByte);
    }
    std::str::from_utf8(query)
        .map(Some)
        .map_err(|_| Flaw::QueryByte)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (&'static str, Option<&'static str>);

    #[track_caller]
    fn check(method: &str, raw: &str, expected: Result<Parts, Flaw>) {
        let found = Target::parse(raw.as_bytes(), method);
        let found = found.map(|target| (target.path.into_owned(), target.query));
        let expected = expected.map(|(path, query)| (path.to_owned(), query));
        assert_eq!(found, expected, "{method} {raw}");
    }

    #[test]
    fn a_target_has_one_of_three_forms() {
        check("GET", "/", Ok(("/", None)));
        check("GET", "/a/b?c=d?e/../f", Ok(("/a/b", Some("c=d?e/../f"))));
        check("GET", "/a?", Ok(("/a", Some(""))));
        check(
            "GET",
            "/a?x=%2f%zz&\"<>\\",
            Ok(("/a", Some("x=%2f%zz&\"<>\\"))),
        );
        check("GET", "//a/b", Ok(("/a/b", None)));
        check("OPTIONS", "*", Ok(("*", None)));
        check("OPTIONS", "/a", Ok(("/a", None)));
        check("OPTIONS", "http://a", Ok(("*", None)));
        check("OPTIONS", "http://a/", Ok(("/", None)));
        check("GET", "http://a", Ok(("/", None)));
        check("GET", "HTTP://a:80?b", Ok(("/", Some("b"))));
        check("GET", "https://a/b/../c?d", Ok(("/c", Some("d"))));
        check("GET", "http://[::1]:80/a", Ok(("/a", None)));
    }

    #[test]
    fn every_other_form_is_refused() {
        let form = Err(Flaw::TargetForm);
        for raw in [
            "", "a", "a:80", "a.b:443", "?", "a/b", "../a", "**", "*/", "\\a", "mailto:a", "%2f",
        ] {
            check("GET", raw, form);
        }
        check("GET", "*", form);
        check("OPTIONS", "*?a", form);
        check("CONNECT", "a:80", form);
        check("CONNECT", "http://a", form);
        check("GET", "ftp://a/", Err(Flaw::Scheme));
        check("GET", "http://u@a/", Err(Flaw::Userinfo));
        check("GET", "http://u:p@a/", Err(Flaw::Userinfo));
        check("GET", "http:///", Err(Flaw::HostMissing));
        check("GET", "http://a,b/", Err(Flaw::HostForm));
        check("GET", "http://a\\b/", Err(Flaw::HostForm));
        check("GET", "http://a#b", Err(Flaw::QueryByte));
        check("GET", "/a#b", Err(Flaw::PathByte));
        for query in ["a#b", "a b", "a\tb", "a\0", "a\x7f", "ä"] {
            check("GET", &format!("/?{query}"), Err(Flaw::QueryByte));
        }
        let longest = format!("/{}", "a".repeat(BYTES_MAX - 1));
        assert!(Target::parse(longest.as_bytes(), "GET").is_ok());
        check("GET", &format!("{longest}a"), Err(Flaw::TargetTooLong));
    }

    #[test]
    fn the_absolute_form_names_scheme_and_host() {
        let target = Target::parse(b"HTTPS://A.:8443/", "GET").unwrap();
        let (scheme, host) = target.absolute.unwrap();
        assert_eq!((scheme, &*host.text()), (Scheme::Https, "a:8443"));
    }

    #[test]
    fn http2_has_no_absolute_form() {
        let path = |raw: &'static str, method| Target::of_path(raw.as_bytes(), method);
        assert!(path("/a?b", "GET").is_ok());
        assert!(path("*", "OPTIONS").is_ok());
        for raw in ["", "a", "http://a/", "*", "GET /a"] {
            assert_eq!(path(raw, "GET"), Err(Flaw::TargetForm), "{raw}");
        }
        assert_eq!(path("/ HTTP/1.1\r\nX: y", "GET"), Err(Flaw::PathByte));
    }

    #[test]
    fn it_is_written_as_it_is_matched() {
        for (raw, written) in [
            ("/a/./b/?c=/../d", "/a/b/?c=/../d"),
            ("/%7ea?", "/~a?"),
            ("http://h?x", "/?x"),
        ] {
            let mut out = Vec::new();
            Target::parse(raw.as_bytes(), "GET")
                .unwrap()
                .write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), written);
        }
    }
}
