//! The slow half of Ringgate, on one thread of its own: it checks servers, publishes what workers act on, answers the
//! operator, writes the access log and decides when the process ends. It never touches a connection of a client.

pub mod admin;
mod admission;
pub mod auth;
pub mod client;
mod endings;
mod exposition;
pub mod facts;
mod footprint;
mod gateways;
pub mod instance;
pub mod logwriter;
mod metrics;
mod notify;
mod pages;
mod prober;
mod process;
mod pulse;
mod serve;
pub mod status;
#[cfg(test)]
mod testing;
pub mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ringgate_config::Plan;
use ringgate_engine::counters::WorkerId;
use ringgate_engine::snapshot::Shared;
use ringgate_engine::worker::Message;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::admin::Doors;
use crate::auth::Credentials;
use crate::facts::Facts;
use crate::logwriter::LogWriter;

pub use crate::serve::{Failure, run};

/// Tells one worker something. It neither blocks nor fails: a worker that has ended hears nothing.
pub type Tell = Box<dyn Fn(Message)>;

/// A process of which everything has been started but this half.
pub struct Setup {
    /// What is shown of it.
    pub about: About,
    /// What it serves.
    pub plan: Plan,
    /// The credentials that its guards look at.
    pub credentials: Credentials,
    /// The truth that the workers were started with.
    pub facts: Facts,
    /// What the workers share besides.
    pub shared: Arc<Shared>,
    /// One for each worker, by number.
    pub workers: Vec<Tell>,
    /// Each worker whose thread has ended, once.
    pub ended: UnboundedReceiver<WorkerId>,
    /// The operator's doors.
    pub doors: Doors,
    /// The access log; `None` when it is off. The workers hold the senders, and let go of them when they end.
    pub log: Option<LogWriter>,
}

/// What is shown of a process.
#[derive(Clone, Debug)]
pub struct About {
    /// The version of the binary.
    pub version: String,
    /// The file it was configured by; `None` when there is none.
    pub config: Option<PathBuf>,
    /// How workers talk to the kernel: the label of `ringgate_io_driver_info`.
    pub driver: String,
    /// The same for people, with what the kernel offers.
    pub driver_text: String,
    /// Where TLS is done, for people.
    pub tls: String,
    /// When the process started.
    pub started: Instant,
}
