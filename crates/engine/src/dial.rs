//! Finds a server that takes the connection: pick from the table, connect, and on failure the next
//! one, a few times. It holds a server's place in its load count for as long as the connection.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use ringgate_balance::{Cursor, ServerId, Tried};
use ringgate_config::{Address, ProxyVersion};
use ringgate_runtime::{Next, SockAddr, Stream, now, timeout};

use crate::counters::WorkerId;
use crate::proxy_protocol::{self, Addresses};
use crate::reason::Reason;
use crate::said::Said;
use crate::session::{Client, Ending, Session};
use crate::snapshot::Server;
use crate::tls::{self, Failure};
use crate::wire::Wire;

/// Further servers to try after a failed connect (the contract's `retry.attempts`).
const RETRIES_MAX: usize = 2;

/// A connected server and its place in the load count.
pub(crate) struct Dialled<'a> {
    pub(crate) wire: Wire,
    pub(crate) place: Place<'a>,
}

impl Dialled<'_> {
    /// Leaves the place in the load count and keeps the connection, to be closed.
    pub(crate) fn hang_up(self) -> Wire {
        drop(self.place);
        self.wire
    }
}

/// A connection counted on a server.
pub(crate) struct Place<'a> {
    pub(crate) server: &'a Server,
    worker: WorkerId,
}

impl<'a> Place<'a> {
    pub(crate) fn take(server: &'a Server, worker: WorkerId) -> Self {
        server.active.fetch_add(1, Relaxed);
        server.counters.of(worker).active.add(1);
        Self { server, worker }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.server.active.fetch_sub(1, Relaxed);
        self.server.counters.of(self.worker).active.sub(1);
    }
}

/// Connects to a server of the session's pool.
///
/// # Errors
/// The end of the connection, when no server took it.
pub(crate) async fn dial<'a>(
    session: &'a Session,
    client: &Wire,
    next: Next,
    mut pick: impl FnMut(&Tried) -> Option<ServerId>,
) -> Result<Dialled<'a>, Ending> {
    let patience = session.timeouts().connect;
    let counters = session.pool().counters.of(session.worker);
    let mut tried = Tried::new();
    let mut failure = Reason::NoServer;
    while tried.len() <= RETRIES_MAX
        && let Some(id) = pick(&tried)
    {
        if !tried.is_empty() {
            session.retries.set(session.retries.get() + 1);
            counters.retries.add(1);
        }
        let server = session.pool().server(id);
        session.server.set(Some(id));
        let place = Place::take(server, session.worker);
        let started = now();
        // Addresses are long: boxed, none takes room in a connection that is relayed.
        let connect = Box::pin(connect(&server.address, next));
        match timeout(started + patience, connect).await {
            Some(Ok(stream)) => {
                let took = now().saturating_duration_since(started);
                session.connect.set(Some(took));
                counters.connect.record(took);
                let mut wire = Wire::plain(stream);
                let greeted = match greets(session) {
                    true => Box::pin(greet(session, id, client, &mut wire)).await,
                    false => Ok(()),
                };
                match greeted {
                    Ok(()) => {
                        server.counters.of(session.worker).connections.add(1);
                        return Ok(Dialled { wire, place });
                    }
                    Err(reason) => failure = reason,
                }
            }
            Some(Err(error)) => failure = reason_of(&error),
            None => failure = Reason::ConnectTimeout,
        }
        server
            .counters
            .of(session.worker)
            .connect_errors
            .of(failure)
            .add(1);
        if matches!(failure, Reason::Overload | Reason::ClientReset) {
            // It is not the server's fault, and the next one would meet the same.
            break;
        }
        tried.push(id);
    }
    Err(Ending::ours(failure))
}

/// Picks with a worker's cursor.
pub(crate) fn picker<'a>(
    session: &'a Session,
    cursor: Rc<RefCell<Cursor>>,
) -> impl FnMut(&Tried) -> Option<ServerId> + 'a {
    let pool = session.pool();
    move |tried| pool.table.pick(&mut cursor.borrow_mut(), &**pool, tried)
}

/// Whether servers are told something before the client's bytes.
fn greets(session: &Session) -> bool {
    let pool = session.pool();
    pool.proxy_protocol.is_some() || pool.tls.is_some()
}

/// Tells a server who the client is, and encrypts what follows.
///
/// # Errors
/// Why this server cannot be used.
async fn greet(
    session: &Session,
    server: ServerId,
    client: &Wire,
    wire: &mut Wire,
) -> Result<(), Reason> {
    let pool = session.pool();
    if let Some(version) = pool.proxy_protocol {
        let header = proxy_header(version, session, client).ok_or(Reason::ClientReset)?;
        let sent = wire.stream.send_all(&header).await;
        sent.map_err(|error| reason_of(&error))?;
    }
    if let Some(origination) = &pool.tls {
        let deadline = now() + session.timeouts().handshake;
        let address = &pool.server(server).address;
        let handshake = tls::connect(origination, session.worker, server, &wire.stream, address);
        let handshake = timeout(deadline, handshake).await;
        let tls = handshake
            .unwrap_or(Err(Failure::Timeout))
            .map_err(|failure| {
                session.server_tls.set(Some(failure));
                Reason::TlsHandshake
            })?;
        wire.tls = Some(tls);
    }
    Ok(())
}

/// The PROXY header for a server: the addresses that one carried to us, otherwise those of the
/// client's connection, and what is known of its TLS. `None` when the client cannot be told any more: a
/// header that names nobody would make the server take its bytes for our own.
fn proxy_header(version: ProxyVersion, session: &Session, client: &Wire) -> Option<Vec<u8>> {
    let said = session.said.as_deref();
    let addresses = match (said.and_then(|said| said.carried), session.client?) {
        (Some(carried), _) => carried,
        (None, Client::Ip(source)) => match Client::of(client.stream.local()) {
            Client::Ip(destination) => Addresses::Ip {
                source,
                destination,
            },
            _ => return None,
        },
        (None, Client::Unix) => Addresses::Unix,
        (None, Client::Gone) => return None,
    };
    let addresses = Some(addresses);
    Some(match version {
        ProxyVersion::V1 => proxy_protocol::v1(addresses),
        ProxyVersion::V2 => {
            proxy_protocol::v2(addresses, &said.map(Said::tlvs).unwrap_or_default())
        }
    })
}

async fn connect(address: &Address, next: Next) -> io::Result<Stream> {
    let address = match address {
        Address::Ip(address) => SockAddr::from(*address),
        Address::Unix(path) => SockAddr::unix(path)?,
    };
    Stream::connect(&address, next).await
}

fn reason_of(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::ConnectRefused,
        io::ErrorKind::TimedOut => Reason::ConnectTimeout,
        _ if ran_out(error) => Reason::Overload,
        _ => Reason::ConnectError,
    }
}

/// Whether the process or the host has no descriptor or memory left.
pub(crate) fn ran_out(error: &io::Error) -> bool {
    const RAN_OUT: [Errno; 4] = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.is_some_and(|errno| RAN_OUT.contains(&errno))
}
