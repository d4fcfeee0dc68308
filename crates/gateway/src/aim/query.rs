//! The parameters of a query, as routes look at them: `name=value` with `&` between (the form that browsers send,
//! WHATWG URL §5.1), percent-decoded. Nothing of the query is changed.
//!
//! A `+` is a plus and no space: which of the two a server takes it for is not known here. A parameter without `=`
//! has the empty value. A percent sign without two hexadecimal digits stands for itself.

use std::borrow::Cow;

use ringgate_config::FieldCondition;

use super::map::Map;
use crate::target::decoded;

/// Those that some route asks for, in the order of names and values and each once: however many a client sends, to look
/// for one costs little.
#[derive(Debug)]
pub(super) struct Parameters<'a>(Vec<(Text<'a>, Text<'a>)>);

/// A name or a value, decoded.
type Text<'a> = Cow<'a, [u8]>;

impl<'a> Parameters<'a> {
    /// Those of a query without its question mark that have one of the wanted names.
    pub(super) fn of(query: Option<&'a str>, wanted: &Map<Box<[u8]>, ()>) -> Self {
        let parts = query.into_iter().flat_map(|query| query.split('&'));
        let parameters = parts.filter_map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = meaning(name.as_bytes());
            let is_wanted = !part.is_empty() && wanted.contains_key(&*name);
            is_wanted.then(|| (name, meaning(value.as_bytes())))
        });
        let mut all: Vec<_> = parameters.collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether one of that name has the value.
    pub(super) fn have(&self, condition: &FieldCondition) -> bool {
        let value = condition.value.as_deref().unwrap_or_default().as_bytes();
        let sought = (condition.name.as_bytes(), value);
        let first = self
            .0
            .partition_point(|(name, value)| (&**name, &**value) < sought);
        self.0.get(first).is_some_and(|(name, value)| {
            **name == *sought.0 && (condition.value.is_none() || **value == *sought.1)
        })
    }
}

fn meaning(encoded: &[u8]) -> Text<'_> {
    if !encoded.contains(&b'%') {
        return Cow::Borrowed(encoded);
    }
    let mut meaning = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [byte, behind @ ..] = rest {
        let digits = behind.get(..2).filter(|_| *byte == b'%');
        let (byte, behind) = match digits.and_then(decoded) {
            Some(decoded) => (decoded, &behind[2..]),
            None => (*byte, behind),
        };
        meaning.push(byte);
        rest = behind;
    }
    Cow::Owned(meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, name: &str, value: Option<&str>, expected: bool) {
        let condition = FieldCondition {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        };
        let wanted = Map::from_iter([(name.as_bytes().into(), ())]);
        let found = Parameters::of(Some(query), &wanted).have(&condition);
        assert_eq!(found, expected, "{query}");
        assert!(!Parameters::of(None, &wanted).have(&condition));
        assert!(!Parameters::of(Some(query), &Map::default()).have(&condition));
    }

    #[test]
    fn a_parameter_is_compared_decoded() {
        check("v=1", "v", Some("1"), true);
        check("a=b&v=1&v=2", "v", Some("2"), true);
        check("v=2&v=1&v=2&a=b", "v", Some("1"), true);
        check("v=12", "v", Some("1"), false);
        check("v=", "v", Some("1"), false);
        check("v", "v", Some(""), true);
        check("v=1", "v", Some(""), false);
        check("v", "v", None, true);
        check("v=1", "v", None, true);
        check("u=1&w=1", "v", None, false);
        check("vv=1", "v", None, false);
        check("", "v", None, false);
        check("&&", "", None, false);
        check("%76=%31", "v", Some("1"), true);
        check("v=%C3%A4", "v", Some("ä"), true);
        check("v=%c3", "v", Some("ä"), false);
        check("v=a+b", "v", Some("a b"), false);
        check("v=a+b", "v", Some("a+b"), true);
        check("v=a%20b", "v", Some("a b"), true);
        check("v=100%", "v", Some("100%"), true);
        check("v=%zz", "v", Some("%zz"), true);
        check("v=%4", "v", Some("%4"), true);
        check("v=%2531", "v", Some("%31"), true);
        check("v=a=b", "v", Some("a=b"), true);
        check("v%3D1", "v", None, false);
        check("v=1%26x=2", "x", None, false);
        check("V=1", "v", Some("1"), false);
    }
}
