//! The time of a line: written out once in each second, since nearly all of it stays the same.

use std::cell::RefCell;
use std::io::Write;

use jiff::Timestamp;

thread_local! {
    /// The second written last and its text, up to the dot.
    static SECOND: RefCell<(i64, Vec<u8>)> = const { RefCell::new((i64::MIN, Vec::new())) };
}

/// Writes this moment as RFC 3339 does, in UTC with milliseconds.
pub(super) fn push_now(line: &mut Vec<u8>) {
    push(line, Timestamp::now());
}

fn push(line: &mut Vec<u8>, moment: Timestamp) {
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != moment.as_second() {
            *second = moment.as_second();
            text.clear();
            let whole = Timestamp::from_second(*second).unwrap_or_default();
            let _ = write!(text, "{whole}");
            text.truncate(text.len().saturating_sub(1));
        }
        line.extend_from_slice(text);
    });
    let millis = moment.subsec_millisecond().unsigned_abs();
    let digit = |of: u32| b'0' + (of % 10) as u8;
    let digits = [digit(millis / 100), digit(millis / 10), digit(millis)];
    line.extend_from_slice(&[b'.', digits[0], digits[1], digits[2], b'Z']);
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
            let mut line = Vec::new();
            push(&mut line, text.parse().unwrap());
            assert_eq!(String::from_utf8(line).unwrap(), text);
        }
    }
}
