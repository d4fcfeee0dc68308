//! The fields of a request as a server gets them: those of the client's connection and what strangers say of
//! themselves go, what the gateway knows comes. It decides nothing: names that may not go were refused before.

use std::borrow::Cow;
use std::net::IpAddr;

use super::connection::{ConnectionOptions, ended};
use super::strangers::{is_never, is_trust};
use crate::fields::{Fields, Known};
use crate::host::{Host, Scheme};

/// The version in which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Received {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// What the gateway knows of a request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The version in which it came.
    pub received: Received,
    /// Whether it came by TLS.
    pub scheme: Scheme,
    /// The host, as it is forwarded ([`Host::text`]).
    pub host: &'a str,
    /// The port that the client connected to; `None` for a unix socket.
    pub port: Option<u16>,
    /// Who connected; `None` for a unix socket.
    pub peer: Option<IpAddr>,
    /// Whether that is a trusted proxy ([`super::client_of`]).
    pub is_peer_trusted: bool,
    /// Its name ([`super::request_id`]).
    pub request_id: &'a [u8],
    /// Who the client has shown to be.
    pub consumer: Option<&'a str>,
    /// `Authorization` was for the gateway, and is not for the server.
    pub is_authorization_ours: bool,
    /// What it says of its connection ([`super::check_connection`]).
    pub options: ConnectionOptions,
}

/// Makes of a client's fields those for the server.
///
/// `Host` is canonical; `Via`, `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`, `X-Request-Id` and `X-Consumer` are
/// set. Of a trusted proxy `X-Forwarded-For` is kept with its own address behind, and well-formed others of them are
/// kept as they are. Of an upgrade `Connection` and `Upgrade` stay; of `TE` only `trailers` does, and `Connection` names
/// it (RFC 9110 §10.1.4). Fields with `_` in
/// their names go: for a CGI program they are those with `-`. In `X-Consumer`, bytes that a field may not have are
/// percent-encoded.
pub fn prepare_request(fields: &mut Fields, facts: &Facts<'_>) {
    let told = Told::of(fields, facts);
    let ended = ended(fields);
    let mut has_host = false;
    fields.remove_if(|field| match field.known {
        Known::Host => {
            let goes = has_host || field.value != facts.host.as_bytes();
            has_host |= !goes;
            goes
        }
        Known::Authorization => facts.is_authorization_ours,
        Known::Upgrade => !facts.options.upgrade,
        Known::XConsumer
        | Known::XForwardedFor
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XForwardedProto
        | Known::XRequestId => true,
        known if known.is_hop_by_hop() || is_never(known) => true,
        _ => {
            (!facts.is_peer_trusted && is_trust(field))
                || memchr::memchr(b'_', field.name).is_some()
                || ended
                    .binary_search_by(|name| (**name).cmp(field.name))
                    .is_ok()
        }
    });
    if !has_host {
        fields.add(Known::Host, facts.host.as_bytes());
    }
    let options = facts.options;
    let connection: Option<&[u8]> = match (options.upgrade, options.te_trailers) {
        (true, true) => Some(b"upgrade, te"),
        (true, false) => Some(b"upgrade"),
        (false, true) => Some(b"te"),
        (false, false) => None,
    };
    if let Some(connection) = connection {
        fields.add(Known::Connection, connection);
    }
    if options.te_trailers {
        fields.add(Known::Te, b"trailers");
    }
    fields.push("via", via(facts.received));
    told.write(fields, facts);
    fields.add(Known::XRequestId, facts.request_id);
    if let Some(consumer) = facts.consumer {
        fields.add(Known::XConsumer, &plain(consumer));
    }
}

/// RFC 9110 §7.6.3: the version in which the message was received.
fn via(received: Received) -> &'static [u8] {
    match received {
        Received::Http10 => b"1.0 ringgate",
        Received::Http11 => b"1.1 ringgate",
        Received::Http2 => b"2.0 ringgate",
    }
}

/// What a trusted proxy told; nothing of anybody else.
#[derive(Default)]
struct Told {
    forwarded_for: Vec<u8>,
    proto: Option<Scheme>,
    host: Option<String>,
    port: Option<u16>,
}

impl Told {
    fn of(fields: &Fields, facts: &Facts<'_>) -> Self {
        if !facts.is_peer_trusted {
            return Self::default();
        }
        let values: Vec<&[u8]> = fields.all(Known::XForwardedFor).collect();
        let port = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
        Self {
            forwarded_for: values.join(&b", "[..]),
            proto: only(fields, Known::XForwardedProto).and_then(|value| Scheme::parse(value).ok()),
            host: only(fields, Known::XForwardedHost)
                .and_then(|value| Some(Host::parse(value).ok()?.to_string())),
            port: only(fields, Known::XForwardedPort).and_then(port),
        }
    }

