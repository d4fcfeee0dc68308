//! Whether every worker turns: each round asks those that have answered to count one more beat, and sees who did.
//! It never waits for a worker, and never puts more than one question into the inbox of one that does not answer.

use std::time::{Duration, Instant};

use ringgate_engine::counters::{PerWorker, WorkerCounters, WorkerId};
use ringgate_engine::worker::Message;

use crate::Tell;

/// A worker that has not answered for this long stands still: `/live` says so. Far above any pause that a busy
/// machine causes.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(10);

/// The workers as seen from outside.
pub(crate) struct Pulse {
    workers: Vec<Watched>,
}

struct Watched {
    tell: Tell,
    ended: bool,
    /// The beats counted when the question that is still open was asked.
    asked_at_beats: Option<u64>,
    /// When it last answered; the start counts as an answer.
    answered: Instant,
    /// Whether it has ever answered.
    began: bool,
}

impl Pulse {
    pub(crate) fn new(workers: Vec<Tell>, now: Instant) -> Pulse {
        let watched = |tell| Watched {
            tell,
            ended: false,
            asked_at_beats: None,
            answered: now,
            began: false,
        };
        Pulse {
            workers: workers.into_iter().map(watched).collect(),
        }
    }

    /// Takes in the answers since the last round and asks again. Gives whether every worker that runs has answered
    /// what it was asked; the first round asks only.
    pub(crate) fn round(&mut self, counters: &PerWorker<WorkerCounters>, now: Instant) -> bool {
        let mut all_answered = true;
        for (worker, counters) in self.workers.iter_mut().zip(counters.iter()) {
            if worker.ended {
                continue;
            }
            let beats = counters.beats.get();
            match worker.asked_at_beats {
                Some(asked_at) if beats == asked_at => {
                    all_answered = false;
                    continue;
                }
                Some(_) => {
                    worker.answered = now;
                    worker.began = true;
                }
                None => all_answered = false,
            }
            worker.asked_at_beats = Some(beats);
            (worker.tell)(Message::Beat);
        }
        all_answered
    }

    /// Tells every worker that still runs.
    pub(crate) fn tell_all(&self, message: Message) {
        for worker in self.workers.iter().filter(|worker| !worker.ended) {
            (worker.tell)(message);
        }
    }

    /// Takes note that a worker's thread has ended.
    pub(crate) fn note_end(&mut self, worker: WorkerId) {
        if let Some(watched) = self.workers.get_mut(usize::from(worker.0)) {
            watched.ended = true;
        }
    }

    /// How many workers run.
    pub(crate) fn running(&self) -> usize {
        self.workers.iter().filter(|worker| !worker.ended).count()
    }

    /// Whether every worker has answered at least once.
    pub(crate) fn all_began(&self) -> bool {
        self.workers.iter().all(|worker| worker.began)
    }

    /// Whether the worker runs and has answered lately; by number.
    pub(crate) fn turning(&self, now: Instant) -> impl Iterator<Item = bool> {
        self.workers.iter().map(move |worker| {
            !worker.ended && now.duration_since(worker.answered) < STANDS_STILL_AFTER
        })
    }

    /// The first worker that runs but stands still, and for how long.
    pub(crate) fn standing_still(&self, now: Instant) -> Option<(WorkerId, Duration)> {
        self.workers
            .iter()
            .zip((0..).map(WorkerId))
            .filter(|(worker, _)| !worker.ended)
            .map(|(worker, id)| (id, now.duration_since(worker.answered)))
            .find(|(_, silent)| *silent >= STANDS_STILL_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Two workers: the first answers at once, the second while `turns` says so. Counts the questions to the second.
    struct Scene {
        pulse: Pulse,
        counters: Rc<PerWorker<WorkerCounters>>,
        turns: Rc<Cell<bool>>,
        asked: Rc<Cell<u32>>,
        start: Instant,
    }

    fn scene() -> Scene {
        let counters: Rc<PerWorker<WorkerCounters>> = Rc::new(PerWorker::new(2));
        let turns = Rc::new(Cell::new(true));
        let asked = Rc::new(Cell::new(0));
        let first: Tell = {
            let counters = Rc::clone(&counters);
            Box::new(move |_| counters.of(WorkerId(0)).beats.add(1))
        };
        let second: Tell = {
            let (counters, turns, asked) =
                (Rc::clone(&counters), Rc::clone(&turns), Rc::clone(&asked));
            Box::new(move |_| {
                asked.set(asked.get() + 1);
                if turns.get() {
                    counters.of(WorkerId(1)).beats.add(1);
                }
            })
        };
        let start = Instant::now();
        Scene {
            pulse: Pulse::new(vec![first, second], start),
            counters,
            turns,
            asked,
            start,
        }
    }

    #[test]
    fn the_first_round_only_asks() {
        let mut scene = scene();
        assert!(!scene.pulse.round(&scene.counters, scene.start));
        assert!(!scene.pulse.all_began());
        assert!(scene.pulse.round(&scene.counters, scene.start));
        assert!(scene.pulse.all_began());
    }

    #[test]
    fn a_worker_that_stands_still_fails_every_round_and_is_asked_once() {
        let mut scene = scene();
        scene.pulse.round(&scene.counters, scene.start);
        scene.turns.set(false);
        assert!(
            scene.pulse.round(&scene.counters, scene.start),
            "it had answered the first question"
        );
        let asked = scene.asked.get();
        for _ in 0..5 {
            assert!(!scene.pulse.round(&scene.counters, scene.start));
        }
        assert_eq!(scene.asked.get(), asked);

        scene.counters.of(WorkerId(1)).beats.add(1);
        assert!(
            scene.pulse.round(&scene.counters, scene.start),
            "it turns again"
        );
    }

    #[test]
    fn standing_still_is_told_apart_from_being_slow() {
        let mut scene = scene();
        scene.turns.set(false);
        scene.pulse.round(&scene.counters, scene.start);
        let slow = scene.start + STANDS_STILL_AFTER / 2;
        scene.pulse.round(&scene.counters, slow);
        assert_eq!(scene.pulse.standing_still(slow), None);
        let late = scene.start + STANDS_STILL_AFTER;
        assert_eq!(
            scene.pulse.standing_still(late),
            Some((WorkerId(1), STANDS_STILL_AFTER))
        );
        assert_eq!(scene.pulse.turning(late).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_worker_that_has_ended_is_not_asked() {
        let mut scene = scene();
        scene.turns.set(false);
        scene.pulse.note_end(WorkerId(1));
        scene.pulse.round(&scene.counters, scene.start);
        assert!(scene.pulse.round(&scene.counters, scene.start));
        assert_eq!((scene.asked.get(), scene.pulse.running()), (0, 1));
    }
}
