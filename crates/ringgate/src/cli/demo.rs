//! `ringgate demo`: Ringgate in front of three small servers of its own, on the same path as `ringgate run`. It
//! leaves nothing behind.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use nix::unistd::mkdtemp;
use ringgate_config::{Bind, Override, Plan};
use ringgate_control::auth::issue;

use crate::demo::{DemoServer, STOP};
use crate::failure::Failure;
use crate::print::print;
use crate::process::Process;

/// Try it: no file needed
///
/// Starts three small servers in the process, in front of them a TCP listener on :8080 and an HTTP gateway on :8081, and
/// the dashboard on 127.0.0.1:9900, and says what to try.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Set one key of the demo's configuration: `--set listeners.tcp.bind=:8090`; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE", value_parser = Override::parse)]
    overrides: Vec<Override>,
}

/// The names of the servers.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// The names of the listeners.
const TCP: &str = "tcp";
const GATEWAY: &str = "gateway";

/// Requests that the gateway lets a client make at once.
const BURST: u32 = 10;

/// The secrets of two consumers: one may see the orders, the other may not.
struct Secrets {
    alice: String,
    bob: String,
}

impl Demo {
    pub(crate) fn act(self) -> Result<(), Failure> {
        let servers = start_servers()?;
        let directory = PrivateDirectory::create()?;
        let tokens = directory.0.join("tokens");
        let issue = |name, scopes: &[String]| issue::token(&tokens, name, scopes);
        let secrets = Secrets {
            alice: issue("alice", &["orders".to_owned()]).map_err(Failure::new)?,
            bob: issue("bob", &[]).map_err(Failure::new)?,
        };
        let text = config(&servers, &directory.0.join("admin.sock"), &tokens);
        let (plan, places) =
            ringgate_config::parse_with_places("the demo's configuration", &text, &self.overrides)?;
        let guide = format!(
            "{}{}\nCtrl-C ends it.\n",
            what_to_try(&plan, &servers[0]),
            what_to_ask(&plan, &secrets)
        );
        let process = Process::start(plan, &places, None).map_err(|failure| {
            failure.with_advice(
                "if a port is taken: ringgate demo --set listeners.tcp.bind=:8090 --set listeners.gateway.bind=:8091 \
                 --set admin.http=127.0.0.1:9901",
            )
        })?;
        print(&guide)?;
        process.serve()
    }
}

fn start_servers() -> Result<Vec<DemoServer>, Failure> {
    NAMES
        .into_iter()
        .map(DemoServer::start)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new(format_args!("cannot start the demo's servers: {error}")))
}

/// The configuration that a user would write for these servers.
fn config(servers: &[DemoServer], admin: &Path, tokens: &Path) -> String {
    let servers: String = servers
        .iter()
        .map(|server| {
            format!(
                "      - {{ name: {}, address: \"{}\" }}\n",
                server.name, server.address
            )
        })
        .collect();
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy());
    let (admin, tokens) = (quoted(admin), quoted(tokens));
    format!(
        "\
# One worker, so that the servers take strict turns: each worker has a turn of its own.
workers: 1
log: {{ access: off, format: text }}
admin: {{ socket: {admin}, http: \"127.0.0.1:9900\" }}
timeouts: {{ drain: 1s }}
listeners:
  {TCP}: {{ bind: \":8080\", pool: servers }}
  {GATEWAY}:
    bind: \":8081\"
    http:
      auth: {{ tokens_file: {tokens} }}
      rate_limit: {{ rate: 1/s, burst: {BURST} }}
    routes:
      - {{ name: open, path: /open, pool: servers, http: {{ auth: off }} }}
      - {{ name: orders, path: /orders, pool: servers, http: {{ require: orders }} }}
pools:
  servers:
    health: {{ interval: 500ms, timeout: 500ms }}
    servers:
{servers}"
    )
}

/// What a newcomer can do now, ready to be copied.
fn what_to_try(plan: &Plan, server: &DemoServer) -> String {
    let program = env::args().next().unwrap_or_else(|| "ringgate".to_owned());
    let (listener, door) = door(plan, TCP);
    let socket = plan.admin.socket.display();
    let DemoServer { name, address } = server;
    let seconds = STOP.as_secs();
    let dashboard = plan.admin.http.map_or_else(String::new, |http| {
        format!(
            "  curl {http}/metrics\n      what Prometheus would read; for people: http://{http}/\n"
        )
    });
    format!(
        "
Ringgate listens on {listener} and spreads connections over three small servers. In another terminal:

  curl {door}
      another server each time
  {program} status --admin {socket}
      what goes where, and which servers are up
{dashboard}  wrk -t1 -c64 -d30s http://{door}/
      load; while it runs:
  curl -X POST {address}/stop
      server {name} breaks its connections and refuses new ones for {seconds} s: the others take over
"
    )
}

/// The same of the gateway.
fn what_to_ask(plan: &Plan, secrets: &Secrets) -> String {
    let (listener, door) = door(plan, GATEWAY);
    let Secrets { alice, bob } = secrets;
    let all = BURST + 5;
    format!(
        "
On {listener} is an HTTP gateway to the same servers:

  curl -i {door}/open
      200: a route for everybody
  curl -i {door}/orders
      401: this one asks for a token
  curl -i -H 'Authorization: Bearer {alice}' {door}/orders
      200: alice has one with the scope that it takes; the server learns her name
  curl -i -H 'Authorization: Bearer {bob}' {door}/orders
      403: bob has one without the scope
  curl -s -o /dev/null -w '%{{http_code}} ' '{door}/open?[1-{all}]'
      200, then 429: a client may make {BURST} requests at once, and one more each second
"
    )
}

/// Where a listener listens, and where a client of this host finds it.
fn door(plan: &Plan, name: &str) -> (String, String) {
    let named = plan.listeners.iter().find(|listener| listener.name == name);
    let bind = &named
        .expect("the demo's configuration has that listener")
        .binds[0];
    let door = match bind {
        Bind::Ip { addr, .. } if addr.ip().is_unspecified() => format!("127.0.0.1:{}", addr.port()),
        other => other.to_string(),
    };
    (bind.to_string(), door)
}

/// A directory that only this user can enter, gone with this value.
#[derive(Debug)]
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn create() -> Result<Self, Failure> {
        let parent = env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, PathBuf::from);
        mkdtemp(&parent.join("ringgate-demo-XXXXXX"))
            .map(Self)
            .map_err(|error| {
                Failure::new(format_args!(
                    "cannot make a directory for the admin socket in {}: {error}",
                    parent.display()
                ))
            })
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
