//! The listening sockets of a plan, made before any worker runs: one per worker and address, or
//! those that were given to the process (sd_listen_fds(3)). Accepts nothing.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use ringgate_config::{Bind, Plan};
pub use ringgate_runtime::{ListeningSocket, SocketFile};
use ringgate_runtime::{SockAddr, given_sockets};

use crate::snapshot::ListenerId;

/// The sockets that were given to the process and not yet asked for.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(SockAddr, OwnedFd)>);

impl Inherited {
    /// Takes what the environment names (LISTEN_PID, LISTEN_FDS).
    ///
    /// # Errors
    /// When the environment names descriptors that are not listening stream sockets.
    pub fn from_environment() -> io::Result<Self> {
        given_sockets().map(Self)
    }

    /// The addresses that no `bind` asked for.
    pub fn unused(&self) -> Vec<String> {
        self.0.iter().map(|(address, _)| shown(address)).collect()
    }

    fn take(&mut self, bind: &Bind) -> Option<OwnedFd> {
        let index = self
            .0
            .iter()
            .position(|(address, _)| matches(address, bind))?;
        Some(self.0.swap_remove(index).1)
    }
}

/// Listening sockets for every worker.
#[derive(Debug)]
pub struct Bound {
    /// Indexed by worker.
    pub workers: Vec<Vec<(ListenerId, ListeningSocket)>>,
    /// The files of unix sockets, removed when this is dropped.
    pub files: Vec<SocketFile>,
}

/// An address could not be bound.
#[derive(Debug)]
pub struct BindError {
    listener: String,
    bind: String,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listener,
            bind,
            error,
        } = self;
        write!(f, "listener `{listener}` cannot listen on {bind}: ")?;
        match error.kind() {
            io::ErrorKind::AddrInUse => f.write_str(
                "another process listens there; stop it, or choose another `bind` \
                 (`ss -ltnp` and `ss -lxp` show who it is)",
            ),
            io::ErrorKind::PermissionDenied => f.write_str(
                "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE \
                 (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), a unix socket needs a folder \
                 that the process may write to",
            ),
            io::ErrorKind::AddrNotAvailable => {
                f.write_str("this host does not have the address; `ip address` shows those it has")
            }
            io::ErrorKind::NotFound => f.write_str("the folder of the socket does not exist"),
            _ => error.fmt(f),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Makes the sockets of every listener for `workers` workers.
///
/// # Errors
/// The first address that cannot be bound; what was bound before is closed again.
pub fn bind(plan: &Plan, workers: usize, inherited: &mut Inherited) -> Result<Bound, BindError> {
    let mut bound = Bound {
        workers: (0..workers).map(|_| Vec::new()).collect(),
        files: Vec::new(),
    };
    for (index, listener) in plan.listeners.iter().enumerate() {
        let id = ListenerId(index as u16);
        for bind in &listener.binds {
            let sockets =
                bind_one(bind, workers, inherited, &mut bound.files).map_err(|error| {
                    BindError {
                        listener: listener.name.clone(),
                        bind: bind.to_string(),
                        error,
                    }
                })?;
            for (worker, socket) in bound.workers.iter_mut().zip(sockets) {
                worker.push((id, socket));
            }
        }
    }
    for (id, socket) in bound.workers.iter().flatten() {
        socket.listen().map_err(|error| {
            let listener = &plan.listeners[usize::from(id.0)];
            let binds: Vec<String> = listener.binds.iter().map(Bind::to_string).collect();
            BindError {
                listener: listener.name.clone(),
                bind: binds.join(", "),
                error,
            }
        })?;
    }
    Ok(bound)
}

fn bind_one(
    bind: &Bind,
    workers: usize,
    inherited: &mut Inherited,
    files: &mut Vec<SocketFile>,
) -> io::Result<Vec<ListeningSocket>> {
    if let Some(socket) = inherited.take(bind) {
        return ListeningSocket::inherited(socket, workers);
    }
    match bind {
        Bind::Ip { addr, dual_stack } => ListeningSocket::bind(*addr, *dual_stack, workers),
        Bind::Unix(path) => {
            let (sockets, file) = ListeningSocket::bind_unix(path, workers)?;
            files.push(file);
            Ok(sockets)
        }
    }
}

fn matches(address: &SockAddr, bind: &Bind) -> bool {
    match bind {
        Bind::Ip { addr, .. } => address.as_socket() == Some(*addr),
        Bind::Unix(path) => address.as_pathname() == Some(path),
    }
}

fn shown(address: &SockAddr) -> String {
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => address.to_string(),
        (None, Some(path)) => format!("unix:{}", path.display()),
        (None, None) => "a socket without a name".to_owned(),
    }
}
