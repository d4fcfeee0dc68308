//! A peer that runs until its test ends: a program in a directory of its own, with ports that were free a moment ago.
//! It is one process, so that a kill is the death of the whole peer.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::config::free_port;
use crate::servers::SERVERS;
use crate::temp::TempDir;
use crate::wait::{PATIENCE, wait_until};

/// What a configuration is written with.
#[derive(Debug)]
pub struct Place {
    dir: TempDir,
    ports: Vec<u16>,
    held: Vec<TcpListener>,
}

impl Place {
    pub(crate) fn new(ports: usize) -> Self {
        let (held, ports) = (0..ports).map(|_| free_port()).unzip();
        Self {
            dir: TempDir::new(),
            ports,
            held,
        }
    }

    /// A directory of its own.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file in it, with that text.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, text).expect("a fresh directory can be written to");
        path
    }

    /// The path of a unix socket in it.
    #[must_use]
    pub fn socket(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    /// Where it listens with its port of that number.
    ///
    /// # Panics
    /// When it has fewer ports.
    #[must_use]
    pub fn addr(&self, number: usize) -> SocketAddr {
        (SERVERS, self.ports[number]).into()
    }

    /// The same port at `127.0.0.1`.
    ///
    /// # Panics
    /// When it has fewer ports.
    #[must_use]
    pub fn loopback(&self, number: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[number]).into()
    }

    /// The same port at `::1`.
    ///
    /// # Panics
    /// When it has fewer ports.
    #[must_use]
    pub fn ipv6(&self, number: usize) -> SocketAddr {
        (Ipv6Addr::LOCALHOST, self.ports[number]).into()
    }
}

/// The process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    program: &'static str,
    args: Vec<String>,
    place: Place,
    ready_at: SocketAddr,
    child: Option<Child>,
}

impl Daemon {
    /// Starts it and waits until it accepts at `ready_at`.
    pub(crate) fn start(
        program: &'static str,
        args: &[&str],
        mut place: Place,
        ready_at: SocketAddr,
    ) -> Self {
        place.held.clear();
        let mut daemon = Self {
            program,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            place,
            ready_at,
            child: None,
        };
        daemon.start_again();
        daemon
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Kills it at once (SIGKILL).
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("the process runs");
        child
            .kill()
            .expect("a child that was not waited for can be killed");
        child.wait().expect("a killed child ends");
    }

    pub(crate) fn start_again(&mut self) {
        let (program, dir) = (self.program, self.place.dir());
        let log = fs::File::create(dir.join("stderr")).expect("a directory can be written to");
        let child = Command::new(program)
            .args(&self.args)
            .current_dir(dir)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program}: {error}; scripts/test installs what the tests need")
            });
        let child = self.child.insert(child);
        wait_until(&format!("{program} accepts"), PATIENCE, || {
            let ended = child.try_wait().expect("a child can be waited for");
            assert!(
                ended.is_none(),
                "{program} ended:\n{}",
                fs::read_to_string(dir.join("stderr")).unwrap_or_default()
            );
            TcpStream::connect(self.ready_at).is_ok()
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}
