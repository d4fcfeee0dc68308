//! A world for seeded tests: a driver without a kernel, a clock that jumps, and peers that follow
//! scripts, all drawn from one seed. It runs the real runtime and whatever is built on it, throws
//! faults at it, and notes what it does that a kernel or a peer would not forgive. It never waits
//! and never opens a connection; the only descriptors of the system in it are doorbells.

mod driver;
mod faults;
mod host;
mod link;
mod operations;
mod pattern;
mod random;
mod script;
mod splice;
mod turn;
mod watch;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub use random::Random;

use crate::buffers::Buffers;
use crate::listener::ListeningSocket;
use crate::runtime::with_current;
use host::Host;

pub(crate) use driver::Simulated;

/// A wait takes at most this much longer than it was told.
pub const LATENESS_MAX: Duration = Duration::from_millis(2);

/// Buffers of a simulated runtime; a seed may leave it fewer.
pub(crate) const BUFFERS: usize = 64;

/// A simulated world. Clones are the same world.
#[derive(Clone)]
pub struct World(Rc<RefCell<Host>>);

/// What a world begins with, besides its seed.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Decides everything else.
    pub seed: u64,
    /// Where servers answer.
    pub servers: Vec<SocketAddr>,
    /// How many clients come, to the one listening socket.
    pub clients: usize,
    /// Write every event to the standard error.
    pub traced: bool,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(scene: Scene) -> Self {
        Self(Rc::new(RefCell::new(Host::new(scene))))
    }

    /// The socket that clients come to.
    ///
    /// # Panics
    /// When the system gives no socket.
    pub fn listening_socket(&self) -> ListeningSocket {
        let socket = ListeningSocket::without_address().expect("the system gives sockets");
        self.0.borrow_mut().expect_listener(socket.descriptor());
        socket
    }

    /// The time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.0.borrow().clock
    }

    /// Whether every client has come and all connections are closed on our side.
    pub fn is_quiet(&self) -> bool {
        self.0.borrow().is_quiet()
    }

    /// Rules that were broken, each told once it was; empty when all went well.
    pub fn violations(&self) -> Vec<String> {
        self.0.borrow().violations.clone()
    }

    /// Descriptors that are open.
    pub fn descriptors_open(&self) -> usize {
        self.0.borrow().descriptors_open()
    }

    /// What became of each client that reached the listening socket.
    pub fn connections(&self) -> Vec<Connection> {
        self.0.borrow().connections()
    }

    /// Every attempt to connect to a server.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.0.borrow().attempts.clone()
    }

    /// A number that tells whether two runs were the same, event by event.
    pub fn fingerprint(&self) -> u64 {
        self.0.borrow().fingerprint
    }
}

/// What passed between us and a client, and between us and the server it was relayed to.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The client's address.
    pub address: SocketAddr,
    /// The client's side.
    pub client: Account,
    /// The server's side, when bytes have shown which one it is.
    pub server: Option<Account>,
}

/// What passed between us and one peer. Times count from the beginning of the world.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Bytes that the peer wrote.
    pub written: u64,
    /// Bytes of them that we received.
    pub taken: u64,
    /// Bytes that we sent and the peer's socket took.
    pub delivered: u64,
    /// The peer ended its direction in order.
    pub ended: bool,
    /// The peer, or the network between, reset the connection.
    pub failed: bool,
    /// A send was reported short although nothing was wrong.
    pub cut_short: bool,
    /// How we ended.
    pub left: Left,
    /// When the connection was made as far as we know: its address was asked for, or its connect
    /// completed.
    pub known_at: Option<Duration>,
    /// It had no address any more when it was asked for it.
    pub nameless: bool,
    /// When we last learnt of bytes from it.
    pub last_arrival: Option<Duration>,
    /// When we ended our direction.
    pub shut_at: Option<Duration>,
    /// When we closed it.
    pub closed_at: Option<Duration>,
    /// Bytes from the peer that nobody had received then.
    pub unreceived: u64,
    /// The peer's socket would have taken more then.
    pub roomy: bool,
    /// Since when the peer had done nothing then, and buffers had been spare all the time.
    pub unhindered_since: Duration,
}

/// How we ended a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Left {
    /// Not yet.
    #[default]
    Open,
    /// In order.
    Ended,
    /// By a reset.
    Reset,
}

/// One attempt to connect to a server.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When it was asked for.
    pub began_at: Duration,
    /// When it was told to be given up.
    pub cancelled_at: Option<Duration>,
    /// When it ended by itself.
    pub ended_at: Option<Duration>,
}

/// What this thread's runtime still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Sockets, among them the runtime's own bell while it runs.
    pub sockets: usize,
    /// Buffers that are leased; known in debug builds, which follow each.
    pub buffers: usize,
    /// Timers.
    pub timers: usize,
    /// Pipes that are leased.
    pub pipes: usize,
}

/// What this thread's runtime holds now.
///
/// # Panics
/// Outside a runtime's thread.
pub fn held() -> Held {
    with_current(|inner| {
        let state = inner.core.state.borrow();
        Held {
            sockets: state.sockets.ids().len(),
            buffers: state.buffers.leased(),
            timers: state.wheel.len(),
            pipes: state.pipes_leased,
        }
    })
}

/// The buffers of a simulated runtime.
pub(crate) fn buffers() -> Buffers {
    Buffers::new(BUFFERS)
}
