//! The seam for protocols above TCP: a plugin is given the connections of a listener, after PROXY header and TLS, and
//! gives them back when they have ended. The engine dials servers for it, counts, logs and relays for it; it opens no
//! socket of its own and never learns how bytes move.

use std::any::TypeId;
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use ringgate_balance::{Budget, PoolId, ServerId, Tried};
pub use ringgate_runtime::{Chunk, Next, Pipe, Race, Sleep, next_turn, now, race, spawn, timeout};

pub use crate::counters::WorkerId;
pub use crate::dial::Load;
use crate::dial::{Dialled, Place, open};
pub use crate::link::{Link, Piece};
pub use crate::log::{Line, Value};
pub use crate::log_name;
use crate::proxy_protocol::Addresses;
pub use crate::reason::{ClosedBy, Reason};
use crate::relay::relay;
use crate::said::{Encryption, Said};
use crate::session::{Client, Ending, Session};
pub use crate::signal::Signal;
pub use crate::snapshot::{Listener, Pool, Server, Snapshot};
use crate::way::Movement;
use crate::wire::Wire;
use crate::worker::Local;

/// A future that stays on its worker.
pub type Task<T> = Pin<Box<dyn Future<Output = T>>>;

/// Serves the connections of a listener. One is shared by all workers; what a worker keeps for it lies on a
/// [`Guest::shelf`].
pub trait Plugin: fmt::Debug + Send + Sync {
    /// Serves one connection to its end. Dropped when the worker ends first.
    fn serve(self: Arc<Self>, guest: Guest) -> Task<Served>;
}

/// How a plugin is done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Who ended it.
    pub by: ClosedBy,
    /// Why.
    pub reason: Reason,
    /// Whether something has been logged of it; otherwise it gets a line of its own.
    pub is_logged: bool,
}

/// A client's connection in the hands of a plugin.
#[derive(Clone)]
pub struct Guest(Rc<Inner>);

struct Inner {
    local: Rc<Local>,
    session: Session,
    client: Link,
    /// Where the client has connected to; asked once.
    port: OnceCell<Option<u16>>,
    /// The client as the log shows it; written once, when a line is.
    shown: OnceCell<Box<str>>,
}

impl Guest {
    pub(crate) fn new(local: Rc<Local>, session: Session, client: Wire) -> Self {
        Self(Rc::new(Inner {
            local,
            session,
            client: Link::new(client),
            port: OnceCell::new(),
            shown: OnceCell::new(),
        }))
    }

    pub(crate) fn session(&self) -> &Session {
        &self.0.session
    }

    /// The connection.
    pub fn client(&self) -> &Link {
        &self.0.client
    }

    /// Bytes that were heard and belong to what [`Link::recv`] gives next.
    pub fn heard(&self) -> Vec<u8> {
        let said = self.0.session.said.as_ref();
        said.map(|said| said.heard.take()).unwrap_or_default()
    }

