//! Tokens as attackers and careless issuers make them, each with what is made of it.

use aws_lc_rs::rsa::KeySize;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use super::*;
use crate::auth::testing::{NOW, Post, Signer, b64, jwt, set};

const HEADER: &str = r#"{"alg":"ES256","typ":"JWT","kid":"one"}"#;

/// Good claims with others behind them.
fn claims(more: &str) -> String {
    format!(
        r#"{{"iss":"https://issuer.example","aud":"api","sub":"anna","exp":{}{more}}}"#,
        NOW + 600
    )
}

/// Good claims but for the time they end at.
fn ending(exp: &str) -> String {
    format!(r#"{{"iss":"https://issuer.example","aud":"api","sub":"anna","exp":{exp}}}"#)
}

/// Good claims but for the audience.
fn audience(aud: &str) -> String {
    let exp = NOW + 600;
    format!(r#"{{"iss":"https://issuer.example","aud":{aud},"sub":"anna","exp":{exp}}}"#)
}

/// Good claims but for the consumer.
fn subject(sub: &str) -> String {
    let exp = NOW + 600;
    format!(r#"{{"iss":"https://issuer.example","aud":"api","sub":{sub},"exp":{exp}}}"#)
}

type Case = (&'static str, String, Result<&'static str, Denied>);

fn check(post: &mut Post, cases: Vec<Case>) {
    for (what, token, expected) in cases {
        let found = post.ask(&format!("Bearer {token}"));
        assert_eq!(found, expected.map(str::to_owned), "{what}: {token:.200}");
        assert_eq!(post.ask(&format!("bEaReR {token}")), found, "{what}, again");
    }
}

#[test]
fn headers() {
    let signer = Signer::es256().with("kid", "one");
    let signed = |header: &str| signer.sign(header, &claims(""));
    let with = |more: &str| signed(&format!(r#"{{"alg":"ES256","kid":"one"{more}}}"#));
    let unsigned = |alg: &str| {
        format!(
            "{}.{}.",
            b64(format!(r#"{{"alg":"{alg}"}}"#)),
            b64(claims(""))
        )
    };
    let long_id = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(300));
    let (algorithm, malformed) = (Err(Denied::Algorithm), Err(Denied::Malformed));
    let cases = vec![
        ("good", signed(HEADER), Ok("anna")),
        (
            "no type",
            signed(r#"{"alg":"ES256","kid":"one"}"#),
            Ok("anna"),
        ),
        ("no key id", signed(r#"{"alg":"ES256"}"#), Ok("anna")),
        ("alg none", unsigned("none"), algorithm),
        ("alg None", unsigned("None"), algorithm),
        ("alg nOnE", unsigned("nOnE"), algorithm),
        ("alg in lower case", signed(r#"{"alg":"es256"}"#), algorithm),
        ("no alg", signed(r#"{"kid":"one"}"#), malformed),
        ("alg is a number", signed(r#"{"alg":256}"#), malformed),
        (
            "two algs",
            signed(r#"{"alg":"ES256","alg":"ES256"}"#),
            malformed,
        ),
        (
            "two algs, one escaped",
            signed(r#"{"alg":"ES256","\u0061lg":"none"}"#),
            malformed,
        ),
        (
            "alg of another curve",
            signed(r#"{"alg":"ES384","kid":"one"}"#),
            Err(Denied::BadSignature),
        ),
        (
            "key id of a path",
            signed(r#"{"alg":"ES256","kid":"../../dev/null"}"#),
            Err(Denied::UnknownKey),
        ),
        (
            "key id of SQL",
            signed(r#"{"alg":"ES256","kid":"' OR 1=1"}"#),
            Err(Denied::UnknownKey),
        ),
        (
            "key id is a number",
            signed(r#"{"alg":"ES256","kid":1}"#),
            malformed,
        ),
        ("long key id", signed(&long_id), malformed),
        (
            "jku",
            with(r#","jku":"https://evil.example/keys""#),
            Ok("anna"),
        ),
        (
            "x5u",
            with(r#","x5u":"https://evil.example/c""#),
            Ok("anna"),
        ),
        (
            "jwk",
            with(r#","jwk":{"kty":"oct","k":"AAAA"}"#),
            Ok("anna"),
        ),
        ("crit", with(r#","crit":["exp"]"#), Err(Denied::Critical)),
        (
            "crit unknown",
            with(r#","crit":["b64"],"b64":false"#),
            Err(Denied::Critical),
        ),
        ("crit empty", with(r#","crit":[]"#), Err(Denied::Critical)),
        ("header is a list", signed(r#"["ES256"]"#), malformed),
        ("header is no JSON", signed("ES256"), malformed),
        (
            "header with more behind",
            signed(r#"{"alg":"ES256"} {}"#),
            malformed,
        ),
        (
            "header of invalid UTF-8",
            signer.sign_encoded(
                &b64(b"{\"alg\":\"ES256\",\"x\":\"\xff\"}"),
                &b64(claims("")),
            ),
            malformed,
        ),
    ];
    check(
        &mut Post::of_signers(&[&signer], &["ES256", "ES384"]),
        cases,
    );
}

#[test]
fn shapes_and_signatures() {
    let signer = Signer::es256().with("kid", "one");
    let good = signer.sign(HEADER, &claims(""));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, body, signature] = parts[..] else {
        panic!("three parts")
    };
    let other = Signer::es256();
    let (malformed, bad) = (Err(Denied::Malformed), Err(Denied::BadSignature));
    let with_signature = |signature: &str| format!("{header}.{body}.{signature}");
    // The last character of 64 bytes has four bits that stand for nothing.
    let loose = match signature.chars().last().unwrap() {
        'A' => 'B',
        'Q' => 'R',
        'g' => 'h',
        _ => 'x',
    };
    let loose = format!("{}{loose}", &signature[..signature.len() - 1]);
    let padded = URL_SAFE.encode(format!("{HEADER} "));
    assert!(padded.ends_with('='));
    let deep = format!(r#","x":{}{}"#, "[".repeat(2000), "]".repeat(2000));
    let cases = vec![
        ("two parts", format!("{header}.{body}"), malformed),
        ("one part", header.to_owned(), malformed),
        ("four parts", format!("{good}.{signature}"), malformed),
        (
            "five parts",
            format!("{header}.{body}.{body}.{body}.{signature}"),
            malformed,
        ),
        ("no header", format!(".{body}.{signature}"), malformed),
        ("no claims", signer.sign(HEADER, ""), malformed),
        ("only dots", "..".to_owned(), malformed),
        ("nothing", String::new(), malformed),
        ("two spaces", format!(" {good}"), malformed),
        ("a space behind", format!("{good} "), malformed),
        ("no signature", with_signature(""), bad),
        ("signature of zeros", with_signature(&b64([0; 64])), bad),
        ("signature of ones", with_signature(&b64([0xff; 64])), bad),
        ("short signature", with_signature(&signature[..84]), bad),
        (
            "long signature",
            with_signature(&format!("{signature}AA")),
            bad,
        ),
        (
            "very long token",
            with_signature(&"A".repeat(21_830)),
            malformed,
        ),
        (
            "signature with padding",
            with_signature(&format!("{signature}==")),
            bad,
        ),
        ("signature with loose bits", with_signature(&loose), bad),
        ("another's signature", other.sign(HEADER, &claims("")), bad),
        (
            "header with padding",
            signer.sign_encoded(&padded, &b64(claims(""))),
            malformed,
        ),
        (
            "standard base64",
            signer.sign_encoded("eyJ+/+/x", &b64(claims(""))),
            malformed,
        ),
        (
            "claims of another token",
            format!("{header}.{}.{signature}", b64(claims(r#","a":1"#))),
            bad,
        ),
        (
            "deep claims",
            signer.sign(HEADER, &claims(&deep)),
            malformed,
        ),
        (
            "claims are a string",
            signer.sign(HEADER, "\"anna\""),
            malformed,
        ),
        (
            "two subjects",
            signer.sign(HEADER, &claims(r#","sub":"root""#)),
            malformed,
        ),
        (
            "two names deep inside",
            signer.sign(HEADER, &claims(r#","x":[{"a":1,"a":2}]"#)),
            malformed,
        ),
    ];
    check(&mut Post::of_signers(&[&signer], &["ES256"]), cases);
}

#[test]
fn claimed_things() {
    let signer = Signer::es256().with("kid", "one");
    let signed = |claims: &str| signer.sign(HEADER, claims);
    let with = |more: &str| signed(&claims(more));
    let ending = |exp: &str| signed(&ending(exp));
    let (claims_bad, expired) = (Err(Denied::Claims), Err(Denied::Expired));
    let cases = vec![
        (
            "no end",
            signed(r#"{"iss":"https://issuer.example","aud":"api","sub":"anna"}"#),
            claims_bad,
        ),
        (
            "end is a string",
            ending(&format!("\"{}\"", NOW + 600)),
            claims_bad,
        ),
        ("end is null", ending("null"), claims_bad),
        (
            "end is a float",
            ending(&format!("{}.5", NOW + 600)),
            Ok("anna"),
        ),
        ("end is an exponent", ending("1.8e9"), Ok("anna")),
        ("end is infinite", ending("1e400"), Err(Denied::Malformed)),
        ("end is very far", ending("1e300"), Ok("anna")),
        ("end is -1", ending("-1"), expired),
        (
            "ended within the leeway",
            ending(&(NOW - 29).to_string()),
            Ok("anna"),
        ),
        ("ended just now", ending(&(NOW - 30).to_string()), expired),
        (
            "begins later",
            with(&format!(r#","nbf":{}"#, NOW + 31)),
            Err(Denied::NotYetValid),
        ),
        (
            "begins within the leeway",
            with(&format!(r#","nbf":{}"#, NOW + 30)),
            Ok("anna"),
        ),
        ("beginning is a string", with(r#","nbf":"0""#), claims_bad),
        (
            "issued later",
            with(&format!(r#","iat":{}"#, NOW + 31)),
            Err(Denied::NotYetValid),
        ),
        ("issued at a list", with(r#","iat":[0]"#), claims_bad),
        (
            "another issuer",
            signed(&claims("").replace("issuer.example", "issuer.example/")),
            Err(Denied::Issuer),
        ),
        (
            "no issuer",
            signed(&claims("").replace("\"iss\"", "\"is\"")),
            Err(Denied::Issuer),
        ),
        (
            "issuer is a list",
            signed(&claims("").replace("\"https://issuer.example\"", "[]")),
            claims_bad,
        ),
        (
            "one of the audience",
            signed(&audience(r#"["x","other"]"#)),
            Ok("anna"),
        ),
        (
            "another audience",
            signed(&audience(r#""API""#)),
            Err(Denied::Audience),
        ),
        (
            "empty audience",
            signed(&audience("[]")),
            Err(Denied::Audience),
        ),
        ("audience is a number", signed(&audience("1")), claims_bad),
        (
            "audience of numbers",
            signed(&audience(r#"["api",1]"#)),
            claims_bad,
        ),
        (
            "audience is an object",
            signed(&audience(r#"{"api":1}"#)),
            claims_bad,
        ),
        ("subject is a number", signed(&subject("1")), claims_bad),
        ("subject is empty", signed(&subject("\"\"")), claims_bad),
        (
            "subject breaks the line",
            signed(&subject(r#""a\r\nX: y""#)),
            claims_bad,
        ),
        (
            "long subject",
            signed(&subject(&format!("\"{}\"", "a".repeat(257)))),
            claims_bad,
        ),
        ("scope is a number", with(r#","scope":1"#), claims_bad),
        ("scopes of numbers", with(r#","scope":[1]"#), claims_bad),
    ];
    check(&mut Post::of_signers(&[&signer], &["ES256"]), cases);
}

#[test]
fn the_key_decides_the_algorithm() {
    let rsa = Signer::rs256(KeySize::Rsa2048);
    let pem_as_secret = Signer::hs256(rsa.pem.as_bytes());
    let other = Signer::hs256(&[7; 32]);
    let cases = vec![
        (
            "good",
            rsa.sign(r#"{"alg":"RS256"}"#, &claims("")),
            Ok("anna"),
        ),
        (
            "HS256 by the public key",
            pem_as_secret.sign(r#"{"alg":"HS256"}"#, &claims("")),
            Err(Denied::Algorithm),
        ),
        (
            "HS256 by anything",
            other.sign(r#"{"alg":"HS256"}"#, &claims("")),
            Err(Denied::Algorithm),
        ),
        (
            "another RSA algorithm",
            rsa.sign(r#"{"alg":"PS256"}"#, &claims("")),
            Err(Denied::BadSignature),
        ),
        (
            "not allowed",
            rsa.sign(r#"{"alg":"RS512"}"#, &claims("")),
            Err(Denied::Algorithm),
        ),
    ];
    let keys = Keys::parse(rsa.pem.as_bytes()).unwrap().keys;
    let allowed = ["RS256", "PS256", "HS256"];
    check(&mut Post::of_keys(keys, jwt(&allowed)), cases);

    let strict = rsa.with("alg", "RS256");
    let token = strict.sign(r#"{"alg":"PS256"}"#, &claims(""));
    check(
        &mut Post::of_signers(&[&strict], &allowed),
        vec![("the key has an alg", token, Err(Denied::Algorithm))],
    );
}

#[test]
fn every_kind_of_key_verifies() {
    for (signer, algorithm) in [
        (Signer::es256(), "ES256"),
        (Signer::es384(), "ES384"),
        (Signer::ed25519(), "EdDSA"),
        (Signer::rs256(KeySize::Rsa2048), "RS256"),
        (Signer::ps256(), "PS256"),
        (Signer::hs256(&[9; 32]), "HS256"),
    ] {
        let token = signer.sign(&format!(r#"{{"alg":"{algorithm}"}}"#), &claims(""));
        let texts = [set(&[&signer]), signer.pem.clone()];
        for text in texts.iter().filter(|text| !text.is_empty()) {
            let keys = Keys::parse(text.as_bytes()).unwrap().keys;
            assert_eq!(keys.count_for(&[algorithm.to_owned()]), 1);
            let mut post = Post::of_keys(keys, jwt(&[algorithm]));
            check(&mut post, vec![(algorithm, token.clone(), Ok("anna"))]);
        }
    }
}

#[test]
fn among_several_keys_the_named_one_counts_and_without_a_name_those_that_fit() {
    let one = Signer::es256().with("kid", "one");
    let two = Signer::es256().with("kid", "two");
    let rsa = Signer::rs256(KeySize::Rsa2048).with("kid", "rsa");
    let mut post = Post::of_signers(&[&rsa, &one, &two], &["ES256", "RS256"]);
    let cases = vec![
        (
            "its own name",
            two.sign(r#"{"alg":"ES256","kid":"two"}"#, &claims("")),
            Ok("anna"),
        ),
        (
            "no name",
            two.sign(r#"{"alg":"ES256"}"#, &claims("")),
            Ok("anna"),
        ),
        (
            "another's name",
            two.sign(r#"{"alg":"ES256","kid":"one"}"#, &claims("")),
            Err(Denied::BadSignature),
        ),
        (
            "a name of another kind",
            two.sign(r#"{"alg":"ES256","kid":"rsa"}"#, &claims("")),
            Err(Denied::Algorithm),
        ),
    ];
    check(&mut post, cases);
    let ring = post.handles.keys.clone().unwrap();
    assert!(!ring.is_wanted());
    assert_eq!(
        post.ask(&format!(
            "Bearer {}",
            two.sign(r#"{"alg":"ES256","kid":"new"}"#, "{}")
        )),
        Err(Denied::UnknownKey)
    );
    assert!(ring.is_wanted());
    ring.looked();
    assert!(!ring.is_wanted());
}

#[test]
fn what_is_remembered_ends_with_the_token_and_with_its_keys() {
    let signer = Signer::es256();
    let mut post = Post::of_signers(&[&signer], &["ES256"]);
    let bearer = format!("Bearer {}", signer.sign(r#"{"alg":"ES256"}"#, &claims("")));
    assert_eq!(post.ask(&bearer), Ok("anna".to_owned()));
    assert_eq!(post.ask_at(&bearer, NOW + 629), Ok("anna".to_owned()));
    assert_eq!(post.ask_at(&bearer, NOW + 630), Err(Denied::Expired));
    let ring = post.handles.keys.clone().unwrap();
    ring.publish(
        Keys::parse(set(&[&Signer::es256()]).as_bytes())
            .unwrap()
            .keys,
    );
    assert_eq!(post.ask(&bearer), Err(Denied::BadSignature));
    ring.publish(Keys::none());
    assert_eq!(post.ask(&bearer), Err(Denied::KeysUnavailable));
    ring.publish(Keys::parse(set(&[&signer]).as_bytes()).unwrap().keys);
    assert_eq!(post.ask(&bearer), Ok("anna".to_owned()));
}
