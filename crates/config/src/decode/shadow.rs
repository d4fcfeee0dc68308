//! No route may stand behind one that takes everything it would: it could never match, and whoever wrote it thinks that
//! it does. It compares each with single earlier routes, never with what several of them take together.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fields::Decoder;
use crate::place::Place;
use crate::plan::{NamePattern, Network, Route};

/// Notes every route that can never match, because an earlier one matches whatever it would.
pub(super) fn check(decoder: &mut Decoder<'_, '_>, routes: &[(Route, Place)]) {
    let mut earlier = Earlier::default();
    for (route, place) in routes {
        match earlier.one_that_covers(route) {
            Some(_) if decoder.is_full() => {
                decoder.mistake(*place, "a route never matches", [""; 0]);
            }
            Some(first) => {
                let (first, first_place) = &routes[first];
                let at = decoder.describe(*first_place);
                let what = format!("the route `{}` never matches", route.name);
                let advice = format!("`{}` at {at} takes all that it would", first.name);
                let advice = [advice, "put the narrower route first".to_owned()];
                decoder.mistake(*place, what, advice);
            }
            None => {}
        }
        earlier.add(route);
    }
}

/// The routes up to here, by their conditions.
#[derive(Default)]
struct Earlier {
    count: usize,
    sni: Having<NamePattern>,
    alpn: Having<String>,
    client: Having<Network>,
}

/// Which routes have a condition of one kind, as indices.
struct Having<T> {
    /// Those with this item in it.
    item: HashMap<T, Vec<usize>>,
    /// Those without such a condition.
    none: Vec<usize>,
}

impl<T> Default for Having<T> {
    fn default() -> Self {
        Self {
            item: HashMap::new(),
            none: Vec::new(),
        }
    }
}

impl Earlier {
    fn add(&mut self, route: &Route) {
        self.sni.add(self.count, &route.sni);
        self.alpn.add(self.count, &route.alpn);
        self.client.add(self.count, &route.client);
        self.count += 1;
    }

    /// The first route that matches whatever `route` does: of each of its conditions, it has none of that kind, or one
    /// with something as wide for every item.
    fn one_that_covers(&self, route: &Route) -> Option<usize> {
        let mut left = Left {
            passed: vec![0; self.count],
            tests: 0,
        };
        let covers = left.narrow(&self.client, &route.client, wider_networks)
            && left.narrow(&self.sni, &route.sni, wider_patterns)
            && left.narrow(&self.alpn, &route.alpn, |protocol| vec![protocol.clone()]);
        if !covers {
            return None;
        }
        left.passed.iter().position(|passed| *passed == left.tests)
    }
}

impl<T: Clone + Eq + Hash> Having<T> {
    fn add(&mut self, route: usize, items: &[T]) {
        if items.is_empty() {
            self.none.push(route);
        }
        for item in items {
            self.item.entry(item.clone()).or_default().push(route);
        }
    }
}

/// The routes that passed every test up to now. The time it takes grows with the routes that share an item, not with
/// all pairs of routes.
struct Left {
    /// How many tests each route passed; one that failed a test passes none after it.
    passed: Vec<usize>,
    tests: usize,
}

impl Left {
    /// Keeps the routes that have something as wide for each of `items`; `false` when none is left.
    fn narrow<T: Eq + Hash>(
        &mut self,
        having: &Having<T>,
        items: &[T],
        wider: impl Fn(&T) -> Vec<T>,
    ) -> bool {
        if items.is_empty() {
            return self.keep([having.none.as_slice()].into_iter());
        }
        items.iter().all(|item| {
            let wider = wider(item);
            let with = wider.iter().filter_map(|wider| having.item.get(wider));
            self.keep(with.map(Vec::as_slice).chain([having.none.as_slice()]))
        })
    }

    fn keep<'a>(&mut self, lists: impl Iterator<Item = &'a [usize]>) -> bool {
        let mut any = false;
        for route in lists.flatten() {
            if self.passed[*route] == self.tests {
                self.passed[*route] += 1;
                any = true;
            }
        }
        self.tests += 1;
        any
    }
}

/// The patterns that match all that `pattern` does.
fn wider_patterns(pattern: &NamePattern) -> Vec<NamePattern> {
    let (NamePattern::Exact(name) | NamePattern::Under(name)) = pattern;
    let dots = name.match_indices('.');
    let above = dots.map(|(dot, _)| NamePattern::Under(name[dot + 1..].to_owned()));
    std::iter::once(pattern.clone()).chain(above).collect()
}

/// The networks that hold all of `network`.
fn wider_networks(network: &Network) -> Vec<Network> {
    (0..=network.prefix)
        .map(|prefix| Network {
            first: shortened(network.first, prefix),
            prefix,
        })
        .collect()
}

/// The address with all bits after the first `prefix` cleared.
fn shortened(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}
