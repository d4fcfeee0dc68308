//! Promise: the certificates that a listener shows are those of its files: of every kind, as the files are now, and
//! never a bad one; whether they are good is known before anything is bound.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use ringgate_tests::{
    Authority, Config, Identity, KeyKind, PATIENCE, Ringgate, Says, Server, TlsClient, echoed,
    loopback, refuses, replace, run_to_end, wait_until,
};
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};

const A: &str = "a.example.com";
const B: &str = "b.example.com";

/// A process whose listener `$tls` shows what `prepare` writes, as `certs` says.
fn start(server: &Server, certs: &str, prepare: impl Fn(&Path)) -> Ringgate {
    let yaml = format!(
        "
workers: 2
listeners:
  web: {{ bind: '127.0.0.1:$tls', pool: app, tls: {{ certs: {certs} }} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    );
    Ringgate::start_prepared(&yaml, prepare)
}

/// The certificate that a new client of that authority is shown for a name. It has no session: a resumed one shows none.
fn shown(ringgate: &Ringgate, authority: &Authority, name: &str) -> io::Result<Vec<u8>> {
    shown_to(&TlsClient::new(authority), ringgate, name)
}

fn shown_to(client: &TlsClient, ringgate: &Ringgate, name: &str) -> io::Result<Vec<u8>> {
    let mut stream = client.connect(ringgate.addr("tls"), name)?;
    echoed(&mut stream, "hello")?;
    Ok(stream.conn.peer_certificates().unwrap()[0].to_vec())
}

fn der(identity: &Identity) -> Vec<u8> {
    let first = CertificateDer::from_pem_slice(identity.cert.as_bytes());
    first.unwrap().to_vec()
}

fn wait_until_shown(ringgate: &Ringgate, authority: &Authority, name: &str, identity: &Identity) {
    wait_until(&format!("the new {name} is shown"), PATIENCE, || {
        shown(ringgate, authority, name).is_ok_and(|shown| shown == der(identity))
    });
}

#[test]
fn a_new_certificate_is_shown_and_a_bad_one_is_not() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let pair = || authority.sign(&Says::names(&[A]));
    let ringgate = start(&server, "$dir/certs", |dir| {
        pair().write(&dir.join("certs"), "a");
    });
    let certs = ringgate.path("certs");
    let good = pair();
    good.write(&certs, "a");
    wait_until_shown(&ringgate, &authority, A, &good);

    let expired = authority.sign(&Says::names(&[A]).in_years(2020, 2021));
    let half = &pair().cert[..300];
    for (bad, word) in [
        (&*pair().cert, "does not fit"),
        ("", "is empty"),
        (half, "middle of a PEM block"),
        ("garbage", "no PEM block"),
    ] {
        let told = ringgate.output().matches(word).count();
        replace(&certs.join("a.crt"), bad);
        wait_until(&format!("that it {word:?} is told"), PATIENCE, || {
            ringgate.output().matches(word).count() > told
        });
        assert_eq!(
            shown(&ringgate, &authority, A).unwrap(),
            der(&good),
            "{word}"
        );
    }
    expired.write(&certs, "a");
    wait_until("that it has ended is told", PATIENCE, || {
        ringgate.output().contains("ended on 2021-01-01")
    });
    assert_eq!(shown(&ringgate, &authority, A).unwrap(), der(&good));
    // The folder goes, with everything in it, and comes again.
    fs::remove_dir_all(&certs).unwrap();
    wait_until("that it has gone is told", PATIENCE, || {
        ringgate.output().contains("cannot read")
    });
    assert_eq!(shown(&ringgate, &authority, A).unwrap(), der(&good));
    let after = pair();
    after.write(&certs, "a");
    wait_until_shown(&ringgate, &authority, A, &after);
}

#[test]
fn no_handshake_fails_while_certificates_are_exchanged() {
    const EXCHANGES: usize = 20;
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let pair = || authority.sign(&Says::names(&[A]));
    let ringgate = start(&server, "$dir/certs", |dir| {
        pair().write(&dir.join("certs"), "a");
        authority
            .sign(&Says::names(&[B]))
            .write(&dir.join("certs"), "b");
    });
    let (certs, stop) = (ringgate.path("certs"), AtomicBool::new(false));
    let visit_until_stopped = || {
        let mut visits = 0;
        while !stop.load(Relaxed) {
            for name in [A, B] {
                // The first one that fails ends the test.
                shown(&ringgate, &authority, name).unwrap();
                visits += 1;
            }
        }
        visits
    };
    let visits = thread::scope(|scope| {
        let visitors: Vec<_> = (0..3).map(|_| scope.spawn(visit_until_stopped)).collect();
        for exchange in 0..EXCHANGES {
            if exchange == EXCHANGES / 2 {
                replace(&certs.join("a.crt"), &pair().cert);
                wait_until("the bad one is told", PATIENCE, || {
                    ringgate.output().contains("does not fit")
                });
            }
            let new = pair();
            new.write(&certs, "a");
            wait_until(
                "the new one is shown, or a visitor failed",
                PATIENCE,
                || {
                    visitors.iter().any(|visitor| visitor.is_finished())
                        || shown(&ringgate, &authority, A).is_ok_and(|shown| shown == der(&new))
                },
            );
        }
        stop.store(true, Relaxed);
        visitors
            .into_iter()
            .map(|visitor| visitor.join().unwrap())
            .sum::<usize>()
    });
    assert!(visits > 10 * EXCHANGES, "{visits}");
    assert_eq!(
        ringgate.metric("ringgate_tls_handshake_failures_total", &[]),
        0.0
    );
}

#[test]
fn certificates_that_come_into_the_folder_are_shown_and_those_that_go_are_not() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let ringgate = start(&server, "$dir/certs", |dir| {
        authority
            .sign(&Says::names(&[A]))
            .write(&dir.join("certs"), "a");
    });
    let certs = ringgate.path("certs");
    let b = authority.sign(&Says::names(&[B]));
    shown(&ringgate, &authority, B).unwrap_err();
    b.write(&certs, "b");
    wait_until_shown(&ringgate, &authority, B, &b);

    // As certbot lays them out, and as one file.
    let site = authority.sign(&Says::names(&["site.example.com", "*.example.org"]));
    fs::create_dir(certs.join("site")).unwrap();
    fs::write(certs.join("site/privkey.pem"), &site.key).unwrap();
    fs::write(certs.join("site/fullchain.pem"), &site.cert).unwrap();
    wait_until_shown(&ringgate, &authority, "any.example.org", &site);
    let one_file = authority.sign(&Says::names(&["one.example.com"]));
    replace(&certs.join("one.pem"), &one_file.both());
    wait_until_shown(&ringgate, &authority, "one.example.com", &one_file);

    fs::remove_file(certs.join("b.crt")).unwrap();
    wait_until("the default is shown instead", PATIENCE, || {
        let error = shown(&ringgate, &authority, B).err();
        error.is_some_and(|error| error.to_string().contains("not valid for name"))
    });
    shown(&ringgate, &authority, A).unwrap();
}

