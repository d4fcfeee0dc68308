//! Keys that take names with a text each. It knows nothing of what they are for.

use std::collections::HashMap;

use super::fields::Decoder;
use crate::key::Key;
use crate::node::{Entry, Node, Value};
use crate::place::Place;
use crate::value::{Wrong, shown};

/// How many names one map may have.
const NAMES_MAX: usize = 64;

/// How the names and the texts of a map are read.
pub(super) struct Readers<N, V> {
    pub(super) noun: &'static str,
    pub(super) name: N,
    pub(super) value: V,
}

/// The entries of the block at `node`, the value of `key`; none when it is something else, which is noted.
pub(super) fn entries<'n>(
    decoder: &mut Decoder<'_, '_>,
    node: &'n Node,
    key: &'static Key,
    noun: &str,
) -> &'n [Entry] {
    let what = match &node.value {
        Value::Block(entries) if entries.len() > NAMES_MAX => {
            let what = format!("`{}` has {} {noun}s", key.name, entries.len());
            let advice = [format!("expected at most {NAMES_MAX}")];
            decoder.mistake(entries[NAMES_MAX].key_place, what, advice);
            return &entries[..NAMES_MAX];
        }
        Value::Block(entries) if !entries.is_empty() => return entries,
        Value::Block(_) | Value::Nothing => format!("`{}` names no {noun}", key.name),
        Value::Scalar(_) | Value::List(_) => format!("`{}` is {}", key.name, node.kind()),
    };
    decoder.mistake(node.place, what, [key.shape.expected()]);
    &[]
}

/// The names of the map at `node`, each with its text; no name is there twice, and those with a mistake are left out.
pub(super) fn texts<N, V>(
    decoder: &mut Decoder<'_, '_>,
    node: &Node,
    key: &'static Key,
    readers: &Readers<N, V>,
) -> Vec<(String, String)>
where
    N: Fn(&str, &'static Key) -> Result<String, Wrong>,
    V: Fn(&str, &'static Key) -> Result<String, Wrong>,
{
    let mut texts = Vec::new();
    let mut named: HashMap<String, Place> = HashMap::new();
    for entry in entries(decoder, node, key, readers.noun) {
        let name = decoder.parsed(entry.key_place, (readers.name)(&entry.key, key));
        let text = match &entry.node.value {
            Value::Scalar(text) => decoder.parsed(entry.node.place, (readers.value)(text, key)),
            _ => {
                let what = format!(
                    "the value of {} is {}",
                    shown(&entry.key),
                    entry.node.kind()
                );
                let advice = ["expected a single value; nothing at all is written \"\""];
                decoder.mistake(entry.node.place, what, advice);
                None
            }
        };
        let Some(name) = name else { continue };
        match named.get(&name).copied() {
            None => drop(named.insert(name.clone(), entry.key_place)),
            Some(first) => {
                let what = format!("{} is in `{}` twice", shown(&name), key.name);
                let advice = [format!("the first is at {}", decoder.describe(first))];
                decoder.mistake(entry.key_place, what, advice);
            }
        }
        texts.extend(text.map(|text| (name, text)));
    }
    texts
}
