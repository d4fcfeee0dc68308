//! Which files of a folder are certificates, and where their keys are: by name alone, so that it is known before any
//! file is opened. What the files hold is decided elsewhere.
//!
//! - `X.pem`, `X.crt` and `X.cer`, in the order of their names, with the key in `X.key`, `X.pem.key` (or what the file
//!   is called) or `X-key.pem`, and otherwise in the same file;
//! - in the folder itself and in each folder in it, `fullchain.pem` with `privkey.pem` as certbot writes them, and
//!   `tls.crt` with `tls.key` as Kubernetes mounts them.
//!
//! Whatever begins with a dot is hidden, and nothing lies deeper than one folder.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::problem::Fault;

/// The most pairs that a folder may hold.
const PAIRS_MAX: usize = 10_000;

/// The most entries that are looked at.
const ENTRIES_MAX: usize = 4 * PAIRS_MAX;

const CERT_ENDINGS: [&str; 3] = ["pem", "crt", "cer"];

/// The certificates and keys that other programs write under these names, for one site per folder.
const WELL_KNOWN: [(&str, &str); 2] = [("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key")];

/// What certbot writes beside them.
const CERTBOT: [&str; 4] = ["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"];

/// A file that may be a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) cert: PathBuf,
    /// `None` when it can only be in the same file.
    pub(super) key: Option<PathBuf>,
}

/// The candidates in a folder, in the order of their names.
pub(super) fn candidates(folder: &Path) -> Result<Vec<Candidate>, Fault> {
    let mut found = Vec::new();
    let names = names(folder)?;
    let is_certbots =
        names.iter().any(|name| name == CERTBOT[2]) && names.iter().any(|name| name == CERTBOT[3]);
    for name in names {
        let path = folder.join(&name);
        if path.is_dir() {
            found.extend(well_known(&path));
        } else if is_certbots && CERTBOT.iter().any(|certbots| name == *certbots) {
            if name == CERTBOT[2] {
                found.extend(well_known(folder));
            }
        } else if is_cert(&path) && !is_key_of_another(&path) {
            let key = keys_of(&path).into_iter().find(|key| key.exists());
            found.push(Candidate { cert: path, key });
        }
    }
    match found.len() {
        0..=PAIRS_MAX => Ok(found),
        count => Err(Fault::new(format!(
            "{} holds {count} certificates, more than {PAIRS_MAX}",
            folder.display()
        ))),
    }
}

/// The folders whose files decide what [`candidates`] finds.
pub(super) fn folders(folder: &Path) -> Vec<PathBuf> {
    let inner = names(folder).unwrap_or_default();
    let inner = inner.into_iter().map(|name| folder.join(name));
    let mut folders = vec![folder.to_owned()];
    folders.extend(inner.filter(|path| path.is_dir()));
    folders
}

/// The names in a folder that are not hidden, in order.
fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>, Fault> {
    let shown = folder.display();
    let unreadable = |error: io::Error| {
        let fault = Fault::new(format!("cannot read the folder {shown}: {error}"));
        match error.kind() {
            io::ErrorKind::NotADirectory => {
                fault.advise("`certs` is a folder, or a list of `{ cert: FILE, key: FILE }`")
            }
            io::ErrorKind::PermissionDenied => {
                fault.advise("the user that Ringgate runs as must be able to read it")
            }
            _ => fault,
        }
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if names.len() == ENTRIES_MAX {
            return Err(Fault::new(format!(
                "{shown} holds more than {ENTRIES_MAX} files"
            )));
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

fn well_known(folder: &Path) -> Option<Candidate> {
    WELL_KNOWN
        .iter()
        .map(|(cert, key)| (folder.join(cert), folder.join(key)))
        .find(|(cert, key)| cert.exists() && key.exists())
        .map(|(cert, key)| Candidate {
            cert,
            key: Some(key),
        })
}

fn is_cert(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| CERT_ENDINGS.contains(&ending))
}

/// Where the key of a certificate may be, besides the same file.
fn keys_of(cert: &Path) -> [PathBuf; 3] {
    let with = |stem: Option<&OsStr>, end: &str| {
        let mut name = stem.unwrap_or_default().to_owned();
        name.push(end);
        cert.with_file_name(name)
    };
    [
        with(cert.file_stem(), ".key"),
        with(cert.file_name(), ".key"),
        with(cert.file_stem(), "-key.pem"),
    ]
}

/// `X-key.pem` beside an `X.pem`, `X.crt` or `X.cer`.
fn is_key_of_another(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.strip_suffix("-key.pem").is_some_and(|stem| {
        CERT_ENDINGS
            .iter()
            .any(|ending| path.with_file_name(format!("{stem}.{ending}")).exists())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Directory;

    /// What is found in a folder with these empty files, as `cert+key`.
    fn found(files: &[&str]) -> Vec<String> {
        let directory = Directory::new();
        let root = directory.path("");
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let shown = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
        candidates(&root)
            .unwrap()
            .iter()
            .map(|candidate| match &candidate.key {
                Some(key) => format!("{}+{}", shown(&candidate.cert), shown(key)),
                None => shown(&candidate.cert),
            })
            .collect()
    }

    #[test]
    fn names_decide_what_is_a_certificate_and_where_its_key_is() {
        let check =
            |files: &[&str], expected: &[&str]| assert_eq!(found(files), expected, "{files:?}");
        check(&["b.pem", "a.crt", "c.cer"], &["a.crt", "b.pem", "c.cer"]);
        check(&["a.pem", "a.key"], &["a.pem+a.key"]);
        check(&["a.pem", "a.pem.key"], &["a.pem+a.pem.key"]);
        check(&["a.pem", "a-key.pem"], &["a.pem+a-key.pem"]);
        check(&["a.pem", "a.key", "a-key.pem"], &["a.pem+a.key"]);
        check(&["README", "a.key", ".hidden.pem", "a.pem~", "b.txt"], &[]);
        check(
            &[
                "x/fullchain.pem",
                "x/privkey.pem",
                "x/cert.pem",
                "x/other.pem",
            ],
            &["x/fullchain.pem+x/privkey.pem"],
        );
        check(
            &["x/fullchain.pem", "..data/tls.crt", "..data/tls.key"],
            &[],
        );
        check(&["x/y/fullchain.pem", "x/y/privkey.pem"], &[]);
        check(
            &["tls.crt", "tls.key", "site/tls.crt", "site/tls.key"],
            &["site/tls.crt+site/tls.key", "tls.crt+tls.key"],
        );
        check(
            &[
                "cert.pem",
                "chain.pem",
                "fullchain.pem",
                "privkey.pem",
                "z.pem",
            ],
            &["fullchain.pem+privkey.pem", "z.pem"],
        );
    }

    #[test]
    fn a_folder_that_is_none_is_told() {
        let directory = Directory::new();
        let file = directory.path("a.pem");
        fs::write(&file, "").unwrap();
        for path in [file, directory.path("none")] {
            assert!(
                candidates(&path).is_err_and(|fault| fault.what.contains("cannot read the folder"))
            );
        }
    }
}
