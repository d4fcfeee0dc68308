//! From the text of a scalar to a value: durations, numbers, words, addresses, paths, names. Each either gives a
//! value that cannot be wrong or says what is wrong and how to write it; none looks at anything but its text.

pub(crate) mod admission;
pub(crate) mod amounts;
pub(crate) mod http;
pub(crate) mod names;
pub(crate) mod paths;
pub(crate) mod urls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use crate::key::{Key, Shape};
use crate::near::nearest;
use crate::plan::{AccessLog, Address, Bind, Workers};

/// The longest path of a unix socket: `sun_path` has 108 bytes, and the last is NUL (unix(7)).
const SUN_PATH_MAX: usize = 107;

/// The longest path of a file (`PATH_MAX`, with its NUL).
const PATH_MAX: usize = 4095;

/// The longest name of a listener, pool or server.
pub(crate) const NAME_MAX: usize = 64;

/// The longest part of a wrong text that a mistake repeats, in characters.
const SHOWN_MAX: usize = 60;

/// Why a text is not a value of its key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What is wrong, in one clause.
    pub(crate) what: String,
    /// What helps to mend it.
    pub(crate) advice: Vec<String>,
}

impl Wrong {
    fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            advice: vec![advice.into()],
        }
    }
}

/// A text between backticks, cut when it is long, without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut cut: String = text
        .chars()
        .take(SHOWN_MAX)
        .map(|c| if c.is_control() { '·' } else { c })
        .collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        cut.push('…');
    }
    format!("`{cut}`")
}

/// A whole number and one unit: `500ms`, `2s`, `1m`, `1h`, within the bounds of `key`.
pub(crate) fn duration(text: &str, key: &Key) -> Result<Duration, Wrong> {
    let not_one = || format!("{} is not a duration", shown(text));
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "" if !number.is_empty() && number.len() < 10 => {
            return Err(Wrong::new(
                not_one(),
                format!("write the unit: {number}ms, {number}s, {number}m or {number}h"),
            ));
        }
        _ => unit_ms(unit).unwrap_or(0),
    };
    if unit_ms == 0 || number.is_empty() {
        let advice = match sum(text) {
            Some(sum) => format!("write one number and one unit: {}", duration_text(sum)),
            None => "expected a whole number and one unit, such as 500ms, 2s, 1m or 1h".to_owned(),
        };
        return Err(Wrong::new(not_one(), advice));
    }
    let length = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms))
        .map(Duration::from_millis);
    let within = |length: &Duration| match &key.shape {
        Shape::Duration { least, most } => (*least..=*most).contains(length),
        _ => true,
    };
    length.filter(within).ok_or_else(|| {
        Wrong::new(
            format!("{} is out of bounds", shown(text)),
            key.shape.expected(),
        )
    })
}

fn unit_ms(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    }
}

/// What several numbers with a unit each come to, such as `1m30s`.
fn sum(text: &str) -> Option<Duration> {
    let mut sum_ms: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = after.find(|c: char| c.is_ascii_digit());
        let (unit, next) = after.split_at(end.unwrap_or(after.len()));
        let part_ms = number.parse::<u64>().ok()?.checked_mul(unit_ms(unit)?)?;
        sum_ms = sum_ms.checked_add(part_ms)?;
        rest = next;
    }
    Some(Duration::from_millis(sum_ms))
}

/// A duration as the file writes it, in the largest unit that gives a whole number.
pub(crate) fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    let (number, unit) = match ms {
        0 => (0, "s"),
        _ if ms.is_multiple_of(3_600_000) => (ms / 3_600_000, "h"),
        _ if ms.is_multiple_of(60_000) => (ms / 60_000, "m"),
        _ if ms.is_multiple_of(1000) => (ms / 1000, "s"),
        _ => (ms, "ms"),
    };
    format!("{number}{unit}")
}

