//! The routes of a listener, each by itself; what one takes from another is in shadow.rs.

use std::collections::HashMap;

use super::fields::{Decoder, Fields};
use super::lists;
use super::pool_names::PoolNames;
use super::shadow;
use crate::key::Block;
use crate::keys;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::{PoolIndex, Route};
use crate::value::{self, names};

/// How many routes a listener may have.
pub(crate) const ROUTES_MAX: usize = 4096;

/// What the file says about the routes of a listener.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) routes: Vec<Route>,
    /// Every pool that one of them names, also those with mistakes.
    pub(super) pools: Vec<PoolIndex>,
}

/// Reads the routes of a listener.
pub(super) fn decode(
    decoder: &mut Decoder<'_, '_>,
    listener: &Fields<'_>,
    pools: &PoolNames<'_>,
) -> Routes {
    let ends_tls = listener.mentions(&keys::TLS_KEY);
    let mut all = Routes::default();
    let mut good = Vec::new();
    for Item {
        node,
        fields,
        is_clean,
    } in items(decoder, listener, &keys::ROUTE)
    {
        let pool = pools.named_by(decoder, &fields, &keys::ROUTE_POOL);
        all.pools.extend(pool);
        let found = decoder.found();
        let route = route(decoder, node, &fields, ends_tls, pool);
        let route = route.filter(|_| is_clean && decoder.found() == found);
        good.extend(route.map(|route| (route, node.place)));
    }
    shadow::check(decoder, &good);
    all.routes = good.into_iter().map(|(route, _)| route).collect();
    all
}

/// A route with its keys.
pub(super) struct Item<'n> {
    pub(super) node: &'n Node,
    pub(super) fields: Fields<'n>,
    /// Whether all keys are known and none lacks.
    pub(super) is_clean: bool,
}

/// The routes of a listener with their keys, which `block` describes; no two are given the same name.
pub(super) fn items<'n>(
    decoder: &mut Decoder<'_, '_>,
    listener: &Fields<'n>,
    block: &'static Block,
) -> Vec<Item<'n>> {
    let Some(node) = listener.get(&keys::ROUTES) else {
        return Vec::new();
    };
    let items = match &node.value {
        Value::List(items) if !items.is_empty() => items,
        Value::List(_) | Value::Nothing => {
            let advice = ["leave it out; every connection goes to the listener's `pool` then"];
            decoder.mistake(node.place, "`routes` has no route", advice);
            return Vec::new();
        }
        Value::Scalar(_) | Value::Block(_) => {
            let what = format!("`routes` is {}", node.kind());
            let advice = [format!(
                "expected a list of blocks with the keys: {}",
                block.key_list()
            )];
            decoder.mistake(node.place, what, advice);
            return Vec::new();
        }
    };
    if let Some(one_too_many) = items.get(ROUTES_MAX) {
        let what = format!("the listener has {} routes", items.len());
        let advice = [format!("expected at most {ROUTES_MAX} on one listener")];
        decoder.mistake(one_too_many.place, what, advice);
    }
    let mut names = HashMap::new();
    let mut read = Vec::new();
    for node in items.iter().take(ROUTES_MAX) {
        let found = decoder.found();
        let fields = decoder.fields(node, block, node.place);
        let is_clean = decoder.found() == found;
        unique_name(decoder, &fields, &mut names);
        read.push(Item {
            node,
            fields,
            is_clean,
        });
    }
    read
}

/// The name that the file gives a route.
pub(super) fn name(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) -> Option<String> {
    decoder.if_set(fields, &keys::ROUTE_NAME, |text, _| {
        value::name(text, "route").map(str::to_owned)
    })
}

/// Notes the name of a route when an earlier one has it.
fn unique_name<'n>(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'n>,
    names: &mut HashMap<&'n str, Place>,
) {
    let Some(node) = fields.get(&keys::ROUTE_NAME) else {
        return;
    };
    let Value::Scalar(name) = &node.value else {
        return;
    };
    match names.get(name.as_str()) {
        None => drop(names.insert(name, node.place)),
        Some(_) if decoder.is_full() => {
            decoder.mistake(node.place, "a route has the name of another", [""; 0]);
        }
        Some(first) => {
            let what = format!(
                "the listener has two routes with the name {}",
                value::shown(name)
            );
            let advice = [format!("the first is at {}", decoder.describe(*first))];
            decoder.mistake(node.place, what, advice);
        }
    }
}

/// The route at `node`, which leads to `pool`; `None` without one.
fn route(
    decoder: &mut Decoder<'_, '_>,
    node: &Node,
    fields: &Fields<'_>,
    ends_tls: bool,
    pool: Option<PoolIndex>,
) -> Option<Route> {
    let name = name(decoder, fields);
    let sni = lists::list(decoder, fields, &keys::ROUTE_SNI, "host", names::pattern);
    let sni = lists::distinct(decoder, &keys::ROUTE_SNI, sni.unwrap_or_default());
    let alpn = lists::protocols(decoder, fields, &keys::ROUTE_ALPN);
    let client = lists::distinct_networks(decoder, fields, &keys::ROUTE_CLIENT);
    let client = client.unwrap_or_default();
    let passthrough = passthrough(decoder, fields, ends_tls);
    let conditions = [&keys::ROUTE_SNI, &keys::ROUTE_ALPN, &keys::ROUTE_CLIENT];
    let is_block = matches!(node.value, Value::Nothing | Value::Block(_));
    let has_one = conditions.iter().any(|key| fields.mentions(key));
    if is_block && !has_one && !fields.is_misplaced() {
        let advice = [
            "expected `sni`, `alpn` or `client`",
            "for what no route matches, set the `pool` of the listener",
        ];
        decoder.mistake(node.place, "the route has no condition", advice);
    }
    let mut route = Route {
        name: String::new(),
        sni,
        alpn,
        client,
        pool: pool?,
        passthrough,
    };
    route.name = name.unwrap_or_else(|| route.first_condition());
    Some(route)
}

/// Whether the route passes TLS through a listener that ends it for others.
fn passthrough(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>, ends_tls: bool) -> bool {
    let passthrough = decoder.or_default(fields, &keys::PASSTHROUGH, value::boolean);
    let Some(node) = fields.get(&keys::PASSTHROUGH).filter(|_| passthrough) else {
        return passthrough;
    };
    if !ends_tls {
        let advice = ["leave `passthrough` out: the listener has no `tls`"];
        decoder.mistake(node.place, "TLS is passed through already", advice);
    } else if !fields.mentions(&keys::ROUTE_SNI) && !fields.mentions(&keys::ROUTE_ALPN) {
        let advice = ["expected `sni` or `alpn` in this route, too"];
        let what = "`passthrough` is only for what a client says at the beginning of TLS";
        decoder.mistake(node.place, what, advice);
    }
    passthrough
}
