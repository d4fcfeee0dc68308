//! `ringgate demo`: Ringgate in front of three small servers of its own, on the same path as `ringgate run`. It
//! leaves nothing behind.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use nix::unistd::mkdtemp;
use ringgate_config::{Bind, Override, Plan};

use crate::demo::{DemoServer, STOP};
use crate::failure::Failure;
use crate::print::print;
use crate::process::Process;

/// Try it: no file needed
///
/// Starts three small servers in the process, a TCP listener on :8080 in front of them and the dashboard on
/// 127.0.0.1:9900, and says what to try.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Set one key of the demo's configuration: `--set listeners.demo.bind=:8081`; may be repeated
    #[arg(long = "set", value_name = "KEY.PATH=VALUE", value_parser = Override::parse)]
    overrides: Vec<Override>,
}

/// The names of the servers.
const NAMES: [&str; 3] = ["a", "b", "c"];

impl Demo {
    pub(crate) fn act(self) -> Result<(), Failure> {
        let servers = start_servers()?;
        let directory = PrivateDirectory::create()?;
        let text = config(&servers, &directory.0.join("admin.sock"));
        let (plan, places) =
            ringgate_config::parse_with_places("the demo's configuration", &text, &self.overrides)?;
        let guide = what_to_try(&plan, &servers[0]);
        let process = Process::start(plan, &places, None).map_err(|failure| {
            failure.with_advice(
                "if a port is taken: ringgate demo --set listeners.demo.bind=:8081 --set admin.http=127.0.0.1:9901",
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
fn config(servers: &[DemoServer], admin: &Path) -> String {
    let servers: String = servers
        .iter()
        .map(|server| {
            format!(
                "      - {{ name: {}, address: \"{}\" }}\n",
                server.name, server.address
            )
        })
        .collect();
    let admin = serde_json::Value::from(admin.to_string_lossy());
    format!(
        "\
# One worker, so that the servers take strict turns: each worker has a turn of its own.
workers: 1
log: {{ access: off, format: text }}
admin: {{ socket: {admin}, http: \"127.0.0.1:9900\" }}
timeouts: {{ drain: 1s }}
listeners:
  demo: {{ bind: \":8080\", pool: servers }}
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
    let listener = &plan.listeners[0].binds[0];
    let door = match listener {
        Bind::Ip { addr, .. } if addr.ip().is_unspecified() => format!("127.0.0.1:{}", addr.port()),
        other => other.to_string(),
    };
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

Ctrl-C ends it.
"
    )
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
