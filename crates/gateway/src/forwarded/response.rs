//! The fields of a response as the client gets them. Servers are not trusted either: what they say of their
//! connection ends at the gateway, and takes nothing with it that frames the response.

use super::connection::ended;
use crate::fields::{Fields, Known};

/// Makes of a server's fields those for the client: those of the server's connection go, `X-Request-Id` is the
/// request's, and `Date` is added where there is none (RFC 9110 §6.6.1). `date` is the time as IMF-fixdate. Of a 101
/// (`is_upgrade`) `Connection` and `Upgrade` stay.
pub fn prepare_response(fields: &mut Fields, request_id: &[u8], date: &str, is_upgrade: bool) {
    let ended = ended(fields);
    let mut has_date = false;
    fields.remove_if(|field| match field.known {
        Known::Date => {
            has_date = true;
            false
        }
        Known::Upgrade => !is_upgrade,
        Known::XRequestId => true,
        known if known.is_hop_by_hop() => true,
        _ => ended
            .binary_search_by(|name| (**name).cmp(field.name))
            .is_ok(),
    });
    if !has_date {
        fields.add(Known::Date, date.as_bytes());
    }
    if is_upgrade {
        fields.add(Known::Connection, b"upgrade");
    }
    fields.add(Known::XRequestId, request_id);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &[(&str, &str)], is_upgrade: bool, expected: &[&str]) {
        let mut fields = Fields::default();
        for (name, value) in given {
            fields.push(name, value.as_bytes());
        }
        prepare_response(&mut fields, b"id", "now", is_upgrade);
        let mut out = Vec::new();
        fields.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_of_the_servers_connection_ends_with_it() {
        let given = [
            ("Server", "s"),
            ("Date", "then"),
            ("Connection", "close, x-mine, Content-Length, set-cookie"),
            ("Keep-Alive", "x"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("X-Mine", "1"),
            ("Content-Length", "2"),
            ("Set-Cookie", "a=b"),
            ("Set-Cookie", "c=d"),
            ("X-Request-Id", "theirs"),
        ];
        let kept = [
            "server: s",
            "date: then",
            "content-length: 2",
            "set-cookie: a=b",
            "set-cookie: c=d",
            "x-request-id: id",
        ];
        check(&given, false, &kept);
        check(&[], false, &["date: now", "x-request-id: id"]);
    }

    #[test]
    fn an_upgrade_says_to_what() {
        let given = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
        let kept = [
            "upgrade: websocket",
            "date: now",
            "connection: upgrade",
            "x-request-id: id",
        ];
        check(&given, true, &kept);
    }
}
