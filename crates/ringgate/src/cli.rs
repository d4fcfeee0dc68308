//! The command line: the verbs and what each takes. One file per verb in `cli/` does the work; a verb that does not
//! work yet is not here.

mod check;
mod completions;
mod demo;
mod file;
mod man;
mod run;
mod schema;
mod status;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// A TCP load balancer on io_uring
///
/// Ringgate accepts TCP connections, chooses one of several servers for each, and moves the bytes between the two.
/// It watches the servers, tries the next one when one does not answer, and drains before it stops.
#[derive(Debug, Parser)]
#[command(
    name = "ringgate",
    version,
    arg_required_else_help = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Check(check::Check),
    Schema(schema::Schema),
    Status(status::Status),
    Demo(demo::Demo),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Cli {
    /// Does what was asked for, and returns when it is done.
    ///
    /// # Errors
    /// When it could not be done; the failure is not told yet.
    pub(crate) fn act(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Run(run) => run.act(),
            Verb::Check(check) => check.act(),
            Verb::Schema(schema) => schema.act(),
            Verb::Status(status) => status.act(),
            Verb::Demo(demo) => demo.act(),
            Verb::Completions(completions) => completions.act(),
            Verb::Man(man) => man.act(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
