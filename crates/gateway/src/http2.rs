//! A client that speaks HTTP/2: many requests at once, each served in a task of its own. What the connection as a whole may
//! not do is decided here; what a request may is decided where those of HTTP/1 are.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason as Code, RecvStream};
use ringgate_engine::plugin::{
    ClosedBy, Guest, Race, Reason, Served, Signal, Sleep, now, race, spawn,
};

use crate::fields::{Fields, Known};
use crate::head::{Framing, METHOD_BYTES_MAX, Of, RequestHead, Version, content_length};
use crate::incoming::Incoming;
use crate::io::LinkIo;
use crate::patience::within;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::shelf::Shelf;
use crate::stage::Told;
use crate::stream::StreamBody;
use crate::watched::{Watch, Watched};
use crate::{Ask, Gateway, Then, attend, respond};

/// Bytes that a client may send on one stream, and on a connection, before they are taken.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes of an answer that wait in one stream for room on the connection.
const SEND_BYTES_MAX: usize = 32 * 1024;

/// Streams that are remembered after they were reset, and for how long: what still comes for them is no mistake.
const RESET_STREAMS_MAX: usize = 50;
const RESET_MEMORY: Duration = Duration::from_secs(5);

/// Streams that a client may reset before they were looked at.
const UNSEEN_RESETS_MAX: usize = 20;

/// Streams that we had to reset for a client's mistakes.
const MISTAKES_MAX: usize = 100;

/// Requests that a client has taken back before they were answered, from which on they may be no more than half of all.
const GIVEN_UP_MAX: u32 = 100;

/// How often the connection as a whole is looked at.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// How long the last words of a connection may take.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(2);

/// Serves a connection to its end; `heard` are its first bytes.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    shelf: Rc<Shelf>,
    guest: Guest,
    heard: Vec<u8>,
) -> Served {
    let limits = gateway.rules.limits;
    let door = Rc::new(Door::new(now()));
    let link = LinkIo::new(guest.clone()).heard(heard);
    let io = Watched::client(link, door.watch.clone());
    let handshake = Builder::new()
        .max_concurrent_streams(limits.streams.get())
        .max_header_list_size(limits.header_bytes)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .reset_stream_duration(RESET_MEMORY)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(Some(MISTAKES_MAX))
        .handshake::<_, Bytes>(io);
    let deadline = guest.accepted() + guest.listener().timeouts.header;
    let mut connection = match within(deadline, handshake).await {
        Some(Ok(connection)) => connection,
        Some(Err(_)) => return door.served(ClosedBy::Client, Reason::BadRequest),
        None => return door.served(ClosedBy::Ringgate, Reason::HeaderTimeout),
    };
    let mut is_leaving = false;
    loop {
        let accepted = poll_fn(|context| door.poll_accept(&mut connection, context));
        let watched = async {
            let drains = async {
                match is_leaving {
                    true => std::future::pending().await,
                    false => guest.drains().await,
                }
            };
            match race(Sleep::until(now() + WATCH_PERIOD).wait(), drains).await {
                Race::First(()) => false,
                Race::Second(()) => true,
            }
        };
        match race(accepted, watched).await {
            Race::First(Accepted::Request(request, mut respond)) => {
                door.requests.set(door.requests.get() + 1);
                let streams_max = limits.streams.get();
                let requests_max = limits.requests_per_connection.get();
                if door.requests.get() > requests_max.saturating_add(streams_max) {
                    // It was told to go, and has begun as many more as could have been on their way.
                    respond.send_reset(Code::REFUSED_STREAM);
                    farewell(connection, &door, Code::NO_ERROR).await;
                    return door.served(ClosedBy::Ringgate, Reason::Done);
                }
                if door.open.get() > streams_max.saturating_mul(2) {
                    respond.send_reset(Code::REFUSED_STREAM);
                    return farewell(connection, &door, Code::ENHANCE_YOUR_CALM).await;
                }
                if door.requests.get() >= requests_max && !is_leaving {
                    is_leaving = true;
                    connection.graceful_shutdown();
                }
                let stream = Stream {
                    gateway: gateway.clone(),
                    shelf: shelf.clone(),
                    guest: guest.clone(),
                    door: Open::new(&door),
                };
                spawn(stream.serve(*request, respond));
            }
            Race::First(Accepted::Flood) => {
                return farewell(connection, &door, Code::ENHANCE_YOUR_CALM).await;
            }
            Race::First(Accepted::End) => return door.served(ClosedBy::Client, Reason::Done),
            Race::First(Accepted::Failed(reason)) => {
                return door.served(ClosedBy::Client, reason);
            }
            Race::Second(true) => {
                is_leaving = true;
                connection.graceful_shutdown();
            }
            Race::Second(false) => match door.is_over(&guest) {
                Some(Reason::HeaderTimeout) => {
                    farewell(connection, &door, Code::NO_ERROR).await;
                    return door.served(ClosedBy::Ringgate, Reason::HeaderTimeout);
                }
                Some(_) if !is_leaving => {
                    is_leaving = true;
                    connection.graceful_shutdown();
                }
                Some(reason) => return door.served(ClosedBy::Ringgate, reason),
                None => {}
            },
        }
    }
}

