//! Certificates, keys and authorities for this crate's tests, made on the spot. Compiled into tests alone.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;

/// A certificate and its key.
pub(crate) struct Made {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key: String,
}

impl Made {
    /// Signed by itself.
    pub(crate) fn from(parameters: CertificateParams) -> Made {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Made::of(&certificate, &key)
    }

    fn of(certificate: &rcgen::Certificate, key: &KeyPair) -> Made {
        Made {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes the two as `NAME.pem` and `NAME.key`.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        fs::write(folder.join(format!("{name}.pem")), &self.pem).unwrap();
        fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }
}

/// A certificate for these names, signed by itself.
pub(crate) fn made(names: &[&str]) -> Made {
    Made::from(leaf(names))
}

/// One that ended long ago.
pub(crate) fn expired(names: &[&str]) -> Made {
    let mut parameters = leaf(names);
    parameters.not_after = date_time_ymd(2001, 1, 1);
    Made::from(parameters)
}

/// What a certificate for these names is to say. Its common name is the first of them.
pub(crate) fn leaf(names: &[&str]) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(first) = names.first() {
        parameters
            .distinguished_name
            .push(DnType::CommonName, *first);
    }
    parameters.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    parameters
}

/// One that signs others.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Signed by itself.
    pub(crate) fn new(name: &str) -> Authority {
        let (key, parameters) = (KeyPair::generate().unwrap(), authority(name));
        let certificate = parameters.self_signed(&key).unwrap();
        Authority {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(parameters, key),
        }
    }

    /// Signed by this one.
    pub(crate) fn authority(&self, name: &str) -> Authority {
        let (key, parameters) = (KeyPair::generate().unwrap(), authority(name));
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Authority {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(parameters, key),
        }
    }

    /// Signs a certificate.
    pub(crate) fn sign(&self, parameters: CertificateParams) -> Made {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Made::of(&certificate, &key)
    }

    /// The list of the certificates that it took back, by serial number.
    pub(crate) fn revocations(&self, serials: &[u64]) -> String {
        let parameters = rcgen::CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials
                .iter()
                .map(|serial| rcgen::RevokedCertParams {
                    serial_number: (*serial).into(),
                    revocation_time: date_time_ymd(2020, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        parameters.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = leaf(&[]);
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    parameters
}
