//! The command line of `ringload`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;

/// Puts load on a ringserve, directly or through what is to be measured.
#[derive(Parser)]
#[command(name = "ringload")]
pub(crate) struct Options {
    /// Where to connect to
    #[arg(
        long,
        value_name = "ADDRESS",
        global = true,
        default_value = "127.0.0.1:9001"
    )]
    pub(crate) connect: SocketAddr,
    /// Print one line of JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

/// What kind of load.
#[derive(Subcommand)]
pub(crate) enum Mode {
    /// Exchanges on kept connections
    Rr(Exchanges),
    /// Connect, one exchange, close, again and again
    Crr(Exchanges),
    /// Connect, one TLS handshake, close, again and again
    Handshakes(Handshakes),
    /// Connections that have one exchange and are then idle
    Hold(Hold),
    /// Streams of bytes
    Bulk(Bulk),
}

/// TLS.
#[derive(Args)]
pub(crate) struct TlsOptions {
    /// Speak TLS 1.3 with X25519, take every certificate
    #[arg(long, global = true)]
    pub(crate) tls: bool,
    /// With TLS, and resume a session on each connection but the first ones
    #[arg(long, global = true)]
    pub(crate) resume: bool,
    /// The only cipher to offer, such as TLS13_AES_128_GCM_SHA256
    #[arg(long, value_name = "NAME", global = true, value_parser = cipher)]
    pub(crate) cipher: Option<SupportedCipherSuite>,
    /// The server's name
    #[arg(long, value_name = "NAME", global = true, default_value = "localhost", value_parser = server_name)]
    pub(crate) sni: ServerName<'static>,
}

/// Exchanges.
#[derive(Args)]
pub(crate) struct Exchanges {
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

/// Handshakes.
#[derive(Args)]
pub(crate) struct Handshakes {
    #[command(flatten)]
    pub(crate) load: Load,
    /// Close at the server's first message, as a flood does: the same first message each time and
    /// no cryptography here, all of it there
    #[arg(long)]
    pub(crate) abandon: bool,
}

/// How much at a time, how long, how fast.
#[derive(Args)]
pub(crate) struct Load {
    /// Exchanges at the same time, at most
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// How long to start exchanges
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Exchanges per second, begun on time whether or not earlier ones have ended; latency counts
    /// from that time. Without it, the next begins when one ends
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,
}

/// What is asked and answered.
#[derive(Args)]
pub(crate) struct Shape {
    /// Bytes of a request
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(16..=1 << 30))]
    pub(crate) request: u64,
    /// Bytes of a reply
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) reply: u64,
    /// Ask by HTTP/1.1 for a body of that many bytes: GET, or POST where there is a body to send
    #[arg(long, conflicts_with = "request")]
    pub(crate) http: bool,
    /// Bytes of the body of an HTTP request
    #[arg(long, value_name = "BYTES", requires = "http", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(crate) body: Option<u64>,
    /// What the path of an HTTP request begins with; the size follows
    #[arg(
        long,
        value_name = "PATH",
        requires = "http",
        default_value = "/",
        value_parser = path
    )]
    pub(crate) under: String,
    /// A further field of an HTTP request, such as `accept: */*`; can be repeated
    #[arg(long, value_name = "NAME: VALUE", requires = "http", value_parser = field)]
    pub(crate) field: Vec<String>,
}

/// Idle connections.
#[derive(Args)]
pub(crate) struct Hold {
    /// How many
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: usize,
    /// How long to hold them; without it, until the input ends
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

/// Streams.
#[derive(Args)]
pub(crate) struct Bulk {
    /// Which way the bytes go
    #[arg(long, value_enum, default_value_t = Direction::Down)]
    pub(crate) direction: Direction,
    /// Streams at the same time
    #[arg(long, default_value_t = 4)]
    pub(crate) streams: usize,
    /// How long they last
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
}

/// A direction, as the client sees it.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Direction {
    /// To the server
    Up,
    /// From the server
    Down,
}

fn cipher(text: &str) -> Result<SupportedCipherSuite, String> {
    let all = aws_lc_rs::ALL_CIPHER_SUITES.iter();
    let tls13 = all.filter(|suite| suite.tls13().is_some());
    let mut known: BTreeMap<_, _> = tls13
        .map(|suite| (format!("{:?}", suite.suite()), *suite))
        .collect();
    known.remove(text).ok_or_else(|| {
        let names: Vec<_> = known.into_keys().collect();
        format!("it is none of {}", names.join(", "))
    })
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|error| error.to_string())
}

fn path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/')
        && text.ends_with('/')
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    match fits {
        true => Ok(text.to_owned()),
        false => Err("it begins and ends with a slash".to_owned()),
    }
}

fn field(text: &str) -> Result<String, String> {
    match text.contains(':') && !text.contains(['\r', '\n']) {
        true => Ok(text.to_owned()),
        false => Err("it is a name, a colon and a value".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = positive(text)?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = positive(text)?;
    (rate <= 1e7)
        .then_some(rate)
        .ok_or_else(|| "no machine does that".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above 0 is expected".to_owned()),
    }
}
