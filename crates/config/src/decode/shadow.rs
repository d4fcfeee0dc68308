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
                let way_out = match same_conditions(first, route) {
                    true => "leave one of the two out",
                    false => "put the narrower route first",
                };
                let advice = [
                    format!("`{}` at {at} takes all that it would", first.name),
                    way_out.to_owned(),
                ];
                decoder.mistake(*place, what, advice);
            }
            None => {}
        }
        earlier.add(route);
    }
}

fn same_conditions(a: &Route, b: &Route) -> bool {
    (&a.sni, &a.alpn, &a.client) == (&b.sni, &b.alpn, &b.client)
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
        let mut tests = self.client.tests(&route.client, wider_networks);
        tests.extend(self.sni.tests(&route.sni, wider_patterns));
        tests.extend(self.alpn.tests(&route.alpn, |alpn| vec![alpn.clone()]));
        // The hardest test first: most routes have little in common, and fall at once.
        tests.sort_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>());
        let mut passed = vec![0; self.count];
        for (before, lists) in tests.iter().enumerate() {
            let mut any = false;
            for route in lists.iter().copied().flatten() {
                if passed[*route] == before {
                    passed[*route] += 1;
                    any = true;
                }
            }
            if !any {
                return None;
            }
        }
        passed.iter().position(|passed| *passed == tests.len())
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

    /// What a route must pass to cover these items: for each of them, be in one of the lists.
    fn tests(&self, items: &[T], wider: impl Fn(&T) -> Vec<T>) -> Vec<Vec<&[usize]>> {
        let none = self.none.as_slice();
        if items.is_empty() {
            return vec![vec![none]];
        }
        let test = |item: &T| {
            let wider = wider(item);
            let with = wider.iter().filter_map(|wider| self.item.get(wider));
            with.map(Vec::as_slice).chain([none]).collect()
        };
        items.iter().map(test).collect()
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
