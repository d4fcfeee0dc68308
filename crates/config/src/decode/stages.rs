//! What is done with the requests of a listener or of a route, stage by stage. It knows what a route inherits, and
//! never looks at conditions or pools.

use super::fields::{Decoder, Fields};
use super::{auth, lists, maps};
use crate::key::{Block, Key, Shape};
use crate::keys;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::{FieldChanges, LimitBy, RateLimit, Redirect, RedirectTo, Stages};
use crate::value::{self, Wrong, admission, amounts, http, shown, urls};

/// How many rate limits may hold at once.
const RATE_LIMITS_MAX: usize = 16;

/// What the stages of a listener have to know about it.
#[derive(Clone, Copy)]
pub(super) struct Surroundings {
    /// It ends TLS.
    pub(super) has_tls: bool,
    /// Its TLS asks clients for a certificate.
    pub(super) has_client_auth: bool,
}

/// What a key says that can also be turned off.
pub(super) enum Given<T> {
    /// It is not set.
    Nothing,
    /// `off`.
    Off,
    /// This.
    Value(T),
}

impl<T> Given<T> {
    /// What holds: what is said here, or else what is inherited.
    fn or(self, inherited: &Option<T>) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::Nothing => inherited.clone(),
            Self::Off => None,
            Self::Value(value) => Some(value),
        }
    }
}

/// The keys of one `http` block: those of a listener and of a route have the same names and other meanings.
struct Names {
    auth: &'static Key,
    require: &'static Key,
    rate_limits: &'static Key,
    headers: &'static Key,
    redirect: &'static Key,
}

const OF_LISTENER: Names = Names {
    auth: &keys::AUTH_KEY,
    require: &keys::REQUIRE,
    rate_limits: &keys::RATE_LIMITS,
    headers: &keys::HEADERS_KEY,
    redirect: &keys::REDIRECT_KEY,
};

const OF_ROUTE: Names = Names {
    auth: &keys::ROUTE_AUTH_KEY,
    require: &keys::ROUTE_REQUIRE,
    rate_limits: &keys::ROUTE_RATE_LIMITS,
    headers: &keys::ROUTE_HEADERS_KEY,
    redirect: &keys::ROUTE_REDIRECT_KEY,
};

/// The stages of a listener, whose `http` is `fields`; the largest body stands with its other limits.
pub(super) fn of_listener(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    body_max: Option<u64>,
    around: &Surroundings,
) -> Stages {
    let inherited = Stages {
        body_max,
        ..Stages::default()
    };
    Stages {
        counts_apart: false,
        ..stages(decoder, fields, &OF_LISTENER, &inherited, around)
    }
}

/// The stages of a route, whose `http` is `fields`, on a listener with those of `listener`.
pub(super) fn of_route(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    listener: &Stages,
    around: &Surroundings,
) -> Stages {
    let mut stages = stages(decoder, fields, &OF_ROUTE, listener, around);
    if fields.mentions(OF_ROUTE.redirect) {
        nothing_beside_a_redirect(decoder, fields);
    }
    let key = &keys::ROUTE_HTTP_LIMITS_KEY;
    let limits = decoder.block(fields, key, &keys::ROUTE_HTTP_LIMITS);
    let body = decoder.if_set(&limits, &keys::ROUTE_BODY_LIMIT, amounts::off_or_size);
    stages.body_max = body.unwrap_or(listener.body_max);
    stages
}

fn stages(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    names: &Names,
    inherited: &Stages,
    around: &Surroundings,
) -> Stages {
    let said = auth::decode(decoder, fields, names.auth, around);
    let auth = said.or(&inherited.auth);
    let is_open = auth.is_none();
    let require = require(decoder, fields, names.require, is_open);
    let inherited_require = match &auth {
        Some(_) => inherited.require.clone(),
        None => Vec::new(),
    };
    let limits = rate_limits(decoder, fields, names.rate_limits, is_open);
    let (request_fields, response_fields) = match fields.get(names.headers) {
        Some(node) => headers(decoder, node),
        None => (
            inherited.request_fields.clone(),
            inherited.response_fields.clone(),
        ),
    };
    Stages {
        auth,
        counts_apart: limits.is_some(),
        require: require.unwrap_or(inherited_require),
        rate_limits: limits.unwrap_or_else(|| inherited.rate_limits.clone()),
        body_max: inherited.body_max,
        redirect: redirect(decoder, fields, names.redirect, around),
        request_fields,
        response_fields,
    }
}

