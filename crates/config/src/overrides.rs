//! Values from the command line that win over the file: each is put into the tree of nodes before it is decoded, so
//! that it is checked like the file. It never bypasses a check, and cannot reach into a list; a pool that is a list of
//! servers alone counts as the block that this list stands for.

use crate::keys::{POOLS, SERVERS};
use crate::mistakes::Finding;
use crate::node::{Entry, Node, Value};
use crate::place::{Place, Source};
use crate::value::shown;
use crate::yaml;

/// The longest path; no key is that deep.
const KEYS_MAX: usize = 16;

/// One value that wins over the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What the operator typed before the value; the place of its mistakes.
    flag: String,
    /// The keys from the top of the file, joined by dots.
    path: String,
    /// The value as YAML.
    value: String,
}

impl Override {
    /// What `--set` takes: `key.path=value`. A mistake in it is shown at `--set key.path`.
    ///
    /// # Errors
    /// A sentence for the operator when there is no `=`, an empty key or a path that leads nowhere.
    pub fn parse(assignment: &str) -> Result<Self, String> {
        let expected = "expected KEY.PATH=VALUE, such as log.level=debug";
        let Some((path, value)) = assignment.split_once('=') else {
            return Err(format!("{} has no `=`; {expected}", shown(assignment)));
        };
        if path.split('.').any(str::is_empty) {
            return Err(format!("{} has an empty key; {expected}", shown(path)));
        }
        if path.split('.').count() > KEYS_MAX {
            return Err(format!(
                "{} has more than {KEYS_MAX} keys; {expected}",
                shown(path)
            ));
        }
        Ok(Self::flag(format!("--set {path}"), path, value))
    }

    /// A flag of its own, such as `--workers 4` for `workers`. A mistake in the value is shown at `flag`.
    pub fn flag(
        flag: impl Into<String>,
        path: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        Self {
            flag: flag.into(),
            path: path.into(),
            value: value.into(),
        }
    }

    /// The text that its places are in: `key.path=value`.
    pub(crate) fn source(&self) -> Source {
        Source {
            name: self.flag.clone(),
            text: format!("{}={}", self.path, self.value),
            has_lines: false,
        }
    }

    /// Puts the value into the tree; `source` is what [`Self::source`] gave, and `index` is its index. The mistakes
    /// do not hide those of the file.
    pub(crate) fn apply(&self, root: &mut Node, source: &Source, index: usize) -> Vec<Finding> {
        let (value, mut findings) = self.node(source, index);
        let mut at = root;
        let mut rest = self.path.as_str();
        let mut above = Vec::new();
        loop {
            if let [keys, _] = above[..]
                && keys == POOLS.name
            {
                spell_out(at);
            }
            let key_start = self.path.len() - rest.len();
            let kind = at.kind();
            let Some(entries) = entries(at) else {
                let place = Place::new(index, key_start, self.path.len());
                let path = &self.path[..key_start.saturating_sub(1)];
                let what = format!("{} is {} and has no keys", shown(path), kind);
                findings.push(Finding::new(
                    place,
                    what,
                    [format!("set the whole of {}", shown(path))],
                ));
                return findings;
            };
            let key = next_key(rest, entries);
            let is_last = key.len() == rest.len();
            let position = entries
                .iter()
                .position(|entry| entry.key == key)
                .unwrap_or_else(|| {
                    let key_place = Place::new(index, key_start, key_start + key.len());
                    let node = Node {
                        place: key_place,
                        value: Value::Nothing,
                    };
                    entries.push(Entry {
                        key: key.to_owned(),
                        key_place,
                        node,
                    });
                    entries.len() - 1
                });
            let Entry { node, .. } = &mut entries[position];
            if is_last {
                *node = value;
                return findings;
            }
            above.push(key);
            rest = &rest[key.len() + 1..];
            at = node;
        }
    }

    /// The value as YAML, or the bare text when it is none: `[::1]:80` needs no quotes here.
    fn node(&self, source: &Source, index: usize) -> (Node, Vec<Finding>) {
        let from = self.path.len() + 1;
        if let Ok(document) = yaml::parse(source, index, from) {
            let mut root = document.root;
            if matches!(root.value, Value::Nothing) {
                root.place = Place::new(index, 0, self.path.len());
            }
            return (root, document.findings);
        }
        let place = Place::new(index, from, source.text.len());
        (
            Node {
                place,
                value: Value::Scalar(self.value.clone()),
            },
            Vec::new(),
        )
    }
}

/// The long form of a pool that is its list of servers alone.
fn spell_out(pool: &mut Node) {
    if let Value::List(_) = pool.value {
        let servers = Entry {
            key: SERVERS.name.to_owned(),
            key_place: pool.place,
            node: pool.clone(),
        };
        pool.value = Value::Block(vec![servers]);
    }
}

/// The keys of a block, which is made from nothing when needed; `None` when `node` is something else.
fn entries(node: &mut Node) -> Option<&mut Vec<Entry>> {
    if matches!(node.value, Value::Nothing) {
        node.value = Value::Block(Vec::new());
    }
    match &mut node.value {
        Value::Block(entries) => Some(entries),
        _ => None,
    }
}

/// The first key of `path`: the longest that is there already (names may have dots), else up to the first dot.
fn next_key<'a>(path: &'a str, entries: &[Entry]) -> &'a str {
    let begins = |key: &str| {
        path.strip_prefix(key)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let known = entries
        .iter()
        .filter(|entry| begins(&entry.key))
        .map(|entry| entry.key.len())
        .max();
    &path[..known.or_else(|| path.find('.')).unwrap_or(path.len())]
}
