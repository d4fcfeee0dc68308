//! Certificates made for a test: an authority and what it signs, good and bad. Nothing of it outlives the test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate alone.
    pub cert: String,
    /// Its private key.
    pub key: String,
    /// By it a revocation list names the certificate.
    pub serial: u64,
}

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct Says {
    /// The common name of its subject.
    pub common_name: String,
    /// Its names and addresses.
    pub names: Vec<String>,
    /// The years in which it begins and ends.
    pub years: (i32, i32),
    /// A client shows it, otherwise a server.
    pub is_clients: bool,
}

impl Says {
    /// A server's certificate for these names, good for long.
    #[must_use]
    pub fn names(names: &[&str]) -> Self {
        Self {
            common_name: names.first().copied().unwrap_or("nobody").to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            years: (2020, 2120),
            is_clients: false,
        }
    }

    /// A client's certificate.
    #[must_use]
    pub fn client(common_name: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            is_clients: true,
            ..Self::names(&[])
        }
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When the cryptography fails.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = common_name(name);
        let key = KeyPair::generate().expect("a key can be made");
        let pem = params
            .self_signed(&key)
            .expect("an authority can sign itself")
            .pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a certificate with a new key.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn sign(&self, says: &Says) -> Identity {
        static SERIALS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let serial = SERIALS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut params = CertificateParams::new(says.names.clone()).expect("the names are good");
        params.distinguished_name = common_name(&says.common_name);
        params.not_before = date_time_ymd(says.years.0, 1, 1);
        params.not_after = date_time_ymd(says.years.1, 1, 1);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![match says.is_clients {
            true => ExtendedKeyUsagePurpose::ClientAuth,
            false => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key can be made");
        let cert = params
            .signed_by(&key, &self.issuer)
            .expect("an authority can sign");
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
            serial,
        }
    }

    /// A list that revokes these.
    ///
    /// # Panics
    /// When the cryptography fails.
    #[must_use]
    pub fn revoke(&self, revoked: &[&Identity]) -> String {
        let revoked = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2120, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params
            .signed_by(&self.issuer)
            .expect("an authority can revoke");
        list.pem().expect("a list can be written")
    }
}

impl Identity {
    /// Certificate and key in one text.
    #[must_use]
    pub fn both(&self) -> String {
        format!("{}{}", self.cert, self.key)
    }

    /// Writes `NAME.crt` and `NAME.key` into a folder, and gives both paths.
    ///
    /// # Panics
    /// When the folder cannot be written to.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        fs::create_dir_all(folder).expect("a test's folder can be made");
        let paths = (
            folder.join(format!("{name}.crt")),
            folder.join(format!("{name}.key")),
        );
        // The key first: who sees the certificate finds it. Both appear whole.
        replace(&paths.1, &self.key);
        replace(&paths.0, &self.cert);
        paths
    }
}

/// Puts a text in the place of a file at once, as careful tools do.
///
/// # Panics
/// When the folder cannot be written to.
pub fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a test's folder can be written to");
    fs::rename(&new, path).expect("a file can take the place of another");
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
