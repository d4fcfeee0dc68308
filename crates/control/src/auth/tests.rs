//! Plans with credentials, their files as they are read and change, and servers of keys that behave in every way.

use std::cell::{Cell, RefCell};
use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringgate_config::{Http, HttpLimits, HttpRoute, Stages};
use ringgate_gateway::auth::{Denied, Memory, Presented, tokens, users};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::testing::{Directory, facts, plan, until};
use crate::tls::testing::{Authority, leaf};

fn no_auth() -> Auth {
    Auth {
        realm: "ringgate".to_owned(),
        tokens_file: None,
        users_file: None,
        jwt: None,
        client_certificate: false,
    }
}

fn by_tokens(path: PathBuf) -> Auth {
    Auth {
        tokens_file: Some(path),
        ..no_auth()
    }
}

fn by_keys(keys: JwtKeys, algorithm: &str) -> Auth {
    Auth {
        jwt: Some(Jwt {
            keys,
            issuer: None,
            audience: Vec::new(),
            algorithms: vec![algorithm.to_owned()],
            leeway: Duration::ZERO,
            consumer_claim: "sub".to_owned(),
            scope_claim: "scope".to_owned(),
        }),
        ..no_auth()
    }
}

fn url(url: String, ca: Option<PathBuf>) -> JwtKeys {
    JwtKeys::Url {
        url,
        ca,
        refresh: Duration::from_secs(1),
        max_age: Duration::from_secs(2),
    }
}

/// A plan whose listener asks for the first of these and its routes for the others.
fn asking(auths: &[Auth]) -> Plan {
    let mut plan = plan(&["127.0.0.1:1"]);
    let stages = |auth: &Auth| Stages {
        auth: Some(auth.clone()),
        ..Stages::default()
    };
    let route = |auth: &Auth| HttpRoute {
        name: "route".to_owned(),
        sni: Vec::new(),
        client: Vec::new(),
        host: Vec::new(),
        path: Vec::new(),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        pools: Vec::new(),
        rewrite: None,
        stages: stages(auth),
    };
    plan.listeners[0].http = Some(Http {
        trusted_proxies: Vec::new(),
        limits: HttpLimits {
            header_bytes: 32768,
            fields: 100,
            requests_per_connection: NonZeroU32::MIN,
            streams: NonZeroU32::MIN,
        },
        stages: stages(&auths[0]),
        routes: auths[1..].iter().map(route).collect(),
    });
    plan
}

/// A set with one new key for ES256.
fn key_set() -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"one","x":"{x}","y":"{y}"}}]}}"#)
}

/// What becomes of a request with that field.
fn ask(guard: &Guard, authorization: &str) -> Result<String, Denied> {
    let presented = Presented {
        authorization: Some(authorization.as_bytes()),
        certificate: None,
    };
    let identity = guard.check(presented, 1_700_000_000, &mut Memory::new())?;
    Ok(identity.consumer.name.to_string())
}

/// A token that names a key, with a signature of nobody.
fn signed_by_nobody(key: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","kid":"{key}"}}"#));
    format!("Bearer {header}.e30.{}", "A".repeat(86))
}

#[test]
fn guards_are_shared_by_what_is_equal_and_files_by_their_path() {
    let directory = Directory::new();
    let (path, other) = (directory.path("tokens"), directory.path("users"));
    fs::write(&path, tokens::line("anna", b"secret", &[])).unwrap();
    fs::write(&other, users::line("bert", b"pass", [1; 16], &[])).unwrap();
    let one = by_tokens(path);
    let two = Auth {
        users_file: Some(other),
        ..one.clone()
    };
    let credentials = Credentials::read(&asking(&[one.clone(), one.clone(), two.clone()])).unwrap();
    assert_eq!((credentials.guards.len(), credentials.files.len()), (2, 2));
    for auth in [&one, &two] {
        assert_eq!(
            ask(&credentials.guard(auth), "Bearer secret"),
            Ok("anna".to_owned())
        );
    }
    assert_eq!(
        ask(&credentials.guard(&two), "Basic YmVydDpwYXNz"),
        Ok("bert".to_owned())
    );
    assert_eq!(
        ask(&credentials.guard(&one), "Basic YmVydDpwYXNz"),
        Err(Denied::Scheme)
    );
}

