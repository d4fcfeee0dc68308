//! The load generator: exchanges on kept or on new connections, at full speed or at a fixed rate;
//! handshakes without any; idle connections to hold; streams. All of it goes over TCP or over TLS.
//! It counts every failure, and a run with one is no result: it ends with 1.

mod bulk;
mod connection;
mod exchanges;
mod hold;
mod options;
mod pace;
mod reply;
mod report;
mod request;
mod stream;
mod tls;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use exchanges::Connections;
use options::{Exchanges, Handshakes, Mode, Options};
use report::Report;
use request::Request;
use tls::TlsClient;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
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

fn run(options: &Options) -> io::Result<Report> {
    let server = options.connect;
    let tls = (options.tls.tls || options.tls.resume).then(|| TlsClient::new(&options.tls));
    match &options.mode {
        Mode::Rr(Exchanges { load, shape }) => {
            let request = Request::new(shape, server);
            exchanges::run(server, tls, load, request, Connections::Kept)
        }
        Mode::Crr(Exchanges { load, shape }) => {
            let request = Request::new(shape, server);
            exchanges::run(server, tls, load, request, Connections::New)
        }
        Mode::Handshakes(Handshakes { load, abandon }) => {
            let client = TlsClient::new(&options.tls);
            let (tls, request) = match abandon {
                true => (None, Request::hello(client.hello()?)),
                false => (Some(client), Request::NONE),
            };
            exchanges::run(server, tls, load, request, Connections::Flood)
        }
        Mode::Hold(hold) => hold::run(server, tls.as_ref(), hold),
        Mode::Bulk(bulk) => bulk::run(server, tls.as_ref(), bulk),
    }
}
