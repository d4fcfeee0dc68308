//! From the text of a scalar to the words of HTTP: methods, fields, scopes, hosts and whom a limit counts. Each either
//! gives a value that cannot be wrong or says what is wrong and how to write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Wrong, cut, names, shown};
use crate::key::Key;
use crate::near::nearest;
use crate::plan::{LimitBy, NamePattern};

/// The longest method; known ones have at most 17 (`UPDATEREDIRECTREF`).
const METHOD_MAX: usize = 32;
/// The longest name of a field or a parameter.
const NAME_MAX: usize = 256;
/// The longest value of a field or a parameter.
const VALUE_MAX: usize = 4096;
/// The longest scope, and the longest realm.
const SCOPE_MAX: usize = 128;

/// The methods that are meant when others are written (RFC 9110 §9.3, RFC 5789).
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// Fields that belong to one connection or frame a message (RFC 9110 §7.6.1, RFC 9112 §6).
const OF_THE_CONNECTION: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A method, as it is sent.
pub(crate) fn method(text: &str, key: &Key) -> Result<String, Wrong> {
    let wrong =
        |what: &str, advice: String| Err(Wrong::new(format!("{} {what}", shown(text)), advice));
    if matches!(text, "*" | "any" | "all" | "ANY" | "ALL") {
        let advice = format!("for every method leave `{}` out", key.name);
        return wrong("is not a method", advice);
    }
    if !is_token(text) {
        return wrong("is not a method", key.shape.expected());
    }
    if text.len() > METHOD_MAX {
        let advice = format!("expected at most {METHOD_MAX} characters");
        return wrong("is too long for a method", advice);
    }
    let upper = text.to_ascii_uppercase();
    if matches!(upper.as_str(), "CONNECT" | "TRACE") {
        let advice = "such requests are refused before any route".to_owned();
        return wrong("is never routed", advice);
    }
    let near =
        match METHODS.contains(&upper.as_str()) || !text.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Some(upper.as_str()),
            false => None,
        };
    match near.filter(|near| *near != text) {
        Some(near) => wrong("is not in upper case", format!("did you mean {near}?")),
        None => Ok(text.to_owned()),
    }
}

/// The name of a field in lower case.
pub(crate) fn field(text: &str, key: &Key) -> Result<String, Wrong> {
    if !is_token(text) {
        let what = format!("{} is not the name of a field", shown(text));
        let bare = text.trim_end_matches(':');
        let advice = match is_token(bare) {
            true => format!("write {}", cut(bare)),
            false => key.shape.expected(),
        };
        return Err(Wrong::new(what, advice));
    }
    if text.len() > NAME_MAX {
        return Err(too_long(text, "the name of a field", NAME_MAX));
    }
    Ok(text.to_ascii_lowercase())
}

/// The name of a field that is changed on its way, in lower case; `host` is whether this one may be.
pub(crate) fn changed_field(text: &str, key: &Key, host: bool) -> Result<String, Wrong> {
    let name = field(text, key)?;
    if OF_THE_CONNECTION.contains(&name.as_str()) {
        let advice = "Ringgate writes it anew for every connection";
        return Err(Wrong::new(
            format!("{} is not to be changed", shown(text)),
            advice,
        ));
    }
    if name == "host" && !host {
        let advice = "a request always has a host; only `request.set` may give it another";
        return Err(Wrong::new(
            format!("{} is not to be changed here", shown(text)),
            advice,
        ));
    }
    Ok(name)
}

/// The name of a field that a route asks for, in lower case.
pub(crate) fn asked_field(text: &str, key: &Key) -> Result<String, Wrong> {
    let name = field(text, key)?;
    match name.as_str() {
        "host" => Err(Wrong::new(
            format!("{} is not compared as a field", shown(text)),
            "write it as `host` of the route",
        )),
        _ => Ok(name),
    }
}

/// The value of a field: visible ASCII characters, with spaces and tabs between them (RFC 9110 §5.5).
pub(crate) fn field_value(text: &str, _: &Key) -> Result<String, Wrong> {
    let valid = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    if !text.bytes().all(valid) {
        return Err(Wrong::new(
            format!("{} cannot be the value of a field", shown(text)),
            "expected visible ASCII characters, spaces and tabs",
        ));
    }
    if text.trim() != text {
        return Err(Wrong::new(
            format!("{} begins or ends with a space", shown(text)),
            "such spaces are lost on the way: leave them out",
        ));
    }
    if text.len() > VALUE_MAX {
        return Err(too_long(text, "the value of a field", VALUE_MAX));
    }
    Ok(text.to_owned())
}

/// The name of a parameter of a query, decoded.
pub(crate) fn parameter(text: &str, key: &Key) -> Result<String, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new(
            format!("{} is not the name of a parameter", shown(text)),
            key.shape.expected(),
        ));
    }
    of_query(text, "the name of a parameter", NAME_MAX)
}

/// The value of a parameter of a query, decoded.
pub(crate) fn parameter_value(text: &str, _: &Key) -> Result<String, Wrong> {
    of_query(text, "the value of a parameter", VALUE_MAX)
}

