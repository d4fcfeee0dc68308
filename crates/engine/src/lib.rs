//! The data plane of one worker: accept, admit, dial, relay, close. No unsafe, no locks, no serde,
//! no HTTP; what it does follows from the [`snapshot::Snapshot`] it loads per connection.

mod accept;
mod connection;
pub mod counters;
mod dial;
pub mod listen;
pub mod log;
pub mod reason;
mod relay;
mod session;
mod share;
mod signal;
pub mod snapshot;
mod way;
pub mod worker;
