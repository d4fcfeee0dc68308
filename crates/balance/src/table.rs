//! The table of a pool: the servers that may get a connection now, made ready for one algorithm.
//! It never changes once built; whatever differs between two picks is handed in by the caller.

use crate::alias::Alias;
use crate::round_robin::Sequence;
use crate::{Cursor, ServerId, Tried, Weight, least_conn, p2c, random};

/// How a pool chooses among its servers; the words of the key `balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Each in turn, as often as its weight says, evenly mixed.
    RoundRobin,
    /// The fewest connections for its weight.
    LeastConn,
    /// The less loaded of two random ones.
    P2c,
    /// A random one, as often as its weight says.
    Random,
}

/// A server as the table sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which server of the pool.
    pub id: ServerId,
    /// Its share relative to the others; 0 leaves it out of the table.
    pub weight: Weight,
}

/// Where a pick learns how busy the servers are.
pub trait Loads {
    /// The connections in flight on the server, those being dialled included. May be a little stale.
    fn active(&self, server: ServerId) -> u32;
}

/// The servers of a pool that may get a connection now, ready for one algorithm.
#[derive(Clone, Debug)]
pub struct Table {
    members: Box<[Member]>,
    choice: Choice,
}

#[derive(Clone, Debug)]
enum Choice {
    RoundRobin(Sequence),
    LeastConn,
    P2c(Alias),
    Random(Alias),
}

impl Table {
    /// A table of these servers without those of weight 0. Every id may stand in `members` once.
    pub fn new(algorithm: Algorithm, members: &[Member]) -> Table {
        let members: Box<[Member]> = members
            .iter()
            .filter(|member| member.weight != Weight::ZERO)
            .copied()
            .collect();
        let choice = match algorithm {
            Algorithm::RoundRobin => Choice::RoundRobin(Sequence::new(&members)),
            Algorithm::LeastConn => Choice::LeastConn,
            Algorithm::P2c => Choice::P2c(Alias::new(&members)),
            Algorithm::Random => Choice::Random(Alias::new(&members)),
        };
        Table { members, choice }
    }

    /// How many servers it holds.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it holds no server, so that every pick gives `None`.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether the server may get connections.
    pub fn contains(&self, server: ServerId) -> bool {
        self.members.iter().any(|member| member.id == server)
    }

    /// The server for the next connection: one of the table that the connection has not tried.
    ///
    /// `None` when there is no such server, or when `tried` is full.
    #[inline]
    pub fn pick(&self, cursor: &mut Cursor, loads: &impl Loads, tried: &Tried) -> Option<ServerId> {
        if tried.is_full() || self.is_spent(tried) {
            return None;
        }
        match &self.choice {
            Choice::RoundRobin(sequence) => sequence.pick(cursor, tried),
            Choice::LeastConn => least_conn::pick(&self.members, cursor, loads, tried),
            Choice::P2c(alias) => p2c::pick(alias, &self.members, cursor, loads, tried),
            Choice::Random(alias) => random::pick(alias, &self.members, cursor, tried),
        }
    }

