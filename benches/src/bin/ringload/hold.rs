//! Connections that have one exchange and are then idle, for as long as asked: what each costs
//! whoever holds the other end can be looked at meanwhile.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringgate_benches::{Interest, Readiness};
use serde_json::json;

use crate::options::Hold;
use crate::report::Report;
use crate::request::Request;
use crate::stream::Stream;
use crate::tls::TlsClient;

/// Opens the connections, says `holding` when all have had their exchange, holds them, and looks
/// which are still there.
///
/// # Errors
/// When not all could be opened.
pub(crate) fn run(server: SocketAddr, tls: Option<&TlsClient>, hold: &Hold) -> io::Result<Report> {
    let request = Request::new(&hold.shape, server);
    let mut buffer = vec![0; 64 * 1024];
    let start = Instant::now();
    let streams = (0..hold.connections)
        .map(|_| {
            let mut stream = Stream::open(server, tls)?;
            exchange(&mut stream, &request, &mut buffer)?;
            Ok(stream)
        })
        .collect::<io::Result<Vec<_>>>()?;
    let opened = start.elapsed();
    println!("holding {}", streams.len());
    io::stdout().flush()?;
    match hold.seconds {
        Some(length) => std::thread::sleep(length),
        None => drop(io::stdin().read_to_end(&mut Vec::new())?),
    }
    let mut report = Report {
        figures: vec![
            ("connections", json!(streams.len())),
            ("opened_seconds", json!(opened.as_secs_f64())),
            (
                "held_seconds",
                json!((start.elapsed() - opened).as_secs_f64()),
            ),
        ],
        errors: Default::default(),
    };
    let disturbed = disturbed(&streams)?;
    if disturbed > 0 {
        let why = "was closed or got bytes while it was idle";
        report.errors.insert(why.to_owned(), disturbed);
    }
    Ok(report)
}

fn exchange(stream: &mut Stream, request: &Request, buffer: &mut [u8]) -> io::Result<()> {
    stream.write_all(&request.bytes)?;
    stream.flush()?;
    let mut reply = request.reply();
    while !reply.is_complete() {
        match stream.read(buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => reply.take(&buffer[..count])?,
        }
    }
    Ok(())
}

/// How many of the streams have something to read, be it their end.
fn disturbed(streams: &[Stream]) -> io::Result<u64> {
    let mut readiness = Readiness::new()?;
    for (key, stream) in streams.iter().enumerate() {
        readiness.add(stream.socket(), key as u64, Interest::Readable)?;
    }
    // More than fit into one wait are as bad as those that do.
    Ok(readiness.wait(Some(Duration::ZERO))?.count() as u64)
}
