//! Version 1 of the PROXY protocol: a line of text (proxy-protocol.txt §2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Flaw, Header, of_one_family};

/// What a line begins with.
pub(super) const PREFIX: &[u8] = b"PROXY ";

/// The longest line, CR and LF among it.
const BYTES_MAX: usize = 107;

/// Of bytes that begin like [`PREFIX`]; `None` when more are needed.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Flaw> {
    let line = &bytes[..bytes.len().min(BYTES_MAX)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return match line.len() {
            BYTES_MAX => Err(Flaw::Length),
            _ => Ok(None),
        };
    };
    let words = line[..end]
        .strip_suffix(b"\r")
        .and_then(|line| line.strip_prefix(PREFIX))
        .ok_or(Flaw::Line)?;
    Ok(Some(Header {
        addresses: addresses(words).ok_or(Flaw::Line)?,
        length: end + 1,
    }))
}

/// The header for a server. It can speak of TCP alone; of anything else, as of a connection of our own, it says
/// nothing.
pub fn v1(addresses: Option<Addresses>) -> Vec<u8> {
    let Some(Addresses::Ip {
        source,
        destination,
    }) = addresses
    else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let (source, destination) = of_one_family(source, destination);
    let protocol = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {protocol} {} {} {} {}\r\n",
        text(source.ip()),
        text(destination.ip()),
        source.port(),
        destination.port()
    )
    .into()
}

/// An address of IPv6 is written in groups of hexadecimal digits only, so that `::ffff:192.0.2.1` is not among them.
fn text(address: IpAddr) -> String {
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            let [.., high, low] = v6.segments();
            format!("::ffff:{high:x}:{low:x}")
        }
        _ => address.to_string(),
    }
}

/// Of what stands between [`PREFIX`] and CR; the outer `None` when it is malformed.
fn addresses(words: &[u8]) -> Option<Option<Addresses>> {
    // A receiver ignores whatever stands after UNKNOWN.
    if words == b"UNKNOWN" || words.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let (protocol, words) = str::from_utf8(words).ok()?.split_once(' ')?;
    match protocol {
        "TCP4" => pair::<Ipv4Addr>(words).map(Some),
        "TCP6" => pair::<Ipv6Addr>(words).map(Some),
        _ => None,
    }
}

