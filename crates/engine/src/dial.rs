//! Finds a server that takes the connection: pick from the table, connect, and on failure the next
//! one, a few times. It holds a server's place in its load count for as long as the connection.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::errno::Errno;
use ringgate_balance::{Cursor, ServerId, Tried};
use ringgate_config::{Address, ProxyVersion, Timeouts};
use ringgate_runtime::{Next, SockAddr, Stream, now, timeout};

use crate::counters::WorkerId;
use crate::proxy_protocol::{self, Addresses};
use crate::reason::Reason;
use crate::said::Said;
use crate::session::{Client, Ending, Session};
use crate::snapshot::{Pool, Server};
use crate::tls::{self, Failure};
use crate::wire::Wire;

/// A connected server, counted as connected and as at work.
pub(crate) struct Dialled {
    pub(crate) wire: Wire,
    pub(crate) place: Place,
    pub(crate) load: Load,
}

impl Dialled {
    /// Counts it no more and keeps the connection, to be closed.
    pub(crate) fn hang_up(self) -> Wire {
        drop((self.place, self.load));
        self.wire
    }
}

/// A connection counted on a server.
pub(crate) struct Place {
    pub(crate) server: Arc<Server>,
    worker: WorkerId,
}

impl Place {
    pub(crate) fn take(server: &Arc<Server>, worker: WorkerId) -> Self {
        server.counters.of(worker).active.add(1);
        Self {
            server: server.clone(),
            worker,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.counters.of(self.worker).active.sub(1);
    }
}

/// Something that a server works on, counted where servers are compared by their load.
#[derive(Debug)]
pub struct Load(Arc<Server>);

impl Load {
    /// One more, until it is dropped.
    pub fn take(server: &Arc<Server>) -> Self {
        server.active.fetch_add(1, Relaxed);
        Self(server.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

/// Connects to a server of the session's pool.
///
/// # Errors
/// The end of the connection, when no server took it.
pub(crate) async fn dial(
    session: &Session,
    client: &Wire,
    next: Next,
    mut pick: impl FnMut(&Tried) -> Option<ServerId>,
) -> Result<Dialled, Ending> {
    let pool = session.pool();
    let timeouts = session.timeouts();
    let counters = pool.counters.of(session.worker);
    let mut tried = Tried::new();
    let mut failure = Reason::NoServer;
    while tried.len() <= usize::from(pool.retry.attempts)
        && let Some(id) = pick(&tried)
    {
        if !tried.is_empty() {
            session.retries.set(session.retries.get() + 1);
            counters.retries.add(1);
        }
        session.server.set(Some(id));
        let place = Place::take(pool.server(id), session.worker);
        let load = Load::take(pool.server(id));
        match open(session, pool, id, &timeouts, client, next).await {
            Ok((wire, took)) => {
                session.connect.set(Some(took));
                return Ok(Dialled { wire, place, load });
            }
            Err(reason) => failure = reason,
        }
        if matches!(failure, Reason::Overload | Reason::ClientReset) {
            // It is not the server's fault, and the next one would meet the same.
            break;
        }
        tried.push(id);
    }
    Err(Ending::ours(failure))
}

/// Connects to one server, tells it what it is to be told, and counts how that went; how long the connect
/// took.
///
/// # Errors
/// Why this server cannot be used.
pub(crate) async fn open(
    session: &Session,
    pool: &Pool,
    id: ServerId,
    timeouts: &Timeouts,
    client: &Wire,
    next: Next,
) -> Result<(Wire, Duration), Reason> {
    let server = pool.server(id);
    let started = now();
    // Addresses are long: boxed, none takes room in a connection that is relayed.
    let connect = Box::pin(connect(&server.address, next));
    let opened = match timeout(started + timeouts.connect, connect).await {
        Some(Ok(stream)) => {
            let took = now().saturating_duration_since(started);
            pool.counters.of(session.worker).connect.record(took);
            let mut wire = Wire::plain(stream);
            let greeted = match greets(pool) {
                true => Box::pin(greet(session, pool, id, timeouts, client, &mut wire)).await,
                false => Ok(()),
            };
            greeted.map(|()| (wire, took))
        }
        Some(Err(error)) => Err(reason_of(&error)),
        None => Err(Reason::ConnectTimeout),
    };
    let counters = server.counters.of(session.worker);
    match &opened {
        Ok(_) => counters.connections.add(1),
        Err(reason) => counters.connect_errors.of(*reason).add(1),
    }
    opened
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
fn greets(pool: &Pool) -> bool {
    pool.proxy_protocol.is_some() || pool.tls.is_some()
}

/// Tells a server who the client is, and encrypts what follows.
///
/// # Errors
/// Why this server cannot be used.
async fn greet(
    session: &Session,
    pool: &Pool,
    server: ServerId,
    timeouts: &Timeouts,
    client: &Wire,
    wire: &mut Wire,
) -> Result<(), Reason> {
    if let Some(version) = pool.proxy_protocol {
        let header = proxy_header(version, session, client).ok_or(Reason::ClientReset)?;
        let sent = wire.stream.send_all(&header).await;
        sent.map_err(|error| reason_of(&error))?;
    }
    if let Some(origination) = &pool.tls {
        let deadline = now() + timeouts.handshake;
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
