//! HTTP as a plugin of the engine: one strict door that authenticates, authorizes, limits, routes and logs. It has no
//! socket of its own: the engine hands it clients and dials servers for it.

pub mod aim;
pub mod fields;
pub mod flaw;
pub mod host;
pub mod networks;
pub mod target;
#[cfg(test)]
mod testing;
