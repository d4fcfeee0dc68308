//! The routes of one host pattern and one path pattern. Where they are many, each is found by that of its other
//! conditions which the fewest share, and only those are tried that a request may mean.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ringgate_config::{NamePattern, Network};

use super::map::Map;
use super::{Conditions, Search};

/// So many are tried sooner than looked up.
const TRIED_MAX: usize = 8;

/// Routes whose hosts and paths are alike.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Those that are tried, in their order.
    tried: Vec<u32>,
    index: Option<Box<Index>>,
}

/// What a route may want of a request, as one thing to look up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mark<'a> {
    /// A field, perhaps with a value.
    Field(&'a str, Option<&'a str>),
    /// A parameter, perhaps with a value.
    Parameter(&'a str, Option<&'a str>),
    /// A name by SNI, or one under it.
    Name(&'a NamePattern),
    /// A method.
    Method(&'a str),
    /// A client of that network.
    Client(Network),
}

/// Routes by what they want.
#[derive(Debug, Default)]
struct Index {
    fields: Values,
    parameters: Values,
    exact_names: Map<Box<str>, Vec<u32>>,
    names_under: Map<Box<str>, Vec<u32>>,
    methods: Map<Box<str>, Vec<u32>>,
    networks: HashMap<Network, Vec<u32>>,
    /// The prefixes that there are among the networks of each family.
    prefixes: BTreeSet<(bool, u8)>,
}

/// Routes by names, then by values.
#[derive(Debug, Default)]
struct Values(Map<Box<[u8]>, OfName>);

#[derive(Debug, Default)]
struct OfName {
    any: Vec<u32>,
    exact: Map<Box<[u8]>, Vec<u32>>,
}

impl Bucket {
    /// Adds a route behind the others.
    pub(super) fn add(&mut self, index: u32) {
        if self.tried.last() != Some(&index) {
            self.tried.push(index);
        }
    }

    /// All are added: sorts them by what tells most of them apart.
    pub(super) fn settle(&mut self, conditions: &[Conditions]) {
        if self.tried.len() <= TRIED_MAX {
            return;
        }
        let routes = std::mem::take(&mut self.tried);
        let mut counts: HashMap<Mark<'_>, usize> = HashMap::new();
        for route in &routes {
            let marks = conditions[*route as usize].marks().into_iter().flatten();
            marks.for_each(|mark| *counts.entry(mark).or_default() += 1);
        }
        let mut index = Box::new(Index::default());
        for route in routes {
            // Each condition holds by one of its marks.
            let all = conditions[route as usize].marks().into_iter();
            let rarest =
                all.min_by_key(|marks| marks.iter().map(|mark| counts[mark]).sum::<usize>());
            match rarest {
                None => self.tried.push(route),
                Some(marks) => marks.into_iter().for_each(|mark| index.add(mark, route)),
            }
        }
        self.index = Some(index);
    }

    /// Goes through those that may match.
    pub(super) fn search(&self, search: &mut Search<'_>) {
        search.among(&self.tried);
        if let Some(index) = &self.index {
            index.search(search);
        }
    }
}

impl Index {
    fn add(&mut self, mark: Mark<'_>, route: u32) {
        let list = match mark {
            Mark::Field(name, value) => self.fields.list(name, value),
            Mark::Parameter(name, value) => self.parameters.list(name, value),
            Mark::Name(NamePattern::Exact(name)) => {
                self.exact_names.entry(name.as_str().into()).or_default()
            }
            Mark::Name(NamePattern::Under(name)) => {
                self.names_under.entry(name.as_str().into()).or_default()
            }
            Mark::Method(name) => self.methods.entry(name.into()).or_default(),
            Mark::Client(network) => {
                self.prefixes
                    .insert((network.first.is_ipv4(), network.prefix));
                self.networks.entry(network).or_default()
            }
        };
        list.push(route);
    }

    fn search(&self, search: &mut Search<'_>) {
        let asked = search.asked;
        let mut among = |list: Option<&Vec<u32>>| {
            if let Some(list) = list {
                search.among(list);
            }
        };
        among(self.methods.get(asked.method));
        if let Some(name) = asked.sni {
            among(self.exact_names.get(name));
            if !self.names_under.is_empty() {
                let dots = name.match_indices('.');
                dots.for_each(|(dot, _)| among(self.names_under.get(&name[dot + 1..])));
            }
        }
        if let Some(client) = asked.client {
            let client = client.to_canonical();
            let prefixes = self.prefixes.iter();
            prefixes
                .filter(|(is_v4, _)| *is_v4 == client.is_ipv4())
                .for_each(|(_, prefix)| among(self.networks.get(&network(client, *prefix))));
        }
        if !self.fields.0.is_empty() {
            for field in asked.fields.iter() {
                self.fields.search(field.name, field.value, search);
            }
        }
        if !self.parameters.0.is_empty() {
            for (name, value) in search.parameters().iter() {
                self.parameters.search(name, value, search);
            }
        }
    }
}

impl Values {
    fn list(&mut self, name: &str, value: Option<&str>) -> &mut Vec<u32> {
        let of_name = self.0.entry(name.as_bytes().into()).or_default();
        match value {
            None => &mut of_name.any,
            Some(value) => of_name.exact.entry(value.as_bytes().into()).or_default(),
        }
    }

    fn search(&self, name: &[u8], value: &[u8], search: &mut Search<'_>) {
        if let Some(of_name) = self.0.get(name) {
            search.among(&of_name.any);
            if let Some(list) = of_name.exact.get(value) {
                search.among(list);
            }
        }
    }
}

/// The network of an address that has this prefix.
pub(super) fn network(address: IpAddr, prefix: u8) -> Network {
    let first = match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            IpAddr::V4((address.to_bits() & !host).into())
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
            IpAddr::V6((address.to_bits() & !host).into())
        }
    };
    Network { first, prefix }
}
