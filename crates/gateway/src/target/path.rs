//! The canonical form of a path. One scan finds out that a path has it already; only one that has not is rebuilt.

use std::borrow::Cow;

use crate::flaw::Flaw;

/// What a byte is to the path that it stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    /// Stands for itself wherever it is.
    Plain,
    /// Ends a segment.
    Slash,
    /// Stands for itself but at the begin of a segment.
    Dot,
    /// Begins an encoded byte.
    Percent,
    /// Must be encoded, which not all clients do.
    Bare,
    /// Ends the path.
    Question,
    /// May not stand there.
    Wrong,
}

const CLASSES: [Class; 256] = classes();

/// RFC 3986 §3.3: `pchar` is plain.
const fn classes() -> [Class; 256] {
    let mut classes = [Class::Wrong; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => Class::Plain,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':'
            | b'@' => Class::Plain,
            b'/' => Class::Slash,
            b'.' => Class::Dot,
            b'%' => Class::Percent,
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => Class::Bare,
            b'?' => Class::Question,
            _ => Class::Wrong,
        };
        byte += 1;
    }
    classes
}

/// The canonical form of a path that begins with a slash and has no query.
///
/// # Errors
/// What is wrong with it.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, Flaw> {
    if !path.starts_with('/') {
        return Err(Flaw::TargetForm);
    }
    match take(path.as_bytes())? {
        (path, []) => Ok(path),
        _ => Err(Flaw::PathByte),
    }
}

/// The canonical path at the begin of `raw`, which is a slash, and what stands behind it: nothing, or what begins
/// with a question mark.
pub(super) fn take(raw: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Flaw> {
    if let Some(end) = canonical_until(raw)
        && let Ok(path) = std::str::from_utf8(&raw[..end])
    {
        return Ok((Cow::Borrowed(path), &raw[end..]));
    }
    let end = memchr::memchr(b'?', raw).unwrap_or(raw.len());
    Ok((Cow::Owned(rebuilt(&raw[..end])?), &raw[end..]))
}

/// Where the path ends; `None` when it is not in canonical form.
fn canonical_until(raw: &[u8]) -> Option<usize> {
    let mut is_begin = false;
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        let was_begin = std::mem::replace(&mut is_begin, false);
        match CLASSES[usize::from(*byte)] {
            Class::Plain => {}
            Class::Slash if was_begin => return None,
            Class::Slash => is_begin = true,
            Class::Dot if was_begin && may_be_dots(&raw[at + 1..]) => return None,
            Class::Dot => {}
            Class::Percent => {
                let digits = raw.get(at + 1..at + 3)?;
                let is_lower = digits.iter().any(u8::is_ascii_lowercase);
                match decoded(digits) {
                    Some(byte) if !is_lower && stays_encoded(byte) => at += 2,
                    _ => return None,
                }
            }
            Class::Question => return Some(at),
            Class::Bare | Class::Wrong => return None,
        }
        at += 1;
    }
    Some(at)
}

/// Whether a segment that begins with a dot may be a dot segment, by what follows the dot.
fn may_be_dots(rest: &[u8]) -> bool {
    matches!(rest, [] | [b'/' | b'.' | b'?' | b';' | b'%', ..])
}

fn rebuilt(raw: &[u8]) -> Result<String, Flaw> {
    let mut out = Vec::with_capacity(raw.len() + 16);
    let mut rest = raw;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match CLASSES[usize::from(*byte)] {
            Class::Slash => {
                end_segment(&mut out, false)?;
                continue;
            }
            Class::Plain | Class::Dot => out.push(*byte),
            Class::Bare => encode(*byte, &mut out),
            Class::Percent => {
                let (digits, behind) = rest.split_at_checked(2).ok_or(Flaw::PathPercent)?;
                rest = behind;
                let byte = decoded(digits).ok_or(Flaw::PathPercent)?;
                match CLASSES[usize::from(byte)] {
                    _ if matches!(byte, b'/' | b'\\' | 0) => return Err(Flaw::PathEncoded),
                    _ if stays_encoded(byte) => encode(byte, &mut out),
                    _ => out.push(byte),
                }
            }
            Class::Question | Class::Wrong => return Err(Flaw::PathByte),
        }
    }
    end_segment(&mut out, true)?;
    String::from_utf8(out).map_err(|_| Flaw::PathByte)
}

/// A segment ends, which is what follows the last slash in `out`: one that is a dot segment goes, and a slash follows
/// unless there is one or the path ends.
fn end_segment(out: &mut Vec<u8>, is_last: bool) -> Result<(), Flaw> {
    let begin = memchr::memrchr(b'/', out).map_or(0, |slash| slash + 1);
    let segment = &out[begin..];
    match dots(segment)? {
        0 => {}
        1 => out.truncate(begin),
        _ => {
            let parent = &out[..begin.saturating_sub(1)];
            let slash = memchr::memrchr(b'/', parent).ok_or(Flaw::PathRoot)?;
            out.truncate(slash + 1);
        }
    }
    if !is_last && out.last() != Some(&b'/') {
        out.push(b'/');
    }
    Ok(())
}

/// The dots of a dot segment; 0 for any other segment.
fn dots(segment: &[u8]) -> Result<usize, Flaw> {
    let dots = segment.iter().take_while(|byte| **byte == b'.').count();
    match &segment[dots..] {
        [] if dots <= 2 => Ok(dots),
        [b';', ..] | [b'%', b'3', b'B', ..] if matches!(dots, 1 | 2) => Err(Flaw::PathParameters),
        _ => Ok(0),
    }
}

