//! The command line: the verbs and what each takes. One file per verb in `cli/` does the work; a verb is here exactly
//! when it works.

mod check;
mod completions;
mod demo;
mod file;
mod man;
mod run;
mod schema;
mod status;
mod token;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// A load balancer for TCP, TLS and HTTP
///
/// Ringgate accepts connections, ends their TLS or passes it through, chooses one of several servers for each, and moves
/// the bytes both ways, on io_uring or, where that is refused, on epoll. With `http` on a listener it is a gateway: it
/// authenticates, limits, routes and logs each request. It watches the servers, tries the next one when one does not
/// answer, and drains before it stops.
#[derive(Debug, Parser)]
#[command(
    name = "ringgate",
    version,
    arg_required_else_help = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
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
    Token(token::Token),
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
            Verb::Token(token) => token.act(),
            Verb::Completions(completions) => completions.act(),
            Verb::Man(man) => man.act(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_cannot_be_a_number_of_workers_is_wrong_usage() {
        let check = |count: &str, is_good: bool| {
            let parsed = Cli::try_parse_from(["ringgate", "run", "--workers", count]);
            assert_eq!(parsed.is_ok(), is_good, "{count}");
            let is_about_the_value =
                |error: clap::Error| error.kind() == ErrorKind::ValueValidation;
            assert!(parsed.err().is_none_or(is_about_the_value), "{count}");
        };
        check("auto", true);
        check("1", true);
        check("256", true);
        check("0", false);
        check("999", false);
        check("abc", false);
        check("", false);
    }

    #[test]
    fn help_is_a_verb_too() {
        let check = |args: &[&str], expected: &str| {
            let answer = Cli::try_parse_from(args).unwrap_err();
            assert_eq!(answer.kind(), ErrorKind::DisplayHelp, "{args:?}");
            assert!(answer.to_string().contains(expected), "{args:?}: {answer}");
        };
        check(&["ringgate", "help"], "Verbs:");
        check(&["ringgate", "help", "check"], "--effective");
        check(&["ringgate", "help", "demo"], "the demo's configuration");
    }
}
