//! From the text of a scalar to a URL: where a client is sent, and where keys are fetched. Each either gives a value
//! that cannot be wrong or says what is wrong and how to write it; none is ever opened here.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::{Wrong, cut, file_path, shown};
use crate::key::Key;
use crate::near::nearest;
use crate::plan::RedirectTo;

/// The longest URL, in bytes.
const URL_MAX: usize = 2048;

/// What a target may have in place of something of the request.
const VARIABLES: [&str; 3] = ["host", "path", "query"];

/// `https`, or a URL or absolute path with `$host`, `$path` and `$query` in it.
pub(crate) fn redirect_to(text: &str, key: &Key) -> Result<RedirectTo, Wrong> {
    let wrong =
        |what: &str, advice: String| Err(Wrong::new(format!("{} {what}", shown(text)), advice));
    if text == "https" {
        return Ok(RedirectTo::Https);
    }
    if text.len() > URL_MAX {
        return Err(too_long(text));
    }
    if text.starts_with("//") || text.starts_with("/\\") {
        let advice = "write the scheme, too: https://…".to_owned();
        return wrong("names a host without a scheme", advice);
    }
    if text.starts_with("/$path") {
        let advice = "expected something other than `$path` after the first slash".to_owned();
        return wrong("begins with two slashes, as a host would", advice);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let advice = "percent-encode what is no visible ASCII character".to_owned();
        return wrong("cannot stand in a `Location`", advice);
    }
    if let Some(variable) = unknown_variable(text) {
        let mut wrong = Wrong::new(
            format!(
                "{} means nothing in a target",
                shown(&format!("${variable}"))
            ),
            "expected one of: $host, $path, $query",
        );
        let near = match variable.as_str() {
            "request_uri" | "uri" => Some("path$query"),
            "args" | "is_args" | "query_string" => Some("query"),
            "http_host" | "server_name" | "authority" => Some("host"),
            near => nearest(near, VARIABLES),
        };
        wrong
            .advice
            .extend(near.map(|near| format!("did you mean `${near}`?")));
        return Err(wrong);
    }
    if text.starts_with('/') {
        return Ok(RedirectTo::Url(text.to_owned()));
    }
    let after = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match after {
        None => {
            let advice = [key.shape.expected()];
            let what = format!("{} is not a target for a redirect", shown(text));
            Err(Wrong {
                what,
                advice: advice.into(),
            })
        }
        Some(after) if after.is_empty() || after.starts_with(['/', '?', '#', ':']) => {
            wrong("names no host", key.shape.expected())
        }
        Some(after) if host_of(after).contains('@') => {
            Err(Wrong::new("the URL has a user in it", key.shape.expected()))
        }
        Some(after) if !ends_in_path(after) => wrong(
            "has something after its host that is no path",
            "write a slash or `$path` after the host".to_owned(),
        ),
        Some(_) => Ok(RedirectTo::Url(text.to_owned())),
    }
}

/// The first variable that is none, without its sign.
fn unknown_variable(text: &str) -> Option<String> {
    text.split('$').skip(1).find_map(|after| {
        let end = after.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        let name = &after[..end.unwrap_or(after.len())];
        (!VARIABLES.contains(&name)).then(|| name.to_owned())
    })
}

/// Whether nothing but a path or a query follows the host of a URL: `$path` and `$query` begin with their own sign.
fn ends_in_path(after: &str) -> bool {
    let host = host_of(after).replace("$host", "h");
    let valid =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '[' | ']');
    let host = host.split("$path").next().unwrap_or_default();
    let host = host.split("$query").next().unwrap_or_default();
    !host.is_empty() && host.chars().all(valid)
}

/// What stands before the first slash, question mark or number sign.
fn host_of(after: &str) -> &str {
    after.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Where keys are: a file or a URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeysPlace {
    /// In this file.
    File(PathBuf),
    /// Behind this URL by `https`.
    Https(String),
    /// Behind this URL by `http`, on this host.
    Loopback(String),
}

/// The absolute path of a file, or an `https` URL, or an `http` URL of this host.
pub(crate) fn keys_place(text: &str, key: &Key) -> Result<KeysPlace, Wrong> {
    let wrong =
        |what: &str, advice: String| Err(Wrong::new(format!("{} {what}", shown(text)), advice));
    if text.trim_start().starts_with("-----BEGIN") || text.starts_with('/') {
        return file_path(text).map(KeysPlace::File);
    }
    let Some((scheme, after)) = text.split_once("://") else {
        return wrong(
            "is neither an absolute path nor a URL",
            key.shape.expected(),
        );
    };
    if text.len() > URL_MAX {
        return Err(too_long(text));
    }
    if !matches!(scheme, "https" | "http") {
        return wrong(
            "begins with a scheme that keys are not fetched by",
            key.shape.expected(),
        );
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let advice = "percent-encode what is no visible ASCII character".to_owned();
        return wrong("is not a URL", advice);
    }
    if text.contains('#') {
        return wrong(
            "has a fragment",
            format!("write {}", cut(before(text, '#'))),
        );
    }
    let authority = host_of(after);
    if authority.contains('@') {
        let advice = "keys are public: leave it out";
        return Err(Wrong::new("the URL has a user in it", advice));
    }
    let Some(host) = host(authority) else {
        return wrong(
            "names no host, or a port that is none",
            key.shape.expected(),
        );
    };
    match scheme {
        "https" => Ok(KeysPlace::Https(text.to_owned())),
        _ if is_loopback(host) => Ok(KeysPlace::Loopback(text.to_owned())),
        _ => wrong(
            "is asked without encryption",
            "whoever is on the way could sign tokens: expected https, or http to 127.0.0.1, [::1] or localhost"
                .to_owned(),
        ),
    }
}

/// The host of an authority with or without a port; `None` when one of them is none.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let good_port = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let good_host = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
        None => {
            let valid =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !host.is_empty() && host.bytes().all(valid)
        }
    };
    (good_port && good_host).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| {
        address.is_loopback()
    })
}

fn before(text: &str, character: char) -> &str {
    text.split(character).next().unwrap_or_default()
}

fn too_long(text: &str) -> Wrong {
    let what = format!("this URL has {} bytes", text.len());
    Wrong::new(what, format!("expected at most {URL_MAX} bytes"))
}
