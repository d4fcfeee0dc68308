//! What a certificate says of itself: for which names it is good, and for how long. It reads chains that are to be
//! shown; whom to trust is decided elsewhere.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, DnsName};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::problem::Fault;

const SECONDS_PER_DAY: i64 = 86_400;

/// A certificate that ends sooner than this is warned about.
const SOON_DAYS: i64 = 14;

/// A certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What it is called: its first name, or the common name of its subject, or its file's name.
    pub name: String,
    /// The DNS names it is good for, in lower case; one may begin with `*.`.
    pub names: Vec<String>,
    /// Where it was read from.
    pub file: PathBuf,
    /// The second since 1970 (UTC) from which on it is good.
    pub not_before: i64,
    /// The last second since 1970 (UTC) in which it is good.
    pub not_after: i64,
}

/// How a certificate stands against the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is good, and will be for a while.
    Good,
    /// It is not good yet.
    TooEarly,
    /// It ends in so many whole days.
    EndsSoon(i64),
    /// It has ended.
    Expired,
}

impl Certificate {
    /// What the first certificate of a chain says, of which each must have been signed by the next.
    pub(super) fn of(chain: &[CertificateDer<'_>], file: &Path) -> Result<Certificate, Fault> {
        let mut parsed = Vec::with_capacity(chain.len());
        for (at, der) in (1..).zip(chain) {
            let (_, certificate) = X509Certificate::from_der(der).map_err(|error| {
                Fault::new(format!(
                    "certificate {at} in {} is malformed: {error}",
                    file.display()
                ))
            })?;
            parsed.push(certificate);
        }
        let Some(own) = parsed.first() else {
            return Err(Fault::new(format!(
                "{} holds no certificate",
                file.display()
            )));
        };
        check_order(&parsed, file)?;
        let names = dns_names(own);
        let name = names
            .first()
            .cloned()
            .or_else(|| common_name(own))
            .unwrap_or_else(|| {
                file.file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into()
            });
        Ok(Certificate {
            name,
            names,
            file: file.to_owned(),
            not_before: own.validity().not_before.timestamp(),
            not_after: own.validity().not_after.timestamp(),
        })
    }

    /// How it stands at `now`.
    pub fn standing(&self, now: SystemTime) -> Standing {
        let now = seconds(now);
        match self.not_after - now {
            left if left < 0 => Standing::Expired,
            _ if now < self.not_before => Standing::TooEarly,
            left if left < SOON_DAYS * SECONDS_PER_DAY => {
                Standing::EndsSoon(left / SECONDS_PER_DAY)
            }
            _ => Standing::Good,
        }
    }
}

/// Whether the certificate is one that signs others.
pub(super) fn is_authority(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| certificate.is_ca())
}

/// A moment in the words of RFC 3339.
pub(super) fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| format!("second {seconds}"), |moment| moment.to_string())
}

fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |by| -by),
    }
}

