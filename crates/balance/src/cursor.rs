//! What one worker remembers of a pool from pick to pick: a place in the rotation and a random stream.
//! Owned by one worker and never shared, so workers meet only in the servers' loads.

/// 2⁶⁴ divided by the golden ratio: its multiples are spread evenly over the 64-bit circle.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The state of one worker's picks from one pool.
///
/// It outlives the pool's tables: a new table goes on from the same place, or where the table is now
/// shorter than that, from the place where this worker once started.
#[derive(Clone, Debug)]
pub struct Cursor {
    position: usize,
    start: u64,
    random: u64,
}

impl Cursor {
    /// A cursor whose whole course follows from `seed`.
    ///
    /// Seeds 0, 1, 2, … (the workers' numbers) give starts that lie evenly apart on any rotation, and
    /// unrelated random streams.
    pub const fn new(seed: u64) -> Cursor {
        Cursor {
            position: usize::MAX,
            start: seed.wrapping_mul(GOLDEN),
            random: seed,
        }
    }

    /// The place in a rotation of `length` steps, which must not be 0.
    #[inline]
    pub(crate) fn position(&mut self, length: usize) -> usize {
        if self.position >= length {
            self.position = below(self.start, length);
        }
        self.position
    }

    /// Makes the step after `position` the next one in a rotation of `length` steps.
    #[inline]
    pub(crate) fn leave(&mut self, position: usize, length: usize) {
        self.position = if position + 1 < length {
            position + 1
        } else {
            0
        };
    }

    /// The next 64 random bits: splitmix64 (Steele, Lea, Flood 2014), not for secrets.
    #[inline]
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(GOLDEN);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A random number below `bound`, which must not be 0.
    #[inline]
    pub(crate) fn random_below(&mut self, bound: usize) -> usize {
        below(self.random(), bound)
    }
}

/// The 64-bit circle mapped onto `0..bound`, without a division (Lemire 2019).
#[inline]
fn below(point: u64, bound: usize) -> usize {
    ((u128::from(point) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_random_stream_is_splitmix64() {
        let mut cursor = Cursor::new(1_234_567);
        assert_eq!(cursor.random(), 6_457_827_717_110_365_317);
        assert_eq!(cursor.random(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn workers_start_evenly_apart() {
        for (workers, length) in [(2, 3), (4, 64), (8, 100), (16, 1000)] {
            let mut starts: Vec<usize> = (0..workers)
                .map(|worker| Cursor::new(worker).position(length))
                .collect();
            starts.sort_unstable();
            starts.push(starts[0] + length);
            let nearest = starts.windows(2).map(|pair| pair[1] - pair[0]).min();
            let even = length / workers as usize;
            assert!(
                nearest >= Some(even / 3),
                "{workers} workers on {length}: {starts:?}"
            );
            assert!(nearest > Some(0), "{starts:?}");
        }
    }

    #[test]
    fn a_shorter_rotation_goes_on_within_it() {
        let mut cursor = Cursor::new(3);
        cursor.leave(899, 1000);
        assert_eq!(cursor.position(1000), 900);
        assert!(cursor.position(10) < 10);
        cursor.leave(9, 10);
        assert_eq!(cursor.position(10), 0);
    }
}
