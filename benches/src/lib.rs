//! What the programs and benches of this crate share: the language between load and server, sockets
//! with their readiness, the command line of a null relay, a pool to pick from. It never measures
//! anything itself.

mod exchange;
mod pool;
mod readiness;
mod relay;
mod sockets;

pub use exchange::{ENDLESS, Exchange, HEADER_BYTES};
pub use pool::Pool;
pub use readiness::{Event, Interest, Readiness};
pub use relay::Relay;
pub use sockets::{accept, connect, listen};
