//! Work that may wait gets its moments, and no more than its share while there is other work.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringgate_runtime::{Io, Options, Runtime, Sleep, next_turn, now, race, spare, spawn};

fn run<T>(future: impl Future<Output = T>) -> T {
    let options = Options {
        io: Io::Auto,
        buffers_max: 64,
    };
    Runtime::new(options).unwrap().block_on(future).unwrap()
}

/// Works as a handshake does: without a pause.
fn work(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {}
}

#[test]
fn an_idle_thread_gives_every_moment_away() {
    let took = run(async {
        let begun = Instant::now();
        for _ in 0..100 {
            let moment = spare().await;
            work(Duration::from_micros(200));
            drop(moment);
        }
        begun.elapsed()
    });
    assert!(took < Duration::from_secs(2), "20 ms of work took {took:?}");
}

#[test]
fn a_busy_thread_keeps_nearly_all_its_time() {
    let (spared, busy) = run(async {
        let done = Rc::new(Cell::new(0));
        for _ in 0..50 {
            let done = done.clone();
            spawn(async move {
                loop {
                    let moment = spare().await;
                    work(Duration::from_micros(200));
                    drop(moment);
                    done.set(done.get() + 1);
                }
            });
        }
        let begun = Instant::now();
        let mut busy = Duration::ZERO;
        while begun.elapsed() < Duration::from_millis(300) {
            let turn = Instant::now();
            work(Duration::from_micros(100));
            busy += turn.elapsed();
            next_turn().await;
        }
        (done.get(), busy)
    });
    assert!(spared > 0, "somebody waits for ever");
    assert!(busy > Duration::from_millis(200), "{busy:?} of 300 ms");
}

#[test]
fn who_no_longer_waits_is_not_waited_for() {
    run(async {
        for _ in 0..10 {
            race(spare(), next_turn()).await;
        }
        let sleep = Sleep::until(now() + Duration::from_millis(20));
        race(spare(), sleep.wait()).await;
        drop(spare().await);
    });
}