    /// Where the client is: its own address, or the one that a PROXY header carried; `None` when it has none.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self.0.session.client {
            Some(Client::Ip(address)) => Some(address),
            _ => None,
        }
    }

    /// Whether the client is a process of this host, behind a unix socket.
    pub fn is_unix(&self) -> bool {
        self.0.session.client == Some(Client::Unix)
    }

    /// The client as the log shows it: no character of it needs an escape.
    pub fn shown(&self) -> &str {
        let client = self.0.session.client.unwrap_or(Client::Gone);
        self.0.shown.get_or_init(|| client.to_string().into())
    }

    /// The port that the client has connected to; `None` on a unix socket.
    pub fn port(&self) -> Option<u16> {
        *self
            .0
            .port
            .get_or_init(|| match self.said().and_then(|said| said.carried) {
                Some(Addresses::Ip { destination, .. }) => Some(destination.port()),
                Some(Addresses::Unix) => None,
                None => {
                    let local = self.0.client.wire.stream.local().ok()?;
                    local.as_socket().map(|address| address.port())
                }
            })
    }

    fn said(&self) -> Option<&Said> {
        self.0.session.said.as_deref()
    }

    /// The version of TLS, as the log has it; `None` without TLS.
    pub fn tls(&self) -> Option<&'static str> {
        self.said()?.tls.map(Encryption::word)
    }

    /// The name that the client has asked for by SNI, in lower case.
    pub fn server_name(&self) -> Option<&str> {
        self.said()?.server_name.as_deref()
    }

    /// Whether the client may ask for this host here: its certificate is the one that it was shown for the name that it
    /// asked for by SNI. Without TLS, or without a name, for any.
    pub fn may_ask_for(&self, host: &str) -> bool {
        let termination = self.0.session.listener.tls.as_ref();
        match (self.server_name(), termination) {
            (Some(name), Some(termination)) if name != host => {
                termination.certificates.join(name, host)
            }
            _ => true,
        }
    }

    /// Whom the client's certificate, which was verified, is made out to (RFC 4514).
    pub fn subject(&self) -> Option<&str> {
        self.said()?.subject.as_ref()?.name.as_deref()
    }

    /// How long the handshake took.
    pub fn handshake(&self) -> Option<Duration> {
        self.said()?.handshake
    }

    /// When the connection was accepted.
    pub fn accepted(&self) -> Instant {
        self.0.session.accepted
    }

    /// The listener that it came by, as it was then.
    pub fn listener(&self) -> &Arc<Listener> {
        &self.0.session.listener
    }

    /// The worker that all of this happens on.
    pub fn worker(&self) -> WorkerId {
        self.0.session.worker
    }

    /// The newest truth; to be asked once for each request.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.local.snapshot()
    }

    /// What a plugin keeps on this worker, made at its first use.
    pub fn shelf<T: Default + 'static>(&self) -> Rc<T> {
        let mut shelves = self.0.local.shelves.borrow_mut();
        let shelf = shelves
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Rc::new(T::default()));
        let shelf = Rc::clone(shelf);
        drop(shelves);
        shelf
            .downcast()
            .expect("a shelf is found by the type of what lies on it")
    }

    /// Whether no new requests shall be begun.
    pub fn is_draining(&self) -> bool {
        self.0.local.draining.said().is_some()
    }

    /// Waits until no new requests shall be begun.
    pub async fn drains(&self) {
        self.0.local.draining.heard().await;
    }

    /// Why everything is being ended, once it is.
    pub fn cut(&self) -> Option<Reason> {
        self.0.local.cut.said()
    }

    /// Chooses a server of a pool.
    pub fn pick(&self, pool: &Pool, tried: &Tried) -> Option<ServerId> {
        let cursor = self.0.local.cursor(pool.id);
        pool.table.pick(&mut cursor.borrow_mut(), pool, tried)
    }

    /// Connects to a server of a pool, with its PROXY header and its TLS.
    ///
    /// # Errors
    /// Why that server cannot be used.
    pub async fn connect(&self, pool: &Arc<Pool>, id: ServerId) -> Result<Upstream, Reason> {
        let session = &self.0.session;
        let place = Place::take(pool.server(id), session.worker);
        let timeouts = session.listener.timeouts.overlaid(&pool.timeouts);
        let client = &self.0.client.wire;
        let opened = open(session, pool, id, &timeouts, client, Next::Data).await;
        let (wire, took) = opened?;
        Ok(Upstream {
            link: Link::new(wire),
            place,
            life: Life {
                pool: pool.clone(),
                worker: session.worker,
                connected: now(),
            },
            connect: took,
            has_spoken: Cell::new(false),
        })
    }

    /// Takes room in the listener's bandwidth for bytes that have arrived, and gives what to wait for when there is
    /// none yet.
    pub fn afford(&self, bytes: usize) -> Option<impl Future<Output = ()> + '_> {
        let bandwidth = self.0.session.listener.bandwidth.as_ref()?;
        let turn = bandwidth.take(self.worker(), bytes as u64, now())?;
        Some(async move {
            Sleep::until(turn.at).wait().await;
            turn.done();
        })
    }

    /// The most that should be moved in one piece.
    pub fn piece_bytes(&self) -> Option<usize> {
        let bandwidth = self.0.session.listener.bandwidth.as_ref()?;
        Some(bandwidth.piece_bytes())
    }

    /// Counts bytes that moved.
    pub fn moved(&self, bytes: usize, path: Path) {
        let counters = self.0.local.counters();
        let count = match path {
            Path::Copy => &counters.copied_bytes,
            Path::Splice => &counters.spliced_bytes,
            Path::Tls => &counters.tls_bytes,
        };
        count.add(bytes as u64);
    }

    /// Writes a line of the access log, when there is one.
    pub fn log(&self, fill: impl FnOnce(&mut Line<'_>)) {
        if let Some(log) = &self.0.local.log {
            log.line(fill);
        }
    }

    /// Whether there is an access log.
    pub fn logs(&self) -> bool {
        self.0.local.log.is_some()
    }

    /// Relays bytes between the client and a server until the end, as on a listener without a plugin. `heard` are
    /// bytes of the client that the server has not got yet.
    pub async fn relay(&self, server: Upstream, heard: Vec<u8>) -> Relayed {
        let load = Load::take(&server.place.server);
        let mut session = Session::relayed(&self.0.session, server.life.pool.clone());
        session.said.get_or_insert_default().heard = heard.into();
        if server.has_spoken.get() {
            session.first_byte.set(Some(Duration::ZERO));
        }
        let server = Dialled {
            wire: server.link.wire,
            place: server.place,
            load,
        };
        let movement = Movement::new(
            &session,
            &self.0.client.wire,
            &server,
            self.0.local.counters(),
        );
        let ending = relay(&movement).await;
        let wire = server.hang_up();
        if ending.reason != Reason::Done {
            wire.stream.reset();
        }
        Relayed {
            by: ending.by,
            reason: ending.reason,
            bytes_in: session.bytes_in.get(),
            bytes_out: session.bytes_out.get(),
        }
    }

    /// The end of the connection as the engine knows it.
    pub(crate) fn ending(&self, served: Option<Served>) -> Ending {
        match (served, self.cut()) {
            (Some(served), _) => Ending {
                by: served.by,
                reason: served.reason,
            },
            (None, reason) => Ending::ours(reason.unwrap_or(Reason::Shutdown)),
        }
    }
}

