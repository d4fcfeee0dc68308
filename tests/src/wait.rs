//! Waiting for what will come true. Never for a time to pass: a wait ends as soon as its condition holds, and a
//! condition that never holds fails the test with its name.

use std::time::{Duration, Instant};

/// How long a test waits for what should come at once; long, because a busy machine may take its time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within `deadline`; the message says `what` did not happen.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}

/// Waits until `find` finds something.
///
/// # Panics
/// When it does not within `deadline`; the message says `what` did not happen.
pub fn wait_for<T>(what: &str, deadline: Duration, mut find: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(
            started.elapsed() < deadline,
            "waited {deadline:?} in vain: {what}"
        );
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The value that `read` gives, once it has not changed for half a second.
///
/// # Panics
/// When it still does after [`PATIENCE`]; the message says `what` does not stand still.
pub fn wait_until_still<T: Clone + PartialEq>(what: &str, read: impl Fn() -> T) -> T {
    const STILL: Duration = Duration::from_millis(500);
    let mut last = (read(), Instant::now());
    wait_for(&format!("{what} stands still"), PATIENCE, || {
        let now = read();
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() >= STILL).then(|| last.0.clone())
    })
}
