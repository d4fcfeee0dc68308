//! Balancing policy: which server gets the next connection, and whether a server counts as healthy.
//! Pure: values in, values out. It never does I/O, reads a clock, takes a lock, or allocates in a pick.
//!
//! A [`Table`] is built from the servers that may get connections now and never changes; when a server
//! comes, goes or changes its weight, a new table takes its place. What does change from pick to pick
//! belongs to the caller: the worker's [`Cursor`], the servers' [`Loads`] and the connection's [`Tried`].
//! [`Health`] turns the verdicts of checks into a server's [`State`], and [`spread`] keeps checks apart.

mod alias;
mod budget;
mod cursor;
mod health;
mod id;
mod jitter;
mod least_conn;
mod p2c;
mod random;
mod round_robin;
mod table;
#[cfg(test)]
mod testing;
mod tried;
mod weight;

pub use budget::Budget;
pub use cursor::Cursor;
pub use health::{Change, Health, Policy, State};
pub use id::{PoolId, ServerId};
pub use jitter::spread;
pub use table::{Algorithm, Loads, Member, Table};
pub use tried::Tried;
pub use weight::Weight;
