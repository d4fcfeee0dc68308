//! Promise: scanners find nothing to blame in how TLS is ended. What they say of the certificate that a test made for
//! itself is not about Ringgate.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ringgate_tests::{Authority, Nginx, Ringgate, Says, finish_within};
use serde_json::Value;

/// How long a scan may take; testssl needs half a minute where nothing else runs.
const SCAN_MAX: Duration = Duration::from_secs(180);

/// What testssl calls worse than LOW. WARN is of the scan itself: its OpenSSL has no GOST, or a look for tickets of
/// TLS 1.3 ended before they came, as they do with the first answer.
const BAD: [&str; 4] = ["MEDIUM", "HIGH", "CRITICAL", "FATAL"];

/// What it may find that is, and why: all of it is of the test's own certificate.
const EXCEPTIONS: [(&str, &str); 2] = [
    ("cert_validityPeriod", "it is good for a century"),
    ("cert_revocation", "it names no OCSP server and no CRL"),
];

/// A process that ends TLS for a.example.com before an nginx, with its authority in `$dir/ca.pem`.
fn start() -> (Ringgate, Nginx) {
    let (authority, nginx) = (Authority::new("ca"), Nginx::start("scanned"));
    let yaml = format!(
        "
listeners:
  web: {{ bind: '127.0.0.1:$tls', pool: app, tls: {{ certs: $dir/certs, alpn: [http/1.1] }} }}
pools:
  app: {{ servers: ['{}'], health: off }}
",
        nginx.addr()
    );
    let ringgate = Ringgate::start_prepared(&yaml, |dir| {
        let identity = authority.sign(&Says::names(&["a.example.com"]));
        identity.write(&dir.join("certs"), "a");
        fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    });
    (ringgate, nginx)
}

fn read(path: &Path, otherwise: &impl std::fmt::Debug) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|_| panic!("no result: {otherwise:?}"));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn testssl_finds_nothing_worse_than_low() {
    let (ringgate, _nginx) = start();
    let result = ringgate.path("testssl.json");
    let mut testssl = Command::new("testssl");
    testssl.args(["--ip", "127.0.0.1", "--color", "0", "--warnings", "off"]);
    // Protocols, categories of ciphers, forward secrecy, server defaults, vulnerabilities.
    testssl.args(["-p", "-s", "-f", "-S", "-U", "--jsonfile"]);
    testssl.arg(&result).arg("--add-ca");
    testssl.arg(ringgate.path("ca.pem"));
    testssl.arg(format!("a.example.com:{}", ringgate.addr("tls").port()));
    let finished = finish_within(&mut testssl, SCAN_MAX);
    let result = read(&result, &finished);
    let findings = result.as_array().unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let is_excepted = |id: &str| EXCEPTIONS.iter().any(|(excepted, _)| id == *excepted);
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| BAD.contains(&text(finding, "severity").as_str()))
        .filter(|finding| !is_excepted(&text(finding, "id")))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    // It has looked at all of it.
    let found = |id: &str| findings.iter().find(|finding| finding["id"] == id);
    for (id, severity) in [
        ("SSLv2", "OK"),
        ("SSLv3", "OK"),
        ("TLS1", "INFO"),
        ("TLS1_1", "INFO"),
        ("TLS1_2", "OK"),
        ("TLS1_3", "OK"),
        ("cipherlist_NULL", "OK"),
        ("PFS", "OK"),
        ("heartbleed", "OK"),
        ("CCS", "OK"),
        ("ticketbleed", "OK"),
        ("ROBOT", "OK"),
        ("secure_renego", "OK"),
        ("secure_client_renego", "OK"),
        ("CRIME_TLS", "OK"),
        ("fallback_SCSV", "OK"),
        ("LUCKY13", "OK"),
        ("RC4", "OK"),
    ] {
        let finding = found(id).unwrap_or_else(|| panic!("{id} was not looked at: {findings:#?}"));
        assert_eq!(finding["severity"], severity, "{finding}");
    }
}

#[test]
fn sslyze_finds_no_vulnerability_and_only_current_versions() {
    let (ringgate, _nginx) = start();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/sslyze");
    let result = ringgate.path("sslyze.json");
    let mut sslyze = Command::new("python3");
    sslyze.env("PYTHONPATH", &tools).args(["-m", "sslyze"]);
    sslyze.args(["--quiet", "--mozilla_config", "disable"]);
    sslyze.args(["--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2"]);
    sslyze.args(["--tlsv1_3", "--early_data", "--compression", "--reneg"]);
    sslyze.args(["--heartbleed", "--openssl_ccs", "--robot", "--fallback"]);
    sslyze.args(["--ems", "--sni", "a.example.com", "--json_out"]);
    sslyze.arg(&result).arg(ringgate.addr("tls").to_string());
    let finished = finish_within(&mut sslyze, SCAN_MAX);
    let result = read(&result, &finished);
    let results = &result["server_scan_results"][0]["scan_result"];
    let of = |command: &str| {
        assert_eq!(results[command]["status"], "COMPLETED", "{command}");
        &results[command]["result"]
    };
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        let suites = &of(&format!("{version}_cipher_suites"))["accepted_cipher_suites"];
        assert_eq!(*suites, Value::Array(Vec::new()), "{version}");
    }
    for version in ["tls_1_2", "tls_1_3"] {
        let suites = &of(&format!("{version}_cipher_suites"))["accepted_cipher_suites"];
        let suites = suites.as_array().unwrap().iter();
        let names: Vec<_> = suites
            .map(|suite| suite["cipher_suite"]["name"].as_str().unwrap())
            .collect();
        let is_current = |name: &&str| name.contains("GCM") || name.contains("CHACHA20");
        assert!(
            names.len() >= 3 && names.iter().all(is_current),
            "{names:?}"
        );
    }
    let check = |command: &str, key: &str, expected: Value| {
        assert_eq!(of(command)[key], expected, "{command}: {key}");
    };
    check("heartbleed", "is_vulnerable_to_heartbleed", false.into());
    check(
        "openssl_ccs_injection",
        "is_vulnerable_to_ccs_injection",
        false.into(),
    );
    check(
        "session_renegotiation",
        "supports_secure_renegotiation",
        true.into(),
    );
    check(
        "session_renegotiation",
        "is_vulnerable_to_client_renegotiation_dos",
        false.into(),
    );
    check(
        "robot",
        "robot_result",
        "NOT_VULNERABLE_RSA_NOT_SUPPORTED".into(),
    );
    check("tls_compression", "supports_compression", false.into());
    check("tls_1_3_early_data", "supports_early_data", false.into());
    check("tls_fallback_scsv", "supports_fallback_scsv", true.into());
    check(
        "tls_extended_master_secret",
        "supports_ems_extension",
        true.into(),
    );
    // It is not asked for resumption: it takes a session that comes with a new ticket for one that was not resumed.
}
