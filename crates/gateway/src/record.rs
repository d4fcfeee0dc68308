//! What is known of one request while it is served, and what is counted and logged of it when it ends, whichever way:
//! also when its connection is cut, or its client takes it back. It decides nothing.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringgate_engine::plugin::{ClosedBy, Guest, Pool, Reason, Server, Sleep, Value, log_name, now};

use crate::auth::Denied;
use crate::counters::HttpCounters;
use crate::forwarded::RequestId;
use crate::shelf::Shelf;

/// The status in log and metrics of a request whose client went away before an answer began.
const GONE: u16 = 499;

/// Bytes of the longest path that is logged; a longer one is cut.
const SHOWN_BYTES_MAX: usize = 2048;

/// Where a request went.
struct Place {
    pool: Arc<Pool>,
    server: Option<Arc<Server>>,
}

/// Words of a request, one behind the other in text that the shelf lends.
#[derive(Default)]
struct Words {
    text: String,
    method: Range<usize>,
    id: Range<usize>,
    host: Range<usize>,
    path: Range<usize>,
}

impl Words {
    fn push(&mut self, word: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(word);
        start..self.text.len()
    }

    fn of(&self, range: &Range<usize>) -> &str {
        &self.text[range.clone()]
    }
}

/// One request.
pub(crate) struct Record {
    guest: Guest,
    shelf: Rc<Shelf>,
    counters: Arc<HttpCounters>,
    started: Instant,
    words: RefCell<Words>,
    /// The number of its route in the counters and its name.
    route: RefCell<(usize, Option<Arc<str>>)>,
    client: Cell<Option<IpAddr>>,
    place: RefCell<Option<Place>>,
    connect: Cell<Option<Duration>>,
    first_byte: Cell<Option<Duration>>,
    status: Cell<u16>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    retries: Cell<u32>,
    ending: Cell<Option<(ClosedBy, Reason)>>,
    consumer: RefCell<Option<Arc<str>>>,
    denied: Cell<Option<Denied>>,
    detail: Cell<&'static str>,
}

impl Record {
    /// One that begins now.
    pub(crate) fn begin_now(
        guest: &Guest,
        shelf: &Rc<Shelf>,
        counters: &Arc<HttpCounters>,
    ) -> Self {
        Self {
            guest: guest.clone(),
            shelf: shelf.clone(),
            counters: counters.clone(),
            started: now(),
            words: RefCell::new(Words {
                text: shelf.text(),
                ..Words::default()
            }),
            route: RefCell::default(),
            client: Cell::new(None),
            place: RefCell::default(),
            connect: Cell::new(None),
            first_byte: Cell::new(None),
            status: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            retries: Cell::new(0),
            ending: Cell::new(None),
            consumer: RefCell::default(),
            denied: Cell::new(None),
            detail: Cell::new(""),
        }
    }

    /// Notes the method.
    pub(crate) fn note_method(&self, method: &str) {
        let words = &mut *self.words.borrow_mut();
        words.method = words.push(method);
    }

    /// Notes what was asked for, when that is logged.
    pub(crate) fn note_target(&self, host: &str, path: &str) {
        if self.guest.logs() {
            let words = &mut *self.words.borrow_mut();
            words.host = words.push(cut(host));
            words.path = words.push(cut(path));
        }
    }

    /// Notes what a refused request asked for, as it came, unless that is known better.
    pub(crate) fn note_refused(&self, host: &[u8], target: &str) {
        let is_noted = !self.words.borrow().path.is_empty();
        if !is_noted {
            let path = target.split('?').next().unwrap_or_default();
            // A name and a password may stand before an `@`, and are nobody's business.
            let path = Some(path).filter(|path| path.starts_with('/') || !path.contains('@'));
            let host = Some(host).filter(|host| !host.contains(&b'@'));
            let host = String::from_utf8_lossy(host.unwrap_or_default());
            self.note_target(&host, path.unwrap_or_default());
        }
    }

    /// Notes what is wrong with the request.
    pub(crate) fn note_detail(&self, detail: &'static str) {
        self.detail.set(detail);
    }

    /// Notes the route that decided.
    pub(crate) fn note_route(&self, number: usize, name: &Arc<str>) {
        *self.route.borrow_mut() = (number, Some(name.clone()));
    }

    /// Notes who the client is, when it is not the one that connected.
    pub(crate) fn note_client(&self, client: IpAddr) {
        self.client.set(Some(client));
    }

    /// Notes whose request it is.
    pub(crate) fn note_consumer(&self, consumer: &Arc<str>) {
        *self.consumer.borrow_mut() = Some(consumer.clone());
    }

    /// Notes why nobody was recognised.
    pub(crate) fn note_denied(&self, denied: Denied) {
        self.denied.set(Some(denied));
    }

    /// Notes the id of the request.
    pub(crate) fn note_id(&self, id: &RequestId) {
        if self.guest.logs() {
            let words = &mut *self.words.borrow_mut();
            words.id = words.push(id.as_str());
        }
    }

    /// Notes where it goes.
    pub(crate) fn note_pool(&self, pool: &Arc<Pool>) {
        *self.place.borrow_mut() = Some(Place {
            pool: pool.clone(),
            server: None,
        });
    }

    /// Notes who is asked, and how long the connect took, if it took one.
    pub(crate) fn note_server(
        &self,
        pool: &Arc<Pool>,
        server: &Arc<Server>,
        connect: Option<Duration>,
    ) {
        *self.place.borrow_mut() = Some(Place {
            pool: pool.clone(),
            server: Some(server.clone()),
        });
        self.connect.set(connect);
    }

