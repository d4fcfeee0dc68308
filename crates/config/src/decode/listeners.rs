//! The listeners: where they accept and which pool serves them. It never looks into a pool.

use super::admission;
use super::fields::{Decoder, Fields};
use super::pools::PoolNames;
use crate::keys;
use crate::near::nearest;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::{Bind, Listener, PoolIndex, TimeoutOverrides, Timeouts};
use crate::value::{self, shown};

/// A mistake lists at most this many pools.
const LISTED_MAX: usize = 12;

/// What the file says about listeners.
pub(super) struct Listeners {
    pub(super) listeners: Vec<Listener>,
    /// Every address that one of them accepts on, also of those with mistakes.
    pub(super) bound: Vec<Bound>,
}

/// An address that a listener accepts on.
pub(super) struct Bound {
    pub(super) bind: Bind,
    pub(super) place: Place,
    /// Where its connections go; `None` after a mistake.
    pub(super) pool: Option<PoolIndex>,
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
    };
    for (name, place, node) in decoder.named(top, &keys::LISTENERS, "listener") {
        let fields = decoder.fields(node, &keys::LISTENER, place);
        let binds = binds(decoder, &fields);
        let pool = pool(decoder, &fields, pools);
        let access = admission::access(decoder, &fields);
        let limits = admission::limits(decoder, &fields);
        let timeouts = process.overlaid(&overrides(decoder, &fields));
        if let Some(pool) = pool {
            all.listeners.push(Listener {
                name: name.to_owned(),
                binds: binds.iter().map(|(bind, _)| bind.clone()).collect(),
                pool: Some(pool),
                routes: Vec::new(),
                access,
                proxy_protocol: None,
                tls: None,
                limits,
                timeouts,
            });
        }
        let bound = |(bind, place)| Bound { bind, place, pool };
        all.bound.extend(binds.into_iter().map(bound));
    }
    all
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

fn pool(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    pools: &PoolNames<'_>,
) -> Option<PoolIndex> {
    let node = fields.get(&keys::LISTENER_POOL)?;
    let name = decoder.scalar(node, &keys::LISTENER_POOL)?;
    let index = pools.index.get(name).copied();
    if index.is_none() && !pools.in_order.is_empty() {
        dangling(decoder, node.place, name, pools);
    }
    index
}

fn dangling(decoder: &mut Decoder<'_, '_>, place: Place, name: &str, pools: &PoolNames<'_>) {
    if decoder.is_full() {
        return decoder.mistake(place, "no pool has this name", [""; 0]);
    }
    let listed: Vec<&str> = pools.in_order.iter().take(LISTED_MAX).copied().collect();
    let more = match pools.in_order.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut advice = vec![format!("expected one of: {}{more}", listed.join(", "))];
    if let Some(near) = nearest(name, pools.in_order.iter().copied()) {
        advice.push(format!("did you mean `{near}`?"));
    }
    decoder.mistake(place, format!("no pool is called {}", shown(name)), advice);
}

fn overrides(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) -> TimeoutOverrides {
    let timeouts = decoder.block(
        fields,
        &keys::LISTENER_TIMEOUTS_KEY,
        &keys::LISTENER_TIMEOUTS,
    );
    TimeoutOverrides {
        connect: decoder.duration_if_set(&timeouts, &keys::LISTENER_CONNECT),
        handshake: None,
        first_byte: decoder.duration_if_set(&timeouts, &keys::LISTENER_FIRST_BYTE),
        idle: decoder.duration_if_set(&timeouts, &keys::LISTENER_IDLE),
        half_closed: decoder.duration_if_set(&timeouts, &keys::LISTENER_HALF_CLOSED),
    }
}
