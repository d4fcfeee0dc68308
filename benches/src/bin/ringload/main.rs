//! The load generator: exchanges on kept or on new connections, at full speed or at a fixed rate;
//! idle connections to hold; streams. It counts every failure, and a run with one is no result: it
//! ends with 1.

mod bulk;
mod connection;
mod exchanges;
mod hold;
mod options;
mod pace;
mod reply;
mod report;
mod request;

use std::process::ExitCode;

use clap::Parser;

use options::{Mode, Options};

fn main() -> ExitCode {
    let options = Options::parse();
    let report = match &options.mode {
        Mode::Rr(load) => exchanges::run(&options, load, exchanges::Connections::Kept),
        Mode::Crr(load) => exchanges::run(&options, load, exchanges::Connections::New),
        Mode::Hold(hold) => hold::run(&options, hold),
        Mode::Bulk(bulk) => bulk::run(&options, bulk),
    };
    match report {
        Ok(report) => {
            report.print(options.json);
            ExitCode::from(u8::from(!report.is_valid()))
        }
        Err(error) => {
            eprintln!("ringload: {error}");
            ExitCode::FAILURE
        }
    }
}