/// A whole number within the bounds of `key`.
pub(crate) fn integer<T: TryFrom<u32>>(text: &str, key: &Key) -> Result<T, Wrong> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::new(
            format!("{} is not a whole number", shown(text)),
            key.shape.expected(),
        ));
    }
    let within = |number: &u32| match &key.shape {
        Shape::Integer { least, most } | Shape::AutoOrInteger { least, most } => {
            (*least..=*most).contains(number)
        }
        _ => true,
    };
    let number = text
        .parse()
        .ok()
        .filter(within)
        .and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| {
        Wrong::new(
            format!("{} is out of bounds", shown(text)),
            key.shape.expected(),
        )
    })
}

/// A whole number within the bounds of `key`, which leave 0 out.
pub(crate) fn count(text: &str, key: &Key) -> Result<NonZeroU32, Wrong> {
    integer(text, key).and_then(|number: u32| {
        NonZeroU32::new(number).ok_or_else(|| {
            Wrong::new(
                format!("{} is out of bounds", shown(text)),
                key.shape.expected(),
            )
        })
    })
}

/// `auto` (`None`), or a whole number within the bounds of `key`.
pub(crate) fn auto_or_integer<T: TryFrom<u32>>(text: &str, key: &Key) -> Result<Option<T>, Wrong> {
    match text {
        "auto" => Ok(None),
        _ => integer(text, key).map(Some),
    }
}

/// `auto` or how many, within the bounds of `key`.
pub(crate) fn workers(text: &str, key: &Key) -> Result<Workers, Wrong> {
    let count: Option<u16> = auto_or_integer(text, key)?;
    Ok(count
        .and_then(NonZeroU16::new)
        .map_or(Workers::Auto, Workers::Exactly))
}

/// Why `text` is not one of the words of `key`.
pub(crate) fn no_word(text: &str, key: &Key) -> Wrong {
    let mut wrong = Wrong::new(
        format!("{} is not a value of `{}`", shown(text), key.name),
        key.shape.expected(),
    );
    let (words, later) = match &key.shape {
        Shape::Word { words, later } => (*words, *later),
        Shape::Words(words) => (*words, &[] as &[&str]),
        _ => return wrong,
    };
    if later.contains(&text) {
        wrong.what = format!("`{text}` is not available yet");
    } else if let Some(near) = nearest(text, words.iter().map(|word| word.text)) {
        wrong.advice.push(format!("did you mean `{near}`?"));
    }
    wrong
}

/// `1.2.3.4:443`, `[::]:443`, `:443` (both families) or `unix:/path`.
pub(crate) fn bind(text: &str) -> Result<Bind, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(Bind::Unix);
    }
    if let Some(port) = text.strip_prefix(':')
        && !port.contains(':')
    {
        let addr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), self::port(port)?);
        return Ok(Bind::Ip {
            addr,
            dual_stack: true,
        });
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let advice = format!(
            "expected an address and a port; for all addresses write \":{}\"",
            cut(text)
        );
        return Err(Wrong::new(
            format!("{} has no address", shown(text)),
            advice,
        ));
    }
    if let Some(port) = text.strip_prefix("*:") {
        let what = format!("{} does not begin with an IP address", shown(text));
        let advice = format!("did you mean \":{}\", for all addresses?", cut(port));
        return Err(Wrong::new(what, advice));
    }
    let addr = one_host(
        ip_and_port(
            text,
            "such as \":443\", 127.0.0.1:443, \"[::1]:443\" or unix:/path",
        )?,
        text,
        "expected an address of this host, such as 127.0.0.1:443, or \":443\" for all of them",
    )?;
    Ok(Bind::Ip {
        addr,
        dual_stack: false,
    })
}

