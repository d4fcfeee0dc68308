//! A word that is said once to many tasks of one worker: each can wait for it, and all are woken
//! when it is said. Not for other threads.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// A word of type `T` that has been said or not.
pub struct Signal<T> {
    said: Cell<Option<T>>,
    waiting: RefCell<Waiting>,
}

/// Who waits; a free place holds the index of the next free one.
#[derive(Default)]
struct Waiting {
    places: Vec<Place>,
    free: Option<usize>,
}

enum Place {
    Used(Option<Waker>),
    Free(Option<usize>),
}

impl<T> Default for Signal<T> {
    fn default() -> Self {
        Self {
            said: Cell::new(None),
            waiting: RefCell::default(),
        }
    }
}

impl<T: Copy> Signal<T> {
    /// Says it; what was said first stays.
    pub fn say(&self, word: T) {
        if self.said.get().is_some() {
            return;
        }
        self.said.set(Some(word));
        for place in &self.waiting.borrow().places {
            if let Place::Used(Some(waker)) = place {
                waker.wake_by_ref();
            }
        }
    }

    /// What was said.
    pub fn said(&self) -> Option<T> {
        self.said.get()
    }

    /// Waits until it is said.
    pub fn heard(&self) -> impl Future<Output = T> {
        let seat = Seat {
            signal: self,
            index: self.waiting.borrow_mut().take(),
        };
        poll_fn(move |context| seat.poll(context))
    }
}

impl Waiting {
    fn take(&mut self) -> usize {
        let Some(index) = self.free else {
            self.places.push(Place::Used(None));
            return self.places.len() - 1;
        };
        if let Place::Free(next) = std::mem::replace(&mut self.places[index], Place::Used(None)) {
            self.free = next;
        }
        index
    }

    fn wait(&mut self, index: usize, waker: &Waker) {
        if let Place::Used(known) = &mut self.places[index] {
            match known {
                Some(known) => known.clone_from(waker),
                None => *known = Some(waker.clone()),
            }
        }
    }
}

/// One place among those who wait, given back when the wait ends in whatever way.
struct Seat<'a, T> {
    signal: &'a Signal<T>,
    index: usize,
}

impl<T: Copy> Seat<'_, T> {
    fn poll(&self, context: &Context<'_>) -> Poll<T> {
        if let Some(word) = self.signal.said.get() {
            return Poll::Ready(word);
        }
        let mut waiting = self.signal.waiting.borrow_mut();
        waiting.wait(self.index, context.waker());
        Poll::Pending
    }
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        let mut waiting = self.signal.waiting.borrow_mut();
        let next = waiting.free.replace(self.index);
        waiting.places[self.index] = Place::Free(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[test]
    fn everybody_hears_the_first_word_and_places_are_used_again() {
        let signal = Signal::default();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let mut first = pin!(signal.heard());
            let mut second = pin!(signal.heard());
            assert!(first.as_mut().poll(&mut context).is_pending());
            assert!(second.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(signal.waiting.borrow().places.len(), 2);
        let mut waits = pin!(signal.heard());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        signal.say(1);
        signal.say(2);
        assert_eq!(waits.as_mut().poll(&mut context), Poll::Ready(1));
        assert_eq!(signal.said(), Some(1));
    }
}
