//! Debian's nginx as a server behind Ringgate. It answers every request with its name; it is one process, so that a
//! kill is the death of the whole server.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::servers::SERVERS;
use crate::temp::TempDir;
use crate::wait::{PATIENCE, wait_until};

/// An nginx that can be killed and started again on the same port.
#[derive(Debug)]
pub struct Nginx {
    dir: TempDir,
    addr: SocketAddr,
    child: Option<Child>,
}

impl Nginx {
    /// Starts one that answers every request with `name`.
    ///
    /// # Panics
    /// When nginx is not installed or does not serve.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let dir = TempDir::new();
        let free = TcpListener::bind((SERVERS, 0)).expect("a port is free");
        let addr = free.local_addr().expect("a bound socket has an address");
        fs::write(dir.path().join("nginx.conf"), config(name, addr))
            .expect("a fresh directory can be written to");
        drop(free);
        let mut nginx = Self {
            dir,
            addr,
            child: None,
        };
        nginx.start_again();
        nginx
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Kills it at once (SIGKILL): the kernel resets or ends its connections, and its port refuses.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("nginx runs");
        child
            .kill()
            .expect("a child that was not waited for can be killed");
        child.wait().expect("a killed child ends");
    }

    /// Starts it after a kill and waits until it accepts.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_again(&mut self) {
        let prefix = self.dir.path();
        // nginx truncates it after it listens: on a busy disk that waits for the old one to be written.
        fs::remove_file(prefix.join("nginx.pid")).ok();
        let child = Command::new("nginx")
            .args([
                "-p",
                &prefix.display().to_string(),
                "-e",
                "error.log",
                "-c",
                "nginx.conf",
            ])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("nginx: {error}; scripts/test installs what the tests need")
            });
        self.child = Some(child);
        wait_until("nginx accepts", PATIENCE, || {
            TcpStream::connect(self.addr).is_ok()
        });
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

fn config(name: &str, addr: SocketAddr) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    # Clients that keep connections come back often enough to be spread anew.
    keepalive_requests 300;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{
        listen {addr};
        location / {{ default_type text/plain; return 200 '{name}'; }}
    }}
}}
"
    )
}
