//! The access log on the worker's side: one line per connection, rendered into a buffer and handed
//! to the writer in batches. It never waits: when the writer is behind, lines are dropped and
//! counted.

mod clock;

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use ringgate_config::LogFormat;
use ringgate_runtime::{Sleep, now, race};

use crate::counters::WorkerId;
use crate::log_name;
use crate::session::{Ending, Session};
use crate::signal::Signal;
use crate::snapshot::Shared;

/// A batch is handed over when it has this many bytes, or when [`AGE_MAX`] has passed. To hand one over wakes a thread,
/// which costs as much as some dozen lines.
const BATCH_BYTES: usize = 96 * 1024;

/// How long a line may wait in a worker.
const AGE_MAX: Duration = Duration::from_millis(50);

/// Rendered lines on their way to the writer.
#[derive(Debug)]
pub struct Batch {
    /// How many lines `text` has.
    pub lines: u32,
    /// Whole lines, each with its line feed.
    pub text: Vec<u8>,
}

/// Where the access log goes and in which form.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// JSON or text.
    pub format: LogFormat,
    /// The writer's queue; its bound is what keeps a blocked log from taking memory.
    pub sink: SyncSender<Batch>,
}

/// A worker's end of the access log.
pub(crate) struct Log {
    access: AccessLog,
    shared: Arc<Shared>,
    worker: WorkerId,
    text: RefCell<Vec<u8>>,
    lines: Cell<u32>,
    /// Said when the first line of a batch is there.
    begun: RefCell<std::rc::Rc<Signal<()>>>,
}

impl Log {
    pub(crate) fn new(access: AccessLog, shared: Arc<Shared>, worker: WorkerId) -> Self {
        Self {
            access,
            shared,
            worker,
            text: RefCell::default(),
            lines: Cell::new(0),
            begun: RefCell::default(),
        }
    }

    /// Writes the line of a connection that has ended.
    pub(crate) fn write(&self, session: &Session, ending: Ending) {
        self.line(|line| fields(session, ending, line));
    }

