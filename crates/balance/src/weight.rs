//! A server's weight: its part of the pool's connections, relative to the other servers' weights.
//! It never leaves the range 0 to 256, which is what keeps every table and every product small.

/// A relative share of connections, 0 to 256. A server of weight 0 gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// The weight that keeps new connections away from a server.
    pub const ZERO: Weight = Weight(0);
    /// The largest weight, 256 as in HAProxy.
    pub const MAX: Weight = Weight(256);

    /// The weight of this value; `None` above [`Weight::MAX`].
    pub const fn new(value: u16) -> Option<Weight> {
        if value <= Weight::MAX.0 {
            Some(Weight(value))
        } else {
            None
        }
    }

    /// The value, 0 to 256.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    /// The weight of a server that names none: 1.
    fn default() -> Weight {
        Weight(1)
    }
}
