//! The access log on the worker's side: one line per connection or request, rendered into a buffer and handed
//! to the writer in batches. It never waits: when the writer is behind, lines are dropped and
//! counted.

mod clock;
mod line;
mod page;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use ringgate_config::LogFormat;
use ringgate_runtime::{Sleep, now, race};

use self::page::Page;
use crate::counters::WorkerId;
use crate::log_name;
use crate::session::{Ending, Session};
use crate::signal::Signal;
use crate::snapshot::Shared;

pub use self::line::{Line, Name, Value};

/// A batch is handed over when it has this many bytes, or when [`AGE_MAX`] has passed. To hand one over stops the worker
/// for the writer where both share a core, which costs as much as some hundred lines.
const BATCH_BYTES: usize = 256 * 1024;

/// How long a line may wait in a worker.
const AGE_MAX: Duration = Duration::from_millis(50);

/// How many batches may be on their way to the writer.
pub const QUEUED_BATCHES_MAX: usize = 1024;

/// How many bytes of memory their lines may have: what keeps a blocked log from taking more.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Room of a worker's buffer: a batch, and the lines that make it full.
const PAGE_BYTES: usize = BATCH_BYTES + BATCH_BYTES / 8;

/// How many buffers come back to a worker from the writer, to be filled again: memory that is warm and mapped.
const SPARES_MAX: usize = 1;

/// Rendered lines on their way to the writer. When it is dropped, its memory goes back to the worker.
#[derive(Debug)]
pub struct Batch {
    lines: u32,
    page: Page,
    home: SyncSender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
}

impl Batch {
    /// Of whole lines, each with its line feed.
    pub fn of(text: &str) -> Self {
        let mut page = Page::default();
        page.bytes(text.as_bytes());
        let (home, _) = sync_channel(0);
        Self::new(text.lines().count() as u32, page, home, Arc::default())
    }

    fn new(lines: u32, page: Page, home: SyncSender<Vec<u8>>, queued: Arc<AtomicUsize>) -> Self {
        queued.fetch_add(page.room(), Relaxed);
        Self {
            lines,
            page,
            home,
            queued,
        }
    }

    /// How many lines it has.
    pub fn lines(&self) -> u32 {
        self.lines
    }

    /// The lines, each with its line feed.
    pub fn text(&self) -> &[u8] {
        self.page.written()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let page = std::mem::take(&mut self.page);
        self.queued.fetch_sub(page.room(), Relaxed);
        if page.room() >= PAGE_BYTES {
            // A home that is full or gone wants no more.
            let _ = self.home.try_send(page.into_memory());
        }
    }
}

/// Where the access log goes and in which form.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// JSON or text.
    pub format: LogFormat,
    /// The writer's queue, of [`QUEUED_BATCHES_MAX`].
    pub sink: SyncSender<Batch>,
    /// Bytes of memory that all workers' lines on their way to the writer have.
    pub queued: Arc<AtomicUsize>,
}

/// A worker's end of the access log.
pub(crate) struct Log {
    access: AccessLog,
    shared: Arc<Shared>,
    worker: WorkerId,
    page: RefCell<Page>,
    lines: Cell<u32>,
    home: SyncSender<Vec<u8>>,
    spares: Receiver<Vec<u8>>,
    /// Said when the first line of a batch is there.
    begun: RefCell<std::rc::Rc<Signal<()>>>,
}

impl Log {
    pub(crate) fn new(access: AccessLog, shared: Arc<Shared>, worker: WorkerId) -> Self {
        let (home, spares) = sync_channel(SPARES_MAX);
        Self {
            access,
            shared,
            worker,
            page: RefCell::new(Page::with_room(PAGE_BYTES)),
            lines: Cell::new(0),
            home,
            spares,
            begun: RefCell::default(),
        }
    }

    /// Writes the line of a connection that has ended.
    pub(crate) fn write(&self, session: &Session, ending: Ending) {
        self.line(|line| fields(session, ending, line));
    }

