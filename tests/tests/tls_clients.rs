//! Promise: the TLS clients that people use are served, by either version, with sessions and certificates, and are
//! refused what is old or weak.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::process::Command;

use ringgate_tests::{Authority, Dialogue, Finished, Nginx, Ringgate, Says, Server, finish};

const NAME: &str = "a.example.com";

/// Ways to the server: `$tls`; `$strict` asks for a client's certificate and refuses unknown names. In `$dir` are
/// `ca.pem`, and `client.crt` and `client.key` that it signed.
fn start(server: &str) -> Ringgate {
    let authority = Authority::new("ca");
    let yaml = format!(
        "
workers: 2
listeners:
  web: {{ bind: '127.0.0.1:$tls', pool: app, tls: {{ certs: $dir/certs }} }}
  strict:
    bind: '127.0.0.1:$strict'
    pool: app
    tls: {{ certs: $dir/certs, unknown_name: refuse, client_auth: {{ ca: $dir/ca.pem }} }}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
    );
    Ringgate::start_prepared(&yaml, |dir| {
        authority
            .sign(&Says::names(&[NAME]))
            .write(&dir.join("certs"), "a");
        authority.sign(&Says::client("carla")).write(dir, "client");
        fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    })
}

fn path(ringgate: &Ringgate, name: &str) -> String {
    ringgate.path(name).display().to_string()
}

#[test]
fn curl_is_served_by_either_version_and_with_a_certificate() {
    let nginx = Nginx::start("hello");
    let ringgate = start(&nginx.addr().to_string());
    let curl = |listener: &str, args: &[&str]| -> Finished {
        let port = ringgate.addr(listener).port();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "15"]);
        curl.args(["--cacert", &path(&ringgate, "ca.pem")]);
        curl.args(["--resolve", &format!("*:{port}:127.0.0.1")]);
        let url = format!("https://{NAME}:{port}/");
        finish(curl.args(args).arg(url))
    };
    let (crt, key) = (path(&ringgate, "client.crt"), path(&ringgate, "client.key"));
    let certificate = ["--cert", &crt, "--key", &key];
    let versions = [&["--tls-max", "1.2"][..], &["--tlsv1.3"]];
    for version in versions {
        assert_eq!(curl("tls", version).stdout, "hello", "{version:?}");
        let shown = curl("strict", &[version, &certificate].concat());
        assert_eq!(shown.stdout, "hello", "{version:?}: {shown:?}");
        let silent = curl("strict", version);
        assert_ne!(silent.code, Some(0), "{version:?}: {silent:?}");
    }
    let lines = ringgate.access_log(6);
    let of = |listener: &str, tls: &str| {
        let mine = lines.iter().filter(|line| line["listener"] == listener);
        mine.filter(|line| line["tls"] == tls).count()
    };
    assert_eq!((of("web", "1.2"), of("web", "1.3")), (1, 1), "{lines:?}");
    assert_eq!((of("strict", "1.2"), of("strict", "1.3")), (1, 1));
    let refused = [("listener", "strict"), ("reason", "certificate")];
    ringgate.wait_for_metric("ringgate_tls_handshake_failures_total", &refused, 2.0);
}

/// An `openssl s_client` that trusts the authority alone and asks for NAME.
fn s_client(ringgate: &Ringgate, listener: &str, args: &[&str]) -> Command {
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect"]);
    openssl.arg(ringgate.addr(listener).to_string());
    openssl.args(["-CAfile", &path(ringgate, "ca.pem")]);
    if !args.contains(&"-servername") && !args.contains(&"-noservername") {
        openssl.args(["-servername", NAME]);
    }
    openssl.args(["-verify_return_error", "-verify", "3"]);
    openssl.args(args);
    openssl
}

