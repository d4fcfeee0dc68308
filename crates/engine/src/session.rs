//! What is known of one connection while it lives, and what is counted and logged of it when it
//! has ended. It is written by the stages of the flow and outlives them, whichever way they end.

use std::cell::Cell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringgate_balance::ServerId;
use ringgate_config::Timeouts;
use ringgate_runtime::{SockAddr, now};

use crate::admit::Admitted;
use crate::counters::WorkerId;
use crate::proxy_protocol::Addresses;
use crate::reason::{ClosedBy, Reason};
use crate::said::{Encryption, Said};
use crate::snapshot::{Listener, ListenerId, Pool, Snapshot};
use crate::tls::Failure;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) by: ClosedBy,
    pub(crate) reason: Reason,
}

impl Ending {
    /// One that Ringgate chose.
    pub(crate) const fn ours(reason: Reason) -> Self {
        Self {
            by: ClosedBy::Ringgate,
            reason,
        }
    }
}

/// The peer's address as the log shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Ip(SocketAddr),
    /// A process on this host; unix clients rarely have a name.
    Unix,
    /// The client was gone before it could be asked.
    Gone,
}

impl Client {
    pub(crate) fn of(address: std::io::Result<SockAddr>) -> Self {
        match address {
            Ok(address) if address.is_unix() => Self::Unix,
            // A client of a dual-stack socket is shown as the IPv4 client it is.
            Ok(address) => address.as_socket().map_or(Self::Gone, |address| {
                Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
            }),
            Err(_) => Self::Gone,
        }
    }

    /// The one that a PROXY header names.
    pub(crate) fn carried(addresses: &Addresses) -> Self {
        match addresses {
            Addresses::Ip { source, .. } => {
                Self::Ip(SocketAddr::new(source.ip().to_canonical(), source.port()))
            }
            Addresses::Unix => Self::Unix,
        }
    }

    /// Its IP address, if it has one.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix | Self::Gone => None,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Gone => f.write_str("unknown"),
        }
    }
}

/// One connection.
pub(crate) struct Session {
    pub(crate) worker: WorkerId,
    pub(crate) listener: Arc<Listener>,
    /// Where it goes; known when a route has been found, if there are any.
    pub(crate) pool: Option<Arc<Pool>>,
    /// What it has said of itself before its bytes were relayed.
    pub(crate) said: Option<Box<Said>>,
    /// Known when somebody asks for it.
    pub(crate) client: Option<Client>,
    /// Its place among the listener's connections.
    pub(crate) admitted: Admitted,
    pub(crate) accepted: Instant,
    pub(crate) server: Cell<Option<ServerId>>,
    /// How long the connect took that succeeded.
    pub(crate) connect: Cell<Option<Duration>>,
    /// From the connect to the server's first byte.
    pub(crate) first_byte: Cell<Option<Duration>>,
    /// Why the last handshake with a server failed, if one did.
    pub(crate) server_tls: Cell<Option<Failure>>,
    /// Further servers tried.
    pub(crate) retries: Cell<u8>,
    /// From the client.
    pub(crate) bytes_in: Cell<u64>,
    /// From the server.
    pub(crate) bytes_out: Cell<u64>,
}

impl Session {
    /// A connection just accepted.
    pub(crate) fn new(
        worker: WorkerId,
        snapshot: &Snapshot,
        listener: ListenerId,
        client: Option<Client>,
    ) -> Self {
        let listener = snapshot.listener(listener).clone();
        let pool = listener.pool.filter(|_| listener.plugin.is_none());
        Self {
            worker,
            pool: pool.map(|pool| snapshot.pool(pool).clone()),
            said: None,
            listener,
            client,
            admitted: Admitted::default(),
            accepted: now(),
            server: Cell::new(None),
            connect: Cell::new(None),
            first_byte: Cell::new(None),
            server_tls: Cell::new(None),
            retries: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
        }
    }

    /// What a plugin relays of a connection, to a pool.
    pub(crate) fn relayed(whole: &Self, pool: Arc<Pool>) -> Self {
        Self {
            worker: whole.worker,
            listener: whole.listener.clone(),
            pool: Some(pool),
            said: None,
            client: whole.client,
            admitted: Admitted::default(),
            accepted: now(),
            server: Cell::new(None),
            connect: Cell::new(None),
            first_byte: Cell::new(None),
            server_tls: Cell::new(None),
            retries: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
        }
    }

    /// The clocks of this connection.
    pub(crate) fn timeouts(&self) -> Timeouts {
        self.listener.timeouts.overlaid(&self.pool().timeouts)
    }

    /// Where it goes.
    ///
    /// # Panics
    /// Before that is known, which is when a connection begins.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        let pool = self.pool.as_ref();
        pool.expect("a connection is only dialled and relayed when its pool is known")
    }

    /// Whether bytes were heard that the server has not got yet.
    pub(crate) fn has_heard(&self) -> bool {
        let said = self.said.as_ref();
        said.is_some_and(|said| !said.heard.borrow().is_empty())
    }

    /// Whether the client has been told by an alert that it is refused: then nobody takes its end for an
    /// orderly one, and a reset could take the alert away.
    pub(crate) fn has_been_told(&self) -> bool {
        let tls = self.said.as_ref().and_then(|said| said.tls);
        matches!(tls, Some(Encryption::Failed(_)))
    }

    /// Counts the end of an admitted connection.
    pub(crate) fn count_end(&self, ending: Ending) {
        let listener = self.listener.counters.of(self.worker);
        listener.active.sub(1);
        listener.closed[ending.by as usize].of(ending.reason).add(1);
        let duration = now().saturating_duration_since(self.accepted);
        if let Some(pool) = &self.pool {
            pool.counters.of(self.worker).session.record(duration);
        }
    }
}
