//! Who may sign the certificates of clients, and which of them were taken back. A list of those that has run out is
//! no longer believed, so that it cannot be forgotten: every client is refused then, as OpenSSL does it.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ringgate_config::{ClientAuth, ClientAuthMode};
use ringgate_engine::tls::Clients;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificate::moment;
use super::files::{self, Digest};
use super::problem::{Fault, Problem};
use super::sent::CutDown;

/// How the clients of a listener show who they are.
#[derive(Debug)]
pub(super) struct ClientTrust {
    verifier: Arc<dyn ClientCertVerifier>,
    required: bool,
    /// What the operator should know of it.
    pub(super) remarks: Vec<String>,
    /// Of the files that it was read from and the mode.
    pub(super) digest: Digest,
}

impl ClientTrust {
    /// Reads the files of `auth`, which the configuration names under `key`; `old` comes back when they are the same.
    pub(super) fn read(
        auth: &ClientAuth,
        key: &str,
        old: Option<&Arc<ClientTrust>>,
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
    ) -> Result<Arc<ClientTrust>, Problem> {
        let (ca_key, crl_key) = (format!("{key}.ca"), format!("{key}.crl"));
        let ca = files::read(&auth.ca)
            .map_err(|fault| fault.at(&ca_key))?
            .bytes;
        let crl = match &auth.crl {
            Some(path) => Some((
                path,
                files::read(path).map_err(|fault| fault.at(&crl_key))?.bytes,
            )),
            None => None,
        };
        let required = auth.mode == ClientAuthMode::Require;
        let mode: &[u8] = if required { b"require" } else { b"optional" };
        let crl_bytes = crl.as_ref().map(|(_, bytes)| bytes.as_slice());
        let digest = Digest::of([mode, ca.as_slice()].into_iter().chain(crl_bytes));
        if let Some(old) = old.filter(|old| old.digest == digest) {
            return Ok(Arc::clone(old));
        }

        let roots = roots(&auth.ca, &ca).map_err(|fault| fault.at(&ca_key))?;
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .enforce_revocation_expiration();
        if !required {
            builder = builder.allow_unauthenticated();
        }
        let mut remarks = Vec::new();
        if let Some((path, bytes)) = &crl {
            let blocks = files::blocks(path, bytes).map_err(|fault| fault.at(&crl_key))?;
            if blocks.revocations.is_empty() {
                let what = format!("{} holds no list of revoked certificates", path.display());
                let advice = "it begins with `-----BEGIN X509 CRL-----`";
                return Err(Fault::new(what).advise(advice).at(crl_key));
            }
            remarks.extend(
                blocks
                    .revocations
                    .iter()
                    .filter_map(|list| run_out(path, list, now)),
            );
            builder = builder.with_crls(blocks.revocations);
        }
        let verifier = builder.build().map_err(|error| {
            let (path, key) = match &crl {
                Some((path, _)) => (path.as_path(), crl_key),
                None => (auth.ca.as_path(), ca_key),
            };
            Fault::new(format!("{} cannot be used: {error}", path.display())).at(key)
        })?;
        Ok(Arc::new(ClientTrust {
            verifier: Arc::new(CutDown(verifier)),
            required,
            remarks,
            digest,
        }))
    }

    /// As the engine takes it.
    pub(super) fn clients(&self) -> Clients {
        Clients {
            verifier: Arc::clone(&self.verifier),
            required: self.required,
        }
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }
}

/// The authorities in a file.
pub(super) fn roots(path: &Path, bytes: &[u8]) -> Result<RootCertStore, Fault> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    for (at, certificate) in (1..).zip(files::blocks(path, bytes)?.certificates) {
        roots.add(certificate).map_err(|error| {
            Fault::new(format!(
                "certificate {at} in {shown} cannot be an authority: {error}"
            ))
        })?;
    }
    match roots.is_empty() {
        true => Err(Fault::new(format!("{shown} holds no certificate"))),
        false => Ok(roots),
    }
}

