//! Who may connect to a listener, how often and how fast: the part of a plan that admits clients. Like the rest of
//! the plan it cannot be wrong.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::value::admission::{bandwidth_text, rate_text};

/// The addresses that may connect. The longest network that holds an address decides over both lists; an address in
/// none is refused when `allow` has any network, and admitted otherwise. No network is in it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whose clients may connect.
    pub allow: Vec<Network>,
    /// Whose clients may not.
    pub deny: Vec<Network>,
}

/// All addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// The address in which every bit after the prefix is 0; never an IPv4 address written as IPv6.
    pub first: IpAddr,
    /// How many leading bits its addresses share: at most 32 for IPv4 and 128 for IPv6.
    pub prefix: u8,
}

impl fmt::Display for Network {
    /// As the file writes it: `10.0.0.0/8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The bounds of a listener; `None` sets none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// How many connections may be open at once.
    pub connections: Option<NonZeroU32>,
    /// The bounds of each client.
    pub per_client: Option<PerClient>,
    /// How many bytes per second may be relayed, over all its connections and both directions together.
    pub bandwidth: Option<Bandwidth>,
}

/// The bounds of each client; at least one of them is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerClient {
    /// How many connections a client may have open at once.
    pub connections: Option<NonZeroU32>,
    /// How many new connections a client may open.
    pub rate: Option<Rate>,
    /// IPv6 addresses that share so many leading bits are one client; 1 to 128.
    pub ipv6_prefix: u8,
}

/// So many per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time; not zero.
    pub period: Duration,
}

impl fmt::Display for Rate {
    /// As the file writes it: `100/10s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rate_text(self))
    }
}

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth(pub NonZeroU64);

impl fmt::Display for Bandwidth {
    /// As the file writes it: `10MiB/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bandwidth_text(*self))
    }
}
