//! The time of a line: written out once in each second, since nearly all of it stays the same.

use std::cell::RefCell;
use std::fmt::Write;

use jiff::Timestamp;

thread_local! {
    /// The second written last and its text, up to the dot.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// Writes this moment as RFC 3339 does, in UTC with milliseconds.
pub(super) fn push_now(line: &mut String) {
    push(line, Timestamp::now());
}

fn push(line: &mut String, moment: Timestamp) {
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != moment.as_second() {
            *second = moment.as_second();
            text.clear();
            let whole = Timestamp::from_second(*second).unwrap_or_default();
            let _ = write!(text, "{whole}");
            text.truncate(text.len().saturating_sub(1));
        }
        line.push_str(text);
    });
    let millis = moment.subsec_millisecond().unsigned_abs();
    let digit = |of: u32| char::from(b'0' + (of % 10) as u8);
    line.push('.');
    line.extend([digit(millis / 100), digit(millis / 10), digit(millis)]);
    line.push('Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_milliseconds() {
        for text in [
            "2026-11-28T00:00:00.000Z",
            "2026-11-28T00:00:00.042Z",
            "2026-11-28T00:00:01.999Z",
        ] {
            let mut line = String::new();
            push(&mut line, text.parse().unwrap());
            assert_eq!(line, text);
        }
    }
}
