//! `ringgate check`: say whether a file is good, with the files that it names, and what it comes to. It never binds,
//! connects or resolves anything.

use std::time::SystemTime;

use clap::Args;
use ringgate_config::Plan;

use crate::cli::file::File;
use crate::failure::Failure;
use crate::material;
use crate::print::{note, print};

/// Check a configuration file
///
/// Prints every mistake with its place and exits with 1, or one line and exits with 0. The certificates, keys and other
/// files that it names are read too; nothing is fetched. A pool that no listener uses is only noted, and so is a
/// certificate that ends soon, and what HTTP can reach without authentication beside what needs it.
#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    file: File,

    /// Print the file with its defaults filled in
    #[arg(long)]
    effective: bool,
}

impl Check {
    pub(crate) fn act(self) -> Result<(), Failure> {
        let (plan, places) = self.file.load()?;
        let (material, credentials) = material::read(&plan, &places, 1)?;
        for pool in plan.unused_pools() {
            note(format_args!("pool `{}` is used by no listener", pool.name));
        }
        for remark in plan.remarks() {
            let remark = places.mistake(&remark.key, remark.what, [remark.advice]);
            note(remark);
        }
        for warning in material.warnings(&plan, SystemTime::now()) {
            note(warning);
        }
        for warning in credentials.warnings() {
            note(warning);
        }
        if self.effective {
            return print(&ringgate_config::effective(&plan));
        }
        print(&format!(
            "{}: good: {}",
            self.file.path.display(),
            contents(&plan)
        ))
    }
}

/// How much of what a plan holds.
fn contents(plan: &Plan) -> String {
    let servers = plan.pools.iter().map(|pool| pool.servers.len()).sum();
    let count = |number: usize, thing: &str| {
        format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
    };
    [
        count(plan.listeners.len(), "listener"),
        count(plan.pools.len(), "pool"),
        count(servers, "server"),
    ]
    .join(", ")
}
