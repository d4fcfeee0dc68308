//! Peers in other languages: the scripts of `tests/peers`, as servers behind Ringgate and as clients in front of it.
//! They run by the tools that scripts/test has installed, and never download anything.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::daemon::{Daemon, Place};

/// A server by one of the scripts, killed when dropped.
#[derive(Debug)]
pub struct Peer(Daemon);

impl Peer {
    /// Starts `SCRIPT ARGS… HOST PORT MORE…`.
    ///
    /// # Panics
    /// When it does not serve.
    #[must_use]
    pub fn start(script: &str, args: &[&str], more: &[&str]) -> Self {
        let place = Place::new(1);
        let addr = place.addr(0);
        let (host, port) = (addr.ip().to_string(), addr.port().to_string());
        let path = path(script).display().to_string();
        let all = [&[path.as_str()], args, &[&host, &port], more].concat();
        Self(Daemon::start(interpreter(script), &all, place, addr))
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.0.place().addr(0)
    }
}

/// The command that runs one of the scripts, for its arguments to be added.
#[must_use]
pub fn script(script: &str) -> Command {
    let mut command = Command::new(interpreter(script));
    command.arg(path(script));
    command
}

fn path(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(script)
}

/// Python with the packages that the scripts want, or Node.
fn interpreter(script: &str) -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    if script.ends_with(".js") {
        return "node";
    }
    PYTHON.get_or_init(|| {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/peers");
        tools.join("bin/python3").display().to_string()
    })
}