/// Notes what has no effect on a route that redirects.
fn nothing_beside_a_redirect(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>) {
    let keys = [
        OF_ROUTE.auth,
        OF_ROUTE.require,
        OF_ROUTE.rate_limits,
        &keys::ROUTE_HTTP_LIMITS_KEY,
    ];
    for key in keys {
        if let Some(node) = fields.get(key).filter(|node| !is_off(node)) {
            let what = format!("`{}` has no effect beside `redirect`", key.name);
            let advice = ["leave one of the two out: a redirect comes before all else"];
            decoder.mistake(node.place, what, advice);
        }
    }
}

/// The scopes that are required; `None` when nothing is said. `is_open` is whether nobody has to authenticate.
fn require(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
    is_open: bool,
) -> Option<Vec<String>> {
    let node = fields.get(key)?;
    if is_off(node) {
        return Some(Vec::new());
    }
    let scopes = lists::list(decoder, fields, key, "scope", http::scope)?;
    let scopes = lists::distinct(decoder, key, scopes);
    if is_open && !scopes.is_empty() {
        let advice = ["set `auth` beside it: who has not shown who they are has no scopes"];
        let what = "`require` asks for scopes, and nobody has to authenticate";
        decoder.mistake(node.place, what, advice);
    }
    Some(scopes)
}

fn is_off(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(text) if text == "off")
}

/// The limits of a block or of a list of blocks; `None` when nothing is said.
fn rate_limits(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
    is_open: bool,
) -> Option<Vec<RateLimit>> {
    let node = fields.get(key)?;
    let nodes = match &node.value {
        Value::Scalar(text) if text == "off" => return Some(Vec::new()),
        Value::Scalar(text) => {
            let advice = match admission::rate(text, &keys::LIMIT_RATE) {
                Ok(_) => format!("write {{ rate: {text} }}"),
                Err(_) => key.shape.expected(),
            };
            let what = format!("{} is not a value of `{}`", shown(text), key.name);
            decoder.mistake(node.place, what, [advice]);
            return None;
        }
        Value::List(items) if items.is_empty() => {
            let what = "`rate_limit` has no limit";
            decoder.mistake(node.place, what, [key.shape.expected()]);
            return None;
        }
        Value::List(items) => items.as_slice(),
        Value::Block(_) | Value::Nothing => std::slice::from_ref(node),
    };
    if let Some(one_too_many) = nodes.get(RATE_LIMITS_MAX) {
        let what = format!("`rate_limit` has {} limits", nodes.len());
        let advice = [format!("expected at most {RATE_LIMITS_MAX}")];
        decoder.mistake(one_too_many.place, what, advice);
    }
    let mut limits: Vec<(RateLimit, Place)> = Vec::new();
    for node in nodes.iter().take(RATE_LIMITS_MAX) {
        let Some(limit) = rate_limit(decoder, node, is_open) else {
            continue;
        };
        let same =
            |(other, _): &&(RateLimit, Place)| (&other.by, other.rate) == (&limit.by, limit.rate);
        if let Some((_, first)) = limits.iter().find(same) {
            let advice = [format!("the first is at {}", decoder.describe(*first))];
            let what = format!(
                "`{}` by `{}` is in `rate_limit` twice",
                limit.rate, limit.by
            );
            decoder.mistake(node.place, what, advice);
        }
        limits.push((limit, node.place));
    }
    Some(limits.into_iter().map(|(limit, _)| limit).collect())
}

fn rate_limit(decoder: &mut Decoder<'_, '_>, node: &Node, is_open: bool) -> Option<RateLimit> {
    let fields = decoder.fields(node, &keys::RATE_LIMIT, node.place);
    let rate = decoder.if_set(&fields, &keys::LIMIT_RATE, admission::rate);
    let burst = decoder.if_set(&fields, &keys::LIMIT_BURST, value::count);
    let by = decoder.or_default(&fields, &keys::LIMIT_BY, http::limit_by);
    if let Some(node) = fields
        .get(&keys::LIMIT_BY)
        .filter(|_| is_open && by == LimitBy::Consumer)
    {
        let advice = ["set `auth` beside it, or count by `client_ip`"];
        let what = "there are no consumers where nobody has to authenticate";
        decoder.mistake(node.place, what, advice);
    }
    let rate = rate?;
    Some(RateLimit {
        rate,
        burst: burst.unwrap_or(rate.count),
        by,
    })
}

