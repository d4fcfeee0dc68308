//! How many handshakes a worker does at once: each holds some memory, so the rest wait, first come
//! first served, until one has ended or their own time is over.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The handshakes of a worker.
#[derive(Default)]
pub(crate) struct Handshakes {
    max: Cell<u32>,
    open: Cell<u32>,
    waiting: RefCell<VecDeque<Rc<Seat>>>,
}

#[derive(Default)]
struct Seat {
    waker: RefCell<Option<Waker>>,
    called: Cell<bool>,
}

impl Handshakes {
    /// Sets how many there may be at once.
    pub(crate) fn set_max(&self, max: u32) {
        self.max.set(max);
    }

    /// Waits for a place, and holds it.
    pub(crate) async fn enter(&self) -> Place<'_> {
        if self.open.get() < self.max.get() && self.waiting.borrow().is_empty() {
            self.open.set(self.open.get() + 1);
            return Place(self);
        }
        let waits = Waits {
            handshakes: self,
            seat: Rc::default(),
        };
        self.waiting.borrow_mut().push_back(waits.seat.clone());
        poll_fn(|context| {
            if waits.seat.called.get() {
                return Poll::Ready(());
            }
            *waits.seat.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        // The place is handed on with its count.
        waits.seat.called.set(false);
        Place(self)
    }

    /// Gives a place that has become free to the next one.
    fn leave(&self) {
        let next = self.waiting.borrow_mut().pop_front();
        match next {
            Some(seat) => {
                seat.called.set(true);
                if let Some(waker) = seat.waker.take() {
                    waker.wake();
                }
            }
            None => self.open.set(self.open.get() - 1),
        }
    }
}

/// A place among the handshakes, until it is dropped.
pub(crate) struct Place<'a>(&'a Handshakes);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// One who waits for a place.
struct Waits<'a> {
    handshakes: &'a Handshakes,
    seat: Rc<Seat>,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if self.seat.called.get() {
            // Called, and gone before it took the place.
            return self.handshakes.leave();
        }
        let waiting = &mut *self.handshakes.waiting.borrow_mut();
        waiting.retain(|seat| !Rc::ptr_eq(seat, &self.seat));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    #[test]
    fn places_go_round_in_order_and_none_is_lost() {
        let handshakes = Handshakes::default();
        handshakes.set_max(2);
        let mut context = Context::from_waker(Waker::noop());
        let enter = || Box::pin(handshakes.enter());
        let (mut first, mut second) = (enter(), enter());
        let (mut third, mut fourth, mut fifth) = (enter(), enter(), enter());
        let Poll::Ready(first) = first.as_mut().poll(&mut context) else {
            panic!("there is a place");
        };
        let second = second.as_mut().poll(&mut context);
        for waiting in [&mut third, &mut fourth, &mut fifth] {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        drop(first);
        // The third is called, and goes without its place: it is the fourth's.
        drop(third);
        let Poll::Ready(fourth) = fourth.as_mut().poll(&mut context) else {
            panic!("it is its turn");
        };
        assert!(pin!(enter()).as_mut().poll(&mut context).is_pending());
        drop(fifth);
        drop((second, fourth));
        assert_eq!(handshakes.open.get(), 0);
    }
}
