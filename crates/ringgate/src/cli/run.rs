//! `ringgate run`: serve what a file says until told to stop.

use std::path;

use clap::Args;
use clap::builder::PossibleValuesParser;
use ringgate_config::{Io, LogLevel, Override, Workers};

use crate::cli::file::File;
use crate::failure::Failure;
use crate::process::Process;

/// Serve what a configuration file says
///
/// Nothing is bound before the whole file is good. SIGTERM, SIGINT and SIGQUIT drain: the listeners close and
/// connections may finish for as long as `timeouts.drain` says; a second one stops at once.
#[derive(Args, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    file: File,

    /// How many engine threads: `auto` is one per core
    #[arg(long, value_name = "N", value_parser = worker_count)]
    workers: Option<String>,

    /// How a worker talks to the kernel
    #[arg(long, value_name = "IO", value_parser = PossibleValuesParser::new(Io::ALL.iter().map(|io| io.word())))]
    io: Option<String>,

    /// The least severe event that the process log shows
    #[arg(
        long,
        value_name = "LEVEL",
        value_parser = PossibleValuesParser::new(LogLevel::ALL.iter().map(|level| level.word()))
    )]
    log_level: Option<String>,
}

impl Run {
    pub(crate) fn act(mut self) -> Result<(), Failure> {
        let named = [
            ("--workers", "workers", self.workers.take()),
            ("--io", "io", self.io.take()),
            ("--log-level", "log.level", self.log_level.take()),
        ];
        for (flag, key, value) in named {
            self.file
                .overrides
                .extend(value.map(|value| Override::flag(flag, key, value)));
        }
        let (plan, places) = self.file.load()?;
        // Whoever asks for the status stands elsewhere. It fails only where there is no working directory any more.
        let config = path::absolute(&self.file.path).unwrap_or(self.file.path);
        Process::start(plan, &places, Some(config))?.serve()
    }
}

/// The text, when it is a value of `workers`.
fn worker_count(text: &str) -> Result<String, String> {
    text.parse::<Workers>().map(|_| text.to_owned())
}
