//! Promise: signed tokens are believed when a known key has signed them for us and for now, whatever they say; keys
//! are fetched seldom, follow their source, and outlive its failures.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringgate_tests::{
    Answer, Authority, Identity, JwtKey, PATIENCE, Recorder, Ringgate, Says, Server, ServesTls,
    TlsServer, Wire, base64url, hs256, jwks, signed_part, wait_for, wait_until,
};
use serde_json::{Value, json};

/// A listener `$web` that believes the tokens of these keys.
fn yaml(server: &Recorder, keys: &str) -> String {
    format!(
        "
workers: 1
listeners:
  web:
    bind: '127.0.0.1:$web'
    pool: app
    http:
      auth:
        jwt: {{ {keys}, issuer: 'https://issuer.example', audience: [gate, door], algorithms: [ES256], leeway: 30s }}
    routes: [{{ name: read, path: /read, pool: app, http: {{ require: [read] }} }}]
pools:
  app: {{ servers: ['{server}'], health: off }}
"
    )
}

fn show(ringgate: &Ringgate, path: &str, token: &str) -> Answer {
    show_at(ringgate.addr("web"), path, token)
}

fn show_at(addr: SocketAddr, path: &str, token: &str) -> Answer {
    let mut wire = Wire::connect(addr);
    wire.ask(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
    ))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().cast_signed()
}

/// Good claims with some replaced; `null` removes one.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "sub": "alice", "iss": "https://issuer.example", "aud": "gate",
        "exp": now() + 600, "iat": now(), "scope": "read write",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// A header with some of it added or replaced.
fn header(changes: Value) -> Value {
    let mut header = json!({ "alg": "ES256", "typ": "JWT", "kid": "one" });
    for (name, value) in changes.as_object().unwrap() {
        header[name] = value.clone();
    }
    header
}

fn good_tokens(key: &JwtKey) -> Vec<(&'static str, String)> {
    let of = |changes: Value| key.sign(&claims(&changes));
    vec![
        ("as it should be", of(json!({}))),
        (
            "one audience of several",
            of(json!({ "aud": ["other", "door"] })),
        ),
        ("scopes as a list", of(json!({ "scope": ["read"] }))),
        (
            "past its end within the leeway",
            of(json!({ "exp": now() - 10 })),
        ),
        (
            "before its beginning within the leeway",
            of(json!({ "nbf": now() + 10 })),
        ),
        ("an end with a fraction", of(json!({ "exp": 1e11 + 0.5 }))),
        ("no iat", of(json!({ "iat": null }))),
        (
            "claims that nobody knows",
            of(json!({ "x": { "y": [1, 2] } })),
        ),
        (
            "without a kid",
            key.sign_with(&json!({ "alg": "ES256" }), &claims(&json!({}))),
        ),
        ("a key of its own, which is not looked at", {
            let stranger = JwtKey::new("one");
            key.sign_with(
                &header(json!({ "jwk": stranger.jwk(), "jku": "http://127.0.0.1:1/" })),
                &claims(&json!({})),
            )
        }),
    ]
}

