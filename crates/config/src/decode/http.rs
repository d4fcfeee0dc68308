//! A listener that speaks HTTP: its bounds, whom it trusts, and what is done with requests. Its routes are read with
//! it; each by itself is in http_routes.rs.

use super::fields::{Decoder, Fields};
use super::pool_names::PoolNames;
use super::stages::{self, Surroundings};
use super::{http_routes, lists};
use crate::keys;
use crate::node::Value;
use crate::plan::{Http, HttpLimits, PoolIndex};
use crate::value::{self, amounts};

/// What the file says about the HTTP of a listener.
pub(super) struct Spoken {
    pub(super) http: Http,
    /// Every pool that one of its routes names, also those with mistakes.
    pub(super) pools: Vec<PoolIndex>,
}

/// Reads what a listener does with HTTP; `None` when it does not speak it.
pub(super) fn decode(
    decoder: &mut Decoder<'_, '_>,
    listener: &Fields<'_>,
    pools: &PoolNames<'_>,
) -> Option<Spoken> {
    let node = listener.get(&keys::HTTP_KEY)?;
    let around = surroundings(listener);
    let fields = match stages::no_block(decoder, node, &keys::HTTP) {
        true => Fields::none(node.place),
        false => decoder.fields(node, &keys::HTTP, node.place),
    };
    let (limits, body_max) = limits(decoder, &fields);
    let trusted = lists::distinct_networks(decoder, &fields, &keys::TRUSTED_PROXIES);
    let stages = stages::of_listener(decoder, &fields, body_max, &around);
    if let (Some(pool), Some(_)) = (
        listener.get(&keys::LISTENER_POOL),
        fields.get(&keys::REDIRECT_KEY),
    ) {
        let advice = [
            "leave `pool` out: what no route matches is redirected",
            "or put the redirect into the `http` of a route",
        ];
        decoder.mistake(
            pool.place,
            "the listener has `pool` and `http.redirect`",
            advice,
        );
    }
    let routes = http_routes::decode(decoder, listener, pools, &stages, &around);
    Some(Spoken {
        http: Http {
            trusted_proxies: trusted.unwrap_or_default(),
            limits,
            stages,
            routes: routes.routes,
        },
        pools: routes.pools,
    })
}

/// Whether the listener says where requests go that no route matches, or is about to.
pub(super) fn redirects(listener: &Fields<'_>) -> bool {
    let http = listener.get(&keys::HTTP_KEY).map(|node| &node.value);
    let Some(Value::Block(entries)) = http else {
        return false;
    };
    entries
        .iter()
        .any(|entry| entry.key == keys::REDIRECT_KEY.name)
}

fn surroundings(listener: &Fields<'_>) -> Surroundings {
    let tls = listener.get(&keys::TLS_KEY).map(|node| &node.value);
    let asks = |key: &str| matches!(tls, Some(Value::Block(entries)) if entries.iter().any(|entry| entry.key == key));
    Surroundings {
        has_tls: listener.mentions(&keys::TLS_KEY),
        has_client_auth: asks(keys::CLIENT_AUTH_KEY.name),
    }
}

/// The bounds of requests, and the largest body.
fn limits(decoder: &mut Decoder<'_, '_>, http: &Fields<'_>) -> (HttpLimits, Option<u64>) {
    let fields = decoder.block(http, &keys::HTTP_LIMITS_KEY, &keys::HTTP_LIMITS);
    let header = decoder.or_default(&fields, &keys::HEADER_LIMIT, amounts::size);
    let limits = HttpLimits {
        header_bytes: u32::try_from(header).unwrap_or(u32::MAX),
        fields: decoder.or_default(&fields, &keys::FIELDS_LIMIT, value::integer),
        requests_per_connection: decoder.or_default(&fields, &keys::REQUESTS_LIMIT, value::count),
        streams: decoder.or_default(&fields, &keys::STREAMS_LIMIT, value::count),
    };
    let body = decoder.or_default(&fields, &keys::BODY_LIMIT, amounts::off_or_size);
    (limits, body)
}
