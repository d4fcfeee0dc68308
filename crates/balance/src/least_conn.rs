//! Least connections: the server for which one more connection means the least load for its weight.
//! It looks at every member, so the answer is exact for the loads it was shown; it never keeps an order.

use crate::{Cursor, Loads, Member, ServerId, Tried};

/// The untried member of the lowest (active + 1) / weight. Among equals it is the first one after the
/// member chosen last, so equals take turns.
#[inline]
pub(crate) fn pick(
    members: &[Member],
    cursor: &mut Cursor,
    loads: &impl Loads,
    tried: &Tried,
) -> Option<ServerId> {
    if members.is_empty() {
        return None;
    }
    let start = cursor.position(members.len());
    let mut best: Option<Candidate> = None;
    for position in (start..members.len()).chain(0..start) {
        let member = members[position];
        if tried.contains(member.id) {
            continue;
        }
        let candidate = Candidate {
            position,
            connections: u64::from(loads.active(member.id)) + 1,
            weight: u64::from(member.weight.get()),
        };
        if best.as_ref().is_none_or(|best| candidate.is_below(best)) {
            best = Some(candidate);
        }
    }
    let position = best?.position;
    cursor.leave(position, members.len());
    Some(members[position].id)
}

struct Candidate {
    position: usize,
    connections: u64,
    weight: u64,
}

impl Candidate {
    /// Compares the fractions by cross-multiplication; 2³² × 256 is far from overflow.
    fn is_below(&self, other: &Candidate) -> bool {
        self.connections * other.weight < other.connections * self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Active, IDLE, members, tried, weights_of};

    /// The lowest (active + 1) / weight that an untried member has, as a fraction.
    fn lowest(members: &[Member], loads: &Active, tried: &Tried) -> Option<f64> {
        members
            .iter()
            .filter(|member| !tried.contains(member.id))
            .map(|member| load(member, loads))
            .min_by(f64::total_cmp)
    }

    fn load(member: &Member, loads: &Active) -> f64 {
        f64::from(loads.active(member.id) + 1) / f64::from(member.weight.get())
    }

    #[test]
    fn the_pick_is_always_a_least_loaded_one() {
        for seed in 0..2000 {
            let mut random = Cursor::new(seed);
            let size = random.random_below(20);
            let members = members(&weights_of(size, seed));
            let loads = Active((0..size).map(|_| random.random_below(50) as u32).collect());
            let some: Vec<u16> = (0..random.random_below(6) as u16).collect();
            let tried = tried(&some);
            let server = pick(&members, &mut random, &loads, &tried);
            let found = server.map(|server| load(&members[server.index()], &loads));
            assert_eq!(found, lowest(&members, &loads, &tried), "seed {seed}");
            assert!(server.is_none_or(|server| !tried.contains(server)));
        }
    }

    /// Connections that never end: each server ends up with its weight's share of them.
    #[test]
    fn lasting_connections_settle_by_weight() {
        let members = members(&[1, 2, 5]);
        let mut loads = Active(vec![0; 3]);
        let mut cursor = Cursor::new(0);
        for _ in 0..800 {
            let server = pick(&members, &mut cursor, &loads, &Tried::new()).unwrap();
            loads.0[server.index()] += 1;
        }
        assert_eq!(loads.0, [100, 200, 500]);
    }

    #[test]
    fn equals_take_turns_even_among_busier_ones() {
        let members = members(&[1; 10]);
        let mut loads = Active(vec![9; 10]);
        loads.0[2] = 4;
        loads.0[3] = 4;
        let mut cursor = Cursor::new(0);
        let picks: Vec<u16> = (0..6)
            .map(|_| {
                pick(&members, &mut cursor, &loads, &Tried::new())
                    .unwrap()
                    .0
            })
            .collect();
        assert_eq!(picks, [2, 3, 2, 3, 2, 3]);
        let first = pick(&members, &mut Cursor::new(1), &IDLE, &Tried::new());
        let second = pick(&members, &mut Cursor::new(2), &IDLE, &Tried::new());
        assert_ne!(first, second, "workers start apart");
    }
}
