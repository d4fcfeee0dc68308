//! Connections to servers of HTTP/2, of one worker: each carries many requests at once, as many as its server allows. A
//! connection that its server is leaving gets no new ones.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::head::Of;
use crate::io::LinkIo;
use crate::patience::within;
use crate::stream::StreamOut;
use crate::watched::{Watch, Watched};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use ringgate_engine::plugin::{
    Guest, Pool, PoolId, Race, Reason, Server, ServerId, Signal, Sleep, Upstream, now, race, spawn,
};

/// How long a connection without a request is kept.
const IDLE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a server may take to show that it speaks HTTP/2.
const GREETING_PATIENCE: Duration = Duration::from_secs(5);

/// Requests that one connection carries at once, of those that its server allows.
const STREAMS_MAX: usize = 100;

/// Bytes that a server may send on one stream before they are taken.
const STREAM_WINDOW: u32 = 128 * 1024;

/// Bytes that it may send on a connection: as many as on all of its streams, so that clients that take nothing keep
/// nothing from others.
const CONNECTION_WINDOW: u32 = STREAMS_MAX as u32 * STREAM_WINDOW;

/// Bytes of a server's head.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Bytes of a request's body that wait in one stream for room at the server.
const SEND_BYTES_MAX: usize = 256 * 1024;

/// How long a request waits for a stream when a server allows no more.
const STREAM_PATIENCE: Duration = Duration::from_secs(5);

/// The connections of a worker.
#[derive(Default)]
pub(crate) struct Streams {
    /// By pool and server.
    places: RefCell<HashMap<(PoolId, ServerId), Place>>,
}

/// What leads to one server.
#[derive(Default)]
struct Place {
    carriers: Vec<Rc<Carrier>>,
    /// Said when a connection that is being made is there, or is not to be had.
    greeting: Option<Rc<Signal<()>>>,
}

/// One connection.
struct Carrier {
    server: Arc<Server>,
    tls: Option<*const ()>,
    sender: RefCell<SendRequest<Bytes>>,
    connect: Duration,
    /// Streams that are open.
    open: Cell<usize>,
    idle_since: Cell<Instant>,
    /// Said when it takes no more requests.
    is_over: Signal<()>,
}

/// A stream that is to be opened.
pub(crate) struct Tube {
    carrier: Rc<Carrier>,
    is_new: bool,
    _open: Opened,
}

/// An open stream, counted as one.
struct Opened(Rc<Carrier>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.idle_since.set(now());
    }
}

impl Tube {
    /// How long the connect took, when there was one for this request.
    pub(crate) fn connect(&self) -> Option<Duration> {
        self.is_new.then_some(self.carrier.connect)
    }

    /// Sends a head; `ends` when no body follows.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub(crate) fn send(
        &mut self,
        head: http::Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, StreamOut), h2::Error> {
        let sent = self.carrier.sender.borrow_mut().send_request(head, ends);
        if sent.is_err() {
            self.carrier.is_over.say(());
        }
        let (response, stream) = sent?;
        Ok((response, StreamOut::new(stream, ends)))
    }
}

impl Streams {
    /// A stream to a server, on a connection that is there or a new one; a `fresh` one is new in any case.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn open(
        self: &Rc<Self>,
        guest: &Guest,
        pool: &Arc<Pool>,
        id: ServerId,
        fresh: bool,
    ) -> Result<Tube, Reason> {
        let deadline = now() + STREAM_PATIENCE;
        let (place, is_shared) = ((pool.id, id), pool.proxy_protocol.is_none());
        loop {
            if !fresh
                && let Some(carrier) = self.find(pool, id)
                && let Some(true) = within(deadline, ready_to_send(&carrier)).await
            {
                return Ok(tube(carrier, false));
            }
            // Requests that come while a connection is made wait for it: it carries many.
            let greeting = self.greeting(place).filter(|_| is_shared && !fresh);
            let Some(greeting) = greeting else { break };
            if within(deadline, greeting.heard()).await.is_none() {
                break;
            }
        }
        // One more connection would be no more use.
        if !fresh && self.takes_nothing(pool, id) {
            return Err(Reason::BadResponse);
        }
        let _making = Making::begin(self, place);
        let upstream = guest.connect(pool, id).await?;
        let carrier = Carrier::greet(upstream, pool).await?;
        // The PROXY header has named one client: nobody else's requests may follow it.
        if is_shared {
            let mut places = self.places.borrow_mut();
            places
                .entry(place)
                .or_default()
                .carriers
                .push(carrier.clone());
        }
        match within(deadline, ready_to_send(&carrier)).await {
            Some(true) if carrier.allowed() > 0 => Ok(tube(carrier, true)),
            _ => Err(Reason::BadResponse),
        }
    }

    /// The connection with the fewest streams that has room for one more.
    fn find(&self, pool: &Pool, id: ServerId) -> Option<Rc<Carrier>> {
        let mut places = self.places.borrow_mut();
        let known = &mut places.get_mut(&(pool.id, id))?.carriers;
        known.retain(|carrier| carrier.is_over.said().is_none());
        let usable = known.iter().filter(|carrier| carrier.serves(pool, id));
        let free = usable.filter(|carrier| carrier.has_room());
        free.min_by_key(|carrier| carrier.open.get()).cloned()
    }

    /// Whether a server allows no requests at all.
    fn takes_nothing(&self, pool: &Pool, id: ServerId) -> bool {
        let places = self.places.borrow();
        let place = places.get(&(pool.id, id));
        place.is_some_and(|place| {
            let is_open = |carrier: &&Rc<Carrier>| carrier.is_over.said().is_none();
            let carriers = place.carriers.iter().filter(is_open);
            let mut usable = carriers
                .filter(|carrier| carrier.serves(pool, id))
                .peekable();
            usable.peek().is_some() && usable.all(|carrier| carrier.allowed() == 0)
        })
    }

    fn greeting(&self, place: (PoolId, ServerId)) -> Option<Rc<Signal<()>>> {
        self.places.borrow().get(&place)?.greeting.clone()
    }
}

