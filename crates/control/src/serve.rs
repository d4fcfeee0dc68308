//! The life of the process from the moment its workers run: ready, serving, draining, gone. Everything slow happens
//! around this one loop, on its thread; the loop itself only decides.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ringgate_engine::counters::WorkerId;
use ringgate_engine::worker::Message;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::endings::Endings;
use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::process::Process;
use crate::pulse::Pulse;
use crate::status::State;
use crate::{Setup, auth, notify, prober, tls};

/// How often workers are asked whether they turn, when the service manager does not want it more often.
const PULSE_PERIOD: Duration = Duration::from_secs(2);

/// How often they are asked until each has answered once.
const FIRST_PULSE_PERIOD: Duration = Duration::from_millis(5);

/// Workers end a drain by themselves when its timeout is over; what has not ended this much later is stopped.
const DRAIN_GRACE: Duration = Duration::from_secs(3);

/// How long workers may take to stop at once.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long the access log may take to write its last lines.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// Why the process ends other than asked. All of them are ours, not the operator's.
#[derive(Debug)]
pub enum Failure {
    /// A worker ended by itself.
    WorkerEnded(WorkerId),
    /// So many workers did not stop when told to.
    WorkersStuck(usize),
    /// The thread could not be made ready to serve.
    Start(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::WorkerEnded(worker) => write!(f, "worker {} ended by itself", worker.0),
            Failure::WorkersStuck(workers) => {
                write!(f, "{workers} workers did not stop when told to")
            }
            Failure::Start(error) => write!(f, "the control thread cannot start: {error}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Start(error) => Some(error),
            Failure::WorkerEnded(_) | Failure::WorkersStuck(_) => None,
        }
    }
}

/// Governs the process on this thread until it has ended: drained or stopped, log flushed, admin socket removed.
///
/// SIGTERM, SIGINT and SIGQUIT drain, a second one stops at once. SIGHUP, SIGUSR1 and SIGUSR2 change nothing and are
/// only remarked upon. Must not be called inside an async runtime: it brings its own.
///
/// # Errors
/// When it ends otherwise than it was told to.
pub fn run(setup: Setup) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Start)?;
    let outcome = LocalSet::new().block_on(&runtime, govern(setup));
    // A file that is still being read, from a disk that does not answer, holds up no end.
    runtime.shutdown_background();
    outcome
}

async fn govern(setup: Setup) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(Failure::Start)?;
    let Setup {
        about,
        plan,
        credentials,
        facts,
        shared,
        workers,
        mut ended,
        doors,
        log,
    } = setup;
    let started = about.started;
    let process = Rc::new(Process {
        about,
        plan,
        facts: Rc::new(RefCell::new(facts)),
        shared,
        pulse: RefCell::new(Pulse::new(workers, Instant::now())),
        state: Cell::new(State::Starting),
        endings_before: Cell::default(),
        metrics: Metrics::new(started),
        pages: Pages::default(),
        log_lines_dropped: log.as_ref().map(|log| log.lines_dropped()),
    });
    // Dropped last, so that the socket is there until nothing else is.
    let _claim = doors.serve(&process).map_err(Failure::Start)?;
    prober::start(&process.plan, &process.facts);
    tls::start(&process.plan, &process.facts);
    auth::start(&credentials, &process.facts);
    spawn_local(keep_pulse(Rc::clone(&process)));

    let outcome = live(&process, &mut signals, &mut ended).await;
    if let Some(log) = log {
        log.finish(LOG_PATIENCE);
    }
    say_stopped(&process);
    outcome
}

/// What the process waits for next.
#[derive(Debug)]
enum Phase {
    /// A signal to end.
    Serving,
    /// The workers to finish their connections.
    Draining { until: Instant },
    /// The workers to end at once; `lost` ended without being told to.
    Stopping {
        until: Instant,
        lost: Option<WorkerId>,
    },
}

async fn live(
    process: &Process,
    signals: &mut Signals,
    ended: &mut UnboundedReceiver<WorkerId>,
) -> Result<(), Failure> {
    let mut phase = Phase::Serving;
    while process.pulse.borrow().running() > 0 {
        let deadline = match phase {
            Phase::Serving => None,
            Phase::Draining { until } | Phase::Stopping { until, .. } => Some(until),
        };
        let event = tokio::select! {
            event = signals.next() => event,
            Some(worker) = ended.recv() => Event::WorkerEnded(worker),
            () = reach(deadline) => Event::Deadline,
        };
        phase = react(process, phase, event)?;
    }
    match phase {
        Phase::Stopping {
            lost: Some(worker), ..
        } => Err(Failure::WorkerEnded(worker)),
        _ => Ok(()),
    }
}