/// Tells the client why its connection ends, if it listens.
async fn farewell(
    mut connection: Connection<Watched<Guest>, Bytes>,
    door: &Door,
    code: Code,
) -> Served {
    connection.abrupt_shutdown(code);
    let told = poll_fn(|context| connection.poll_closed(context));
    within(now() + FAREWELL_PATIENCE, told).await;
    door.gone.say(());
    door.served(ClosedBy::Ringgate, Reason::BadRequest)
}

/// What is known of a connection as a whole.
struct Door {
    watch: Rc<Watch>,
    requests: Cell<u32>,
    open: Cell<u32>,
    given_up: Cell<u32>,
    /// Connections to servers that its requests hold.
    held: Cell<u32>,
    /// Requests that were none.
    mistakes: Cell<u32>,
    idle_since: Cell<Instant>,
    /// Said when the connection is over: its requests are nobody's any more.
    gone: Signal<()>,
}

/// What came of waiting for a request.
enum Accepted {
    Request(Box<http::Request<RecvStream>>, SendResponse<Bytes>),
    Flood,
    End,
    Failed(Reason),
}

impl Door {
    fn new(now: Instant) -> Self {
        Self {
            watch: Watch::begin(Of::Client),
            requests: Cell::new(0),
            open: Cell::new(0),
            held: Cell::new(0),
            given_up: Cell::new(0),
            mistakes: Cell::new(0),
            idle_since: Cell::new(now),
            gone: Signal::default(),
        }
    }

    fn poll_accept(
        &self,
        connection: &mut Connection<Watched<Guest>, Bytes>,
        context: &mut Context<'_>,
    ) -> Poll<Accepted> {
        let accepted = connection.poll_accept(context);
        if self.watch.is_flooded() || self.is_abused() {
            return Poll::Ready(Accepted::Flood);
        }
        Poll::Ready(match ready!(accepted) {
            Some(Ok((request, respond))) => Accepted::Request(Box::new(request), respond),
            Some(Err(error)) if error.is_io() => Accepted::Failed(Reason::ClientReset),
            Some(Err(_)) => Accepted::Failed(Reason::BadRequest),
            None => Accepted::End,
        })
    }

    /// Whether the client takes its requests back as a rule: slowly, so that no flood is seen.
    fn is_abused(&self) -> bool {
        let given_up = self.given_up.get();
        (given_up > GIVEN_UP_MAX && given_up > self.requests.get() / 2)
            || self.mistakes.get() as usize > MISTAKES_MAX
    }

    /// Why the connection should end, if it should.
    fn is_over(&self, guest: &Guest) -> Option<Reason> {
        let timeouts = &guest.listener().timeouts;
        let header_since = self.watch.header_since();
        let is_late = |since: Instant| since + timeouts.header < now();
        let has_asked = self.requests.get() > 0;
        if header_since.is_some_and(is_late) || (!has_asked && is_late(guest.accepted())) {
            return Some(Reason::HeaderTimeout);
        }
        let is_idle = self.open.get() == 0 && self.idle_since.get() + timeouts.idle < now();
        is_idle.then_some(Reason::ClientIdle)
    }

    fn served(&self, by: ClosedBy, reason: Reason) -> Served {
        self.gone.say(());
        Served {
            by,
            reason,
            is_logged: self.requests.get() > 0 || reason == Reason::Done,
        }
    }
}

/// A request that is open, counted as one.
struct Open(Rc<Door>);

impl Open {
    fn new(door: &Rc<Door>) -> Self {
        door.open.set(door.open.get() + 1);
        Self(door.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.idle_since.set(now());
    }
}

/// Where a request came by.
struct Stream {
    gateway: Arc<Gateway>,
    shelf: Rc<Shelf>,
    guest: Guest,
    door: Open,
}

impl Stream {
    /// Serves a request to its end, or to that of its connection.
    async fn serve(self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        let served = Box::pin(self.serve_one(request, respond));
        race(served, self.door.0.gone.heard()).await;
    }

