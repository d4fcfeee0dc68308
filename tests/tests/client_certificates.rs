//! Promise: a listener with `client_auth` lets in whom its authority vouches for, on every connection anew, tells the
//! others why not, and names in the log who came.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::{self, Read};
use std::time::{Duration, Instant, SystemTime};

use ringgate_tests::{
    Authority, Identity, PATIENCE, Ringgate, Says, Server, TlsClient, echoed, replace, wait_until,
};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};

const NAME: &str = "a.example.com";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Who signs what.
struct Authorities {
    servers: Authority,
    clients: Authority,
}

impl Authorities {
    fn new() -> Self {
        Self {
            servers: Authority::new("servers"),
            clients: Authority::new("clients"),
        }
    }

    fn client(&self, name: &str) -> Identity {
        self.clients.sign(&Says::client(name))
    }

    /// A process with a listener of each mode, and `open` that asks for no certificate. All show the same one, seal
    /// their tickets with the same keys, and look at the name that a client asks for.
    fn start(&self, server: &Server, revoked: &[&Identity]) -> Ringgate {
        let auth = "ca: $dir/ca.pem, crl: $dir/crl.pem, mode";
        let listener = |name: &str, more: &str| {
            let tls = format!("certs: $dir/certs, ticket_keys: $dir/keys{more}");
            let routes = format!("routes: [{{ sni: {NAME}, pool: app }}]");
            format!("  {name}: {{ bind: '127.0.0.1:${name}', {routes}, tls: {{ {tls} }} }}\n")
        };
        let yaml = format!(
            "
workers: 1
timeouts: {{ handshake: 5s }}
listeners:
{}{}{}
pools:
  app: {{ servers: [{server}], health: off }}
",
            listener("require", &format!(", client_auth: {{ {auth}: require }}")),
            listener(
                "optional",
                &format!(", client_auth: {{ {auth}: optional }}")
            ),
            listener("open", ""),
        );
        Ringgate::start_prepared(&yaml, |dir| {
            self.servers
                .sign(&Says::names(&[NAME]))
                .write(&dir.join("certs"), "a");
            fs::write(dir.join("ca.pem"), self.clients.pem()).unwrap();
            fs::write(dir.join("crl.pem"), self.clients.revoke(revoked)).unwrap();
            fs::write(dir.join("keys"), "0".repeat(64)).unwrap();
        })
    }

    fn visitor(
        &self,
        shown: Option<&Identity>,
        version: &'static SupportedProtocolVersion,
    ) -> TlsClient {
        TlsClient::with(&self.servers, shown, &[version])
    }
}

/// What [`visit`] expects to hear.
const GREETING: &str = "hello";

/// Comes in, says nothing and hears what the server says. In TLS 1.3 this is where a client learns that it was
/// refused, and when its tickets come; who speaks first may meet a closed door instead of the word.
fn visit(ringgate: &Ringgate, listener: &str, client: &TlsClient) -> io::Result<HandshakeKind> {
    let mut stream = client.connect(ringgate.addr(listener), NAME)?;
    let mut heard = [0; GREETING.len()];
    stream.read_exact(&mut heard)?;
    Ok(stream.conn.handshake_kind().unwrap())
}

fn wait_for_failures(ringgate: &Ringgate, reason: &str, count: u32) {
    let labels = [("listener", "require"), ("reason", reason)];
    ringgate.wait_for_metric(
        "ringgate_tls_handshake_failures_total",
        &labels,
        count.into(),
    );
}

#[test]
fn a_good_certificate_lets_in_and_its_subject_is_logged() {
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let ringgate = authorities.start(&server, &[]);
    let alice = authorities.client("alice");
    let mut visits = 0;
    for version in VERSIONS {
        for (listener, shown, consumer) in [
            ("require", Some(&alice), Some("CN=alice")),
            ("optional", Some(&alice), Some("CN=alice")),
            ("optional", None, None),
            ("open", Some(&alice), None),
        ] {
            visit(&ringgate, listener, &authorities.visitor(shown, version)).unwrap();
            visits += 1;
            let line = &ringgate.access_log(visits)[visits - 1];
            assert_eq!(line["listener"], listener);
            assert_eq!(line["consumer"].as_str(), consumer, "{line}");
        }
    }
}

