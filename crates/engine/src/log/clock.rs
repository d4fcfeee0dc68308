//! The time of a line: written out once in each second, since nearly all of it stays the same.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::page::{Known, Page};

/// Bytes of a moment up to its dot, which is the last of them.
const SECOND_BYTES: usize = 20;

thread_local! {
    /// The second written last, since 1970, and its text.
    static SECOND: Cell<(u64, Known<SECOND_BYTES>)> = const { Cell::new((u64::MAX, Known::new(""))) };
}

/// Writes this moment as RFC 3339 does, in UTC with milliseconds.
pub(super) fn write_now(page: &mut Page) {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    write(page, since_1970.unwrap_or_default());
}

fn write(page: &mut Page, since_1970: Duration) {
    let (mut second, mut text) = SECOND.get();
    if second != since_1970.as_secs() {
        second = since_1970.as_secs();
        text = shown(second);
        SECOND.set((second, text));
    }
    page.known(&text);
    let millis = since_1970.subsec_millis();
    page.byte(b'0' + (millis / 100) as u8);
    page.digits::<2>(millis % 100);
    page.byte(b'Z');
}

#[cold]
fn shown(second: u64) -> Known<SECOND_BYTES> {
    let moment = i64::try_from(second).map(Timestamp::from_second);
    let moment = moment.ok().and_then(Result::ok).unwrap_or_default();
    // Years have four digits, up to the last that there can be.
    Known::new(&format!("{moment}").replace('Z', "."))
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
            "9999-12-30T22:00:00.999Z",
        ] {
            let moment: Timestamp = text.parse().unwrap();
            let mut page = Page::default();
            write(
                &mut page,
                moment.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs(),
            );
            assert_eq!(String::from_utf8_lossy(page.written()), text);
        }
    }
}
