//! What a client sends along with its certificate, cut down to what can be of use. Finding a way through certificates
//! that could all have signed each other takes time without end, or a worker's time until the search is given up; it
//! is never begun here.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The most certificates that are looked at; ways of more than six are not gone (rustls-webpki).
const LOOKED_AT_MAX: usize = 16;

/// The most certificates of one subject: an authority may have a new key, and others may have signed either.
const SAME_SUBJECT_MAX: usize = 3;

/// A verifier that gets to see only what can be of use.
#[derive(Debug)]
pub(super) struct CutDown(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for CutDown {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0
            .verify_client_cert(end_entity, &of_use(intermediates), now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Those of the first certificates that are any, and not one of too many with one subject.
fn of_use<'a>(sent: &'a [CertificateDer<'_>]) -> Vec<CertificateDer<'a>> {
    let mut of_subject: HashMap<&[u8], usize> = HashMap::new();
    let looked_at = sent.iter().take(LOOKED_AT_MAX);
    let of_use = looked_at.filter(|der| {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return false;
        };
        let count = of_subject.entry(certificate.subject.as_raw()).or_default();
        *count += 1;
        *count <= SAME_SUBJECT_MAX
    });
    of_use.map(|der| CertificateDer::from(&der[..])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Authority;

    #[test]
    fn what_can_be_of_use_is_kept_in_order() {
        let kept = |sent: &[CertificateDer<'static>]| -> Vec<usize> {
            let kept = of_use(sent);
            let place = |der| sent.iter().position(|sent| sent == der);
            kept.iter().filter_map(place).collect()
        };
        let named = |name: &str| Authority::new(name).certificate;
        let chain = ["a", "b", "a", "c", "a"].map(named);
        assert_eq!(kept(&chain), [0, 1, 2, 3, 4]);
        let maze = ["x", "a", "a", "a", "a", "b"].map(named);
        assert_eq!(kept(&maze), [0, 1, 2, 3, 5]);
        let garbage = [named("a"), CertificateDer::from(vec![1, 2, 3]), named("b")];
        assert_eq!(kept(&garbage), [0, 2]);
        let long: Vec<_> = (0..20).map(|number| named(&number.to_string())).collect();
        assert_eq!(kept(&long).len(), LOOKED_AT_MAX);
    }
}
