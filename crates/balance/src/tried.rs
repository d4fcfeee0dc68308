//! The servers that one connection has already tried in vain. A few words on the stack, copied freely;
//! it never allocates and never forgets a server.

use crate::ServerId;

/// The servers a connection has tried, at most [`Tried::CAPACITY`] of them.
///
/// A connection that has filled it is given no further server by [`Table::pick`](crate::Table::pick),
/// so a loop of "pick, dial, push" always ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    servers: [ServerId; Tried::CAPACITY],
    length: u8,
}

impl Tried {
    /// How many servers one connection may try.
    pub const CAPACITY: usize = 8;

    /// Nothing tried yet.
    pub const fn new() -> Tried {
        Tried {
            servers: [ServerId(0); Tried::CAPACITY],
            length: 0,
        }
    }

    /// Adds a server. Nothing changes when it is known already or the list is full.
    pub fn push(&mut self, server: ServerId) {
        if self.is_full() || self.contains(server) {
            return;
        }
        self.servers[self.len()] = server;
        self.length += 1;
    }

    /// Whether the server was tried.
    #[inline]
    pub fn contains(&self, server: ServerId) -> bool {
        self.servers[..self.len()].contains(&server)
    }

    /// How many servers were tried.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Whether nothing was tried yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether the connection has used up its attempts.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len() == Tried::CAPACITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_counts_once_and_the_list_stops_when_full() {
        let mut tried = Tried::new();
        assert!(tried.is_empty());
        assert!(!tried.contains(ServerId(0)), "an empty list holds no one");
        for number in 0..=Tried::CAPACITY as u16 {
            tried.push(ServerId(number));
            tried.push(ServerId(number));
        }
        assert!(tried.is_full());
        assert_eq!(tried.len(), Tried::CAPACITY);
        assert!(tried.contains(ServerId(7)));
        assert!(!tried.contains(ServerId(8)));
    }
}
