//! The tools of the walk: a block's keys against their description, a key's value against its form. What it gives
//! back after a mistake only lets the walk go on; the plan is then thrown away.

use std::time::Duration;

use crate::key::{Absent, Block, Key, Shape};
use crate::keys::{BLOCKS, ROOT};
use crate::mistakes::{Collector, Finding};
use crate::near::nearest;
use crate::node::{Entry, Node, Value};
use crate::place::Place;
use crate::value::{self, Wrong, shown};
use crate::yaml::{FIRST_KEY, NO_MAPPING};

/// The walk through one document.
pub(super) struct Decoder<'m, 's> {
    mistakes: &'m mut Collector<'s>,
    found: usize,
}

/// The known keys that a block sets.
pub(super) struct Fields<'n> {
    /// What a mistake about the whole block points at.
    pub(super) place: Place,
    set: Vec<(&'static Key, &'n Node)>,
    /// The keys that were probably meant by unknown ones.
    meant: Vec<&'static str>,
    /// Whether a key is among them that belongs elsewhere.
    misplaced: bool,
}

impl<'n> Fields<'n> {
    /// No key at all, of something that is not a block of its own.
    pub(super) fn none(place: Place) -> Self {
        Self {
            place,
            set: Vec::new(),
            meant: Vec::new(),
            misplaced: false,
        }
    }

    /// Whether the block sets a key that belongs elsewhere, which is noted: more about what it lacks would only
    /// confuse.
    pub(super) fn is_misplaced(&self) -> bool {
        self.misplaced
    }

    /// Whether `key` is set, or was meant by an unknown key, which is noted.
    pub(super) fn mentions(&self, key: &'static Key) -> bool {
        self.get(key).is_some() || self.meant.contains(&key.name)
    }

    /// The value of `key`, when the block sets it.
    pub(super) fn get(&self, key: &'static Key) -> Option<&'n Node> {
        self.set
            .iter()
            .find(|(set, _)| set.name == key.name)
            .map(|(_, node)| *node)
    }
}

impl<'m, 's> Decoder<'m, 's> {
    /// A walk whose mistakes go to `mistakes`.
    pub(super) fn new(mistakes: &'m mut Collector<'s>) -> Self {
        Self { mistakes, found: 0 }
    }

    /// How many mistakes this walk found up to now.
    pub(super) fn found(&self) -> usize {
        self.found
    }

    /// Whether further mistakes are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.mistakes.is_full()
    }

    /// `file:line:column` of a place.
    pub(super) fn describe(&self, place: Place) -> String {
        self.mistakes.describe(place)
    }

    /// Notes a mistake.
    pub(super) fn mistake(
        &mut self,
        place: Place,
        what: impl Into<String>,
        advice: impl IntoIterator<Item = impl Into<String>>,
    ) {
        self.found += 1;
        self.mistakes.add(Finding::new(place, what, advice));
    }

