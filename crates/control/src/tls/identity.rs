//! A certificate with its chain and its key: what a listener shows to clients, and a pool to servers that ask. It is
//! read whole or not at all, and a bad one never takes the place of a good one.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::certificate::{Certificate, Standing, is_authority, moment};
use super::files::{self, Blocks, Digest};
use super::problem::Fault;

/// A certificate with its chain and its key, of which it is known that they belong together.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: Certificate,
    pub(crate) key: Arc<CertifiedKey>,
    /// What the operator should know of it, whatever the clock says.
    pub(super) remarks: Vec<String>,
    /// Of the files that it was read from.
    digest: Digest,
}

/// Where one is read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) cert: &'a Path,
    /// `None` when the key lies beside the certificate in one file.
    pub(super) key: Option<&'a Path>,
}

/// Why one cannot be had.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) part: Part,
    pub(super) fault: Fault,
    /// The file is good, but its certificates are of a kind that nobody shows: there are none, or they are an
    /// authority's and have no key.
    pub(super) is_something_else: bool,
}

/// Which of the two files a fault is laid to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Cert,
    Key,
}

impl Part {
    fn bad(self, fault: Fault) -> Bad {
        Bad {
            part: self,
            fault,
            is_something_else: false,
        }
    }
}

impl Identity {
    /// Reads one; `old` is what was read from there before, and comes back when the files are the same.
    pub(super) fn read(
        source: Source<'_>,
        old: Option<&Arc<Identity>>,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Arc<Identity>, Bad> {
        let cert = files::read(source.cert).map_err(|fault| Part::Cert.bad(fault))?;
        let separate = source
            .key
            .filter(|key| *key != source.cert)
            .map(|key| files::read(key).map(|contents| (key, contents)))
            .transpose()
            .map_err(|fault| Part::Key.bad(fault))?;
        let digest = Digest::of(
            std::iter::once(cert.bytes.as_slice())
                .chain(separate.as_ref().map(|(_, key)| key.bytes.as_slice())),
        );
        if let Some(old) = old.filter(|old| old.digest == digest) {
            return Ok(Arc::clone(old));
        }

        let mut blocks =
            files::blocks(source.cert, &cert.bytes).map_err(|fault| Part::Cert.bad(fault))?;
        let chain = std::mem::take(&mut blocks.certificates);
        let holds_key = |blocks: &Blocks| !blocks.keys.is_empty() || blocks.locked_key;
        if chain.is_empty()
            || (source.key.is_none() && is_authority(&chain[0]) && !holds_key(&blocks))
        {
            let what = format!(
                "{} holds no certificate that can be shown",
                source.cert.display()
            );
            return Err(Bad {
                is_something_else: true,
                ..Part::Cert.bad(Fault::new(what))
            });
        }
        let (key_file, key_contents) = match &separate {
            Some((file, contents)) => {
                blocks =
                    files::blocks(file, &contents.bytes).map_err(|fault| Part::Key.bad(fault))?;
                (*file, contents)
            }
            None => (source.cert, &cert),
        };
        let key = the_key(blocks, key_file, source).map_err(|fault| Part::Key.bad(fault))?;
        let certificate =
            Certificate::of(&chain, source.cert).map_err(|fault| Part::Cert.bad(fault))?;
        let key = certified(chain, key, key_file, source, provider)?;
        let remarks = match key_contents.readable_by_all {
            true => vec![format!(
                "every user of this host may read the key in {} (chmod o-r)",
                key_file.display()
            )],
            false => Vec::new(),
        };
        let identity = Identity {
            certificate,
            key: Arc::new(key),
            remarks,
            digest,
        };
        match old {
            Some(old) if identity.is_expired(now) && !old.is_expired(now) => {
                let ended = moment(identity.certificate.not_after);
                let shown = source.cert.display();
                let what = format!(
                    "the new certificate in {shown} ended on {ended}, the one before is still good"
                );
                Err(Part::Cert.bad(Fault::new(what)))
            }
            _ => Ok(Arc::new(identity)),
        }
    }

    fn is_expired(&self, now: SystemTime) -> bool {
        self.certificate.standing(now) == Standing::Expired
    }
}

/// The first key of a file.
fn the_key(
    blocks: Blocks,
    file: &Path,
    source: Source<'_>,
) -> Result<PrivateKeyDer<'static>, Fault> {
    let shown = file.display();
    if let Some(key) = blocks.keys.into_iter().next() {
        return Ok(key);
    }
    if blocks.locked_key {
        return Err(
            Fault::new(format!("the key in {shown} is locked by a password"))
                .advise("unlock it: openssl pkey -in FILE -out FILE.key"),
        );
    }
    if source.key.is_some() {
        return Err(Fault::new(format!("{shown} holds no private key")));
    }
    let stem = file.with_extension("");
    Err(Fault::new(format!(
        "there is no private key for the certificate in {shown}"
    ))
    .advise(format!(
        "it is looked for in that file and in {}.key",
        stem.display()
    )))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    key_file: &Path,
    source: Source<'_>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Bad> {
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| {
            let what = format!("the key in {} cannot be used: {error}", key_file.display());
            Part::Key.bad(Fault::new(what).advise(
                "it must be RSA (2048 bits or more), ECDSA (P-256, P-384, P-521) or Ed25519",
            ))
        })?;
    let certified = CertifiedKey::new(chain, key);
    let cert_shown = source.cert.display();
    match certified.keys_match() {
        // A kind of key that does not tell its public half.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            let what = format!(
                "the key in {} does not fit the first certificate in {cert_shown}",
                key_file.display()
            );
            Err(Part::Key.bad(Fault::new(what).advise("each certificate has a key of its own")))
        }
        Err(error) => {
            let what = format!("the certificate in {cert_shown} cannot be used: {error}");
            Err(Part::Cert.bad(Fault::new(what)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use rcgen::{
        KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
        PKCS_ED25519, PKCS_RSA_SHA256,
    };

    use super::*;
    use crate::testing::Directory;
    use crate::tls::provider;
    use crate::tls::testing::{Authority, expired, leaf, made};

    fn read(
        cert: &Path,
        key: Option<&Path>,
        old: Option<&Arc<Identity>>,
    ) -> Result<Arc<Identity>, Bad> {
        Identity::read(Source { cert, key }, old, &provider(), SystemTime::now())
    }

    #[test]
    fn every_kind_of_key_is_taken() {
        let directory = Directory::new();
        let (cert, key) = (directory.path("a.pem"), directory.path("a.key"));
        for algorithm in [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ECDSA_P521_SHA512,
            &PKCS_ED25519,
            &PKCS_RSA_SHA256,
        ] {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let certificate = leaf(&["a.example"]).self_signed(&pair).unwrap();
            fs::write(&cert, certificate.pem()).unwrap();
            fs::write(&key, pair.serialize_pem()).unwrap();
            let identity = read(&cert, Some(&key), None).map_err(|bad| bad.fault.what);
            assert_eq!(
                identity.unwrap().certificate.names,
                ["a.example"],
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn a_pair_may_be_one_file_in_any_order() {
        let directory = Directory::new();
        let cert = directory.path("a.pem");
        let made = made(&["a.example"]);
        for text in [
            format!("{}{}", made.pem, made.key),
            format!("{}{}", made.key, made.pem),
        ] {
            fs::write(&cert, text).unwrap();
            assert!(read(&cert, None, None).is_ok());
            assert!(read(&cert, Some(&cert), None).is_ok());
        }
    }

    #[test]
    fn what_does_not_belong_together_is_told_with_its_file() {
        let directory = Directory::new();
        let (cert, key) = (directory.path("a.pem"), directory.path("a.key"));
        let (one, other) = (made(&["a.example"]), made(&["a.example"]));
        let root = Authority::new("root");
        let locked =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let half = &one.pem[..one.pem.len() / 2];
        let check = |cert_text: &str, key_text: &str, part: Part, expected: &str| {
            fs::write(&cert, cert_text).unwrap();
            fs::write(&key, key_text).unwrap();
            let bad = read(&cert, Some(&key), None).unwrap_err();
            assert_eq!(bad.part, part, "{}", bad.fault.what);
            assert!(bad.fault.what.contains(expected), "{}", bad.fault.what);
        };
        check(&one.pem, &other.key, Part::Key, "does not fit");
        check(&one.pem, &one.pem, Part::Key, "holds no private key");
        check(&one.pem, locked, Part::Key, "locked by a password");
        check(&one.pem, "", Part::Key, "is empty");
        check("", &one.key, Part::Cert, "is empty");
        check(half, &one.key, Part::Cert, "in the middle of a PEM block");
        check(
            &one.key,
            &one.key,
            Part::Cert,
            "no certificate that can be shown",
        );
        check(
            &format!("{}{}", one.pem, root.pem),
            &one.key,
            Part::Cert,
            "out of order",
        );
    }

    #[test]
    fn the_same_files_give_the_same_identity_and_others_another() {
        let directory = Directory::new();
        let (cert, key) = (directory.path("a.pem"), directory.path("a.key"));
        made(&["a.example"]).write(&directory.path(""), "a");
        let old = read(&cert, Some(&key), None).unwrap();
        assert!(Arc::ptr_eq(
            &old,
            &read(&cert, Some(&key), Some(&old)).unwrap()
        ));
        made(&["b.example"]).write(&directory.path(""), "a");
        let new = read(&cert, Some(&key), Some(&old)).unwrap();
        assert_eq!(new.certificate.names, ["b.example"]);
    }

    #[test]
    fn one_that_has_ended_takes_the_place_of_none_that_has_not() {
        let directory = Directory::new();
        let (cert, key) = (directory.path("a.pem"), directory.path("a.key"));
        made(&["a.example"]).write(&directory.path(""), "a");
        let good = read(&cert, Some(&key), None).unwrap();
        expired(&["a.example"]).write(&directory.path(""), "a");
        let bad = read(&cert, Some(&key), Some(&good)).unwrap_err();
        assert!(
            bad.fault.what.contains("ended on 2001-01-01T00:00:00Z"),
            "{}",
            bad.fault.what
        );
        let first = read(&cert, Some(&key), None).unwrap();
        expired(&["a.example"]).write(&directory.path(""), "a");
        assert!(read(&cert, Some(&key), Some(&first)).is_ok());
    }

    #[test]
    fn a_key_that_everybody_may_read_is_remarked_upon() {
        let directory = Directory::new();
        let (cert, key) = (directory.path("a.pem"), directory.path("a.key"));
        made(&["a.example"]).write(&directory.path(""), "a");
        for (mode, remarks) in [(0o644, 1), (0o640, 0)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                read(&cert, Some(&key), None).unwrap().remarks.len(),
                remarks
            );
        }
    }
}
