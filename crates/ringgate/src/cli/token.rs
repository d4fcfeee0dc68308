//! `ringgate token`: make what a client shows to be let in. The secret is printed once and kept nowhere; the file gets a
//! hash of it.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ringgate_config::{Auth, Plan};
use ringgate_control::auth::issue;

use crate::cli::file::File;
use crate::failure::Failure;
use crate::print::{note, print};

/// Make tokens and passwords of clients
#[derive(Args, Debug)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub(crate) struct Token {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    New(New),
}

/// Make a token for a client, and print its secret
///
/// The secret is printed once, and a line with its hash is appended to the tokens file: the one that is named with
/// --file, or the only one of the configuration. A Ringgate that serves takes it over by itself.
#[derive(Args, Debug)]
struct New {
    /// Who the client is, in log, limits and the field for the server
    #[arg(value_name = "NAME")]
    name: String,

    /// What it may do, with commas between
    #[arg(long, value_name = "SCOPE,SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,

    /// Append to this file, whatever the configuration says; it is made when there is none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "overrides"])]
    file: Option<PathBuf>,

    /// Instead of a token, take a password from the standard input and append to the users file
    #[arg(long)]
    password: bool,

    #[command(flatten)]
    config: File,
}

impl Token {
    pub(crate) fn act(self) -> Result<(), Failure> {
        match self.verb {
            Verb::New(new) => new.act(),
        }
    }
}

impl New {
    fn act(self) -> Result<(), Failure> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.configured()?,
        };
        let is_new = !file.exists();
        let secret = match self.password {
            false => Some(issue::token(&file, &self.name, &self.scopes).map_err(Failure::new)?),
            true => {
                issue::user(&file, &self.name, &password()?, &self.scopes).map_err(Failure::new)?;
                None
            }
        };
        let shown = file.display();
        note(format_args!("`{}` is in {shown}", self.name));
        if is_new {
            note(format_args!(
                "{shown} is new, and only you may read it: the user that Ringgate runs as must be able to"
            ));
        }
        match secret {
            Some(secret) => print(&secret),
            None => Ok(()),
        }
    }

    /// The one file of the configuration.
    fn configured(&self) -> Result<PathBuf, Failure> {
        let (plan, _) = self.config.load()?;
        let (key, file): (_, fn(&Auth) -> Option<&PathBuf>) = match self.password {
            false => ("tokens_file", |auth| auth.tokens_file.as_ref()),
            true => ("users_file", |auth| auth.users_file.as_ref()),
        };
        let mut files: Vec<&PathBuf> = auths(&plan).filter_map(file).collect();
        files.sort();
        files.dedup();
        let config = self.config.path.display();
        match files[..] {
            [file] => Ok(file.clone()),
            [] => Err(Failure::new(format_args!("{config} names no {key}"))
                .with_advice("name the file: --file FILE")),
            _ => {
                let names: Vec<String> = files
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect();
                let names = names.join(", ");
                Err(
                    Failure::new(format_args!("{config} names more than one {key}: {names}"))
                        .with_advice("name one of them: --file FILE"),
                )
            }
        }
    }
}

/// Every configuration that asks who a client is.
fn auths(plan: &Plan) -> impl Iterator<Item = &Auth> {
    let https = plan
        .listeners
        .iter()
        .filter_map(|listener| listener.http.as_ref());
    https.flat_map(|http| {
        let routes = http
            .routes
            .iter()
            .filter_map(|route| route.stages.auth.as_ref());
        http.stages.auth.iter().chain(routes)
    })
}

/// The first line of the standard input.
fn password() -> Result<String, Failure> {
    let input = std::io::stdin().lock();
    if input.is_terminal() {
        note("type the password, which is shown as you type, and press Enter");
    }
    match input.lines().next() {
        Some(Ok(line)) => Ok(line),
        Some(Err(error)) => Err(Failure::new(format_args!(
            "cannot read the password: {error}"
        ))),
        None => Err(Failure::new("there is no password on the standard input")),
    }
}