/// Clients need not put a chain into order (RFC 5246 §7.4.2 demands it of servers, and many rely on it).
fn check_order(chain: &[X509Certificate<'_>], file: &Path) -> Result<(), Fault> {
    for (at, pair) in (1..).zip(chain.windows(2)) {
        let [signed, signer] = pair else { continue };
        if signed.issuer().as_raw() == signer.subject().as_raw() {
            continue;
        }
        return Err(Fault::new(format!(
            "the chain in {} is out of order: certificate {at} ({}) is signed by `{}`, but certificate {} is `{}`",
            file.display(),
            signed.subject(),
            signed.issuer(),
            at + 1,
            signer.subject(),
        ))
        .advise("the own certificate stands first, then the one that signed it, and so on"));
    }
    Ok(())
}

/// The names of its subject that a client can ask for; of a certificate without alternative names, the common name,
/// which clients no longer look at (RFC 9525 §2), but which still tells what it was made for.
fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let found: Vec<String> = match alternative {
        Some(names) => names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .collect(),
        None => common_name(certificate).into_iter().collect(),
    };
    let mut seen = HashSet::new();
    found
        .into_iter()
        .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
        .filter(|name| DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok())
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tls::testing::{Authority, Made, leaf, made};

    fn of(made: &Made) -> Certificate {
        let chain = std::slice::from_ref(&made.certificate);
        Certificate::of(chain, Path::new("/x/file.pem")).unwrap()
    }

    #[test]
    fn names_are_those_of_the_alternative_name_in_lower_case_without_what_is_none() {
        let names = [
            "WWW.example.com",
            "*.Example.com",
            "www.example.com",
            "10.0.0.1",
        ];
        let certificate = of(&made(&names));
        assert_eq!(certificate.names, ["www.example.com", "*.example.com"]);
        assert_eq!(certificate.name, "www.example.com");
    }

    #[test]
    fn without_alternative_names_the_common_name_counts() {
        let mut parameters = leaf(&[]);
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "old.example.com");
        let certificate = of(&Made::from(parameters));
        assert_eq!(certificate.names, ["old.example.com"]);
        let mut parameters = leaf(&[]);
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Some Appliance");
        let certificate = of(&Made::from(parameters));
        assert!(certificate.names.is_empty());
        assert_eq!(certificate.name, "Some Appliance");
    }

    #[test]
    fn a_chain_must_be_in_order() {
        let root = Authority::new("root");
        let middle = root.authority("middle");
        let own = middle.sign(leaf(&["a.example"]));
        let other = Authority::new("other");
        let (own, middle, root) = (&own.certificate, &middle.certificate, &root.certificate);
        let check = |chain: &[&CertificateDer<'static>], expected: Option<&str>| {
            let chain: Vec<_> = chain.iter().map(|der| (*der).clone()).collect();
            let what = Certificate::of(&chain, Path::new("f"))
                .err()
                .map(|fault| fault.what);
            match expected {
                None => assert_eq!(what, None),
                Some(part) => assert!(what.clone().unwrap().contains(part), "{what:?}"),
            }
        };
        check(&[own], None);
        check(&[own, middle], None);
        check(&[own, middle, root], None);
        check(
            &[own, root],
            Some("certificate 1 (CN=a.example) is signed by `CN=middle`"),
        );
        check(
            &[own, middle, &other.certificate],
            Some("certificate 3 is `CN=other`"),
        );
        check(&[], Some("holds no certificate"));
    }

    #[test]
    fn a_certificate_stands_against_the_clock() {
        let certificate = Certificate {
            name: String::new(),
            names: Vec::new(),
            file: PathBuf::new(),
            not_before: 1_000_000,
            not_after: 1_000_000 + 90 * SECONDS_PER_DAY,
        };
        let check = |after: i64, expected: Standing| {
            let now = UNIX_EPOCH + Duration::from_secs((1_000_000 + after) as u64);
            assert_eq!(certificate.standing(now), expected, "{after}");
        };
        check(-1, Standing::TooEarly);
        check(0, Standing::Good);
        check(76 * SECONDS_PER_DAY, Standing::Good);
        check(76 * SECONDS_PER_DAY + 1, Standing::EndsSoon(13));
        check(90 * SECONDS_PER_DAY, Standing::EndsSoon(0));
        check(90 * SECONDS_PER_DAY + 1, Standing::Expired);
    }

    #[test]
    fn garbage_is_malformed() {
        let what = Certificate::of(&[CertificateDer::from(vec![1, 2, 3])], Path::new("f"))
            .unwrap_err()
            .what;
        assert!(what.contains("certificate 1 in f is malformed"), "{what}");
    }

    #[test]
    fn no_certificate_however_broken_is_a_panic() {
        let whole = made(&["a.example", "*.b.example", "10.0.0.1"]).certificate;
        let try_it = |bytes: Vec<u8>| {
            let der = CertificateDer::from(bytes);
            let _ = (
                Certificate::of(&[der.clone(), der.clone()], Path::new("f")),
                is_authority(&der),
            );
        };
        for at in 0..whole.len() {
            try_it(whole[..at].to_vec());
            for bit in 0..8 {
                let mut broken = whole.to_vec();
                broken[at] ^= 1 << bit;
                try_it(broken);
            }
        }
    }
}