#[test]
fn openssl_is_refused_what_is_old_or_weak() {
    let server = Server::echo();
    let ringgate = start(&server.to_string());
    let check = |args: &[&str], expected: &str, failure: &str| {
        let labels = [("listener", "web"), ("reason", failure)];
        let failures = "ringgate_tls_handshake_failures_total";
        let before = ringgate.metric(failures, &labels);
        let finished = finish(&mut s_client(&ringgate, "tls", args));
        assert_eq!(finished.code, Some(1), "{args:?}: {finished:?}");
        assert!(finished.stderr.contains(expected), "{args:?}: {finished:?}");
        ringgate.wait_for_metric(failures, &labels, before + 1.0);
    };
    // OpenSSL speaks the old versions only at its lowest level of security.
    let old = ["-cipher", "ALL:@SECLEVEL=0"];
    check(
        &[&["-tls1"][..], &old].concat(),
        "alert handshake failure",
        "version",
    );
    check(
        &[&["-tls1_1"][..], &old].concat(),
        "alert handshake failure",
        "version",
    );
    // A fallback that was not needed, both speak 1.3: it sees so in the answer (RFC 8446 §4.1.3) and refuses.
    let fallback = ["-fallback_scsv", "-max_protocol", "TLSv1.2"];
    check(&fallback, "inappropriate fallback", "alert");
    for weak in [
        "aNULL",
        "eNULL",
        "kRSA",
        "SHA1",
        "AES128-SHA256",
        "DHE-RSA-AES128-GCM-SHA256",
    ] {
        let cipher = format!("{weak}:@SECLEVEL=0");
        check(
            &["-tls1_2", "-cipher", &cipher],
            "alert handshake failure",
            "parameters",
        );
    }
    let groups = ["-groups", "P-521:ffdhe2048"];
    check(&groups, "alert handshake failure", "parameters");
    check(
        &[
            "-tls1_2",
            "-sigalgs",
            "ECDSA+SHA1",
            "-cipher",
            "ALL:@SECLEVEL=0",
        ],
        "alert handshake failure",
        "parameters",
    );
    assert_eq!(server.accepted(), 0);
}

#[test]
fn openssl_gets_what_is_configured_for_the_name_that_it_asks_for() {
    let server = Server::saying("hello");
    let ringgate = start(&server.to_string());
    let (crt, key) = (path(&ringgate, "client.crt"), path(&ringgate, "client.key"));
    let connect = |listener: &str, args: &[&str]| {
        let certificate = ["-cert", &crt, "-key", &key, "-ign_eof"];
        finish(s_client(&ringgate, listener, args).args(certificate))
    };
    for args in [
        &["-noservername"][..],
        &["-servername", "unknown.example"],
        &["-servername", "A.EXAMPLE.com"],
    ] {
        let shown = connect("tls", args);
        assert!(shown.stdout.contains("hello"), "{args:?}: {shown:?}");
        assert!(
            shown.stdout.contains(&format!("subject=CN = {NAME}")),
            "{shown:?}"
        );
    }
    assert!(connect("strict", &[]).stdout.contains("hello"));
    let unknown = connect("strict", &["-servername", "unknown.example"]);
    assert!(unknown.stderr.contains("unrecognized name"), "{unknown:?}");
}

#[test]
fn openssl_resumes_its_sessions() {
    let server = Server::saying("hello");
    let ringgate = start(&server.to_string());
    let session = path(&ringgate, "session.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        for (option, word) in [("-sess_out", "New, TLSv1."), ("-sess_in", "Reused, TLSv1.")] {
            let args = [version, "-ign_eof", option, &session];
            let finished = finish(&mut s_client(&ringgate, "tls", &args));
            assert!(finished.stdout.contains("hello"), "{args:?}: {finished:?}");
            assert!(finished.stdout.contains(word), "{args:?}: {finished:?}");
        }
    }
    // One full handshake, then five with what it gave.
    let again = finish(&mut s_client(&ringgate, "tls", &["-tls1_2", "-reconnect"]));
    assert_eq!(
        again.stdout.matches("\nNew, TLSv1.2").count(),
        1,
        "{again:?}"
    );
    assert_eq!(
        again.stdout.matches("\nReused, TLSv1.2").count(),
        5,
        "{again:?}"
    );
}

