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
struct Earlier {
    count: usize,
    sni: Having<NamePattern>,
    alpn: Having<String>,
    client: Having<Network>,
    host: Having<NamePattern>,
    path: Having<PathPattern>,
    /// How long the paths are under which some of them take everything: no others need to be looked for.
    path_lengths: HashSet<usize>,
    methods: Having<String>,
    headers: AllOf,
    query: AllOf,
}

/// Which routes have conditions of one kind that must hold all together.
#[derive(Default)]
struct AllOf {
    /// A number for each condition.
    numbers: HashMap<FieldCondition, usize>,
    /// What each route asks for.
    asked: Vec<Vec<usize>>,
    /// The routes by one of their conditions, the rarest.
    rarest: Having<usize>,
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
    fn add(&mut self, route: &Conditions<'_>) {
        let index = self.count;
        self.sni.add(index, route.sni);
        self.alpn.add(index, route.alpn);
        self.client.add(index, route.client);
        self.host.add(index, route.host);
        self.path.add(index, route.path);
        for pattern in route.path {
            if let PathPattern::Under(path) = pattern {
                self.path_lengths.insert(path.len());
            }
        }
        self.methods.add(index, route.methods);
        self.headers.add(route.headers);
        self.query.add(route.query);
        self.count += 1;
    }

    /// The first route that matches whatever `route` does: of each of its conditions, it has none of that kind, or one
    /// with something as wide for every item. Of the conditions that must hold all together it asks for no more.
    fn one_that_covers(&self, route: &Conditions<'_>) -> Option<usize> {
        let alone = |item: &String| vec![item.clone()];
        let mut tests = self.client.tests(route.client, wider_networks);
        tests.extend(self.sni.tests(route.sni, wider_patterns));
        tests.extend(self.alpn.tests(route.alpn, alone));
        tests.extend(self.host.tests(route.host, wider_patterns));
        let wider_paths = |pattern: &PathPattern| wider_paths(pattern, &self.path_lengths);
        tests.extend(self.path.tests(route.path, wider_paths));
        tests.extend(self.methods.tests(route.methods, alone));
        let headers = self.headers.implied(route.headers);
        let query = self.query.implied(route.query);
        tests.push(self.headers.test(&headers));
        tests.push(self.query.test(&query));
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
        let passes = |index: &usize| passed[*index] == tests.len();
        (0..passed.len()).filter(passes).find(|index| {
            self.headers.asks_no_more(*index, &headers) && self.query.asks_no_more(*index, &query)
        })
    }
}

impl AllOf {
    fn add(&mut self, items: &[FieldCondition]) {
        let mut asked = Vec::new();
        for item in items {
            let next = self.numbers.len();
            asked.push(*self.numbers.entry(item.clone()).or_insert(next));
        }
        let known = |number: &usize| self.rarest.item.get(number).map_or(0, Vec::len);
        let rarest = asked.iter().copied().min_by_key(known);
        self.rarest.add(self.asked.len(), rarest.as_slice());
        self.asked.push(asked);
    }

    /// The numbers, in order, of what a request fulfils that fulfils all of `items`: these, and that each is there at
    /// all.
    fn implied(&self, items: &[FieldCondition]) -> Vec<usize> {
        let with_any = |item: &FieldCondition| FieldCondition {
            name: item.name.clone(),
            value: None,
        };
        let implied = items.iter().flat_map(|item| [item.clone(), with_any(item)]);
        let known = implied.filter_map(|item| self.numbers.get(&item).copied());
        let mut known: Vec<usize> = known.collect();
        known.sort_unstable();
        known
    }

    /// What a route must pass at least to ask for no more than `implied`: ask for nothing, or have its rarest condition
    /// among these.
    fn test(&self, implied: &[usize]) -> Vec<&[usize]> {
        let with = implied
            .iter()
            .filter_map(|number| self.rarest.item.get(number));
        let with = with.map(Vec::as_slice);
        with.chain([self.rarest.none.as_slice()]).collect()
    }

    /// Whether the route asks for nothing but what is `implied`.
    fn asks_no_more(&self, route: usize, implied: &[usize]) -> bool {
        let asked = self.asked[route].iter();
        let mut fulfilled = asked.map(|number| implied.binary_search(number).is_ok());
        fulfilled.all(|fulfilled| fulfilled)
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

/// The patterns that match all that `pattern` does, and are as long as some that there are.
fn wider_paths(pattern: &PathPattern, lengths: &HashSet<usize>) -> Vec<PathPattern> {
    let (PathPattern::Exact(path) | PathPattern::Under(path)) = pattern;
    let slashes = path.match_indices('/').map(|(slash, _)| slash);
    let above = slashes.chain([path.len()]);
    let above = above.filter(|length| lengths.contains(length));
    let above = above.map(|length| PathPattern::Under(path[..length].to_owned()));
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
