//! Ringgate, the process: one binary for the operator and for the service manager. This file is its table of
//! contents; what a verb does stands in `cli/`, and what the data plane does stands in other rooms.

mod cli;
mod demo;
mod failure;
mod material;
mod print;
mod process;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            ExitCode::FAILURE
        }
    }
}