#[test]
fn a_certificate_that_is_not_good_is_refused_with_its_reason_and_no_server_hears_of_it() {
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let client = Says::client;
    let sign = |says: &Says| authorities.clients.sign(says);
    let revoked = authorities.client("revoked");
    let bad = [
        (
            sign(&client("expired").in_years(2020, 2021)),
            "CertificateExpired",
        ),
        (
            sign(&client("not yet").in_years(2100, 2120)),
            "CertificateExpired",
        ),
        (Authority::new("others").sign(&client("other")), "UnknownCA"),
        // Its name is the same, its key is not.
        (
            Authority::new("clients").sign(&client("forged")),
            "DecryptError",
        ),
        (Identity::self_signed(&client("self-made")), "UnknownCA"),
        (revoked.clone(), "CertificateRevoked"),
        (sign(&Says::names(&[NAME])), "UnsupportedCertificate"),
    ];
    let ringgate = authorities.start(&server, &[&revoked]);
    let mut refused = 0;
    let mut check = |listener: &str, shown, version, alert: &str| {
        let error = visit(&ringgate, listener, &authorities.visitor(shown, version)).unwrap_err();
        assert!(
            error.to_string().ends_with(alert),
            "{version:?}: {error} is not {alert}"
        );
        refused += 1;
        let line = &ringgate.access_log(refused)[refused - 1];
        assert_eq!(line["reason"], "tls_handshake", "{line}");
        assert_eq!(line["closed_by"], "ringgate", "{line}");
        assert!(line["consumer"].is_null(), "{line}");
    };
    for version in VERSIONS {
        check("require", None, version, "CertificateRequired");
        for (identity, alert) in &bad {
            check("require", Some(identity), version, alert);
            check("optional", Some(identity), version, alert);
        }
    }
    let failures = [("reason", "certificate")];
    ringgate.wait_for_metric("ringgate_tls_handshake_failures_total", &failures, 30.0);
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_certificate_that_is_revoked_later_lets_in_neither_anew_nor_by_an_old_session() {
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let ringgate = authorities.start(&server, &[]);
    let (alice, bob) = (authorities.client("alice"), authorities.client("bob"));
    let visitors = |shown| VERSIONS.map(|version| authorities.visitor(Some(shown), version));
    let (alices, bobs) = (visitors(&alice), visitors(&bob));
    for visitor in alices.iter().chain(&bobs) {
        let kinds = [(), ()].map(|()| visit(&ringgate, "require", visitor).unwrap());
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    }
    replace(
        &ringgate.path("crl.pem"),
        &authorities.clients.revoke(&[&alice]),
    );
    wait_until("the new list is read", PATIENCE, || {
        visit(
            &ringgate,
            "require",
            &authorities.visitor(Some(&alice), &TLS13),
        )
        .is_err()
    });
    for old in alices {
        let error = visit(&ringgate, "require", &old).unwrap_err();
        assert!(error.to_string().ends_with("CertificateRevoked"), "{error}");
    }
    for anew in visitors(&alice) {
        visit(&ringgate, "require", &anew).unwrap_err();
    }
    for other in bobs {
        visit(&ringgate, "require", &other).unwrap();
    }
}

#[test]
fn an_authority_that_is_exchanged_takes_its_clients_with_it() {
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let ringgate = authorities.start(&server, &[]);
    let others = Authority::new("others");
    let (alice, bob) = (
        authorities.client("alice"),
        others.sign(&Says::client("bob")),
    );
    let visitors = |shown| VERSIONS.map(|version| authorities.visitor(Some(shown), version));
    let alices = visitors(&alice);
    for visitor in &alices {
        visit(&ringgate, "require", visitor).unwrap();
    }
    // A bad file changes nothing.
    replace(&ringgate.path("ca.pem"), "");
    wait_until("the bad file is told", PATIENCE, || {
        ringgate.output().contains("ca.pem is empty")
    });
    for visitor in &alices {
        let kind = visit(&ringgate, "require", visitor).unwrap();
        assert_eq!(kind, HandshakeKind::Resumed);
    }
    replace(&ringgate.path("crl.pem"), &others.revoke(&[]));
    replace(&ringgate.path("ca.pem"), others.pem());
    wait_until("the new authority is believed", PATIENCE, || {
        visit(
            &ringgate,
            "require",
            &authorities.visitor(Some(&bob), &TLS13),
        )
        .is_ok()
    });
    for visitor in alices.iter().chain(&visitors(&alice)) {
        let error = visit(&ringgate, "require", visitor).unwrap_err();
        assert!(error.to_string().ends_with("UnknownCA"), "{error}");
    }
}

#[test]
fn a_certificate_that_has_ended_meanwhile_ends_its_sessions() {
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let ringgate = authorities.start(&server, &[]);
    let says = Says::client("mayfly").ending_in(Duration::from_secs(4));
    let mayfly = authorities.clients.sign(&says);
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(says.good.1.unsigned_abs() + 1);
    let visitors = VERSIONS.map(|version| authorities.visitor(Some(&mayfly), version));
    for visitor in &visitors {
        let kinds = [(), ()].map(|()| visit(&ringgate, "require", visitor).unwrap());
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    }
    let served = server.accepted();
    wait_until("it has ended", PATIENCE, || SystemTime::now() > end);
    for visitor in &visitors {
        visit(&ringgate, "require", visitor).unwrap_err();
    }
    wait_for_failures(&ringgate, "certificate", 2);
    assert_eq!(server.accepted(), served);
}

#[test]
fn a_session_is_none_where_other_certificates_are_asked_for() {
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let ringgate = authorities.start(&server, &[]);
    let alice = authorities.client("alice");
    for version in VERSIONS {
        // Whoever came in without a certificate does not get where one is needed (CVE-2025-23419).
        for first in ["open", "optional"] {
            let nobody = authorities.visitor(None, version);
            let kinds = [(), ()].map(|()| visit(&ringgate, first, &nobody).unwrap());
            assert_eq!(
                kinds,
                [HandshakeKind::Full, HandshakeKind::Resumed],
                "{first}"
            );
            let error = visit(&ringgate, "require", &nobody).unwrap_err();
            assert!(
                error.to_string().ends_with("CertificateRequired"),
                "{error}"
            );
        }
        // And a session that stands for a certificate is none where nobody looks at it.
        for (first, second) in [
            ("require", "open"),
            ("open", "require"),
            ("require", "optional"),
        ] {
            let visitor = authorities.visitor(Some(&alice), version);
            visit(&ringgate, first, &visitor).unwrap();
            let kind = visit(&ringgate, second, &visitor).unwrap();
            assert_eq!(kind, HandshakeKind::Full, "{first}, then {second}");
        }
    }
}

#[test]
fn who_was_vouched_for_by_authorities_below_is_let_in_by_a_chain_in_any_order() {
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let ringgate = authorities.start(&server, &[]);
    let middle = authorities.clients.below("middle");
    let lower = middle.below("lower");
    let alice = lower.sign(&Says::client("alice"));
    let own = alice
        .cert
        .strip_suffix(&format!("{}{}", lower.pem(), middle.pem()));
    let mut shuffled = alice.clone();
    let other = Authority::new("middle");
    shuffled.cert = [own.unwrap(), other.pem(), middle.pem(), lower.pem()].concat();
    // Where there are lists, each authority has one.
    let lists = [&authorities.clients, &middle, &lower].map(|authority| authority.revoke(&[]));
    replace(&ringgate.path("crl.pem"), &lists.concat());
    wait_until("the lists are read", PATIENCE, || {
        let client = authorities.visitor(Some(&alice), &TLS13);
        visit(&ringgate, "require", &client).is_ok()
    });
    for identity in [&alice, &shuffled] {
        for version in VERSIONS {
            let client = authorities.visitor(Some(identity), version);
            let kinds = [(), ()].map(|()| visit(&ringgate, "require", &client).unwrap());
            assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
        }
    }
}

#[test]
fn a_subject_can_neither_forge_a_line_of_the_log_nor_fill_it() {
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let ringgate = authorities.start(&server, &[]);
    let forged = "a\"\n{\"reason\":\"done\"}\n\u{1b}[2J\0, O=Admins";
    let long = format!("a{}", "x".repeat(10_000));
    let mut seen = 0;
    for (subject, consumer) in [
        (
            forged,
            Some("CN=a\\\"\n{\\\"reason\\\":\\\"done\\\"}\n\u{1b}[2J\\00\\, O=Admins"),
        ),
        // Cut, it could be another's.
        (&long, None),
    ] {
        let mallory = authorities.client(subject);
        for version in VERSIONS {
            let client = authorities.visitor(Some(&mallory), version);
            visit(&ringgate, "require", &client).unwrap();
        }
        ringgate.wait_until_quiet();
        seen += 2;
        let lines = ringgate.access_log(seen).split_off(seen - 2);
        assert_eq!(lines.len(), 2, "{lines:?}");
        for line in lines {
            assert_eq!(line["listener"], "require");
            assert_eq!(line["consumer"].as_str(), consumer);
        }
    }
}

#[test]
fn what_a_chain_holds_that_nobody_needs_keeps_its_client_out_neither_now_nor_next_time() {
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let ringgate = authorities.start(&server, &[]);
    let other = Authority::new("other");
    // A session holds the chain, and its ticket comes back in a ClientHello: one of a long chain would be too long.
    for (needless, second) in [
        (0, HandshakeKind::Resumed),
        (10, HandshakeKind::Resumed),
        (60, HandshakeKind::Full),
        (150, HandshakeKind::Full),
    ] {
        let mut alice = authorities.client("alice");
        alice.cert += &other.pem().repeat(needless);
        for version in VERSIONS {
            let visitor = authorities.visitor(Some(&alice), version);
            let kinds = [(), ()].map(|()| visit(&ringgate, "require", &visitor).unwrap());
            assert_eq!(
                kinds,
                [HandshakeKind::Full, second],
                "{needless} in {version:?}"
            );
        }
    }
}

#[test]
fn a_chain_that_is_too_long_is_refused_soon_and_others_go_on() {
    let (authorities, server) = (Authorities::new(), Server::echo());
    let ringgate = authorities.start(&server, &[]);
    let mut deep = authorities.clients.below("1");
    for depth in 2..=100 {
        deep = deep.below(&depth.to_string());
    }
    let deep = deep.sign(&Says::client("deep"));
    let other = Authority::new("other");
    let huge = with_chain(&other, &other.pem().repeat(2500));

    let bystander = authorities.visitor(None, &TLS13);
    let mut bystander = bystander.connect(ringgate.addr("open"), NAME).unwrap();
    for identity in [deep, huge] {
        for version in VERSIONS {
            let client = authorities.visitor(Some(&identity), version);
            let began = Instant::now();
            visit(&ringgate, "require", &client).unwrap_err();
            assert!(began.elapsed() < Duration::from_secs(5));
            assert_eq!(echoed(&mut bystander, "still here").unwrap(), "still here");
        }
    }
    wait_for_failures(&ringgate, "certificate", 2);
    wait_for_failures(&ringgate, "protocol", 2);
    assert_eq!(server.accepted(), 1);
}

#[test]
fn a_chain_that_leads_everywhere_costs_little_to_refuse() {
    const VISITS: u32 = 50;
    let (authorities, server) = (Authorities::new(), Server::greeting(GREETING));
    let ringgate = authorities.start(&server, &[]);
    // Each of them could have signed each other: there are more ways than anyone can go.
    let one = |_| Authority::new("maze").pem().to_owned();
    for size in [8, 16, 100] {
        let chain: String = (0..size).map(one).collect();
        let maze = with_chain(&Authority::new("maze"), &chain);
        let before = ringgate.proc().cpu();
        for _ in 0..VISITS {
            let client = authorities.visitor(Some(&maze), &TLS13);
            visit(&ringgate, "require", &client).unwrap_err();
        }
        let each = (ringgate.proc().cpu() - before) / VISITS;
        assert!(each < Duration::from_millis(5), "{size}: {each:?}");
    }
    assert_eq!(server.accepted(), 0);
}

/// A certificate of that authority with a chain that it has not.
fn with_chain(authority: &Authority, chain: &str) -> Identity {
    let mut identity = authority.sign(&Says::client("chained"));
    identity.cert += chain;
    identity
}
