//! A pool of servers whose loads keep changing, all from fixed numbers. It never measures anything itself.

use std::sync::atomic::{AtomicU32, Ordering};

use ringgate_balance::{Loads, Member, ServerId, Weight};

/// Mixed weights, as in a pool of machines of several sizes.
const WEIGHTS: [u16; 5] = [1, 2, 4, 8, 3];

/// How many changes of load there are before they repeat.
const CHANGES: usize = 4096;

/// Servers of mixed weights, and a stream of changes of their loads.
#[derive(Debug)]
pub struct Pool {
    /// The servers, ready for a table.
    pub members: Vec<Member>,
    active: Vec<AtomicU32>,
    changes: Vec<(ServerId, u32)>,
}

impl Pool {
    /// A pool of so many servers, each with 0 to 99 connections.
    pub fn new(size: u16) -> Pool {
        let mut state = 0x2545_F491_4F6C_DD1D;
        let changes: Vec<_> = (0..CHANGES)
            .map(|_| {
                let random = xorshift(&mut state);
                let server = ServerId((random >> 32) as u16 % size);
                (server, random as u32 % 100)
            })
            .collect();
        let member = |index: u16| Member {
            id: ServerId(index),
            weight: Weight::new(WEIGHTS[usize::from(index) % WEIGHTS.len()]).unwrap_or_default(),
        };
        let loads = |_| AtomicU32::new(xorshift(&mut state) as u32 % 100);
        Pool {
            members: (0..size).map(member).collect(),
            active: (0..size).map(loads).collect(),
            changes,
        }
    }

    /// Gives one server a new load, the `turn`-th of the stream.
    pub fn change(&self, turn: usize) {
        let (server, active) = self.changes[turn % CHANGES];
        self.active[server.index()].store(active, Ordering::Relaxed);
    }
}

impl Loads for Pool {
    fn active(&self, server: ServerId) -> u32 {
        self.active[server.index()].load(Ordering::Relaxed)
    }
}

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
