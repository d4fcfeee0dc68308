//! Who may connect to a listener, how often and how fast. It never looks at other listeners.

use std::collections::HashMap;

use super::fields::{Decoder, Fields};
use super::lists;
use crate::key::{Key, Shape};
use crate::keys;
use crate::node::Value;
use crate::place::Place;
use crate::plan::{Access, ListenerLimits, Network, PerClient};
use crate::value::{self, admission};

/// What stands in a list: each network with its place.
type Networks = Vec<(Network, Place)>;

/// The access lists of a listener; `None` when it has none.
pub(super) fn access(decoder: &mut Decoder<'_, '_>, listener: &Fields<'_>) -> Option<Access> {
    let node = listener.get(&keys::ACCESS_KEY)?;
    let fields = decoder.fields(node, &keys::ACCESS, node.place);
    let allow = lists::networks(decoder, &fields, &keys::ACCESS_ALLOW);
    let deny = lists::networks(decoder, &fields, &keys::ACCESS_DENY);
    if allow.is_none() && deny.is_none() && matches!(node.value, Value::Nothing | Value::Block(_)) {
        decoder.mistake(
            node.place,
            "`access` has neither `allow` nor `deny`",
            [Shape::Block(&keys::ACCESS).expected()],
        );
    }
    let (allow, deny) = (allow.unwrap_or_default(), deny.unwrap_or_default());
    twice(decoder, &allow, &deny);
    let bare = |networks: Networks| networks.into_iter().map(|(network, _)| network).collect();
    Some(Access {
        allow: bare(allow),
        deny: bare(deny),
    })
}

/// Notes every network that is listed a second time, in its list or in the other.
fn twice(decoder: &mut Decoder<'_, '_>, allow: &Networks, deny: &Networks) {
    let mut listed: HashMap<Network, (&Key, Place)> = HashMap::new();
    let with =
        |key: &'static Key| move |(network, place): &(Network, Place)| (key, *network, *place);
    let all = allow.iter().map(with(&keys::ACCESS_ALLOW));
    for (key, network, place) in all.chain(deny.iter().map(with(&keys::ACCESS_DENY))) {
        let Some((first, first_place)) = listed.get(&network).copied() else {
            listed.insert(network, (key, place));
            continue;
        };
        if decoder.is_full() {
            decoder.mistake(place, "a network is listed twice", [""; 0]);
            continue;
        }
        let at = decoder.describe(first_place);
        let (what, advice) = if first.name == key.name {
            (
                format!("`{network}` is in `{}` twice", key.name),
                format!("the first is at {at}"),
            )
        } else {
            (
                format!("`{network}` is in `{}` and in `{}`", key.name, first.name),
                format!("the other is at {at}; a longer prefix in one of them would decide"),
            )
        };
        decoder.mistake(place, what, [advice]);
    }
}

/// The bounds of a listener.
pub(super) fn limits(decoder: &mut Decoder<'_, '_>, listener: &Fields<'_>) -> ListenerLimits {
    let fields = decoder.block(listener, &keys::LISTENER_LIMITS_KEY, &keys::LISTENER_LIMITS);
    ListenerLimits {
        connections: decoder.if_set(&fields, &keys::LISTENER_CONNECTIONS, value::count),
        per_client: per_client(decoder, &fields),
        bandwidth: decoder.if_set(&fields, &keys::BANDWIDTH, admission::bandwidth),
    }
}

fn per_client(decoder: &mut Decoder<'_, '_>, limits: &Fields<'_>) -> Option<PerClient> {
    let node = limits.get(&keys::PER_CLIENT_KEY)?;
    let fields = decoder.fields(node, &keys::PER_CLIENT, node.place);
    let sets = |key| fields.get(key).is_some();
    let bounds = sets(&keys::CLIENT_CONNECTIONS) || sets(&keys::CLIENT_RATE);
    if !bounds && matches!(node.value, Value::Nothing | Value::Block(_)) {
        decoder.mistake(
            node.place,
            "`per_client` bounds nothing",
            ["expected `connections`, `rate` or both"],
        );
    }
    Some(PerClient {
        connections: decoder.if_set(&fields, &keys::CLIENT_CONNECTIONS, value::count),
        rate: decoder.if_set(&fields, &keys::CLIENT_RATE, admission::rate),
        ipv6_prefix: decoder.or_default(&fields, &keys::IPV6_PREFIX, value::integer),
    })
}