#[test]
fn every_problem_is_told_with_its_key() {
    let directory = Directory::new();
    let write = |name: &str, text: &[u8]| {
        let path = directory.path(name);
        fs::write(&path, text).unwrap();
        path
    };
    let check = |auth: Auth, key: &str, what: &str| {
        let plain = by_tokens(write("good", b"# none yet\n"));
        let problems = Credentials::read(&asking(&[plain, auth])).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(
            problems[0].key,
            format!("listeners.web.routes[0].http.auth.{key}")
        );
        assert!(problems[0].what.contains(what), "{}", problems[0]);
        assert!(
            !problems[0].to_string().contains("hunter2"),
            "{}",
            problems[0]
        );
    };
    check(
        by_tokens(directory.path("none")),
        "tokens_file",
        "cannot read",
    );
    check(
        by_tokens(directory.path("")),
        "tokens_file",
        "is not a file",
    );
    check(
        by_tokens(write("bad", b"\nanna hunter2\n")),
        "tokens_file",
        "bad:2:6: this is no hash",
    );
    check(
        by_tokens(write("latin", b"# a\n# \xe4\n")),
        "tokens_file",
        "latin:2:1: this is no text",
    );
    let users = Auth {
        users_file: Some(write("users", b"anna hunter2")),
        ..no_auth()
    };
    check(
        users,
        "users_file",
        "users:1:6: this is no hash of a password",
    );
    let keys = |name: &str, text: &[u8]| by_keys(JwtKeys::File(write(name, text)), "ES256");
    check(keys("keys", b"{"), "jwt.keys", "keys:1:1: EOF");
    check(
        keys("keys2", br#"{"keys":[]}"#),
        "jwt.keys",
        "no key that signatures can be verified with",
    );
    let of_url = |text: &str, ca| by_keys(url(text.to_owned(), ca), "ES256");
    check(of_url("ftp://a.example/", None), "jwt.keys", "is not https");
    check(
        of_url("https://a.example/", Some(directory.path("none"))),
        "jwt.ca",
        "cannot read",
    );
}

#[test]
fn keys_that_fit_no_algorithm_and_open_files_of_users_are_remarked_upon() {
    let directory = Directory::new();
    let (keys, users) = (directory.path("keys"), directory.path("users"));
    fs::write(&keys, key_set()).unwrap();
    fs::write(&users, "").unwrap();
    let auth = Auth {
        users_file: Some(users),
        ..by_keys(JwtKeys::File(keys.clone()), "RS256")
    };
    let credentials = Credentials::read(&asking(&[auth])).unwrap();
    let warnings: Vec<&str> = credentials.warnings().collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("can be read by every user"));
    assert!(warnings[1].contains("is for RS256"));
    let fitting = Credentials::read(&asking(&[by_keys(JwtKeys::File(keys), "ES256")])).unwrap();
    assert_eq!(fitting.warnings().count(), 0);
}

#[tokio::test]
async fn a_file_that_changes_counts_and_a_bad_one_does_not() {
    let directory = Directory::new();
    let path = directory.path("tokens");
    fs::write(&path, tokens::line("anna", b"one", &[])).unwrap();
    let auth = by_tokens(path.clone());
    let plan = asking(std::slice::from_ref(&auth));
    let credentials = Credentials::read(&plan).unwrap();
    let guard = credentials.guard(&auth);
    let facts = Rc::new(RefCell::new(facts(&plan, 1, 1)));
    let work = async {
        start(&credentials, &facts);
        fs::write(&path, "garbage").unwrap();
        until("the bad file is seen", || {
            facts.borrow().auth_rereads.failed == 1
        })
        .await;
        assert_eq!(facts.borrow().auth_rereads.problems.len(), 1);
        assert_eq!(ask(&guard, "Bearer one"), Ok("anna".to_owned()));
        fs::write(directory.path("new"), tokens::line("bert", b"two", &[])).unwrap();
        fs::rename(directory.path("new"), &path).unwrap();
        until("the good file is seen", || {
            facts.borrow().auth_rereads.succeeded == 1
        })
        .await;
        assert!(facts.borrow().auth_rereads.problems.is_empty());
        assert_eq!(ask(&guard, "Bearer two"), Ok("bert".to_owned()));
        assert_eq!(ask(&guard, "Bearer one"), Err(Denied::UnknownToken));
    };
    LocalSet::new().run_until(work).await;
}

