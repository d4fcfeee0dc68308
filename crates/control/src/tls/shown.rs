//! The identities that a listener shows: all that its configuration names, each as new as it can be had. One that has
//! gone bad goes on as it was; a listener that has any never ends up with none.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ringgate_config::{self as config, Pair};
use ringgate_engine::tls::Certificates;
use rustls::crypto::CryptoProvider;

use super::folder;
use super::identity::{Bad, Identity, Part, Source};
use super::problem::{Fault, Problem};

/// Identities in the order of the configuration, or of their files' names; the first is the default.
pub(super) type Shown = Vec<Arc<Identity>>;

/// The identities that `certs` names, of which `old` are known from before, and every problem that there was with
/// them. `key` is where the configuration names them.
pub(super) fn read(
    certs: &config::Certificates,
    key: &str,
    old: &[Arc<Identity>],
    provider: &CryptoProvider,
    now: SystemTime,
) -> (Shown, Vec<Problem>) {
    let mut reading = Reading {
        old: old
            .iter()
            .map(|old| (old.certificate.file.as_path(), old))
            .collect(),
        provider,
        now,
        shown: Vec::new(),
        problems: Vec::new(),
    };
    match certs {
        config::Certificates::Folder(path) => reading.folder(path, key),
        config::Certificates::List(pairs) => reading.list(pairs, key),
    }
    let Reading {
        mut shown,
        mut problems,
        ..
    } = reading;
    let mut is_default = true;
    shown.retain(|identity| {
        let of_use = std::mem::take(&mut is_default) || !identity.certificate.names.is_empty();
        if !of_use {
            problems.push(nameless(identity).at(key));
        }
        of_use
    });
    if shown.is_empty() {
        shown = old.to_vec();
    }
    (shown, problems)
}

/// By the names that clients ask for.
pub(super) fn by_name(shown: &[Arc<Identity>]) -> Option<Certificates> {
    let mut certificates = Certificates::new(Arc::clone(&shown.first()?.key));
    for identity in shown {
        for name in &identity.certificate.names {
            certificates.add(name, Arc::clone(&identity.key));
        }
    }
    Some(certificates)
}

struct Reading<'a> {
    /// By the files of their certificates.
    old: HashMap<&'a Path, &'a Arc<Identity>>,
    provider: &'a CryptoProvider,
    now: SystemTime,
    shown: Shown,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    fn folder(&mut self, path: &Path, key: &str) {
        let candidates = match folder::candidates(path) {
            Ok(candidates) => candidates,
            Err(fault) => return self.problems.push(fault.at(key)),
        };
        for candidate in candidates {
            let source = Source {
                cert: &candidate.cert,
                key: candidate.key.as_deref(),
            };
            if let Err(bad) = self.take(source)
                && !(bad.is_something_else && self.before(source).is_none())
            {
                self.problems.push(bad.fault.at(key));
            }
        }
        if self.shown.is_empty() && self.problems.is_empty() {
            let what = format!("{} holds no certificate with a key", path.display());
            let fault = Fault::new(what)
                .advise("it is to hold NAME.pem (or .crt, .cer) with NAME.key")
                .advise("or a folder per site with certbot's fullchain.pem and privkey.pem");
            self.problems.push(fault.at(key));
        }
    }

    fn list(&mut self, pairs: &[Pair], key: &str) {
        for (at, pair) in pairs.iter().enumerate() {
            let source = Source {
                cert: &pair.cert,
                key: Some(&pair.key),
            };
            if let Err(Bad { part, fault, .. }) = self.take(source) {
                let part = match part {
                    Part::Cert => "cert",
                    Part::Key => "key",
                };
                self.problems.push(fault.at(format!("{key}[{at}].{part}")));
            }
        }
    }

    /// Reads one, or goes on with what it was before.
    fn take(&mut self, source: Source<'_>) -> Result<(), Bad> {
        let before = self.before(source);
        match Identity::read(source, before, self.provider, self.now) {
            Ok(identity) => self.shown.push(identity),
            Err(bad) => {
                self.shown.extend(before.cloned());
                return Err(bad);
            }
        }
        Ok(())
    }

    fn before(&self, source: Source<'_>) -> Option<&'a Arc<Identity>> {
        self.old.get(source.cert).copied()
    }
}