/// `10.0.0.1:80`, `[fd00::1]:80` or `unix:/path`: something that can be connected to.
pub(crate) fn address(text: &str) -> Result<Address, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(Address::Unix);
    }
    let expected = "expected the address that the server itself listens on, such as 127.0.0.1:80";
    let addr = one_host(
        ip_and_port(text, "such as 10.0.0.1:80, \"[fd00::1]:80\" or unix:/path")?,
        text,
        expected,
    )?;
    if addr.ip().is_unspecified() {
        let what = format!("{} is not the address of one server", shown(text));
        return Err(Wrong::new(what, expected));
    }
    Ok(Address::Ip(addr))
}

/// `off` (`None`), or the address and port of the read-only HTTP door.
pub(crate) fn http_door(text: &str) -> Result<Option<SocketAddr>, Wrong> {
    if text == "off" {
        return Ok(None);
    }
    if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
        let advice = format!(
            "write 0.0.0.0:{0} or \"[::]:{0}\" to open it to the network",
            cut(port)
        );
        return Err(Wrong::new(
            format!("{} has no address", shown(text)),
            advice,
        ));
    }
    let addr = ip_and_port(text, "such as 127.0.0.1:9900, or `off`")?;
    let expected = "expected an address of this host, such as 127.0.0.1:9900, or `off`";
    one_host(addr, text, expected).map(Some)
}

/// `stdout`, `off` or the absolute path of a file.
pub(crate) fn access_log(text: &str) -> Result<AccessLog, Wrong> {
    match text {
        "stdout" => Ok(AccessLog::Stdout),
        "off" => Ok(AccessLog::Off),
        _ if text.starts_with('/') => {
            path(text, PATH_MAX, "/var/log/access.log").map(AccessLog::File)
        }
        _ => {
            let mut wrong = Wrong::new(
                format!("{} is not a place for the access log", shown(text)),
                "expected `stdout`, `off` or the absolute path of a file",
            );
            if let Some(near) = nearest(text, ["stdout", "off"]) {
                wrong.advice.push(format!("did you mean `{near}`?"));
            }
            Err(wrong)
        }
    }
}

/// The absolute path of a unix socket, short enough for the kernel.
pub(crate) fn socket_path(text: &str) -> Result<PathBuf, Wrong> {
    path(text, SUN_PATH_MAX, "/run/x.sock")
}

/// The absolute path of a file that is read. The text of a file in its place is not repeated: it may be a private key.
pub(crate) fn file_path(text: &str) -> Result<PathBuf, Wrong> {
    if text.trim_start().starts_with("-----BEGIN") {
        return Err(Wrong::new(
            "this is the text of a file",
            "put it into a file, and write the absolute path of the file here",
        ));
    }
    path(text, PATH_MAX, "/etc/ringgate/x.pem")
}

/// The absolute path of a folder, with or without a slash at its end.
pub(crate) fn folder_path(text: &str) -> Result<PathBuf, Wrong> {
    let bare = text.trim_end_matches('/');
    match bare {
        "" => file_path(text),
        _ => file_path(bare),
    }
}

/// `true` or `false`.
pub(crate) fn boolean(text: &str, key: &Key) -> Result<bool, Wrong> {
    match text {
        "true" => return Ok(true),
        "false" => return Ok(false),
        _ => {}
    }
    let advice = match text.to_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" | "enabled" => "write `true`".to_owned(),
        "false" | "no" | "off" | "n" | "0" | "disabled" => "write `false`".to_owned(),
        _ => key.shape.expected(),
    };
    let what = format!("{} is not a value of `{}`", shown(text), key.name);
    Err(Wrong::new(what, advice))
}

/// A name of a listener, pool or server; `whose` is that word.
pub(crate) fn name<'a>(text: &'a str, whose: &str) -> Result<&'a str, Wrong> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(valid) {
        return Ok(text);
    }
    let advice = format!("expected 1 to {NAME_MAX} of the characters A-Z a-z 0-9 _ . -");
    Err(Wrong::new(
        format!("{} cannot be the name of a {whose}", shown(text)),
        advice,
    ))
}

