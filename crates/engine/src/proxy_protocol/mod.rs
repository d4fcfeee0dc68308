//! The PROXY protocol (haproxy.org/download/3.2/doc/proxy-protocol.txt): what stands before the first byte of a
//! connection and says who its client is. Read from one of whom we believe it, written to servers; both without I/O.
//!
//! It is ours because `ppp` and `proxy-header` leave CRC32c unchecked, take TLVs as they are asked for (so that a
//! broken one is found too late), and the former takes ports like `+80`.

mod v1;
mod v2;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use self::v1::v1;
pub use self::v2::{ClientCertificate, Tls, Tlvs, v2};

/// The longest header that is read or written. Version 1 ends after 107 bytes; version 2 could promise 65551, but the
/// largest thing anybody puts into it, a client's certificate, fits.
pub const BYTES_MAX: usize = 4096;

/// Between whom the connection is that a header speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// A connection by TCP.
    Ip {
        /// The client.
        source: SocketAddr,
        /// What the client connected to.
        destination: SocketAddr,
    },
    /// A connection by a Unix socket. Its paths are not kept: a client's socket has none, as a rule.
    Unix,
}

/// A header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// `None` when it says nothing of them (LOCAL, UNKNOWN, UNSPEC): those of the connection itself count.
    pub addresses: Option<Addresses>,
    /// How many bytes it takes up. What follows is the client's, even if it looks like another header.
    pub length: usize,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The begin of a header; more bytes are needed.
    Incomplete,
    /// They begin with a header.
    Header(Header),
    /// They do not, or with one that breaks the rules. Nothing of the connection is to be believed.
    Refused(Flaw),
}

/// Why a header is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is none.
    Absent,
    /// A line of version 1 that says something else than the protocol lets it.
    Line,
    /// It promises to be longer than it may be.
    Length,
    /// Neither version 1 nor 2.
    Version,
    /// Neither LOCAL nor PROXY.
    Command,
    /// A kind of address that there is not, or one of datagrams.
    Family,
    /// It is too short for its addresses.
    Addresses,
    /// Its TLVs do not fill what they should, or one comes twice that may not.
    Tlv,
    /// Its checksum is wrong.
    Checksum,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "no PROXY header",
            Self::Line => "malformed PROXY line",
            Self::Length => "PROXY header too long",
            Self::Version => "unknown version of the PROXY protocol",
            Self::Command => "unknown command in a PROXY header",
            Self::Family => "address family in a PROXY header that is not of TCP",
            Self::Addresses => "PROXY header too short for its addresses",
            Self::Tlv => "malformed TLV in a PROXY header",
            Self::Checksum => "wrong checksum of a PROXY header",
        })
    }
}

/// Looks for a header in the bytes that have come so far, all from the first on. An answer other than
/// [`Parsed::Incomplete`] stays the same whatever comes after them, and [`BYTES_MAX`] bytes always have one.
pub fn parse(bytes: &[u8]) -> Parsed {
    let begins = |with: &[u8]| {
        let common = bytes.len().min(with.len());
        bytes[..common] == with[..common]
    };
    let header = if begins(v1::PREFIX) {
        v1::parse(bytes)
    } else if begins(v2::SIGNATURE) {
        v2::parse(bytes)
    } else {
        Err(Flaw::Absent)
    };
    match header {
        Ok(Some(header)) => Parsed::Header(header),
        Ok(None) => Parsed::Incomplete,
        Err(flaw) => Parsed::Refused(flaw),
    }
}

/// Both of one family: of IPv4 if both are, however they are written, otherwise of IPv6.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let as_v6 = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    match (canonical(source), canonical(destination)) {
        (source @ SocketAddr::V4(_), destination @ SocketAddr::V4(_)) => (source, destination),
        (source, destination) => (as_v6(source), as_v6(destination)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn what_is_no_header_is_known_by_the_first_byte_that_differs() {
        let check = |bytes: &[u8], expected: Parsed| {
            assert_eq!(parse(bytes), expected, "{bytes:?}");
        };
        check(b"", Parsed::Incomplete);
        for begin in [v1::PREFIX, v2::SIGNATURE] {
            for end in 1..begin.len() {
                check(&begin[..end], Parsed::Incomplete);
                let other = [&begin[..end], b"x"].concat();
                check(&other, Parsed::Refused(Flaw::Absent));
            }
        }
        check(b"proxy", Parsed::Refused(Flaw::Absent));
        check(b"GET / HTTP/1.1\r\n\r\n", Parsed::Refused(Flaw::Absent));
        check(&[22, 3, 1], Parsed::Refused(Flaw::Absent));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let check = |source: &str, destination: &str| {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            let (source_sent, destination_sent) = of_one_family(source, destination);
            let sent = Some(Addresses::Ip {
                source: source_sent,
                destination: destination_sent,
            });
            let addresses = Some(Addresses::Ip {
                source,
                destination,
            });
            reads(&v1(addresses), sent);
            reads(&v2(addresses, &Tlvs::default()), sent);
        };
        check("192.0.2.1:1", "198.51.100.1:65535");
        check("[2001:db8::1]:0", "[::]:443");
        check("[::ffff:192.0.2.1]:1", "[::ffff:198.51.100.1]:2");
        check("[2001:db8::1]:1", "198.51.100.1:2");
        check("192.0.2.1:1", "[2001:db8::1]:2");
        let widest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        check(widest, widest);
        reads(&v1(None), None);
        reads(&v1(Some(Addresses::Unix)), None);
        reads(&v2(None, &Tlvs::default()), None);
        reads(&v2(Some(Addresses::Unix), &Tlvs::default()), None);
    }

    /// Whether `bytes` are one header with these addresses, in how many pieces they ever come, and whatever
    /// follows: a hello, another header.
    fn reads(bytes: &[u8], addresses: Option<Addresses>) {
        for end in 0..bytes.len() {
            assert_eq!(
                parse(&bytes[..end]),
                Parsed::Incomplete,
                "{end} bytes of {bytes:?}"
            );
        }
        let expected = Parsed::Header(Header {
            addresses,
            length: bytes.len(),
        });
        for payload in [
            &b""[..],
            &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
            b"\0",
            bytes,
        ] {
            assert_eq!(
                parse(&[bytes, payload].concat()),
                expected,
                "{bytes:?} {payload:?}"
            );
        }
    }

    #[test]
    fn damaged_headers_have_one_answer_however_they_come() {
        let addresses = Some(Addresses::Ip {
            source: "192.0.2.1:1".parse().unwrap(),
            destination: "192.0.2.2:2".parse().unwrap(),
        });
        let whole_ones = [v1(addresses), v2(addresses, &Tlvs::default())];
        for seed in 0..2000 {
            let mut random = Random::new(seed);
            let mut bytes = whole_ones[random.below(2) as usize].clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            bytes.extend([b'\n'; 128]);
            let whole = parse(&bytes);
            for end in 0..bytes.len() {
                let part = parse(&bytes[..end]);
                assert!(
                    part == Parsed::Incomplete || part == whole,
                    "seed {seed}, {end} bytes"
                );
            }
        }
    }
}
