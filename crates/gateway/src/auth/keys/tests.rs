//! Sets of keys as issuers publish them, and as they should not.

use aws_lc_rs::rsa::KeySize;
use serde_json::json;

use super::*;
use crate::auth::testing::{Signer, set};

fn read(text: &str) -> Result<Parsed, Flaw> {
    Keys::parse(text.as_bytes())
}

#[test]
fn keys_for_other_things_are_passed_over() {
    let good = Signer::es256();
    let others = [
        Signer::es256().with("use", "enc"),
        Signer::es256().with("key_ops", json!(["sign"])),
        Signer::es256().with("crv", "secp256k1"),
        Signer::es256().with("kty", "AKP"),
    ];
    let all: Vec<&Signer> = others.iter().chain([&good]).collect();
    let parsed = read(&set(&all)).unwrap();
    assert_eq!((parsed.keys.len(), parsed.remarks.len()), (1, 0));
    let good = good.with("use", "sig").with("key_ops", json!(["verify"]));
    assert_eq!(read(&set(&[&good])).unwrap().keys.len(), 1);
}

#[test]
fn broken_keys_are_remarked_upon() {
    let good = Signer::es256();
    let check = |broken: Signer, expected: &str| {
        let parsed = read(&set(&[&good, &broken])).unwrap();
        assert_eq!(parsed.keys.len(), 1, "{expected}");
        assert_eq!(parsed.remarks.len(), 1, "{expected}");
        assert!(parsed.remarks[0].contains(expected), "{:?}", parsed.remarks);
        let flaw = read(&set(&[&broken])).unwrap_err();
        assert!(flaw.what.contains(expected), "{flaw}");
    };
    check(Signer::es256().with("x", "AAAA"), "no point of its curve");
    check(
        Signer::es256().with("x", good.jwk["y"].clone()),
        "no point of its curve",
    );
    check(Signer::es256().with("x", "===="), "not base64url");
    check(Signer::es256().with("alg", "ES384"), "does not fit");
    check(Signer::es256().with("alg", "none"), "does not fit");
    check(Signer::es256().with("kid", 1), "`kid` that is no string");
    check(Signer::ed25519().with("x", "AAAA"), "no Ed25519 key");
    check(Signer::hs256(b"secret"), "less than 32 bytes");
    check(
        Signer::rs256(KeySize::Rsa2048).with("n", "AQAB"),
        "of 24 bits",
    );
    check(
        Signer::rs256(KeySize::Rsa2048).with("e", "AQ"),
        "no exponent",
    );
}

#[test]
fn what_is_no_set_of_keys_is_refused() {
    let check = |text: &str, expected: &str| {
        let flaw = read(text).unwrap_err();
        assert!(flaw.what.contains(expected), "{text:.100}: {flaw}");
    };
    check("", "EOF");
    check("<html>", "expected value");
    check("{}", "no list `keys`");
    check(r#"{"keys":{}}"#, "no list `keys`");
    check(
        r#"{"keys":[]}"#,
        "no key that signatures can be verified with",
    );
    check(r#"{"keys":[],"keys":[]}"#, "twice");
    check(r#"{"keys":[1]}"#, "key 1 of the set is no object");
    check(
        &format!("{{\"keys\":[{}0]}}", "0,".repeat(256)),
        "more than 256 keys",
    );
    check(&" ".repeat(KEYS_BYTES_MAX + 1), "longer than 256 KiB");
    check(
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "private key",
    );
    check(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "certificate",
    );
    check(
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "of a kind that is known",
    );
    check("-----BEGIN PUBLIC KEY-----\nAAAA", "does not end");
    check(
        "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n",
        "no base64",
    );
    let pem = Signer::es256().pem;
    check(&format!("{pem}{pem}"), "more than one");
    assert_eq!(
        read(&format!("A key of ours:\n{pem}")).unwrap().keys.len(),
        1
    );
}

#[test]
fn no_key_is_shown() {
    let signer = Signer::hs256(b"a secret of thirty-two bytes ...");
    let shown = format!("{:?}", read(&set(&[&signer])).unwrap());
    assert!(
        !shown.contains("secret") && !shown.contains("97, "),
        "{shown}"
    );
}
