//! One line of the access log, as JSON or as text: names and values in the order in which they are given.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use ringgate_config::LogFormat;

use super::clock;
use super::page::{Known, Page};

/// Room for a name with what is around it.
const NAME_BYTES: usize = 23;

/// The name of a field, as each format writes it: small, for a line looks at some twenty.
#[derive(Debug)]
pub struct Name {
    /// Up to the quote of its value.
    json: Known<NAME_BYTES>,
    text: Known<NAME_BYTES>,
}

impl Name {
    /// Of the name in JSON up to the quote of its value, and as text up to its value.
    #[doc(hidden)]
    pub const fn new(json: &str, text: &str) -> Self {
        Self {
            json: Known::new(json),
            text: Known::new(text),
        }
    }
}

/// The [`Name`] of a field: a literal of at most 19 bytes that needs no escape.
#[macro_export]
macro_rules! log_name {
    ($name:literal) => {
        const { &$crate::log::Name::new(concat!("\"", $name, "\":\""), concat!($name, "=")) }
    };
}

/// The value of a field of the access log.
pub enum Value<'a> {
    /// A text that needs no escape.
    Word(&'a str),
    /// A text that may hold anything.
    Text(&'a str),
    /// Shown without any character that would need an escape.
    Shown(&'a dyn Display),
    /// A number.
    Count(u64),
    /// Seconds with microseconds.
    Seconds(Duration),
    /// This moment.
    Now,
}

/// A line of the access log while it is written.
pub struct Line<'a> {
    page: &'a mut Page,
    format: LogFormat,
}

impl<'a> Line<'a> {
    pub(super) fn begin(page: &'a mut Page, format: LogFormat) -> Self {
        if format == LogFormat::Json {
            page.byte(b'{');
        }
        Self { page, format }
    }

    /// Adds a field. Inlined, what kind of value it is is known when it is compiled.
    #[inline(always)]
    pub fn field(&mut self, name: &Name, value: Value<'_>) {
        match self.format {
            LogFormat::Json => self.json(name, value),
            LogFormat::Text => self.text(name, value),
        }
    }

    #[inline(always)]
    fn json(&mut self, name: &Name, value: Value<'_>) {
        let page = &mut *self.page;
        if let Value::Count(_) | Value::Seconds(_) = value {
            page.known_but_last(&name.json);
            plain(page, value);
            return page.byte(b',');
        }
        page.known(&name.json);
        match value {
            Value::Text(text) if !is_plain(text.as_bytes()) => escape(page, text),
            other => plain(page, other),
        }
        page.known(const { &Known::<2>::new("\",") });
    }

    #[inline(never)]
    fn text(&mut self, name: &Name, value: Value<'_>) {
        let page = &mut *self.page;
        page.known(&name.text);
        match value {
            Value::Text(text) if is_one_word(text) => page.bytes(text.as_bytes()),
            Value::Text(text) => {
                page.byte(b'"');
                escape(page, text);
                page.byte(b'"');
            }
            other => plain(page, other),
        }
        page.byte(b' ');
    }

    pub(super) fn end(self) {
        // In the place of what parts a field from the next.
        match self.format {
            LogFormat::Json => {
                self.page.replace_last(b'}');
                self.page.byte(b'\n');
            }
            LogFormat::Text => self.page.replace_last(b'\n'),
        }
    }
}

/// A value that is the same in both formats, but for quotes.
#[inline(always)]
fn plain(page: &mut Page, value: Value<'_>) {
    match value {
        Value::Word(text) | Value::Text(text) => page.bytes(text.as_bytes()),
        // A page takes everything.
        Value::Shown(shown) => drop(write!(page, "{shown}")),
        Value::Count(count) => page.number(count),
        Value::Seconds(seconds) => {
            page.number(seconds.as_secs());
            page.byte(b'.');
            page.digits::<6>(seconds.subsec_micros());
        }
        Value::Now => clock::write_now(page),
    }
}

fn is_one_word(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

/// A text within the quotes of a JSON string (RFC 8259 §7). Everything but printable ASCII is escaped or kept as UTF-8.
#[inline(never)]
fn escape(page: &mut Page, text: &str) {
    for character in text.chars() {
        match character {
            '"' | '\\' => page.bytes(&[b'\\', character as u8]),
            control if control.is_control() => drop(write!(page, "\\u{:04x}", u32::from(control))),
            other => page.bytes(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fill: impl FnOnce(&mut Page)) -> String {
        let mut page = Page::default();
        fill(&mut page);
        String::from_utf8(page.written().to_vec()).unwrap()
    }

    #[test]
    fn a_line_is_written_in_both_formats() {
        for (format, whole) in [
            (
                LogFormat::Json,
                "{\"a\":\"x y\",\"count\":12,\"b\":\"word\",\"took_s\":0.000007}\n",
            ),
            (
                LogFormat::Text,
                "a=\"x y\" count=12 b=word took_s=0.000007\n",
            ),
        ] {
            let line = written(|page| {
                let mut line = Line::begin(page, format);
                line.field(log_name!("a"), Value::Text("x y"));
                line.field(log_name!("count"), Value::Count(12));
                line.field(log_name!("b"), Value::Word("word"));
                line.field(
                    log_name!("took_s"),
                    Value::Seconds(Duration::from_micros(7)),
                );
                line.end();
            });
            assert_eq!(line, whole);
        }
    }

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
            let line = written(|page| {
                let mut line = Line::begin(page, LogFormat::Json);
                line.field(log_name!("name"), Value::Text(text));
                line.end();
            });
            assert_eq!(line, format!("{{\"name\":{quoted}}}\n"));
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
            assert_eq!(written(|page| plain(page, Value::Seconds(duration))), text);
        }
    }
}
