//! The power of two choices: two members drawn at random by weight, the less loaded one wins.
//! Near to least connections in constant time; it never sends all workers to the same idle server.

use crate::alias::Alias;
use crate::{Cursor, Loads, Member, ServerId, Tried};

/// The one of two different untried members, drawn by weight, with the lower active / weight. The first
/// drawn wins a tie, so servers equally busy for their weights share as their weights say.
#[inline]
pub(crate) fn pick(
    alias: &Alias,
    members: &[Member],
    cursor: &mut Cursor,
    loads: &impl Loads,
    tried: &Tried,
) -> Option<ServerId> {
    let first = alias.draw(members, cursor, |server| tried.contains(server))?;
    let excluded = |server| server == first.id || tried.contains(server);
    let Some(second) = alias.draw(members, cursor, excluded) else {
        return Some(first.id);
    };
    let cost = |this: Member, other: Member| {
        u64::from(loads.active(this.id)) * u64::from(other.weight.get())
    };
    if cost(second, first) < cost(first, second) {
        Some(second.id)
    } else {
        Some(first.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Active, members, tried};

    #[test]
    fn of_two_servers_the_less_loaded_always_wins() {
        let check = |weights: &[u16], loads: [u32; 2], expected: u16| {
            let members = members(weights);
            let alias = Alias::new(&members);
            for seed in 0..200 {
                let loads = Active(loads.to_vec());
                let server = pick(
                    &alias,
                    &members,
                    &mut Cursor::new(seed),
                    &loads,
                    &Tried::new(),
                );
                assert_eq!(server, Some(ServerId(expected)), "{weights:?}, seed {seed}");
            }
        };
        check(&[1, 1], [3, 4], 0);
        check(&[1, 1], [4, 3], 1);
        check(&[256, 1], [257, 1], 1);
        check(&[256, 1], [255, 1], 0);
    }

    #[test]
    fn the_most_loaded_of_many_is_never_picked() {
        let members = members(&[1; 16]);
        let alias = Alias::new(&members);
        let loads = Active((0..16).collect());
        let mut cursor = Cursor::new(4);
        for _ in 0..10_000 {
            let server = pick(&alias, &members, &mut cursor, &loads, &Tried::new());
            assert_ne!(server, Some(ServerId(15)));
        }
    }

    #[test]
    fn lasting_connections_settle_near_their_weights() {
        let members = members(&[1, 2, 5, 8]);
        let alias = Alias::new(&members);
        let mut loads = Active(vec![0; 4]);
        let mut cursor = Cursor::new(3);
        for _ in 0..16_000 {
            let server = pick(&alias, &members, &mut cursor, &loads, &Tried::new()).unwrap();
            loads.0[server.index()] += 1;
        }
        for (found, expected) in loads.0.iter().zip([1000, 2000, 5000, 8000]) {
            assert!(found.abs_diff(expected) <= 20, "{:?}", loads.0);
        }
    }

    #[test]
    fn the_last_untried_server_needs_no_rival() {
        let members = members(&[1, 256, 256]);
        let alias = Alias::new(&members);
        let loads = Active(vec![1_000, 0, 0]);
        let server = pick(
            &alias,
            &members,
            &mut Cursor::new(0),
            &loads,
            &tried(&[1, 2]),
        );
        assert_eq!(server, Some(ServerId(0)));
    }
}
