//! One runtime: a driver, its sockets, and the tasks of the thread that made it. Its loop runs
//! what is ready, then turns the driver once. Nothing of it may leave its thread.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::buffers::Buffers;
use crate::core::Core;
use crate::driver::{Driver, Wait};
use crate::epoll::Epoll;
use crate::sim::{self, Simulated, World};
use crate::task::Executor;
use crate::uring::{Refused, Uring};

thread_local! {
    static CURRENT: RefCell<Option<Rc<Inner>>> = const { RefCell::new(None) };
}

/// What the runtime of a thread is made of.
pub(crate) struct Inner {
    // Tasks go first: they let go of their sockets.
    executor: Executor,
    pub(crate) core: Rc<Core>,
}

/// How a runtime talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// io_uring where it works, otherwise epoll.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// What a runtime may use.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How it talks to the kernel.
    pub io: Io,
    /// How many receive buffers of 32 KiB there may be at once. Two for each direction are never too
    /// few: a direction whose receiver stalls holds no more.
    pub buffers_max: usize,
}

/// A runtime could not be made.
#[derive(Debug)]
pub enum StartError {
    /// The kernel refuses io_uring.
    Refused(Refused),
    /// Another call failed; the text says which.
    Failed(&'static str, io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Failed(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The runtime of the thread that made it.
pub struct Runtime {
    inner: Rc<Inner>,
    refused: Option<Refused>,
}

impl Runtime {
    /// A runtime for this thread, on the best driver that works here: it is found out by trying.
    ///
    /// # Errors
    /// When io_uring is asked for and the kernel refuses it, with the cause and the way out, or
    /// when descriptors ran out.
    ///
    /// # Panics
    /// When the thread has a runtime already.
    pub fn new(options: Options) -> Result<Self, StartError> {
        let mut buffers = Buffers::new(options.buffers_max);
        if options.io == Io::Epoll {
            return Self::on_epoll(buffers, None);
        }
        match Uring::new(&mut buffers) {
            Ok(driver) => Self::with_driver(buffers, Box::new(driver), None),
            Err(refused) if options.io == Io::Uring => Err(StartError::Refused(refused)),
            // Fresh buffers: the refused ring may have taken some.
            Err(refused) => Self::on_epoll(Buffers::new(options.buffers_max), Some(refused)),
        }
    }

    fn on_epoll(buffers: Buffers, refused: Option<Refused>) -> Result<Self, StartError> {
        let driver = Epoll::new().map_err(|error| StartError::Failed("epoll_create1", error))?;
        Self::with_driver(buffers, Box::new(driver), refused)
    }

    /// A runtime for this thread in a simulated world.
    ///
    /// # Errors
    /// When descriptors ran out.
    ///
    /// # Panics
    /// When the thread has a runtime already.
    pub fn simulated(world: &World) -> Result<Self, StartError> {
        let mut buffers = sim::buffers();
        let driver = Simulated::new(world, &mut buffers);
        Self::with_driver(buffers, Box::new(driver), None)
    }

    // Parameters are dropped from last to first: the driver before the buffers it may refer to.
    fn with_driver(
        buffers: Buffers,
        driver: Box<dyn Driver>,
        refused: Option<Refused>,
    ) -> Result<Self, StartError> {
        let executor =
            Executor::new().map_err(|error| StartError::Failed("the worker's eventfd", error))?;
        let inner = Rc::new(Inner {
            executor,
            core: Rc::new(Core::new(driver, buffers)),
        });
        CURRENT.set(Some(inner.clone()));
        Ok(Self { inner, refused })
    }

    /// What the driver is and which abilities it found, for people.
    pub fn describe(&self) -> String {
        self.inner.core.describe()
    }

    /// The driver in one word: `uring` or `epoll`.
    pub fn driver(&self) -> &'static str {
        self.inner.core.driver()
    }

    /// Why the driver is not io_uring, when it was tried.
    pub fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Runs a future to its end, and every spawned task meanwhile.
    ///
    /// # Errors
    /// When the driver breaks, which no later turn can mend.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        let Inner { executor, core } = &*self.inner;
        let doorbell = executor.remote().doorbell.listen()?;
        let bell = core.state.borrow_mut().adopt(doorbell)?;
        let main = executor.main_waker();
        let waker = Waker::from(main.clone());
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        let mut fired = Vec::new();
        loop {
            if main.take()
                && let Poll::Ready(output) = future.as_mut().poll(&mut context)
            {
                core.state.borrow_mut().close(bell);
                return Ok(output);
            }
            executor.run_ready();
            let polled = core.state.borrow_mut().poll_readable(bell, &context);
            if polled.is_ready() {
                executor.take_remote();
                continue;
            }
            let is_busy = || executor.is_ready() || main.is_woken();
            let wait = if is_busy() || core.spare.borrow().is_somebody() {
                Wait::Not
            } else {
                Wait::Forever
            };
            core.turn(wait, &mut fired)?;
            fired.drain(..).for_each(Waker::wake);
            core.spare.borrow_mut().call(!is_busy(), core.now.get());
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let core = self.inner.core.clone();
        // Whoever waits for a socket or a timer will not be woken any more, which drops its task;
        // that may let go of further sockets.
        let joined = core.state.borrow_mut().close_all();
        self.inner.executor.drop_tasks();
        CURRENT.set(None);
        if !joined {
            // The kernel may still write into the buffers, so they must never be unmapped.
            std::mem::forget(core);
        }
    }
}

/// Starts a task on this thread's runtime; nobody waits for it.
///
/// # Panics
/// Outside a runtime's thread.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    with_current(|inner| inner.executor.spawn(future));
}

/// The time at the start of this turn; it stands still while tasks run.
///
/// # Panics
/// Outside a runtime's thread.
pub fn now() -> Instant {
    with_current(|inner| inner.core.now.get())
}

/// How many times a receive had to wait for a buffer so far.
///
/// # Panics
/// Outside a runtime's thread.
pub fn buffers_waits() -> u64 {
    with_current(|inner| inner.core.state.borrow().buffers_waits)
}

/// How many turns of the ring left completions waiting for room so far.
///
/// # Panics
/// Outside a runtime's thread.
pub fn ring_overflows() -> u64 {
    with_current(|inner| inner.core.state.borrow().driver.overflows())
}

/// Does what need not be done at once: gives memory of the buffers back that a burst has left
/// behind, and receives what no event has told of. To be called about once a second.
///
/// # Panics
/// Outside a runtime's thread.
pub fn tidy() {
    with_current(|inner| {
        let state = &mut *inner.core.state.borrow_mut();
        state.trim();
        state.look_again();
    });
}

/// Looks at this thread's runtime.
pub(crate) fn with_current<T>(look: impl FnOnce(&Inner) -> T) -> T {
    CURRENT.with_borrow(|current| look(current.as_ref().expect("called on a runtime's thread")))
}

/// The core of this thread's runtime.
pub(crate) fn core() -> Rc<Core> {
    with_current(|inner| inner.core.clone())
}
