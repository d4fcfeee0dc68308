//! What `Connection` says (RFC 9110 §7.6.1): options of the connection, and fields that end with it. A name that
//! would take from the request what it means, or who vouches for it, is refused before anything else looks at the
//! fields.

use crate::fields::{Field, Fields, Known};
use crate::flaw::Flaw;

use super::strangers::is_trust;

/// Bytes of the longest name that is compared; none that matters is as long.
const NAME_BYTES_MAX: usize = 128;

/// What a head says of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// It ends after this message.
    pub close: bool,
    /// It stays, which on HTTP/1.0 must be said.
    pub keep_alive: bool,
    /// The client asks for one other protocol (RFC 9110 §7.8), which is not HTTP/2 in clear.
    pub upgrade: bool,
    /// The client takes trailers (RFC 9110 §10.1.4).
    pub te_trailers: bool,
}

/// What the fields of a head say of its connection.
///
/// # Errors
/// [`Flaw::ConnectionForm`] and [`Flaw::ConnectionNames`].
pub fn check_connection(fields: &Fields) -> Result<ConnectionOptions, Flaw> {
    let mut options = ConnectionOptions::default();
    for value in fields.all(Known::Connection) {
        for option in options_of(value) {
            match option {
                _ if option.eq_ignore_ascii_case(b"close") => options.close = true,
                _ if option.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                _ if option.eq_ignore_ascii_case(b"upgrade") => {
                    options.upgrade = is_upgrade(fields);
                }
                _ if !option.iter().all(|byte| is_token(*byte)) => {
                    return Err(Flaw::ConnectionForm);
                }
                _ if stays(option) => return Err(Flaw::ConnectionNames),
                _ => {}
            }
        }
    }
    let mut te = fields.all(Known::Te).flat_map(options_of);
    options.te_trailers = te.any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    Ok(options)
}

/// The members of a list, without those that are empty (RFC 9110 §5.6.1).
fn options_of(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let members = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

/// The fields that `Connection` ends, in order; those that are for the server do not end by it.
pub(super) fn ended(fields: &Fields) -> Vec<Vec<u8>> {
    let options = fields.all(Known::Connection).flat_map(options_of);
    let named = options.filter(|option| !is_usual(option) && !stays(option));
    let mut names: Vec<Vec<u8>> = named.map(<[u8]>::to_ascii_lowercase).collect();
    names.sort_unstable();
    names
}

/// Whether an option is one of those that name no field which is not removed anyway.
fn is_usual(option: &[u8]) -> bool {
    ["keep-alive", "close", "upgrade", "te"]
        .iter()
        .any(|usual| option.eq_ignore_ascii_case(usual.as_bytes()))
}

/// Whether an option names a field that is for the server, not for the connection.
fn stays(option: &[u8]) -> bool {
    let mut lower = [0; NAME_BYTES_MAX];
    let Some(lower) = lower.get_mut(..option.len()) else {
        return false;
    };
    lower.copy_from_slice(option);
    lower.make_ascii_lowercase();
    let known = Known::of(lower);
    let is_of_message = matches!(
        known,
        Known::Authorization
            | Known::ContentLength
            | Known::Cookie
            | Known::Date
            | Known::Expect
            | Known::Host
            | Known::TransferEncoding
    );
    let names: [&[u8]; 8] = [
        b"cache-control",
        b"content-encoding",
        b"content-type",
        b"range",
        b"set-cookie",
        b"traceparent",
        b"tracestate",
        b"via",
    ];
    let field = Field {
        known,
        name: lower,
        value: &[],
    };
    is_of_message || names.contains(&&*lower) || is_trust(field)
}

/// One protocol by one field; a list would have the server choose what the client did not check.
fn is_upgrade(fields: &Fields) -> bool {
    let mut values = fields.all(Known::Upgrade);
    let (Some(protocol), None) = (values.next(), values.next()) else {
        return false;
    };
    let is_of_protocol = |byte: &u8| is_token(*byte) || *byte == b'/';
    let is_h2c = protocol
        .get(..3)
        .is_some_and(|begin| begin.eq_ignore_ascii_case(b"h2c"));
    !protocol.is_empty() && protocol.iter().all(is_of_protocol) && !is_h2c
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in list {
            fields.push(name, value.as_bytes());
        }
        fields
    }

    #[track_caller]
    fn check(list: &[(&str, &str)], words: &str) {
        let found = check_connection(&fields(list)).unwrap();
        let has = |word| words.split(' ').any(|each| each == word);
        let expected = ConnectionOptions {
            close: has("close"),
            keep_alive: has("keep_alive"),
            upgrade: has("upgrade"),
            te_trailers: has("te_trailers"),
        };
        assert_eq!(found, expected, "{list:?}");
    }

    #[test]
    fn options_are_words_in_any_case() {
        check(&[], "");
        check(&[("connection", "close")], "close");
        check(
            &[("connection", "Keep-Alive, , CLOSE,")],
            "close keep_alive",
        );
        check(
            &[("connection", "x-mine"), ("connection", "close")],
            "close",
        );
        check(&[("connection", "")], "");
        check(&[("te", "trailers, deflate;q=0.5")], "te_trailers");
        check(&[("te", "gzip"), ("connection", "te")], "");
        check(&[("te", "gzip"), ("te", "Trailers")], "te_trailers");
    }

    #[test]
    fn an_upgrade_is_one_protocol_that_both_fields_name() {
        let with = |upgrade: &'static str| [("connection", "Upgrade"), ("upgrade", upgrade)];
        check(&with("websocket"), "upgrade");
        check(&with("TLS/1.0"), "upgrade");
        check(&with("h2c"), "");
        check(&with("H2C-16"), "");
        check(&with("websocket, h2c"), "");
        check(&with(""), "");
        check(&[("upgrade", "websocket")], "");
        check(&[("connection", "upgrade")], "");
        let twice = [
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("upgrade", "h2c"),
        ];
        check(&twice, "");
    }

    #[test]
    fn no_option_may_name_what_is_for_the_server() {
        for name in [
            "host",
            "Content-Length",
            "transfer-encoding",
            "authorization",
            "cookie",
            "expect",
            "content-type",
            "cache-control",
            "x-forwarded-for",
            "X-Forwarded-Anything",
            "x-real-ip",
            "forwarded",
            "x-request-id",
            "x-consumer",
            "x-envoy-internal",
            "x-original-url",
            "proxy",
        ] {
            let value = format!("close, {name}");
            let found = check_connection(&fields(&[("connection", &value)]));
            assert_eq!(found, Err(Flaw::ConnectionNames), "{name}");
        }
        for value in ["a b", "close;x", "\"close\"", "a:b", "cl\u{f6}se", "a\tb"] {
            let found = check_connection(&fields(&[("connection", value)]));
            assert_eq!(found, Err(Flaw::ConnectionForm), "{value}");
        }
    }
}
