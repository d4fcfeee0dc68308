//! Promise: what people have works with the gateway: nginx, Python and Node behind it, and curl, h2load, nghttp,
//! wrk, WebSocket and gRPC clients in front, over every version of HTTP and with TLS or without.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use ringgate_tests::{
    Authority, Finished, Nginx, Peer, Ringgate, Says, finish_within, http, script,
};

/// The longest that a tool may take.
const TOOL_MAX: Duration = Duration::from_secs(60);

/// A gateway with a plain listener and one with TLS.
struct Gateway {
    ringgate: Ringgate,
}

impl Gateway {
    fn start(server: SocketAddr, pool: &str) -> Self {
        let authority = Authority::new("ca");
        let yaml = format!(
            "
workers: 2
listeners:
  plain: {{ bind: '127.0.0.1:$plain', pool: app, http: {{}} }}
  tls: {{ bind: '127.0.0.1:$tls', pool: app, tls: {{ certs: $dir/certs }}, http: {{}} }}
pools:
  app: {{ servers: ['{server}'], health: off, {pool} }}
"
        );
        let ringgate = Ringgate::start_prepared(&yaml, |dir| {
            let identity = authority.sign(&Says::names(&["a.example.com"]));
            identity.write(&dir.join("certs"), "a");
            std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
        });
        Self { ringgate }
    }

    fn plain(&self, path: &str) -> String {
        format!("http://{}{path}", self.ringgate.addr("plain"))
    }

    fn tls(&self, path: &str) -> String {
        format!(
            "https://a.example.com:{}{path}",
            self.ringgate.addr("tls").port()
        )
    }

    /// curl by that version of HTTP, on each kind of listener that it is for; body and `VERSION STATUS` of the answer.
    fn curl(&self, way: &str, path: &str, args: &[&str]) -> (String, String) {
        let port = self.ringgate.addr("tls").port();
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--max-time",
            "30",
            "-w",
            "\n%{http_version} %{http_code}",
        ]);
        curl.arg("--resolve")
            .arg(format!("a.example.com:{port}:127.0.0.1"));
        curl.arg("--cacert").arg(self.ringgate.path("ca.pem"));
        let url = match way {
            "http/1.1" => self.plain(path),
            "h2c" => {
                curl.arg("--http2-prior-knowledge");
                self.plain(path)
            }
            "tls http/1.1" => {
                curl.arg("--http1.1");
                self.tls(path)
            }
            _ => self.tls(path),
        };
        let finished = finish_within(curl.args(args).arg(url), TOOL_MAX);
        assert_eq!(finished.code, Some(0), "{way} {path}: {}", finished.stderr);
        let (body, verdict) = finished.stdout.rsplit_once('\n').unwrap();
        (body.to_owned(), verdict.to_owned())
    }
}

const WAYS: [(&str, &str); 4] = [
    ("http/1.1", "1.1"),
    ("h2c", "2"),
    ("tls http/1.1", "1.1"),
    ("tls h2", "2"),
];

/// The servers of this file that answer with what they were sent, and what their pools need.
fn servers() -> Vec<(&'static str, Peer, &'static str)> {
    vec![
        ("Python", Peer::start("server.py", &[], &[]), ""),
        ("Node", Peer::start("server.js", &[], &["1"]), ""),
        (
            "Node with HTTP/2",
            Peer::start("server.js", &[], &["2"]),
            "http2: true",
        ),
    ]
}

#[test]
fn curl_gets_what_python_and_node_say_in_every_version() {
    let large = "y".repeat(1_000_000);
    for (name, server, pool) in servers() {
        let gateway = Gateway::start(server.addr(), pool);
        let file = gateway.ringgate.path("large");
        std::fs::write(&file, &large).unwrap();
        let file = format!("@{}", file.display());
        for (way, version) in WAYS {
            for (path, args, expected) in [
                ("/a/b?c=d", &[][..], "/a/b?c=d"),
                ("/chunked", &[], "onetwothree"),
                ("/small", &["-d", "hello"], "hello"),
                ("/large", &["--data-binary", &file], &large),
                (
                    "/unknown",
                    &["-H", "Transfer-Encoding: chunked", "--data-binary", &file],
                    &large,
                ),
                (
                    "/expect",
                    &["-H", "Expect: 100-continue", "-d", "hello"],
                    "hello",
                ),
                ("/put", &["-X", "PUT", "-d", "hello"], "hello"),
                ("/bytes/0", &[], ""),
                ("/bytes/1000000", &[], &"x".repeat(1_000_000)),
            ] {
                // HTTP/2 has no such field, and curl knows that.
                let (body, verdict) = gateway.curl(way, path, args);
                assert_eq!(
                    verdict,
                    format!("{version} 200"),
                    "{name}, {way}, {path}: {body:.200}"
                );
                assert!(body == expected, "{name}, {way}, {path}: {body:.200}");
            }
            let (head, _) = gateway.curl(way, "/bytes/77", &["-I"]);
            let head = head.to_ascii_lowercase();
            assert!(head.contains("x-request-id: "), "{name}, {way}: {head}");
        }
    }
}