fn run_out(path: &Path, list: &[u8], now: SystemTime) -> Option<String> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    let until = list.next_update()?.timestamp();
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (until < i64::try_from(now).ok()?).then(|| {
        format!(
            "the list of `{}` in {} ran out on {}: clients whose certificates it could name are refused",
            list.issuer(),
            path.display(),
            moment(until)
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustls::pki_types::UnixTime;

    use super::*;
    use crate::testing::Directory;
    use crate::tls::provider;
    use crate::tls::testing::{Authority, leaf, made};

    fn auth(directory: &Directory, crl: bool) -> ClientAuth {
        ClientAuth {
            ca: directory.path("ca.pem"),
            mode: ClientAuthMode::Require,
            crl: crl.then(|| directory.path("crl.pem")),
        }
    }

    fn read(
        auth: &ClientAuth,
        old: Option<&Arc<ClientTrust>>,
    ) -> Result<Arc<ClientTrust>, Problem> {
        ClientTrust::read(auth, "c", old, &Arc::new(provider()), SystemTime::now())
    }

    #[test]
    fn certificates_of_the_authorities_are_taken_unless_they_were_taken_back() {
        let directory = Directory::new();
        let (ours, ours_too, others) = (
            Authority::new("a"),
            Authority::new("b"),
            Authority::new("c"),
        );
        fs::write(
            directory.path("ca.pem"),
            format!("{}{}", ours.pem, ours_too.pem),
        )
        .unwrap();
        let lists = format!("{}{}", ours.revocations(&[7]), ours_too.revocations(&[8]));
        fs::write(directory.path("crl.pem"), lists).unwrap();
        let certificate = |authority: &Authority, serial: u64| {
            let mut parameters = leaf(&["client.example"]);
            parameters.serial_number = Some(serial.into());
            authority.sign(parameters).certificate
        };
        let trust = read(&auth(&directory, true), None).unwrap();
        for (authority, serial, good) in [
            (&ours, 6, true),
            (&ours, 7, false),
            (&ours, 8, true),
            (&ours_too, 8, false),
            (&ours_too, 7, true),
            (&others, 6, false),
        ] {
            let verdict = trust.verifier().verify_client_cert(
                &certificate(authority, serial),
                &[],
                UnixTime::now(),
            );
            assert_eq!(verdict.is_ok(), good, "{serial}: {verdict:?}");
        }
    }

    #[test]
    fn a_change_of_any_file_or_of_the_mode_is_another_trust() {
        let directory = Directory::new();
        let authority = Authority::new("a");
        fs::write(directory.path("ca.pem"), &authority.pem).unwrap();
        fs::write(directory.path("crl.pem"), authority.revocations(&[])).unwrap();
        let mut auth = auth(&directory, true);
        let first = read(&auth, None).unwrap();
        assert!(Arc::ptr_eq(&first, &read(&auth, Some(&first)).unwrap()));
        fs::write(directory.path("crl.pem"), authority.revocations(&[1])).unwrap();
        let second = read(&auth, Some(&first)).unwrap();
        assert_ne!(first.digest, second.digest);
        auth.mode = ClientAuthMode::Optional;
        let third = read(&auth, Some(&second)).unwrap();
        assert_ne!(second.digest, third.digest);
        assert!(!third.clients().required && !third.verifier().client_auth_mandatory());
    }

    #[test]
    fn files_that_hold_nothing_of_use_are_told_with_their_key() {
        let directory = Directory::new();
        let authority = Authority::new("a");
        let check = |ca: &str, crl: &str, key: &str, expected: &str| {
            fs::write(directory.path("ca.pem"), ca).unwrap();
            fs::write(directory.path("crl.pem"), crl).unwrap();
            let problem = read(&auth(&directory, true), None).unwrap_err();
            assert_eq!(problem.key, key, "{problem}");
            assert!(problem.what.contains(expected), "{problem}");
        };
        check("", "", "c.ca", "is empty");
        check(
            &made(&["a.example"]).key,
            "",
            "c.ca",
            "holds no certificate",
        );
        check(&authority.pem, "", "c.crl", "is empty");
        check(
            &authority.pem,
            &authority.pem,
            "c.crl",
            "no list of revoked certificates",
        );
    }
}