#[test]
fn openssl_cannot_renegotiate() {
    let server = Server::echo();
    let ringgate = start(&server.to_string());
    let mut client = Dialogue::start(&mut s_client(&ringgate, "tls", &["-tls1_2"]));
    client.say("hello\n");
    assert!(client.says("\nhello\n", 1));
    client.say("R\n");
    assert!(client.says("RENEGOTIATING", 1));
    client.say_no_more();
    let (code, heard) = client.end();
    assert_eq!(code, Some(1), "{heard}");
    assert!(heard.contains("no renegotiation"), "{heard}");
    assert_eq!(server.accepted(), 1);
    ringgate.wait_until_quiet();
}

#[test]
fn keys_are_renewed_as_openssl_asks_and_not_without_end() {
    let server = Server::echo();
    let ringgate = start(&server.to_string());
    let mut client = Dialogue::start(&mut s_client(&ringgate, "tls", &["-tls1_3"]));
    // With payload in between, as a client does that renews them for a reason.
    for number in 1..=100 {
        client.say(if number % 2 == 0 { "K\n" } else { "k\n" });
        assert!(client.says("KEYUPDATE", number));
        let line = format!("line {number}\n");
        client.say(&line);
        assert!(client.says(&line, 1), "after {number} of them");
    }
    // With nothing else, hundreds of them: it ends.
    let mut updates = 100;
    while updates < 500 {
        updates += 1;
        client.say("K\n");
        if !client.says("KEYUPDATE", updates) {
            break;
        }
    }
    assert!(updates < 500, "{updates} were answered");
    let (code, heard) = client.end();
    assert_ne!(code, Some(0), "{heard}");
    ringgate.wait_until_quiet();
}

#[test]
fn gnutls_is_served_by_either_version_and_resumes() {
    let server = Server::echo();
    let ringgate = start(&server.to_string());
    let gnutls = |listener: &str, args: &[&str]| {
        let mut gnutls = Command::new("gnutls-cli");
        gnutls.args(["--x509cafile", &path(&ringgate, "ca.pem")]);
        gnutls.args(["--port", &ringgate.addr(listener).port().to_string()]);
        gnutls.args(["--sni-hostname", NAME, "--verify-hostname", NAME]);
        Dialogue::start(gnutls.args(args).arg("127.0.0.1"))
    };
    let (crt, key) = (path(&ringgate, "client.crt"), path(&ringgate, "client.key"));
    let certificate = ["--x509certfile", &crt, "--x509keyfile", &key];
    for version in ["TLS1.2", "TLS1.3"] {
        let priority = format!("NORMAL:-VERS-ALL:+VERS-{version}");
        for listener in ["tls", "strict"] {
            let args = [
                &["--resume", "--waitresumption", "--priority", &priority][..],
                &certificate,
            ]
            .concat();
            let mut client = gnutls(listener, &args);
            // The second of its connections, the resumed one, is that which it talks over.
            assert!(client.says("- Simple Client Mode", 1));
            client.say("hello\n");
            assert!(client.says("\nhello\n", 1));
            client.say_no_more();
            let (code, heard) = client.end();
            assert_eq!(code, Some(0), "{heard}");
            assert!(heard.contains("*** This is a resumed session"), "{heard}");
        }
    }
    for old in [
        "NORMAL:-VERS-ALL:+VERS-TLS1.0",
        "NORMAL:-VERS-ALL:+VERS-TLS1.1",
    ] {
        let (code, heard) = gnutls("tls", &["--priority", old]).end();
        assert_eq!(code, Some(1), "{old}: {heard}");
        assert!(heard.contains("alert"), "{old}: {heard}");
    }
}
