//! Debian's nginx: a server behind Ringgate that answers every request with its name, or whatever a test configures.

use std::fs;
use std::net::SocketAddr;

use crate::daemon::{Daemon, Place};

/// An nginx that can be killed and started again on the same ports.
#[derive(Debug)]
pub struct Nginx(Daemon);

impl Nginx {
    /// Starts one that answers every request with `name`.
    ///
    /// # Panics
    /// When nginx is not installed or does not serve.
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::with(1, |place| {
            let addr = place.addr(0);
            let answer = format!("default_type text/plain; return 200 '{name}';");
            http(&format!(
                "server {{ listen {addr}; location / {{ {answer} }} }}"
            ))
        })
    }

    /// Starts one with that many ports and the blocks that `configure` writes for them, such as those of [`http`] and
    /// [`stream`]. It listens at least at the address of its first port.
    ///
    /// # Panics
    /// When nginx is not installed or does not serve.
    #[must_use]
    pub fn with(ports: usize, configure: impl Fn(&Place) -> String) -> Self {
        let place = Place::new(ports);
        let main = "daemon off;\nmaster_process off;\npid nginx.pid;\nevents { worker_connections 512; }\n";
        place.file("nginx.conf", &format!("{}{main}", configure(&place)));
        let prefix = place.dir().display().to_string();
        let args = ["-p", &prefix, "-e", "error.log", "-c", "nginx.conf"];
        let ready_at = place.addr(0);
        Self(Daemon::start("nginx", &args, place, ready_at))
    }

    /// Where it listens with its first port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.place().addr(0)
    }

    /// Its directory and ports.
    #[must_use]
    pub fn place(&self) -> &Place {
        self.0.place()
    }

    /// Kills it at once (SIGKILL): the kernel resets or ends its connections, and its port refuses.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it after a kill and waits until it accepts.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_again(&mut self) {
        // nginx truncates it after it listens: on a busy disk that waits for the old one to be written.
        fs::remove_file(self.place().dir().join("nginx.pid")).ok();
        self.0.start_again();
    }
}

/// The block of these HTTP servers.
#[must_use]
pub fn http(servers: &str) -> String {
    format!(
        "http {{
    access_log off;
    # Clients that keep connections come back often enough to be spread anew.
    keepalive_requests 300;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {servers}
}}
"
    )
}

/// The block of these TCP servers, and before it the module that Debian keeps apart.
#[must_use]
pub fn stream(servers: &str) -> String {
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nstream {{\n    {servers}\n}}\n"
    )
}
