//! How connections to the servers of a pool are encrypted, made from what its configuration says and from the files
//! that it names. What cannot be read anew goes on as it was.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ringgate_config::{Pool, ServerTls};
use ringgate_engine::tls::Origination;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::clients::roots;
use super::files::{self, Digest};
use super::identity::{Identity, Part, Source};
use super::problem::{Fault, Problem};

/// What is known of a pool's TLS besides what workers need.
#[derive(Debug)]
pub(crate) struct PoolTls {
    pub(crate) origination: Arc<Origination>,
    /// What checks say to servers: the same, but no session is resumed, for only a new one verifies the server.
    pub(crate) checks: Arc<ClientConfig>,
    /// What is shown to servers that ask.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Of the file of authorities; `None` when those of the system are trusted, or none.
    ca: Option<Digest>,
}

/// What is needed to read a pool's files.
pub(super) struct Reader<'a> {
    pub(super) provider: &'a Arc<CryptoProvider>,
    pub(super) workers: usize,
    pub(super) now: SystemTime,
}

impl PoolTls {
    /// Reads all files of a pool. `old` is what was known before: it comes back when nothing has changed or something
    /// has gone bad, the problems of which are added to `problems`.
    pub(super) fn read(
        pool: &Pool,
        tls: &ServerTls,
        old: Option<&Arc<PoolTls>>,
        reader: &Reader<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<PoolTls>> {
        match PoolTls::try_read(pool, tls, old, reader) {
            Ok(read) => Some(read),
            Err(problem) => {
                problems.push(problem);
                old.cloned()
            }
        }
    }

    fn try_read(
        pool: &Pool,
        tls: &ServerTls,
        old: Option<&Arc<PoolTls>>,
        reader: &Reader<'_>,
    ) -> Result<Arc<PoolTls>, Problem> {
        let key = format!("pools.{}.tls", pool.name);
        let ca_key = format!("{key}.ca");
        let ca = match tls.ca.as_ref().filter(|_| tls.verify) {
            Some(path) => Some((
                path,
                files::read(path).map_err(|fault| fault.at(&ca_key))?.bytes,
            )),
            None => None,
        };
        let old_identity = old.and_then(|old| old.identity.as_ref());
        let identity = match &tls.identity {
            Some(pair) => {
                let source = Source {
                    cert: &pair.cert,
                    key: Some(&pair.key),
                };
                let read = Identity::read(source, old_identity, reader.provider, reader.now);
                Some(read.map_err(|bad| match bad.part {
                    Part::Cert => bad.fault.at(format!("{key}.cert")),
                    Part::Key => bad.fault.at(format!("{key}.key")),
                })?)
            }
            None => None,
        };
        let digest = ca.as_ref().map(|(_, bytes)| Digest::of([bytes.as_slice()]));
        let is_same = |old: &&Arc<PoolTls>| {
            old.ca == digest
                && old.identity.as_ref().map(Arc::as_ptr) == identity.as_ref().map(Arc::as_ptr)
        };
        if let Some(old) = old.filter(is_same) {
            return Ok(Arc::clone(old));
        }

        let verified = match (&ca, tls.verify) {
            (_, false) => Verified::Nobody,
            (Some((path, bytes)), true) => {
                Verified::By(roots(path, bytes).map_err(|fault| fault.at(&ca_key))?)
            }
            (None, true) => Verified::By(system_roots().map_err(|fault| fault.at(&key))?),
        };
        let server_name = match &tls.server_name {
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|_| {
                Fault::new(format!("`{name}` is not a name of a host"))
                    .at(format!("{key}.server_name"))
            })?),
            None => None,
        };
        let mut config = client_config(verified, identity.as_deref(), reader.provider)
            .map_err(|error| Fault::new(format!("TLS cannot be spoken: {error}")).at(&key))?;
        config.alpn_protocols = tls
            .alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        config.enable_sni = matches!(server_name, Some(ServerName::DnsName(_)));
        let mut checks = config.clone();
        checks.resumption = Resumption::disabled();
        let servers = pool.servers.len();
        let origination = Origination::new(config, server_name, reader.workers, servers);
        Ok(Arc::new(PoolTls {
            origination: Arc::new(origination),
            checks: Arc::new(checks),
            identity,
            ca: digest,
        }))
    }
}

/// How checks of servers speak TLS where their pool does not: whoever answers is good.
pub(crate) fn unverified() -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(super::provider());
    let mut config = client_config(Verified::Nobody, None, &provider)?;
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// How servers are spoken with whose certificates one of these authorities has signed: those in a file, or those that the
/// system trusts.
pub(crate) fn verifying(ca: Option<&Path>) -> Result<ClientConfig, Fault> {
    let roots = match ca {
        Some(path) => roots(path, &files::read(path)?.bytes)?,
        None => system_roots()?,
    };
    client_config(Verified::By(roots), None, &Arc::new(super::provider()))
        .map_err(|error| Fault::new(format!("TLS cannot be spoken: {error}")))
}