#[test]
fn the_end_of_a_certificate_is_told_in_metrics_status_and_log() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let says = Says::names(&[A, "*.example.org"]);
    let soon = Says::names(&[B]).ending_in(Duration::from_secs(5 * 86_400 + 3600));
    let ringgate = start(&server, "$dir/certs", |dir| {
        let certs = dir.join("certs");
        authority.sign(&says).write(&certs, "a");
        authority.sign(&soon).write(&certs, "b");
        let ended = Says::names(&["c.example.com"]).in_years(2020, 2021);
        authority.sign(&ended).write(&certs, "c");
    });
    let expiry = |name: &str| {
        ringgate.metric(
            "ringgate_tls_cert_expiry_timestamp_seconds",
            &[("name", name)],
        )
    };
    assert_eq!(expiry(A), says.good.1 as f64);
    assert_eq!(expiry(B), soon.good.1 as f64);
    assert_eq!(expiry("c.example.com"), 1_609_459_200.0);
    let status = ringgate.status();
    let certificates = status["listeners"][0]["certificates"].as_array().unwrap();
    assert_eq!(certificates.len(), 3);
    assert_eq!(certificates[0]["name"], A);
    assert_eq!(certificates[0]["names"][1], "*.example.org");
    assert_eq!(certificates[0]["not_after"], says.good.1);
    assert_eq!(
        certificates[0]["file"],
        ringgate.path("certs/a.crt").display().to_string()
    );
    let output = ringgate.output();
    assert!(output.contains("ends in 5 days"), "{output}");
    assert!(
        output.contains("c.crt HAS EXPIRED on 2021-01-01"),
        "{output}"
    );
    let checked = ringgate.path("ringgate.yaml").display().to_string();
    let checked = run_to_end(&["check", "-c", &checked]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let noted = [checked.stdout, checked.stderr].concat();
    assert!(noted.contains("HAS EXPIRED"), "{noted}");

    let later = Says::names(&[B]);
    authority.sign(&later).write(&ringgate.path("certs"), "b");
    wait_until("the new end is told", PATIENCE, || {
        expiry(B) == later.good.1 as f64
    });
}