fn bad_tokens(key: &JwtKey) -> Vec<(&'static str, String)> {
    let of = |changes: Value| key.sign(&claims(&changes));
    let with = |changes: Value| key.sign_with(&header(changes), &claims(&json!({})));
    let good = key.sign(&claims(&json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    let stranger = JwtKey::new("one");
    let unsigned = |algorithm: &str| {
        let signed = signed_part(
            &header(json!({ "alg": algorithm })),
            &claims(&json!({})).to_string(),
        );
        format!("{signed}.")
    };
    let raw = |claims: &str| {
        // Signed as it stands, be it JSON or not.
        let signed = signed_part(&header(json!({})), claims);
        key.sign_text(&signed)
    };
    let twice = claims(&json!({}))
        .to_string()
        .replace("\"sub\":\"alice\"", "\"sub\":\"root\",\"sub\":\"alice\"");
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    vec![
        ("expired", of(json!({ "exp": now() - 60 }))),
        ("no end", of(json!({ "exp": null }))),
        ("an end in words", of(json!({ "exp": "never" }))),
        (
            "an end as text",
            of(json!({ "exp": (now() + 600).to_string() })),
        ),
        ("an end of -1", of(json!({ "exp": -1 }))),
        (
            "an end beyond numbers",
            raw(&claims(&json!({ "exp": 77 }))
                .to_string()
                .replace("77", "1e400")),
        ),
        ("not yet", of(json!({ "nbf": now() + 120 }))),
        ("a beginning as text", of(json!({ "nbf": "now" }))),
        ("made in the future", of(json!({ "iat": now() + 120 }))),
        (
            "another issuer",
            of(json!({ "iss": "https://issuer.example/" })),
        ),
        ("no issuer", of(json!({ "iss": null }))),
        (
            "a list of issuers",
            of(json!({ "iss": ["https://issuer.example"] })),
        ),
        ("for somebody else", of(json!({ "aud": "other" }))),
        ("for nobody", of(json!({ "aud": [] }))),
        ("for a number", of(json!({ "aud": 1 }))),
        ("no audience", of(json!({ "aud": null }))),
        ("nobody's", of(json!({ "sub": null }))),
        ("a number's", of(json!({ "sub": 7 }))),
        (
            "a name with a line end",
            of(json!({ "sub": "alice\r\nx: y" })),
        ),
        ("a claim twice", raw(&twice)),
        ("claims that are a list", raw("[1]")),
        ("claims that are no JSON", raw("{")),
        ("claims of a great depth", raw(&deep)),
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg nOnE", unsigned("nOnE")),
        (
            "no alg",
            key.sign_with(&json!({ "kid": "one" }), &claims(&json!({}))),
        ),
        (
            "alg HS256 by the public key",
            hs256(
                key.point(),
                &header(json!({ "alg": "HS256" })),
                &claims(&json!({})),
            ),
        ),
        ("alg ES384 by the same key", with(json!({ "alg": "ES384" }))),
        ("alg RS256 by the same key", with(json!({ "alg": "RS256" }))),
        ("an unknown key", with(json!({ "kid": "two" }))),
        (
            "a kid that is a path",
            with(json!({ "kid": "../../dev/null" })),
        ),
        (
            "a kid that is a query",
            with(json!({ "kid": "' OR 1=1 --" })),
        ),
        ("a kid that is a number", with(json!({ "kid": 1 }))),
        (
            "a kid of 60 KiB",
            with(json!({ "kid": "k".repeat(60 << 10) })),
        ),
        (
            "an unknown extension that is critical",
            with(json!({ "crit": ["x"], "x": 1 })),
        ),
        ("b64 false", with(json!({ "crit": ["b64"], "b64": false }))),
        ("signed by a stranger", stranger.sign(&claims(&json!({})))),
        (
            "a signature of zeros",
            format!("{}.{}.{}", parts[0], parts[1], base64url(&[0; 64])),
        ),
        ("a signature cut short", good[..good.len() - 4].to_owned()),
        (
            "a signature of 21830 characters",
            format!("{}.{}.{}", parts[0], parts[1], "A".repeat(21_830)),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("five parts", format!("{good}.{}.{}", parts[0], parts[1])),
        ("padding", format!("{good}=")),
        ("a space behind", format!("{good} x")),
        ("the claims of another", {
            let root = claims(&json!({ "sub": "root" })).to_string();
            format!("{}.{}.{}", parts[0], base64url(root.as_bytes()), parts[2])
        }),
        ("no base64", "a.b.c".to_owned()),
        ("nothing but dots", "..".to_owned()),
    ]
}

/// What has no room in a head is refused before it is looked at.
const HEAD_MAX: usize = 32 * 1024;

#[test]
fn tokens_are_believed_for_what_they_prove() {
    let (server, key) = (Recorder::start(), JwtKey::new("one"));
    let ringgate = Ringgate::start_prepared(&yaml(&server, "keys: $dir/keys.json"), |dir| {
        fs::write(dir.join("keys.json"), jwks(&[&key])).unwrap();
    });
    for (what, token) in good_tokens(&key) {
        let answer = show(&ringgate, "/read", &token);
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let request = server.last();
        assert_eq!(request.field("x-consumer"), Some("alice"), "{what}");
        assert_eq!(request.field("authorization"), None, "{what}");
    }
    let heard = server.received().len();
    let mut wrong = Vec::new();
    for (what, token) in bad_tokens(&key) {
        let answer = show(&ringgate, "/", &token);
        let challenge = answer.field("www-authenticate").unwrap_or_default();
        // One answer for all, so that none teaches how to make a better token.
        let expected = match token.len() > HEAD_MAX {
            true => (431, "too_large", ""),
            false => (
                401,
                "unauthorized",
                "Bearer realm=\"ringgate\", error=\"invalid_token\"",
            ),
        };
        let reason = answer.reason().unwrap_or_default();
        if (answer.status, &reason[..], challenge) != expected {
            wrong.push(format!("{what}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let without = key.sign(&claims(&json!({ "scope": "write" })));
    assert_eq!(show(&ringgate, "/read", &without).status, 403);
    assert_eq!(
        server.received().len(),
        heard,
        "none of them went to the server"
    );
}

#[test]
fn a_file_of_keys_is_read_again_when_it_changes() {
    let (server, old, new) = (Recorder::start(), JwtKey::new("old"), JwtKey::new("new"));
    let ringgate = Ringgate::start_prepared(&yaml(&server, "keys: $dir/keys.json"), |dir| {
        fs::write(dir.join("keys.json"), jwks(&[&old])).unwrap();
    });
    let [old_token, new_token] = [&old, &new].map(|key| key.sign(&claims(&json!({}))));
    let status = |token: &str| show(&ringgate, "/", token).status;
    assert_eq!([status(&old_token), status(&new_token)], [200, 401]);
    let file = ringgate.path("keys.json");
    ringgate_tests::replace(&file, &jwks(&[&old, &new]));
    wait_until("the new key counts", PATIENCE, || status(&new_token) == 200);
    assert_eq!(status(&old_token), 200);
    ringgate_tests::replace(&file, &jwks(&[&new]));
    wait_until("the old key counts no more", PATIENCE, || {
        status(&old_token) == 401
    });
    let said = ringgate.output().len();
    ringgate_tests::replace(&file, "{ \"keys\": 7 }");
    wait_until("it says what is wrong", PATIENCE, || {
        ringgate.output()[said..].contains("keys.json")
    });
    assert_eq!(status(&new_token), 200);
}

/// What a key server says.
#[derive(Clone)]
enum Document {
    /// By that status.
    Whole(u16, String),
    /// The head of an answer, and then nothing.
    HeadAlone,
}

use Document::{HeadAlone, Whole};

/// An https server of one document.
struct KeyServer {
    server: Server,
    document: Arc<Mutex<Document>>,
    fetches: Arc<AtomicUsize>,
    /// How long it was waited for after the last head alone.
    waited: Arc<Mutex<Option<Duration>>>,
}

impl KeyServer {
    fn start(identity: &Identity, document: String) -> Self {
        let tls = TlsServer::new(ServesTls::showing(identity));
        let document = Arc::new(Mutex::new(Whole(200, document)));
        let fetches = Arc::new(AtomicUsize::new(0));
        let waited = Arc::new(Mutex::new(None));
        let (served, counted, noted) = (document.clone(), fetches.clone(), waited.clone());
        let server = Server::start(move |stream| {
            // Who does not trust us ends here.
            let Ok(mut stream) = tls.accept(stream) else {
                return;
            };
            let mut head = BufReader::new(&mut stream).lines();
            while head
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            drop(head);
            counted.fetch_add(1, Relaxed);
            let document = served.lock().unwrap().clone();
            let Whole(status, text) = document else {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
                let _gone = stream.write_all(head.as_bytes());
                let _gone = stream.flush();
                let begun = Instant::now();
                let _gone = stream.read(&mut [0]);
                *noted.lock().unwrap() = Some(begun.elapsed());
                return;
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: {}\r\n\r\n",
                text.len()
            );
            let _gone = stream.write_all(&[head.as_bytes(), text.as_bytes()].concat());
            stream.conn.send_close_notify();
            let _gone = stream.flush();
        });
        Self {
            server,
            document,
            fetches,
            waited,
        }
    }

    fn serve(&self, document: Document) {
        *self.document.lock().unwrap() = document;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Relaxed)
    }

    /// Waits for a fetch that begins from now on.
    fn wait_for_a_fetch(&self) {
        let before = self.fetches();
        wait_until("the keys are fetched", FETCH_MAX, || {
            self.fetches() > before
        });
    }
}

/// The least time that may stand between two fetches, and what a busy machine adds.
const REFRESH: Duration = Duration::from_secs(10);
const FETCH_MAX: Duration = Duration::from_secs(40);

/// When a fetch is given up that began shortly before.
const GIVEN_UP: std::ops::Range<Duration> = Duration::from_secs(8)..Duration::from_secs(15);

/// A listener `$l0`, `$l1` and so on for each of these sources of keys.
fn listeners(server: &Recorder, sources: &[KeyServer]) -> String {
    let mut listeners = String::new();
    for (number, keys) in sources.iter().enumerate() {
        let settings = format!(
            "keys: 'https://{}/keys', ca: $dir/ca.pem, refresh: 10s, algorithms: [ES256]",
            keys.server
        );
        listeners += &format!(
            "  l{number}: {{ bind: '127.0.0.1:$l{number}', pool: app, http: {{ auth: {{ jwt: {{ {settings} }} }} }} }}\n"
        );
    }
    let pools = format!("pools:\n  app: {{ servers: ['{server}'], health: off }}\n");
    format!("workers: 1\nlisteners:\n{listeners}{pools}")
}

#[test]
fn keys_behind_a_url_follow_it_are_fetched_seldom_and_outlive_its_failures() {
    let server = Recorder::start();
    let (old, new) = (JwtKey::new("old"), JwtKey::new("new"));
    let authority = Authority::new("ca");
    let identity = authority.sign(&Says::names(&["127.0.0.2"]));
    // What each source says after its first keys, and whether the old and the new key count then.
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(10 * 1024 * 1024));
    let failing = [
        ("500", Whole(500, String::new())),
        ("garbage", Whole(200, "<html>".to_owned())),
        ("10 MiB", Whole(200, large)),
        ("a redirect", Whole(302, jwks(&[&new]))),
        ("a head alone", HeadAlone),
    ];
    let good = [
        ("both keys", Whole(200, jwks(&[&old, &new])), [200, 200]),
        ("the new key", Whole(200, jwks(&[&new])), [401, 200]),
    ];
    let failures = failing.len();
    let before = [200, 401];
    let failing = failing.map(|(what, document)| (what, document, before));
    let later = [&failing[..], &good].concat();
    let start = |_| KeyServer::start(&identity, jwks(&[&old]));
    let sources: Vec<KeyServer> = (0..later.len()).map(start).collect();
    let ringgate = Ringgate::start_prepared(&listeners(&server, &sources), |dir| {
        fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    });
    let tokens = [&old, &new].map(|key| key.sign(&claims(&json!({}))));
    let statuses = |number: usize| {
        let addr = ringgate.addr(&format!("l{number}"));
        [0, 1].map(|token| show_at(addr, "/", &tokens[token]).status)
    };
    for number in 0..later.len() {
        wait_until("the first keys count", PATIENCE, || {
            statuses(number) == before
        });
    }
    for (source, (_, document, _)) in sources.iter().zip(&later) {
        source.serve(document.clone());
    }
    // A storm of tokens by unknown keys asks no more often than the refresh does.
    let (fetches, started) = (sources[0].fetches(), Instant::now());
    let addr = ringgate.addr("l0");
    for number in 0..300 {
        let header = header(json!({ "kid": format!("unknown-{number}") }));
        let token = new.sign_with(&header, &claims(&json!({})));
        assert_eq!(show_at(addr, "/", &token).status, 401);
    }
    let most = 1 + started.elapsed().as_secs() / REFRESH.as_secs();
    let fetched = sources[0].fetches() - fetches;
    assert!(fetched as u64 <= most, "{fetched} fetches, not {most}");

    for source in &sources {
        if source.fetches() < 2 {
            source.wait_for_a_fetch();
        }
    }
    // What is not given up yet changes nothing, and neither does what failed.
    assert_eq!(statuses(failures - 1), before);
    wait_until("every failure is known", FETCH_MAX, || {
        let status = ringgate.status();
        let problems = status["auth_problems"].as_array().unwrap();
        (0..failures).all(|number| {
            let listener = format!("listeners.l{number}.");
            let is_of = |problem: &Value| problem.as_str().unwrap().starts_with(&listener);
            problems.iter().any(is_of)
        })
    });
    let counted = ringgate.metric("ringgate_auth_rereads_total", &[("result", "failure")]);
    assert!(counted >= failures as f64, "{counted} failures");
    let waited = wait_for("the fetch is given up", PATIENCE, || {
        *sources[failures - 1].waited.lock().unwrap()
    });
    assert!(GIVEN_UP.contains(&waited), "{waited:?}");
    for (number, (what, _, expected)) in later.iter().enumerate() {
        if number < failures {
            assert_eq!(statuses(number), *expected, "{what}");
        }
        // The answer to the fetch that was seen is on its way.
        wait_until(&format!("after {what}: {expected:?}"), PATIENCE, || {
            statuses(number) == *expected
        });
    }
}

#[test]
fn keys_that_are_never_had_are_our_fault_and_not_the_client_s() {
    let server = Recorder::start();
    let key = JwtKey::new("one");
    let (authority, stranger) = (Authority::new("ca"), Authority::new("stranger"));
    let identity = stranger.sign(&Says::names(&["127.0.0.2"]));
    let keys = KeyServer::start(&identity, jwks(&[&key]));
    let settings = format!(
        "keys: 'https://{}/keys', ca: $dir/ca.pem, refresh: 10s",
        keys.server
    );
    let ringgate = Ringgate::start_prepared(&yaml(&server, &settings), |dir| {
        fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    });
    wait_until("the key server is tried", PATIENCE, || {
        keys.server.accepted() > 0
    });
    let answer = show(&ringgate, "/", &key.sign(&claims(&json!({}))));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.field("retry-after").is_some());
    assert_eq!(
        keys.fetches(),
        0,
        "a server that is not trusted is not asked"
    );
    assert!(server.received().is_empty());
}
