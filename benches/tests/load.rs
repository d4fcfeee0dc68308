//! The load generator against its server, directly and through the null relays that run on every
//! kernel. It measures nothing: a run must be without failure, and a failure must be told.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;

use ringgate_benches::{ENDLESS, Exchange, HEADER_BYTES};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// A program that announces where it listens; ends with the test.
struct Listening {
    process: Child,
    addresses: Vec<String>,
}

impl Listening {
    fn start(program: &str, arguments: &[&str], addresses: usize) -> Self {
        let mut process = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program was built with this test");
        let output = BufReader::new(process.stdout.take().expect("the output is piped"));
        let lines = output.lines().take(addresses);
        let addresses = lines.collect::<Result<_, _>>().expect("the output is text");
        Self { process, addresses }
    }

    fn server() -> Self {
        let any = "127.0.0.1:0";
        let arguments = ["--listen", any, "--http", any];
        Self::start(env!("CARGO_BIN_EXE_ringserve"), &arguments, 2)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.process.kill().expect("the process is a child");
        self.process.wait().expect("the process is a child");
    }
}

fn ringload(address: &str, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringload"))
        .args(arguments.split(' '))
        .args(["--json", "--connect", address])
        .stdin(Stdio::null())
        .output()
        .expect("the program was built with this test")
}

/// A load gets through without failure, and comes to at least so much of a figure.
fn check(arguments: &str, figure: &str, least: u64) {
    let server = Listening::server();
    let server = &server.addresses[usize::from(arguments.contains("--http"))];
    let relays = [
        env!("CARGO_BIN_EXE_null-splice"),
        env!("CARGO_BIN_EXE_null-tokio"),
    ]
    .map(|relay| Listening::start(relay, &["127.0.0.1:0", server], 1));
    for address in [server, &relays[0].addresses[0], &relays[1].addresses[0]] {
        let output = ringload(address, arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments}: {text}");
        let last = text.lines().last().unwrap_or_default();
        let report: Value = serde_json::from_str(last).expect("the last line is JSON");
        let count = report[figure].as_u64().expect("the figure is a count");
        assert!(count >= least, "{arguments}: {text}");
    }
}

#[test]
fn exchanges_on_kept_connections() {
    check("rr --connections 8 --seconds 0.2", "exchanges", 8);
}

#[test]
fn large_replies_and_large_requests() {
    let bulk = "rr --connections 3 --seconds 0.2";
    check(&format!("{bulk} --reply 1048576"), "exchanges", 3);
    check(&format!("{bulk} --request 1048576"), "exchanges", 3);
}

/// A machine that has too much to do may be late with them, which makes the run invalid.
#[test]
fn exchanges_at_a_rate_are_all_made() {
    let server = Listening::server();
    for mode in ["rr", "crr"] {
        let arguments = format!("{mode} --seconds 0.5 --rate 100");
        let output = ringload(&server.addresses[0], &arguments);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["exchanges"], 50, "{report}");
    }
}

#[test]
fn a_connection_for_each_exchange() {
    check("crr --connections 8 --seconds 0.2", "exchanges", 8);
}

#[test]
fn http() {
    check("rr --http --reply 20000 --seconds 0.2", "exchanges", 1);
    check(
        "rr --http --under /v1/ --field x:y --seconds 0.2",
        "exchanges",
        1,
    );
    check("rr --http --body 1 --seconds 0.2", "exchanges", 1);
    check("rr --http --body 300000 --seconds 0.2", "exchanges", 1);
    check(
        "hold --http --connections 20 --seconds 0.1",
        "connections",
        20,
    );
}

#[test]
fn idle_connections() {
    check("hold --connections 50 --seconds 0.1", "connections", 50);
    check("hold --connections 50", "connections", 50);
}

#[test]
fn streams() {
    check("bulk --direction up --seconds 0.2", "bytes", 1);
    check("bulk --direction down --seconds 0.2", "bytes", 1);
}

