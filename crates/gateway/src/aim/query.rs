//! The parameters of a query, as routes look at them: `name=value` with `&` between (the form that browsers send,
//! WHATWG URL §5.1), percent-decoded. Nothing of the query is changed.
//!
//! A `+` is a plus and no space: which of the two a server takes it for is not known here. A parameter without `=`
//! has the empty value. A percent sign without two hexadecimal digits stands for itself.

use ringgate_config::FieldCondition;

use crate::target::decoded;

/// Whether one of the parameters of that name has the value.
pub(super) fn has(query: Option<&str>, condition: &FieldCondition) -> bool {
    let parameters = query.into_iter().flat_map(|query| query.split('&'));
    let mut parts = parameters.filter(|each| !each.is_empty()).map(|each| {
        let (name, value) = each.split_once('=').unwrap_or((each, ""));
        (name.as_bytes(), value.as_bytes())
    });
    parts.any(|(name, value)| {
        let expected = condition.value.as_deref();
        means(name, &condition.name) && expected.is_none_or(|expected| means(value, expected))
    })
}

/// Whether the bytes, decoded, are the text.
fn means(mut encoded: &[u8], text: &str) -> bool {
    for expected in text.bytes() {
        let byte = match encoded {
            [] => return false,
            [b'%', upper, lower, rest @ ..] => match decoded(&[*upper, *lower]) {
                Some(byte) => {
                    encoded = rest;
                    byte
                }
                None => {
                    encoded = &encoded[1..];
                    b'%'
                }
            },
            [byte, rest @ ..] => {
                encoded = rest;
                *byte
            }
        };
        if byte != expected {
            return false;
        }
    }
    encoded.is_empty()
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
        assert_eq!(has(Some(query), &condition), expected, "{query}");
        assert!(!has(None, &condition));
    }

    #[test]
    fn a_parameter_is_compared_decoded() {
        check("v=1", "v", Some("1"), true);
        check("a=b&v=1&v=2", "v", Some("2"), true);
        check("v=12", "v", Some("1"), false);
        check("v=", "v", Some("1"), false);
        check("v", "v", Some(""), true);
        check("v", "v", None, true);
        check("v=1", "v", None, true);
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
        check("v=a=b", "v", Some("a=b"), true);
        check("v%3D1", "v", None, false);
        check("v=1%26x=2", "x", None, false);
        check("V=1", "v", Some("1"), false);
    }
}
