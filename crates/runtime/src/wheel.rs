//! Timers of one worker: a hierarchical wheel in user space, so that no timeout costs a system
//! call. A timer that is put off is only noted; it moves when its old slot comes up. Pure: time
//! comes in as a value.

use std::task::Waker;
use std::time::{Duration, Instant};

/// The wheel's resolution. Timeouts of a balancer are tens of milliseconds and more.
const TICK: Duration = Duration::from_millis(TICK_MILLIS);
const TICK_MILLIS: u64 = 5;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// Levels of 64 slots: 5 ms · 64^5 is about two months. What lies further off waits in the last
/// slot and moves on from there.
const LEVELS: usize = 5;

/// The name of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(u32);

const NONE: u32 = u32::MAX;

/// All timers of a worker.
pub(crate) struct Wheel {
    start: Instant,
    /// Ticks since `start` that have been expired.
    elapsed: u64,
    timers: Vec<Timer>,
    free: u32,
    /// Head of the list of timers in each slot.
    heads: [[u32; SLOTS]; LEVELS],
    /// A bit for each slot that is not empty.
    occupied: [u64; LEVELS],
}

struct Timer {
    /// The tick it shall fire at.
    deadline: u64,
    /// The slot it is linked into; `None` when it has fired or is free.
    place: Option<(u8, u8)>,
    previous: u32,
    next: u32,
    waker: Option<Waker>,
}

