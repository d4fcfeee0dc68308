//! The routes of a listener that speaks HTTP, each by itself; what one takes from another is in shadow.rs.

use std::collections::HashSet;

use super::fields::{Decoder, Fields};
use super::pool_names::PoolNames;
use super::routes::{self, Item};
use super::stages::{self, Surroundings};
use super::{lists, maps, shadow};
use crate::key::Key;
use crate::keys;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::{FieldCondition, HttpRoute, PathPattern, PoolIndex, Stages};
use crate::value::{Wrong, amounts, http, names, paths, shown};

/// What the file says about the routes of requests.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) routes: Vec<HttpRoute>,
    /// Every pool that one of them names, also those with mistakes.
    pub(super) pools: Vec<PoolIndex>,
}

/// What all routes of a listener have around them.
struct Around<'a, 'n> {
    pools: &'a PoolNames<'n>,
    listener: &'a Stages,
    surroundings: &'a Surroundings,
}

/// Reads the routes of a listener whose own stages are `stages`.
pub(super) fn decode(
    decoder: &mut Decoder<'_, '_>,
    listener: &Fields<'_>,
    pools: &PoolNames<'_>,
    stages: &Stages,
    surroundings: &Surroundings,
) -> Routes {
    let around = Around {
        pools,
        listener: stages,
        surroundings,
    };
    let mut all = Routes::default();
    let mut given = HashSet::new();
    let mut good = Vec::new();
    for Item {
        node,
        fields,
        is_clean,
    } in routes::items(decoder, listener, &keys::HTTP_ROUTE)
    {
        let pools = pools_of(decoder, &fields, &around);
        all.pools.extend(pools.iter().map(|(pool, _)| *pool));
        let found = decoder.found();
        let name = routes::name(decoder, &fields);
        given.extend(name.clone());
        let route = route(decoder, node, &fields, &around, pools);
        if is_clean && decoder.found() == found {
            good.push((route, name, node.place));
        }
    }
    let good: Vec<(HttpRoute, Place)> = named(good, given);
    shadow::check_http(decoder, &good);
    all.routes = good.into_iter().map(|(route, _)| route).collect();
    all
}

/// Gives every route its name: the one of the file, or its first conditions, with a number where these are taken.
fn named(
    routes: Vec<(HttpRoute, Option<String>, Place)>,
    mut taken: HashSet<String>,
) -> Vec<(HttpRoute, Place)> {
    let mut named = Vec::new();
    let mut next: std::collections::HashMap<String, u32> = std::collections::HashMap::new();
    for (mut route, name, place) in routes {
        route.name = name.unwrap_or_else(|| {
            let base = route.first_conditions();
            let mut name = base.clone();
            let number = next.entry(base.clone()).or_insert(1);
            while taken.contains(&name) {
                *number += 1;
                name = format!("{base}#{number}");
            }
            name
        });
        taken.insert(route.name.clone());
        named.push((route, place));
    }
    named
}

/// Where the requests of a route go, each with its share; none after a mistake, or when they are redirected.
fn pools_of(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    around: &Around<'_, '_>,
) -> Vec<(PoolIndex, u32)> {
    let pool = around
        .pools
        .named_by(decoder, fields, &keys::HTTP_ROUTE_POOL);
    let shares = fields.get(&keys::ROUTE_POOLS);
    let shares = shares.map(|node| shares_of(decoder, node, around.pools));
    pool.map(|pool| (pool, 1))
        .into_iter()
        .chain(shares.unwrap_or_default())
        .collect()
}

fn shares_of(
    decoder: &mut Decoder<'_, '_>,
    node: &Node,
    pools: &PoolNames<'_>,
) -> Vec<(PoolIndex, u32)> {
    let key = &keys::ROUTE_POOLS;
    let mut shares = Vec::new();
    let entries = maps::entries(decoder, node, key, "pool");
    for entry in entries {
        let pool = pools.named(decoder, entry.key_place, &entry.key);
        let share = match &entry.node.value {
            Value::Scalar(text) => decoder.parsed(entry.node.place, amounts::share(text)),
            _ => {
                let what = format!(
                    "the share of {} is {}",
                    shown(&entry.key),
                    entry.node.kind()
                );
                decoder.mistake(entry.node.place, what, [key.shape.expected()]);
                None
            }
        };
        shares.extend(pool.zip(share));
    }
    let all_zero = shares.iter().all(|(_, share)| *share == 0);
    if all_zero && shares.len() == entries.len() && !shares.is_empty() {
        let advice = ["expected at least one pool with a share above 0"];
        decoder.mistake(node.place, "every pool has the share 0", advice);
    }
    shares
}

fn route(
    decoder: &mut Decoder<'_, '_>,
    node: &Node,
    fields: &Fields<'_>,
    around: &Around<'_, '_>,
    pools: Vec<(PoolIndex, u32)>,
) -> HttpRoute {
    let host = list(decoder, fields, &keys::ROUTE_HOST, "host", http::host);
    let path = list(decoder, fields, &keys::ROUTE_PATH, "path", paths::pattern);
    let methods = list(
        decoder,
        fields,
        &keys::ROUTE_METHODS,
        "method",
        http::method,
    );
    let headers = conditions(decoder, fields, &keys::ROUTE_HEADERS, &FIELDS);
    let query = conditions(decoder, fields, &keys::ROUTE_QUERY, &PARAMETERS);
    let sni = list(decoder, fields, &keys::ROUTE_SNI, "host", names::pattern);
    let client = lists::distinct_networks(decoder, fields, &keys::ROUTE_CLIENT);
    let own = match fields.get(&keys::ROUTE_HTTP_KEY) {
        Some(node) if !stages::no_block(decoder, node, &keys::ROUTE_HTTP) => {
            decoder.fields(node, &keys::ROUTE_HTTP, node.place)
        }
        _ => Fields::none(fields.place),
    };
    let stages = stages::of_route(decoder, &own, around.listener, around.surroundings);
    let rewrite = decoder.if_set(fields, &keys::REWRITE, paths::pattern);
    if matches!(node.value, Value::Nothing | Value::Block(_)) {
        has_a_condition(decoder, node, fields);
        leads_to_one_place(decoder, node, fields, &own);
    }
    sni_is_known(decoder, fields, around.surroundings);
    rewrite_fits(decoder, fields, &own, &path, rewrite.as_ref());
    HttpRoute {
        name: String::new(),
        sni,
        client: client.unwrap_or_default(),
        host,
        path,
        methods,
        headers,
        query,
        pools,
        rewrite,
        stages,
    }
}

