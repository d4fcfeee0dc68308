//! What is said of certificates that end: in the log, in what `check` notes, and on the page of metrics. It looks at
//! the clock and at nothing else.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use ringgate_config::Plan;

use super::Material;
use super::certificate::{Certificate, Standing, moment};

/// A certificate that needs someone's attention.
#[derive(Debug)]
pub(super) struct Warning<'a> {
    /// Who shows it: ``listener `web` ``.
    whose: String,
    certificate: &'a Certificate,
    pub(super) standing: Standing,
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Warning {
            whose, certificate, ..
        } = self;
        let (name, file) = (&certificate.name, certificate.file.display());
        write!(f, "{whose}: the certificate of `{name}` in {file} ")?;
        match self.standing {
            Standing::Good => f.write_str("is good"),
            Standing::TooEarly => {
                write!(f, "is not good before {}", moment(certificate.not_before))
            }
            Standing::EndsSoon(0) => write!(
                f,
                "ends in less than a day, on {}",
                moment(certificate.not_after)
            ),
            Standing::EndsSoon(1) => {
                write!(f, "ends in 1 day, on {}", moment(certificate.not_after))
            }
            Standing::EndsSoon(days) => {
                write!(
                    f,
                    "ends in {days} days, on {}",
                    moment(certificate.not_after)
                )
            }
            Standing::Expired => write!(
                f,
                "HAS EXPIRED on {}: clients refuse it",
                moment(certificate.not_after)
            ),
        }
    }
}

/// Every certificate that needs attention at `now`.
pub(super) fn warnings<'a>(
    material: &'a Material,
    plan: &Plan,
    now: SystemTime,
) -> Vec<Warning<'a>> {
    all(material, plan)
        .map(|(whose, certificate)| Warning {
            whose,
            certificate,
            standing: certificate.standing(now),
        })
        .filter(|warning| warning.standing != Standing::Good)
        .collect()
}

/// Logs [`warnings`]; one that has expired, as an error.
pub(super) fn log(material: &Material, plan: &Plan, now: SystemTime) {
    for warning in warnings(material, plan, now) {
        match warning.standing {
            Standing::Expired => tracing::error!("{warning}"),
            _ => tracing::warn!("{warning}"),
        }
    }
}

/// The last second of each certificate that is shown to clients, by a name of its own: what it is called, and for
/// the second and further ones of one name, with the file. One file is one row, in whatever listeners.
pub(super) fn ends(material: &Material) -> Vec<(String, i64)> {
    let mut files: BTreeMap<&Path, &Certificate> = BTreeMap::new();
    for listener in 0..material.listeners.len() {
        for certificate in material.certificates(listener) {
            let known = files.entry(&certificate.file).or_insert(certificate);
            if certificate.not_after < known.not_after {
                *known = certificate;
            }
        }
    }
    let mut taken: HashMap<&str, ()> = HashMap::new();
    let mut rows: Vec<(String, i64)> = files
        .into_values()
        .map(|certificate| {
            let name = match taken.insert(&certificate.name, ()) {
                None => certificate.name.clone(),
                Some(()) => format!("{} ({})", certificate.name, certificate.file.display()),
            };
            (name, certificate.not_after)
        })
        .collect();
    rows.sort();
    rows
}

/// All certificates that are shown to anyone, with who shows them.
fn all<'a>(material: &'a Material, plan: &Plan) -> impl Iterator<Item = (String, &'a Certificate)> {
    let listeners = plan
        .listeners
        .iter()
        .enumerate()
        .flat_map(|(at, listener)| {
            let whose = format!("listener `{}`", listener.name);
            material
                .certificates(at)
                .map(move |certificate| (whose.clone(), certificate))
        });
    let pools = plan.pools.iter().enumerate().filter_map(|(at, pool)| {
        let identity = material.pool(at)?.identity.as_ref()?;
        Some((format!("pool `{}`", pool.name), &identity.certificate))
    });
    listeners.chain(pools)
}