/// What follows from an event. Fails when there is nothing left to wait for.
fn react(process: &Process, phase: Phase, event: Event) -> Result<Phase, Failure> {
    if let Event::WorkerEnded(worker) = event {
        process.pulse.borrow_mut().note_end(worker);
    }
    let next = match (event, phase) {
        (Event::Unanswered(signal), phase) => {
            tracing::warn!(
                "{signal} does nothing: this version can neither reload nor upgrade itself; restart it instead"
            );
            phase
        }
        (Event::Reopen, phase) => {
            tracing::info!("SIGUSR1 does nothing: the access log follows a rename by itself");
            phase
        }
        (Event::WorkerEnded(worker), Phase::Serving) => {
            tracing::error!(worker = worker.0, "a worker ended by itself; stopping");
            stop(process, Some(worker))
        }
        (Event::WorkerEnded(_), phase) => phase,
        (Event::End, Phase::Serving) => drain(process),
        (Event::End, Phase::Draining { .. }) => {
            tracing::info!("told to end again; closing open connections");
            stop(process, None)
        }
        (Event::End, stopping @ Phase::Stopping { .. }) => stopping,
        (Event::Deadline, Phase::Draining { .. }) => {
            tracing::warn!("workers did not end with the drain timeout; stopping them");
            stop(process, None)
        }
        (Event::Deadline, Phase::Stopping { .. }) => {
            return Err(Failure::WorkersStuck(process.pulse.borrow().running()));
        }
        (Event::Deadline, Phase::Serving) => Phase::Serving,
    };
    Ok(next)
}

fn drain(process: &Process) -> Phase {
    let timeout = process.plan.drain;
    tracing::info!(
        connections = process.shared.connections.load(Relaxed),
        timeout_s = timeout.as_secs_f64(),
        "draining: listeners close, open connections may finish"
    );
    begin_end(process);
    notify::status(&process.summary());
    process.pulse.borrow().tell_all(Message::Drain);
    Phase::Draining {
        until: Instant::now() + timeout + DRAIN_GRACE,
    }
}

fn stop(process: &Process, lost: Option<WorkerId>) -> Phase {
    begin_end(process);
    process.pulse.borrow().tell_all(Message::Stop);
    Phase::Stopping {
        until: Instant::now() + STOP_PATIENCE,
        lost,
    }
}

fn begin_end(process: &Process) {
    if process.state.replace(State::Draining) != State::Draining {
        let snapshot = process.facts.borrow().snapshot();
        process.endings_before.set(Endings::so_far(&snapshot));
    }
    notify::stopping();
}

/// The last word: what became of the connections since the process was told to end.
fn say_stopped(process: &Process) {
    let snapshot = process.facts.borrow().snapshot();
    let Endings {
        finished,
        drained,
        shutdown,
    } = Endings::so_far(&snapshot) - process.endings_before.get();
    let uptime_s = process.about.started.elapsed().as_secs();
    tracing::info!(finished, drained, shutdown, uptime_s, "stopped");
}

