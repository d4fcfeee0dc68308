//! Reading a file that the configuration names, within bounds, and finding the PEM blocks in it (RFC 7468). It never
//! decides whether what a block holds is any good.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::pem::{Error, PemObject, SectionKind};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer,
    PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

use super::problem::Fault;

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What every user of the host may do with a file, among its permissions.
const READABLE_BY_ALL: u32 = 0o004;

/// A file that has been read.
pub(crate) struct Contents {
    pub(crate) bytes: Vec<u8>,
    /// Every user of the host may read it.
    pub(crate) readable_by_all: bool,
}

/// Reads a file whole.
pub(super) fn read(path: &Path) -> Result<Contents, Fault> {
    read_within(path, FILE_BYTES_MAX)
}

/// Reads a file of no more than so many bytes whole.
pub(crate) fn read_within(path: &Path, bytes_max: u64) -> Result<Contents, Fault> {
    let shown = path.display();
    let unreadable = |error: io::Error| {
        let fault = Fault::new(format!("cannot read {shown}: {error}"));
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                fault.advise("the user that Ringgate runs as must be able to read it")
            }
            _ => fault,
        }
    };
    // Opening a pipe would wait for someone who writes to it.
    let kind = std::fs::metadata(path).map_err(unreadable)?;
    if !kind.is_file() {
        return Err(Fault::new(format!("{shown} is not a file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    let readable_by_all =
        file.metadata().map_err(unreadable)?.permissions().mode() & READABLE_BY_ALL != 0;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Fault::new(format!(
            "{shown} is longer than {} KiB",
            bytes_max / 1024
        )));
    }
    Ok(Contents {
        bytes,
        readable_by_all,
    })
}

/// By which two readings of the same files are found to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(pub(super) [u8; 32]);

impl Digest {
    /// Of parts, of which none runs into the next.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Digest(digest)
    }
}

/// The blocks of a PEM file that are of use here.
#[derive(Default)]
pub(super) struct Blocks {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
    pub(super) revocations: Vec<CertificateRevocationListDer<'static>>,
    /// A key that only a password opens.
    pub(super) locked_key: bool,
    /// There was a block, whatever it held.
    pub(super) any: bool,
}

/// All blocks of a file.
pub(super) fn blocks(path: &Path, bytes: &[u8]) -> Result<Blocks, Fault> {
    let shown = path.display();
    let mut found = Blocks {
        // These have a label of their own, or an old header inside the block.
        locked_key: contains(bytes, b"BEGIN ENCRYPTED PRIVATE KEY")
            || contains(bytes, b"Proc-Type: 4,ENCRYPTED"),
        any: contains(bytes, b"-----BEGIN "),
        ..Blocks::default()
    };
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        let (kind, der) = match section {
            Ok(section) => section,
            // Base64 does not know the header of an old locked key.
            Err(Error::Base64Decode(_)) if found.locked_key => continue,
            Err(error) => return Err(not_pem(path, &error)),
        };
        match kind {
            SectionKind::Certificate => found.certificates.push(der.into()),
            SectionKind::Crl => found.revocations.push(der.into()),
            SectionKind::PrivateKey => found.keys.push(PrivatePkcs8KeyDer::from(der).into()),
            SectionKind::RsaPrivateKey => found.keys.push(PrivatePkcs1KeyDer::from(der).into()),
            SectionKind::EcPrivateKey => found.keys.push(PrivateSec1KeyDer::from(der).into()),
            _ => {}
        }
    }
    if bytes.is_empty() {
        return Err(Fault::new(format!("{shown} is empty")));
    }
    if !found.any {
        let fault = Fault::new(format!("{shown} holds no PEM block"));
        // What DER begins with: a sequence (X.690 §8.9).
        return Err(match bytes.first() {
            Some(0x30) => {
                fault.advise("it may be DER: openssl x509 -inform der -in FILE -out FILE.pem")
            }
            _ => fault.advise("a PEM block begins with `-----BEGIN`"),
        });
    }
    Ok(found)
}

fn not_pem(path: &Path, error: &Error) -> Fault {
    let shown = path.display();
    match error {
        Error::MissingSectionEnd { .. } => Fault::new(format!(
            "{shown} ends in the middle of a PEM block, as if it were written only in part"
        )),
        error => Fault::new(format!("{shown} is not PEM: {error}")),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pem_file_is_told_apart() {
        let check = |text: &str, expected: &str| {
            let fault = blocks(Path::new("f"), text.as_bytes())
                .err()
                .map(|fault| fault.what)
                .unwrap_or_default();
            assert!(fault.contains(expected), "{text:?}: {fault:?}");
        };
        check("", "is empty");
        check("hello", "holds no PEM block");
        check("-----BEGIN CERTIFICATE-----\nAAAA\n", "in the middle");
        check(
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            "is not PEM",
        );
        check(
            "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n",
            "",
        );
    }

    #[test]
    fn a_locked_key_is_known_in_its_new_and_its_old_form() {
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        ] {
            let found = blocks(Path::new("f"), text.as_bytes()).map_err(|fault| fault.what);
            let found = found.unwrap();
            assert!(found.locked_key && found.keys.is_empty(), "{text}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&[u8]]| Digest::of(parts.iter().copied());
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_eq!(of(&[b"ab", b"c"]), of(&[b"ab", b"c"]));
    }

    #[test]
    fn only_files_of_a_bearable_length_are_read() {
        let directory = crate::testing::Directory::new();
        let long = directory.path("long");
        std::fs::write(&long, vec![b'x'; FILE_BYTES_MAX as usize + 1]).unwrap();
        for (path, expected) in [
            (long, "longer than 1024 KiB"),
            (directory.path("."), "is not a file"),
            (directory.path("none"), "cannot read"),
        ] {
            let what = read(&path).err().unwrap().what;
            assert!(what.contains(expected), "{what}");
        }
    }
}
