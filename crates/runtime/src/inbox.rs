//! Messages to a worker from other threads: an unbounded queue for few and small messages, and a
//! bell that ends the worker's wait.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use crate::core::Core;
use crate::runtime::core;
use crate::sockets::SocketId;
use crate::task::Doorbell;

struct Shared<T> {
    messages: Mutex<VecDeque<T>>,
    doorbell: Doorbell,
}

/// The sending end; any thread may hold one.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> Sender<T> {
    /// Leaves a message. After the worker's end nobody reads it.
    pub fn send(&self, message: T) {
        self.0
            .messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(message);
        self.0.doorbell.ring();
    }
}

/// The receiving end, on its runtime's thread.
pub struct Inbox<T> {
    shared: Arc<Shared<T>>,
    core: Rc<Core>,
    bell: SocketId,
}

/// An inbox of this thread's runtime and its sending end.
///
/// # Errors
/// When no descriptor is left.
///
/// # Panics
/// Outside a runtime's thread.
pub fn inbox<T>() -> io::Result<(Sender<T>, Inbox<T>)> {
    let shared = Arc::new(Shared {
        messages: Mutex::default(),
        doorbell: Doorbell::new()?,
    });
    let core = core();
    let bell = core.state.borrow_mut().adopt(shared.doorbell.listen()?)?;
    Ok((Sender(shared.clone()), Inbox { shared, core, bell }))
}

impl<T> Inbox<T> {
    /// The next message.
    pub async fn recv(&mut self) -> T {
        poll_fn(|context| {
            loop {
                let message = self.messages().pop_front();
                if let Some(message) = message {
                    return Poll::Ready(message);
                }
                let rang = self
                    .core
                    .state
                    .borrow_mut()
                    .poll_readable(self.bell, context);
                if rang.is_pending() {
                    return Poll::Pending;
                }
                self.shared.doorbell.hush();
            }
        })
        .await
    }

    fn messages(&self) -> std::sync::MutexGuard<'_, VecDeque<T>> {
        self.shared
            .messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.core.state.borrow_mut().close(self.bell);
    }
}