fn of_query(text: &str, noun: &str, longest: usize) -> Result<String, Wrong> {
    if text.chars().any(char::is_control) {
        return Err(Wrong::new(
            format!("{} cannot be {noun}", shown(text)),
            "expected text without control characters",
        ));
    }
    let is_encoded = |at: usize| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if text.match_indices('%').any(|(at, _)| is_encoded(at)) {
        return Err(Wrong::new(
            format!("{} is percent-encoded", shown(text)),
            "queries are decoded before they are compared: write the characters themselves",
        ));
    }
    if text.len() > longest {
        return Err(too_long(text, noun, longest));
    }
    Ok(text.to_owned())
}

/// A scope (RFC 6749 §3.3), without the comma that parts scopes in a file of tokens.
pub(crate) fn scope(text: &str, key: &Key) -> Result<String, Wrong> {
    let wrong =
        |what: &str, advice: String| Err(Wrong::new(format!("{} {what}", shown(text)), advice));
    if text.contains([' ', ',']) {
        let scopes: Vec<&str> = text
            .split([' ', ','])
            .filter(|scope| !scope.is_empty())
            .collect();
        let advice = format!("write a list: [{}]", cut(&scopes.join(", ")));
        return wrong("is more than one scope", advice);
    }
    let valid = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if text.is_empty() || !text.bytes().all(valid) {
        return wrong("is not a scope", key.shape.expected());
    }
    if text.len() > SCOPE_MAX {
        return Err(too_long(text, "a scope", SCOPE_MAX));
    }
    Ok(text.to_owned())
}

/// A realm: what may stand between the quotes of a challenge (RFC 9110 §5.6.4) without escapes.
pub(crate) fn realm(text: &str, key: &Key) -> Result<String, Wrong> {
    let valid =
        |byte: u8| (byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) || byte == b' ';
    if text.is_empty() || !text.bytes().all(valid) {
        return Err(Wrong::new(
            format!("{} cannot be a realm", shown(text)),
            key.shape.expected(),
        ));
    }
    if text.len() > SCOPE_MAX {
        return Err(too_long(text, "a realm", SCOPE_MAX));
    }
    Ok(text.to_owned())
}

/// An issuer, an audience or the name of a claim: any text of one line.
pub(crate) fn claim(text: &str, key: &Key) -> Result<String, Wrong> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Wrong::new(
            format!("{} is not a value of `{}`", shown(text), key.name),
            key.shape.expected(),
        ));
    }
    if text.len() > VALUE_MAX {
        return Err(too_long(text, "the value of a claim", VALUE_MAX));
    }
    Ok(text.to_owned())
}

/// `client_ip`, `consumer` or `header:NAME`.
pub(crate) fn limit_by(text: &str, key: &Key) -> Result<LimitBy, Wrong> {
    match text {
        "client_ip" => return Ok(LimitBy::ClientIp),
        "consumer" => return Ok(LimitBy::Consumer),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("header:") {
        let name = field(name, key)?;
        let advice = match name.as_str() {
            "authorization" | "proxy-authorization" | "cookie" => {
                "it is a secret, and not checked yet: for each identity write `consumer`"
            }
            "x-forwarded-for" | "forwarded" | "x-real-ip" => {
                "for the address of the client write `client_ip`, with `trusted_proxies` where there are proxies"
            }
            "x-consumer" => "for each identity write `consumer`",
            "host" => "put hosts into routes of their own, with a `rate_limit` each",
            _ if OF_THE_CONNECTION.contains(&name.as_str()) => {
                "it says something of the connection, and nothing of who sends the request"
            }
            _ => return Ok(LimitBy::Header(name)),
        };
        let what = format!("requests are not counted by {}", shown(&name));
        return Err(Wrong::new(what, advice));
    }
    let mut wrong = Wrong::new(
        format!("{} is not a value of `{}`", shown(text), key.name),
        key.shape.expected(),
    );
    let near = match text.to_ascii_lowercase().as_str() {
        "ip" | "client" | "src" | "source" | "remote_addr" | "remote_address" | "address" => {
            Some("client_ip")
        }
        "user" | "token" | "key" | "sub" | "jwt" => Some("consumer"),
        _ => nearest(text, ["client_ip", "consumer"]),
    };
    wrong
        .advice
        .extend(near.map(|near| format!("did you mean `{near}`?")));
    Err(wrong)
}

/// `a.example.com`, `*.example.com` or an IP address, as hosts of requests are compared: IPv6 in brackets.
pub(crate) fn host(text: &str, key: &Key) -> Result<NamePattern, Wrong> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(NamePattern::Exact(address.to_string()));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse::<Ipv6Addr>() {
        return Ok(NamePattern::Exact(format!("[{address}]")));
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        let host = match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        let what = format!("{} has a port", shown(text));
        return Err(Wrong::new(what, format!("write the address alone: {host}")));
    }
    names::pattern(text, key)
}

/// A protocol that a listener with HTTP speaks.
pub(crate) fn spoken(text: &str, key: &Key) -> Result<String, Wrong> {
    let protocol = names::protocol(text, key)?;
    match protocol.as_str() {
        "h2" | "http/1.1" => Ok(protocol),
        _ => Err(Wrong::new(
            format!("{} is not spoken by a listener with `http`", shown(text)),
            "expected h2 and http/1.1, or one of them",
        )),
    }
}

/// Whether it is a token (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(valid)
}

fn too_long(text: &str, what: &str, most: usize) -> Wrong {
    Wrong::new(
        format!("{what} has {} characters", text.chars().count()),
        format!("expected at most {most}"),
    )
}