/// How bytes moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Through a buffer.
    Copy,
    /// Through a pipe.
    Splice,
    /// At least one side encrypts.
    Tls,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Who ended it.
    pub by: ClosedBy,
    /// Why.
    pub reason: Reason,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes from the server.
    pub bytes_out: u64,
}

/// A connection to a server, counted as one until it is dropped.
pub struct Upstream {
    link: Link,
    place: Place,
    life: Life,
    connect: Duration,
    has_spoken: Cell<bool>,
}

/// How long a connection to a server lasts; counted when it ends.
struct Life {
    pool: Arc<Pool>,
    worker: WorkerId,
    connected: Instant,
}

impl Drop for Life {
    fn drop(&mut self) {
        let lasted = now().saturating_duration_since(self.connected);
        self.pool.counters.of(self.worker).session.record(lasted);
    }
}

impl Upstream {
    /// Its pool, as it was when it was connected.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.life.pool
    }

    /// Its server.
    pub fn server(&self) -> &Arc<Server> {
        &self.place.server
    }

    /// How long the connect took.
    pub fn connect(&self) -> Duration {
        self.connect
    }

    /// Notes that the server has said something: a relay that follows does not wait for its first byte.
    pub fn note_spoken(&self) {
        self.has_spoken.set(true);
    }

    /// Counts bytes for the server.
    pub fn count_sent(&self, bytes: usize) {
        let counters = self.place.server.counters.of(self.life.worker);
        counters.sent_bytes.add(bytes as u64);
    }

    /// Counts bytes from the server.
    pub fn count_received(&self, bytes: usize) {
        let counters = self.place.server.counters.of(self.life.worker);
        counters.received_bytes.add(bytes as u64);
    }
}

impl Deref for Upstream {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream")
            .field(&self.server().name)
            .finish()
    }
}
