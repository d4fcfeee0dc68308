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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::Directory;
    use crate::tls::load;
    use crate::tls::testing::{Made, expired, leaf, made, tls_plan};

    #[test]
    fn each_certificate_has_one_row_with_a_name_of_its_own() {
        let directory = Directory::new();
        let root = directory.path("");
        made(&["a.example"]).write(&root, "a");
        made(&["a.example"]).write(&root, "b");
        expired(&["c.example"]).write(&root, "c");
        let mut plan = tls_plan(&root);
        plan.listeners.push(plan.listeners[0].clone());
        let material = load(&plan, 1, SystemTime::now()).unwrap();
        let rows = ends(&material);
        let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
        let second = format!("a.example ({})", root.join("b.pem").display());
        assert_eq!(names, ["a.example", &second, "c.example"]);
        assert_eq!(rows[2].1, 978_307_200);
    }

    #[test]
    fn what_ends_soon_or_has_ended_is_warned_about() {
        let directory = Directory::new();
        let root = directory.path("");
        let mut parameters = leaf(&["a.example"]);
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2020, 4, 1);
        Made::from(parameters).write(&root, "a");
        let plan = tls_plan(&root);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_585_699_200);
        let day = Duration::from_secs(86_400);
        let material = load(&plan, 1, end - 30 * day).unwrap();
        for (now, expected) in [
            (end - 30 * day, None),
            (
                end - 2 * day,
                Some("ends in 2 days, on 2020-04-01T00:00:00Z"),
            ),
            (end - day, Some("ends in 1 day,")),
            (end - day / 2, Some("ends in less than a day")),
            (end + day, Some("HAS EXPIRED on 2020-04-01T00:00:00Z")),
            (
                end - 365 * day,
                Some("is not good before 2020-01-01T00:00:00Z"),
            ),
        ] {
            let found: Vec<String> = warnings(&material, &plan, now)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(
                expected.is_none_or(|part| found[0].contains(part)),
                "{found:?}"
            );
        }
    }
}