    /// Notes that the server has begun to answer.
    pub(crate) fn note_first_byte(&self) {
        let took = now().saturating_duration_since(self.started);
        self.first_byte.set(Some(took));
        if let Some(Place { pool, .. }) = &*self.place.borrow() {
            let counters = pool.counters.of(self.guest.worker());
            counters.first_byte.record(took);
        }
    }

    /// Notes one more try.
    pub(crate) fn note_retry(&self) {
        self.retries.set(self.retries.get() + 1);
    }

    /// Notes that an answer has begun.
    pub(crate) fn begin(&self, status: u16) {
        self.status.set(status);
    }

    /// Notes bytes of the request's body.
    pub(crate) fn add_in(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
    }

    /// Notes bytes of the answer's body.
    pub(crate) fn add_out(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    /// Bytes of the request's body so far.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.get()
    }

    /// Waits until an answer has begun and nothing more of it has gone out for so long: whoever has ended its side by then
    /// is taken for gone.
    pub(crate) async fn goes_quiet(&self, patience: Duration) {
        loop {
            let before = (self.status.get(), self.bytes_out.get());
            Sleep::until(now() + patience).wait().await;
            if before.0 != 0 && before == (self.status.get(), self.bytes_out.get()) {
                return;
            }
        }
    }

    /// Notes the end. The first one counts.
    pub(crate) fn end(&self, by: ClosedBy, reason: Reason) {
        if self.ending.get().is_none() {
            self.ending.set(Some((by, reason)));
        }
    }

    /// The number of its route in the counters.
    pub(crate) fn route_number(&self) -> usize {
        self.route.borrow().0
    }

    fn log(&self, took: Duration, (by, reason): (ClosedBy, Reason)) {
        let words = &*self.words.borrow();
        self.guest.log(|line| {
            line.field(log_name!("time"), Value::Now);
            line.field(
                log_name!("listener"),
                Value::Text(&self.guest.listener().name),
            );
            if let (_, Some(route)) = &*self.route.borrow() {
                line.field(log_name!("route"), Value::Text(route));
            }
            if let Some(Place { pool, server }) = &*self.place.borrow() {
                line.field(log_name!("pool"), Value::Text(&pool.name));
                if let Some(server) = server {
                    line.field(log_name!("server"), Value::Text(&server.name));
                }
            }
            match &self.client.get() {
                Some(client) => line.field(log_name!("client"), Value::Shown(client)),
                None => line.field(log_name!("client"), Value::Word(self.guest.shown())),
            }
            if let Some(name) = self.guest.server_name() {
                line.field(log_name!("sni"), Value::Text(name));
            }
            if let Some(tls) = self.guest.tls() {
                line.field(log_name!("tls"), Value::Word(tls));
            }
            for (name, range) in [
                (log_name!("method"), &words.method),
                (log_name!("host"), &words.host),
                (log_name!("path"), &words.path),
            ] {
                if !range.is_empty() {
                    line.field(name, Value::Text(words.of(range)));
                }
            }
            line.field(
                log_name!("status"),
                Value::Count(self.shown_status().into()),
            );
            line.field(log_name!("bytes_in"), Value::Count(self.bytes_in.get()));
            line.field(log_name!("bytes_out"), Value::Count(self.bytes_out.get()));
            if let Some(connect) = self.connect.get() {
                line.field(log_name!("connect_s"), Value::Seconds(connect));
            }
            if let Some(handshake) = self.guest.handshake() {
                line.field(log_name!("handshake_s"), Value::Seconds(handshake));
            }
            if let Some(first_byte) = self.first_byte.get() {
                line.field(log_name!("first_byte_s"), Value::Seconds(first_byte));
            }
            line.field(log_name!("duration_s"), Value::Seconds(took));
            line.field(
                log_name!("retries"),
                Value::Count(self.retries.get().into()),
            );
            line.field(log_name!("closed_by"), Value::Word(by.word()));
            line.field(log_name!("reason"), Value::Word(reason.word()));
            if !self.detail.get().is_empty() {
                line.field(log_name!("detail"), Value::Text(self.detail.get()));
            }
            if let Some(denied) = self.denied.get() {
                line.field(log_name!("denied"), Value::Word(denied.word()));
            }
            if let Some(consumer) = &*self.consumer.borrow() {
                line.field(log_name!("consumer"), Value::Text(consumer));
            }
            if !words.id.is_empty() {
                line.field(log_name!("request_id"), Value::Text(words.of(&words.id)));
            }
        });
    }

    fn shown_status(&self) -> u16 {
        match self.status.get() {
            0 => GONE,
            status => status,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = now().saturating_duration_since(self.started);
        let ending = self.ending.get().unwrap_or_else(|| match self.guest.cut() {
            Some(reason) => (ClosedBy::Ringgate, reason),
            None => (ClosedBy::Client, Reason::ClientReset),
        });
        let route = self.route_number();
        if self.guest.logs() {
            self.log(took, ending);
        }
        let words = self.words.take();
        self.counters.of(self.guest.worker()).request(
            route,
            words.of(&words.method),
            self.shown_status(),
            took,
        );
        self.shelf.give_back_text(words.text);
    }
}

fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(SHOWN_BYTES_MAX);
    &text[..end]
}
