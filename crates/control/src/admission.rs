//! From what a plan says about the clients of a listener to what the engine admits them by. Made once per listener;
//! it never decides about a connection itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use ringgate_config as config;
use ringgate_engine::access::{AccessList, Network, Verdict};
use ringgate_engine::admit::{Admission, OpenLimit, PerClient};
use ringgate_engine::bandwidth::Bandwidth;
use ringgate_engine::clients::{ClientLimits, Clients};
use ringgate_engine::rate::Rate;

/// The admission of a listener in a process that may hold so many connections.
pub(crate) fn admission(listener: &config::Listener, connections_max: u32) -> Admission {
    let limits = &listener.limits;
    Admission {
        access: listener.access.as_ref().map(access),
        connections: limits.connections.map(|max| OpenLimit {
            max,
            open: Arc::new(AtomicU32::new(0)),
        }),
        per_client: limits.per_client.map(|bounds| {
            let most = limits.connections.map_or(u32::MAX, NonZeroU32::get);
            PerClient {
                limits: ClientLimits {
                    connections_max: bounds.connections,
                    rate: bounds.rate.map(|rate| Rate::new(rate.count, rate.period)),
                    ipv6_prefix: bounds.ipv6_prefix,
                },
                clients: Arc::new(Clients::new(most.min(connections_max))),
            }
        }),
    }
}

/// The bandwidth of a listener that so many workers share.
pub(crate) fn bandwidth(listener: &config::Listener, workers: usize) -> Option<Arc<Bandwidth>> {
    let bandwidth = listener.limits.bandwidth?;
    Some(Arc::new(Bandwidth::new(bandwidth.0, workers)))
}

fn access(access: &config::Access) -> AccessList {
    let with = |verdict| {
        move |network: &config::Network| {
            let network = Network {
                first: network.first,
                prefix: network.prefix,
            };
            (network, verdict)
        }
    };
    let allowed = access.allow.iter().map(with(Verdict::Allowed));
    let denied = access.deny.iter().map(with(Verdict::Denied));
    let rest = match access.allow.is_empty() {
        true => Verdict::Allowed,
        false => Verdict::Denied,
    };
    AccessList::new(allowed.chain(denied), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allow_list_denies_everybody_else_and_a_deny_list_allows_them() {
        let network = config::Network {
            first: [10, 0, 0, 0].into(),
            prefix: 8,
        };
        for (is_allow, inside, outside) in [
            (true, Verdict::Allowed, Verdict::Denied),
            (false, Verdict::Denied, Verdict::Allowed),
        ] {
            let (allow, deny) = match is_allow {
                true => (vec![network], vec![]),
                false => (vec![], vec![network]),
            };
            let list = access(&config::Access { allow, deny });
            assert_eq!(list.verdict([10, 1, 2, 3].into()), inside);
            assert_eq!(list.verdict([11, 1, 2, 3].into()), outside);
        }
    }
}
