//! The listeners: where they accept and which pools serve them. It never looks into a pool.

use std::collections::HashSet;

use super::admission;
use super::fields::{Decoder, Fields};
use super::pool_names::PoolNames;
use super::{http, proxy, routes, tls};
use crate::keys;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::{Bind, Http, Listener, PoolIndex, Route, TimeoutOverrides, Timeouts};
use crate::value;

/// What the file says about listeners.
pub(super) struct Listeners {
    pub(super) listeners: Vec<Listener>,
    /// Every address that one of them accepts on, also of those with mistakes.
    pub(super) bound: Vec<Bound>,
    /// Where the connections of each listener may go, also of those with mistakes.
    pub(super) pools: Vec<HashSet<PoolIndex>>,
}

/// An address that a listener accepts on.
pub(super) struct Bound {
    pub(super) bind: Bind,
    pub(super) place: Place,
    /// The listener, as an index into [`Listeners::pools`].
    pub(super) listener: usize,
}

/// Reads all listeners; `process` are the timeouts that hold where a listener sets none.
pub(super) fn decode(
    decoder: &mut Decoder<'_, '_>,
    top: &Fields<'_>,
    pools: &PoolNames<'_>,
    process: Timeouts,
) -> Listeners {
    let mut all = Listeners {
        listeners: Vec::new(),
        bound: Vec::new(),
        pools: Vec::new(),
    };
    for (name, place, node) in decoder.named(top, &keys::LISTENERS, "listener") {
        let fields = decoder.fields(node, &keys::LISTENER, place);
        let binds = binds(decoder, &fields);
        let pool = pools.named_by(decoder, &fields, &keys::LISTENER_POOL);
        let (routes, http, routed) = where_to(decoder, &fields, pools);
        if matches!(node.value, Value::Nothing | Value::Block(_)) {
            leads_somewhere(decoder, &fields);
        }
        all.listeners.push(Listener {
            name: name.to_owned(),
            binds: binds.iter().map(|(bind, _)| bind.clone()).collect(),
            pool,
            routes,
            tls: tls::decode(decoder, &fields, http.is_some()),
            http,
            proxy_protocol: proxy::decode(decoder, &fields, &binds),
            access: admission::access(decoder, &fields),
            limits: admission::limits(decoder, &fields),
            timeouts: process.overlaid(&overrides(decoder, &fields)),
        });
        let listener = all.pools.len();
        all.pools.push(routed.into_iter().chain(pool).collect());
        let bound = |(bind, place)| Bound {
            bind,
            place,
            listener,
        };
        all.bound.extend(binds.into_iter().map(bound));
    }
    all
}

/// Where connections go, or requests when the listener speaks HTTP, and every pool that is named for it.
fn where_to(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    pools: &PoolNames<'_>,
) -> (Vec<Route>, Option<Http>, Vec<PoolIndex>) {
    if let Some(spoken) = http::decode(decoder, fields, pools) {
        return (Vec::new(), Some(spoken.http), spoken.pools);
    }
    if fields.mentions(&keys::HTTP_KEY) {
        return (Vec::new(), None, Vec::new());
    }
    let routes = routes::decode(decoder, fields, pools);
    (routes.routes, None, routes.pools)
}

fn binds(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) -> Vec<(Bind, Place)> {
    let Some(node) = fields.get(&keys::BIND) else {
        return Vec::new();
    };
    let nodes = match &node.value {
        Value::List(items) if items.is_empty() => {
            decoder.mistake(
                node.place,
                "the listener binds no address",
                [keys::BIND.shape.expected()],
            );
            return Vec::new();
        }
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    nodes
        .iter()
        .filter_map(|node| bind(decoder, node))
        .collect()
}

fn bind(decoder: &mut Decoder<'_, '_>, node: &Node) -> Option<(Bind, Place)> {
    let text = decoder.scalar(node, &keys::BIND)?;
    Some((decoder.parsed(node.place, value::bind(text))?, node.place))
}

/// Notes that the listener says of no connection where it goes.
fn leads_somewhere(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) {
    let leads = [&keys::LISTENER_POOL, &keys::ROUTES];
    if leads.iter().any(|key| fields.mentions(key)) || http::redirects(fields) {
        return;
    }
    let each = match fields.mentions(&keys::HTTP_KEY) {
        true => "or `routes`, to choose a pool for each request",
        false => "or `routes`, to choose a pool for each connection",
    };
    let advice = [
        format!("expected `pool`: {}", keys::LISTENER_POOL.shape.form()),
        each.to_owned(),
    ];
    decoder.mistake(fields.place, "the listener has no `pool`", advice);
}

fn overrides(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) -> TimeoutOverrides {
    let timeouts = decoder.block(
        fields,
        &keys::LISTENER_TIMEOUTS_KEY,
        &keys::LISTENER_TIMEOUTS,
    );
    TimeoutOverrides {
        connect: decoder.duration_if_set(&timeouts, &keys::LISTENER_CONNECT),
        handshake: decoder.duration_if_set(&timeouts, &keys::LISTENER_HANDSHAKE),
        first_byte: decoder.duration_if_set(&timeouts, &keys::LISTENER_FIRST_BYTE),
        idle: decoder.duration_if_set(&timeouts, &keys::LISTENER_IDLE),
        half_closed: decoder.duration_if_set(&timeouts, &keys::LISTENER_HALF_CLOSED),
        header: decoder.duration_if_set(&timeouts, &keys::LISTENER_HEADER),
        response: decoder.duration_if_set(&timeouts, &keys::LISTENER_RESPONSE),
    }
}
