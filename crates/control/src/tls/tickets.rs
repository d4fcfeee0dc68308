//! Session tickets (RFC 5077, RFC 8446 §4.6.1): what a client keeps, sealed, to resume its session with. A ticket is
//! good only at the listener that made it, and only as long as that asks clients for the same certificates
//! (CVE-2025-23419); it says when it was made, so it ends in time under whatever key. No worker waits for a lock here.

mod keyring;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use rustls::server::ProducesTickets;

use super::files::Digest;

pub(crate) use self::keyring::TicketKeys;
use self::keyring::{KEY_NAME_BYTES, Keyring};

/// How long a session can be resumed, in seconds.
const LIFETIME: u32 = 12 * 60 * 60;

/// How far the clocks of two nodes that share keys may be apart, in seconds.
const CLOCKS_APART_MAX: u64 = 5 * 60;

/// The longest session that is sealed; it grows with the chain that the client has shown. A ticket comes back within a
/// ClientHello, which is looked at only up to a length, and clients take no ticket of any size.
const SESSION_BYTES_MAX: usize = 8 * 1024;

/// When it was made, in seconds since 1970: the first bytes of what is sealed.
const TIME_BYTES: usize = 8;

/// Makes and takes the tickets of a listener. A ticket is the name of its key, a nonce, and what is sealed.
#[derive(Debug)]
pub(super) struct Ticketer {
    keys: Arc<TicketKeys>,
    binding: Digest,
}

impl Ticketer {
    /// With these keys, for tickets that are good only where the binding is the same.
    pub(super) fn new(keys: Arc<TicketKeys>, binding: Digest) -> Ticketer {
        Ticketer { keys, binding }
    }

    fn seal(&self, message: &[u8], now: u64) -> Option<Vec<u8>> {
        if message.len() > SESSION_BYTES_MAX {
            return None;
        }
        let ring = self.keys.load();
        let key = ring.current();
        let mut sealed = Vec::with_capacity(TIME_BYTES + message.len() + 16);
        sealed.extend_from_slice(&now.to_be_bytes());
        sealed.extend_from_slice(message);
        let nonce = key
            .cipher
            .seal_in_place_append_tag(Aad::from(self.binding.0), &mut sealed)
            .ok()?;
        let mut ticket = Vec::with_capacity(KEY_NAME_BYTES + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(KEY_NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let ring: &Keyring = &self.keys.load();
        let mut sealed = sealed.to_vec();
        let opened = ring
            .find(name)?
            .cipher
            .open_in_place(nonce, Aad::from(self.binding.0), &mut sealed)
            .ok()?;
        let (made, message) = opened.split_first_chunk::<TIME_BYTES>()?;
        let made = u64::from_be_bytes(*made);
        let good = made.saturating_sub(CLOCKS_APART_MAX)..=made.saturating_add(LIFETIME.into());
        good.contains(&now).then(|| message.to_vec())
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, now())
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn ticketer(keys: &Arc<TicketKeys>, binding: &str) -> Ticketer {
        Ticketer::new(Arc::clone(keys), Digest::of([binding.as_bytes()]))
    }

    #[test]
    fn a_ticket_comes_back_as_it_was() {
        let keys = Arc::new(TicketKeys::random().unwrap());
        let ticketer = ticketer(&keys, "web");
        for message in [&b""[..], b"session", &[7; 4000]] {
            let ticket = ticketer.seal(message, NOW).unwrap();
            assert_eq!(ticketer.open(&ticket, NOW).as_deref(), Some(message));
        }
        assert_ne!(ticketer.seal(b"same", NOW), ticketer.seal(b"same", NOW));
        let ticket = ticketer.encrypt(b"session").unwrap();
        assert_eq!(ticketer.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    }

    #[test]
    fn a_session_that_would_make_a_ticket_too_long_gets_none() {
        let keys = Arc::new(TicketKeys::random().unwrap());
        let ticketer = ticketer(&keys, "web");
        let seals = |length: usize| ticketer.seal(&vec![7; length], NOW).is_some();
        assert!(seals(SESSION_BYTES_MAX));
        assert!(!seals(SESSION_BYTES_MAX + 1));
    }

    #[test]
    fn a_ticket_is_good_only_where_it_was_made() {
        let keys = Arc::new(TicketKeys::random().unwrap());
        let ticket = ticketer(&keys, "web").seal(b"session", NOW).unwrap();
        assert_eq!(ticketer(&keys, "admin").open(&ticket, NOW), None);
        let others = Arc::new(TicketKeys::random().unwrap());
        assert_eq!(ticketer(&others, "web").open(&ticket, NOW), None);
    }

    #[test]
    fn a_ticket_ends_in_time_and_outlives_the_rotation_of_its_key() {
        let keys = Arc::new(TicketKeys::random().unwrap());
        let ticketer = ticketer(&keys, "web");
        let ticket = ticketer.seal(b"session", NOW).unwrap();
        let lifetime = u64::from(LIFETIME);
        for (after, good) in [(0, true), (lifetime, true), (lifetime + 1, false)] {
            assert_eq!(
                ticketer.open(&ticket, NOW + after).is_some(),
                good,
                "{after}"
            );
        }
        assert!(ticketer.open(&ticket, NOW - CLOCKS_APART_MAX).is_some());
        assert_eq!(ticketer.open(&ticket, NOW - CLOCKS_APART_MAX - 1), None);
        for good in [true, true, false] {
            keys.rotate().unwrap();
            assert_eq!(ticketer.open(&ticket, NOW).is_some(), good);
        }
    }

    #[test]
    fn what_was_changed_or_cut_is_not_taken() {
        let keys = Arc::new(TicketKeys::random().unwrap());
        let ticketer = ticketer(&keys, "web");
        let ticket = ticketer.seal(b"session", NOW).unwrap();
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(ticketer.open(&forged, NOW), None, "byte {at} changed");
            assert_eq!(ticketer.open(&ticket[..at], NOW), None, "cut to {at} bytes");
        }
        // The right name of a key before garbage of every length.
        let mut garbage = ticket[..KEY_NAME_BYTES].to_vec();
        for length in 0..200_u8 {
            assert_eq!(ticketer.open(&garbage, NOW), None);
            garbage.push(length.wrapping_mul(37));
        }
    }
}
