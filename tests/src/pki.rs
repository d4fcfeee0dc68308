//! Certificates made for a test: an authority and what it signs, good and bad. Nothing of it outlives the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// What stands after a certificate that it signs: itself and those above it, but never a root.
    chain: String,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, followed by those that signed it up to the root, which clients have.
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
    /// The first and the last second since 1970 (UTC) in which it is good.
    pub good: (i64, i64),
    /// A client shows it, otherwise a server.
    pub is_clients: bool,
    /// The kind of its key.
    pub key: KeyKind,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA over P-256.
    P256,
    /// ECDSA over P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits.
    Rsa,
}

impl KeyKind {
    fn generate(self) -> KeyPair {
        let algorithm = match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &PKCS_ED25519,
            Self::Rsa => &PKCS_RSA_SHA256,
        };
        KeyPair::generate_for(algorithm).expect("a key can be made")
    }
}

impl Says {
    /// A server's certificate for these names, good for long.
    #[must_use]
    pub fn names(names: &[&str]) -> Self {
        Self {
            common_name: names.first().copied().unwrap_or("nobody").to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            good: (year(2020), year(2120)),
            is_clients: false,
            key: KeyKind::P256,
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

    /// The same with a key of this kind.
    #[must_use]
    pub fn with_key(self, key: KeyKind) -> Self {
        Self { key, ..self }
    }

    /// The same, good from the beginning of one year to that of another.
    #[must_use]
    pub fn in_years(self, from: i32, to: i32) -> Self {
        Self {
            good: (year(from), year(to)),
            ..self
        }
    }

    /// The same, good for so long from now on.
    ///
    /// # Panics
    /// When the clock stands before 1970.
    #[must_use]
    pub fn ending_in(self, left: Duration) -> Self {
        let now = UNIX_EPOCH.elapsed().expect("it is later than 1970");
        Self {
            good: (self.good.0, (now + left).as_secs().cast_signed()),
            ..self
        }
    }

    fn params(&self, serial: u64) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).expect("the names are good");
        params.distinguished_name = common_name(&self.common_name);
        let moment =
            |second: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(second.unsigned_abs());
        params.not_before = moment(self.good.0);
        params.not_after = moment(self.good.1);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![match self.is_clients {
            true => ExtendedKeyUsagePurpose::ClientAuth,
            false => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params
    }
}

impl Authority {
    /// A new one, a root.
    ///
    /// # Panics
    /// When the cryptography fails.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (params, key) = authority(name);
        let certificate = params.self_signed(&key);
        Self {
            pem: certificate.expect("an authority can sign itself").pem(),
            issuer: Issuer::new(params, key),
            chain: String::new(),
        }
    }

    /// A new one that this one has signed.
    ///
    /// # Panics
    /// When the cryptography fails.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        let (params, key) = authority(name);
        let certificate = params.signed_by(&key, &self.issuer);
        let pem = certificate.expect("an authority can sign another").pem();
        Self {
            issuer: Issuer::new(params, key),
            chain: format!("{pem}{}", self.chain),
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
        let serial = next_serial();
        let mut params = says.params(serial);
        params.use_authority_key_identifier_extension = true;
        let key = says.key.generate();
        let cert = params
            .signed_by(&key, &self.issuer)
            .expect("an authority can sign");
        Identity {
            cert: format!("{}{}", cert.pem(), self.chain),
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
    /// One that nobody has signed but itself.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn self_signed(says: &Says) -> Self {
        let (serial, key) = (next_serial(), says.key.generate());
        let cert = says.params(serial).self_signed(&key);
        Self {
            cert: cert.expect("a certificate can sign itself").pem(),
            key: key.serialize_pem(),
            serial,
        }
    }

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

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = common_name(name);
    (params, KeyKind::P256.generate())
}

fn next_serial() -> u64 {
    static SERIALS: AtomicU64 = AtomicU64::new(1);
    SERIALS.fetch_add(1, Relaxed)
}

fn year(year: i32) -> i64 {
    date_time_ymd(year, 1, 1).unix_timestamp()
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
