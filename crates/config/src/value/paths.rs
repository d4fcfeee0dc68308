//! From the text of a scalar to a pattern of paths. A pattern is written in the one form that requests are brought into
//! before they are matched; another form would never match, and is answered with the right one.

use super::{Wrong, cut, shown};
use crate::key::Key;
use crate::plan::PathPattern;

/// The longest pattern, in bytes.
const PATTERN_MAX: usize = 2048;

/// `/a` or `/a/*`.
pub(crate) fn pattern(text: &str, key: &Key) -> Result<PathPattern, Wrong> {
    let wrong =
        |what: &str, advice: String| Err(Wrong::new(format!("{} {what}", shown(text)), advice));
    let Some(rest) = text.strip_prefix('/') else {
        let bare = text.trim_start_matches(['^', '~', '=', ' ']);
        let advice = match bare {
            _ if matches!(text, "*" | "**" | "any" | "all") => {
                format!("for every path leave `{}` out, or write /*", key.name)
            }
            _ if text.contains("://") => "write the path alone, without scheme and host".to_owned(),
            _ if !bare.is_empty() && bare.bytes().all(is_plain) => {
                format!("write /{}", cut(bare.trim_start_matches('/')))
            }
            _ => key.shape.expected(),
        };
        return wrong("does not begin with a slash", advice);
    };
    if text.len() > PATTERN_MAX {
        let what = format!("this path has {} bytes", text.len());
        let advice = format!("expected at most {PATTERN_MAX} bytes");
        return Err(Wrong::new(what, advice));
    }
    let under = match rest {
        "*" => Some(""),
        _ => text.strip_suffix("/*"),
    };
    let path = under.unwrap_or(text);
    if path.contains('*') {
        let bare = path.trim_end_matches(['*', '/']);
        let advice = match bare.contains('*') {
            false if text.ends_with('*') => {
                format!("write {}/* for it and all that is under it", cut(bare))
            }
            _ => {
                "a star stands only at the end, after a slash: /a/* is /a and all that is under it"
                    .to_owned()
            }
        };
        return wrong("has a star where it means nothing", advice);
    }
    if path.is_empty() {
        return Ok(PathPattern::Under(String::new()));
    }
    let written = match under {
        Some(path) => canonical(&format!("{path}/x")),
        None => canonical(path),
    };
    let written = match written {
        Ok(path) => path,
        Err(why) => return wrong(why, key.shape.expected()),
    };
    let pattern = match under {
        Some(_) => PathPattern::Under(written.strip_suffix("/x").unwrap_or(&written).to_owned()),
        None => PathPattern::Exact(written),
    };
    let right = pattern.to_string();
    if right != text {
        let advice = format!(
            "requests are matched in their canonical form: write {}",
            cut(&right)
        );
        return wrong("is not the canonical form of a path", advice);
    }
    Ok(pattern)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/')
}

/// The form in which a path is matched and forwarded (RFC 3986 §6.2.2): unreserved characters as themselves, other
/// percent-encodings in upper case, what must be encoded so, no dot segments, no empty ones but the last. The error is why there is none.
fn canonical(path: &str) -> Result<String, &'static str> {
    let decoded = decoded(path)?;
    let mut segments: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in decoded.split('/').skip(1) {
        is_folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." if segments.pop().is_none() => return Err("leads out of the root"),
            ".." => {}
            _ if is_dots_with_parameter(segment) => {
                return Err("has a dot segment with a parameter");
            }
            _ => segments.push(segment),
        }
    }
    let mut canonical = String::new();
    for segment in &segments {
        canonical.push('/');
        canonical.push_str(segment);
    }
    if is_folder || segments.is_empty() {
        canonical.push('/');
    }
    Ok(canonical)
}

/// Whether it is `.;x` or `..;x`, which some servers take for `.` and `..`.
fn is_dots_with_parameter(segment: &str) -> bool {
    let after = segment.trim_start_matches('.');
    let dots = segment.len() - after.len();
    matches!(dots, 1 | 2) && (after.starts_with(';') || after.starts_with("%3B"))
}

fn decoded(path: &str) -> Result<String, &'static str> {
    let mut decoded = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(
                        "has a percent sign that is not followed by two hexadecimal digits",
                    );
                };
                let value = char::from_u32(high << 4 | low).unwrap_or('\0');
                match value {
                    '/' | '\\' | '\0' => return Err("has an encoded slash, backslash or NUL"),
                    _ if value.is_ascii_alphanumeric() => decoded.push(value),
                    '-' | '.' | '_' | '~' => decoded.push(value),
                    _ => decoded.push_str(&format!("%{:02X}", high << 4 | low)),
                }
            }
            b'?' | b'#' => return Err("has a query or a fragment"),
            b'\\' => return Err("has a backslash"),
            b' ' => return Err("has a space, which is written as %20"),
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                decoded.push_str(&format!("%{byte:02X}"));
            }
            _ if byte.is_ascii_graphic() => decoded.push(char::from(byte)),
            _ => return Err("has a character that stands in no path; it is percent-encoded there"),
        }
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn a_path_has_one_form_or_none() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(canonical(path).ok().as_deref(), expected, "{path}");
        };
        check("/", Some("/"));
        check("/a/b", Some("/a/b"));
        check("/a/b/", Some("/a/b/"));
        check("//a///b//", Some("/a/b/"));
        check("/a/./b", Some("/a/b"));
        check("/a/.", Some("/a/"));
        check("/a/..", Some("/"));
        check("/a/b/../c", Some("/a/c"));
        check("/a/%2e%2E/c", Some("/c"));
        check("/%41%7e%2d%5F", Some("/A~-_"));
        check("/%c3%bc", Some("/%C3%BC"));
        check("/a%3bb;c=d", Some("/a%3Bb;c=d"));
        check("/%2541", Some("/%2541"));
        check(
            "/{a|b}[c]^`\"<>",
            Some("/%7Ba%7Cb%7D%5Bc%5D%5E%60%22%3C%3E"),
        );
        check("/..", None);
        check("/a/../..", None);
        check("/a%2fb", None);
        check("/a%5Cb", None);
        check("/a%00", None);
        check("/a\\b", None);
        check("/a/..;/b", None);
        check("/a/.;x/b", None);
        check("/a/..%3bx/b", None);
        check("/...;a", Some("/...;a"));
        check("/%", None);
        check("/%4", None);
        check("/%zz", None);
        check("/a?b", None);
        check("/a#b", None);
        check("/a b", None);
        check("/\u{fc}", None);
        check("/a\n", None);
    }
}
