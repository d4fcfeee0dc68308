//! Where the values of a plan stand in its file, for mistakes that show only later, when what the file names is looked
//! at: a file without a certificate, a key that fits none. It finds places by the keys of the file, and never says by
//! itself what is wrong.

use crate::mistakes::{Finding, Mistake};
use crate::node::{Entry, Node, Value};
use crate::place::{Place, Source};

/// Where each value of a plan stands, in the file or in an override.
#[derive(Clone, Debug)]
pub struct Places {
    sources: Vec<Source>,
    root: Node,
}

impl Places {
    pub(crate) fn new(sources: Vec<Source>, root: Node) -> Self {
        Self { sources, root }
    }

    /// The mistake that `what` is wrong with the value of `key`, and that `advice` helps to mend it; it reads like one
    /// of the file.
    ///
    /// `key` is a path from the top of the file, such as `listeners.web.tls.certs`, `pools.a.tls.ca` or
    /// `listeners.web.tls.certs[1].key`: keys after dots, items by their number, from 0, in brackets. A name may have
    /// dots in it. Where the file has no such key, the mistake is shown at the nearest one around it that it has.
    pub fn mistake(
        &self,
        key: &str,
        what: impl Into<String>,
        advice: impl IntoIterator<Item = impl Into<String>>,
    ) -> Mistake {
        Finding::new(self.of(key), what, advice).readable(&self.sources)
    }

    /// A single value or a list is shown itself, a block by the key that it stands at.
    fn of(&self, key: &str) -> Place {
        let mut node = &self.root;
        let mut key_place = Some(Place::new(node.place.source, 0, 0));
        let mut rest = key;
        while let Some(step) = Step::first(node, rest) {
            node = step.node;
            key_place = step.key_place;
            rest = step.rest;
        }
        match node.value {
            Value::Scalar(_) | Value::List(_) => node.place,
            Value::Block(_) | Value::Nothing => key_place
                .filter(|key| key.source == node.place.source)
                .unwrap_or(node.place),
        }
    }
}

/// From a value to one within it.
struct Step<'n, 'k> {
    node: &'n Node,
    key_place: Option<Place>,
    /// What is left of the path.
    rest: &'k str,
}

impl<'n, 'k> Step<'n, 'k> {
    /// The first step of `path` from `node`; `None` at its end, or when it leads nowhere. A list that stands for a
    /// block (the short form of a pool) is what any key of that block holds.
    fn first(node: &'n Node, path: &'k str) -> Option<Self> {
        let path = path.strip_prefix('.').unwrap_or(path);
        if let Some(path) = path.strip_prefix('[') {
            let (number, rest) = path.split_once(']')?;
            let Value::List(items) = &node.value else {
                return None;
            };
            return Some(Self {
                node: items.get(number.parse::<usize>().ok()?)?,
                key_place: None,
                rest,
            });
        }
        if path.is_empty() {
            return None;
        }
        match &node.value {
            Value::Block(entries) => {
                let entry = entry(entries, path)?;
                Some(Self {
                    node: &entry.node,
                    key_place: Some(entry.key_place),
                    rest: &path[entry.key.len()..],
                })
            }
            Value::List(_) => Some(Self {
                node,
                key_place: None,
                rest: path.find('[').map(|bracket| &path[bracket..])?,
            }),
            Value::Scalar(_) | Value::Nothing => None,
        }
    }
}

/// The entry with the longest key that `path` begins with.
fn entry<'n>(entries: &'n [Entry], path: &str) -> Option<&'n Entry> {
    let begins = |entry: &&Entry| {
        let rest = path.strip_prefix(entry.key.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    entries
        .iter()
        .filter(begins)
        .max_by_key(|entry| entry.key.len())
}
