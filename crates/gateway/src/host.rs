//! The host that a request asks for (RFC 9110 §7.2), in the one form in which it is compared, logged and forwarded.
//! It resolves nothing, and a name that looks like an address of another spelling (`0x7f.1`) stays a name.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use crate::flaw::Flaw;

/// Bytes of the longest name (RFC 1035 §2.3.4, as text without the dot at the end).
pub const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// How the request says it is asked: by TLS or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// Of a request line or of HTTP/2's `:scheme`, in any case.
    ///
    /// # Errors
    /// [`Flaw::Scheme`] when it is any other.
    pub fn parse(raw: &[u8]) -> Result<Self, Flaw> {
        match raw {
            _ if raw.eq_ignore_ascii_case(b"http") => Ok(Self::Http),
            _ if raw.eq_ignore_ascii_case(b"https") => Ok(Self::Https),
            _ => Err(Flaw::Scheme),
        }
    }

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is meant when none is named.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host and perhaps a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// A name in lower case without a dot at the end, an IPv4 address, or an IPv6 address in brackets (RFC 5952).
    pub name: Cow<'a, str>,
    /// As the request names it; never 0.
    pub port: Option<u16>,
}

impl<'a> Host<'a> {
    /// The value of `Host`, of HTTP/2's `:authority` or of the authority of a target.
    ///
    /// # Errors
    /// What keeps it from being one host.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Flaw> {
        match raw.first() {
            None => Err(Flaw::HostMissing),
            Some(b'[') => Self::literal(raw),
            Some(_) => Self::named(raw),
        }
    }

    /// Whether both mean the same port of the same host; a port that is not named is that of the scheme.
    pub fn is_same(&self, other: &Host<'_>, scheme: Scheme) -> bool {
        let port = |port: Option<u16>| port.unwrap_or(scheme.port());
        self.name == other.name && port(self.port) == port(other.port)
    }

    /// Appends it as it is forwarded: `name` or `name:port`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_bytes());
        if let Some(port) = self.port {
            out.push(b':');
            out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
        }
    }

    /// As it is forwarded: `name` or `name:port`.
    pub fn text(&self) -> Cow<'_, str> {
        match self.port {
            None => Cow::Borrowed(&self.name),
            Some(_) => Cow::Owned(self.to_string()),
        }
    }

    fn literal(raw: &'a [u8]) -> Result<Self, Flaw> {
        let end = memchr::memchr(b']', raw).ok_or(Flaw::HostForm)?;
        let (bracketed, rest) = raw.split_at(end + 1);
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return Err(Flaw::HostForm),
        };
        let text = std::str::from_utf8(bracketed).map_err(|_| Flaw::HostForm)?;
        let inner = &text[1..end];
        let address: Ipv6Addr = inner.parse().map_err(|_| Flaw::HostForm)?;
        let canonical = format!("[{address}]");
        let name = match canonical == text {
            true => Cow::Borrowed(text),
            false => Cow::Owned(canonical),
        };
        Ok(Self { name, port })
    }

    fn named(raw: &'a [u8]) -> Result<Self, Flaw> {
        let mut label = 0;
        let mut end = raw.len();
        let mut has_upper = false;
        for (at, byte) in raw.iter().enumerate() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
                b'A'..=b'Z' => {
                    has_upper = true;
                    label += 1;
                }
                b'.' if label > 0 => label = 0,
                b':' if at > 0 => {
                    end = at;
                    break;
                }
                b'@' => return Err(Flaw::Userinfo),
                _ => return Err(Flaw::HostForm),
            }
            if label > LABEL_BYTES_MAX {
                return Err(Flaw::HostTooLong);
            }
        }
        let name = raw[..end].strip_suffix(b".").unwrap_or(&raw[..end]);
        if name.len() > NAME_BYTES_MAX {
            return Err(Flaw::HostTooLong);
        }
        let port = match &raw[end..] {
            [] => None,
            rest if rest.contains(&b'@') => return Err(Flaw::Userinfo),
            rest => Some(port(&rest[1..])?),
        };
        let name = std::str::from_utf8(name).map_err(|_| Flaw::HostForm)?;
        let name = match has_upper {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        };
        Ok(Self { name, port })
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.port {
            None => Ok(()),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

/// Digits only: `u16::from_str` takes a sign. Without a zero in front, so that a port has one spelling.
fn port(digits: &[u8]) -> Result<u16, Flaw> {
    if digits.first().is_none_or(|first| *first == b'0') || digits.len() > 5 {
        return Err(Flaw::HostPort);
    }
    let number = digits.iter().try_fold(0_u32, |number, digit| match digit {
        b'0'..=b'9' => Ok(number * 10 + u32::from(digit - b'0')),
        _ => Err(Flaw::HostPort),
    })?;
    u16::try_from(number).map_err(|_| Flaw::HostPort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: Result<(&str, Option<u16>), Flaw>) {
        let found = Host::parse(raw.as_bytes());
        let found = found.as_ref().map(|host| (&*host.name, host.port));
        assert_eq!(found, expected.as_ref().copied(), "{raw}");
        if let Ok(host) = Host::parse(raw.as_bytes()) {
            let text = host.text().into_owned();
            assert_eq!(Host::parse(text.as_bytes()).as_ref(), Ok(&host), "{raw}");
            let mut written = Vec::new();
            host.write(&mut written);
            assert_eq!(written, text.as_bytes());
        }
    }

    #[test]
    fn a_host_has_one_form() {
        check("a", Ok(("a", None)));
        check("A.Example.COM", Ok(("a.example.com", None)));
        check("a.", Ok(("a", None)));
        check("a.:80", Ok(("a", Some(80))));
        check("a:80", Ok(("a", Some(80))));
        check("a_b-1.x:65535", Ok(("a_b-1.x", Some(65535))));
        check("192.0.2.1:8080", Ok(("192.0.2.1", Some(8080))));
        check("[::1]", Ok(("[::1]", None)));
        check("[0:0::0001]:443", Ok(("[::1]", Some(443))));
        check("[2001:DB8::A]", Ok(("[2001:db8::a]", None)));
        check("xn--bcher-kva.example", Ok(("xn--bcher-kva.example", None)));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let label = "a".repeat(63);
        let longest = [&label[..]; 4].join(".")[..253].to_owned();
        check(&longest, Ok((&longest, None)));
        check(&format!("{longest}."), Ok((&longest, None)));
        check(&format!("{longest}b"), Err(Flaw::HostTooLong));
        check(&format!("{label}a.b"), Err(Flaw::HostTooLong));
        check("", Err(Flaw::HostMissing));
        check("user@a", Err(Flaw::Userinfo));
        check("user:secret@a", Err(Flaw::Userinfo));
        for raw in [
            ".",
            "a..",
            "a..b",
            ".a",
            ":80",
            "a,b",
            "a, b",
            "a b",
            " a",
            "a%2e",
            "a/",
            "a?",
            "a#",
            "a\0b",
            "a\r\nb",
            "ä",
            "a\\b",
            "[",
            "[]",
            "[::1",
            "[::1]a",
            "[::1%25lo]",
            "[v1.x]",
            "[1.2.3.4]",
            "::1",
            "[:::]",
        ] {
            check(raw, Err(Flaw::HostForm));
        }
        for raw in [
            "a:", "a:0", "a:080", "a:65536", "a:+80", "a:-1", "a:8 ", "a:80:80", "a:123456",
        ] {
            check(raw, Err(Flaw::HostPort));
        }
        for raw in ["[::1]:", "[::1]:0", "[::1]:99999"] {
            check(raw, Err(Flaw::HostPort));
        }
    }

    #[test]
    fn hosts_are_compared_with_the_port_that_is_meant() {
        let host = |raw: &'static str| Host::parse(raw.as_bytes()).unwrap();
        assert!(host("a").is_same(&host("A.:80"), Scheme::Http));
        assert!(!host("a").is_same(&host("a:80"), Scheme::Https));
        assert!(host("a:8080").is_same(&host("a:8080"), Scheme::Https));
        assert!(!host("a").is_same(&host("b"), Scheme::Http));
    }

    #[test]
    fn schemes_are_two() {
        assert_eq!(Scheme::parse(b"HTTPS"), Ok(Scheme::Https));
        assert_eq!(Scheme::parse(b"http"), Ok(Scheme::Http));
        for raw in ["", "ftp", "http://b/?", "https ", "ws"] {
            assert_eq!(Scheme::parse(raw.as_bytes()), Err(Flaw::Scheme), "{raw}");
        }
    }
}
