//! How connections to the servers of a pool are encrypted. It names files and never opens them.

use super::fields::{Decoder, Fields};
use super::lists;
use super::tls::file;
use crate::key::Key;
use crate::keys;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::{Address, Pair, Server, ServerTls};
use crate::value::{self, names};

/// How connections to `servers`, whose addresses stand at `places`, are encrypted; `None` when they are not.
pub(super) fn decode(
    decoder: &mut Decoder<'_, '_>,
    pool: &Fields<'_>,
    servers: &[Server],
    places: &[Place],
) -> Option<ServerTls> {
    let node = pool.get(&keys::SERVER_TLS_KEY)?;
    if let Value::Scalar(text) = &node.value {
        no_block(decoder, node, text);
        return None;
    }
    let fields = decoder.fields(node, &keys::SERVER_TLS, node.place);
    let ca = file(decoder, &fields, &keys::SERVER_TLS_CA);
    let server_name = decoder.if_set(&fields, &keys::SERVER_TLS_NAME, names::server_name);
    let identity = identity(decoder, &fields);
    let alpn = lists::protocols(decoder, &fields, &keys::SERVER_TLS_ALPN);
    let verify = decoder.or_default(&fields, &keys::VERIFY, value::boolean);
    if let (false, Some(ca), Some(verify)) = (
        verify,
        fields.get(&keys::SERVER_TLS_CA),
        fields.get(&keys::VERIFY),
    ) {
        let advice = [
            format!("`ca` is set at {}", decoder.describe(ca.place)),
            "leave `ca` out, or leave `verify` out to verify by it".to_owned(),
        ];
        let what = "`verify: false` makes `ca` meaningless";
        decoder.mistake(verify.place, what, advice);
    }
    if verify && !fields.mentions(&keys::SERVER_TLS_NAME) {
        nameless(decoder, servers, places);
    }
    Some(ServerTls {
        ca,
        server_name,
        identity,
        alpn,
        verify,
    })
}

/// `tls` is a single value, `text`.
fn no_block(decoder: &mut Decoder<'_, '_>, node: &Node, text: &str) {
    let advice = match text {
        "true" | "on" | "yes" => "for the defaults write `tls: {}`".to_owned(),
        "false" | "off" | "no" => "leave `tls` out".to_owned(),
        _ => keys::SERVER_TLS_KEY.shape.expected(),
    };
    decoder.mistake(
        node.place,
        "the tls block of a pool is a single value",
        [advice],
    );
}

/// What Ringgate shows to servers: both files or neither.
fn identity(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) -> Option<Pair> {
    let cert = file(decoder, fields, &keys::SERVER_TLS_CERT);
    let key = file(decoder, fields, &keys::SERVER_TLS_KEY_FILE);
    let mut alone = |set: &'static Key, other: &'static Key| {
        let Some(node) = fields.get(set).filter(|_| !fields.mentions(other)) else {
            return;
        };
        let what = format!("`{}` is set without `{}`", set.name, other.name);
        let advice = [format!("expected `{}`: {}", other.name, other.shape.form())];
        decoder.mistake(node.place, what, advice);
    };
    alone(&keys::SERVER_TLS_CERT, &keys::SERVER_TLS_KEY_FILE);
    alone(&keys::SERVER_TLS_KEY_FILE, &keys::SERVER_TLS_CERT);
    Some(Pair {
        cert: cert?,
        key: key?,
    })
}

/// Notes the first server that has no IP address to verify, where no name is set.
fn nameless(decoder: &mut Decoder<'_, '_>, servers: &[Server], places: &[Place]) {
    let unix = |(server, _): &(&Server, &Place)| matches!(server.address, Address::Unix(_));
    let Some((server, place)) = servers.iter().zip(places).find(unix) else {
        return;
    };
    let what = format!(
        "`{}` has no name to verify its certificate by",
        server.address
    );
    let advice = [
        "set `server_name` in `tls` of this pool",
        "or `verify: false`, to trust whoever can listen there",
    ];
    decoder.mistake(*place, what, advice);
}
