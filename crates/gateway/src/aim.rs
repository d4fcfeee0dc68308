//! Which route a request takes: the first of the file whose conditions it fulfils, found by its host and its path and
//! not by trying one after the other. It never changes a request: what the path becomes is in [`rewrite`].

mod bucket;
mod map;
mod query;
mod rewrite;
mod split;
mod tree;

use std::cell::OnceCell;
use std::net::IpAddr;

use ringgate_config::{FieldCondition, HttpRoute, NamePattern, Network, PathPattern};

use self::bucket::{Bucket, Mark};
use self::map::Map;
use self::query::Parameters;
use self::tree::Tree;
use crate::fields::Fields;
use crate::forwarded::is_trust;
use crate::networks::Networks;

pub use self::rewrite::{matching, rewrite};
pub use self::split::pick;

/// The routes of a listener, in the order of the file.
#[derive(Debug, Default)]
pub struct Routes {
    conditions: Box<[Conditions]>,
    /// Those for one host, by it.
    exact: Map<Box<str>, Paths>,
    /// Those for all hosts under one, by its labels from the last to the first.
    under: Tree<Paths>,
    has_under: bool,
    /// Those for any host.
    any: Paths,
    /// The names of parameters that one of them asks for.
    parameters: Map<Box<[u8]>, ()>,
}

/// What routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name that the client asked for by TLS; in lower case, without a dot at the end.
    pub sni: Option<&'a str>,
    /// Where the request comes from; `None` when that is no IP address.
    pub client: Option<IpAddr>,
    /// The name of the host: canonical, without port.
    pub host: &'a str,
    /// Canonical.
    pub path: &'a str,
    /// As it came: methods are case-sensitive.
    pub method: &'a str,
    /// All fields of the request.
    pub fields: &'a Fields,
    /// Whether those that tell of the client count: a stranger's are as if they were not there.
    pub is_peer_trusted: bool,
    /// As it came, without its question mark.
    pub query: Option<&'a str>,
}

/// The routes of one host pattern, by their paths.
#[derive(Debug, Default)]
struct Paths {
    /// Those for one path or for all under one, by its segments.
    by_path: Tree<Bucket>,
    has_by_path: bool,
    /// Those for any path.
    any: Bucket,
}

/// What a route demands besides host and path.
#[derive(Debug)]
struct Conditions {
    sni: Vec<NamePattern>,
    client: Vec<Network>,
    clients: Networks,
    methods: Vec<String>,
    headers: Vec<FieldCondition>,
    query: Vec<FieldCondition>,
}

impl Routes {
    /// These, in this order.
    pub fn new(routes: &[HttpRoute]) -> Self {
        let parameters = routes.iter().flat_map(|route| &route.query);
        let mut all = Self {
            conditions: routes.iter().map(Conditions::of).collect(),
            parameters: parameters
                .map(|each| (each.name.as_bytes().into(), ()))
                .collect(),
            ..Self::default()
        };
        for (index, route) in (0..).zip(routes) {
            if route.host.is_empty() {
                all.any.add(index, &route.path);
            }
            for pattern in &route.host {
                let paths = match pattern {
                    NamePattern::Exact(name) => all.exact.entry(name.as_str().into()).or_default(),
                    NamePattern::Under(name) => {
                        all.has_under = true;
                        all.under.below(name.rsplit('.'))
                    }
                };
                paths.add(index, &route.path);
            }
        }
        let paths = all.exact.values_mut().chain(all.under.values_mut());
        for paths in paths.chain([&mut all.any]) {
            paths.settle(&all.conditions);
        }
        all
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The place, in the order of the file, of the first route that matches.
    pub fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        let parameters = OnceCell::new();
        let mut search = Search {
            conditions: &self.conditions,
            asked,
            wanted: &self.parameters,
            parameters: &parameters,
            found: u32::MAX,
        };
        if let Some(paths) = self.exact.get(asked.host) {
            paths.search(&mut search);
        }
        if self.has_under {
            let labels = asked.host.rsplit('.');
            self.under.visit(labels, |paths| paths.search(&mut search));
        }
        self.any.search(&mut search);
        (search.found != u32::MAX).then_some(search.found as usize)
    }
}

