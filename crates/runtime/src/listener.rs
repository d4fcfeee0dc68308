//! Accepting: the sockets that listen, bound before any worker runs, and the worker's side that
//! takes connections from them.

use std::fs::Permissions;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use nix::libc;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::core::Core;
use crate::runtime::core;
use crate::sockets::SocketId;
use crate::stream::Stream;

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// The mode of a unix socket's file: it serves clients, like a port.
const SOCKET_MODE: u32 = 0o666;

/// A bound socket that no worker has taken yet.
#[derive(Debug)]
pub struct ListeningSocket {
    socket: Socket,
    origin: Origin,
}

/// Where a listening socket comes from, which decides how it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Ours alone: nobody accepts from it after we close it.
    Own,
    /// One of several descriptors of the same socket, which this process made.
    Shared,
    /// Given to the process: whoever gave it keeps it, with what waits in its queue.
    Inherited,
}

impl ListeningSocket {
    /// One TCP socket for each of `count` workers, which share the address (SO_REUSEPORT,
    /// socket(7)): the kernel spreads new connections over them. An address that another process
    /// listens on is refused, although that process may have allowed sharing.
    ///
    /// # Errors
    /// Those of bind(2).
    pub fn bind(address: SocketAddr, dual_stack: bool, count: usize) -> io::Result<Vec<Self>> {
        // A host may have no IPv6 at all; `:port` then means IPv4.
        let address = match Socket::new(Domain::for_address(address), Type::STREAM, None) {
            Err(error) if dual_stack && error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))
            }
            _ => address,
        };
        // A socket that does not share finds out whether somebody listens there.
        let mut sockets = vec![bound_at_last(address, dual_stack)?];
        sockets[0].set_reuse_port(true)?;
        for _ in 1..count {
            sockets.push(bound(address, dual_stack, Sharing::Port)?);
        }
        Ok(sockets
            .into_iter()
            .map(|socket| Self {
                socket,
                origin: Origin::Own,
            })
            .collect())
    }

    /// Lets clients connect. Called when every address of the process is bound: whoever listens on
    /// one address keeps others from being bound that overlap with it.
    ///
    /// # Errors
    /// Those of listen(2).
    pub fn listen(&self) -> io::Result<()> {
        self.socket.listen(BACKLOG)
    }

    /// A unix socket at `path` with `count` descriptors for as many workers. A socket file that
    /// nobody listens on any more is replaced; any other file is not.
    ///
    /// Every account may connect that the folders on the way let through.
    ///
    /// # Errors
    /// Those of bind(2) and chmod(2); `AddrInUse` when somebody listens there.
    pub fn bind_unix(path: &Path, count: usize) -> io::Result<(Vec<Self>, SocketFile)> {
        let address = SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        if let Err(error) = socket.bind(&address) {
            let stale = error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &address);
            if !stale {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        let file = SocketFile(path.to_owned());
        std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
        Ok((
            Self {
                socket,
                origin: Origin::Shared,
            }
            .divide(count)?,
            file,
        ))
    }

    /// A listening socket that was given to the process, with `count` descriptors for as many
    /// workers.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn inherited(socket: OwnedFd, count: usize) -> io::Result<Vec<Self>> {
        let socket = Socket::from(socket);
        // Accepted sockets inherit it (tcp(7)); a unix socket has no such option.
        let _ = socket.set_tcp_nodelay(true);
        Self {
            socket,
            origin: Origin::Inherited,
        }
        .divide(count)
    }

    /// A socket without an address, for a simulated world to give it one.
    pub(crate) fn without_address() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(Domain::IPV4, Type::STREAM, None)?,
            origin: Origin::Own,
        })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn divide(self, count: usize) -> io::Result<Vec<Self>> {
        let mut parts = Vec::with_capacity(count);
        for _ in 1..count {
            parts.push(Self {
                socket: self.socket.try_clone()?,
                origin: self.origin,
            });
        }
        parts.push(self);
        Ok(parts)
    }
}

/// A unix socket's file, removed when it is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed by hand; there is nobody to tell.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Not,
    Port,
}

fn bound(address: SocketAddr, dual_stack: bool, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // Accepted sockets inherit it, which saves a call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A socket that does not share. The kernel frees the listening sockets of a process that was killed
/// a few milliseconds after the process itself, when its ring is gone: a restart must not fail on
/// that, so an address in use is tried again for a while.
fn bound_at_last(address: SocketAddr, dual_stack: bool) -> io::Result<Socket> {
    const TRIES_MAX: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(10);
    let attempt = || bound(address, dual_stack, Sharing::Not);
    for _ in 1..TRIES_MAX {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => std::thread::sleep(PAUSE),
            decided => return decided,
        }
    }
    attempt()
}

/// Whether the file is a socket that refuses connections.
fn is_stale(path: &Path, address: &SockAddr) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = Socket::new(Domain::UNIX, Type::STREAM, None)
        .and_then(|socket| socket.connect(address))
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    is_socket && refused
}

/// A listening socket on a runtime.
pub struct Listener {
    core: Rc<Core>,
    id: SocketId,
    origin: Origin,
}

impl Listener {
    /// Takes a listening socket over.
    ///
    /// # Errors
    /// When the socket table is full.
    ///
    /// # Panics
    /// Outside a runtime's thread.
    pub fn new(socket: ListeningSocket) -> io::Result<Self> {
        let core = core();
        let id = {
            let mut state = core.state.borrow_mut();
            let id = state.adopt(socket.socket.into())?;
            state.listen(id);
            id
        };
        Ok(Self {
            core,
            id,
            origin: socket.origin,
        })
    }

    /// Whether other workers accept from the same socket, so that the kernel does not spread its
    /// connections over them.
    pub fn is_shared(&self) -> bool {
        self.origin != Origin::Own
    }

    /// The next connection.
    ///
    /// # Errors
    /// Those of accept(2). Accepting stops with an error and goes on with the next call; when
    /// descriptors or memory ran out, wait before it.
    pub async fn accept(&self) -> io::Result<Stream> {
        let fd =
            poll_fn(|context| self.core.state.borrow_mut().poll_accept(self.id, context)).await?;
        Stream::accepted(fd)
    }

    /// Keeps new connections from being made, while those in the making still come to
    /// [`Listener::accept`].
    pub fn refuse_new(&self) {
        if self.origin == Origin::Own {
            self.core.state.borrow_mut().refuse_new(self.id);
        }
    }

    /// Stops accepting, hands over what still waits, and closes. What waits on a socket that was
    /// given to the process is left to whoever accepts from it next.
    pub async fn finish(self) -> Vec<Stream> {
        self.core.state.borrow_mut().cancel_accept(self.id);
        poll_fn(|context| {
            self.core
                .state
                .borrow_mut()
                .poll_accept_ended(self.id, context)
        })
        .await;
        let waiting = || {
            let mut state = self.core.state.borrow_mut();
            match self.origin {
                Origin::Inherited => state.accepted_before(self.id),
                Origin::Own | Origin::Shared => state.accept_waiting(self.id),
            }
        };
        std::iter::from_fn(waiting)
            .filter_map(|fd| Stream::accepted(fd).ok())
            .collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.core.state.borrow_mut().close(self.id);
    }
}