#[test]
fn a_list_shows_its_certificates_and_the_first_is_the_default() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let (a, b) = (
        authority.sign(&Says::names(&[A])),
        authority.sign(&Says::names(&[B])),
    );
    let list = "[{ cert: $dir/z.crt, key: $dir/z.key }, $dir/b.pem]";
    let ringgate = start(&server, list, |dir| {
        a.write(dir, "z");
        fs::write(dir.join("b.pem"), b.both()).unwrap();
    });
    assert_eq!(shown(&ringgate, &authority, A).unwrap(), der(&a));
    assert_eq!(shown(&ringgate, &authority, B).unwrap(), der(&b));
    let other = shown(&ringgate, &authority, "c.example.com").unwrap_err();
    assert!(other.to_string().contains(A), "{other}");
    let new = authority.sign(&Says::names(&[B]));
    replace(&ringgate.path("b.pem"), &new.both());
    wait_until_shown(&ringgate, &authority, B, &new);
}

#[test]
fn every_kind_of_key_is_served_in_both_versions_with_its_chain() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let lower = authority.below("middle").below("lower");
    let kinds = [
        ("p256.example.com", KeyKind::P256),
        ("p384.example.com", KeyKind::P384),
        ("ed25519.example.com", KeyKind::Ed25519),
        ("rsa.example.com", KeyKind::Rsa),
    ]
    .map(|(name, kind)| (name, lower.sign(&Says::names(&[name]).with_key(kind))));
    let ringgate = start(&server, "$dir/certs", |dir| {
        for (name, identity) in &kinds {
            identity.write(&dir.join("certs"), name);
        }
    });
    for (name, identity) in &kinds {
        for version in [&TLS12, &TLS13] {
            let client = TlsClient::with(&authority, None, &[version]);
            assert_eq!(
                shown_to(&client, &ringgate, name).unwrap(),
                der(identity),
                "{name}"
            );
        }
    }
}

#[test]
fn of_two_certificates_for_a_name_each_client_gets_one_that_it_can_verify() {
    let (authority, server) = (Authority::new("ca"), Server::echo());
    let says = Says::names(&[A]);
    let (ecdsa, rsa) = (
        authority.sign(&says),
        authority.sign(&says.clone().with_key(KeyKind::Rsa)),
    );
    let ringgate = start(&server, "$dir/certs", |dir| {
        ecdsa.write(&dir.join("certs"), "1-ecdsa");
        rsa.write(&dir.join("certs"), "2-rsa");
    });
    let get = |schemes: &[SignatureScheme]| {
        shown_to(&TlsClient::verifying(&authority, schemes), &ringgate, A)
    };
    let (old, new) = (
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
    );
    assert_eq!(get(&[old]).unwrap(), der(&rsa));
    assert_eq!(get(&[new]).unwrap(), der(&ecdsa));
    assert_eq!(
        get(&[old, new]).unwrap(),
        der(&ecdsa),
        "the first one is preferred"
    );
    let neither = get(&[SignatureScheme::ED25519]).unwrap_err();
    assert!(
        neither.to_string().ends_with("HandshakeFailure"),
        "{neither}"
    );
    let failures = [("reason", "parameters")];
    ringgate.wait_for_metric("ringgate_tls_handshake_failures_total", &failures, 1.0);
}

/// A configuration in which every file is good, but for what `prepare` does.
fn config(certs: &str, more: &str, prepare: impl Fn(&Path)) -> Config {
    let authority = Authority::new("ca");
    let config = Config::write(&format!(
        "
listeners:
  web:
    bind: '127.0.0.1:$web'
    pool: app
    tls:
      certs: {certs}
      {more}
pools:
  app: ['127.0.0.1:9']
"
    ));
    let dir = config.dir();
    let lower = authority.below("lower");
    let one = lower.sign(&Says::names(&[A]));
    one.write(dir, "one");
    one.write(&dir.join("certs"), "one");
    authority.sign(&Says::names(&[B])).write(dir, "two");
    fs::write(dir.join("lower.pem"), lower.pem()).unwrap();
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    prepare(dir);
    config
}

