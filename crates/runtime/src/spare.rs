//! Work that may wait: it gets the moments in which its thread has nothing else to do, and a share of
//! the time when there are none. It is what keeps long computations from the way of short ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::core::Core;
use crate::runtime::core;

/// Of the time of a busy thread, the part kept for spare work is one in so many.
const SHARE: u32 = 16;

/// Who waits for a moment.
pub(crate) struct Waiting {
    /// In the order of their turns.
    queue: BTreeMap<u64, Rc<Seat>>,
    turns: u64,
    /// From when on the share of a busy thread lets the next one in.
    due: Instant,
}

/// The place of one who waits.
#[derive(Default)]
struct Seat(RefCell<State>);

#[derive(Default)]
enum State {
    #[default]
    New,
    Waits(Waker),
    Called,
}

impl Waiting {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            queue: BTreeMap::new(),
            turns: 0,
            due: now,
        }
    }

    /// Whether somebody waits, so that the thread must not sleep.
    pub(crate) fn is_somebody(&self) -> bool {
        !self.queue.is_empty()
    }

    fn enter(&mut self, seat: Rc<Seat>) -> u64 {
        self.turns += 1;
        self.queue.insert(self.turns, seat);
        self.turns
    }

    /// Gives one of them a moment, when the thread has nothing else to do or the share allows it.
    pub(crate) fn call(&mut self, idle: bool, now: Instant) {
        if !idle && now < self.due {
            return;
        }
        if let Some((_, seat)) = self.queue.pop_first()
            && let State::Waits(waker) = seat.0.replace(State::Called)
        {
            waker.wake();
        }
    }
}

/// A moment for spare work, from now until it is dropped.
pub struct Moment {
    core: Rc<Core>,
    begun: Instant,
}

/// Waits for a moment for work that may wait, in turn with others who do. The work should be short:
/// nothing interrupts it.
///
/// # Panics
/// Outside a runtime's thread.
pub async fn spare() -> Moment {
    let core = core();
    let seat = Rc::<Seat>::default();
    let place = Place {
        turn: core.spare.borrow_mut().enter(seat.clone()),
        core: core.clone(),
    };
    poll_fn(|context| {
        let state = &mut *seat.0.borrow_mut();
        if let State::Called = state {
            return Poll::Ready(());
        }
        *state = State::Waits(context.waker().clone());
        Poll::Pending
    })
    .await;
    drop(place);
    let begun = core.state.borrow().driver.now();
    Moment { core, begun }
}

/// Leaves the queue when nobody waits any more.
struct Place {
    core: Rc<Core>,
    turn: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.spare.borrow_mut().queue.remove(&self.turn);
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        let now = self.core.state.borrow().driver.now();
        let took = now.saturating_duration_since(self.begun);
        self.core.spare.borrow_mut().due = now + took * (SHARE - 1);
    }
}
