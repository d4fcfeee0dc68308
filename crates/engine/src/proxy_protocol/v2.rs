//! Version 2 of the PROXY protocol: binary, with room for more than addresses (proxy-protocol.txt §2.2).

use std::net::{IpAddr, SocketAddr};

use crc::{CRC_32_ISCSI, Crc};

use super::{Addresses, BYTES_MAX, Flaw, Header, of_one_family};

/// What a header begins with.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command (1 byte), family and transport (1), length of the rest (2).
const FIXED_BYTES: usize = SIGNATURE.len() + 4;

const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;

/// Families in the upper half, the transport in the lower: 0 unspecified, 1 a stream.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

const TCP4_BYTES: usize = 2 * (4 + 2);
const TCP6_BYTES: usize = 2 * (16 + 2);
const UNIX_BYTES: usize = 2 * 108;

/// Types of TLV (§2.2.1 to §2.2.6).
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;

/// Bits of the SSL TLV: by TLS; a certificate was shown on this connection; one was shown in this session.
const CLIENT_SSL: u8 = 1;
const CLIENT_CERT_CONN: u8 = 2;
const CLIENT_CERT_SESS: u8 = 4;

/// Of the SSL TLV, before its own TLVs: the bits above (1 byte), and 0 if a certificate was verified (4).
const SSL_FIXED_BYTES: usize = 5;

/// Of a TLV, before its value: the type (1 byte) and the value's length (2).
const TLV_FIXED_BYTES: usize = 3;

/// A value longer than this is not written.
const VALUE_BYTES_MAX: usize = 255;

/// The checksum of §2.2.3.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const CHECKSUM_BYTES: usize = 4;

/// Of bytes that begin like [`SIGNATURE`]; `None` when more are needed. Each flaw is found at the first byte that
/// shows it, those of TLVs when all are there.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Flaw> {
    let fixed = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let Some(version_and_command) = fixed.first() else {
        return Ok(None);
    };
    let (version, command) = (version_and_command >> 4, version_and_command & 0xf);
    if version != VERSION {
        return Err(Flaw::Version);
    }
    if command != LOCAL && command != PROXY {
        return Err(Flaw::Command);
    }
    let Some(family) = fixed.get(1) else {
        return Ok(None);
    };
    let addresses_bytes = match *family {
        // What a LOCAL header says besides is to be discarded, its family too.
        _ if command == LOCAL => 0,
        UNSPECIFIED => 0,
        TCP4 => TCP4_BYTES,
        TCP6 => TCP6_BYTES,
        UNIX_STREAM => UNIX_BYTES,
        _ => return Err(Flaw::Family),
    };
    let Some(length) = fixed.get(2..4) else {
        return Ok(None);
    };
    let rest_bytes = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let length = FIXED_BYTES + rest_bytes;
    if length > BYTES_MAX {
        return Err(Flaw::Length);
    }
    if rest_bytes < addresses_bytes {
        return Err(Flaw::Addresses);
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(None);
    };
    let (addresses, tlvs) = header[FIXED_BYTES..].split_at(addresses_bytes);
    if command == PROXY {
        check_tlvs(header, tlvs)?;
    }
    Ok(Some(Header {
        addresses: match addresses_bytes {
            TCP4_BYTES => ip::<4>(addresses),
            TCP6_BYTES => ip::<16>(addresses),
            UNIX_BYTES => Some(Addresses::Unix),
            _ => None,
        },
        length,
    }))
}

