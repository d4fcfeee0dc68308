//! What one worker keeps for all of its HTTP connections: connections to servers, what it remembers of tokens, the
//! budgets of retries, and room that requests lend each other, so that a connection that waits holds nearly nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use ringgate_engine::plugin::{Budget, Pool, now};

use crate::auth::Memory;
use crate::crowd::Crowd;
use crate::forwarded::RequestIds;
use crate::head::{RequestHead, ResponseHead};
use crate::servers::Servers;
use crate::streams::Streams;

/// Pieces of room that are kept; more are never in use at once for long.
const KEPT_MAX: usize = 64;

/// Larger room is given back to the system.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Room for the heads of one request and its answer. Boxed, it moves as a pointer.
pub(crate) type Heads = Box<(RequestHead, ResponseHead)>;

/// How old the date may be that answers tell.
const DATE_AGE_MAX: Duration = Duration::from_millis(500);

/// The things of one worker.
#[derive(Default)]
pub(crate) struct Shelf {
    /// Connections to servers of HTTP/1.
    pub(crate) servers: Rc<Servers>,
    /// Connections to servers of HTTP/2.
    pub(crate) streams: Rc<Streams>,
    /// How many connections to servers of HTTP/1 clients of HTTP/2 hold.
    pub(crate) crowd: Crowd,
    /// Who was recognised.
    pub(crate) memory: RefCell<Memory>,
    budgets: RefCell<Vec<Option<Budget>>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    texts: RefCell<Vec<String>>,
    heads: RefCell<Vec<Heads>>,
    random: Cell<u64>,
    /// Names of requests.
    pub(crate) ids: RefCell<RequestIds>,
    date: RefCell<Date>,
}

/// The date as answers tell it, and when it was written.
#[derive(Default)]
struct Date {
    written: Option<Instant>,
    text: String,
}

impl Shelf {
    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        buffer.clear();
        keep(&self.buffers, buffer, bytes);
    }

    /// An empty text.
    pub(crate) fn text(&self) -> String {
        self.texts.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a text back.
    pub(crate) fn give_back_text(&self, mut text: String) {
        let bytes = text.capacity();
        text.clear();
        keep(&self.texts, text, bytes);
    }

    /// Room for the heads of one request.
    pub(crate) fn heads(&self) -> Heads {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes it back.
    pub(crate) fn give_back_heads(&self, heads: Heads) {
        let bytes = heads.0.fields.room() + heads.1.fields.room();
        keep(&self.heads, heads, bytes);
    }

    /// Notes a request for a pool.
    pub(crate) fn earn(&self, pool: &Pool) {
        self.budget(pool, Budget::earn);
    }

    /// Whether a request for a pool may be tried once more.
    pub(crate) fn spend(&self, pool: &Pool) -> bool {
        self.budget(pool, Budget::spend)
    }

    fn budget<T>(&self, pool: &Pool, with: impl FnOnce(&mut Budget) -> T) -> T {
        let mut budgets = self.budgets.borrow_mut();
        let index = pool.id.index();
        if budgets.len() <= index {
            budgets.resize(index + 1, None);
        }
        let budget = &mut budgets[index];
        with(budget.get_or_insert_with(|| Budget::new(pool.retry.budget_percent)))
    }

    /// Shows the date (RFC 9110 §5.6.7), which is written once in each half second.
    pub(crate) fn with_date<T>(&self, show: impl FnOnce(&str) -> T) -> T {
        let mut date = self.date.borrow_mut();
        if date
            .written
            .is_none_or(|written| written + DATE_AGE_MAX < now())
        {
            date.written = Some(now());
            date.text = httpdate::fmt_http_date(SystemTime::now());
        }
        show(&date.text)
    }

    /// A number at random (splitmix64), to spread requests by.
    pub(crate) fn random(&self) -> u64 {
        let seed = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Keeps room of so many bytes for the next one, when it is not too much.
fn keep<T>(kept: &RefCell<Vec<T>>, room: T, bytes: usize) {
    let mut kept = kept.borrow_mut();
    if kept.len() < KEPT_MAX && bytes <= KEPT_BYTES_MAX {
        kept.push(room);
    }
}