/// A server of one answer after the other.
struct Server {
    answer: Rc<RefCell<String>>,
    asked: Rc<Cell<u32>>,
    port: u16,
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nLocation: /other\r\n\r\n{body}")
}

impl Server {
    async fn start(first: String, secured: Option<TlsAcceptor>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            answer: Rc::new(RefCell::new(first)),
            asked: Rc::default(),
            port: listener.local_addr().unwrap().port(),
        };
        let (answer, asked) = (Rc::clone(&server.answer), Rc::clone(&server.asked));
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                asked.set(asked.get() + 1);
                let text = answer.borrow().clone();
                match &secured {
                    None => drop(spawn_local(serve(stream, text))),
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            spawn_local(serve(stream, text));
                        }
                    }
                }
            }
        });
        server
    }

    fn remote(&self, scheme: &str, ca: Option<PathBuf>) -> Remote {
        let text = format!("{scheme}://localhost:{}/keys?a=b", self.port);
        Remote {
            key: "key".to_owned(),
            address: Address::parse(&text).unwrap(),
            keys: url(text, ca),
            ring: Arc::new(KeyRing::new(Keys::none())),
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("GET /keys?a=b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("host: localhost:"), "{head}");
    // Who has seen enough hangs up.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn only_a_good_answer_of_bounded_size_has_keys() {
    let work = async {
        let set = key_set();
        let server = Server::start(answer("200 OK", &set), None).await;
        let remote = server.remote("http", None);
        assert_eq!(remote.fetch().await.unwrap(), set.as_bytes());
        let check = async |text: String, expected: &str| {
            *server.answer.borrow_mut() = text;
            let failure = remote.fetch().await.unwrap_err();
            assert!(failure.contains(expected), "{failure}");
        };
        check(answer("302 Found", &set), "redirects are not followed").await;
        check(answer("500 Internal Server Error", &set), "500").await;
        check(answer("404 Not Found", &set), "404").await;
        check(
            answer("200 OK", &" ".repeat(300 * 1024)),
            "length limit exceeded",
        )
        .await;
        check("garbage\r\n\r\n".to_owned(), "invalid HTTP").await;
        check(String::new(), "closed").await;
        assert_eq!(server.asked.get(), 7);
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test]
async fn who_has_keys_must_be_who_the_url_names() {
    let directory = Directory::new();
    let (authority, other) = (Authority::new("one"), Authority::new("two"));
    let [ca, other_ca] = ["ca", "other"].map(|name| directory.path(name));
    fs::write(&ca, &authority.pem).unwrap();
    fs::write(&other_ca, &other.pem).unwrap();
    let acceptor = |name: &str| {
        let made = authority.sign(leaf(&[name]));
        let config = ServerConfig::builder_with_provider(Arc::new(crate::tls::provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.certificate.clone()], made.private_key());
        Some(TlsAcceptor::from(Arc::new(config.unwrap())))
    };
    let work = async {
        let set = key_set();
        let good = Server::start(answer("200 OK", &set), acceptor("localhost")).await;
        let fetched = good.remote("https", Some(ca.clone())).fetch().await;
        assert_eq!(fetched.unwrap(), set.as_bytes());
        let failure = good
            .remote("https", Some(other_ca))
            .fetch()
            .await
            .unwrap_err();
        assert!(failure.contains("certificate"), "{failure}");
        let bad = Server::start(answer("200 OK", &set), acceptor("other.example")).await;
        let failure = bad.remote("https", Some(ca)).fetch().await.unwrap_err();
        assert!(failure.contains("certificate"), "{failure}");
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test]
async fn fetched_keys_are_used_until_they_are_too_old() {
    let work = async {
        let server = Server::start(answer("503 Service Unavailable", ""), None).await;
        let keys = url(format!("http://127.0.0.1:{}/keys?a=b", server.port), None);
        let auth = by_keys(keys, "ES256");
        // The field `Host` is looked at by the server.
        let auth = Auth {
            jwt: auth.jwt.map(|jwt| Jwt {
                keys: url(format!("http://localhost:{}/keys?a=b", server.port), None),
                ..jwt
            }),
            ..auth
        };
        let plan = asking(std::slice::from_ref(&auth));
        let credentials = Credentials::read(&plan).unwrap();
        let guard = credentials.guard(&auth);
        let facts = Rc::new(RefCell::new(facts(&plan, 1, 1)));
        start(&credentials, &facts);
        let named = signed_by_nobody("one");
        until("the first fetch has failed", || {
            facts.borrow().auth_rereads.failed == 1
        })
        .await;
        assert_eq!(ask(&guard, &named), Err(Denied::KeysUnavailable));

        *server.answer.borrow_mut() = answer("200 OK", &key_set());
        until("there are keys", || {
            ask(&guard, &named) == Err(Denied::BadSignature)
        })
        .await;
        assert!(facts.borrow().auth_rereads.problems.is_empty());
        assert_eq!(
            ask(&guard, &signed_by_nobody("two")),
            Err(Denied::UnknownKey)
        );

        *server.answer.borrow_mut() = answer("200 OK", "garbage");
        let begun = SystemTime::now();
        until("they are too old", || {
            ask(&guard, &named) == Err(Denied::KeysUnavailable)
        })
        .await;
        assert!(begun.elapsed().unwrap() > Duration::from_millis(500));
        assert_eq!(facts.borrow().auth_rereads.problems.len(), 1);
    };
    LocalSet::new().run_until(work).await;
}

#[test]
fn issued_credentials_are_found_again_and_names_are_taken_once() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let (path, users) = (directory.path("tokens"), directory.path("users"));
    let scopes = ["read".to_owned(), "write".to_owned()];
    let secret = issue::token(&path, "anna", &scopes).unwrap();
    assert!(secret.starts_with("rg_") && secret.len() == 46, "{secret}");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    assert!(!whole.contains(&secret));
    // As an editor may leave it.
    fs::write(&path, whole.trim_end()).unwrap();
    let other = issue::token(&path, "bert", &[]).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    issue::user(&users, "carl", "pass", &[]).unwrap();
    let auth = Auth {
        users_file: Some(users.clone()),
        ..by_tokens(path.clone())
    };
    let guard = Credentials::read(&asking(std::slice::from_ref(&auth)))
        .unwrap()
        .guard(&auth);
    assert_eq!(
        ask(&guard, &format!("Bearer {secret}")),
        Ok("anna".to_owned())
    );
    assert_eq!(
        ask(&guard, &format!("Bearer {other}")),
        Ok("bert".to_owned())
    );
    assert_eq!(ask(&guard, "Basic Y2FybDpwYXNz"), Ok("carl".to_owned()));

    let check = |outcome: Result<(), String>, expected: &str| {
        let failure = outcome.unwrap_err();
        assert!(failure.contains(expected), "{failure}");
    };
    let before = fs::read(&path).unwrap();
    let token = |name: &str, scopes: &[String]| issue::token(&path, name, scopes).map(drop);
    check(token("anna", &[]), "has a line for `anna` already");
    check(token("a b", &[]), "is no name");
    check(token("dora", &["a b".to_owned()]), "is no scope");
    assert_eq!(fs::read(&path).unwrap(), before);
    check(
        issue::user(&users, "carl", "x", &[]),
        "has a line for `carl` already",
    );
    check(issue::user(&users, "dora", "", &[]), "1 to 512 bytes");
    check(
        issue::user(&users, "dora", "a\tb", &[]),
        "control characters",
    );
    check(
        issue::user(&path, "dora", "x", &[]),
        "no hash of a password; ",
    );
    check(
        issue::user(&directory.path(""), "dora", "x", &[]),
        "is not a file",
    );
}