/// Of both addresses and both ports, one after another.
fn ip<const N: usize>(mut bytes: &[u8]) -> Option<Addresses>
where
    IpAddr: From<[u8; N]>,
{
    let (source, destination) = (take::<N>(&mut bytes)?, take::<N>(&mut bytes)?);
    let mut port = || take(&mut bytes).map(u16::from_be_bytes);
    Some(Addresses::Ip {
        source: SocketAddr::new(source.into(), port()?),
        destination: SocketAddr::new(destination.into(), port()?),
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// They fill the header to its end, and its checksum, if it has one, is right.
fn check_tlvs(header: &[u8], mut tlvs: &[u8]) -> Result<(), Flaw> {
    let mut checksum = None;
    while !tlvs.is_empty() {
        let (kind, value) = tlv(&mut tlvs)?;
        match kind {
            SSL => {
                let mut inner = value.get(SSL_FIXED_BYTES..).ok_or(Flaw::Tlv)?;
                while !inner.is_empty() {
                    tlv(&mut inner)?;
                }
            }
            CRC32C => {
                let value = *value.as_array::<CHECKSUM_BYTES>().ok_or(Flaw::Tlv)?;
                let at = header.len() - tlvs.len() - CHECKSUM_BYTES;
                if checksum.replace((at, u32::from_be_bytes(value))).is_some() {
                    return Err(Flaw::Tlv);
                }
            }
            _ => {}
        }
    }
    match checksum {
        Some((at, sent)) if checksum_of(header, at) != sent => Err(Flaw::Checksum),
        _ => Ok(()),
    }
}

/// Takes a TLV: its type and its value.
fn tlv<'a>(bytes: &mut &'a [u8]) -> Result<(u8, &'a [u8]), Flaw> {
    let (fixed, rest) = bytes
        .split_first_chunk::<TLV_FIXED_BYTES>()
        .ok_or(Flaw::Tlv)?;
    let length = usize::from(u16::from_be_bytes([fixed[1], fixed[2]]));
    let (value, rest) = rest.split_at_checked(length).ok_or(Flaw::Tlv)?;
    *bytes = rest;
    Ok((fixed[0], value))
}

/// As if it were zero where the checksum itself stands, from `at` on.
fn checksum_of(header: &[u8], at: usize) -> u32 {
    let mut digest = CHECKSUM.digest();
    digest.update(&header[..at]);
    digest.update(&[0; CHECKSUM_BYTES]);
    digest.update(&header[at + CHECKSUM_BYTES..]);
    digest.finalize()
}

/// What a header says besides addresses. Values longer than 255 bytes are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tlvs<'a> {
    /// The name that the client asked for (PP2_TYPE_AUTHORITY).
    pub authority: Option<&'a str>,
    /// The protocol that was agreed on with the client (PP2_TYPE_ALPN).
    pub alpn: Option<&'a [u8]>,
    /// How TLS with the client was ended (PP2_TYPE_SSL); `None` when it was not.
    pub tls: Option<Tls<'a>>,
}

/// TLS with the client.
#[derive(Clone, Copy, Debug)]
pub struct Tls<'a> {
    /// As OpenSSL writes it: `TLSv1.3`.
    pub version: &'a str,
    /// The cipher suite.
    pub cipher: Option<&'a str>,
    /// `None` when the client showed none. Only verified ones get this far.
    pub client_certificate: Option<ClientCertificate<'a>>,
}

/// A client's certificate that was verified.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate<'a> {
    /// The common name of its subject.
    pub common_name: Option<&'a str>,
    /// It was shown on an earlier connection of the same session.
    pub is_resumed: bool,
}

/// The header for a server, with a checksum. It is LOCAL when there are no addresses, as on connections of our own, and
/// for clients of Unix sockets: their paths are not kept, and HAProxy (2.6) refuses any PROXY header of a family that
/// is not IP.
pub fn v2(addresses: Option<Addresses>, tlvs: &Tlvs<'_>) -> Vec<u8> {
    let (command, family) = match addresses {
        None | Some(Addresses::Unix) => (LOCAL, UNSPECIFIED),
        Some(Addresses::Ip {
            source,
            destination,
        }) => match of_one_family(source, destination) {
            (SocketAddr::V4(_), _) => (PROXY, TCP4),
            (SocketAddr::V6(_), _) => (PROXY, TCP6),
        },
    };
    let mut header = [SIGNATURE, &[VERSION << 4 | command, family, 0, 0]].concat();
    match addresses {
        None | Some(Addresses::Unix) => {}
        Some(Addresses::Ip {
            source,
            destination,
        }) => {
            let (source, destination) = of_one_family(source, destination);
            for address in [source, destination] {
                match address.ip() {
                    IpAddr::V4(ip) => header.extend(ip.octets()),
                    IpAddr::V6(ip) => header.extend(ip.octets()),
                }
            }
            for address in [source, destination] {
                header.extend(address.port().to_be_bytes());
            }
        }
    }
    if let Some(alpn) = tlvs.alpn {
        push(&mut header, ALPN, alpn);
    }
    if let Some(authority) = tlvs.authority {
        push(&mut header, AUTHORITY, authority.as_bytes());
    }
    if let Some(tls) = &tlvs.tls {
        push_unbounded(&mut header, SSL, &ssl(tls));
    }
    push(&mut header, CRC32C, &[0; CHECKSUM_BYTES]);
    // Six values at most, each bounded, and the addresses: that is within `BYTES_MAX`.
    let rest_bytes = (header.len() - FIXED_BYTES) as u16;
    header[FIXED_BYTES - 2..FIXED_BYTES].copy_from_slice(&rest_bytes.to_be_bytes());
    let at = header.len() - CHECKSUM_BYTES;
    let checksum = checksum_of(&header, at).to_be_bytes();
    header[at..].copy_from_slice(&checksum);
    header
}

