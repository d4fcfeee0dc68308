//! The load generator against its server, directly and through the null relays that run on every
//! kernel. It measures nothing: a run must be without failure, and a failure must be told.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

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

#[test]
fn a_run_with_a_failure_is_no_result() {
    let server = Listening::server();
    let http = &server.addresses[1];
    let output = ringload(http, "rr --connections 2 --seconds 0.1");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(!text.contains("\"errors\":{}"), "{text}");
}
