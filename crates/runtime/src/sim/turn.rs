//! Turns of the simulated host: what was submitted begins, what is due happens, and completions
//! come to be seen: late, few at a time and in any order, except that those of one direction of a
//! descriptor keep theirs. Which operations there are is in `operations.rs`.

use std::os::fd::RawFd;
use std::time::Duration;

use super::host::{Host, Thing};
use crate::buffers::Buffers;
use crate::driver::Wait;
use crate::operation::{Completion, Kind};

/// A completion that waits to be seen.
pub(super) struct Done {
    fd: RawFd,
    visible_at: Duration,
    completion: Completion,
    /// It was so because of what has ended before on the descriptor.
    follows: bool,
}

impl Done {
    /// Whether it cannot overtake one that ended before.
    fn stays_behind(&self, before: &Self) -> bool {
        let direction = |done: &Self| Direction::of(done.completion.token.kind);
        self.fd == before.fd && (self.follows || direction(self) == direction(before))
    }
}

/// Completions of one of these keep their order on one descriptor.
#[derive(PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
    Watch,
    Neither,
}

impl Direction {
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Accept | Kind::Recv | Kind::Readable => Self::In,
            Kind::Connect | Kind::Send | Kind::Writable => Self::Out,
            Kind::Watch => Self::Watch,
            Kind::Cancel => Self::Neither,
        }
    }
}

impl Host {
    pub(super) fn done(&mut self, fd: RawFd, completion: Completion) {
        let late = if self.random.chance(self.faults.late) {
            self.random.time(Duration::ZERO, self.faults.late_max)
        } else {
            Duration::ZERO
        };
        let mut done = Done {
            fd,
            visible_at: self.clock + late,
            completion,
            // A reset is told once: a receive finds an end when a send was told before.
            follows: completion.token.kind == Kind::Recv && completion.result == 0,
        };
        let before = self.done.iter().filter(|before| done.stays_behind(before));
        if let Some(latest) = before.map(|before| before.visible_at).max() {
            done.visible_at = done.visible_at.max(latest);
        }
        self.done.push_back(done);
    }

    /// One turn: takes up what was submitted and waits for completions. `false` when nothing will
    /// ever come.
    pub(super) fn turn(
        &mut self,
        buffers: &mut Buffers,
        wait: Wait,
        completions: &mut Vec<Completion>,
    ) -> bool {
        self.clock += Duration::from_micros(self.random.between(1, 10));
        while let Some(queued) = self.queued.pop_front() {
            self.begin(buffers, queued);
        }
        self.ring(buffers);
        let until = self.end_of(wait);
        loop {
            self.happen(buffers);
            if self.deliver(completions) {
                return true;
            }
            let visible = self.done.iter().map(|done| done.visible_at).min();
            let next = self.next_event().into_iter().chain(visible).min();
            match (next, until) {
                (Some(next), Some(until)) if next <= until => self.clock = self.clock.max(next),
                (_, Some(until)) => {
                    self.clock = self.clock.max(until);
                    return true;
                }
                (Some(next), None) => self.clock = self.clock.max(next),
                (None, None) => return false,
            }
        }
    }

    fn end_of(&mut self, wait: Wait) -> Option<Duration> {
        let interrupted = self.random.chance(self.faults.interruptions);
        match wait {
            _ if interrupted => Some(self.clock),
            Wait::Not => Some(self.clock),
            Wait::Forever => None,
            Wait::AtMost(time) => {
                let oversleep = self.random.time(Duration::ZERO, self.faults.oversleep_max);
                Some(self.clock + time + oversleep)
            }
        }
    }

    /// Looks at the bells that somebody waits for. They are rung between turns, by this thread.
    fn ring(&mut self, buffers: &mut Buffers) {
        for fd in self.bells() {
            self.read(buffers, fd);
        }
    }

    /// Hands over what can be seen, as many as fit. `false` when there is nothing.
    fn deliver(&mut self, completions: &mut Vec<Completion>) -> bool {
        let before = completions.len();
        let mut skipped = 0;
        while skipped < self.done.len() && completions.len() - before < self.faults.completions_max
        {
            let chosen = if self.faults.reordered {
                self.random.between(0, self.done.len() as u64 - 1) as usize
            } else {
                skipped
            };
            let first = self.first_before(chosen);
            if self.done[first].visible_at > self.clock {
                skipped += 1;
                continue;
            }
            if let Some(done) = self.done.remove(first) {
                self.seen(&done);
                completions.push(done.completion);
            }
            if self.faults.reordered {
                skipped = 0;
            }
        }
        completions.len() > before
    }

    /// The first completion that the chosen one cannot overtake.
    fn first_before(&self, chosen: usize) -> usize {
        let done = &self.done[chosen];
        let mut before = self.done.iter().take(chosen);
        before
            .position(|before| done.stays_behind(before))
            .map_or(chosen, |first| self.first_before(first))
    }

    /// Notes that we know of a completion.
    fn seen(&mut self, done: &Done) {
        let Completion {
            token,
            result,
            more,
            ..
        } = done.completion;
        let fd = done.fd;
        self.note(ended_name(token.kind), fd, result);
        let Some(descriptor) = self.descriptor(fd, "a completion") else {
            return;
        };
        if !more {
            descriptor.in_flight -= 1;
            match Direction::of(token.kind) {
                Direction::In => descriptor.reads -= 1,
                Direction::Out => descriptor.writes -= 1,
                Direction::Watch | Direction::Neither => {}
            }
        }
        let Thing::Socket(Some(link)) = descriptor.thing else {
            return;
        };
        let account = &mut self.links[link].account;
        match token.kind {
            Kind::Recv if result > 0 => account.last_arrival = Some(self.clock),
            Kind::Connect => account.known_at = Some(self.clock),
            _ => {}
        }
    }

    /// Buffers that are with the host.
    pub(super) fn buffers_held(&self) -> usize {
        let done = self.done.iter();
        self.hidden.len() + done.filter(|done| done.completion.buffer.is_some()).count()
    }
}

fn ended_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Accept => "accept gives",
        Kind::Connect => "connect gives",
        Kind::Recv => "recv gives",
        Kind::Send => "send gives",
        Kind::Readable => "poll in gives",
        Kind::Writable => "poll out gives",
        Kind::Watch => "watch gives",
        Kind::Cancel => "cancel gives",
    }
}