async fn reach(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep(deadline.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}

/// Asks the workers for a sign of life, declares the process ready once each has given one, and from then on tells
/// the service manager what they answer.
async fn keep_pulse(process: Rc<Process>) {
    let round = || {
        process
            .pulse
            .borrow_mut()
            .round(&process.shared.workers, Instant::now())
    };
    while !process.pulse.borrow().all_began() {
        round();
        sleep(FIRST_PULSE_PERIOD).await;
    }
    if process.state.get() == State::Starting {
        process.state.set(State::Serving);
        notify::ready();
        tracing::info!(workers = process.shared.workers.iter().count(), "ready");
    }

    let watchdog = notify::watchdog_period();
    let mut rounds = interval(watchdog.map_or(PULSE_PERIOD, |period| period.min(PULSE_PERIOD)));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    let mut short = Shortage::default();
    loop {
        rounds.tick().await;
        short.look(process.shared.workers.sum(|worker| &worker.accept_pauses));
        if round() && watchdog.is_some() {
            notify::feed_watchdog();
        }
        let summary = process.summary();
        if summary != told {
            notify::status(&summary);
            told = summary;
        }
    }
}

/// Tells when accepting begins to pause because descriptors or memory ran out, and when that is over.
#[derive(Debug, Default)]
struct Shortage {
    pauses: u64,
    lasts: bool,
}

impl Shortage {
    fn look(&mut self, pauses: u64) {
        let lasts = pauses > self.pauses;
        if lasts && !self.lasts {
            tracing::error!(
                "no descriptor or memory is left for new clients, who wait in the kernel's queue: raise LimitNOFILE= \
                 (`ulimit -n`) or lower limits.connections"
            );
        } else if self.lasts && !lasts {
            tracing::info!("new clients are accepted again");
        }
        (self.pauses, self.lasts) = (pauses, lasts);
    }
}

/// What can happen to a process that serves.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// SIGTERM, SIGINT or SIGQUIT.
    End,
    /// A signal by which others reload or upgrade.
    Unanswered(&'static str),
    /// SIGUSR1, by which others reopen their logs.
    Reopen,
    WorkerEnded(WorkerId),
    Deadline,
}

/// The signals that the process answers to.
struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.term.recv() => Event::End,
            _ = self.int.recv() => Event::End,
            _ = self.quit.recv() => Event::End,
            _ = self.hup.recv() => Event::Unanswered("SIGHUP"),
            _ = self.usr1.recv() => Event::Reopen,
            _ = self.usr2.recv() => Event::Unanswered("SIGUSR2"),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal as Number, raise};
    use ringgate_engine::reason::Reason;

    use super::*;
    use crate::testing::{Heard, process, process_and_heard};

    const FIRST: WorkerId = WorkerId(0);

    fn messages(heard: &Heard) -> Vec<Message> {
        heard.borrow().clone()
    }

    #[test]
    fn the_first_signal_drains_and_the_second_stops() {
        let (process, heard) = process_and_heard(&["127.0.0.1:1"]);
        let phase = react(&process, Phase::Serving, Event::End).unwrap();
        assert!(matches!(phase, Phase::Draining { .. }));
        assert_eq!(
            (process.state.get(), messages(&heard)),
            (State::Draining, vec![Message::Drain])
        );
        let phase = react(&process, phase, Event::End).unwrap();
        assert!(matches!(phase, Phase::Stopping { lost: None, .. }));
        assert_eq!(messages(&heard), [Message::Drain, Message::Stop]);
    }

    #[test]
    fn a_drain_that_takes_too_long_is_stopped_and_a_stop_that_takes_too_long_is_given_up() {
        let (process, heard) = process_and_heard(&["127.0.0.1:1"]);
        let phase = react(&process, Phase::Serving, Event::End).unwrap();
        let phase = react(&process, phase, Event::Deadline).unwrap();
        assert_eq!(messages(&heard), [Message::Drain, Message::Stop]);
        assert!(matches!(
            react(&process, phase, Event::Deadline),
            Err(Failure::WorkersStuck(1))
        ));
    }

    #[test]
    fn a_worker_that_ends_by_itself_stops_the_process() {
        let process = process(&["127.0.0.1:1"]);
        let phase = react(&process, Phase::Serving, Event::WorkerEnded(FIRST)).unwrap();
        assert!(matches!(
            phase,
            Phase::Stopping {
                lost: Some(FIRST),
                ..
            }
        ));
        assert_eq!(process.pulse.borrow().running(), 0);
    }

    #[test]
    fn a_worker_that_ends_while_draining_is_as_it_should_be() {
        let process = process(&["127.0.0.1:1"]);
        let phase = react(&process, Phase::Serving, Event::End).unwrap();
        let phase = react(&process, phase, Event::WorkerEnded(FIRST)).unwrap();
        assert!(matches!(phase, Phase::Draining { .. }));
        assert_eq!(process.pulse.borrow().running(), 0);
    }

    #[test]
    fn a_signal_that_asks_for_what_there_is_not_changes_nothing() {
        let (process, heard) = process_and_heard(&["127.0.0.1:1"]);
        for event in [Event::Unanswered("SIGHUP"), Event::Reopen] {
            assert!(matches!(
                react(&process, Phase::Serving, event),
                Ok(Phase::Serving)
            ));
        }
        assert!(messages(&heard).is_empty());
    }

    #[tokio::test]
    async fn each_signal_is_taken_for_what_it_means() {
        let mut signals = Signals::new().unwrap();
        for (number, expected) in [
            (Number::SIGQUIT, "End"),
            (Number::SIGUSR1, "Reopen"),
            (Number::SIGUSR2, "Unanswered(\"SIGUSR2\")"),
        ] {
            raise(number).unwrap();
            assert_eq!(format!("{:?}", signals.next().await), expected);
        }
    }

    #[test]
    fn what_ended_before_a_drain_is_none_of_its_endings() {
        let process = process(&["127.0.0.1:1"]);
        let snapshot = process.facts.borrow().snapshot();
        let done = snapshot.listeners[0].counters.of(FIRST).closed[0].of(Reason::Done);
        done.add(5);
        let phase = react(&process, Phase::Serving, Event::End).unwrap();
        done.add(2);
        react(&process, phase, Event::End).unwrap();
        assert_eq!(process.endings_before.get().finished, 5);
    }

    #[tokio::test]
    async fn the_process_is_ready_once_every_worker_has_answered() {
        let process = Rc::new(process(&["127.0.0.1:1"]));
        LocalSet::new()
            .run_until(async {
                spawn_local(keep_pulse(Rc::clone(&process)));
                sleep(FIRST_PULSE_PERIOD * 3).await;
                assert_eq!(
                    process.state.get(),
                    State::Starting,
                    "the worker has not answered"
                );
                process.shared.workers.of(FIRST).beats.add(1);
                crate::testing::until("it serves", || process.state.get() == State::Serving).await;
            })
            .await;
    }
}
