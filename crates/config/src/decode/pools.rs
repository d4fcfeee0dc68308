//! The pools: short and long form, their servers and how these are watched. It never looks at listeners.

use std::collections::HashMap;
use std::num::NonZeroU16;

use super::fields::{Decoder, Fields};
use crate::key::Shape;
use crate::keys;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::{
    Address, Balance, Health, HealthCheck, HealthPort, Pool, PoolIndex, Server, TimeoutOverrides,
};
use crate::value::{self, duration_text, shown};

/// How many servers a pool may have.
pub(crate) const SERVERS_MAX: usize = 4096;

/// What the file says about pools.
pub(super) struct Pools<'n> {
    pub(super) pools: Vec<Pool>,
    pub(super) names: PoolNames<'n>,
}

/// Every pool that the file names, also those with mistakes.
#[derive(Default)]
pub(super) struct PoolNames<'n> {
    /// In the order of the file.
    pub(super) in_order: Vec<&'n str>,
    /// Where each is in that order.
    pub(super) index: HashMap<&'n str, PoolIndex>,
}

/// Reads all pools.
pub(super) fn decode<'n>(decoder: &mut Decoder<'_, '_>, top: &Fields<'n>) -> Pools<'n> {
    let mut pools = Pools {
        pools: Vec::new(),
        names: PoolNames::default(),
    };
    for (name, place, node) in decoder.named(top, &keys::POOLS, "pool") {
        pools
            .names
            .index
            .insert(name, PoolIndex(pools.names.in_order.len()));
        pools.names.in_order.push(name);
        pools.pools.push(pool(decoder, name, place, node));
    }
    pools
}

fn pool(decoder: &mut Decoder<'_, '_>, name: &str, place: Place, node: &Node) -> Pool {
    let (fields, members) = match &node.value {
        Value::List(items) => (Fields::none(place), servers(decoder, node.place, items)),
        Value::Scalar(_) => {
            let advice = [
                keys::SERVERS.shape.expected(),
                Shape::Block(&keys::POOL).expected(),
            ];
            decoder.mistake(node.place, "the pool is a single value", advice);
            (Fields::none(place), Vec::new())
        }
        Value::Block(_) | Value::Nothing => {
            let fields = decoder.fields(node, &keys::POOL, place);
            let members = long_form_servers(decoder, &fields);
            (fields, members)
        }
    };
    let timeouts = decoder.block(&fields, &keys::POOL_TIMEOUTS_KEY, &keys::POOL_TIMEOUTS);
    Pool {
        name: name.to_owned(),
        balance: decoder.word(&fields, &keys::BALANCE, Balance::from_word),
        health: health(decoder, &fields, &members),
        servers: members,
        timeouts: TimeoutOverrides {
            connect: decoder.duration_if_set(&timeouts, &keys::POOL_CONNECT),
            idle: decoder.duration_if_set(&timeouts, &keys::POOL_IDLE),
            half_closed: decoder.duration_if_set(&timeouts, &keys::POOL_HALF_CLOSED),
        },
    }
}

fn long_form_servers(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) -> Vec<Server> {
    let Some(node) = fields.get(&keys::SERVERS) else {
        return Vec::new();
    };
    let Value::List(items) = &node.value else {
        let what = format!("`servers` is {}", node.kind());
        decoder.mistake(node.place, what, [keys::SERVERS.shape.expected()]);
        return Vec::new();
    };
    servers(decoder, node.place, items)
}

fn servers(decoder: &mut Decoder<'_, '_>, place: Place, items: &[Node]) -> Vec<Server> {
    if items.is_empty() {
        decoder.mistake(
            place,
            "the pool has no server",
            [keys::SERVERS.shape.expected()],
        );
    }
    if let Some(one_too_many) = items.get(SERVERS_MAX) {
        let what = format!("the pool has {} servers", items.len());
        decoder.mistake(
            one_too_many.place,
            what,
            [format!("expected at most {SERVERS_MAX} in one pool")],
        );
    }
    let mut names: HashMap<String, Place> = HashMap::new();
    let mut servers = Vec::new();
    for node in items.iter().take(SERVERS_MAX) {
        let Some((server, place)) = server(decoder, node) else {
            continue;
        };
        match names.get(&server.name) {
            Some(first) => twice(decoder, &server.name, place, *first),
            None => {
                names.insert(server.name.clone(), place);
            }
        }
        servers.push(server);
    }
    if !servers.is_empty()
        && servers.len() == items.len()
        && servers.iter().all(|server| server.weight == 0)
    {
        let advice = [
            "expected at least one server with a weight above 0",
            "for no new connections at all, stop its listener",
        ];
        decoder.mistake(place, "every server of the pool has weight 0", advice);
    }
    servers
}

