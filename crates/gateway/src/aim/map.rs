//! A hash map of what the configuration names, for keys of some dozen bytes. Its hash is quick and no defence: who
//! asks it cannot put anything in.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map with the quick hash.
pub(super) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Words>>;

/// Eight bytes at a time, each multiplied in and folded.
#[derive(Debug, Default)]
pub(super) struct Words(u64);

impl Words {
    fn add(&mut self, word: u64) {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ word ^ 0xa076_1d64_78bd_642f) * ODD;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(word));
        }
    }

    /// The end of a string, and the length of a slice, which tell `a` from `a\0`.
    fn write_u8(&mut self, byte: u8) {
        self.0 = self.0.rotate_left(5) ^ u64::from(byte);
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = self.0.rotate_left(5) ^ number as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
