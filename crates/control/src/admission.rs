//! From what a plan says about the clients of a listener to what the engine admits and routes them by. It never
//! decides about a connection itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use ringgate_balance::PoolId;
use ringgate_config as config;
use ringgate_engine::access::{AccessList, Network, Verdict};
use ringgate_engine::admit::{Admission, OpenLimit, PerClient};
use ringgate_engine::bandwidth::Bandwidth;
use ringgate_engine::clients::{ClientLimits, Clients};
use ringgate_engine::rate::Rate;
use ringgate_engine::routes::{Route, Routes};

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

/// The admission of the same listener once more: what its clients have open goes on.
pub(crate) fn renewed_admission(before: &Admission, listener: &config::Listener) -> Admission {
    Admission {
        access: listener.access.as_ref().map(access),
        connections: before.connections.as_ref().map(|limit| OpenLimit {
            max: limit.max,
            open: Arc::clone(&limit.open),
        }),
        per_client: before.per_client.as_ref().map(|bounds| PerClient {
            limits: bounds.limits,
            clients: Arc::clone(&bounds.clients),
        }),
    }
}

/// Which connections of a listener go elsewhere than to its pool.
pub(crate) fn routes(listener: &config::Listener) -> Routes {
    Routes::new(listener.routes.iter().map(|route| Route {
        name: route.name.as_str().into(),
        sni: route.sni.clone(),
        alpn: route.alpn.clone(),
        client: (!route.client.is_empty()).then(|| only(&route.client)),
        pool: PoolId(u16::try_from(route.pool.0).expect("a plan has fewer than 65536 pools")),
        passthrough: route.passthrough,
    }))
}

/// Whose PROXY headers a listener believes; `None` when it expects none.
pub(crate) fn trusted(listener: &config::Listener) -> Option<AccessList> {
    let accepted = listener.proxy_protocol.as_ref()?;
    Some(only(&accepted.trusted))
}

/// The bandwidth of a listener that so many workers share.
pub(crate) fn bandwidth(listener: &config::Listener, workers: usize) -> Option<Arc<Bandwidth>> {
    let bandwidth = listener.limits.bandwidth?;
    Some(Arc::new(Bandwidth::new(bandwidth.0, workers)))
}

/// These networks and nobody else.
fn only(networks: &[config::Network]) -> AccessList {
    AccessList::new(networks.iter().map(with(Verdict::Allowed)), Verdict::Denied)
}

fn access(access: &config::Access) -> AccessList {
    let allowed = access.allow.iter().map(with(Verdict::Allowed));
    let denied = access.deny.iter().map(with(Verdict::Denied));
    let rest = match access.allow.is_empty() {
        true => Verdict::Allowed,
        false => Verdict::Denied,
    };
    AccessList::new(allowed.chain(denied), rest)
}

fn with(verdict: Verdict) -> impl Fn(&config::Network) -> (Network, Verdict) {
    move |network| {
        let network = Network {
            first: network.first,
            prefix: network.prefix,
        };
        (network, verdict)
    }
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

    #[test]
    fn those_who_are_trusted_are_and_nobody_else() {
        let mut listener = crate::testing::plan(&["127.0.0.1:1"]).listeners.remove(0);
        assert!(trusted(&listener).is_none());
        let network = config::Network {
            first: [10, 0, 0, 0].into(),
            prefix: 8,
        };
        listener.proxy_protocol = Some(config::AcceptProxy {
            trusted: vec![network],
        });
        let list = trusted(&listener).unwrap();
        assert_eq!(list.verdict([10, 1, 2, 3].into()), Verdict::Allowed);
        assert_eq!(list.verdict([11, 1, 2, 3].into()), Verdict::Denied);
    }

    #[test]
    fn what_is_open_goes_on_when_admission_is_renewed() {
        let mut listener = crate::testing::plan(&["127.0.0.1:1"]).listeners.remove(0);
        listener.limits.connections = NonZeroU32::new(7);
        listener.limits.per_client = Some(config::PerClient {
            connections: NonZeroU32::new(3),
            rate: None,
            ipv6_prefix: 64,
        });
        let before = admission(&listener, 100);
        let after = renewed_admission(&before, &listener);
        let open =
            |admission: &Admission| Arc::as_ptr(&admission.connections.as_ref().unwrap().open);
        assert_eq!(open(&before), open(&after));
        let clients =
            |admission: &Admission| Arc::as_ptr(&admission.per_client.as_ref().unwrap().clients);
        assert_eq!(clients(&before), clients(&after));
    }
}
