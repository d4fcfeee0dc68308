//! Where a connection goes by what is known of it before any byte is relayed: the name and the
//! protocols that its ClientHello asks for, and the client's address. Names are found by hash, so a
//! thousand routes cost no more than ten.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ringgate_balance::PoolId;
use ringgate_config::NamePattern;

use crate::access::{AccessList, Verdict};

/// The routes of a listener, in the order of the file; the first that matches decides.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Box<[Route]>,
    /// The routes with a name, by it.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// The routes with a wildcard, by what follows the star and the dot.
    under: HashMap<Box<str>, Vec<usize>>,
    /// The routes for any name.
    any: Vec<usize>,
}

/// Connections that fulfil all of its conditions go to its pool.
#[derive(Debug)]
pub struct Route {
    /// What the log calls it.
    pub name: Arc<str>,
    /// The names that a client asks for, any of them; any or none when empty.
    pub sni: Vec<NamePattern>,
    /// The protocols that a client offers, any of them; any or none when empty.
    pub alpn: Vec<String>,
    /// Where the client comes from; `None` for anywhere.
    pub client: Option<AccessList>,
    /// Where its connections go.
    pub pool: PoolId,
    /// TLS is not ended for them.
    pub passthrough: bool,
}

/// What routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name that the client asks for: in lower case, without a dot at the end.
    pub server_name: Option<&'a str>,
    /// The protocols that it offers.
    pub alpn: &'a [Box<[u8]>],
    /// Where it comes from; `None` when it has no IP address.
    pub client: Option<IpAddr>,
}

impl Routes {
    /// These, in this order.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut all = Self {
            routes: routes.into_iter().collect(),
            ..Self::default()
        };
        for (index, route) in all.routes.iter().enumerate() {
            if route.sni.is_empty() {
                all.any.push(index);
            }
            for pattern in &route.sni {
                let (map, name) = match pattern {
                    NamePattern::Exact(name) => (&mut all.exact, name),
                    NamePattern::Under(name) => (&mut all.under, name),
                };
                map.entry(name.as_str().into()).or_default().push(index);
            }
        }
        all
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Whether a route looks at the ClientHello.
    pub(crate) fn ask_for_hello(&self) -> bool {
        let asks = |route: &Route| !route.sni.is_empty() || !route.alpn.is_empty();
        self.routes.iter().any(asks)
    }

    /// The first route that matches.
    pub fn find(&self, asked: &Asked<'_>) -> Option<&Route> {
        let first = |indexes: &[usize]| {
            let matching = |index: &&usize| self.routes[**index].matches(asked);
            indexes.iter().find(matching).copied()
        };
        let by_name = asked.server_name.into_iter().flat_map(|name| {
            let exact = self.exact.get(name);
            let wildcards = suffixes(name).filter_map(|suffix| self.under.get(suffix));
            exact.into_iter().chain(wildcards)
        });
        let found = by_name.filter_map(|indexes| first(indexes));
        let index = found.chain(first(&self.any)).min()?;
        Some(&self.routes[index])
    }
}

impl Route {
    /// Whether the conditions besides the name hold.
    fn matches(&self, asked: &Asked<'_>) -> bool {
        let offered = |protocol: &String| {
            let offered = asked.alpn.iter();
            offered
                .into_iter()
                .any(|each| **each == *protocol.as_bytes())
        };
        let alpn = self.alpn.is_empty() || self.alpn.iter().any(offered);
        let client = self.client.as_ref().is_none_or(|networks| {
            let allowed = |client| networks.verdict(client) == Verdict::Allowed;
            asked.client.is_some_and(allowed)
        });
        alpn && client
    }
}

/// What follows each dot of a name.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(dot, _)| &name[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Network;

    fn route(name: &str, sni: &[&str], alpn: &[&str], client: Option<&str>) -> Route {
        let pattern = |text: &&str| match text.strip_prefix("*.") {
            Some(name) => NamePattern::Under(name.to_owned()),
            None => NamePattern::Exact((*text).to_owned()),
        };
        let network = |text: &str| Network {
            first: text.parse().unwrap(),
            prefix: 8,
        };
        Route {
            name: name.into(),
            sni: sni.iter().map(pattern).collect(),
            alpn: alpn.iter().map(|each| (*each).to_owned()).collect(),
            client: client
                .map(|text| AccessList::new([(network(text), Verdict::Allowed)], Verdict::Denied)),
            pool: PoolId(0),
            passthrough: false,
        }
    }

    #[test]
    fn the_first_route_of_the_file_that_matches_decides() {
        let routes = Routes::new([
            route("inside", &[], &[], Some("10.0.0.0")),
            route("h2", &["a.example.com"], &["h2"], None),
            route("wide", &["*.example.com"], &[], None),
            route("a", &["a.example.com"], &[], None),
            route("deep", &["*.b.example.com", "example.org"], &[], None),
            route("mail", &[], &["imap"], None),
        ]);
        let check = |name: Option<&str>, alpn: &[&str], client: &str, expected: Option<&str>| {
            let alpn: Vec<Box<[u8]>> = alpn.iter().map(|each| each.as_bytes().into()).collect();
            let asked = Asked {
                server_name: name,
                alpn: &alpn,
                client: client.parse().ok(),
            };
            let found = routes.find(&asked).map(|route| &*route.name);
            assert_eq!(found, expected, "{asked:?}");
        };
        let out = "192.0.2.1";
        check(Some("a.example.com"), &[], "10.1.2.3", Some("inside"));
        check(Some("a.example.com"), &["http/1.1", "h2"], out, Some("h2"));
        // The wildcard stands before it in the file.
        check(Some("a.example.com"), &[], out, Some("wide"));
        check(Some("x.b.example.com"), &[], out, Some("wide"));
        check(Some("example.com"), &[], out, None);
        check(Some("example.org"), &[], out, Some("deep"));
        check(Some("xexample.com"), &[], out, None);
        check(None, &["imap"], out, Some("mail"));
        check(None, &[], out, None);
        check(None, &[], "unix", None);
    }
}