#[test]
fn nginx_serves_files_and_ranges_through_it() {
    let nginx = Nginx::with(1, |place| {
        place.file("file", &"0123456789".repeat(100_000));
        let (addr, root) = (place.addr(0), place.dir().display());
        http(&format!(
            "gzip on; gzip_types *; gzip_proxied any; server {{ listen {addr}; keepalive_requests 20; if_modified_since before; root {root}; location /gone {{ return 410; }} }}"
        ))
    });
    let gateway = Gateway::start(nginx.addr(), "");
    for (way, version) in WAYS {
        let (body, verdict) = gateway.curl(way, "/file", &[]);
        assert_eq!(
            (body.len(), verdict),
            (1_000_000, format!("{version} 200")),
            "{way}"
        );
        let (body, verdict) = gateway.curl(way, "/file", &["-r", "10-19"]);
        assert_eq!(
            (body.as_str(), verdict),
            ("0123456789", format!("{version} 206")),
            "{way}"
        );
        let (body, _) = gateway.curl(way, "/file", &["--compressed"]);
        assert_eq!(body.len(), 1_000_000, "{way}");
        let (_, verdict) = gateway.curl(way, "/gone", &[]);
        assert_eq!(verdict, format!("{version} 410"), "{way}");
    }
    let since = ["-H", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"];
    assert_eq!(gateway.curl("tls h2", "/file", &since).1, "2 304");
}

fn tool(name: &str, args: &[&str]) -> Finished {
    let finished = finish_within(Command::new(name).args(args), TOOL_MAX);
    assert_eq!(finished.code, Some(0), "{name}: {finished:?}");
    finished
}

#[test]
fn h2load_nghttp_and_wrk_lose_no_request() {
    let nginx = Nginx::with(1, |place| {
        let addr = place.addr(0);
        let answer = "default_type text/plain; return 200 'hello from nginx';";
        http(&format!(
            "server {{ listen {addr}; keepalive_requests 300; location / {{ {answer} }} }}"
        ))
    });
    let gateway = Gateway::start(nginx.addr(), "");
    let tls = format!("https://127.0.0.1:{}/", gateway.ringgate.addr("tls").port());
    let plain = gateway.plain("/");
    // By an address it asks for no name and gets the only certificate.
    for args in [
        &["-n", "4000", "-c", "8", "-m", "16", &plain][..],
        &["-n", "2000", "-c", "8", "--h1", &plain],
        &[
            "-n",
            "2000",
            "-c",
            "4",
            "-m",
            "8",
            "-H",
            ":authority: a.example.com",
            &tls,
        ],
    ] {
        let said = tool("h2load", args).stdout;
        let count = args[1];
        let all = format!("{count} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(said.contains(&all), "{args:?}: {said}");
        assert!(
            said.contains(&format!("status codes: {count} 2xx")),
            "{args:?}: {said}"
        );
    }
    let said = tool("nghttp", &["-v", "-m", "5", &plain]).stdout;
    assert_eq!(said.matches("hello from nginx").count(), 5, "{said}");
    assert!(
        said.contains("error_code=NO_ERROR") || !said.contains("GOAWAY"),
        "{said}"
    );
    let said = tool("nghttp", &["-v", "-d", "/dev/null", &plain]).stdout;
    assert!(
        said.contains(":method: POST") && said.contains(":status: 200"),
        "{said}"
    );
    let said = tool("wrk", &["-t", "2", "-c", "16", "-d", "2s", &plain]).stdout;
    assert!(
        !said.contains("Socket errors") && !said.contains("Non-2xx"),
        "{said}"
    );
    let failed = ["499", "500", "502", "503", "504"];
    let requests = gateway.ringgate.metrics();
    for code in failed {
        let counted = requests.value("ringgate_http_requests_total", &[("code", code)]);
        assert_eq!(counted.unwrap_or_default(), 0.0, "{code}");
    }
}

/// Runs a script as a client to its end.
fn client(name: &str, args: &[&str]) {
    let finished = finish_within(script(name).args(args), TOOL_MAX);
    assert_eq!(
        finished.code,
        Some(0),
        "{name} {args:?}: {}",
        finished.stderr
    );
}

#[test]
fn websocket_messages_go_both_ways() {
    let server = Peer::start("websocket.py", &["serve"], &[]);
    let gateway = Gateway::start(server.addr(), "");
    let url = format!("ws://{}/chat", gateway.ringgate.addr("plain"));
    client("websocket.py", &["ask", &url]);
    let log = gateway.ringgate.access_log(1);
    assert_eq!(
        (&log[0]["status"], &log[0]["reason"]),
        (&101.into(), &"done".into())
    );
    assert!(
        log[0]["bytes_in"].as_u64().unwrap() > 2_000_000,
        "{}",
        log[0]
    );
    gateway.ringgate.wait_until_quiet();
}

#[test]
fn grpc_calls_of_every_kind_go_through() {
    let server = Peer::start("grpc_echo.py", &["serve"], &[]);
    let gateway = Gateway::start(server.addr(), "http2: true");
    let plain = gateway.ringgate.addr("plain").to_string();
    client("grpc_echo.py", &["ask", &plain]);
    let (tls, ca) = (
        gateway.ringgate.addr("tls").to_string(),
        gateway.ringgate.path("ca.pem"),
    );
    client(
        "grpc_echo.py",
        &["ask", &tls, &ca.display().to_string(), "a.example.com"],
    );
}