fn path(text: &str, bytes_max: usize, example: &str) -> Result<PathBuf, Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong::new(
            format!("{} is not an absolute path", shown(text)),
            "expected a path that begins with /",
        ));
    }
    if text.contains('\0') || text.ends_with('/') {
        return Err(Wrong::new(
            format!("{} cannot be the path of a file", shown(text)),
            format!("expected a path such as {example}"),
        ));
    }
    if text.len() > bytes_max {
        let what = format!("this path has {} bytes", text.len());
        return Err(Wrong::new(
            what,
            format!("expected at most {bytes_max} bytes"),
        ));
    }
    Ok(PathBuf::from(text))
}

fn ip_and_port(text: &str, examples: &str) -> Result<SocketAddr, Wrong> {
    let wrong = |what: &str| {
        Wrong::new(
            format!("{} {what}", shown(text)),
            format!("expected an IP address and a port, {examples}"),
        )
    };
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return match addr.port() {
            0 => Err(port_out_of_bounds("0")),
            _ => Ok(addr),
        };
    }
    if text.starts_with('/') {
        return Err(Wrong::new(
            format!("{} is a path", shown(text)),
            format!("write unix:{}", cut(text)),
        ));
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(wrong(&format!("begins with `{}://`", cut(scheme))));
    }
    if text.parse::<Ipv4Addr>().is_ok()
        || text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .is_some()
    {
        return Err(wrong("has no port"));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(wrong(
            "is an IPv6 address without brackets around it and a port after them",
        ));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(wrong("is not an address and a port"));
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if host.parse::<Ipv4Addr>().is_ok() || (host != bare && bare.parse::<Ipv6Addr>().is_ok()) {
        self::port(port)?;
    }
    if let Some(Ok(ip)) = bare.split_once('%').map(|(ip, _)| ip.parse::<Ipv6Addr>()) {
        return Err(no_interface(text, ip, self::port(port)?));
    }
    let mut wrong = wrong("does not begin with an IP address");
    if bare.bytes().any(|byte| byte.is_ascii_alphabetic()) && !bare.contains(':') {
        wrong
            .advice
            .push("names that have to be looked up are not available yet".into());
    }
    Err(wrong)
}

fn port(text: &str) -> Result<u16, Wrong> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ if text.is_empty() => Err(Wrong::new(
            "there is no port after the colon",
            "expected a port from 1 to 65535",
        )),
        _ => Err(port_out_of_bounds(text)),
    }
}

fn port_out_of_bounds(text: &str) -> Wrong {
    Wrong::new(
        format!("{} is not a port", shown(text)),
        "expected a port from 1 to 65535",
    )
}

/// An address that one host can have, or all of its own (`0.0.0.0`), in its plain form.
fn one_host(addr: SocketAddr, text: &str, expected: &str) -> Result<SocketAddr, Wrong> {
    let group = match addr.ip() {
        ip if ip.is_multicast() => Some("a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        _ => None,
    };
    if let Some(group) = group {
        return Err(Wrong::new(format!("{} is {group}", shown(text)), expected));
    }
    if let SocketAddr::V6(v6) = addr
        && v6.ip().is_unicast_link_local()
        && v6.scope_id() == 0
    {
        return Err(no_interface(text, *v6.ip(), v6.port()));
    }
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) if addr.is_ipv6() => {
            let what = format!("{} is an IPv4 address written as IPv6", shown(text));
            Err(Wrong::new(what, format!("write {ip}:{}", addr.port())))
        }
        _ => Ok(addr),
    }
}

/// The kernel takes a link-local address only with the interface whose link is meant (RFC 4007 §6, ipv6(7)).
fn no_interface(text: &str, ip: Ipv6Addr, port: u16) -> Wrong {
    Wrong::new(
        format!("{} does not name its interface by number", shown(text)),
        format!(
            "add the number of the interface, as `ip link` shows it, such as \"[{ip}%2]:{port}\""
        ),
    )
}

fn cut(text: &str) -> String {
    text.chars()
        .take(SHOWN_MAX)
        .filter(|c| !c.is_control())
        .collect()
}
