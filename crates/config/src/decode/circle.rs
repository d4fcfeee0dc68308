//! No server of a pool may be the very listener that the pool serves: each connection would open the next one, until
//! nothing is left to open it with. It notes only what the file alone makes certain, and never asks which addresses
//! the host has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::fields::Decoder;
use super::listeners::{Bound, Listeners};
use super::pools::Pools;
use crate::plan::{Address, Bind, PoolIndex};

/// Notes every server at whose address a listener of its pool accepts.
pub(super) fn check(decoder: &mut Decoder<'_, '_>, listeners: &Listeners, pools: &Pools<'_>) {
    let bound = listeners.bound.iter().map(|each| (&each.bind, each));
    let listening: HashMap<&Bind, &Bound> = bound.collect();
    let serves = |index, bound: &&&Bound| listeners.pools[bound.listener].contains(&index);
    for (index, (pool, places)) in pools.pools.iter().zip(&pools.places).enumerate() {
        for (server, place) in pool.servers.iter().zip(places) {
            let reached = reached_by(&server.address)
                .iter()
                .find_map(|bind| listening.get(bind));
            let Some(reached) = reached.filter(|bound| serves(PoolIndex(index), bound)) else {
                continue;
            };
            if decoder.is_full() {
                decoder.mistake(*place, "a listener would connect to itself", [""; 0]);
                continue;
            }
            let advice = [
                format!(
                    "`{}`, which this pool serves, is at {}",
                    reached.bind,
                    decoder.describe(reached.place)
                ),
                "expected the address that the server itself listens on".to_owned(),
            ];
            let what = format!("`{}` would connect the listener to itself", server.address);
            decoder.mistake(*place, what, advice);
        }
    }
}

/// What accepts a connection to `address` on this host, the first that is bound: the kernel prefers an address to all
/// addresses. Only the loopback is surely among all addresses of the host.
fn reached_by(address: &Address) -> Vec<Bind> {
    let addr = match address {
        Address::Unix(path) => return vec![Bind::Unix(path.clone())],
        Address::Ip(addr) => *addr,
    };
    let at = |addr| Bind::Ip {
        addr,
        dual_stack: false,
    };
    if !addr.ip().is_loopback() {
        return vec![at(addr)];
    }
    let all: IpAddr = match addr {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let dual_stack = Bind::Ip {
        addr: (Ipv6Addr::UNSPECIFIED, addr.port()).into(),
        dual_stack: true,
    };
    vec![at(addr), at((all, addr.port()).into()), dual_stack]
}