/// Whether the encoding of a byte is kept: all but those that never need one (RFC 3986 §2.3), and the refused.
fn stays_encoded(byte: u8) -> bool {
    let is_unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    !is_unreserved && !matches!(byte, b'/' | b'\\' | 0)
}

fn encode(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let (upper, lower) = (usize::from(byte >> 4), usize::from(byte & 15));
    out.extend_from_slice(&[b'%', DIGITS[upper], DIGITS[lower]]);
}

/// The byte that two hexadecimal digits stand for.
pub(crate) fn decoded(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match digits {
        [upper, lower] => Some((digit(*upper)? << 4 | digit(*lower)?) as u8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[track_caller]
    fn check(raw: &str, expected: Result<&str, Flaw>) {
        let found = canonical(raw);
        assert_eq!(found.as_deref(), expected.as_ref().copied(), "{raw}");
    }

    #[test]
    fn a_canonical_path_is_not_copied() {
        for raw in [
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/.well-known/acme",
            "/a/.b",
            "/a/..b",
            "/...",
            "/a/b..",
            "/%20",
            "/%C3%A4/%3B",
            "/a;b/c",
            "/a:b@c!$&'()*+,=~-_",
            "/%252e%252e/a",
            "/%0AX",
        ] {
            let is_borrowed = matches!(canonical(raw), Ok(Cow::Borrowed(_)));
            // A second dot may mean a dot segment; then it is rebuilt to the same.
            assert!(is_borrowed || raw.contains("/.."), "{raw}");
            check(raw, Ok(raw));
        }
    }

    #[test]
    fn every_path_has_one_form() {
        check("/pub/%2e%2e/admin", Ok("/admin"));
        check("/pub/%2E./admin", Ok("/admin"));
        check("/%2e/admin", Ok("/admin"));
        check("//admin", Ok("/admin"));
        check("/a///b//", Ok("/a/b/"));
        check("/admin/.", Ok("/admin/"));
        check("/admin/..", Ok("/"));
        check("/admin/../", Ok("/"));
        check("/.", Ok("/"));
        check("/a/b/../../c", Ok("/c"));
        check("/a//../b", Ok("/b"));
        check("/a/./b/./", Ok("/a/b/"));
        check("/ADMIN", Ok("/ADMIN"));
        check("/admin%20", Ok("/admin%20"));
        check("/%61dmin", Ok("/admin"));
        check("/%41%7e%2D%5f%2e", Ok("/A~-_."));
        check("/pub/%252e%252e/admin", Ok("/pub/%252e%252e/admin"));
        check("/%c3%a4%3b", Ok("/%C3%A4%3B"));
        check("/{a|b}[c]^`\"<>", Ok("/%7Ba%7Cb%7D%5Bc%5D%5E%60%22%3C%3E"));
        check("/account;x.css", Ok("/account;x.css"));
        check("/.;a", Err(Flaw::PathParameters));
        check("/...;a", Ok("/...;a"));
    }

    #[test]
    fn what_servers_read_in_two_ways_is_refused() {
        for raw in [
            "/pub/..%2fadmin",
            "/account%2Fx.css",
            "/a%5cb",
            "/admin%00.css",
            "/%00",
        ] {
            check(raw, Err(Flaw::PathEncoded));
        }
        for raw in [
            "/pub/..;/admin",
            "/..;a=b",
            "/a/.;/b",
            "/%2e%2e;/a",
            "/..%3b/a",
            "/..%3Bx",
        ] {
            check(raw, Err(Flaw::PathParameters));
        }
        for raw in [
            "/..",
            "/../",
            "/../a",
            "/a/../../b",
            "/%2e%2e/a",
            "//..",
            "/./..",
        ] {
            check(raw, Err(Flaw::PathRoot));
        }
        for raw in ["/%", "/%a", "/%zz", "/a%2", "/%+1", "/% 1", "/%%41"] {
            check(raw, Err(Flaw::PathPercent));
        }
        for raw in [
            "/a\\b", "/a b", "/a\0", "/a\r\nb", "/a\tb", "/\x7f", "/ä", "/a#b", "/a?b",
        ] {
            check(raw, Err(Flaw::PathByte));
        }
        check("", Err(Flaw::TargetForm));
        check("a", Err(Flaw::TargetForm));
    }

    #[test]
    fn any_canonical_path_is_its_own_form_and_has_nothing_left_to_normalize() {
        const PIECES: [&str; 24] = [
            "/", "/", "//", ".", ".", "..", "/..", "/.", "%2e", "%2E", "%2f", "%25", "%3b", ";",
            "a", "B", "%61", "%c3", "%7C", "|", "%", "-", "~", "%20",
        ];
        let mut kept = 0;
        for seed in 0..20_000 {
            let mut random = Random::new(seed);
            let count = random.below(9);
            let pieces = (0..count).map(|_| PIECES[random.below(PIECES.len() as u64) as usize]);
            let raw: String = std::iter::once("/").chain(pieces).collect();
            let Ok(path) = canonical(&raw) else { continue };
            kept += 1;
            assert_eq!(
                canonical(&path).as_deref(),
                Ok(&*path),
                "seed {seed}: {raw}"
            );
            assert!(
                path.starts_with('/') && !path.contains("//"),
                "{raw}: {path}"
            );
            assert!(
                !path.split('/').any(|each| each == "." || each == ".."),
                "{raw}: {path}"
            );
            let lower = path.to_ascii_lowercase();
            let refused = ["%2f", "%5c", "%00", "%2e", "%61"];
            assert!(
                !refused.iter().any(|each| lower.contains(each)),
                "{raw}: {path}"
            );
        }
        assert!(kept > 5_000, "{kept}");
    }
}