    async fn serve_one(&self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        let rules = &self.gateway.rules;
        let mut heads = self.shelf.heads();
        let (head, response) = &mut *heads;
        let record = Record::begin_now(&self.guest, &self.shelf, &rules.counters);
        let (parts, body) = request.into_parts();
        let mut reply = Reply::streamed(respond, self.door.0.watch.clone());
        match read(
            &parts,
            body.is_end_stream(),
            rules.limits.fields as usize,
            head,
        ) {
            Err(Unread::Malformed) => {
                record.note_method(&head.method);
                record.begin(400);
                record.end(ClosedBy::Ringgate, Reason::BadRequest);
                reply.reset(Code::PROTOCOL_ERROR);
                let mistakes = &self.door.0.mistakes;
                mistakes.set(mistakes.get() + 1);
            }
            read => {
                let mut incoming = match body.is_end_stream() {
                    true => Incoming::Nothing,
                    false => Incoming::Two(StreamBody::new(body, Of::Client)),
                };
                let mut ask = Ask {
                    guest: &self.guest,
                    rules,
                    shelf: &self.shelf,
                    record: &record,
                    request: head,
                    response,
                    held: Some(&self.door.0.held),
                };
                let then = match read {
                    Err(Unread::Refused(refusal)) => {
                        let told = Told::default();
                        respond::refuse(&ask, &told, refusal, &mut incoming, &mut reply).await
                    }
                    _ => attend(&mut ask, &mut incoming, &mut reply).await,
                };
                match then {
                    Then::Over { by, .. } => {
                        if by == ClosedBy::Client && !reply.has_begun() {
                            let given_up = &self.door.0.given_up;
                            given_up.set(given_up.get() + 1);
                        }
                        reply.reset(Code::INTERNAL_ERROR);
                    }
                    // What the client still sends is not needed: the crate tells it so (RFC 9113 §8.1), once
                    // the answer has gone out.
                    Then::GoOn | Then::End(_) | Then::Switched(_) => {}
                }
            }
        }
        drop(record);
        self.shelf.give_back_heads(heads);
    }
}

/// Why a head of HTTP/2 is none.
enum Unread {
    /// It breaks the protocol (RFC 9113 §8.1.1).
    Malformed,
    Refused(Refusal),
}

/// Reads the head of a request.
fn read(
    parts: &http::request::Parts,
    is_over: bool,
    fields_max: usize,
    head: &mut RequestHead,
) -> Result<(), Unread> {
    head.version = Version::V2;
    head.method.clear();
    head.method.push_str(parts.method.as_str());
    head.target.clear();
    head.fields.clear();
    head.framing = match is_over {
        true => Framing::None,
        false => Framing::Chunked,
    };
    if parts.headers.len() > fields_max {
        let refusal = Refusal::new(431, Reason::TooLarge, "the request has too many fields");
        return Err(Unread::Refused(refusal));
    }
    if head.method.len() > METHOD_BYTES_MAX {
        return Err(Unread::Refused(Refusal::bad("the method is too long")));
    }
    let scheme = parts.uri.scheme_str();
    if scheme.is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Unread::Malformed);
    }
    if let Some(target) = parts.uri.path_and_query() {
        head.target.push_str(target.as_str());
    }
    if parts.method != http::Method::CONNECT {
        take_host(parts, &mut head.fields)?;
    }
    let is_padded = |value: &http::HeaderValue| value.as_bytes() != value.as_bytes().trim_ascii();
    if parts.headers.values().any(is_padded) {
        // RFC 9113 §8.2.1
        return Err(Unread::Malformed);
    }
    take_fields(&parts.headers, &mut head.fields);
    let mut lengths = head.fields.all(Known::ContentLength);
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => return Ok(()),
        (Some(length), None) => content_length(length).ok_or(Unread::Malformed)?,
        _ => return Err(Unread::Malformed),
    };
    head.framing = match (length, is_over) {
        (0, true) => Framing::None,
        (0, false) => Framing::Chunked,
        (length, false) => Framing::Length(length),
        (_, true) => return Err(Unread::Malformed),
    };
    Ok(())
}

/// The one host: `:authority`, or `host` where there is none; both must agree (RFC 9113 §8.3.1).
fn take_host(parts: &http::request::Parts, fields: &mut Fields) -> Result<(), Unread> {
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Unread::Malformed);
    }
    let authority = parts
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let host = host.map(|host| host.as_bytes());
    match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(Unread::Malformed)
        }
        (Some(host), _) | (None, Some(host)) => {
            fields.push("host", host);
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

/// The fields, with the crumbs of a cookie in one (RFC 9113 §8.2.3).
fn take_fields(map: &http::HeaderMap, fields: &mut Fields) {
    let mut cookie = Vec::new();
    for (name, value) in map {
        match name.as_str() {
            "host" => {}
            "cookie" => {
                if !cookie.is_empty() {
                    cookie.extend_from_slice(b"; ");
                }
                cookie.extend_from_slice(value.as_bytes());
            }
            name => fields.push(name, value.as_bytes()),
        }
    }
    if !cookie.is_empty() {
        fields.push("cookie", &cookie);
    }
}
