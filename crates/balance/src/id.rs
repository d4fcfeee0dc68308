//! Names of pools and servers as small numbers. An id is a place in a list that its owner keeps;
//! it never tells an address, and never outlives the snapshot whose list it points into.

/// A pool: its index in the snapshot's list of pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u16);

impl PoolId {
    /// The index as it is used on a slice.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A server: its index in its pool's list of servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u16);

impl ServerId {
    /// The index as it is used on a slice.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
