//! The document as a tree in which everything knows its place. It keeps every scalar as the text that was written
//! (`off` stays `off`, `010` stays `010`) and never knows which keys exist.

use crate::place::Place;

/// A value of the document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it stands.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) value: Value,
}

/// The forms of a value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing was written, or `null` or `~`.
    Nothing,
    /// A single value, without its quotes.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with values; no key twice.
    Block(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key, without its quotes.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) key_place: Place,
    /// Its value.
    pub(crate) node: Node,
}

impl Node {
    /// What this is called in a mistake.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Nothing => "empty",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Block(_) => "a block of keys",
        }
    }
}
