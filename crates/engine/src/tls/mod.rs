//! TLS with clients and servers: what a listener and a pool say of it, and how a connection gets through it. Keys
//! and files are read elsewhere; nothing here opens one.

mod certificates;
mod handshake;
mod queue;
mod session;

use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ServerConfig};

pub use self::certificates::Certificates;
pub use self::handshake::Failure;
pub(crate) use self::handshake::{accept, connect};
pub(crate) use self::queue::Handshakes;
pub(crate) use self::session::{Said, Tls};

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
    /// What each worker says to servers, by number: each has sessions of its own to resume.
    pub configs: Box<[Arc<ClientConfig>]>,
    /// The name that is asked for and verified; `None` when it is the server's IP address.
    pub server_name: Option<rustls::pki_types::ServerName<'static>>,
}
