//! The pools: short and long form, their servers and how these are watched. It never looks at listeners.

use std::collections::HashMap;
use std::num::NonZeroU16;

use super::fields::{Decoder, Fields};
use super::pool_names::PoolNames;
use super::{retry, server_tls};
use crate::key::Shape;
use crate::keys;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::{
    Address, Balance, Health, HealthCheck, HealthPort, Pool, PoolIndex, ProxyVersion, Server,
    ServerTls, TimeoutOverrides,
};
use crate::value::{self, duration_text, shown};

/// How many servers a pool may have.
pub(crate) const SERVERS_MAX: usize = 4096;

/// What the file says about pools.
pub(super) struct Pools<'n> {
    pub(super) pools: Vec<Pool>,
    /// Where the address of each server stands, in the order of `pools` and their servers.
    pub(super) places: Vec<Vec<Place>>,
    pub(super) names: PoolNames<'n>,
}

/// Reads all pools.
pub(super) fn decode<'n>(decoder: &mut Decoder<'_, '_>, top: &Fields<'n>) -> Pools<'n> {
    let mut pools = Pools {
        pools: Vec::new(),
        places: Vec::new(),
        names: PoolNames::default(),
    };
    for (name, place, node) in decoder.named(top, &keys::POOLS, "pool") {
        pools
            .names
            .index
            .insert(name, PoolIndex(pools.names.in_order.len()));
        pools.names.in_order.push(name);
        let (pool, places) = pool(decoder, name, place, node);
        pools.pools.push(pool);
        pools.places.push(places);
    }
    pools
}

/// A pool, and where the address of each of its servers stands.
fn pool(
    decoder: &mut Decoder<'_, '_>,
    name: &str,
    place: Place,
    node: &Node,
) -> (Pool, Vec<Place>) {
    let (fields, members) = match &node.value {
        Value::List(items) => (Fields::none(place), servers(decoder, node.place, items)),
        Value::Scalar(text) => {
            let list = match value::address(text) {
                Ok(Address::Ip(addr)) if addr.is_ipv4() => format!("write [{text}]"),
                Ok(_) => format!("write [\"{text}\"]"),
                Err(_) => keys::SERVERS.shape.expected(),
            };
            let advice = [list, Shape::Block(&keys::POOL).expected()];
            decoder.mistake(node.place, "the pool is a single value", advice);
            (Fields::none(place), Vec::new())
        }
        Value::Block(_) | Value::Nothing => {
            let fields = decoder.fields(node, &keys::POOL, place);
            let members = long_form_servers(decoder, &fields);
            (fields, members)
        }
    };
    let (members, places): (Vec<Server>, Vec<Place>) = members.into_iter().unzip();
    let mut tls = server_tls::decode(decoder, &fields, &members, &places);
    let http2 = http2(decoder, &fields, tls.as_ref());
    if let Some(tls) = tls.as_mut().filter(|tls| http2 && tls.alpn.is_empty()) {
        tls.alpn.push("h2".to_owned());
    }
    let timeouts = decoder.block(&fields, &keys::POOL_TIMEOUTS_KEY, &keys::POOL_TIMEOUTS);
    let pool = Pool {
        name: name.to_owned(),
        balance: decoder.word(&fields, &keys::BALANCE, Balance::from_word),
        health: health(decoder, &fields, &members, tls.is_some()),
        servers: members,
        timeouts: TimeoutOverrides {
            connect: decoder.duration_if_set(&timeouts, &keys::POOL_CONNECT),
            handshake: decoder.duration_if_set(&timeouts, &keys::POOL_HANDSHAKE),
            first_byte: decoder.duration_if_set(&timeouts, &keys::POOL_FIRST_BYTE),
            idle: decoder.duration_if_set(&timeouts, &keys::POOL_IDLE),
            half_closed: decoder.duration_if_set(&timeouts, &keys::POOL_HALF_CLOSED),
            header: None,
            response: decoder.duration_if_set(&timeouts, &keys::POOL_RESPONSE),
        },
        tls,
        proxy_protocol: decoder.word_if_set(&fields, &keys::SEND_PROXY, ProxyVersion::from_word),
        http2,
        retry: retry::retry(decoder, &fields),
        hold: retry::hold(decoder, &fields),
    };
    (pool, places)
}

/// Whether HTTP/2 is spoken to the servers, which encrypted ones must be offered by ALPN.
fn http2(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>, tls: Option<&ServerTls>) -> bool {
    let http2 = decoder.or_default(fields, &keys::HTTP2, value::boolean);
    let offered = tls.map(|tls| tls.alpn.as_slice()).unwrap_or_default();
    let h2 = offered.is_empty() || offered.iter().any(|protocol| protocol == "h2");
    if let Some(node) = fields.get(&keys::HTTP2).filter(|_| http2 && !h2) {
        let advice = ["leave `tls.alpn` out, or add h2 to it"];
        let what = "`http2` needs h2, and `tls.alpn` of the pool does not offer it";
        decoder.mistake(node.place, what, advice);
    }
    http2
}

fn long_form_servers(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) -> Vec<(Server, Place)> {
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

/// The servers of a list, each with the place of its address.
fn servers(decoder: &mut Decoder<'_, '_>, place: Place, items: &[Node]) -> Vec<(Server, Place)> {
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
        let Some(Member {
            server,
            name_place,
            address_place,
        }) = server(decoder, node)
        else {
            continue;
        };
        match names.get(&server.name) {
            Some(first) => twice(decoder, &server.name, name_place, *first),
            None => {
                names.insert(server.name.clone(), name_place);
            }
        }
        servers.push((server, address_place));
    }
    if !servers.is_empty()
        && servers.len() == items.len()
        && servers.iter().all(|(server, _)| server.weight == 0)
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

/// A server, and where its name and its address stand.
struct Member {
    server: Server,
    name_place: Place,
    address_place: Place,
}

fn server(decoder: &mut Decoder<'_, '_>, node: &Node) -> Option<Member> {
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
    let place_of = |key| fields.get(key).unwrap_or(node).place;
    Some(Member {
        server,
        name_place: place_of(&keys::SERVER_NAME),
        address_place: place_of(&keys::SERVER_ADDRESS),
    })
}

/// How the servers are watched; `encrypted` is whether connections to them are.
fn health(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    servers: &[Server],
    encrypted: bool,
) -> Health {
    let Some(node) = fields.get(&keys::HEALTH_KEY) else {
        let none = Fields::none(fields.place);
        return Health::Connect(health_check(decoder, &none, servers, encrypted));
    };
    match &node.value {
        Value::Scalar(text) if text == "off" => Health::Off,
        Value::Scalar(text) => {
            let what = format!("{} is not a value of `health`", shown(text));
            let on = matches!(text.as_str(), "on" | "true" | "yes");
            let advice = [
                on.then(|| "servers are checked by default: leave `health` out".to_owned()),
                Some(keys::HEALTH_KEY.shape.expected()),
            ];
            decoder.mistake(node.place, what, advice.into_iter().flatten());
            Health::Off
        }
        _ => {
            let fields = decoder.fields(node, &keys::HEALTH, node.place);
            Health::Connect(health_check(decoder, &fields, servers, encrypted))
        }
    }
}

fn health_check(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    servers: &[Server],
    encrypted: bool,
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
        tls: decoder
            .if_set(fields, &keys::HEALTH_TLS, value::boolean)
            .unwrap_or(encrypted),
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
