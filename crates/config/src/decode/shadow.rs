//! No route may stand behind one that takes everything it would: it could never match, and whoever wrote it thinks that
//! it does. It compares each with single earlier routes, never with what several of them take together.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fields::Decoder;
use crate::place::Place;
use crate::plan::{FieldCondition, HttpRoute, NamePattern, Network, PathPattern, Route};

/// Notes every route that can never match, because an earlier one matches whatever it would.
pub(super) fn check(decoder: &mut Decoder<'_, '_>, routes: &[(Route, Place)]) {
    let routes = routes.iter().map(|(route, place)| Conditions {
        sni: &route.sni,
        alpn: &route.alpn,
        client: &route.client,
        ..Conditions::of(&route.name, *place)
    });
    check_all(decoder, &routes.collect::<Vec<_>>());
}

/// The same for routes of requests.
pub(super) fn check_http(decoder: &mut Decoder<'_, '_>, routes: &[(HttpRoute, Place)]) {
    let routes = routes.iter().map(|(route, place)| Conditions {
        sni: &route.sni,
        client: &route.client,
        host: &route.host,
        path: &route.path,
        methods: &route.methods,
        headers: &route.headers,
        query: &route.query,
        ..Conditions::of(&route.name, *place)
    });
    check_all(decoder, &routes.collect::<Vec<_>>());
}

fn check_all(decoder: &mut Decoder<'_, '_>, routes: &[Conditions<'_>]) {
    let mut earlier = Earlier::default();
    for route in routes {
        match earlier.one_that_covers(route) {
            Some(_) if decoder.is_full() => {
                decoder.mistake(route.place, "a route never matches", [""; 0]);
            }
            Some(first) => {
                let first = &routes[first];
                let at = decoder.describe(first.place);
                let what = format!("the route `{}` never matches", route.name);
                let way_out = match first.is_same(route) {
                    true => "leave one of the two out",
                    false => "put the narrower route first",
                };
                let advice = [
                    format!("`{}` at {at} takes all that it would", first.name),
                    way_out.to_owned(),
                ];
                decoder.mistake(route.place, what, advice);
            }
            None => {}
        }
        earlier.add(route);
    }
}

/// What a route asks for, of connections or of requests.
struct Conditions<'r> {
    name: &'r str,
    place: Place,
    sni: &'r [NamePattern],
    alpn: &'r [String],
    client: &'r [Network],
    host: &'r [NamePattern],
    path: &'r [PathPattern],
    methods: &'r [String],
    headers: &'r [FieldCondition],
    query: &'r [FieldCondition],
}

impl<'r> Conditions<'r> {
    /// None at all, of the route with this name at this place.
    fn of(name: &'r str, place: Place) -> Self {
        Self {
            name,
            place,
            sni: &[],
            alpn: &[],
            client: &[],
            host: &[],
            path: &[],
            methods: &[],
            headers: &[],
            query: &[],
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let of_connections = |route: &Self| (route.sni, route.alpn, route.client);
        let of_requests = |route: &Self| {
            let parts = (route.host, route.path, route.methods);
            (parts, route.headers, route.query)
        };
        of_connections(self) == of_connections(other) && of_requests(self) == of_requests(other)
    }
}

/// The routes up to here, by their conditions.
#[derive(Default)]
struct Earlier<'r> {
    /// The fields and the parameters that each asks for.
    all_of: Vec<[&'r [FieldCondition]; 2]>,
    sni: Having<NamePattern>,
    alpn: Having<String>,
    client: Having<Network>,
    host: Having<NamePattern>,
    path: Having<PathPattern>,
    methods: Having<String>,
    headers: Having<FieldCondition>,
    query: Having<FieldCondition>,
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

impl<'r> Earlier<'r> {
    fn add(&mut self, route: &Conditions<'r>) {
        let index = self.all_of.len();
        self.sni.add(index, route.sni);
        self.alpn.add(index, route.alpn);
        self.client.add(index, route.client);
        self.host.add(index, route.host);
        self.path.add(index, route.path);
        self.methods.add(index, route.methods);
        self.headers.add(index, route.headers);
        self.query.add(index, route.query);
        self.all_of.push([route.headers, route.query]);
    }

    /// The first route that matches whatever `route` does: of each of its conditions, it has none of that kind, or one
    /// with something as wide for every item. Of the conditions that must hold all together it asks for no more.
    fn one_that_covers(&self, route: &Conditions<'r>) -> Option<usize> {
        let alone = |item: &String| vec![item.clone()];
        let mut tests = self.client.tests(route.client, wider_networks);
        tests.extend(self.sni.tests(route.sni, wider_patterns));
        tests.extend(self.alpn.tests(route.alpn, alone));
        tests.extend(self.host.tests(route.host, wider_patterns));
        tests.extend(self.path.tests(route.path, wider_paths));
        tests.extend(self.methods.tests(route.methods, alone));
        tests.push(self.headers.one_test(route.headers));
        tests.push(self.query.one_test(route.query));
        // The hardest test first: most routes have little in common, and fall at once.
        tests.sort_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>());
        let mut passed = vec![0; self.all_of.len()];
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
        let implied = [implied(route.headers), implied(route.query)];
        let passes = |index: &usize| passed[*index] == tests.len();
        (0..passed.len())
            .filter(passes)
            .find(|index| asks_no_more(&self.all_of[*index], &implied))
    }
}

/// What a request fulfils that fulfils all of `conditions`: these, and that the fields are there at all.
fn implied(conditions: &[FieldCondition]) -> HashSet<(&str, Option<&str>)> {
    conditions
        .iter()
        .flat_map(|each| {
            [
                (each.name.as_str(), each.value.as_deref()),
                (each.name.as_str(), None),
            ]
        })
        .collect()
}

/// Whether every condition of `asked`, of both kinds, is among those of `implied`.
fn asks_no_more(
    asked: &[&[FieldCondition]; 2],
    implied: &[HashSet<(&str, Option<&str>)>; 2],
) -> bool {
    asked.iter().zip(implied).all(|(asked, implied)| {
        asked
            .iter()
            .all(|each| implied.contains(&(each.name.as_str(), each.value.as_deref())))
    })
}

impl Having<FieldCondition> {
    /// What a route must pass to ask for no more than these: have none of that kind, or one of these or a wider one.
    /// It may have others, too; that is for a closer look.
    fn one_test(&self, items: &[FieldCondition]) -> Vec<&[usize]> {
        let with_any = |item: &FieldCondition| FieldCondition {
            name: item.name.clone(),
            value: None,
        };
        let wider = items.iter().flat_map(|item| [item.clone(), with_any(item)]);
        let with: Vec<&[usize]> = wider
            .filter_map(|item| self.item.get(&item))
            .map(Vec::as_slice)
            .collect();
        with.into_iter().chain([self.none.as_slice()]).collect()
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

/// The patterns that match all that `pattern` does.
fn wider_paths(pattern: &PathPattern) -> Vec<PathPattern> {
    let (PathPattern::Exact(path) | PathPattern::Under(path)) = pattern;
    let slashes = path.match_indices('/');
    let above = slashes.map(|(slash, _)| PathPattern::Under(path[..slash].to_owned()));
    let same = PathPattern::Under(path.clone());
    [pattern.clone(), same].into_iter().chain(above).collect()
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
