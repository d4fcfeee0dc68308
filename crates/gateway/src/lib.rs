//! HTTP as a plugin of the engine: one strict door that authenticates, authorizes, limits, routes and logs. It has no
//! socket of its own: the engine hands it clients and dials servers for it.

pub mod auth;