fn nameless(identity: &Identity) -> Fault {
    let shown = identity.certificate.file.display();
    Fault::new(format!(
        "the certificate in {shown} is good for no DNS name, so that no client would ever get it"
    ))
    .advise("only the first one, the default, needs no name")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::testing::Directory;
    use crate::tls::provider;
    use crate::tls::testing::{Authority, expired, leaf, made};

    /// The first names of what is shown from a folder, and what was wrong.
    fn read_folder(path: &Path, old: &[Arc<Identity>]) -> (Shown, Vec<String>, Vec<Problem>) {
        let certs = config::Certificates::Folder(path.to_owned());
        let (shown, problems) = read(&certs, "k", old, &provider(), SystemTime::now());
        let names = shown
            .iter()
            .map(|identity| identity.certificate.name.clone());
        let names = names.collect();
        (shown, names, problems)
    }

    #[test]
    fn a_folder_is_shown_in_the_order_of_its_names_without_what_is_no_certificate_of_ours() {
        let directory = Directory::new();
        let root = directory.path("");
        made(&["b.example"]).write(&root, "b");
        made(&["a.example"]).write(&root, "a");
        let authority = Authority::new("root");
        fs::write(root.join("ca.pem"), authority.pem).unwrap();
        fs::write(root.join("key.pem"), made(&["x.example"]).key).unwrap();
        let (_, names, problems) = read_folder(&root, &[]);
        assert_eq!(
            (names, problems),
            (vec!["a.example".to_owned(), "b.example".to_owned()], vec![])
        );
    }

    #[test]
    fn a_folder_without_certificates_is_a_problem() {
        let directory = Directory::new();
        let (shown, _, problems) = read_folder(&directory.path(""), &[]);
        assert!(shown.is_empty());
        assert!(
            problems[0].what.contains("no certificate with a key"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_certificate_without_a_key_is_a_problem_where_it_is_no_authority() {
        let directory = Directory::new();
        fs::write(directory.path("a.pem"), made(&["a.example"]).pem).unwrap();
        let (_, _, problems) = read_folder(&directory.path(""), &[]);
        assert!(
            problems[0].what.contains("there is no private key"),
            "{problems:?}"
        );
    }

    #[test]
    fn only_the_default_may_be_nameless() {
        let directory = Directory::new();
        let root = directory.path("");
        made(&["10.0.0.1"]).write(&root, "a");
        made(&["b.example"]).write(&root, "b");
        assert!(read_folder(&root, &[]).2.is_empty());
        made(&["10.0.0.2"]).write(&root, "c");
        let (shown, _, problems) = read_folder(&root, &[]);
        assert_eq!(shown.len(), 2);
        assert!(problems[0].what.contains("no DNS name"), "{problems:?}");
    }

    #[test]
    fn a_pair_that_goes_bad_is_shown_as_it_was_beside_new_ones() {
        let directory = Directory::new();
        let root = directory.path("");
        let (a, b) = (made(&["a.example"]), made(&["b.example"]));
        a.write(&root, "a");
        b.write(&root, "b");
        let (old, ..) = read_folder(&root, &[]);
        let pem = root.join("a.pem");
        let spoil: [(&str, &dyn Fn()); 6] = [
            ("empty", &|| fs::write(&pem, "").unwrap()),
            ("half", &|| {
                fs::write(&pem, &a.pem[..a.pem.len() / 2]).unwrap()
            }),
            ("no PEM", &|| fs::write(&pem, "garbage").unwrap()),
            ("another key", &|| {
                fs::write(root.join("a.key"), &b.key).unwrap()
            }),
            ("no key", &|| fs::remove_file(root.join("a.key")).unwrap()),
            ("expired", &|| expired(&["a.example"]).write(&root, "a")),
        ];
        for (what, spoil) in spoil {
            a.write(&root, "a");
            spoil();
            made(&["new.example"]).write(&root, "b");
            let (shown, names, problems) = read_folder(&root, &old);
            assert!(Arc::ptr_eq(&shown[0], &old[0]), "{what}");
            assert_eq!(
                (names[1].as_str(), problems.len()),
                ("new.example", 1),
                "{what}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_new_pair_that_is_bad_is_left_out_and_a_removed_one_is_removed_unless_it_is_the_last() {
        let directory = Directory::new();
        let root = directory.path("");
        made(&["a.example"]).write(&root, "a");
        made(&["b.example"]).write(&root, "b");
        let (old, ..) = read_folder(&root, &[]);
        fs::write(root.join("c.pem"), "").unwrap();
        fs::remove_file(root.join("a.pem")).unwrap();
        let (shown, names, problems) = read_folder(&root, &old);
        assert_eq!((names, problems.len()), (vec!["b.example".to_owned()], 1));
        fs::remove_file(root.join("b.pem")).unwrap();
        fs::remove_file(root.join("c.pem")).unwrap();
        let (kept, _, problems) = read_folder(&root, &shown);
        assert!(Arc::ptr_eq(&kept[0], &shown[0]));
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn a_list_names_the_key_of_the_configuration_that_is_to_blame() {
        let directory = Directory::new();
        let root = directory.path("");
        made(&["a.example"]).write(&root, "a");
        made(&["b.example"]).write(&root, "b");
        let pair = |cert: &str, key: &str| Pair {
            cert: root.join(cert),
            key: root.join(key),
        };
        let certs = config::Certificates::List(vec![
            pair("b.pem", "b.key"),
            pair("a.pem", "b.key"),
            pair("none.pem", "a.key"),
        ]);
        let (shown, problems) = read(
            &certs,
            "listeners.web.tls.certs",
            &[],
            &provider(),
            SystemTime::now(),
        );
        assert_eq!(shown.len(), 1);
        let keys: Vec<&str> = problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert_eq!(
            keys,
            [
                "listeners.web.tls.certs[1].key",
                "listeners.web.tls.certs[2].cert"
            ]
        );
    }

    #[test]
    fn certificates_are_found_by_their_names_and_wildcards() {
        let directory = Directory::new();
        let root: PathBuf = directory.path("");
        made(&["a.example", "*.b.example"]).write(&root, "a");
        crate::tls::testing::Made::from(leaf(&["c.example"])).write(&root, "c");
        let (shown, ..) = read_folder(&root, &[]);
        let certificates = by_name(&shown).unwrap();
        for (name, covered) in [
            ("a.example", true),
            ("x.b.example", true),
            ("x.x.b.example", false),
            ("b.example", false),
            ("C.example.", true),
        ] {
            assert_eq!(certificates.cover(name), covered, "{name}");
        }
    }
}
