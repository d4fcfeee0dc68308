//! The files that a plan names, read and found good before anything is bound. What is wrong with them is told like a
//! mistake of the configuration, at the place that names them.

use std::time::SystemTime;

use ringgate_config::{Mistakes, Places, Plan};
use ringgate_control::tls::{self, Material};

use crate::failure::Failure;

/// Reads every file that `plan` names, for so many workers. `places` are those of the same configuration.
///
/// # Errors
/// With every problem of every file.
pub(crate) fn read(plan: &Plan, places: &Places, workers: usize) -> Result<Material, Failure> {
    tls::load(plan, workers, SystemTime::now()).map_err(|problems| {
        let mistakes = problems
            .into_iter()
            .map(|problem| places.mistake(&problem.key, problem.what, problem.advice));
        match Mistakes::of(mistakes) {
            Some(mistakes) => mistakes.into(),
            None => Failure::new("the files of the configuration cannot be read"),
        }
    })
}
