//! Weighted round robin: a fixed sequence of slots, walked in a circle, in which every server owns as
//! many slots as its weight says and they lie evenly apart. It never looks at loads.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::{Cursor, Member, ServerId, Tried};

/// The slots that a sequence may have in any case: exact weights for every pool of up to 4,096 servers.
const SLOTS_MAX: u64 = 1 << 20;

/// The slots that a sequence may have for each server of a larger pool.
const SLOTS_PER_SERVER: u64 = 64;

/// One turn through all weights, each server in as many slots as its weight divided by the weights'
/// greatest common divisor.
///
/// After any number of slots a server's count is less than one away from its exact share. The slots are
/// given out as in Tijdeman's "chairman assignment" (1980): a server's n-th slot has the window in which
/// it keeps that promise, and the open window that closes first goes first. nginx's smooth
/// round robin makes a similar sequence but promises no bound and takes servers × slots steps to build.
///
/// Where the turn would be longer than both bounds above, weights are rounded to fit them, no server to
/// less than one slot. Less than 1 % of the connections then go elsewhere than by exact weights.
#[derive(Clone, Debug)]
pub(crate) struct Sequence(Box<[ServerId]>);

impl Sequence {
    pub(crate) fn new(members: &[Member]) -> Sequence {
        let counts = counts(members);
        let total: u64 = counts.iter().sum();
        let mut ahead: BinaryHeap<_> = (0..members.len()).map(|i| Reverse((0, i))).collect();
        let mut open = BinaryHeap::new();
        let mut placed = vec![0; members.len()];
        let slots = (0..total).map(|slot| {
            while let Some(&Reverse((opens, member))) = ahead.peek()
                && opens <= slot
            {
                ahead.pop();
                let closes = ((placed[member] + 1) * total).div_ceil(counts[member]);
                open.push(Reverse((closes, member)));
            }
            let Reverse((_, member)) = open
                .pop()
                .expect("windows of a total of one slot per slot leave one open, by Tijdeman");
            placed[member] += 1;
            if placed[member] < counts[member] {
                ahead.push(Reverse((placed[member] * total / counts[member], member)));
            }
            members[member].id
        });
        Sequence(slots.collect())
    }

    /// The server of the next slot whose server is untried. Slots passed over are used up, so the
    /// others share a dead server's slots as if it were not in the table.
    #[inline]
    pub(crate) fn pick(&self, cursor: &mut Cursor, tried: &Tried) -> Option<ServerId> {
        let length = self.0.len();
        if length == 0 {
            return None;
        }
        for _ in 0..length {
            let position = cursor.position(length);
            cursor.leave(position, length);
            let server = self.0[position];
            if !tried.contains(server) {
                return Some(server);
            }
        }
        None
    }
}

/// How many slots each member owns.
fn counts(members: &[Member]) -> Vec<u64> {
    let weights = || members.iter().map(|member| u64::from(member.weight.get()));
    let divisor = weights().fold(0, greatest_common_divisor).max(1);
    let total: u64 = weights().sum();
    let slots_max = SLOTS_MAX.max(members.len() as u64 * SLOTS_PER_SERVER);
    if total / divisor <= slots_max {
        return weights().map(|weight| weight / divisor).collect();
    }
    let rounded = |weight| (weight * slots_max + total / 2) / total;
    weights().map(|weight| rounded(weight).max(1)).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{members, share, weights_of};

    fn slots(weights: &[u16]) -> Vec<usize> {
        let sequence = Sequence::new(&members(weights));
        sequence.0.iter().map(|server| server.index()).collect()
    }

    #[test]
    fn sequences_that_a_person_can_check() {
        let check = |weights: &[u16], expected: &[usize]| {
            assert_eq!(slots(weights), expected, "{weights:?}");
        };
        check(&[], &[]);
        check(&[7], &[0]);
        check(&[3, 3, 3], &[0, 1, 2]);
        check(&[4, 2], &[0, 0, 1]);
        check(&[1, 1, 4], &[2, 2, 0, 2, 1, 2]);
        check(&[3, 2, 1], &[0, 1, 0, 1, 0, 2]);
        check(&[5, 1, 1], &[0, 0, 0, 1, 0, 0, 2]);
    }

    /// Every member stands in a turn as often as its weight says, and after each slot it is less than
    /// one slot away from its exact share.
    #[test]
    fn every_turn_is_exact_and_smooth() {
        for (size, seed) in [1, 2, 3, 4, 5, 7, 10, 33, 100].into_iter().zip(0..) {
            let weights = weights_of(size, seed);
            let slots = slots(&weights);
            let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
            let length = slots.len() as i64;
            assert_eq!(total % length, 0, "a turn is the total over the divisor");
            let mut seen = vec![0; size];
            for (slot, &server) in (1..).zip(&slots) {
                seen[server] += 1;
                for (seen, &weight) in seen.iter().zip(&weights) {
                    let away = seen * total - slot * i64::from(weight);
                    assert!(
                        away.abs() < total,
                        "slot {slot} of {weights:?} is {away}/{total} off"
                    );
                }
            }
            for (seen, &weight) in seen.iter().zip(&weights) {
                assert_eq!(seen * total, i64::from(weight) * length);
            }
        }
    }

    #[test]
    fn weights_are_exact_up_to_4096_servers() {
        let mut weights = vec![256; 4096];
        weights[0] = 255;
        let exact: Vec<u64> = weights.iter().map(|&weight| weight.into()).collect();
        assert_eq!(counts(&members(&weights)), exact);
    }

    /// The worst mixes for rounding: some servers below one slot, the others of the largest weight.
    #[test]
    fn rounded_weights_misplace_less_than_one_percent() {
        for (size, light_of_ten) in [
            (10_000, 4),
            (16_384, 5),
            (65_536, 2),
            (65_536, 5),
            (65_536, 7),
        ] {
            let weights: Vec<u16> = (0..size)
                .map(|i| if i % 10 < light_of_ten { 1 } else { 256 })
                .collect();
            let counts = counts(&members(&weights));
            let length: u64 = counts.iter().sum();
            let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            let misplaced: f64 = counts
                .iter()
                .zip(&weights)
                .map(|(&count, &weight)| share(count, length) - share(weight.into(), total))
                .filter(|excess| *excess > 0.0)
                .sum();
            assert!(misplaced < 0.01, "{size} servers: {misplaced}");
        }
    }
}
