//! Files of users, good and bad.

use super::*;

#[test]
fn a_password_is_verified_by_its_line() {
    let text = format!(
        "# users\n{}\n",
        line("anna", "pässword".as_bytes(), [7; 16], &["read".to_owned()])
    );
    let users = Users::parse(&text).unwrap();
    assert_eq!((users.len(), users.is_empty()), (1, false));
    let anna = users.get("anna").verify("pässword".as_bytes()).unwrap();
    assert_eq!((&*anna.name, &*anna.scopes[0]), ("anna", "read"));
    assert_eq!(users.get("anna").verify(b"password"), None);
    assert_eq!(users.get("anna").verify(b""), None);
    assert_eq!(
        users.get("bert").iterations(),
        users.get("anna").iterations()
    );
    assert_eq!(users.get("bert").verify(b""), None);
}

#[test]
fn bad_lines_are_told_with_their_places() {
    let (salt, hash) = ("00".repeat(16), "00".repeat(32));
    let check = |text: &str, expected: &str| {
        let flaws = Users::parse(text).unwrap_err();
        assert_eq!(flaws[0].to_string(), expected, "{text:.200}");
    };
    let bad = "1:6: this is no hash of a password";
    check("anna", "1:5: the line ends too early");
    check("anna hunter2", bad);
    check("anna:hunter2 x", "1:1: this is no name");
    check(&format!("anna pbkdf2-sha256:4096:{salt}"), bad);
    check(&format!("anna pbkdf2-sha256:4096:{salt}:{hash}:"), bad);
    check(&format!("anna pbkdf2-sha256:4096:00:{hash}"), bad);
    check(&format!("anna pbkdf2-sha256:x:{salt}:{hash}"), bad);
    check(&format!("anna pbkdf2-sha1:4096:{salt}:{hash}"), bad);
    check(
        &format!("anna pbkdf2-sha256:999:{salt}:{hash}"),
        "1:6: 999 iterations are too few or too many",
    );
    check(
        &format!("anna pbkdf2-sha256:10001:{salt}:{hash}"),
        "1:6: 10001 iterations are too few or too many",
    );
    let good = format!("anna pbkdf2-sha256:1000:{salt}:{hash}");
    assert_eq!(Users::parse(&good).unwrap().len(), 1);
    check(&format!("{good}\n{good}"), "2:1: `anna` has a line already");
}
