//! The client of a request: who connected, or behind trusted proxies whom they name in `X-Forwarded-For`. It reads
//! that field from its end, where the nearest proxy wrote, and only as far as what stands there is believed.

use std::net::{IpAddr, Ipv6Addr};

use crate::networks::Networks;

/// Addresses of `X-Forwarded-For` that are looked at.
const ENTRIES_MAX: usize = 64;
/// Bytes of it that are looked at.
const BYTES_MAX: usize = 4096;

/// Who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr {
    /// Its address, an IPv4 one never written as IPv6; `None` behind a unix socket when nobody names one.
    pub address: Option<IpAddr>,
    /// Whether the peer is a trusted proxy: what it says of the client's request is believed.
    pub is_peer_trusted: bool,
}

/// The client: the right-most address of `X-Forwarded-For` that is no trusted proxy, when the peer is one; otherwise
/// the peer. Of trusted proxies alone it is the first that they name.
///
/// A peer behind a unix socket is on this host: it is trusted exactly when some proxies are (`trusted` is not empty).
/// Entries that are no address (`unknown`, an empty one) are not believed, and nothing to their left is.
pub fn client_of<'a>(
    peer: Option<IpAddr>,
    is_unix: bool,
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &Networks,
) -> ClientAddr {
    let peer = peer.map(|peer| peer.to_canonical());
    let is_peer_trusted = match peer {
        Some(peer) => trusted.hold(peer),
        None => is_unix && !trusted.is_empty(),
    };
    let mut client = ClientAddr {
        address: peer,
        is_peer_trusted,
    };
    if !is_peer_trusted {
        return client;
    }
    for address in believable(forwarded_for) {
        client.address = Some(address);
        if !trusted.hold(address) {
            break;
        }
    }
    client
}

/// The addresses from the last to the first, up to one that is none.
fn believable<'a>(
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> impl Iterator<Item = IpAddr> {
    let mut budget = BYTES_MAX;
    let entries = values
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','));
    let entries = entries.take(ENTRIES_MAX).map_while(move |entry| {
        budget = budget.checked_sub(entry.len() + 1)?;
        Some(entry)
    });
    entries.map_while(address)
}

/// The address of an entry, which may have a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let address = match text.strip_prefix('[') {
        Some(text) => {
            let (address, port) = text.split_once(']')?;
            if !port.is_empty() {
                is_port(port.strip_prefix(':')?).then_some(())?;
            }
            IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
        }
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => {
                is_port(port).then_some(())?;
                IpAddr::V4(address.parse().ok()?)
            }
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    let is_short = (1..=5).contains(&text.len());
    is_short && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringgate_config::Network;

    fn networks(texts: &[&str]) -> Networks {
        let network = |text: &&str| {
            let (first, prefix) = text.split_once('/').unwrap();
            Network {
                first: first.parse().unwrap(),
                prefix: prefix.parse().unwrap(),
            }
        };
        Networks::new(&texts.iter().map(network).collect::<Vec<_>>())
    }

    fn client(peer: Option<&str>, values: &[&str], trusted: &Networks) -> (Option<String>, bool) {
        let found = client_of(
            peer.map(|peer| peer.parse().unwrap()),
            peer.is_none(),
            values.iter().map(|value| value.as_bytes()),
            trusted,
        );
        (
            found.address.map(|address| address.to_string()),
            found.is_peer_trusted,
        )
    }

    #[track_caller]
    fn check(peer: &str, values: &[&str], expected: &str) {
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        let (found, is_trusted) = client(Some(peer), values, &trusted);
        assert_eq!(found.as_deref(), Some(expected), "{peer}: {values:?}");
        assert_eq!(is_trusted, peer != "203.0.113.9", "{peer}");
    }

    #[test]
    fn the_client_is_the_nearest_that_is_no_trusted_proxy() {
        check("203.0.113.9", &["1.1.1.1"], "203.0.113.9");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["1.1.1.1"], "1.1.1.1");
        check("::ffff:10.0.0.1", &["1.1.1.1"], "1.1.1.1");
        check("10.0.0.1", &["9.9.9.9, 1.1.1.1"], "1.1.1.1");
        check(
            "10.0.0.1",
            &["9.9.9.9,1.1.1.1 , 10.2.3.4\t,fd00::1"],
            "1.1.1.1",
        );
        check("10.0.0.1", &["9.9.9.9", "1.1.1.1", "10.0.0.2"], "1.1.1.1");
        check("fd00::9", &["2001:db8::1"], "2001:db8::1");
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check("10.0.0.1", &["::ffff:1.1.1.1"], "1.1.1.1");
    }

    #[test]
    fn ports_and_brackets_are_left_out() {
        check("10.0.0.1", &["1.1.1.1:80"], "1.1.1.1");
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]:65535"], "2001:db8::1");
    }

    #[test]
    fn nothing_left_of_a_malformed_entry_is_believed() {
        for wrong in [
            "unknown",
            "",
            "1.1.1",
            "1.1.1.1:",
            "1.1.1.1:x",
            "1.1.1.1:123456",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[1.1.1.1]",
            "::1%lo",
            "1.1.1.1 2.2.2.2",
            "\"1.1.1.1\"",
            "for=1.1.1.1",
            "é",
        ] {
            check("10.0.0.1", &["9.9.9.9", wrong], "10.0.0.1");
            let last = format!("9.9.9.9, {wrong}, 10.0.0.2");
            check("10.0.0.1", &[&last], "10.0.0.2");
        }
    }

    #[test]
    fn a_flood_of_entries_is_not_read_to_its_end() {
        let flood = |count: usize| format!("9.9.9.9{}", ", 10.0.0.2".repeat(count));
        check("10.0.0.1", &[&flood(63)], "9.9.9.9");
        check("10.0.0.1", &[&flood(64)], "10.0.0.2");
        let wide = format!("9.9.9.9,{}10.0.0.2", " ".repeat(BYTES_MAX));
        check("10.0.0.1", &[&wide], "10.0.0.1");
    }

    #[test]
    fn a_unix_socket_is_trusted_when_any_proxy_is() {
        let trusted = networks(&["10.0.0.0/8"]);
        let named = Some("1.1.1.1".to_owned());
        assert_eq!(client(None, &["9.9.9.9, 1.1.1.1"], &trusted), (named, true));
        assert_eq!(client(None, &[], &trusted), (None, true));
        assert_eq!(client(None, &["1.1.1.1"], &networks(&[])), (None, false));
    }
}
