//! Debian's HAProxy, before or behind Ringgate, as a test configures it.

use std::net::SocketAddr;

use crate::daemon::{Daemon, Place};

/// An HAProxy of one thread.
#[derive(Debug)]
pub struct Haproxy(Daemon);

impl Haproxy {
    /// Starts one with that many ports and the sections that `configure` writes for them. It listens at least at the
    /// address of its first port.
    ///
    /// # Panics
    /// When HAProxy is not installed or does not serve.
    #[must_use]
    pub fn with(ports: usize, configure: impl Fn(&Place) -> String) -> Self {
        let place = Place::new(ports);
        let head = "global\n    nbthread 1\ndefaults\n    mode http\n    timeout connect 20s\n    timeout client 20s\n    timeout server 20s\n";
        place.file("haproxy.cfg", &format!("{head}{}", configure(&place)));
        let ready_at = place.addr(0);
        Self(Daemon::start(
            "haproxy",
            &["-db", "-f", "haproxy.cfg"],
            place,
            ready_at,
        ))
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
}
