//! The files that a plan names, read and found good before anything is bound. What is wrong with them is told like a
//! mistake of the configuration, at the place that names them.

use std::time::SystemTime;

use ringgate_config::{Mistakes, Places, Plan};
use ringgate_control::auth::Credentials;
use ringgate_control::tls::{self, Material};

use crate::failure::Failure;

/// Reads every file that `plan` names, for so many workers. `places` are those of the same configuration.
///
/// # Errors
/// With every problem of every file.
pub(crate) fn read(
    plan: &Plan,
    places: &Places,
    workers: usize,
) -> Result<(Material, Credentials), Failure> {
    let material = tls::load(plan, workers, SystemTime::now());
    let problems = match (material, Credentials::read(plan)) {
        (Ok(material), Ok(credentials)) => return Ok((material, credentials)),
        (material, credentials) => {
            let of_tls = material.err().unwrap_or_default();
            let of_credentials = credentials.err().unwrap_or_default();
            of_tls.into_iter().chain(of_credentials)
        }
    };
    let mistakes =
        problems.map(|problem| places.mistake(&problem.key, problem.what, problem.advice));
    Err(match Mistakes::of(mistakes) {
        Some(mistakes) => mistakes.into(),
        None => Failure::new("the files of the configuration cannot be read"),
    })
}