/// Whose certificates are good.
enum Verified {
    By(RootCertStore),
    /// Everybody's: none is looked at.
    Nobody,
}

fn client_config(
    verified: Verified,
    identity: Option<&Identity>,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?;
    let builder = match verified {
        Verified::By(roots) => builder.with_root_certificates(roots),
        Verified::Nobody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(Arc::clone(provider)))),
    };
    Ok(match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(
            rustls::sign::SingleCertAndKey::from(Arc::clone(&identity.key)),
        )),
        None => builder.with_no_client_auth(),
    })
}

/// Those that the system trusts.
fn system_roots() -> Result<RootCertStore, Fault> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let why = found
        .errors
        .first()
        .map_or_else(String::new, |error| format!(" ({error})"));
    Err(Fault::new(format!(
        "the system trusts no authority that could sign the servers' certificates{why}"
    ))
    .advise("name the authority: `ca: FILE`, or install the package ca-certificates"))
}

/// Takes any certificate, but only from who has its key.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ringgate_balance::ServerId;
    use ringgate_engine::counters::WorkerId;
    use rustls::ServerConfig;

    use super::*;
    use crate::testing::Directory;
    use crate::tls::testing::{Authority, Made, handshake, leaf, pool_plan};
    use crate::tls::{load, provider};

    fn server(made: &Made) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.certificate.clone()], made.private_key())
            .unwrap();
        Arc::new(config)
    }

    #[test]
    fn servers_are_verified_unless_the_plan_says_otherwise() {
        let directory = Directory::new();
        let (ours, others) = (Authority::new("ours"), Authority::new("others"));
        let ca = directory.path("ca.pem");
        fs::write(&ca, &ours.pem).unwrap();
        let good = server(&ours.sign(leaf(&["app.internal"])));
        let bad = server(&others.sign(leaf(&["app.internal"])));
        for verify in [true, false] {
            let mut plan = pool_plan("127.0.0.1:1", &ca, Some("app.internal"));
            plan.pools[0].tls.as_mut().unwrap().verify = verify;
            let material = load(&plan, 2, SystemTime::now()).unwrap();
            let origination = material.origination(0).unwrap();
            let configs = [0, 1].map(|worker| origination.config(WorkerId(worker), ServerId(0)));
            assert!(
                !Arc::ptr_eq(&configs[0], &configs[1]),
                "each has its own sessions"
            );
            assert!(handshake(&configs[0], &good, "app.internal").is_ok());
            assert_eq!(
                handshake(&configs[1], &good, "other.internal").is_err(),
                verify
            );
            assert_eq!(
                handshake(&configs[1], &bad, "app.internal").is_err(),
                verify
            );
            assert_eq!(
                material.warnings(&plan, SystemTime::now()).len(),
                usize::from(!verify)
            );
        }
    }

    #[test]
    fn a_name_is_sent_only_where_there_is_one() {
        let directory = Directory::new();
        let ca = directory.path("ca.pem");
        fs::write(&ca, Authority::new("ours").pem).unwrap();
        for (name, sent) in [
            (Some("app.internal"), true),
            (Some("10.0.0.1"), false),
            (None, false),
        ] {
            let plan = pool_plan("127.0.0.1:1", &ca, name);
            let material = load(&plan, 1, SystemTime::now()).unwrap();
            let origination = material.origination(0).unwrap();
            let config = origination.config(WorkerId(0), ServerId(0));
            assert_eq!(config.enable_sni, sent, "{name:?}");
            let asked = origination.name(&plan.pools[0].servers[0].address);
            assert_eq!(asked.to_str(), name.unwrap_or("127.0.0.1"));
        }
    }

    #[test]
    fn a_file_that_goes_bad_changes_nothing_and_a_new_one_makes_new_settings() {
        let directory = Directory::new();
        let ca = directory.path("ca.pem");
        let plan = pool_plan("127.0.0.1:1", &ca, None);
        let problems = load(&plan, 1, SystemTime::now()).unwrap_err();
        assert_eq!(problems[0].key, "pools.app.tls.ca");
        fs::write(&ca, Authority::new("ours").pem).unwrap();
        let material = load(&plan, 1, SystemTime::now()).unwrap();
        fs::write(&ca, "").unwrap();
        let (same, problems) = material.reread(&plan, SystemTime::now());
        assert!(same.is(&material) && problems.len() == 1);
        fs::write(&ca, Authority::new("others").pem).unwrap();
        let (other, problems) = material.reread(&plan, SystemTime::now());
        assert!(!other.is(&material) && problems.is_empty());
    }
}