impl Wheel {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            elapsed: 0,
            timers: Vec::new(),
            free: NONE,
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
        }
    }

    /// A timer that fires at `deadline` or up to one tick later.
    pub(crate) fn insert(&mut self, deadline: Instant) -> TimerId {
        let timer = Timer {
            deadline: self.tick_of(deadline),
            place: None,
            previous: NONE,
            next: NONE,
            waker: None,
        };
        let index = if self.free == NONE {
            self.timers.push(timer);
            u32::try_from(self.timers.len() - 1).expect("timers are bounded by sockets")
        } else {
            let index = self.free;
            self.free = self.timers[index as usize].next;
            self.timers[index as usize] = timer;
            index
        };
        self.link(index);
        TimerId(index)
    }

    /// Moves a timer to another deadline, also when it has fired.
    pub(crate) fn reset(&mut self, id: TimerId, deadline: Instant) {
        let tick = self.tick_of(deadline);
        let timer = &mut self.timers[id.0 as usize];
        let put_off = timer.place.is_some() && tick >= timer.deadline;
        timer.deadline = tick;
        if !put_off {
            self.unlink(id.0);
            self.link(id.0);
        }
    }

    /// Whether the timer has fired since its last reset; if not, `waker` is woken when it does.
    pub(crate) fn poll(&mut self, id: TimerId, waker: &Waker) -> bool {
        let timer = &mut self.timers[id.0 as usize];
        if timer.place.is_none() {
            return true;
        }
        match &mut timer.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        false
    }

    /// Forgets a timer.
    pub(crate) fn remove(&mut self, id: TimerId) {
        self.unlink(id.0);
        let timer = &mut self.timers[id.0 as usize];
        timer.waker = None;
        timer.next = self.free;
        self.free = id.0;
    }

    /// How many timers there are.
    pub(crate) fn len(&self) -> usize {
        let free = std::iter::successors(Some(self.free), |index| {
            self.timers.get(*index as usize).map(|timer| timer.next)
        });
        self.timers.len() + 1 - free.count()
    }

    /// Lets go of everybody who waits.
    pub(crate) fn forget_wakers(&mut self) {
        self.timers.iter_mut().for_each(|timer| timer.waker = None);
    }

    /// When the wheel wants to be turned next. A timer that was put off may make that earlier than
    /// any deadline, never later.
    pub(crate) fn next_turn(&self) -> Option<Instant> {
        let tick = self.next_tick()?;
        Some(self.start + Duration::from_millis(TICK_MILLIS * tick))
    }

    /// Fires what is due at `now`: the wakers of fired timers are appended to `woken`.
    pub(crate) fn turn(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        let target = ticks(now.saturating_duration_since(self.start));
        while let Some(tick) = self.next_tick().filter(|tick| *tick <= target) {
            self.elapsed = tick;
            // Slots of several levels can come up at one tick; what moves down from a higher level
            // lies ahead of the tick, so each slot is taken once.
            for level in 0..LEVELS {
                let shift = SLOT_BITS * level as u32;
                if tick % (1 << shift) == 0 {
                    self.take_slot(level, (tick >> shift) as usize % SLOTS, woken);
                }
            }
        }
        self.elapsed = self.elapsed.max(target);
    }

    /// The first tick not before `deadline`, and not one already expired.
    fn tick_of(&self, deadline: Instant) -> u64 {
        let span = deadline.saturating_duration_since(self.start);
        // Rounded up: a timer never fires early.
        let tick = ticks(span + TICK - Duration::from_nanos(1));
        tick.max(self.elapsed + 1)
    }

    /// Fires or moves down what a slot that has come up holds.
    fn take_slot(&mut self, level: usize, slot: usize, woken: &mut Vec<Waker>) {
        let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
        self.occupied[level] &= !(1 << slot);
        while index != NONE {
            let timer = &mut self.timers[index as usize];
            let next = timer.next;
            timer.place = None;
            if timer.deadline <= self.elapsed {
                woken.extend(timer.waker.take());
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    fn next_tick(&self) -> Option<u64> {
        (0..LEVELS)
            .filter_map(|level| self.next_tick_of(level))
            .min()
    }

    /// The tick at which the first occupied slot of a level comes up.
    fn next_tick_of(&self, level: usize) -> Option<u64> {
        let shift = SLOT_BITS * level as u32;
        let current = self.elapsed >> shift;
        let position = (current % SLOTS as u64) as u32;
        // Bit 0 is the slot after the current one; the current one itself comes last, a whole round
        // later.
        let ahead = self.occupied[level].rotate_right((position + 1) % SLOTS as u32);
        if ahead == 0 {
            return None;
        }
        Some((current + 1 + u64::from(ahead.trailing_zeros())) << shift)
    }

    fn link(&mut self, index: u32) {
        let deadline = self.timers[index as usize].deadline;
        // The level where deadline and now differ by less than a whole round of it.
        let level = (0..LEVELS - 1)
            .find(|level| {
                let shift = SLOT_BITS * *level as u32;
                (deadline >> shift) - (self.elapsed >> shift) < SLOTS as u64
            })
            .unwrap_or(LEVELS - 1);
        let shift = SLOT_BITS * level as u32;
        let furthest = (self.elapsed >> shift) + SLOTS as u64 - 1;
        let slot = ((deadline >> shift).min(furthest) % SLOTS as u64) as usize;
        let head = self.heads[level][slot];
        if head != NONE {
            self.timers[head as usize].previous = index;
        }
        let timer = &mut self.timers[index as usize];
        timer.place = Some((level as u8, slot as u8));
        timer.previous = NONE;
        timer.next = head;
        self.heads[level][slot] = index;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let timer = &mut self.timers[index as usize];
        let Some((level, slot)) = timer.place.take() else {
            return;
        };
        let (previous, next) = (timer.previous, timer.next);
        if next != NONE {
            self.timers[next as usize].previous = previous;
        }
        if previous != NONE {
            self.timers[previous as usize].next = next;
            return;
        }
        self.heads[usize::from(level)][usize::from(slot)] = next;
        if next == NONE {
            self.occupied[usize::from(level)] &= !(1 << slot);
        }
    }
}

/// Whole ticks of a time.
fn ticks(span: Duration) -> u64 {
    const PER_SECOND: u64 = 1000 / TICK_MILLIS;
    span.as_secs() * PER_SECOND + u64::from(span.subsec_millis()) / TICK_MILLIS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::task::Wake;

    #[derive(Default)]
    struct Fired(AtomicU64);

    impl Wake for Fired {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Turns the wheel in steps and returns when the timer fired.
    fn fires_at(
        wheel: &mut Wheel,
        id: TimerId,
        from: Instant,
        step: Duration,
        steps: u32,
    ) -> Option<Duration> {
        let fired = Arc::new(Fired::default());
        assert!(!wheel.poll(id, &Waker::from(fired.clone())));
        for index in 1..=steps {
            let mut woken = Vec::new();
            wheel.turn(from + step * index, &mut woken);
            woken.drain(..).for_each(Waker::wake);
            if fired.0.load(Relaxed) > 0 {
                return Some(step * index);
            }
        }
        None
    }

    #[test]
    fn a_timer_fires_at_its_deadline_and_not_before() {
        let start = Instant::now();
        for millis in [1, 5, 6, 319, 320, 321, 20_479, 20_480, 1_000_000, 3_600_000] {
            let mut wheel = Wheel::new(start);
            let deadline = Duration::from_millis(millis);
            let id = wheel.insert(start + deadline);
            // Jump as the runtime does: to when the wheel wants to be turned.
            let fired = Arc::new(Fired::default());
            assert!(!wheel.poll(id, &Waker::from(fired.clone())));
            let mut now = start;
            for _ in 0..1000 {
                let Some(next) = wheel.next_turn() else { break };
                assert!(next > now, "the wheel asks for a turn in the past");
                now = next;
                let mut woken = Vec::new();
                wheel.turn(now, &mut woken);
                woken.drain(..).for_each(Waker::wake);
            }
            assert_eq!(fired.0.load(Relaxed), 1, "{millis} ms");
            let late = (now - start)
                .checked_sub(deadline)
                .expect("not before its deadline");
            assert!(late <= TICK, "{millis} ms fired {late:?} late");
        }
    }

    #[test]
    fn a_timer_put_off_again_and_again_fires_once_at_the_last_deadline() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let id = wheel.insert(start + Duration::from_millis(50));
        for millis in 1..100 {
            wheel.reset(id, start + Duration::from_millis(millis + 50));
        }
        let at = fires_at(&mut wheel, id, start, Duration::from_millis(1), 500);
        assert_eq!(at, Some(Duration::from_millis(150)));
    }

    #[test]
    fn a_timer_can_be_moved_to_an_earlier_deadline() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let id = wheel.insert(start + Duration::from_secs(3600));
        wheel.reset(id, start + Duration::from_millis(20));
        assert_eq!(
            fires_at(&mut wheel, id, start, Duration::from_millis(5), 100),
            Some(Duration::from_millis(20))
        );
    }

    #[test]
    fn a_removed_timer_does_not_fire_and_its_place_is_used_again() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let first = wheel.insert(start + Duration::from_millis(10));
        let second = wheel.insert(start + Duration::from_millis(10));
        wheel.remove(first);
        assert_eq!(wheel.insert(start + Duration::from_millis(10)), first);
        wheel.remove(second);
        wheel.remove(first);
        assert_eq!(wheel.next_turn(), None);
    }

    /// A small generator is enough for an oracle test (Marsaglia 2003).
    fn xorshift(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    #[test]
    fn timers_fire_once_and_in_time_whatever_is_done_to_them() {
        for seed in 1..200_u64 {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let start = Instant::now();
            let mut now = start;
            let mut wheel = Wheel::new(start);
            // The oracle: deadline and count of wakes of each timer.
            let mut timers: Vec<(TimerId, Instant, Arc<Fired>)> = Vec::new();
            for _ in 0..300 {
                let span = Duration::from_millis(
                    xorshift(&mut random) % (1 << (xorshift(&mut random) % 22)),
                );
                match xorshift(&mut random) % 4 {
                    0 => {
                        let id = wheel.insert(now + span);
                        let fired = Arc::new(Fired::default());
                        assert!(!wheel.poll(id, &Waker::from(fired.clone())));
                        timers.push((id, now + span, fired));
                    }
                    1 if !timers.is_empty() => {
                        let index = xorshift(&mut random) as usize % timers.len();
                        wheel.reset(timers[index].0, now + span);
                        assert!(
                            !wheel.poll(timers[index].0, &Waker::from(timers[index].2.clone()))
                        );
                        timers[index].1 = now + span;
                    }
                    2 if !timers.is_empty() => {
                        let (id, ..) =
                            timers.swap_remove(xorshift(&mut random) as usize % timers.len());
                        wheel.remove(id);
                    }
                    _ => now += span / 8,
                }
                let mut woken = Vec::new();
                wheel.turn(now, &mut woken);
                woken.drain(..).for_each(Waker::wake);
                timers.retain(|(id, deadline, fired)| {
                    let count = fired.0.swap(0, Relaxed);
                    assert!(count <= 1, "seed {seed}: woken {count} times");
                    if count == 1 {
                        assert!(*deadline <= now, "seed {seed}: fired early");
                        wheel.remove(*id);
                    } else {
                        assert!(*deadline + TICK * 2 > now, "seed {seed}: late");
                    }
                    count == 0
                });
            }
        }
    }
}