/// A connection that is being made, for those who wait for it.
struct Making<'a> {
    streams: &'a Streams,
    place: (PoolId, ServerId),
}

impl<'a> Making<'a> {
    fn begin(streams: &'a Streams, place: (PoolId, ServerId)) -> Self {
        let mut places = streams.places.borrow_mut();
        let place_of = places.entry(place).or_default();
        place_of.greeting.get_or_insert_default();
        drop(places);
        Self { streams, place }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut places = self.streams.places.borrow_mut();
        let greeting = places
            .get_mut(&self.place)
            .and_then(|place| place.greeting.take());
        drop(places);
        if let Some(greeting) = greeting {
            greeting.say(());
        }
    }
}

fn tube(carrier: Rc<Carrier>, is_new: bool) -> Tube {
    // It counts from here on, so that requests of one turn do not all choose one connection.
    carrier.open.set(carrier.open.get() + 1);
    Tube {
        _open: Opened(carrier.clone()),
        carrier,
        is_new,
    }
}

fn tls_of(pool: &Pool) -> Option<*const ()> {
    pool.tls.as_ref().map(|tls| Arc::as_ptr(tls).cast())
}

/// Waits until a connection takes a request; `false` when it takes none any more.
async fn ready_to_send(carrier: &Carrier) -> bool {
    let ready = poll_fn(|context| carrier.sender.borrow_mut().poll_ready(context)).await;
    if ready.is_err() {
        carrier.is_over.say(());
    }
    ready.is_ok()
}

impl Carrier {
    fn has_room(&self) -> bool {
        self.open.get() < self.allowed().min(STREAMS_MAX)
    }

    /// Whether it leads to that server as the pool is now.
    fn serves(&self, pool: &Pool, id: ServerId) -> bool {
        Arc::ptr_eq(&self.server, pool.server(id)) && self.tls == tls_of(pool)
    }

    /// How many requests at once its server allows.
    fn allowed(&self) -> usize {
        self.sender.borrow().current_max_send_streams()
    }

    /// Begins HTTP/2 with a server and serves its connection in a task of its own.
    async fn greet(upstream: Upstream, pool: &Pool) -> Result<Rc<Self>, Reason> {
        if !upstream.is_plain() && upstream.protocol().as_deref() != Some(b"h2") {
            return Err(Reason::BadResponse);
        }
        let (server, connect) = (upstream.server().clone(), upstream.connect());
        let upstream = Rc::new(upstream);
        let watch = Watch::begin(Of::Server);
        let io = Watched::server(LinkIo::new(upstream.clone()), watch.clone());
        let handshake = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buffer_size(SEND_BYTES_MAX)
            .enable_push(false)
            .handshake::<_, Bytes>(io);
        let greeted = within(now() + GREETING_PATIENCE, handshake).await;
        let (sender, mut connection) = greeted
            .ok_or(Reason::ResponseTimeout)?
            .map_err(|_| Reason::BadResponse)?;
        let pings = connection.ping_pong();
        let carrier = Rc::new(Self {
            server,
            tls: tls_of(pool),
            sender: RefCell::new(sender),
            connect,
            open: Cell::new(0),
            idle_since: Cell::new(now()),
            is_over: Signal::default(),
        });
        let kept = carrier.clone();
        spawn(async move {
            let served = poll_fn(|context| match Pin::new(&mut connection).poll(context) {
                Poll::Pending if !watch.is_flooded() => Poll::Pending,
                _ => Poll::Ready(()),
            });
            race(served, kept.grows_old()).await;
            kept.is_over.say(());
            drop(upstream);
        });
        // Behind the answer to a ping it is known how many streams the server allows, and that it speaks HTTP/2.
        let known = async {
            match pings {
                Some(mut pings) => pings.ping(h2::Ping::opaque()).await.is_ok(),
                None => false,
            }
        };
        match within(now() + GREETING_PATIENCE, known).await {
            Some(true) => Ok(carrier),
            Some(false) => Err(Reason::BadResponse),
            None => Err(Reason::ResponseTimeout),
        }
    }

    /// Waits until it has carried nothing for long, or takes no more and carries nothing.
    async fn grows_old(&self) {
        loop {
            let pause = Sleep::until(now() + Duration::from_secs(1));
            let over = async {
                match self.is_over.said() {
                    None => self.is_over.heard().await,
                    Some(()) => std::future::pending().await,
                }
            };
            if let Race::Second(()) = race(pause.wait(), over).await {
                continue;
            }
            let is_old = self.idle_since.get() + IDLE_PATIENCE < now();
            if self.open.get() == 0 && (is_old || self.is_over.said().is_some()) {
                return;
            }
        }
    }
}