/// What is changed on the way to the server and to the client.
fn headers(decoder: &mut Decoder<'_, '_>, node: &Node) -> (FieldChanges, FieldChanges) {
    let fields = decoder.fields(node, &keys::HEADERS, node.place);
    let request = decoder.block(&fields, &keys::REQUEST_CHANGES_KEY, &keys::REQUEST_CHANGES);
    let request = changes(decoder, &request, true);
    let response = decoder.block(
        &fields,
        &keys::RESPONSE_CHANGES_KEY,
        &keys::RESPONSE_CHANGES,
    );
    (request, changes(decoder, &response, false))
}

/// `of_request` is whether these are fields of requests, whose host may be set.
fn changes(decoder: &mut Decoder<'_, '_>, fields: &Fields<'_>, of_request: bool) -> FieldChanges {
    let readers = maps::Readers {
        noun: "field",
        name: |text: &str, key: &'static Key| http::changed_field(text, key, of_request),
        value: |text: &str, key: &'static Key| http::field_value(text, key),
    };
    let set = fields
        .get(&keys::SET)
        .map(|node| maps::texts(decoder, node, &keys::SET, &readers));
    let set = set.unwrap_or_default();
    let removed = |text: &str, key: &'static Key| http::changed_field(text, key, false);
    let remove = lists::list(decoder, fields, &keys::REMOVE, "field", removed);
    let remove = remove.unwrap_or_default();
    for (name, place) in &remove {
        if set.iter().any(|(set, _)| set == name) {
            let what = format!("`{name}` is removed, and set");
            let advice = ["leave one of the two out: what is set replaces whatever there was"];
            decoder.mistake(*place, what, advice);
        }
    }
    FieldChanges {
        set,
        remove: lists::distinct(decoder, &keys::REMOVE, remove),
    }
}

fn redirect(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
    around: &Surroundings,
) -> Option<Redirect> {
    let node = fields.get(key)?;
    let (to, status, place) = match &node.value {
        Value::Scalar(text) if text == "https" => {
            (Some(RedirectTo::Https), default_status(decoder), node.place)
        }
        Value::Scalar(text) => {
            let advice = match urls::redirect_to(text, &keys::REDIRECT_TO) {
                Ok(_) => format!("write {{ to: \"{text}\" }}"),
                Err(_) => key.shape.expected(),
            };
            let what = format!("{} is not a value of `redirect`", shown(text));
            decoder.mistake(node.place, what, [advice]);
            return None;
        }
        Value::List(_) => {
            decoder.mistake(node.place, "`redirect` is a list", [key.shape.expected()]);
            return None;
        }
        Value::Block(_) | Value::Nothing => {
            let fields = decoder.fields(node, &keys::REDIRECT, node.place);
            let to = decoder.if_set(&fields, &keys::REDIRECT_TO, urls::redirect_to);
            let status = decoder.or_default(&fields, &keys::REDIRECT_STATUS, amounts::status);
            let place = fields.get(&keys::REDIRECT_TO).unwrap_or(node).place;
            (to, status, place)
        }
    };
    if to.as_ref().is_some_and(|to| is_endless(to, around.has_tls)) {
        let (what, advice) = match around.has_tls {
            true => (
                "the listener has `tls`: this would redirect for ever",
                "put it on a listener without `tls`, such as that on port 80",
            ),
            false => (
                "the listener has no `tls`: this would redirect for ever",
                "expected another host, another path or https",
            ),
        };
        decoder.mistake(place, what, [advice]);
    }
    to.map(|to| Redirect { to, status })
}

/// Whether a target is what was asked for, on a listener with or without TLS.
fn is_endless(to: &RedirectTo, has_tls: bool) -> bool {
    match to {
        RedirectTo::Https => has_tls,
        RedirectTo::Url(url) => {
            let scheme = if has_tls { "https" } else { "http" };
            let asked = url.strip_prefix(scheme);
            matches!(asked, Some("://$host$path" | "://$host$path$query"))
        }
    }
}

fn default_status(decoder: &Decoder<'_, '_>) -> u16 {
    let status: fn(&str, &'static Key) -> Result<u16, Wrong> =
        |text, key| amounts::status(text, key);
    decoder.default(&keys::REDIRECT_STATUS, status)
}

/// Whether `http`, which `block` describes, is a single value, which is noted.
pub(super) fn no_block(decoder: &mut Decoder<'_, '_>, node: &Node, block: &'static Block) -> bool {
    let Value::Scalar(text) = &node.value else {
        return false;
    };
    let advice = match text.as_str() {
        "true" | "on" | "yes" => "write `http: {}`".to_owned(),
        "false" | "off" | "no" => "leave `http` out".to_owned(),
        _ => Shape::Block(block).expected(),
    };
    decoder.mistake(node.place, "the http block is a single value", [advice]);
    true
}