impl Paths {
    fn add(&mut self, index: u32, patterns: &[PathPattern]) {
        if patterns.is_empty() {
            self.any.add(index);
        }
        for pattern in patterns {
            self.has_by_path = true;
            match pattern {
                PathPattern::Exact(path) => self.by_path.at(segments(path)).add(index),
                PathPattern::Under(path) => {
                    self.by_path.at(segments(path)).add(index);
                    self.by_path.below(segments(path)).add(index);
                }
            }
        }
    }

    fn settle(&mut self, conditions: &[Conditions]) {
        let buckets = self.by_path.values_mut();
        for bucket in buckets.chain([&mut self.any]) {
            bucket.settle(conditions);
        }
    }

    fn search(&self, search: &mut Search<'_>) {
        self.any.search(search);
        if self.has_by_path {
            let segments = segments(search.asked.path);
            self.by_path.visit(segments, |bucket| bucket.search(search));
        }
    }
}

/// What stands between the slashes of a path, as of the first; nothing for `*` and for the root of `/*`.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let behind = path.strip_prefix('/');
    behind.into_iter().flat_map(|behind| behind.split('/'))
}

/// A search for the first route.
struct Search<'a> {
    conditions: &'a [Conditions],
    asked: &'a Asked<'a>,
    /// The names of parameters that some route asks for.
    wanted: &'a Map<Box<[u8]>, ()>,
    /// Those of its query, once somebody has asked for them.
    parameters: &'a OnceCell<Parameters<'a>>,
    /// The first that matches so far; `u32::MAX` when none does.
    found: u32,
}

impl<'a> Search<'a> {
    fn parameters(&self) -> &'a Parameters<'a> {
        let query = self.asked.query;
        self.parameters
            .get_or_init(|| Parameters::of(query, self.wanted))
    }

    /// Of routes in their order, whose hosts and paths match.
    fn among(&mut self, indexes: &[u32]) {
        for index in indexes.iter().take_while(|index| **index < self.found) {
            if self.conditions[*index as usize].hold(self) {
                self.found = *index;
                return;
            }
        }
    }
}

impl Conditions {
    fn of(route: &HttpRoute) -> Self {
        Self {
            sni: route.sni.clone(),
            client: route.client.clone(),
            clients: Networks::new(&route.client),
            methods: route.methods.clone(),
            headers: route.headers.clone(),
            query: route.query.clone(),
        }
    }

    /// What the conditions that can be looked up want, for each of them one of these.
    fn marks(&self) -> Vec<Vec<Mark<'_>>> {
        let mut marks = Vec::new();
        for FieldCondition { name, value } in &self.headers {
            marks.push(vec![Mark::Field(name, value.as_deref())]);
        }
        for FieldCondition { name, value } in &self.query {
            marks.push(vec![Mark::Parameter(name, value.as_deref())]);
        }
        marks.push(self.sni.iter().map(Mark::Name).collect());
        let methods = self.methods.iter().map(|method| Mark::Method(method));
        marks.push(methods.collect());
        marks.push(self.client.iter().copied().map(Mark::Client).collect());
        marks.retain(|any| !any.is_empty());
        marks
    }

    fn hold(&self, search: &Search<'_>) -> bool {
        let asked = search.asked;
        let is_method = |method: &String| *method == asked.method;
        let is_sni = |pattern: &NamePattern| asked.sni.is_some_and(|name| fits(pattern, name));
        let is_client = || asked.client.is_some_and(|client| self.clients.hold(client));
        (self.methods.is_empty() || self.methods.iter().any(is_method))
            && (self.sni.is_empty() || self.sni.iter().any(is_sni))
            && (self.client.is_empty() || is_client())
            && self.headers.iter().all(|each| has(asked, each))
            && self.query.iter().all(|each| search.parameters().have(each))
    }
}

/// Whether a name is one of the pattern.
fn fits(pattern: &NamePattern, name: &str) -> bool {
    match pattern {
        NamePattern::Exact(exact) => name == exact,
        NamePattern::Under(suffix) => name
            .strip_suffix(suffix.as_str())
            .is_some_and(|before| before.len() > 1 && before.ends_with('.')),
    }
}

/// Whether one of the fields of that name has the value. A value with commas is one value.
fn has(asked: &Asked<'_>, condition: &FieldCondition) -> bool {
    let name = condition.name.as_bytes();
    let mut fields = asked.fields.iter().filter(|field| field.name == name);
    fields.any(|field| {
        let is_value = |value: &String| field.value == value.as_bytes();
        condition.value.as_ref().is_none_or(is_value) && (asked.is_peer_trusted || !is_trust(field))
    })
}

#[cfg(test)]
mod tests;
