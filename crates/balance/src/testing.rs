//! What the tests of this crate share: pools made from a seed, counted picks, and loads as plain data.
//! Compiled for tests only.

use crate::{Algorithm, Cursor, Loads, Member, ServerId, Table, Tried, Weight};

/// Connections per server, by index; a server beyond the list has none.
pub(crate) struct Active(pub(crate) Vec<u32>);

impl Loads for Active {
    fn active(&self, server: ServerId) -> u32 {
        self.0.get(server.index()).copied().unwrap_or(0)
    }
}

/// All servers idle.
pub(crate) const IDLE: Active = Active(Vec::new());

/// Servers 0, 1, 2, … of these weights.
pub(crate) fn members(weights: &[u16]) -> Vec<Member> {
    let member = |(index, &weight): (usize, &u16)| Member {
        id: ServerId(index.try_into().unwrap()),
        weight: Weight::new(weight).unwrap(),
    };
    weights.iter().enumerate().map(member).collect()
}

pub(crate) fn table(algorithm: Algorithm, weights: &[u16]) -> Table {
    Table::new(algorithm, &members(weights))
}

/// So many weights of 1 to 256.
pub(crate) fn weights_of(size: usize, seed: u64) -> Vec<u16> {
    let mut cursor = Cursor::new(seed);
    (0..size)
        .map(|_| cursor.random_below(256) as u16 + 1)
        .collect()
}

pub(crate) fn tried(servers: &[u16]) -> Tried {
    let mut tried = Tried::new();
    servers
        .iter()
        .for_each(|&server| tried.push(ServerId(server)));
    tried
}

/// How often each server of a pool of `size` comes up in so many picks.
pub(crate) fn counts(
    table: &Table,
    size: usize,
    picks: usize,
    cursor: &mut Cursor,
    tried: &Tried,
) -> Vec<u64> {
    let mut counts = vec![0; size];
    for _ in 0..picks {
        counts[table.pick(cursor, &IDLE, tried).unwrap().index()] += 1;
    }
    counts
}

pub(crate) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
