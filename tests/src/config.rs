//! A configuration file for one start: a YAML text in which `$dir` stands for a fresh directory and every other `$name`
//! for a port that was free a moment ago, but for those that Ringgate knows itself. It adds only the doors and the log
//! that a test needs to look through.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::temp::TempDir;

const ADMIN: &str = "admin: { socket: $dir/admin.sock, http: 127.0.0.1:$admin }\n";
const LOG: &str = "log: { access: $dir/access.log }\n";

/// What stands for parts of a request in the target of a redirect.
const OWN: [&str; 3] = ["host", "path", "query"];

/// A file on disk and what its placeholders became.
#[derive(Debug)]
pub struct Config {
    dir: TempDir,
    ports: BTreeMap<String, u16>,
}

impl Config {
    /// Fills in the placeholders and writes the file. Where the text has no `admin:` or `log:` of its own, it gets the
    /// socket `$dir/admin.sock`, the port `$admin` and the access log `$dir/access.log`.
    ///
    /// # Panics
    /// When the directory cannot be written to or no port is free.
    #[must_use]
    pub fn write(yaml: &str) -> Self {
        let mut text = yaml.trim_start_matches('\n').to_owned();
        for (key, block) in [("admin:", ADMIN), ("log:", LOG)] {
            if !text.lines().any(|line| line.starts_with(key)) {
                text.insert_str(0, block);
            }
        }
        let dir = TempDir::new();
        let (text, ports) = fill_in(&text, dir.path());
        let config = Self { dir, ports };
        fs::write(config.file(), text).expect("a fresh directory can be written to");
        config
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ringgate.yaml")
    }

    /// What `$dir` became.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What `$name` became.
    ///
    /// # Panics
    /// When the text has no such placeholder.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        *self
            .ports
            .get(name)
            .unwrap_or_else(|| panic!("the configuration has no ${name}"))
    }
}

/// `127.0.0.1` with that port.
#[must_use]
pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn fill_in(template: &str, dir: &Path) -> (String, BTreeMap<String, u16>) {
    let mut held = Vec::new();
    let mut ports = BTreeMap::new();
    let mut parts = template.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        if name == "dir" {
            text += &dir.display().to_string();
        } else if OWN.contains(&name) {
            text += &format!("${name}");
        } else {
            let port = ports.entry(name.to_owned()).or_insert_with(|| {
                let (listener, port) = free_port();
                held.push(listener);
                port
            });
            text += &port.to_string();
        }
        text += rest;
    }
    (text, ports)
}

/// A port that is free at every address of both families for as long as the listener lives.
pub(crate) fn free_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("[::]:0").expect("a port is free");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    (listener, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_port_wherever_it_stands() {
        let (text, ports) = fill_in(
            "a: $web, b: $web, c: $other\nd: $dir/x$path",
            Path::new("/tmp/d"),
        );
        let (web, other) = (ports["web"], ports["other"]);
        assert_eq!(
            text,
            format!("a: {web}, b: {web}, c: {other}\nd: /tmp/d/x$path")
        );
        assert_ne!(web, other);
    }
}