    /// Writes a line.
    pub(crate) fn line(&self, fill: impl FnOnce(&mut Line<'_>)) {
        let mut text = self.text.borrow_mut();
        let mut line = Line::begin(&mut text, self.access.format);
        fill(&mut line);
        line.end();
        let full = text.len() >= BATCH_BYTES;
        drop(text);
        self.lines.set(self.lines.get() + 1);
        if full {
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
        let fresh = Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 8);
        let text = self.text.replace(fresh);
        if self.access.sink.try_send(Batch { lines, text }).is_err() {
            self.shared
                .workers
                .of(self.worker)
                .log_dropped
                .add(u64::from(lines));
        }
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

/// A line of the access log while it is written.
pub struct Line<'a> {
    text: &'a mut Vec<u8>,
    format: LogFormat,
    begins: bool,
}

/// The name of a field, as each format writes it.
#[derive(Debug)]
pub struct Name {
    #[doc(hidden)]
    pub json: &'static str,
    #[doc(hidden)]
    pub text: &'static str,
}

/// The [`Name`] of a field: a literal that needs no escape.
#[macro_export]
macro_rules! log_name {
    ($name:literal) => {
        &$crate::log::Name {
            json: concat!(",\"", $name, "\":"),
            text: concat!(" ", $name, "="),
        }
    };
}

/// The value of a field of the access log.
pub enum Value<'a> {
    /// A text that needs no escape.
    Word(&'static str),
    /// A text that may hold anything.
    Text(&'a str),
    /// Shown without any character that would need an escape.
    Shown(&'a dyn std::fmt::Display),
    /// A number.
    Count(u64),
    /// Seconds with microseconds.
    Seconds(Duration),
    /// This moment.
    Now,
}

impl<'a> Line<'a> {
    fn begin(text: &'a mut Vec<u8>, format: LogFormat) -> Self {
        if format == LogFormat::Json {
            text.push(b'{');
        }
        Self {
            text,
            format,
            begins: true,
        }
    }

    /// Adds a field.
    pub fn field(&mut self, name: &Name, value: Value<'_>) {
        let name = match self.format {
            LogFormat::Json => name.json,
            LogFormat::Text => name.text,
        };
        // What parts it from the field before is one byte.
        let begins = std::mem::replace(&mut self.begins, false);
        let name = &name.as_bytes()[usize::from(begins)..];
        self.text.extend_from_slice(name);
        self.value(value);
    }

    fn value(&mut self, value: Value<'_>) {
        let is_json = self.format == LogFormat::Json;
        let quotes: &[u8] = if is_json { b"\"" } else { b"" };
        let mut digits = itoa::Buffer::new();
        match value {
            Value::Text(text) if !is_json && is_one_word(text) => {
                self.text.extend_from_slice(text.as_bytes());
            }
            Value::Text(text) => quote(self.text, text),
            Value::Word(word) => {
                self.text.extend_from_slice(quotes);
                self.text.extend_from_slice(word.as_bytes());
                self.text.extend_from_slice(quotes);
            }
            Value::Shown(shown) => {
                self.text.extend_from_slice(quotes);
                // A Vec takes everything.
                let _ = write!(self.text, "{shown}");
                self.text.extend_from_slice(quotes);
            }
            Value::Now => {
                self.text.extend_from_slice(quotes);
                clock::push_now(self.text);
                self.text.extend_from_slice(quotes);
            }
            Value::Count(count) => self.text.extend_from_slice(digits.format(count).as_bytes()),
            Value::Seconds(seconds) => push_seconds(self.text, seconds),
        }
    }

    fn end(self) {
        let end: &[u8] = match self.format {
            LogFormat::Json => b"}\n",
            LogFormat::Text => b"\n",
        };
        self.text.extend_from_slice(end);
    }
}

fn is_one_word(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

/// A JSON string (RFC 8259 §7). Everything but printable ASCII is escaped or kept as UTF-8.
fn quote(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    if is_plain(text.as_bytes()) {
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
        return;
    }
    for character in text.chars() {
        match character {
            '"' | '\\' => line.extend_from_slice(&[b'\\', character as u8]),
            control if control.is_control() => drop(write!(line, "\\u{:04x}", u32::from(control))),
            other => line.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    line.push(b'"');
}

/// Whether all bytes of a string stand for themselves.
fn is_plain(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') & (*byte != b'"') & (*byte != b'\\');
    // Eight at a time without a branch for each, the last eight perhaps twice.
    let are_plain = |eight: &[u8; 8]| eight.iter().fold(true, |all, byte| all & is_plain(byte));
    match text.last_chunk() {
        Some(last) => text.as_chunks().0.iter().all(are_plain) && are_plain(last),
        None => text.iter().all(is_plain),
    }
}

/// Seconds with microseconds.
fn push_seconds(line: &mut Vec<u8>, duration: Duration) {
    let mut digits = itoa::Buffer::new();
    line.extend_from_slice(digits.format(duration.as_secs()).as_bytes());
    line.push(b'.');
    // The one in front keeps the zeros behind it.
    let micros = digits.format(1_000_000 + duration.subsec_micros());
    line.extend_from_slice(&micros.as_bytes()[1..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_field() {
        for (text, quoted) in [
            ("plain", r#""plain""#),
            ("eight of\"eight of", r#""eight of\"eight of""#),
            ("eight of\u{7f}", r#""eight of\u007f""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("line\nfeed\u{1b}[2J", r#""line\u000afeed\u001b[2J""#),
            ("ü\u{85}", "\"ü\\u0085\""),
        ] {
            let mut line = Vec::new();
            quote(&mut line, text);
            assert_eq!(String::from_utf8(line).unwrap(), quoted);
        }
    }

    #[test]
    fn a_byte_is_plain_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..19 {
                let mut text = *b"aA ~!#[] and eleven";
                text[at] = byte;
                assert_eq!(is_plain(&text), is_plain(&[byte]), "{text:?}");
            }
        }
    }

    #[test]
    fn seconds_have_microseconds() {
        for (duration, text) in [
            (Duration::ZERO, "0.000000"),
            (Duration::from_micros(1), "0.000001"),
            (Duration::new(61, 999_999_999), "61.999999"),
        ] {
            let mut line = Vec::new();
            push_seconds(&mut line, duration);
            assert_eq!(String::from_utf8(line).unwrap(), text);
        }
    }
}