fn list<T: Clone + std::fmt::Display + Eq + std::hash::Hash>(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
    noun: &str,
    parse: fn(&str, &Key) -> Result<T, Wrong>,
) -> Vec<T> {
    let values = lists::list(decoder, fields, key, noun, parse);
    lists::distinct(decoder, key, values.unwrap_or_default())
}

type Reader = fn(&str, &Key) -> Result<String, Wrong>;

/// How the conditions of a kind are read: the noun, the names, the values.
type Kind = (&'static str, Reader, Reader);

const FIELDS: Kind = ("field", http::asked_field, http::field_value);
const PARAMETERS: Kind = ("parameter", http::parameter, http::parameter_value);

fn conditions(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
    (noun, name, value): &Kind,
) -> Vec<FieldCondition> {
    let Some(node) = fields.get(key) else {
        return Vec::new();
    };
    let readers = maps::Readers { noun, name, value };
    let texts = maps::texts(decoder, node, key, &readers);
    let condition = |(name, text): (String, String)| FieldCondition {
        name,
        value: (text != "*").then_some(text),
    };
    texts.into_iter().map(condition).collect()
}

fn has_a_condition(decoder: &mut Decoder<'_, '_>, node: &Node, fields: &Fields<'_>) {
    let conditions = [
        &keys::ROUTE_HOST,
        &keys::ROUTE_PATH,
        &keys::ROUTE_METHODS,
        &keys::ROUTE_HEADERS,
        &keys::ROUTE_QUERY,
        &keys::ROUTE_SNI,
        &keys::ROUTE_CLIENT,
    ];
    if conditions.iter().any(|key| fields.mentions(key)) || fields.is_misplaced() {
        return;
    }
    let advice = [
        "expected `host`, `path`, `methods`, `headers`, `query`, `sni` or `client`",
        "for what no route matches, set the `pool` of the listener",
    ];
    decoder.mistake(node.place, "the route has no condition", advice);
}

/// Notes a route that leads nowhere, or to more than one place.
fn leads_to_one_place(
    decoder: &mut Decoder<'_, '_>,
    node: &Node,
    fields: &Fields<'_>,
    own: &Fields<'_>,
) {
    let places = [
        ("pool", fields.mentions(&keys::HTTP_ROUTE_POOL)),
        ("pools", fields.mentions(&keys::ROUTE_POOLS)),
        ("http.redirect", own.mentions(&keys::ROUTE_REDIRECT_KEY)),
    ];
    let set: Vec<&str> = places
        .iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| *name)
        .collect();
    match set.as_slice() {
        [] if fields.is_misplaced() => {}
        [] => {
            let advice = [
                format!("expected `pool`: {}", keys::HTTP_ROUTE_POOL.shape.form()),
                format!("or `pools`: {}", keys::ROUTE_POOLS.shape.form()),
                format!(
                    "or `http.redirect`: {}",
                    keys::ROUTE_REDIRECT_KEY.shape.form()
                ),
            ];
            decoder.mistake(node.place, "the route has no `pool`", advice);
        }
        [_] => {}
        [first, second, ..] => {
            let what = format!("the route has `{first}` and `{second}`");
            decoder.mistake(node.place, what, ["leave one of the two out"]);
        }
    }
}

fn sni_is_known(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>, around: &Surroundings) {
    if let Some(node) = fields.get(&keys::ROUTE_SNI).filter(|_| !around.has_tls) {
        let advice = ["for the host that a request asks for, set `host`"];
        let what = "the listener has no `tls`, and so hears of no name by SNI";
        decoder.mistake(node.place, what, advice);
    }
}

/// Notes a rewrite without a path to send it to, or with a star that stands for nothing.
fn rewrite_fits(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    own: &Fields<'_>,
    path: &[PathPattern],
    rewrite: Option<&PathPattern>,
) {
    let Some(node) = fields.get(&keys::REWRITE) else {
        return;
    };
    if own.mentions(&keys::ROUTE_REDIRECT_KEY) {
        let advice = ["write the new path into `http.redirect.to`"];
        let what = "`rewrite` means nothing where clients are redirected";
        return decoder.mistake(node.place, what, advice);
    }
    let Some(PathPattern::Under(_)) = rewrite else {
        return;
    };
    let is_exact = |pattern: &&PathPattern| matches!(pattern, PathPattern::Exact(_));
    let without = match path.iter().find(is_exact) {
        Some(pattern) => format!("`{pattern}` has none"),
        None if !fields.mentions(&keys::ROUTE_PATH) => "the route has no `path`".to_owned(),
        None => return,
    };
    let advice = [
        format!("it takes what the star of `path` stood for, and {without}"),
        "end every path of the route with /*, or write one path without a star".to_owned(),
    ];
    decoder.mistake(
        node.place,
        "the star of `rewrite` stands for nothing",
        advice,
    );
}
