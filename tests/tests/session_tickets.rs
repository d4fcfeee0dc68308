//! Promise: a session goes on wherever the keys of its ticket are, whichever node made it, and nowhere else; a ticket
//! that is no good costs a full handshake and nothing more.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;

use ringgate_tests::{
    Authority, PATIENCE, Ringgate, Says, Server, TempDir, TlsClient, echoed, replace, wait_until,
};
use rustls::HandshakeKind::{self, Full, Resumed};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

const NAME: &str = "a.example.com";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// The line of a file of keys: what names the key, and what seals. Both are base64.
fn key(name: char, secret: char) -> String {
    // 16 bytes end within the 22nd character.
    format!(
        "{}A{}\n",
        name.to_string().repeat(21),
        secret.to_string().repeat(42)
    )
}

/// What several nodes share: certificates, and an authority that clients trust.
struct Nodes {
    authority: Authority,
    dir: TempDir,
    server: Server,
}

impl Nodes {
    fn new() -> Self {
        let (authority, dir) = (Authority::new("ca"), TempDir::new());
        let identity = authority.sign(&Says::names(&[NAME]));
        identity.write(&dir.path().join("certs"), "a");
        Self {
            authority,
            dir,
            server: Server::echo(),
        }
    }

    fn yaml(&self, keys: &Path) -> String {
        format!(
            "
workers: 1
listeners:
  web:
    bind: '127.0.0.1:$tls'
    pool: app
    tls: {{ certs: {}/certs, ticket_keys: {} }}
pools:
  app: {{ servers: [{}], health: off }}
",
            self.dir.path().display(),
            keys.display(),
            self.server
        )
    }

    /// A file of keys.
    fn keys(&self, name: &str, keys: &[&str]) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        replace(&path, &keys.concat());
        path
    }

    fn start(&self, keys: &Path) -> Ringgate {
        Ringgate::start(&self.yaml(keys))
    }

    fn clients(&self) -> [TlsClient; 2] {
        VERSIONS.map(|version| TlsClient::with(&self.authority, None, &[version]))
    }
}

fn visit(client: &TlsClient, node: &Ringgate) -> HandshakeKind {
    let mut stream = client.connect(node.addr("tls"), NAME).unwrap();
    // In TLS 1.3 tickets come after the handshake.
    assert_eq!(echoed(&mut stream, "hello").unwrap(), "hello");
    stream.conn.handshake_kind().unwrap()
}

#[test]
fn nodes_with_the_same_keys_take_each_others_sessions_and_a_restart_changes_nothing() {
    let nodes = Nodes::new();
    let keys = nodes.keys("keys", &[&key('a', 'a')]);
    let (mut one, other) = (nodes.start(&keys), nodes.start(&keys));
    let clients = nodes.clients();
    for client in &clients {
        assert_eq!(visit(client, &one), Full);
        assert_eq!(visit(client, &other), Resumed);
        assert_eq!(visit(client, &one), Resumed);
    }
    one.term();
    one.wait_exit(PATIENCE);
    one.start_again();
    for client in &clients {
        assert_eq!(visit(client, &one), Resumed);
    }
}

#[test]
fn a_new_key_seals_once_it_stands_first_and_the_old_one_opens_until_it_is_gone() {
    let nodes = Nodes::new();
    let (old, new) = (key('a', 'a'), key('b', 'b'));
    let keys = nodes.keys("keys", &[&old]);
    let one = nodes.start(&keys);
    let only_old = nodes.start(&nodes.keys("old", &[&old]));
    let only_new = nodes.start(&nodes.keys("new", &[&new]));
    // What becomes of a ticket that the one has just made at the other.
    let comes_from = |from: &Ringgate, to: &Ringgate| {
        let client = TlsClient::new(&nodes.authority);
        assert_eq!(visit(&client, from), Full);
        visit(&client, to)
    };
    let (before, at_the_end) = (nodes.clients(), nodes.clients());
    for client in before.iter().chain(&at_the_end) {
        assert_eq!(visit(client, &one), Full);
    }
    nodes.keys("keys", &[&new, &old]);
    wait_until("the new key seals", PATIENCE, || {
        comes_from(&one, &only_new) == Resumed
    });
    for client in before {
        assert_eq!(visit(&client, &one), Resumed);
    }
    nodes.keys("keys", &[&new]);
    wait_until("the old key opens no more", PATIENCE, || {
        comes_from(&only_old, &one) == Full
    });
    for client in at_the_end {
        assert_eq!(visit(&client, &one), Full);
        assert_eq!(visit(&client, &one), Resumed);
    }
}

#[test]
fn a_ticket_that_is_forged_or_of_an_unknown_key_costs_a_full_handshake() {
    let nodes = Nodes::new();
    let node = nodes.start(&nodes.keys("keys", &[&key('a', 'a')]));
    // It knows the name of our key, as everybody does who has a ticket, but not what seals.
    let forger = nodes.start(&nodes.keys("forged", &[&key('a', 'b')]));
    let stranger = nodes.start(&nodes.keys("unknown", &[&key('c', 'c')]));
    for from in [&forger, &stranger] {
        for client in nodes.clients() {
            assert_eq!(visit(&client, from), Full);
            assert_eq!(visit(&client, &node), Full);
            assert_eq!(visit(&client, &node), Resumed);
        }
    }
    assert_eq!(
        node.metric("ringgate_tls_handshake_failures_total", &[]),
        0.0
    );
}

#[test]
fn keys_that_are_bad_change_nothing_and_are_not_told() {
    let nodes = Nodes::new();
    let keys = nodes.keys("keys", &[&key('a', 'a')]);
    let node = nodes.start(&keys);
    let clients = nodes.clients();
    for client in &clients {
        assert_eq!(visit(client, &node), Full);
    }
    let secret = "c2VjcmV0";
    for (bad, word) in [
        (String::new(), "holds no key"),
        (format!("{}{secret}", key('b', 'b')), "line 2"),
    ] {
        nodes.keys("keys", &[&bad]);
        wait_until(&format!("{word:?} is told"), PATIENCE, || {
            node.output().contains(word)
        });
        for client in &clients {
            assert_eq!(visit(client, &node), Resumed);
        }
    }
    assert!(!node.output().contains(secret));
}

#[test]
fn a_ticket_ends_after_half_a_day() {
    let nodes = Nodes::new();
    let keys = nodes.keys("keys", &[&key('a', 'a')]);
    let now = nodes.start(&keys);
    // Clocks that are hours apart stand for time that passes.
    let ago = |hours: &str| {
        let clock = format!("FAKETIME=-{hours}h");
        // The dynamic linker knows what $LIB is.
        let library = "LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1";
        let wrapper = ["env", library, &clock, "FAKETIME_DONT_FAKE_MONOTONIC=1"];
        Ringgate::start_through(&wrapper, &nodes.yaml(&keys))
    };
    for (hours, kind) in [("11", Resumed), ("13", Full)] {
        let then = ago(hours);
        for client in nodes.clients() {
            assert_eq!(visit(&client, &then), Full);
            assert_eq!(visit(&client, &now), kind, "{hours} hours later");
        }
    }
}
