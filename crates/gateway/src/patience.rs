//! Deadlines that cost a timer only when there is something to wait for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use ringgate_engine::plugin::Sleep;

/// The result of `future`, or `None` when `deadline` came first. What is there at once needs no timer.
pub(crate) async fn within<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut timer: Option<Sleep> = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| Sleep::until(deadline));
        timer.poll(context).map(|()| None)
    })
    .await
}