    fn write(self, fields: &mut Fields, facts: &Facts<'_>) {
        if !self.forwarded_for.is_empty() || facts.peer.is_some() {
            fields.push_written("x-forwarded-for", |out| {
                out.extend_from_slice(&self.forwarded_for);
                if let Some(peer) = facts.peer {
                    let is_first = self.forwarded_for.is_empty();
                    out.extend_from_slice(if is_first { b"" } else { b", " });
                    write_address(peer.to_canonical(), out);
                }
            });
        }
        let proto = self.proto.unwrap_or(facts.scheme);
        fields.add(Known::XForwardedProto, proto.word().as_bytes());
        let host = self.host.as_deref().unwrap_or(facts.host);
        fields.add(Known::XForwardedHost, host.as_bytes());
        if let Some(port) = self.port.or(facts.port) {
            let mut digits = itoa::Buffer::new();
            fields.add(Known::XForwardedPort, digits.format(port).as_bytes());
        }
    }
}

fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                out.extend_from_slice(if place == 0 { b"" } else { b"." });
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(address) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}

/// The value of a field that is there once.
fn only(fields: &Fields, known: Known) -> Option<&[u8]> {
    let mut values = fields.all(known);
    values.next().filter(|_| values.next().is_none())
}

/// A name as the value of a field, of which no two are one. What a signed token or a certificate calls somebody may
/// hold any bytes.
fn plain(name: &str) -> Cow<'_, [u8]> {
    let bytes = name.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'%';
    let is_between = |at: usize| at > 0 && at + 1 < bytes.len();
    let stays = |at: usize, byte: &u8| is_plain(byte) || (*byte == b' ' && is_between(at));
    if bytes.iter().enumerate().all(|(at, byte)| stays(at, byte)) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for (at, byte) in bytes.iter().enumerate() {
        match stays(at, byte) {
            true => out.push(*byte),
            false => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forwarded::check_connection;

    const FACTS: Facts<'static> = Facts {
        received: Received::Http11,
        scheme: Scheme::Http,
        host: "a:8080",
        port: Some(8080),
        peer: Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1))),
        is_peer_trusted: false,
        request_id: b"id",
        consumer: None,
        is_authorization_ours: false,
        options: ConnectionOptions {
            close: false,
            keep_alive: false,
            upgrade: false,
            te_trailers: false,
        },
    };
    const TRUSTED: Facts<'static> = Facts {
        is_peer_trusted: true,
        ..FACTS
    };

    fn prepared(given: &[(&str, &str)], facts: Facts<'_>) -> Vec<String> {
        let mut fields = Fields::default();
        for (name, value) in given {
            fields.push(name, value.as_bytes());
        }
        let options = check_connection(&fields).unwrap();
        prepare_request(&mut fields, &Facts { options, ..facts });
        let mut out = Vec::new();
        fields.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// What else than the usual there is, and that the usual is there.
    #[track_caller]
    fn check(given: &[(&str, &str)], facts: Facts<'_>, expected: &[&str]) {
        const USUAL: [&str; 7] = [
            "host: a:8080",
            "via: 1.1 ringgate",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-proto: http",
            "x-forwarded-host: a:8080",
            "x-forwarded-port: 8080",
            "x-request-id: id",
        ];
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        let lines = prepared(given, facts);
        for usual in USUAL {
            let is_there = lines.iter().any(|line| name(line) == name(usual));
            assert!(is_there, "{usual}: {lines:?}");
        }
        let others = lines.iter().map(String::as_str);
        let others: Vec<&str> = others.filter(|line| !USUAL.contains(line)).collect();
        assert_eq!(others, expected, "{given:?}");
    }

    #[test]
    fn what_is_of_the_connection_ends_with_it() {
        let given = [
            ("Host", "a:8080"),
            ("Connection", "keep-alive, X-Mine"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "x"),
            ("Proxy-Authorization", "x"),
            ("Transfer-Encoding", "chunked"),
            ("Trailer", "x"),
            ("HTTP2-Settings", "x"),
            ("Upgrade", "h2c"),
            ("TE", "gzip"),
            ("x-mine", "1"),
            ("x-mine-too", "2"),
            ("content-length", "3"),
        ];
        check(&given, FACTS, &["x-mine-too: 2", "content-length: 3"]);
        check(
            &[("te", "trailers, gzip")],
            FACTS,
            &["connection: te", "te: trailers"],
        );
        let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
        check(
            &upgrade,
            FACTS,
            &["upgrade: websocket", "connection: upgrade"],
        );
    }

    #[test]
    fn what_strangers_say_of_themselves_is_not_passed_on() {
        let given = [
            ("X-Forwarded-For", "1.1.1.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "b"),
            ("X-Forwarded-Port", "1"),
            ("X-Forwarded-Server", "b"),
            ("X-Forwarded-Prefix", "/b"),
            ("X-Forwarded-User", "root"),
            ("Forwarded", "for=1.1.1.1"),
            ("X-Real-IP", "1.1.1.1"),
            ("True-Client-IP", "1.1.1.1"),
            ("X-Request-Id", "mine"),
            ("X-Consumer", "root"),
            ("X-Authenticated-User", "root"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-Envoy-External-Address", "1.1.1.1"),
            ("X-Original-URL", "/admin"),
            ("X-Rewrite-URL", "/admin"),
            ("Proxy", "http://b"),
            ("X_Forwarded_For", "1.1.1.1"),
            ("x_consumer", "root"),
            ("traceparent", "00-1-2-03"),
            ("tracestate", "a=b"),
            ("x-api-key", "k"),
            ("via", "1.1 b"),
        ];
        let kept = [
            "traceparent: 00-1-2-03",
            "tracestate: a=b",
            "x-api-key: k",
            "via: 1.1 b",
        ];
        check(&given, FACTS, &kept);
    }

    #[test]
    fn what_a_trusted_proxy_says_is() {
        let given = [
            ("X-Forwarded-For", "1.1.1.1"),
            ("X-Forwarded-For", "2.2.2.2, 3.3.3.3"),
            ("X-Forwarded-Proto", "HTTPS"),
            ("X-Forwarded-Host", "B.example"),
            ("X-Forwarded-Port", "443"),
            ("X-Real-IP", "1.1.1.1"),
            ("Forwarded", "for=1.1.1.1"),
            ("X-Consumer", "root"),
            ("X-Rewrite-URL", "/admin"),
        ];
        let kept = [
            "x-real-ip: 1.1.1.1",
            "forwarded: for=1.1.1.1",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1",
            "x-forwarded-proto: https",
            "x-forwarded-host: b.example",
            "x-forwarded-port: 443",
        ];
        check(&given, TRUSTED, &kept);
        let malformed = [
            ("X-Forwarded-Proto", "https, http"),
            ("X-Forwarded-Host", "b, c"),
            ("X-Forwarded-Port", "99999"),
        ];
        check(&malformed, TRUSTED, &[]);
        let twice = [
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Proto", "https"),
        ];
        check(&twice, TRUSTED, &[]);
    }

    #[test]
    fn there_is_one_host_and_it_is_canonical() {
        for given in [
            &[("Host", "A:8080")][..],
            &[("Host", "a:8080"), ("Host", "a:8080")],
            &[],
        ] {
            let lines = prepared(given, FACTS);
            let hosts = lines.iter().filter(|line| *line == "host: a:8080");
            assert_eq!(hosts.count(), 1, "{lines:?}");
            assert!(!lines.iter().any(|line| line == "host: A:8080"));
        }
    }

    #[test]
    fn credentials_that_the_gateway_took_are_not_for_the_server() {
        let given = [("Authorization", "Bearer x"), ("Cookie", "a=b")];
        check(&given, FACTS, &["authorization: Bearer x", "cookie: a=b"]);
        let ours = Facts {
            is_authorization_ours: true,
            consumer: Some("anna"),
            ..FACTS
        };
        check(&given, ours, &["cookie: a=b", "x-consumer: anna"]);
    }

    #[test]
    fn no_name_of_a_consumer_breaks_the_head() {
        for (name, value) in [
            ("CN=Anna B,O=C", "CN=Anna B,O=C"),
            ("a\r\nx: y", "a%0D%0Ax: y"),
            (" a ", "%20a%20"),
            ("50%", "50%25"),
            ("ä", "%C3%A4"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&plain(name)), value);
        }
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "10.0.100.7",
            "::",
            "2001:db8::1:0",
        ] {
            let mut out = Vec::new();
            write_address(text.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn a_unix_socket_has_no_address_and_no_port() {
        let unix = Facts {
            peer: None,
            port: None,
            received: Received::Http2,
            scheme: Scheme::Https,
            ..FACTS
        };
        let lines = prepared(&[("X-Forwarded-For", "1.1.1.1")], unix);
        let expected = [
            "host: a:8080",
            "via: 2.0 ringgate",
            "x-forwarded-proto: https",
            "x-forwarded-host: a:8080",
            "x-request-id: id",
        ];
        assert_eq!(lines, expected);
    }
}
