//! What the service manager is told, by the protocol of sd_notify(3): readiness, status, the end, the watchdog.
//! Without a service manager nothing is sent; what cannot be sent never stops the process.

use std::time::Duration;

use sd_notify::NotifyState;

/// How often the watchdog is to be fed; `None` when the service manager does not ask for it.
///
/// Half of its limit, as sd_watchdog_enabled(3) advises.
pub(crate) fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Every listener accepts and every worker turns.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Shown by `systemctl status`.
pub(crate) fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

/// The process has begun to end.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Every worker turns.
pub(crate) fn feed_watchdog() {
    send(&[NotifyState::Watchdog]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
