//! Weighted random draws in constant time: Walker's alias method, built as Vose (1991) does.
//! It never returns a member that the caller excludes, and never draws without end.

use crate::{Cursor, Member, ServerId};

/// Draws that may hit an excluded member before the rest is weighed one by one.
const DRAWS_MAX: usize = 4;

/// One column per member, all drawn equally often; each is split between at most two members so that
/// every member's parts add up to its weight.
#[derive(Clone, Debug)]
pub(crate) struct Alias(Box<[Column]>);

#[derive(Clone, Copy, Debug)]
struct Column {
    own: Member,
    other: Member,
    /// The part of the column that is `own`, in units of 2⁻³².
    own_below: u32,
}

impl Alias {
    pub(crate) fn new(members: &[Member]) -> Alias {
        let total: u64 = members.iter().map(|m| u64::from(m.weight.get())).sum();
        // A column holds `total`, a member `weight × columns`: whole numbers, so nothing is lost.
        let columns = members.len() as u64;
        let mut left: Vec<u64> = members
            .iter()
            .map(|m| u64::from(m.weight.get()) * columns)
            .collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..members.len()).partition(|&i| left[i] < total);
        let full = |member: &Member| Column {
            own: *member,
            other: *member,
            own_below: 0,
        };
        let mut table: Box<[Column]> = members.iter().map(full).collect();
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            table[poor].other = members[rich];
            table[poor].own_below = ((left[poor] << 32) / total) as u32;
            left[rich] -= total - left[poor];
            if left[rich] < total {
                large.pop();
                small.push(rich);
            }
        }
        Alias(table)
    }

    /// A random member that is not excluded, as often as its weight among those says; `None` when all
    /// are. `members` are those the table was built from.
    #[inline]
    pub(crate) fn draw(
        &self,
        members: &[Member],
        cursor: &mut Cursor,
        excluded: impl Fn(ServerId) -> bool,
    ) -> Option<Member> {
        if self.0.is_empty() {
            return None;
        }
        for _ in 0..DRAWS_MAX {
            let member = self.draw_any(cursor);
            if !excluded(member.id) {
                return Some(member);
            }
        }
        draw_slowly(members, cursor, excluded)
    }

    #[inline]
    fn draw_any(&self, cursor: &mut Cursor) -> Member {
        let random = cursor.random();
        let high = (random >> 32) as usize;
        let column = self.0[(high * self.0.len()) >> 32];
        if (random as u32) < column.own_below {
            column.own
        } else {
            column.other
        }
    }
}

/// The same distribution by adding up the weights of all that are not excluded.
#[cold]
fn draw_slowly(
    members: &[Member],
    cursor: &mut Cursor,
    excluded: impl Fn(ServerId) -> bool,
) -> Option<Member> {
    let allowed = || members.iter().filter(|member| !excluded(member.id));
    let total: usize = allowed().map(|m| usize::from(m.weight.get())).sum();
    if total == 0 {
        return None;
    }
    let mut point = cursor.random_below(total);
    for member in allowed() {
        let weight = usize::from(member.weight.get());
        if point < weight {
            return Some(*member);
        }
        point -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{members, weights_of};

    /// Every member's parts of the columns add up to its weight, but for the rounding of a part.
    #[test]
    fn columns_hold_every_weight_exactly() {
        for (size, seed) in [1, 2, 3, 10, 100, 4096].into_iter().zip(0..) {
            let weights = weights_of(size, seed);
            let alias = Alias::new(&members(&weights));
            let mut parts = vec![0_u64; size];
            for column in &alias.0 {
                parts[column.own.id.index()] += u64::from(column.own_below);
                parts[column.other.id.index()] += (1 << 32) - u64::from(column.own_below);
            }
            let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            for (&part, &weight) in parts.iter().zip(&weights) {
                let exact = (u128::from(weight) * size as u128) << 32;
                let off = (u128::from(part) * u128::from(total)).abs_diff(exact);
                assert!(off <= u128::from(total) * size as u128, "{size}: {off}");
            }
        }
    }

    #[test]
    fn a_slow_draw_follows_the_weights_too() {
        let members = members(&[1, 100, 3, 6]);
        let mut cursor = Cursor::new(8);
        let mut counts = [0_i32; 4];
        for _ in 0..10_000 {
            let member = draw_slowly(&members, &mut cursor, |server| server == ServerId(1));
            counts[member.unwrap().id.index()] += 1;
        }
        for (count, expected) in counts.into_iter().zip([1000, 0, 3000, 6000]) {
            assert!((count - expected).abs() < 200, "{counts:?}");
        }
        assert!(draw_slowly(&members, &mut cursor, |_| true).is_none());
    }
}