fn twice(decoder: &mut Decoder<'_, '_>, name: &str, place: Place, first: Place) {
    if decoder.is_full() {
        return decoder.mistake(place, "a server is in the pool twice", [""; 0]);
    }
    let advice = [
        format!("the first is at {}", decoder.describe(first)),
        "expected a name that no other server of the pool has; for a larger share, set `weight`"
            .to_owned(),
    ];
    decoder.mistake(
        place,
        format!("the server {} is in the pool twice", shown(name)),
        advice,
    );
}

/// A server and where its name stands.
fn server(decoder: &mut Decoder<'_, '_>, node: &Node) -> Option<(Server, Place)> {
    let (fields, address) = match &node.value {
        Value::Scalar(text) => (
            Fields::none(node.place),
            decoder.parsed(node.place, value::address(text)),
        ),
        Value::List(_) => {
            let advice = [
                keys::SERVER_ADDRESS.shape.expected(),
                Shape::Block(&keys::SERVER).expected(),
            ];
            decoder.mistake(node.place, "the server is a list", advice);
            return None;
        }
        Value::Block(_) | Value::Nothing => {
            let fields = decoder.fields(node, &keys::SERVER, node.place);
            let address = decoder.if_set(&fields, &keys::SERVER_ADDRESS, |text, _| {
                value::address(text)
            });
            (fields, address)
        }
    };
    let name = decoder.if_set(&fields, &keys::SERVER_NAME, |text, _| {
        value::name(text, "server").map(str::to_owned)
    });
    let weight = decoder.or_default(&fields, &keys::SERVER_WEIGHT, value::integer);
    let address = address?;
    let server = Server {
        name: name.unwrap_or_else(|| address.to_string()),
        address,
        weight,
    };
    Some((server, fields.get(&keys::SERVER_NAME).unwrap_or(node).place))
}

fn health(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>, servers: &[Server]) -> Health {
    let Some(node) = fields.get(&keys::HEALTH_KEY) else {
        return Health::Connect(health_check(decoder, &Fields::none(fields.place), servers));
    };
    match &node.value {
        Value::Scalar(text) if text == "off" => Health::Off,
        Value::Scalar(text) => {
            let what = format!("{} is not a value of `health`", shown(text));
            decoder.mistake(node.place, what, [keys::HEALTH_KEY.shape.expected()]);
            Health::Off
        }
        _ => {
            let fields = decoder.fields(node, &keys::HEALTH, node.place);
            Health::Connect(health_check(decoder, &fields, servers))
        }
    }
}

fn health_check(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    servers: &[Server],
) -> HealthCheck {
    let interval_set = decoder.duration_if_set(fields, &keys::HEALTH_INTERVAL);
    let interval =
        interval_set.unwrap_or_else(|| decoder.default(&keys::HEALTH_INTERVAL, value::duration));
    let timeout = decoder.duration_if_set(fields, &keys::HEALTH_TIMEOUT);
    let interval_is_good = interval_set.is_some() || fields.get(&keys::HEALTH_INTERVAL).is_none();
    if let (Some(timeout), Some(node)) = (timeout, fields.get(&keys::HEALTH_TIMEOUT))
        && interval_is_good
        && timeout > interval
    {
        let what = format!(
            "the timeout is longer than the interval ({})",
            duration_text(interval)
        );
        decoder.mistake(
            node.place,
            what,
            ["expected at most the interval, so that checks do not pile up"],
        );
    }
    HealthCheck {
        interval,
        timeout: timeout.unwrap_or(keys::HEALTH_TIMEOUT_DEFAULT.min(interval)),
        rise: decoder.or_default(fields, &keys::HEALTH_RISE, value::integer),
        fall: decoder.or_default(fields, &keys::HEALTH_FALL, value::integer),
        port: health_port(decoder, fields, servers),
    }
}

fn health_port(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    servers: &[Server],
) -> HealthPort {
    let port = decoder.if_set(fields, &keys::HEALTH_PORT, value::integer);
    let Some(port) = port.and_then(NonZeroU16::new) else {
        return HealthPort::Server;
    };
    let unix = servers
        .iter()
        .find(|server| matches!(server.address, Address::Unix(_)));
    if let (Some(server), Some(node)) = (unix, fields.get(&keys::HEALTH_PORT)) {
        let what = format!(
            "the server {} is a unix socket and has no port",
            shown(&server.name)
        );
        decoder.mistake(
            node.place,
            what,
            ["leave `port` out, or put the unix sockets into a pool of their own"],
        );
    }
    HealthPort::Exactly(port)
}