#[test]
fn what_is_wrong_with_files_is_told_at_the_place_that_names_them_and_nothing_is_bound() {
    let replaced = |name: &'static str, by: &'static str| {
        move |dir: &Path| {
            let text = fs::read_to_string(dir.join(by)).unwrap_or_else(|_| by.to_owned());
            fs::write(dir.join(name), text).unwrap();
        }
    };
    let nothing = |_: &Path| {};
    // In these the place is that of the word.
    let check = |certs: &str, more: &str, prepare: &dyn Fn(&Path), place: &str, what: &str| {
        let config = config(certs, more, prepare);
        let (file, dir) = (config.file().display().to_string(), config.dir().display());
        let text = fs::read_to_string(&file).unwrap();
        let place = place.replace("$dir", &dir.to_string());
        let (number, line) = (1..)
            .zip(text.lines())
            .find(|(_, line)| line.contains(&place))
            .unwrap();
        let place = format!("{file}:{number}:{}", line.rfind(&place).unwrap() + 1);
        for verb in ["check", "run"] {
            let finished = run_to_end(&[verb, "-c", &file]);
            assert_eq!(finished.code, Some(1), "{verb}: {finished:?}");
            for told in [&*place, what, "^"] {
                assert!(
                    finished.stderr.contains(told),
                    "{verb} does not say {told:?}:\n{}",
                    finished.stderr
                );
            }
        }
        assert!(refuses(loopback(config.port("web"))) && refuses(loopback(config.port("admin"))));
        assert!(!config.dir().join("admin.sock").exists());
    };
    let folder = "$dir/certs";
    check(
        "$dir/none",
        "",
        &nothing,
        "$dir/none",
        "cannot read the folder",
    );
    check("$dir/one.crt", "", &nothing, "$dir/one.crt", "certs");
    check(
        folder,
        "",
        &|dir| {
            fs::remove_dir_all(dir.join("certs"))
                .and_then(|()| fs::create_dir(dir.join("certs")))
                .unwrap()
        },
        folder,
        "holds no certificate",
    );
    check(
        folder,
        "",
        &replaced("certs/one.crt", "garbage"),
        folder,
        "no PEM block",
    );
    check(
        folder,
        "",
        &replaced("certs/one.key", "two.key"),
        folder,
        "does not fit",
    );
    check(
        folder,
        "",
        &|dir| fs::remove_file(dir.join("certs/one.key")).unwrap(),
        folder,
        "no private key",
    );
    check(
        folder,
        "",
        &|dir| {
            let root_second = ["certs/one.crt", "ca.pem", "lower.pem"]
                .map(|name| fs::read_to_string(dir.join(name)).unwrap());
            fs::write(dir.join("certs/one.crt"), root_second.concat()).unwrap();
        },
        folder,
        "out of order",
    );
    check(
        folder,
        "",
        &replaced("certs/one.crt", "lower.pem"),
        folder,
        "does not fit",
    );

    let list =
        "[{ cert: $dir/one.crt, key: $dir/one.key }, { cert: $dir/two.crt, key: $dir/two.key }]";
    check(
        list,
        "",
        &|dir| fs::remove_file(dir.join("two.crt")).unwrap(),
        "$dir/two.crt",
        "cannot read",
    );
    check(
        list,
        "",
        &|dir| fs::remove_file(dir.join("two.key")).unwrap(),
        "$dir/two.key",
        "cannot read",
    );
    check(
        list,
        "",
        &replaced("two.key", "one.key"),
        "$dir/two.key",
        "does not fit",
    );
    check(
        list,
        "",
        &replaced("two.crt", ""),
        "$dir/two.crt",
        "is empty",
    );

    let auth = "client_auth: { ca: $dir/ca.pem, crl: $dir/crl.pem }";
    check(folder, auth, &nothing, "$dir/crl.pem", "cannot read");
    check(
        folder,
        auth,
        &replaced("crl.pem", "ca.pem"),
        "$dir/crl.pem",
        "no list of revoked",
    );
    check(
        folder,
        "client_auth: { ca: $dir/ca.pem }",
        &replaced("ca.pem", "one.key"),
        "$dir/ca.pem",
        "holds no certificate",
    );
    check(
        folder,
        "ticket_keys: $dir/keys",
        &nothing,
        "$dir/keys",
        "cannot read",
    );
    check(
        folder,
        "ticket_keys: $dir/keys",
        &replaced("keys", "c2VjcmV0\n"),
        "$dir/keys",
        "line 1",
    );
}

#[test]
fn all_that_is_wrong_with_files_is_told_at_once_and_no_key_is() {
    let list = "[{ cert: $dir/one.crt, key: $dir/two.key }, { cert: $dir/three.crt, key: $dir/three.key }]";
    let more = "client_auth: { ca: $dir/none.pem }\n      ticket_keys: $dir/keys";
    let config = config(list, more, |dir| {
        fs::write(dir.join("keys"), "c2VjcmV0c2VjcmV0\n").unwrap();
    });
    let finished = run_to_end(&["check", "-c", &config.file().display().to_string()]);
    assert_eq!(finished.code, Some(1));
    for file in ["two.key", "three.crt", "none.pem", "keys"] {
        assert!(finished.stderr.contains(file), "{}", finished.stderr);
    }
    let said = [finished.stdout, finished.stderr].concat();
    assert!(!said.contains("c2VjcmV0"), "{said}");
    assert!(!said.contains("BEGIN PRIVATE KEY"), "{said}");
}
