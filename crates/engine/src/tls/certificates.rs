//! The certificates of a listener, found by the name that a client asks for (RFC 6066 §3, wildcards by RFC 6125
//! §6.4.3) and by the kinds of key that it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Certificates by name. Never empty.
#[derive(Debug)]
pub struct Certificates {
    /// For those who ask for no name, or for one that is not known.
    default: Arc<CertifiedKey>,
    /// By name, in lower case and without a dot at the end; the kinds of key of one name in order of preference.
    names: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what follows the star and the dot of a wildcard.
    wildcards: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// One certificate for everybody.
    pub fn new(default: Arc<CertifiedKey>) -> Self {
        Self {
            default,
            names: HashMap::new(),
            wildcards: HashMap::new(),
        }
    }

    /// Adds a certificate for a name of it, or for a wildcard: `www.example.com`, `*.example.com`. The first one
    /// added is preferred among those of one name.
    pub fn add(&mut self, name: &str, certificate: Arc<CertifiedKey>) {
        let name = canonical(name);
        let (map, key) = match name.strip_prefix("*.") {
            Some(under) => (&mut self.wildcards, under),
            None => (&mut self.names, name.as_str()),
        };
        map.entry(key.into()).or_default().push(certificate);
    }

    /// Whether there is a certificate for the name that a client asks for.
    pub fn cover(&self, name: &str) -> bool {
        self.of(name).is_some()
    }

    /// Whether a client that asked for one name may go on to another on the same connection: a certificate that it can
    /// have been shown is that of the other, too.
    pub fn join(&self, name: &str, other: &str) -> bool {
        let of = |name| self.of(name).unwrap_or(std::slice::from_ref(&self.default));
        let is_same = |a: &Arc<CertifiedKey>| of(other).iter().any(|b| Arc::ptr_eq(a, b));
        of(name).iter().any(is_same)
    }

    fn of(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let name = canonical(name);
        let found = self.names.get(name.as_str()).or_else(|| {
            // A star stands for one label.
            let (_, under) = name.split_once('.')?;
            self.wildcards.get(under)
        });
        found.map(Vec::as_slice)
    }
}

/// Names are compared without regard to case (RFC 6066 §3); a dot at the end changes nothing.
fn canonical(name: &str) -> String {
    let mut name = name.to_ascii_lowercase();
    if name.ends_with('.') {
        name.pop();
    }
    name
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = hello.server_name().and_then(|name| self.of(name));
        let candidates = candidates.unwrap_or(std::slice::from_ref(&self.default));
        let fits = |certificate: &&Arc<CertifiedKey>| {
            let schemes = hello.signature_schemes();
            certificate.key.choose_scheme(schemes).is_some()
        };
        // One that does not fit gets the client an alert that names the reason.
        let chosen = candidates.iter().find(fits).or(candidates.first());
        chosen.cloned()
    }
}
