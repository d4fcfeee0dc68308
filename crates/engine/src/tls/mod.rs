//! TLS with clients and servers: what a listener and a pool say of it, and how a connection gets through it. Keys
//! and files are read elsewhere; nothing here opens one.

mod certificates;
mod handshake;
mod queue;
mod session;

use std::sync::{Arc, OnceLock};

use ringgate_balance::ServerId;
use ringgate_config::Address;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ServerConfig};

pub use self::certificates::Certificates;
pub use self::handshake::Failure;
pub(crate) use self::handshake::{accept, connect, refuse_name};
pub(crate) use self::queue::Handshakes;
pub(crate) use self::session::{Spoken, Tls};

use crate::counters::WorkerId;

/// Where TLS is done, in words for people. The kernel's own TLS could take over after the handshake; it
/// is not used, and the words say so, since nothing of it could be tried where this was written.
pub fn place() -> &'static str {
    match ringgate_runtime::kernel_tls() {
        true => "user space (rustls; the kernel's TLS is there and not used)",
        false => "user space (rustls; the kernel has no TLS)",
    }
}

/// How a listener ends TLS. Immutable: a change of files makes a new one.
#[derive(Debug)]
pub struct Termination {
    /// What it says to clients; it chooses among `certificates`.
    pub config: Arc<ServerConfig>,
    /// What it can show.
    pub certificates: Arc<Certificates>,
    /// Whether a client that asks for a name without a certificate is refused; otherwise it gets the default one.
    pub refuses_unknown_names: bool,
    /// Who checks clients' certificates; `None` when they are not asked.
    pub clients: Option<Clients>,
}

/// Who checks the certificates of clients. `config` asks the same verifier; a resumed session is checked again by it.
#[derive(Debug)]
pub struct Clients {
    /// Verifies a chain.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Whether a client may not come without one.
    pub required: bool,
}

/// How connections to the servers of a pool are encrypted. Immutable.
#[derive(Debug)]
pub struct Origination {
    config: ClientConfig,
    /// What each worker says to each server, made when it is first needed: their sessions are their own.
    configs: Box<[OfWorker]>,
    server_name: Option<ServerName<'static>>,
}

/// What one worker says, by server.
type OfWorker = Box<[OnceLock<Arc<ClientConfig>>]>;

impl Origination {
    /// By that configuration, from so many workers to so many servers. `server_name` is asked for and
    /// verified; without one it is the server's IP address.
    pub fn new(
        config: ClientConfig,
        server_name: Option<ServerName<'static>>,
        workers: usize,
        servers: usize,
    ) -> Self {
        let of_worker = |_| -> OfWorker { (0..servers).map(|_| OnceLock::new()).collect() };
        Self {
            config,
            configs: (0..workers).map(of_worker).collect(),
            server_name,
        }
    }

    /// Whom the server at an address should be.
    pub fn name(&self, address: &Address) -> ServerName<'static> {
        match (&self.server_name, address) {
            (Some(name), _) => name.clone(),
            (None, Address::Ip(address)) => ServerName::from(address.ip()),
            // A unix socket is reached by this host alone.
            (None, Address::Unix(_)) => local(),
        }
    }

    /// What a worker says to a server. The store of sessions is behind a lock, and a server may not know
    /// the tickets of another, so none is shared.
    ///
    /// # Panics
    /// When there is no such worker or server.
    pub fn config(&self, worker: WorkerId, server: ServerId) -> Arc<ClientConfig> {
        /// Tickets kept for a server: each is good once (RFC 8446 §C.4).
        const SESSIONS: usize = 8;
        let config = &self.configs[usize::from(worker.0)][server.index()];
        let made = config.get_or_init(|| {
            let mut config = self.config.clone();
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            Arc::new(config)
        });
        made.clone()
    }
}

/// The name of this host.
///
/// # Panics
/// Never.
pub fn local() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("it is the name of a host")
}
