//! Streams of bytes, each on a thread of its own that may wait. What counts is what the receiving
//! end got: up the server tells it, down it is read here.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use ringgate_benches::{ENDLESS, Exchange, HEADER_BYTES};
use serde_json::json;

use crate::options::{Bulk, Direction};
use crate::report::Report;
use crate::stream::Stream;
use crate::tls::TlsClient;

/// Bytes read or written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Streams for as long as asked.
///
/// # Errors
/// None of a stream's: those are in the report.
pub(crate) fn run(server: SocketAddr, tls: Option<&TlsClient>, bulk: &Bulk) -> io::Result<Report> {
    let start = Instant::now();
    let end = start + bulk.seconds;
    let stream = match bulk.direction {
        Direction::Up => up,
        Direction::Down => down,
    };
    let results: Vec<io::Result<u64>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..bulk.streams)
            .map(|_| scope.spawn(|| stream(server, tls, end)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            })
            .collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let mut report = Report {
        figures: Vec::new(),
        errors: Default::default(),
    };
    let mut bytes = 0;
    for result in results {
        match result {
            Ok(count) => bytes += count,
            Err(error) => *report.errors.entry(error.to_string()).or_default() += 1,
        }
    }
    report.figures = vec![
        ("streams", json!(bulk.streams)),
        ("seconds", json!(seconds)),
        ("bytes", json!(bytes)),
        ("gbit_per_second", json!(bytes as f64 * 8.0 / seconds / 1e9)),
    ];
    Ok(report)
}

/// Sends until the end and asks the server how much came.
fn up(server: SocketAddr, tls: Option<&TlsClient>, end: Instant) -> io::Result<u64> {
    let mut stream = open(
        server,
        tls,
        Exchange {
            request: ENDLESS,
            reply: 8,
        },
    )?;
    let buffer = vec![0; BUFFER_BYTES];
    let mut sent = HEADER_BYTES as u64;
    while Instant::now() < end {
        sent += stream.write(&buffer)? as u64;
    }
    stream.end()?;
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    let received = u64::from_be_bytes(count);
    if received != sent {
        return Err(io::Error::other(format!(
            "{received} of {sent} bytes arrived"
        )));
    }
    Ok(received)
}

/// Reads until the end.
fn down(server: SocketAddr, tls: Option<&TlsClient>, end: Instant) -> io::Result<u64> {
    let mut stream = open(
        server,
        tls,
        Exchange {
            request: HEADER_BYTES as u64,
            reply: ENDLESS,
        },
    )?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut received = 0;
    while Instant::now() < end {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => received += count as u64,
        }
    }
    Ok(received)
}

fn open(server: SocketAddr, tls: Option<&TlsClient>, exchange: Exchange) -> io::Result<Stream> {
    let mut stream = Stream::open(server, tls)?;
    stream.write_all(&exchange.header())?;
    stream.flush()?;
    Ok(stream)
}
