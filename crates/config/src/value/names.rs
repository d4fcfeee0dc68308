//! From the text of a scalar to the names of TLS: hosts (SNI, RFC 6066 §3) and protocols (ALPN, RFC 7301). Each
//! either gives a value that cannot be wrong or says what is wrong and how to write it.

use std::net::IpAddr;

use super::{Wrong, cut, shown};
use crate::key::Key;
use crate::plan::NamePattern;

/// The longest name of a host, and the longest of its labels (RFC 1035 §2.3.4), without the dot at the end.
const HOST_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// The longest name of a protocol (RFC 7301 §3.1).
pub(crate) const PROTOCOL_MAX: usize = 255;

/// `a.example.com`, or `*.example.com` for all names under one.
pub(crate) fn pattern(text: &str, key: &Key) -> Result<NamePattern, Wrong> {
    if matches!(text, "*" | "*." | "any" | "all" | "_") {
        return Err(Wrong::new(
            format!("{} is not a name", shown(text)),
            format!(
                "for every name leave `{}` out, or set the listener's `pool` for what no route matches",
                key.name
            ),
        ));
    }
    if let Some(name) = text
        .strip_prefix('.')
        .filter(|name| host(name, name, key).is_ok())
    {
        let what = format!("{} begins with a dot", shown(text));
        let advice = format!("write \"*.{name}\" for all names under {name}");
        return Err(Wrong::new(what, advice));
    }
    match text.strip_prefix("*.") {
        Some(name) if name.parse::<IpAddr>().is_err() => {
            host(name, text, key).map(NamePattern::Under)
        }
        _ => host(text, text, key).map(NamePattern::Exact),
    }
}

/// The name of a host that is asked for and verified; not an address.
pub(crate) fn server_name(text: &str, key: &Key) -> Result<String, Wrong> {
    if bare_address(text) {
        return Err(Wrong::new(
            format!("{} is an address and not a name", shown(text)),
            format!(
                "leave `{}` out: the address of each server is verified then",
                key.name
            ),
        ));
    }
    host(text, text, key)
}

/// The name of a host in lower case, without a dot at its end. Its letters and digits are those that a certificate can
/// have; what is not ASCII is written in its ASCII form there, too (RFC 5280 §7.2). A mistake shows it as `written`.
fn host(text: &str, written: &str, key: &Key) -> Result<String, Wrong> {
    let name = text.strip_suffix('.').unwrap_or(text).to_lowercase();
    let wrong =
        |what: &str, advice: String| Err(Wrong::new(format!("{} {what}", shown(written)), advice));
    let expected = || key.shape.expected();
    if bare_address(text) {
        let advice = "names are asked for by TLS, addresses are not; for where a client comes from set `client`";
        return wrong("is an address and not a name", advice.to_owned());
    }
    if text.contains('*') {
        let advice = "a star stands only at the beginning, before a dot: \"*.example.com\" is every name under it";
        return wrong("has a star where it means nothing", advice.to_owned());
    }
    if text.contains("://") || text.contains('/') {
        return wrong("is not the name of a host", expected());
    }
    if let Some((name, port)) = text.split_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        let advice = format!("write the name alone: {}", cut(name));
        return wrong("has a port", advice);
    }
    if !text.is_ascii() {
        let advice = "write its ASCII form, in which such labels begin with xn--";
        return wrong("is not in ASCII", advice.to_owned());
    }
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(valid) {
        return wrong("is not the name of a host", expected());
    }
    if name.split('.').any(str::is_empty) {
        return wrong(
            "has nothing between two dots, or before the first",
            expected(),
        );
    }
    if name.split('.').any(|label| label.len() > LABEL_MAX) {
        let advice = format!("expected at most {LABEL_MAX} characters from dot to dot");
        return wrong("has a label that is too long", advice);
    }
    if name.len() > HOST_MAX {
        let advice = format!("expected at most {HOST_MAX} characters");
        return wrong("is too long for the name of a host", advice);
    }
    if name
        .split('.')
        .any(|label| label.starts_with('-') || label.ends_with('-'))
    {
        return wrong("has a label that begins or ends with a hyphen", expected());
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return wrong("ends with a number, as only addresses do", expected());
    }
    Ok(name)
}

/// Whether this is an IP address, in brackets or with a port, too.
fn bare_address(text: &str) -> bool {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok()
}

/// The name of a protocol as ALPN has it, of visible ASCII characters.
pub(crate) fn protocol(text: &str, key: &Key) -> Result<String, Wrong> {
    if matches!(text, "*" | "none" | "any" | "off") {
        let what = format!("{} is not a protocol", shown(text));
        return Err(Wrong::new(what, format!("leave `{}` out", key.name)));
    }
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || !visible {
        let what = format!("{} is not the name of a protocol", shown(text));
        return Err(Wrong::new(what, key.shape.expected()));
    }
    if text.len() > PROTOCOL_MAX {
        return Err(Wrong::new(
            format!("the name of a protocol has {} characters", text.len()),
            format!("expected at most {PROTOCOL_MAX}"),
        ));
    }
    let known = match text.to_lowercase().as_str() {
        "http2" | "http/2" | "http/2.0" | "h2" => "h2",
        "http1" | "http1.1" | "http/1.1" => "http/1.1",
        _ => text,
    };
    if known != text {
        let what = format!("{} is not the name of a protocol", shown(text));
        return Err(Wrong::new(what, format!("did you mean `{known}`?")));
    }
    Ok(text.to_owned())
}