/// The value of the SSL TLV (§2.2.5).
fn ssl(tls: &Tls<'_>) -> Vec<u8> {
    let (shown, verify) = match tls.client_certificate {
        None => (0, 1),
        Some(ClientCertificate {
            is_resumed: true, ..
        }) => (CLIENT_CERT_SESS, 0),
        Some(_) => (CLIENT_CERT_CONN | CLIENT_CERT_SESS, 0),
    };
    let mut value = [&[CLIENT_SSL | shown][..], &u32::to_be_bytes(verify)].concat();
    push(&mut value, SSL_VERSION, tls.version.as_bytes());
    if let Some(name) = tls.client_certificate.and_then(|shown| shown.common_name) {
        push(&mut value, SSL_CN, name.as_bytes());
    }
    if let Some(cipher) = tls.cipher {
        push(&mut value, SSL_CIPHER, cipher.as_bytes());
    }
    value
}

fn push(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if value.len() <= VALUE_BYTES_MAX {
        push_unbounded(bytes, kind, value);
    }
}

fn push_unbounded(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::super::{Parsed, parse};
    use super::*;

    fn header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [SIGNATURE, &[version_and_command, family], &length, rest].concat()
    }

    /// 192.0.2.1:256 to 192.0.2.2:443.
    const ADDRESSES: [u8; TCP4_BYTES] = [192, 0, 2, 1, 192, 0, 2, 2, 1, 0, 1, 187];

    fn addresses() -> Option<Addresses> {
        Some(Addresses::Ip {
            source: "192.0.2.1:256".parse().unwrap(),
            destination: "192.0.2.2:443".parse().unwrap(),
        })
    }

    fn reads(bytes: &[u8], addresses: Option<Addresses>) {
        let length = bytes.len();
        for end in 0..length {
            assert_eq!(
                parse(&bytes[..end]),
                Parsed::Incomplete,
                "{end} of {bytes:02x?}"
            );
        }
        let fused = [bytes, b"\x03\0\0PROXY "].concat();
        for bytes in [bytes, &fused] {
            let expected = Parsed::Header(Header { addresses, length });
            assert_eq!(parse(bytes), expected, "{bytes:02x?}");
        }
    }

    /// It is refused, and was not before its last byte.
    fn refuses(bytes: &[u8], flaw: Flaw) {
        for end in 0..bytes.len() {
            assert_eq!(
                parse(&bytes[..end]),
                Parsed::Incomplete,
                "{end} of {bytes:02x?}"
            );
        }
        for payload in [&b""[..], &[0; BYTES_MAX]] {
            let bytes = [bytes, payload].concat();
            assert_eq!(parse(&bytes), Parsed::Refused(flaw), "{bytes:02x?}");
        }
    }

    #[test]
    fn kinds_of_header() {
        let ipv6 = Some(Addresses::Ip {
            source: "[2001:db8::1]:1".parse().unwrap(),
            destination: "[2001:db8::2]:2".parse().unwrap(),
        });
        let prefix = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let ipv6_bytes = [&prefix[..], &[1], &prefix, &[2], &[0, 1, 0, 2]].concat();
        reads(&header(0x21, TCP4, &ADDRESSES), addresses());
        reads(&header(0x21, TCP6, &ipv6_bytes), ipv6);
        reads(
            &header(0x21, UNIX_STREAM, &[b'/'; UNIX_BYTES]),
            Some(Addresses::Unix),
        );
        reads(&header(0x21, UNSPECIFIED, &[]), None);
        reads(&header(0x21, UNSPECIFIED, &[4, 0, 1, 9]), None);
        // The body of LOCAL means nothing, whatever it is.
        reads(&header(0x20, UNSPECIFIED, &[]), None);
        reads(&header(0x20, TCP4, &ADDRESSES), None);
        reads(&header(0x20, TCP4, &[1]), None);
        reads(&header(0x20, 0xff, &[3, 0, 4, 0, 0, 0, 0, 9]), None);
        reads(
            &header(0x20, UNSPECIFIED, &[0xff; BYTES_MAX - FIXED_BYTES]),
            None,
        );
    }

    #[test]
    fn flaws_are_found_at_the_first_byte_that_shows_them() {
        let begins = |bytes: &[u8]| [SIGNATURE, bytes].concat();
        for version in [0x01, 0x11, 0x31, 0xf1] {
            refuses(&begins(&[version]), Flaw::Version);
        }
        for command in [0x22, 0x2f] {
            refuses(&begins(&[command]), Flaw::Command);
        }
        for family in [
            0x01, 0x02, 0x10, 0x12, 0x13, 0x20, 0x22, 0x30, 0x32, 0x41, 0xff,
        ] {
            refuses(&begins(&[0x21, family]), Flaw::Family);
        }
        let longest = BYTES_MAX - FIXED_BYTES;
        refuses(&begins(&[0x21, TCP4, 0xff, 0xff]), Flaw::Length);
        refuses(
            &begins(&[0x20, TCP4, (longest >> 8) as u8, longest as u8 + 1]),
            Flaw::Length,
        );
        refuses(&begins(&[0x21, TCP4, 0, 11]), Flaw::Addresses);
        refuses(&begins(&[0x21, TCP6, 0, 35]), Flaw::Addresses);
        refuses(&begins(&[0x21, UNIX_STREAM, 0, 215]), Flaw::Addresses);
    }

    #[test]
    fn tlvs_fill_the_header() {
        let with = |tlvs: &[u8]| header(0x21, TCP4, &[&ADDRESSES, tlvs].concat());
        reads(&with(&[AUTHORITY, 0, 1, b'a', 0xee, 0, 0]), addresses());
        reads(&with(&[SSL, 0, 5, 1, 0, 0, 0, 0]), addresses());
        reads(
            &with(&[SSL, 0, 9, 1, 0, 0, 0, 0, SSL_CN, 0, 1, b'a']),
            addresses(),
        );
        // Two of a kind are no offence in themselves.
        reads(&with(&[ALPN, 0, 0, ALPN, 0, 0]), addresses());
        for tlvs in [
            &[ALPN][..],
            &[ALPN, 0],
            &[ALPN, 0, 1],
            &[ALPN, 0xff, 0xff, 1, 2, 3],
            &[ALPN, 0, 0, 0],
            &[SSL, 0, 4, 1, 0, 0, 0],
            &[SSL, 0, 6, 1, 0, 0, 0, 0, SSL_CN],
            &[SSL, 0, 8, 1, 0, 0, 0, 0, SSL_CN, 0, 1, ALPN, 0, 0],
            &[CRC32C, 0, 0],
            &[CRC32C, 0, 3, 0, 0, 0],
            &[CRC32C, 0, 5, 0, 0, 0, 0, 0],
        ] {
            refuses(&with(tlvs), Flaw::Tlv);
        }
    }

    #[test]
    fn a_checksum_has_to_be_right() {
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe306_9283);
        let checksum = [CRC32C, 0, 4, 0, 0, 0, 0];
        let tlvs = [&[ALPN, 0, 1, b'x'][..], &checksum, &[AUTHORITY, 0, 0]].concat();
        let mut bytes = header(0x21, TCP4, &[&ADDRESSES, &tlvs[..]].concat());
        let at = FIXED_BYTES + TCP4_BYTES + 4 + 3;
        let right = checksum_of(&bytes, at).to_be_bytes();
        refuses(&bytes, Flaw::Checksum);
        bytes[at..at + CHECKSUM_BYTES].copy_from_slice(&right);
        reads(&bytes, addresses());
        for wrong in FIXED_BYTES..FIXED_BYTES + TCP4_BYTES {
            let mut bytes = bytes.clone();
            bytes[wrong] ^= 0x10;
            refuses(&bytes, Flaw::Checksum);
        }
        refuses(
            &header(0x21, UNSPECIFIED, &[checksum, checksum].concat()),
            Flaw::Tlv,
        );
    }

    #[test]
    fn what_a_server_gets() {
        let check = |tlvs: &Tlvs<'_>, expected: &[u8]| {
            let bytes = v2(addresses(), tlvs);
            reads(&bytes, addresses());
            let begin = bytes.len() - CHECKSUM_BYTES;
            let rest = [&ADDRESSES[..], expected, &[CRC32C, 0, 4], &bytes[begin..]].concat();
            assert_eq!(bytes, header(0x21, TCP4, &rest));
        };
        let tls = Tls {
            version: "TLSv1.3",
            cipher: None,
            client_certificate: None,
        };
        let shown = |is_resumed| ClientCertificate {
            common_name: Some("cn"),
            is_resumed,
        };
        let with = |tls| Tlvs {
            tls: Some(tls),
            ..Tlvs::default()
        };
        check(&Tlvs::default(), b"");
        check(
            &Tlvs {
                authority: Some("a.example"),
                alpn: Some(b"h2"),
                tls: None,
            },
            b"\x01\0\x02h2\x02\0\x09a.example",
        );
        check(&with(tls), b"\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.3");
        check(
            &with(Tls {
                cipher: Some("c"),
                client_certificate: Some(shown(false)),
                ..tls
            }),
            b"\x20\0\x18\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x02cn\x23\0\x01c",
        );
        check(
            &with(Tls {
                client_certificate: Some(shown(true)),
                ..tls
            }),
            b"\x20\0\x14\x05\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x02cn",
        );
        let long = "a".repeat(VALUE_BYTES_MAX + 1);
        check(
            &Tlvs {
                authority: Some(&long),
                alpn: Some(long.as_bytes()),
                tls: None,
            },
            b"",
        );
        reads(&v2(Some(Addresses::Unix), &Tlvs::default()), None);
        reads(&v2(None, &Tlvs::default()), None);
    }
}
