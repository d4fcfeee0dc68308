//! Pipes through which bytes go from socket to socket without being copied (splice(2)). They are
//! lent from a bounded pool, so that only transfers that are worth it hold one.

use std::rc::Rc;

use crate::core::Core;
use crate::driver::PipeEnds;
use crate::runtime::core;

/// A pipe on loan. What it holds when it is dropped is lost.
pub struct Pipe {
    core: Rc<Core>,
    pub(crate) ends: PipeEnds,
    /// Bytes in the pipe.
    pub(crate) held: usize,
    /// The most that goes in at a time.
    pub(crate) piece_max: usize,
}

impl Pipe {
    /// An empty pipe, or `None` when all are lent or the system gives no more.
    ///
    /// # Panics
    /// Outside a runtime's thread.
    pub fn lease() -> Option<Self> {
        let core = core();
        let ends = core.state.borrow_mut().lease_pipe()?;
        Some(Self {
            core,
            ends,
            held: 0,
            piece_max: ends.capacity,
        })
    }

    /// Lets no more than `bytes` in at a time.
    pub fn limit(&mut self, bytes: usize) {
        self.piece_max = self.ends.capacity.min(bytes);
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.core
            .state
            .borrow_mut()
            .return_pipe(self.ends, self.held == 0);
    }
}
