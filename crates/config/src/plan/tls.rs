//! The parts of the plan that speak of TLS, of names that clients ask for, and of the PROXY protocol. Files are
//! named here and never opened.

use std::fmt;
use std::path::PathBuf;

use super::{Network, PoolIndex};
pub use crate::word::{ClientAuthMode, ProxyVersion, TlsVersion, UnknownName};

/// A listener ends TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// What it shows to clients.
    pub certs: Certificates,
    /// The oldest version that a client may speak.
    pub min_version: TlsVersion,
    /// The protocols it offers by ALPN (RFC 7301), the preferred one first; none when empty.
    pub alpn: Vec<String>,
    /// Whether clients show certificates; `None` when they are not asked.
    pub client_auth: Option<ClientAuth>,
    /// The file with the keys of session tickets, for several nodes; `None` when they are random and rotated.
    pub ticket_keys: Option<PathBuf>,
    /// What a client gets that asks for a name without a certificate.
    pub unknown_name: UnknownName,
}

/// The certificates of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// All that lie in this folder. Absolute.
    Folder(PathBuf),
    /// These; at least one. The first is the default.
    List(Vec<Pair>),
}

/// A certificate with its chain, and its key. Both absolute, both PEM; they may be one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate and those that signed it.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How clients show who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// Those who may sign clients' certificates. PEM, absolute.
    pub ca: PathBuf,
    /// Whether a client may come without one.
    pub mode: ClientAuthMode,
    /// The certificates that were revoked. PEM, absolute.
    pub crl: Option<PathBuf>,
}

/// Connections to the servers of a pool are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Those who may sign the servers' certificates; `None` when those that the system trusts. PEM, absolute.
    pub ca: Option<PathBuf>,
    /// The name asked for and verified; `None` when the server's IP address is.
    pub server_name: Option<String>,
    /// What Ringgate shows when a server asks who it is.
    pub identity: Option<Pair>,
    /// The protocols offered by ALPN, the preferred one first; none when empty.
    pub alpn: Vec<String>,
    /// Whether the server's certificate is verified.
    pub verify: bool,
}

/// PROXY protocol headers are expected on a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptProxy {
    /// Who may send one; nobody else may connect, but for peers of a unix socket, who always may. Empty only where all
    /// sockets are such.
    pub trusted: Vec<Network>,
}

/// Sends the connections that fulfil all of its conditions to a pool. At least one condition is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What the log calls it: its name in the file, or its first condition.
    pub name: String,
    /// The names that a client asks for by SNI (RFC 6066 §3), any of them; any name or none when empty.
    pub sni: Vec<NamePattern>,
    /// The protocols that a client offers by ALPN, any of them; any or none when empty.
    pub alpn: Vec<String>,
    /// Where a client comes from, any of them; anywhere when empty.
    pub client: Vec<Network>,
    /// Where its connections go.
    pub pool: PoolIndex,
    /// On a listener that ends TLS: it does not end it for these.
    pub passthrough: bool,
}

impl Route {
    /// Its name where the file gives none: its first condition, as the file writes it.
    pub(crate) fn first_condition(&self) -> String {
        let sni = self.sni.first().map(NamePattern::to_string);
        sni.or_else(|| self.alpn.first().cloned())
            .or_else(|| self.client.first().map(Network::to_string))
            .unwrap_or_default()
    }
}

/// A name, or all names under one. In lower case, without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// This name.
    Exact(String),
    /// All names that end with a dot and this one, however many labels stand before.
    Under(String),
}

impl fmt::Display for NamePattern {
    /// As the file writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Under(name) => write!(f, "*.{name}"),
        }
    }
}
