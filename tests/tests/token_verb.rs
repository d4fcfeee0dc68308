//! Promise: `ringgate token new` prints a secret once, keeps only its hash, and spoils no file.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use ringgate_tests::{Config, TempDir, binary, run_to_end};

#[test]
fn a_token_is_printed_once_and_its_hash_appended() {
    let folder = TempDir::new();
    let file = folder.path().join("tokens");
    let path = file.to_str().unwrap();
    let made = run_to_end(&[
        "token",
        "new",
        "anna",
        "--scopes",
        "read,write",
        "--file",
        path,
    ]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let secret = made.stdout.trim_end();
    assert!(secret.starts_with("rg_") && secret.len() == 46, "{made:?}");
    assert!(!made.stderr.contains(secret), "{made:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("anna sha256:") && text.ends_with(" read,write\n"),
        "{text}"
    );
    assert!(!text.contains(secret), "{text}");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );

    for (args, expected) in [
        (&["anna"][..], "has a line for `anna` already"),
        (&["a b"], "is no name"),
        (&["bert", "--scopes", "a b"], "is no scope"),
    ] {
        let refused = run_to_end(&[&["token", "new", "--file", path], args].concat());
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.stderr.contains(expected) && refused.stdout.is_empty(),
            "{refused:?}"
        );
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn the_file_is_found_through_the_configuration() {
    let folder = TempDir::new();
    let file = folder.path().join("tokens");
    let config = |http: &str| {
        Config::write(&format!(
            "
listeners:
  api:
    bind: '127.0.0.1:$api'
    pool: app
    http: {{ {http} }}
pools:
  app: ['127.0.0.1:1']
"
        ))
    };
    let new = |http: &str| {
        let config = config(http);
        let path = config.file().display().to_string();
        run_to_end(&["token", "new", "anna", "-c", &path])
    };
    let made = new(&format!("auth: {{ tokens_file: {} }}", file.display()));
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .starts_with("anna sha256:")
    );
    let none = new("");
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stderr.contains("names no tokens_file"), "{none:?}");
}

#[test]
fn a_password_comes_from_the_standard_input() {
    let folder = TempDir::new();
    let file = folder.path().join("users");
    let mut child = Command::new(binary())
        .args(["token", "new", "anna", "--password", "--file"])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"correct horse\n")
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(
        ended.status.success() && ended.stdout.is_empty(),
        "{ended:?}"
    );
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("anna pbkdf2-sha256:4096:") && !text.contains("horse"),
        "{text}"
    );
}
