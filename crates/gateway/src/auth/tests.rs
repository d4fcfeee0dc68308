//! What requests present, in every way that may be configured.

use std::collections::HashSet;

use super::testing::{NOW, Post, Signer, auth, jwt, set, tokens, users};
use super::*;

fn basic(credentials: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn ways(tokens_text: Option<&str>, users_text: Option<&str>) -> Post {
    let handles = Handles {
        tokens: tokens_text.map(tokens),
        users: users_text.map(users),
        keys: None,
    };
    Post::new(&auth(), handles)
}

#[test]
fn static_tokens() {
    let mut post = ways(
        Some(&tokens::line("anna", b"rg_secret", &["read".to_owned()])),
        None,
    );
    let check = |post: &mut Post, value: &str, expected: Result<&str, Denied>| {
        assert_eq!(post.ask(value), expected.map(str::to_owned), "{value:?}");
    };
    check(&mut post, "Bearer rg_secret", Ok("anna"));
    check(&mut post, "BEARER rg_secret", Ok("anna"));
    check(&mut post, "Bearer rg_secret2", Err(Denied::UnknownToken));
    check(&mut post, "Bearer  rg_secret", Err(Denied::Malformed));
    check(&mut post, "Bearer rg_secret ", Err(Denied::Malformed));
    check(&mut post, "Bearer\trg_secret", Err(Denied::Scheme));
    check(
        &mut post,
        "Bearer rg_secret, Basic x",
        Err(Denied::Malformed),
    );
    check(&mut post, "Bearer", Err(Denied::Malformed));
    check(&mut post, "Bearer ", Err(Denied::Malformed));
    check(&mut post, "", Err(Denied::Scheme));
    check(&mut post, " Bearer rg_secret", Err(Denied::Scheme));
    check(&mut post, "rg_secret", Err(Denied::Scheme));
    check(&mut post, "Basic cmdfc2VjcmV0Og==", Err(Denied::Scheme));
    check(
        &mut post,
        &format!("Bearer {}", "a".repeat(100_000)),
        Err(Denied::UnknownToken),
    );
    let handle = post.handles.tokens.clone().unwrap();
    handle.store(Arc::new(Tokens::default()));
    check(&mut post, "Bearer rg_secret", Err(Denied::UnknownToken));
}

#[test]
fn names_and_passwords() {
    let mut post = ways(
        None,
        Some(&users::line("anna", "pä:ss".as_bytes(), [7; 16], &[])),
    );
    let check = |post: &mut Post, value: &str, expected: Result<&str, Denied>| {
        assert_eq!(post.ask(value), expected.map(str::to_owned), "{value:?}");
    };
    check(&mut post, &basic("anna:pä:ss"), Ok("anna"));
    check(
        &mut post,
        &basic("anna:pä:ss").replace("Basic", "basic"),
        Ok("anna"),
    );
    check(&mut post, &basic("anna:pass"), Err(Denied::Password));
    check(&mut post, &basic("anna:"), Err(Denied::Password));
    check(&mut post, &basic("Anna:pä:ss"), Err(Denied::Password));
    check(&mut post, &basic("bert:pä:ss"), Err(Denied::Password));
    check(&mut post, &basic(":pä:ss"), Err(Denied::MalformedBasic));
    check(&mut post, &basic("anna"), Err(Denied::MalformedBasic));
    check(&mut post, &basic("anna:a\0b"), Err(Denied::MalformedBasic));
    check(
        &mut post,
        &basic(b"anna:p\xe4:ss"),
        Err(Denied::MalformedBasic),
    );
    check(
        &mut post,
        &basic("anna:pä:ss").replace('=', ""),
        Err(Denied::MalformedBasic),
    );
    check(&mut post, "Basic", Err(Denied::MalformedBasic));
    check(&mut post, "Basic anna:pass", Err(Denied::MalformedBasic));
    check(
        &mut post,
        &basic("a".repeat(1000)),
        Err(Denied::MalformedBasic),
    );
    check(&mut post, "Bearer rg_secret", Err(Denied::Scheme));
}

#[test]
fn passwords_are_remembered_until_the_file_changes() {
    let text = users::line("anna", b"pass", [7; 16], &[]);
    let mut post = ways(None, Some(&text));
    let (good, bad) = (basic("anna:pass"), basic("anna:other"));
    // Each is paid for once: far more of them than a second has room for.
    for _ in 0..200 {
        assert_eq!(post.ask(&good), Ok("anna".to_owned()));
        assert_eq!(post.ask(&bad), Err(Denied::Password));
    }
    let handle = post.handles.users.clone().unwrap();
    handle.store(Arc::new(
        Users::parse(&text.replace("anna", "bert")).unwrap(),
    ));
    assert_eq!(post.ask(&good), Err(Denied::Password));
}

#[test]
fn guessing_is_slowed_down_and_who_is_known_is_not() {
    let mut post = ways(None, Some(&users::line("anna", b"pass", [7; 16], &[])));
    assert_eq!(post.ask(&basic("anna:pass")), Ok("anna".to_owned()));
    let guesses = (0..60).map(|guess| post.ask(&basic(format!("anna:{guess}"))));
    let busy = guesses
        .filter(|verdict| *verdict == Err(Denied::Busy))
        .count();
    assert_eq!(busy, 11);
    assert_eq!(post.ask(&basic("anna:pass")), Ok("anna".to_owned()));
    assert_eq!(
        post.ask_at(&basic("bert:pass"), NOW + 1),
        Err(Denied::Password)
    );
}

#[test]
fn any_way_is_enough_but_what_is_shown_must_be_good() {
    let signer = Signer::es256();
    let keys = Keys::parse(set(&[&signer]).as_bytes()).unwrap().keys;
    let all = Auth {
        jwt: Some(jwt(&["ES256"])),
        client_certificate: true,
        ..auth()
    };
    let handles = Handles {
        tokens: Some(tokens(&tokens::line("app", b"rg.se.cret", &[]))),
        users: None,
        keys: Some(Arc::new(KeyRing::new(keys))),
    };
    let guard = Guard::new(&all, handles);
    let mut memory = Memory::new();
    let subject: Arc<str> = "CN=client".into();
    let mut check = |authorization: Option<&str>,
                     certificate: bool,
                     expected: Result<(&str, bool), Denied>| {
        let presented = Presented {
            authorization: authorization.map(str::as_bytes),
            certificate: Some(&subject).filter(|_| certificate),
        };
        let found = guard.check(presented, NOW, &mut memory);
        let found = found.map(|identity| (identity.consumer.name.to_string(), identity.consumed));
        assert_eq!(
            found,
            expected.map(|(name, consumed)| (name.to_owned(), consumed)),
            "{authorization:?}"
        );
    };
    let exp = NOW + 9;
    let claims =
        format!(r#"{{"iss":"https://issuer.example","aud":"api","sub":"anna","exp":{exp}}}"#);
    let signed = format!("Bearer {}", signer.sign(r#"{"alg":"ES256"}"#, &claims));
    check(Some("Bearer rg.se.cret"), true, Ok(("app", true)));
    check(Some(&signed), true, Ok(("anna", true)));
    check(Some(&signed), false, Ok(("anna", true)));
    check(None, true, Ok(("CN=client", false)));
    check(None, false, Err(Denied::Missing));
    check(Some("Basic YTpi"), true, Ok(("CN=client", false)));
    check(Some("Basic YTpi"), false, Err(Denied::Scheme));
    check(Some("Bearer wrong"), true, Err(Denied::UnknownToken));
    check(
        Some("Bearer wrong.wrong.wrong"),
        true,
        Err(Denied::Malformed),
    );
}

#[test]
fn a_field_is_for_the_server_where_only_certificates_count() {
    let only = Auth {
        client_certificate: true,
        ..auth()
    };
    let guard = Guard::new(&only, Handles::default());
    let subject: Arc<str> = "CN=client".into();
    let presented = Presented {
        authorization: Some(b"Bearer of-the-server"),
        certificate: Some(&subject),
    };
    let identity = guard.check(presented, NOW, &mut Memory::new()).unwrap();
    assert!(!identity.consumed && identity.has(&[] as &[&str]) && !identity.has(&["read"]));
    let without = Presented {
        certificate: None,
        ..presented
    };
    let denied = guard.check(without, NOW, &mut Memory::new()).unwrap_err();
    assert_eq!(denied, Denied::Missing);
    assert_eq!(
        guard.challenges(denied),
        ["ClientCertificate realm=\"ringgate\""]
    );
    assert_eq!(guard.insufficient(&["read"]), None);
}

#[test]
fn challenges_say_how_to_come_in_and_not_what_was_wrong() {
    let token = tokens::line("anna", b"secret", &[]);
    let user = users::line("anna", b"pass", [7; 16], &[]);
    let both = ways(Some(&token), Some(&user)).guard;
    let basic = "Basic realm=\"ringgate\", charset=\"UTF-8\"";
    assert_eq!(
        both.challenges(Denied::Missing),
        ["Bearer realm=\"ringgate\"", basic]
    );
    let invalid = "Bearer realm=\"ringgate\", error=\"invalid_token\"";
    let of_tokens = [
        Denied::Malformed,
        Denied::UnknownToken,
        Denied::Expired,
        Denied::BadSignature,
        Denied::Audience,
    ];
    for denied in of_tokens {
        assert_eq!(both.challenges(denied), [invalid, basic], "{denied:?}");
    }
    assert_eq!(
        ways(None, Some(&user)).guard.challenges(Denied::Password),
        [basic]
    );
    for denied in [Denied::Password, Denied::MalformedBasic] {
        let challenges = both.challenges(denied);
        assert_eq!(challenges, ["Bearer realm=\"ringgate\"", basic]);
    }
    assert_eq!(
        both.insufficient(&["read", "write"]).unwrap(),
        "Bearer realm=\"ringgate\", error=\"insufficient_scope\", scope=\"read write\""
    );
    let odd = Auth {
        realm: "a \"b\" \\ \r\nc".to_owned(),
        ..auth()
    };
    let challenge = Guard::new(&odd, Handles::default()).challenges(Denied::Missing);
    assert_eq!(challenge, [r#"ClientCertificate realm="a \"b\" \\ c""#]);
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let words: HashSet<&str> = Denied::ALL.iter().map(|denied| denied.word()).collect();
    assert_eq!(words.len(), Denied::ALL.len());
    let ours = Denied::ALL.into_iter().filter(|denied| denied.is_ours());
    assert_eq!(ours.count(), 2);
}

#[test]
fn all_scopes_must_be_there() {
    let consumer = Consumer::new("anna", ["read".into(), "write".into()].into());
    let identity = Identity {
        consumer: Arc::new(consumer),
        consumed: true,
    };
    assert!(
        identity.has(&["read"]) && identity.has(&["write", "read"]) && identity.has(&[] as &[&str])
    );
    assert!(!identity.has(&["read", "admin"]) && !identity.has(&["rea"]));
}
