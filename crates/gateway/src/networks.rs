//! Whether an address lies in one of some networks of the configuration. It knows nothing of what for.

use std::net::IpAddr;

use ringgate_config::Network;
use ringgate_engine::access::{self, AccessList, Verdict};

/// Some networks; perhaps none.
#[derive(Debug)]
pub struct Networks {
    list: AccessList,
    is_empty: bool,
}

impl Networks {
    /// These.
    pub fn new(networks: &[Network]) -> Self {
        let allowed = |network: &Network| {
            let network = access::Network {
                first: network.first,
                prefix: network.prefix,
            };
            (network, Verdict::Allowed)
        };
        Self {
            list: AccessList::new(networks.iter().map(allowed), Verdict::Denied),
            is_empty: networks.is_empty(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether one of them holds the address. An IPv4 address written as IPv6 is the IPv4 address.
    pub fn hold(&self, address: IpAddr) -> bool {
        !self.is_empty && self.list.verdict(address) == Verdict::Allowed
    }
}
