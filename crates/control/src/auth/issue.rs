//! Makes credentials for `ringgate token new`: a secret out of random bytes, or a hash of a password, and the line for it
//! at the end of a file. A file is only ever appended to, under a lock, and only when all of it is good.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::fcntl::{Flock, FlockArg};
use ringgate_gateway::auth::{
    FILE_BYTES_MAX, Flaw, Tokens, Users, is_name, is_scope, tokens, users,
};

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// What secrets begin with, so that people and scanners recognise them.
const SECRET_PREFIX: &str = "rg_";

/// Makes a token, appends its line to the file, and returns its secret, which is nowhere else. The file is made when
/// there is none, for its owner alone.
///
/// # Errors
/// Why there is no new token, in words for the operator; the file is as it was.
pub fn token(file: &Path, name: &str, scopes: &[String]) -> Result<String, String> {
    check(name, scopes)?;
    let secret = format!(
        "{SECRET_PREFIX}{}",
        URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>()?)
    );
    let line = tokens::line(name, secret.as_bytes(), scopes);
    append(
        file,
        &line,
        |text| Ok(Tokens::parse(text)?.has_name(name)),
        name,
    )?;
    Ok(secret)
}

/// Appends the line of a user with that password to the file, which is made when there is none, for its owner alone.
///
/// # Errors
/// As [`token`].
pub fn user(file: &Path, name: &str, password: &str, scopes: &[String]) -> Result<(), String> {
    check(name, scopes)?;
    if password.is_empty() || password.len() > users::PASSWORD_BYTES_MAX {
        let most = users::PASSWORD_BYTES_MAX;
        return Err(format!("a password has 1 to {most} bytes"));
    }
    if password.chars().any(char::is_control) {
        return Err("a password has no control characters (RFC 7617)".to_owned());
    }
    let line = users::line(name, password.as_bytes(), random()?, scopes);
    append(
        file,
        &line,
        |text| Ok(Users::parse(text)?.has_name(name)),
        name,
    )
}

fn check(name: &str, scopes: &[String]) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!(
            "`{}` is no name: it has 1 to 64 of the characters A-Z a-z 0-9 _ . - @",
            name.escape_debug()
        ));
    }
    match scopes.iter().find(|scope| !is_scope(scope)) {
        Some(scope) => Err(format!("`{}` is no scope", scope.escape_debug())),
        None => Ok(()),
    }
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let filled = rand::fill(&mut bytes);
    filled.map_err(|_| "the system has no random numbers".to_owned())?;
    Ok(bytes)
}

fn append(
    path: &Path,
    line: &str,
    has_name: impl Fn(&str) -> Result<bool, Vec<Flaw>>,
    name: &str,
) -> Result<(), String> {
    let shown = path.display();
    let file = open(path)?;
    let locked = Flock::lock(file, FlockArg::LockExclusive);
    let mut file = locked.map_err(|(_, errno)| format!("cannot lock {shown}: {errno}"))?;
    let mut text = String::new();
    let read = (&*file)
        .take(FILE_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text);
    read.map_err(|error| format!("cannot read {shown}: {error}"))?;
    match has_name(&text) {
        Ok(false) => {}
        Ok(true) => return Err(format!("{shown} has a line for `{name}` already")),
        Err(flaws) => {
            let told: Vec<String> = flaws
                .iter()
                .take(3)
                .map(|flaw| format!("{shown}:{flaw}"))
                .collect();
            return Err(format!("{}; mend that first", told.join("; ")));
        }
    }
    // One write, so that whoever reads meanwhile sees all of the line or nothing of it.
    let begin = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let written = file.write_all(format!("{begin}{line}\n").as_bytes());
    let synced = written.and_then(|()| file.sync_all());
    synced.map_err(|error| format!("cannot write to {shown}: {error}"))
}

fn open(path: &Path) -> Result<File, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("cannot open {shown}: {error}");
    match std::fs::metadata(path) {
        // Opening a pipe would wait for someone who reads from it.
        Ok(kind) if !kind.is_file() => return Err(format!("{shown} is not a file")),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options.open(path).map_err(failed)
}
