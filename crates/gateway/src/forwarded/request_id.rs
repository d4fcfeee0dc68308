//! The name of a request, by which its log lines are found on every host it passed. It is no secret.

use crate::fields::{Fields, Known};

/// Bytes of the longest that is kept from a trusted proxy.
const BYTES_MAX: usize = 128;
const MADE_BYTES: usize = 32;

/// The name of one request: visible ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; BYTES_MAX],
    len: u8,
}

impl RequestId {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// As it is written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// `None` when it is empty, too long or has other bytes than visible ASCII.
    fn of(given: &[u8]) -> Option<Self> {
        let is_good = !given.is_empty() && given.iter().all(u8::is_ascii_graphic);
        let mut bytes = [0; BYTES_MAX];
        let room = bytes.get_mut(..given.len()).filter(|_| is_good)?;
        room.copy_from_slice(given);
        let len = given.len() as u8;
        Some(Self { bytes, len })
    }
}

/// The name of the request with these fields: the one that a trusted proxy gave it, or a new one.
pub fn request_id(fields: &Fields, is_peer_trusted: bool, ids: &mut RequestIds) -> RequestId {
    let mut given = fields.all(Known::XRequestId).filter(|_| is_peer_trusted);
    match (given.next(), given.next()) {
        (Some(one), None) => RequestId::of(one).unwrap_or_else(|| ids.next_id()),
        _ => ids.next_id(),
    }
}

/// Where a worker's new names come from: 128 bits each of xoshiro256++ (Blackman, Vigna 2019), whose 256 bits of
/// state the system's randomness set. Names of different workers and processes do not meet, and none is guessed from
/// outside; but whoever sees many of one worker may reckon its next ones, so nothing may be let in by a name.
#[derive(Debug)]
pub struct RequestIds([u64; 4]);

impl RequestIds {
    /// Begun by the system's randomness.
    ///
    /// # Panics
    /// When the system has no randomness.
    pub fn new() -> Self {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).expect("the system has randomness");
        let (words, _) = seed.as_chunks::<8>();
        let mut state = [0; 4];
        for (number, word) in state.iter_mut().zip(words) {
            *number = u64::from_le_bytes(*word);
        }
        Self::from_state(state)
    }

    /// Begun by a state, of which all follows.
    fn from_state(state: [u64; 4]) -> Self {
        // Of nothing but zeros only zeros would follow.
        Self(if state == [0; 4] { [1; 4] } else { state })
    }

    /// The next 64 random bits, not for secrets.
    pub fn random(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A new name: 32 hexadecimal digits.
    pub fn next_id(&mut self) -> RequestId {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let number = u128::from(self.random()) << 64 | u128::from(self.random());
        let mut bytes = [0; BYTES_MAX];
        for (pair, byte) in bytes.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        RequestId {
            bytes,
            len: MADE_BYTES as u8,
        }
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_numbers_are_those_of_xoshiro256_plus_plus() {
        let mut ids = RequestIds::from_state([1, 2, 3, 4]);
        let found: Vec<u64> = (0..4).map(|_| ids.random()).collect();
        // The first outputs for this state, as rand_xoshiro's test has them.
        let expected = [
            41_943_041,
            58_720_359,
            3_588_806_011_781_223,
            3_591_011_842_654_386,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn new_names_are_32_digits_and_differ() {
        let mut ids = RequestIds::new();
        let mut other = RequestIds::new();
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            for id in [ids.next_id(), other.next_id()] {
                let text = id.as_str();
                let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                assert!(text.len() == 32 && text.bytes().all(is_digit), "{text}");
                assert!(seen.insert(text.to_owned()));
            }
        }
    }

    #[test]
    fn only_a_trusted_proxy_names_a_request_and_only_well() {
        let mut ids = RequestIds::new();
        let mut name = |given: &[&str], is_trusted| {
            let mut fields = Fields::default();
            for value in given {
                fields.push("x-request-id", value.as_bytes());
            }
            let id = request_id(&fields, is_trusted, &mut ids);
            given.first() == Some(&id.as_str())
        };
        let longest = "a".repeat(128);
        assert!(name(&["a-1/~"], true));
        assert!(name(&[&longest], true));
        assert!(!name(&["a-1/~"], false));
        assert!(!name(&[&format!("{longest}a")], true));
        for wrong in ["", "a b", "a\t", "é", "a\r\nb"] {
            assert!(!name(&[wrong], true), "{wrong}");
        }
        assert!(!name(&["a", "b"], true));
        assert!(!name(&[], true));
    }
}
