//! Single-threaded tasks on `async-task`: a queue of what is ready, and a doorbell for wakes that
//! come from another thread. It knows nothing of sockets or timers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use async_task::Runnable;
use nix::sys::eventfd::{EfdFlags, EventFd};

thread_local! {
    /// What is ready on this thread.
    static READY: RefCell<VecDeque<Runnable>> = const { RefCell::new(VecDeque::new()) };
    /// The executor that owns this thread, 0 for none.
    static HERE: Cell<u64> = const { Cell::new(0) };
}

/// Numbers executors, so that a waker can tell whether it is at home.
static EXECUTORS: AtomicU64 = AtomicU64::new(1);

/// The tasks of this thread.
pub(crate) struct Executor {
    number: u64,
    remote: Arc<Remote>,
}

/// What other threads may touch: the tasks they woke, and the bell that tells of them.
pub(crate) struct Remote {
    woken: Mutex<VecDeque<Runnable>>,
    pub(crate) doorbell: Doorbell,
}

/// An eventfd(2): a write makes it readable, which ends the worker's wait.
pub(crate) struct Doorbell(EventFd);

impl Doorbell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?))
    }

    /// Makes the bell readable. It cannot fail: the counter would have to be full, and then the
    /// bell is ringing.
    pub(crate) fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// Makes the bell quiet again.
    pub(crate) fn hush(&self) {
        let _ = self.0.read();
    }

    /// A second descriptor for the same bell.
    pub(crate) fn listen(&self) -> io::Result<OwnedFd> {
        Ok(nix::unistd::dup(&self.0)?)
    }
}

impl Executor {
    /// The executor of this thread.
    ///
    /// # Panics
    /// When the thread has one already.
    pub(crate) fn new() -> io::Result<Self> {
        let number = EXECUTORS.fetch_add(1, Ordering::Relaxed);
        let remote = Remote {
            woken: Mutex::default(),
            doorbell: Doorbell::new()?,
        };
        HERE.with(|here| {
            assert_eq!(here.get(), 0, "one runtime per thread");
            here.set(number);
        });
        Ok(Self {
            number,
            remote: Arc::new(remote),
        })
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// What wakes the future that the runtime was asked to run.
    pub(crate) fn main_waker(&self) -> Arc<MainWaker> {
        let woken = AtomicBool::new(true);
        Arc::new(MainWaker {
            woken,
            number: self.number,
            remote: self.remote.clone(),
        })
    }

    /// Starts a task. It runs until it ends by itself; nobody waits for it.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let number = self.number;
        let remote = self.remote.clone();
        let schedule = move |runnable: Runnable| {
            if HERE.with(Cell::get) == number {
                READY.with_borrow_mut(|ready| ready.push_back(runnable));
            } else {
                remote
                    .woken
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_back(runnable);
                remote.doorbell.ring();
            }
        };
        let (runnable, task) = async_task::spawn_local(future, schedule);
        task.detach();
        runnable.schedule();
    }

    /// Runs every task that was ready when the call began.
    pub(crate) fn run_ready(&self) {
        for _ in 0..READY.with_borrow(VecDeque::len) {
            let Some(runnable) = READY.with_borrow_mut(VecDeque::pop_front) else {
                return;
            };
            runnable.run();
        }
    }

    /// Whether a task is ready.
    pub(crate) fn is_ready(&self) -> bool {
        READY.with_borrow(|ready| !ready.is_empty())
    }

    /// Drops every task that is ready or was woken from afar, among them those that nothing can wake any more.
    pub(crate) fn drop_tasks(&self) {
        self.take_remote();
        while let Some(runnable) = READY.with_borrow_mut(VecDeque::pop_front) {
            drop(runnable);
        }
    }

    /// Takes up the tasks that other threads have woken.
    pub(crate) fn take_remote(&self) {
        self.remote.doorbell.hush();
        let woken = {
            let mut woken = self
                .remote
                .woken
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *woken)
        };
        READY.with_borrow_mut(|ready| ready.extend(woken));
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        HERE.with(|here| here.set(0));
    }
}

/// Notes that the runtime's main future wants to be polled.
pub(crate) struct MainWaker {
    woken: AtomicBool,
    number: u64,
    remote: Arc<Remote>,
}

impl MainWaker {
    /// Whether it was woken since the last call.
    pub(crate) fn take(&self) -> bool {
        self.woken.swap(false, Ordering::Acquire)
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }
}

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        if HERE.with(Cell::get) != self.number {
            self.remote.doorbell.ring();
        }
    }
}