    /// The value at `place`; `None` when it is wrong, which is noted.
    pub(super) fn parsed<T>(&mut self, place: Place, parsed: Result<T, Wrong>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.mistake(place, wrong.what, wrong.advice);
                None
            }
        }
    }

    /// The keys of the whole document.
    pub(super) fn top<'n>(&mut self, root: &'n Node) -> Fields<'n> {
        let place = Place::new(root.place.source, 0, 0);
        if let Value::Scalar(_) | Value::List(_) = root.value {
            self.mistake(root.place, NO_MAPPING, [FIRST_KEY]);
            return Fields::none(place);
        }
        self.fields(root, &ROOT, place)
    }

    /// The keys of `node`, which `block` describes; `place` is what a missing key points at.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        block: &'static Block,
        place: Place,
    ) -> Fields<'n> {
        let entries = match &node.value {
            Value::Block(entries) => entries.as_slice(),
            Value::Nothing => &[],
            _ => {
                let what = format!("the {} is {}", block.what, node.kind());
                self.mistake(node.place, what, [Shape::Block(block).expected()]);
                return Fields::none(place);
            }
        };
        let mut fields = Fields::none(place);
        for entry in entries {
            match block.keys.iter().find(|key| key.name == entry.key) {
                Some(key) => fields.set.push((key, &entry.node)),
                None => {
                    fields.misplaced |= elsewhere(&entry.key, block).is_some();
                    fields.meant.extend(self.unknown_key(entry, block));
                }
            }
        }
        for key in block
            .keys
            .iter()
            .filter(|key| matches!(key.absent, Absent::Mistake))
        {
            if !fields.mentions(key) {
                let what = format!("the {} has no `{}`", block.what, key.name);
                self.mistake(
                    place,
                    what,
                    [format!("expected `{}`: {}", key.name, key.shape.form())],
                );
            }
        }
        fields
    }

    /// The keys of the block that `key` holds; none when it is not set.
    pub(super) fn block<'n>(
        &mut self,
        fields: &Fields<'n>,
        key: &'static Key,
        block: &'static Block,
    ) -> Fields<'n> {
        match fields.get(key) {
            Some(node) => self.fields(node, block, node.place),
            None => Fields::none(fields.place),
        }
    }

    /// What stands below the names in `key`, each of which names a `whose`: the name, its place, its value. At least
    /// one is mandatory.
    pub(super) fn named<'n>(
        &mut self,
        top: &Fields<'n>,
        key: &'static Key,
        whose: &str,
    ) -> Vec<(&'n str, Place, &'n Node)> {
        let Some(node) = top.get(key) else {
            return Vec::new();
        };
        let entries = match &node.value {
            Value::Block(entries) if !entries.is_empty() => entries,
            Value::Block(_) | Value::Nothing => {
                self.mistake(
                    node.place,
                    format!("`{}` names no {whose}", key.name),
                    [key.shape.expected()],
                );
                return Vec::new();
            }
            _ => {
                self.mistake(
                    node.place,
                    format!("`{}` is {}", key.name, node.kind()),
                    [key.shape.expected()],
                );
                return Vec::new();
            }
        };
        for entry in entries {
            self.parsed(entry.key_place, value::name(&entry.key, whose));
        }
        entries
            .iter()
            .map(|entry| (entry.key.as_str(), entry.key_place, &entry.node))
            .collect()
    }

    /// The text of a single value; `None` after a mistake.
    pub(super) fn scalar<'n>(&mut self, node: &'n Node, key: &'static Key) -> Option<&'n str> {
        match &node.value {
            Value::Scalar(text) => Some(text),
            _ => {
                self.mistake(
                    node.place,
                    format!("`{}` is {}", key.name, node.kind()),
                    [key.shape.expected()],
                );
                None
            }
        }
    }

    /// The value of `key` by `parse`; `None` when it is not set, or wrong, which is noted.
    pub(super) fn if_set<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &'static Key,
        parse: impl Fn(&str, &'static Key) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = fields.get(key)?;
        let text = self.scalar(node, key)?;
        self.parsed(node.place, parse(text, key))
    }

    /// The value of `key` by `parse`, or its default.
    pub(super) fn or_default<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &'static Key,
        parse: impl Fn(&str, &'static Key) -> Result<T, Wrong>,
    ) -> T {
        self.if_set(fields, key, &parse)
            .unwrap_or_else(|| self.default(key, parse))
    }

    /// The value that `key` has when it is not set.
    pub(super) fn default<T>(
        &self,
        key: &'static Key,
        parse: impl Fn(&str, &'static Key) -> Result<T, Wrong>,
    ) -> T {
        let Absent::Value(text) = key.absent else {
            unreachable!(
                "`{}` is asked for a default, and keys.rs gives it none",
                key.name
            )
        };
        match parse(text, key) {
            Ok(value) => value,
            Err(wrong) => unreachable!(
                "keys.rs gives `{}` a wrong default: {}",
                key.name, wrong.what
            ),
        }
    }

    /// A duration, or its default.
    pub(super) fn duration(&mut self, fields: &Fields<'_>, key: &'static Key) -> Duration {
        self.or_default(fields, key, value::duration)
    }

    /// A duration, when it is set.
    pub(super) fn duration_if_set(
        &mut self,
        fields: &Fields<'_>,
        key: &'static Key,
    ) -> Option<Duration> {
        self.if_set(fields, key, value::duration)
    }

    /// One of a list of words, or the default.
    pub(super) fn word<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &'static Key,
        from_word: fn(&str) -> Option<T>,
    ) -> T {
        self.or_default(fields, key, |text, key| {
            from_word(text).ok_or_else(|| value::no_word(text, key))
        })
    }

    /// One of a list of words, when it is set.
    pub(super) fn word_if_set<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &'static Key,
        from_word: fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.if_set(fields, key, |text, key| {
            from_word(text).ok_or_else(|| value::no_word(text, key))
        })
    }

    /// Notes a key that `block` does not have; gives the one that was meant, when that shows.
    fn unknown_key(&mut self, entry: &Entry, block: &'static Block) -> Option<&'static str> {
        if self.is_full() {
            self.mistake(entry.key_place, "unknown key", [""; 0]);
            return None;
        }
        let key = entry.key.as_str();
        let expected = format!("expected one of: {}", block.key_list());
        if block.later.contains(&key) {
            let advice = [Some(expected), elsewhere(key, block)];
            let what = format!("`{key}` is not available yet");
            self.mistake(entry.key_place, what, advice.into_iter().flatten());
            return None;
        }
        let renamed = block
            .keys
            .iter()
            .find(|known| known.also.contains(&key))
            .map(|known| known.name);
        let near = renamed.or_else(|| nearest(key, block.keys.iter().map(|key| key.name)));
        let advice = [Some(expected), hint(key, block, near)];
        let what = format!("unknown key {}", shown(key));
        self.mistake(entry.key_place, what, advice.into_iter().flatten());
        near
    }
}

/// What helps with a key that `block` does not have; `near` is the one of its keys that is most like it.
fn hint(key: &str, block: &Block, near: Option<&str>) -> Option<String> {
    if let Some(where_to) = elsewhere(key, block) {
        return Some(where_to);
    }
    if let Some(near) = near {
        return Some(format!("did you mean `{near}`?"));
    }
    if key == "<<" {
        return Some("merge keys are not read; let an alias stand for the whole block".to_owned());
    }
    let other = BLOCKS
        .iter()
        .find(|other| other.keys.iter().any(|known| known.name == key))?;
    let dot = if other.path.is_empty() { "" } else { "." };
    Some(format!(
        "`{key}` is a key of the {}: `{}{dot}{key}`",
        other.what, other.path
    ))
}

/// Where `key` belongs instead of `block`, when keys.rs says so.
fn elsewhere(key: &str, block: &Block) -> Option<String> {
    let (_, where_to) = block.elsewhere.iter().find(|(name, _)| *name == key)?;
    Some((*where_to).to_owned())
}
