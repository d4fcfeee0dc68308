//! How many handshakes with clients a worker has under way: each holds some memory for as long as its
//! client makes it wait. When there are too many, the client that has been silent for longest gives
//! way, so that those who never answer keep nobody out for longer than it takes to replace them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringgate_runtime::{Race, race};

/// The handshakes of a worker.
#[derive(Default)]
pub(crate) struct Handshakes {
    max: Cell<u32>,
    open: Cell<u32>,
    /// Those whose client is waited for, by when that began.
    silent: RefCell<BTreeMap<u64, Rc<Seat>>>,
    turns: Cell<u64>,
}

/// One whose client is waited for.
#[derive(Default)]
struct Seat {
    waker: RefCell<Option<Waker>>,
    displaced: Cell<bool>,
}

impl Handshakes {
    /// Sets how many there may be at once.
    pub(crate) fn set_max(&self, max: u32) {
        self.max.set(max);
    }

    /// Begins one, at the cost of the longest silent one when there are too many. Where none is silent,
    /// all are about to end, and there may be one more.
    pub(crate) fn begin(&self) -> Place<'_> {
        self.open.set(self.open.get() + 1);
        if self.open.get() > self.max.get()
            && let Some((_, seat)) = self.silent.borrow_mut().pop_first()
        {
            seat.displaced.set(true);
            if let Some(waker) = seat.waker.take() {
                waker.wake();
            }
        }
        Place(self)
    }
}

/// A handshake that is under way, until it is dropped.
pub(crate) struct Place<'a>(&'a Handshakes);

/// The handshake had to give way to another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Displaced;

impl Place<'_> {
    /// Waits for the client, by `heard`.
    ///
    /// # Errors
    /// When it must not be waited for any longer.
    pub(crate) async fn wait<T>(&self, heard: impl Future<Output = T>) -> Result<T, Displaced> {
        let turn = self.0.turns.replace(self.0.turns.get() + 1);
        let seat = Rc::<Seat>::default();
        self.0.silent.borrow_mut().insert(turn, seat.clone());
        let waits = Waits {
            handshakes: self.0,
            turn,
        };
        let displaced = poll_fn(|context| {
            if seat.displaced.get() {
                return Poll::Ready(());
            }
            *seat.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        });
        let outcome = race(heard, displaced).await;
        drop(waits);
        match outcome {
            Race::First(heard) => Ok(heard),
            Race::Second(()) => Err(Displaced),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// The entry of one that waits, for as long as it does.
struct Waits<'a> {
    handshakes: &'a Handshakes,
    turn: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.handshakes.silent.borrow_mut().remove(&self.turn);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::Context;

    use super::*;

    #[test]
    fn the_longest_silent_one_gives_way() {
        let handshakes = Handshakes::default();
        handshakes.set_max(2);
        let mut context = Context::from_waker(Waker::noop());
        let (first, second) = (handshakes.begin(), handshakes.begin());
        let mut first_waits = Box::pin(first.wait(pending::<()>()));
        let mut second_waits = Box::pin(second.wait(pending::<()>()));
        assert!(first_waits.as_mut().poll(&mut context).is_pending());
        assert!(second_waits.as_mut().poll(&mut context).is_pending());
        let third = handshakes.begin();
        assert_eq!(
            first_waits.as_mut().poll(&mut context),
            Poll::Ready(Err(Displaced))
        );
        assert!(second_waits.as_mut().poll(&mut context).is_pending());
        // It is gone by itself before it is asked to.
        drop(second_waits);
        let fourth = handshakes.begin();
        let heard = Box::pin(third.wait(ready(7))).as_mut().poll(&mut context);
        assert_eq!(heard, Poll::Ready(Ok(7)));
        drop(first_waits);
        drop((first, second, third, fourth));
        assert_eq!(handshakes.open.get(), 0);
        assert!(handshakes.silent.borrow().is_empty());
    }
}
