//! The data plane of one worker: accept, admit, dial, relay, close. No unsafe, no locks, no serde,
//! no HTTP; what it does follows from the [`snapshot::Snapshot`] it loads per connection. The one
//! thing that makes a worker wait for another, for some dozen instructions, is two clients that are
//! new to the same bucket of [`clients`].

mod accept;
pub mod access;
pub mod admit;
pub mod bandwidth;
mod begin;
pub mod clients;
mod connection;
pub mod counters;
mod dial;
pub mod hello;
mod link;
pub mod listen;
pub mod log;
pub mod plugin;
pub mod proxy_protocol;
pub mod rate;
pub mod reason;
mod relay;
pub mod routes;
mod said;
mod session;
mod share;
mod signal;
#[cfg(test)]
mod simulated;
pub mod snapshot;
mod subject;
#[cfg(test)]
mod testing;
pub mod tls;
mod way;
mod wire;
pub mod worker;
