//! Certificates, keys and authorities for this crate's tests, made on the spot. Compiled into tests alone.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use ringgate_config::{Certificates, Plan, ServerTls, Tls, TlsVersion, UnknownName};
use rustls::pki_types::CertificateDer;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
};

use crate::testing::plan;

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

    pub(crate) fn private_key(&self) -> rustls::pki_types::PrivateKeyDer<'static> {
        rustls::pki_types::pem::PemObject::from_pem_slice(self.key.as_bytes()).unwrap()
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

/// A plan whose listener `web` ends TLS with the certificates of a folder.
pub(crate) fn tls_plan(folder: &Path) -> Plan {
    let mut plan = plan(&["127.0.0.1:1"]);
    plan.listeners[0].tls = Some(Tls {
        certs: Certificates::Folder(folder.to_owned()),
        min_version: TlsVersion::V1_2,
        alpn: Vec::new(),
        client_auth: None,
        ticket_keys: None,
        unknown_name: UnknownName::Default,
    });
    plan
}

/// A plan whose pool encrypts connections to its server and trusts that authority.
pub(crate) fn pool_plan(server: &str, ca: &Path, server_name: Option<&str>) -> Plan {
    let mut plan = plan(&[server]);
    plan.pools[0].tls = Some(ServerTls {
        ca: Some(ca.to_owned()),
        server_name: server_name.map(str::to_owned),
        identity: None,
        alpn: Vec::new(),
        verify: true,
    });
    plan
}

/// A client that trusts one authority, and remembers its sessions.
pub(crate) fn client(
    authority: &CertificateDer<'static>,
    identity: Option<&Made>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(super::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        Some(made) => builder
            .with_client_auth_cert(vec![made.certificate.clone()], made.private_key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    })
}

/// What became of a handshake between the two, in memory.
pub(crate) fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<Outcome, rustls::Error> {
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut wire = Vec::new();
    while client.is_handshaking()
        || server.is_handshaking()
        || client.wants_write()
        || server.wants_write()
    {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(Outcome {
        resumed: client.handshake_kind() == Some(HandshakeKind::Resumed),
        certificate: client.peer_certificates().unwrap()[0].clone().into_owned(),
        alpn: client.alpn_protocol().map(<[u8]>::to_vec),
    })
}

/// A handshake that went well.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) resumed: bool,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) alpn: Option<Vec<u8>>,
}