    /// Whether every server of the table was tried.
    #[inline]
    fn is_spent(&self, tried: &Tried) -> bool {
        self.len() <= tried.len() && self.members.iter().all(|member| tried.contains(member.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Active, IDLE, counts, members, share, table, tried};

    const ALL: [Algorithm; 4] = [
        Algorithm::RoundRobin,
        Algorithm::LeastConn,
        Algorithm::P2c,
        Algorithm::Random,
    ];
    /// The algorithms whose picks follow the weights while all servers are idle.
    const BY_WEIGHT: [Algorithm; 3] = [Algorithm::RoundRobin, Algorithm::P2c, Algorithm::Random];

    /// Checks that in many picks no server's share of all connections is further than `tolerance` from
    /// its weight's share.
    fn check_shares(
        algorithm: Algorithm,
        weights: &[u16],
        seed: u64,
        excluded: &[u16],
        tolerance: f64,
    ) {
        let mut cursor = Cursor::new(seed);
        let picks = 40_000;
        let table = table(algorithm, weights);
        let counts = counts(&table, weights.len(), picks, &mut cursor, &tried(excluded));
        let is_excluded = |server: usize| excluded.contains(&(server as u16));
        let total: u64 = (0..weights.len())
            .filter(|&server| !is_excluded(server))
            .map(|server| u64::from(weights[server]))
            .sum();
        for (server, (&count, &weight)) in counts.iter().zip(weights).enumerate() {
            let expected = if is_excluded(server) {
                0.0
            } else {
                share(weight.into(), total)
            };
            let found = share(count, picks as u64);
            assert!(
                (found - expected).abs() <= tolerance,
                "{algorithm:?} {weights:?} without {excluded:?}, seed {seed}: \
                 server {server} has {found}, not {expected}"
            );
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let pools: [&[u16]; 5] = [
            &[1],
            &[1, 1, 1],
            &[3, 2, 1],
            &[256, 1],
            &[10, 20, 30, 0, 40],
        ];
        for weights in pools {
            for seed in 0..20 {
                check_shares(Algorithm::RoundRobin, weights, seed, &[], 0.0005);
                check_shares(Algorithm::P2c, weights, seed, &[], 0.02);
                check_shares(Algorithm::Random, weights, seed, &[], 0.02);
            }
        }
    }

    #[test]
    fn a_removed_or_tried_server_s_share_goes_to_all_others() {
        for algorithm in BY_WEIGHT {
            for seed in 0..10 {
                check_shares(algorithm, &[5, 0, 5, 5, 5], seed, &[], 0.02);
                check_shares(algorithm, &[5, 5, 5, 5, 5], seed, &[1], 0.02);
                check_shares(algorithm, &[100, 3, 2, 1], seed, &[0], 0.02);
                check_shares(algorithm, &[100, 3, 90, 1], seed, &[0, 2], 0.02);
            }
        }
    }

    #[test]
    fn workers_do_not_walk_in_step() {
        let table = table(Algorithm::RoundRobin, &[1; 8]);
        let mut counts = [0; 8];
        let mut workers: Vec<Cursor> = (0..4).map(Cursor::new).collect();
        for worker in &mut workers {
            counts[table.pick(worker, &IDLE, &Tried::new()).unwrap().index()] += 1;
        }
        assert_eq!(counts.iter().max(), Some(&1), "{counts:?}");
    }

    #[test]
    fn every_untried_server_is_found_and_then_none() {
        for algorithm in ALL {
            for weights in [
                &[1, 1, 1, 1][..],
                &[256, 256, 256, 1],
                &[1, 256, 0, 7, 9, 2, 2, 2, 2],
            ] {
                let table = table(algorithm, weights);
                let mut cursor = Cursor::new(9);
                let mut tried = Tried::new();
                for _ in 0..table.len() {
                    let server = table.pick(&mut cursor, &IDLE, &tried);
                    let server = server.expect("an untried server is left");
                    assert!(table.contains(server) && !tried.contains(server));
                    tried.push(server);
                }
                assert_eq!(table.pick(&mut cursor, &IDLE, &tried), None);
            }
        }
    }

    #[test]
    fn a_connection_stops_after_as_many_servers_as_it_can_remember() {
        for algorithm in ALL {
            let table = table(algorithm, &[1; 100]);
            let mut cursor = Cursor::new(0);
            let mut tried = Tried::new();
            while let Some(server) = table.pick(&mut cursor, &IDLE, &tried) {
                assert!(!tried.contains(server));
                tried.push(server);
            }
            assert_eq!(tried.len(), Tried::CAPACITY);
        }
    }

    #[test]
    fn servers_tried_from_another_table_take_nothing_away() {
        for algorithm in ALL {
            let table = table(algorithm, &[0, 1, 1]);
            let tried = tried(&[0, 1, 50, 60, 70]);
            let server = table.pick(&mut Cursor::new(0), &IDLE, &tried);
            assert_eq!(server, Some(ServerId(2)), "{algorithm:?}");
        }
    }

    #[test]
    fn empty_tables_give_no_one() {
        for algorithm in ALL {
            for weights in [&[][..], &[0], &[0, 0, 0]] {
                let table = table(algorithm, weights);
                assert!(table.is_empty() && !table.contains(ServerId(0)));
                let server = table.pick(&mut Cursor::new(1), &IDLE, &Tried::new());
                assert_eq!(server, None, "{algorithm:?} {weights:?}");
            }
        }
    }

    #[test]
    fn small_and_large_tables_reach_every_server() {
        for algorithm in ALL {
            let rounds = match algorithm {
                Algorithm::RoundRobin | Algorithm::LeastConn => 1,
                Algorithm::P2c | Algorithm::Random => 25,
            };
            for size in [1, 2, 4096] {
                let table = table(algorithm, &vec![1; size]);
                let mut cursor = Cursor::new(5);
                let counts = counts(&table, size, size * rounds, &mut cursor, &Tried::new());
                assert_eq!(table.len(), size);
                assert!(
                    counts.iter().all(|&count| count > 0),
                    "{algorithm:?} {size}"
                );
            }
        }
    }

    #[test]
    fn the_highest_id_and_weight_work() {
        let member = |id| Member {
            id: ServerId(id),
            weight: Weight::MAX,
        };
        for algorithm in ALL {
            let table = Table::new(algorithm, &[member(u16::MAX), member(0)]);
            let mut loads = Active(vec![u32::MAX; 65_536]);
            let mut cursor = Cursor::new(u64::MAX);
            assert!(table.contains(ServerId(u16::MAX)));
            let server = table.pick(&mut cursor, &loads, &tried(&[0]));
            assert_eq!(server, Some(ServerId(u16::MAX)));
            loads.0[0] -= 1;
            let server = table.pick(&mut cursor, &loads, &tried(&[u16::MAX]));
            assert_eq!(server, Some(ServerId(0)));
        }
    }

    #[test]
    fn a_table_of_all_possible_servers_can_be_built() {
        for algorithm in ALL {
            let table = table(algorithm, &vec![3; 65_536]);
            let server = table.pick(&mut Cursor::new(2), &IDLE, &tried(&[1, 2, 3]));
            assert!(table.contains(server.unwrap()), "{algorithm:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_picks() {
        for algorithm in ALL {
            let table = Table::new(algorithm, &members(&[3, 1, 2]));
            let picks = |seed| {
                let mut cursor = Cursor::new(seed);
                let pick = |_| table.pick(&mut cursor, &IDLE, &Tried::new());
                (0..50).map(pick).collect::<Vec<_>>()
            };
            assert_eq!(picks(7), picks(7), "{algorithm:?}");
        }
    }
}
