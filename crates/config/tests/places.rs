//! A mistake that shows only later, in what the file names, reads like one of the file and stands at its place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ringgate_config::{Mistakes, Override, Places, parse_with_places};

const FILE: &str = r#"listeners:
  web:
    bind: ":443"
    pool: a
    tls: { certs: [/a.pem, { cert: /b.pem, key: /b.key }], client_auth: { ca: /ca.pem } }
    routes:
      - { sni: [a.test, b.test], pool: a.b }
      - sni: c.test
        pool: c
  we.b:
    bind: ":444"
    pool: a
    tls:
      certs: /c
pools:
  a: { servers: [10.0.0.1:80], tls: {} }
  a.b:
    servers: [10.0.0.2:80]
    tls:
  c: [10.0.0.3:80, 10.0.0.4:80]
"#;

fn places(overrides: &[Override]) -> Places {
    let parsed = parse_with_places("file.yaml", FILE, overrides);
    parsed.unwrap_or_else(|mistakes| panic!("{mistakes}")).1
}

#[test]
fn a_later_mistake_reads_like_one_of_the_file() {
    let mistake = places(&[]).mistake(
        "listeners.web.tls.certs[1].key",
        "the key does not fit the certificate",
        ["expected the key of `/b.pem`"],
    );
    let line = r#"    tls: { certs: [/a.pem, { cert: /b.pem, key: /b.key }], client_auth: { ca: /ca.pem } }"#;
    let caret = " ".repeat(48);
    let expected = format!(
        "file.yaml:5:49: the key does not fit the certificate\n  5 | {line}\n    | {caret}^^^^^^\n  \
         expected the key of `/b.pem`"
    );
    assert_eq!(mistake.to_string(), expected);
}

#[test]
fn a_key_is_found_or_the_nearest_around_it() {
    let places = places(&[]);
    let check = |key: &str, expected: &str| {
        let mistake = places.mistake(key, "wrong", [""; 0]);
        assert_eq!(mistake.place, format!("file.yaml:{expected}"), "{key}");
    };
    check("listeners.web.tls.certs", "5:19");
    check("listeners.web.tls.certs[0]", "5:20");
    check("listeners.web.tls.certs[0].key", "5:20");
    check("listeners.web.tls.certs[1].cert", "5:36");
    check("listeners.web.tls.certs[7]", "5:19");
    check("listeners.web.tls.client_auth.ca", "5:79");
    check("listeners.web.tls.client_auth.crl", "5:60");
    check("listeners.web.tls.ticket_keys", "5:5");
    check("listeners.web.routes[0].sni[1]", "7:25");
    check("listeners.web.routes[1].sni[0]", "8:14");
    check("listeners.web.routes[1]", "8:9");
    check("listeners.we.b.tls.certs", "14:14");
    check("listeners.we.b.tls.certs[2].cert", "14:14");
    check("listeners.we.b.tls.alpn", "13:5");
    check("pools.a.tls.ca", "16:32");
    check("pools.a.b.tls.ca", "19:5");
    check("pools.c.servers[1]", "20:20");
    check("pools.c.tls.ca", "20:6");
    check("pools.nobody.tls", "15:1");
    check("listeners", "1:1");
    check("log.level", "1:1");
    check("", "1:1");
    check("listeners.web.tls.certs[one]", "5:19");
    check("listeners.web.tls.certs[", "5:19");
}

#[test]
fn a_later_mistake_in_an_override_stands_at_its_flag() {
    let over = |text: &str| Override::parse(text).unwrap();
    let places = places(&[over("listeners.we.b.tls.certs=/d"), over("pools.a.tls={}")]);
    let check = |key: &str, expected: &str| {
        assert_eq!(places.mistake(key, "wrong", [""; 0]).place, expected);
    };
    check("listeners.we.b.tls.certs", "--set listeners.we.b.tls.certs");
    check("pools.a.tls.ca", "--set pools.a.tls");
    check("listeners.web.tls.certs", "file.yaml:5:19");
}

#[test]
fn later_mistakes_are_gathered_like_those_of_the_file() {
    let places = places(&[]);
    let mistake = |number: usize| places.mistake("pools", format!("wrong {number}"), [""; 0]);
    assert_eq!(Mistakes::of([]), None);
    let mistakes = Mistakes::of([mistake(1), mistake(2), mistake(1)]).unwrap();
    let what: Vec<&str> = mistakes
        .iter()
        .map(|mistake| mistake.what.as_str())
        .collect();
    assert_eq!(what, ["wrong 1", "wrong 2"]);
    let mistakes = Mistakes::of((0..130).map(mistake)).unwrap();
    assert_eq!((mistakes.iter().count(), mistakes.count()), (100, 130));
}
