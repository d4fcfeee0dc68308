//! Keys that take a list of one kind of value, or one such value alone. It knows nothing of what they are for.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use super::fields::{Decoder, Fields};
use crate::key::Key;
use crate::node::{Node, Value};
use crate::place::Place;
use crate::plan::Network;
use crate::value::{Wrong, admission, names};

/// How many protocols a list may have: a hello has room for a few dozen (RFC 7301 §3.1).
const PROTOCOLS_MAX: usize = 32;

/// The values of a list, each with its place; those with a mistake are left out.
pub(super) type Placed<T> = Vec<(T, Place)>;

/// The networks of a list; `None` when it is not set.
pub(super) fn networks(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
) -> Option<Placed<Network>> {
    list(decoder, fields, key, "network", admission::network)
}

/// The networks of a list, none of them twice; `None` when it is not set.
pub(super) fn distinct_networks(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
) -> Option<Vec<Network>> {
    let networks = networks(decoder, fields, key)?;
    Some(distinct(decoder, key, networks))
}

/// The protocols of a list, none of them twice; none when it is not set.
pub(super) fn protocols(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
) -> Vec<String> {
    let Some(protocols) = list(decoder, fields, key, "protocol", names::protocol) else {
        return Vec::new();
    };
    if let Some((_, one_too_many)) = protocols.get(PROTOCOLS_MAX) {
        let what = format!("`{}` has {} protocols", key.name, protocols.len());
        let advice = [format!("expected at most {PROTOCOLS_MAX}")];
        decoder.mistake(*one_too_many, what, advice);
    }
    distinct(decoder, key, protocols)
}

/// The values of a list; `None` when it is not set. A list without any would say the opposite of what it seems to.
pub(super) fn list<T>(
    decoder: &mut Decoder<'_, '_>,
    fields: &Fields<'_>,
    key: &'static Key,
    noun: &str,
    parse: impl Fn(&str, &'static Key) -> Result<T, Wrong>,
) -> Option<Placed<T>> {
    let node = fields.get(key)?;
    let nodes = match &node.value {
        Value::List(items) if !items.is_empty() => items.as_slice(),
        Value::Scalar(_) => std::slice::from_ref(node),
        Value::List(_) | Value::Nothing => {
            let what = format!("`{}` names no {noun}", key.name);
            decoder.mistake(node.place, what, [key.shape.expected()]);
            return Some(Vec::new());
        }
        Value::Block(_) => {
            let what = format!("`{}` is {}", key.name, node.kind());
            decoder.mistake(node.place, what, [key.shape.expected()]);
            return Some(Vec::new());
        }
    };
    let mut one = |node: &Node| {
        let Value::Scalar(text) = &node.value else {
            let what = format!("a {noun} in `{}` is {}", key.name, node.kind());
            decoder.mistake(node.place, what, [key.shape.expected()]);
            return None;
        };
        let value = decoder.parsed(node.place, parse(text, key))?;
        Some((value, node.place))
    };
    Some(nodes.iter().filter_map(&mut one).collect())
}

/// The values alone; every one that is listed a second time is noted.
pub(super) fn distinct<T: Clone + Display + Eq + Hash>(
    decoder: &mut Decoder<'_, '_>,
    key: &'static Key,
    values: Placed<T>,
) -> Vec<T> {
    let mut listed: HashMap<T, Place> = HashMap::new();
    for (value, place) in &values {
        match listed.get(value) {
            None => drop(listed.insert(value.clone(), *place)),
            Some(_) if decoder.is_full() => {
                decoder.mistake(*place, "a value is listed twice", [""; 0]);
            }
            Some(first) => {
                let what = format!("`{value}` is in `{}` twice", key.name);
                let advice = [format!("the first is at {}", decoder.describe(*first))];
                decoder.mistake(*place, what, advice);
            }
        }
    }
    values.into_iter().map(|(value, _)| value).collect()
}
