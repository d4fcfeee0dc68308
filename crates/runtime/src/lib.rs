//! Thread-per-core async over io_uring, with an epoll twin: one ring, one thread, single-threaded
//! tasks. The only room with `unsafe`, and the only one that knows what a system call is.
//!
//! The life of an operation: a socket's half asks the driver for it by token (`operation.rs`), the
//! next turn hands it to the kernel (`uring/`), its completion moves the socket on and wakes the
//! task that waits (`core.rs`). Memory that the kernel may touch belongs to the socket's slot or to
//! the buffer pool, never to a future, so a future can be dropped at any time.
//!
//! What is done at once needs no operation: a send is tried by a plain call first, and a socket that
//! is kept is watched by one operation that goes on, and received from by plain calls when it tells.

#![allow(unsafe_code)]

mod buffers;
mod core;
mod driver;
mod epoll;
mod given;
mod inbox;
mod listener;
mod operation;
mod pipe;
mod plain;
mod requests;
mod runtime;
pub mod sim;
mod sockets;
mod spare;
mod stream;
mod task;
mod time;
mod uring;
mod wheel;

pub use given::given_sockets;
pub use inbox::{Inbox, Sender, inbox};
pub use listener::{Listener, ListeningSocket, SocketFile};
pub use pipe::Pipe;
pub use plain::kernel_tls;
pub use runtime::{
    Io, Options, Runtime, StartError, buffers_waits, now, ring_overflows, spawn, tidy,
};
pub use socket2::SockAddr;
pub use spare::{Moment, spare};
pub use stream::{Chunk, Next, Stream};
pub use time::{Race, Sleep, next_turn, race, timeout};
pub use uring::Refused;
