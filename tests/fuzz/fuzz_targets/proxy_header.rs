//! Any bytes as the first of a connection that begins with a PROXY header: `parse` never panics, has one answer however
//! they come, and reads what we write.
//!
//! In the folder `tests`, with `cargo install cargo-fuzz`:
//!
//! ```text
//! mkdir -p fuzz/corpus/proxy_header
//! cargo +nightly fuzz run proxy_header fuzz/corpus/proxy_header fuzz/seeds/proxy_header -- -max_len=5000
//! ```

#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use ringgate_engine::proxy_protocol::{
    Addresses, BYTES_MAX, ClientCertificate, Header, Parsed, Tls, Tlvs, parse, v1, v2,
};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    assert!(whole != Parsed::Incomplete || bytes.len() < BYTES_MAX);
    for end in (0..bytes.len()).step_by(bytes.len() / 128 + 1) {
        let part = parse(&bytes[..end]);
        assert!(
            part == Parsed::Incomplete || part == whole,
            "{end}: {part:?}"
        );
    }
    if whole != Parsed::Incomplete {
        assert_eq!(parse(&[bytes, bytes].concat()), whole);
    }
    if let Parsed::Header(Header { addresses, length }) = whole {
        assert!(length <= bytes.len() && length <= BYTES_MAX);
        assert_eq!(parse(&bytes[..length]), whole);
        assert_eq!(parse(&bytes[..length - 1]), Parsed::Incomplete);
        check_written(addresses, bytes);
    }
    check_written(drawn(bytes), bytes);
});

/// What is written of these addresses, with TLVs made of the bytes, is read as the same.
fn check_written(addresses: Option<Addresses>, bytes: &[u8]) {
    let read = |header: &[u8]| {
        assert!(header.len() <= BYTES_MAX);
        let Parsed::Header(Header { addresses, length }) = parse(&[header, bytes].concat()) else {
            panic!("{header:02x?} is not read");
        };
        assert_eq!(length, header.len());
        addresses
    };
    let text = String::from_utf8_lossy(bytes);
    let (one, other) = text.split_once('/').unwrap_or((&text, "other"));
    let tls = Tls {
        version: one,
        cipher: Some(other),
        client_certificate: bytes.first().map(|byte| ClientCertificate {
            common_name: Some(one).filter(|_| byte & 1 == 0),
            is_resumed: byte & 2 == 0,
        }),
    };
    let tlvs = Tlvs {
        authority: Some(one),
        alpn: Some(other.as_bytes()),
        tls: bytes.last().filter(|byte| *byte & 1 == 0).map(|_| tls),
    };
    // Neither version names clients of Unix sockets.
    let of_ip = addresses.filter(|addresses| *addresses != Addresses::Unix);
    let expected = of_ip.map(canonical);
    assert_eq!(read(&v2(addresses, &tlvs)).map(canonical), expected);
    assert_eq!(read(&v1(addresses)).map(canonical), expected);
}

/// Two addresses of any families out of the bytes.
fn drawn(bytes: &[u8]) -> Option<Addresses> {
    let (ips, rest) = bytes.split_first_chunk::<32>()?;
    let (source, destination) = ips.split_first_chunk::<16>()?;
    let [kind, ports @ ..] = rest.first_chunk::<5>()?;
    let ip = |octets: &[u8; 16], is_v4: bool| match octets.first_chunk::<4>() {
        Some(octets) if is_v4 => IpAddr::from(*octets),
        _ => IpAddr::from(*octets),
    };
    let destination = destination.first_chunk()?;
    Some(Addresses::Ip {
        source: SocketAddr::new(
            ip(source, kind & 1 == 0),
            u16::from_be_bytes([ports[0], ports[1]]),
        ),
        destination: SocketAddr::new(
            ip(destination, kind & 2 == 0),
            u16::from_be_bytes([ports[2], ports[3]]),
        ),
    })
}

fn canonical(addresses: Addresses) -> Addresses {
    let of = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    match addresses {
        Addresses::Ip {
            source,
            destination,
        } => Addresses::Ip {
            source: of(source),
            destination: of(destination),
        },
        Addresses::Unix => Addresses::Unix,
    }
}