    /// Writes a line.
    pub(crate) fn line(&self, fill: impl FnOnce(&mut Line<'_>)) {
        let mut page = self.page.borrow_mut();
        let mut line = Line::begin(&mut page, self.access.format);
        fill(&mut line);
        line.end();
        let is_full = page.len() >= BATCH_BYTES;
        drop(page);
        self.lines.set(self.lines.get() + 1);
        if is_full {
            self.hand_over();
        } else if self.lines.get() == 1 {
            self.begun.borrow().say(());
        }
    }

    /// Gives what is there to the writer, or drops it when the writer is behind.
    pub(crate) fn hand_over(&self) {
        let lines = self.lines.replace(0);
        if lines == 0 {
            return;
        }
        let access = &self.access;
        let page = self.take_page();
        let batch = Batch::new(lines, page, self.home.clone(), access.queued.clone());
        let is_behind = access.queued.load(Relaxed) > QUEUED_BYTES_MAX;
        if is_behind || access.sink.try_send(batch).is_err() {
            let worker = self.shared.workers.of(self.worker);
            worker.log_dropped.add(u64::from(lines));
        }
    }

    /// The lines, in memory that is little larger than twice what they need.
    fn take_page(&self) -> Page {
        let mut page = self.page.borrow_mut();
        if page.len() < BATCH_BYTES / 2 {
            return page.take_copy();
        }
        let spare = self.spares.try_recv();
        let next = spare.map_or_else(|_| Page::with_room(PAGE_BYTES), Page::over);
        std::mem::replace(&mut page, next)
    }

    /// Hands batches over that do not fill up, until `end`.
    pub(crate) async fn hand_over_in_time(&self, end: impl Future<Output = ()>) {
        let hand_over = async {
            loop {
                let begun = self.begun.borrow().clone();
                begun.heard().await;
                Sleep::until(now() + AGE_MAX).wait().await;
                self.begun.replace(std::rc::Rc::default());
                self.hand_over();
            }
        };
        race(end, hand_over).await;
        self.hand_over();
    }
}

/// The fields of contract §4 that a TCP connection has, in its order.
fn fields(session: &Session, ending: Ending, line: &mut Line<'_>) {
    line.field(log_name!("time"), Value::Now);
    line.field(log_name!("listener"), Value::Text(&session.listener.name));
    let said = session.said.as_deref();
    if let Some(route) = said.and_then(|said| said.route.as_ref()) {
        line.field(log_name!("route"), Value::Text(route));
    }
    if let Some(pool) = &session.pool {
        line.field(log_name!("pool"), Value::Text(&pool.name));
        if let Some(server) = session.server.get() {
            line.field(log_name!("server"), Value::Text(&pool.server(server).name));
        }
    }
    if let Some(client) = &session.client {
        line.field(log_name!("client"), Value::Shown(client));
    }
    if let Some(name) = said.and_then(|said| said.server_name.as_ref()) {
        line.field(log_name!("sni"), Value::Text(name));
    }
    if let Some(tls) = said.and_then(|said| said.tls) {
        line.field(log_name!("tls"), Value::Word(tls.word()));
    }
    line.field(log_name!("bytes_in"), Value::Count(session.bytes_in.get()));
    line.field(
        log_name!("bytes_out"),
        Value::Count(session.bytes_out.get()),
    );
    if let Some(connect) = session.connect.get() {
        line.field(log_name!("connect_s"), Value::Seconds(connect));
    }
    if let Some(handshake) = said.and_then(|said| said.handshake) {
        line.field(log_name!("handshake_s"), Value::Seconds(handshake));
    }
    if let Some(first_byte) = session.first_byte.get() {
        line.field(log_name!("first_byte_s"), Value::Seconds(first_byte));
    }
    line.field(
        log_name!("duration_s"),
        Value::Seconds(now().saturating_duration_since(session.accepted)),
    );
    line.field(
        log_name!("retries"),
        Value::Count(u64::from(session.retries.get())),
    );
    line.field(log_name!("closed_by"), Value::Word(ending.by.word()));
    line.field(log_name!("reason"), Value::Word(ending.reason.word()));
    let subject = said.and_then(|said| said.subject.as_ref());
    if let Some(consumer) = subject.and_then(|subject| subject.name.as_ref()) {
        line.field(log_name!("consumer"), Value::Text(consumer));
    }
    if let Some(failure) = session.server_tls.get() {
        line.field(log_name!("server_tls"), Value::Word(failure.word()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_is_behind_costs_lines_and_no_memory() {
        const LINES_MAX: u64 = 100_000;
        let (sink, batches) = sync_channel(QUEUED_BATCHES_MAX);
        let queued: Arc<AtomicUsize> = Arc::default();
        let access = AccessLog {
            format: LogFormat::Json,
            sink,
            queued: queued.clone(),
        };
        let shared = Arc::new(Shared::new(1));
        let log = Log::new(access, shared.clone(), WorkerId(0));
        let text = "x".repeat(1000);
        let write = || log.line(|line| line.field(log_name!("path"), Value::Text(&text)));
        let dropped = || shared.workers.of(WorkerId(0)).log_dropped.get();

        let mut written = 0;
        while dropped() == 0 && written < LINES_MAX {
            write();
            written += 1;
        }
        assert_ne!(dropped(), 0);
        assert!(queued.load(Relaxed) <= QUEUED_BYTES_MAX);

        let came: u64 = batches
            .try_iter()
            .map(|batch| u64::from(batch.lines()))
            .sum();
        assert_eq!(came + dropped(), written);
        assert_eq!(queued.load(Relaxed), 0);

        write();
        log.hand_over();
        let batch = batches.try_recv().expect("there is room again");
        assert_eq!(
            batch.text(),
            format!("{{\"path\":\"{text}\"}}\n").as_bytes()
        );
    }
}