fn pair<Ip: FromStr + Into<IpAddr>>(words: &str) -> Option<Addresses> {
    let mut words = words.split(' ');
    let mut ip = || -> Option<IpAddr> { Some(words.next()?.parse::<Ip>().ok()?.into()) };
    let (source, destination) = (ip()?, ip()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Addresses::Ip {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// Digits alone, and no zero before others; Rust's parser takes a sign as well.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = word.len() > 1 && word.starts_with('0');
    (is_plain && !is_padded).then(|| word.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::super::{Parsed, parse};
    use super::*;

    #[test]
    fn good_lines() {
        let check = |line: &str, addresses: Option<(&str, &str)>| {
            let addresses = addresses.map(|(source, destination)| Addresses::Ip {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
            });
            let length = line.len() + 2;
            let bytes = format!("{line}\r\nPROXY TCP4");
            let expected = Parsed::Header(Header { addresses, length });
            assert_eq!(parse(bytes.as_bytes()), expected, "{line}");
            for end in 0..length {
                assert_eq!(
                    parse(&bytes.as_bytes()[..end]),
                    Parsed::Incomplete,
                    "{line}"
                );
            }
        };
        check(
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2",
            Some(("1.2.3.4:1", "5.6.7.8:2")),
        );
        check(
            "PROXY TCP4 255.255.255.255 0.0.0.0 65535 0",
            Some(("255.255.255.255:65535", "0.0.0.0:0")),
        );
        check(
            "PROXY TCP6 2001:DB8::1 ::1 1 2",
            Some(("[2001:db8::1]:1", "[::1]:2")),
        );
        check(
            "PROXY TCP6 ::ffff:1.2.3.4 ::ffff:102:304 1 2",
            Some(("[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]:2")),
        );
        let widest = ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"; 2].join(" ");
        let address = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        check(
            &format!("PROXY TCP6 {widest} 65535 65535"),
            Some((address, address)),
        );
        check(&format!("PROXY UNKNOWN {widest} 65535 65535"), None);
        check("PROXY UNKNOWN", None);
        check("PROXY UNKNOWN ", None);
        check("PROXY UNKNOWN \r\u{7f}\u{e9} whatever", None);
    }

    #[test]
    fn bad_lines() {
        let check = |bytes: &str, flaw: Flaw| {
            assert_eq!(parse(bytes.as_bytes()), Parsed::Refused(flaw), "{bytes:?}");
        };
        for line in [
            "",
            " TCP4 1.2.3.4 5.6.7.8 1 2",
            "TCP4",
            "TCP4 ",
            "TCP4 1.2.3.4 5.6.7.8 1",
            "TCP4 1.2.3.4 5.6.7.8 1 2 ",
            "TCP4 1.2.3.4 5.6.7.8 1 2 3",
            "TCP4 1.2.3.4  5.6.7.8 1 2",
            "TCP4\t1.2.3.4 5.6.7.8 1 2",
            "TCP4 1.2.3.4 5.6.7.8 1 2\r",
            "tcp4 1.2.3.4 5.6.7.8 1 2",
            "TCP5 1.2.3.4 5.6.7.8 1 2",
            "UDP4 1.2.3.4 5.6.7.8 1 2",
            "TCP4 256.0.0.1 5.6.7.8 1 2",
            "TCP4 1.2.3.04 5.6.7.8 1 2",
            "TCP4 1.2.3 5.6.7.8 1 2",
            "TCP4 0x1.2.3.4 5.6.7.8 1 2",
            "TCP4 1.2.3.4 ::1 1 2",
            "TCP4 ::1 ::2 1 2",
            "TCP6 1.2.3.4 5.6.7.8 1 2",
            "TCP6 ::1 5.6.7.8 1 2",
            "TCP6 1::2::3 ::1 1 2",
            "TCP6 [::1] ::1 1 2",
            "TCP6 fe80::1%eth0 ::1 1 2",
            "TCP6 12345::1 ::1 1 2",
            "TCP4 1.2.3.4 5.6.7.8 65536 2",
            "TCP4 1.2.3.4 5.6.7.8 1 100000000000000000000",
            "TCP4 1.2.3.4 5.6.7.8 01 2",
            "TCP4 1.2.3.4 5.6.7.8 00 2",
            "TCP4 1.2.3.4 5.6.7.8 +1 2",
            "TCP4 1.2.3.4 5.6.7.8 -1 2",
            "TCP4 1.2.3.4 5.6.7.8 1 0x2",
            "TCP4 1.2.3.4 5.6.7.8  2",
            "TCP4 1.2.3.4 5.6.7.8 1 \u{662}",
            "unknown",
            "UNKNOWNS",
            "UNKNOWN\t",
        ] {
            check(&format!("PROXY {line}\r\n"), Flaw::Line);
        }
        check("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", Flaw::Line);
        check("PROXY UNKNOWN\n\r\n", Flaw::Line);
        check("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Flaw::Absent);
        check(&format!("PROXY {}", "a".repeat(102)), Flaw::Length);
        check(
            &format!("PROXY UNKNOWN {}\r\n", "a".repeat(92)),
            Flaw::Length,
        );
    }

    #[test]
    fn what_a_server_gets() {
        let check = |source: &str, destination: &str, expected: &str| {
            let addresses = Some(Addresses::Ip {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
            });
            assert_eq!(str::from_utf8(&v1(addresses)).unwrap(), expected);
        };
        check(
            "1.2.3.4:1",
            "5.6.7.8:2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        );
        check(
            "[2001:db8::1]:1",
            "[::1]:2",
            "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
        );
        check(
            "[::ffff:1.2.3.4]:1",
            "[::ffff:5.6.7.8]:2",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        );
        check(
            "1.2.3.4:1",
            "[2001:db8::1]:2",
            "PROXY TCP6 ::ffff:102:304 2001:db8::1 1 2\r\n",
        );
        assert_eq!(v1(None), b"PROXY UNKNOWN\r\n");
        assert_eq!(v1(Some(Addresses::Unix)), b"PROXY UNKNOWN\r\n");
    }
}
