//! Waiting for a moment, and giving up on something when it comes. Timers cost no system call;
//! they fire up to 5 ms late, never early.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::core::Core;
use crate::runtime::core;
use crate::wheel::TimerId;

/// A moment to wait for, which can be moved.
pub struct Sleep {
    core: Rc<Core>,
    id: TimerId,
}

impl Sleep {
    /// Until `deadline`.
    ///
    /// # Panics
    /// Outside a runtime's thread.
    pub fn until(deadline: Instant) -> Self {
        let core = core();
        let id = core.state.borrow_mut().wheel.insert(deadline);
        Self { core, id }
    }

    /// Moves the moment. Putting it off costs next to nothing.
    pub fn reset(&self, deadline: Instant) {
        self.core.state.borrow_mut().wheel.reset(self.id, deadline);
    }

    /// Whether the moment has come.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self
            .core
            .state
            .borrow_mut()
            .wheel
            .poll(self.id, context.waker())
        {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Waits for the moment.
    pub async fn wait(&self) {
        poll_fn(|context| self.poll(context)).await;
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.core.state.borrow_mut().wheel.remove(self.id);
    }
}

/// The result of `future`, or `None` when `deadline` came first.
///
/// # Panics
/// Outside a runtime's thread.
pub async fn timeout<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let sleep = Sleep::until(deadline);
    match race(future, sleep.wait()).await {
        Race::First(output) => Some(output),
        Race::Second(()) => None,
    }
}

/// Waits until the driver has been turned once: what could be done at once is done then.
pub async fn next_turn() {
    let mut turned = false;
    poll_fn(|context| {
        if std::mem::replace(&mut turned, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Which of two futures ended.
#[derive(Debug)]
pub enum Race<A, B> {
    /// The first one, or both at once.
    First(A),
    /// The second one.
    Second(B),
}

/// Runs two futures until one ends, and drops the other.
pub fn race<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> impl Future<Output = Race<A, B>> {
    Racing { first, second }
}

/// An `async fn` would hold both futures twice, as its arguments and where they are pinned.
struct Racing<A, B> {
    first: A,
    second: B,
}

impl<A: Future, B: Future> Future for Racing<A, B> {
    type Output = Race<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the fields are pinned with the whole, since nothing ever moves them out of it: it
        // has no `Drop`, and is `Unpin` only when both fields are.
        let (first, second) = unsafe {
            let racing = self.get_unchecked_mut();
            (
                Pin::new_unchecked(&mut racing.first),
                Pin::new_unchecked(&mut racing.second),
            )
        };
        if let Poll::Ready(output) = first.poll(context) {
            return Poll::Ready(Race::First(output));
        }
        second.poll(context).map(Race::Second)
    }
}