/// Serves exchanges over TLS, each connection on a thread, until the test ends; tells where.
fn tls_server(tickets: usize) -> String {
    let made = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split(' '))
        .args(["-subj", "/CN=localhost", "-keyout", "-"])
        .output()
        .expect("openssl is installed");
    let certificate = CertificateDer::from_pem_slice(&made.stdout);
    let key = PrivateKeyDer::from_pem_slice(&made.stdout);
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.expect("openssl made a certificate")],
            key.expect("openssl made a key"),
        )
        .expect("the key is that of the certificate");
    config.send_tls13_tickets = tickets;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().expect("there is randomness");
    let config = Arc::new(config);
    each_connection(move |stream| {
        let session = ServerConnection::new(config.clone()).expect("the settings are good");
        thread::spawn(|| serve(StreamOwned::new(session, stream)));
    })
}

/// Listens until the test ends; tells where.
fn each_connection(mut take: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            take(stream.expect("a client has connected"));
        }
    });
    address.to_string()
}

/// Answers exchanges until the client goes away.
fn serve(mut stream: StreamOwned<ServerConnection, TcpStream>) -> io::Result<()> {
    loop {
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header)?;
        let exchange = Exchange::parse(header).expect("ringload asks properly");
        let rest = exchange.request - HEADER_BYTES as u64;
        let more = io::copy(&mut (&mut stream).take(rest), &mut io::sink())?;
        if exchange.request == ENDLESS {
            stream.write_all(&(HEADER_BYTES as u64 + more).to_be_bytes())?;
        } else {
            io::copy(&mut io::repeat(0).take(exchange.reply), &mut stream)?;
        }
        stream.flush()?;
    }
}

/// A load over TLS gets through without failure, and comes to at least so much of a figure.
fn check_tls(arguments: &str, figure: &str, least: u64) {
    let output = ringload(&tls_server(2), arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments}: {text}");
    let last = text.lines().last().unwrap_or_default();
    let report: Value = serde_json::from_str(last).expect("the last line is JSON");
    let count = report[figure].as_u64().expect("the figure is a count");
    assert!(count >= least, "{arguments}: {text}");
}

#[test]
fn every_load_over_tls() {
    check_tls("rr --tls --connections 8 --seconds 0.2", "exchanges", 8);
    let bulk = "rr --tls --connections 3 --seconds 0.2 --cipher TLS13_AES_128_GCM_SHA256";
    check_tls(&format!("{bulk} --reply 1048576"), "exchanges", 3);
    check_tls(&format!("{bulk} --request 1048576"), "exchanges", 3);
    check_tls("crr --tls --connections 8 --seconds 0.2", "handshakes", 8);
    let handshakes = "handshakes --connections 8 --seconds 0.2";
    check_tls(handshakes, "handshakes", 8);
    check_tls(&format!("{handshakes} --abandon"), "exchanges", 8);
    check_tls(
        "hold --tls --connections 20 --seconds 0.1",
        "connections",
        20,
    );
    check_tls("bulk --tls --direction up --seconds 0.2", "bytes", 1);
    check_tls("bulk --tls --direction down --seconds 0.2", "bytes", 1);
}

#[test]
fn every_connection_but_the_first_ones_resumes() {
    let resume = "crr --resume --connections 4 --seconds 0.5";
    check_tls(resume, "resumed", 4);
    let output = ringload(&tls_server(0), resume);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("the session was not resumed"), "{text}");
}

#[test]
fn a_server_without_tls_is_told_from_one_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream
                .unwrap()
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    for mode in ["handshakes", "handshakes --abandon", "crr --tls"] {
        let output = ringload(&address, &format!("{mode} --seconds 0.1"));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("\"exchanges\":0"), "{text}");
    }
}

#[test]
fn a_run_with_a_failure_is_no_result() {
    let server = Listening::server();
    let http = &server.addresses[1];
    let output = ringload(http, "rr --connections 2 --seconds 0.1");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(!text.contains("\"errors\":{}"), "{text}");
}
