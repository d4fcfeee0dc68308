//! From the tree of nodes to the plan: one walk that gathers every mistake. Each kind of block has its file; this
//! one ties them together. It never stops at the first mistake, and gives no plan when there is one.

mod admission;
mod auth;
mod circle;
mod fields;
mod http;
mod http_routes;
mod listeners;
mod lists;
mod maps;
mod overlap;
mod pool_names;
mod pools;
mod process;
mod proxy;
mod retry;
mod routes;
mod server_tls;
mod shadow;
mod stages;
mod tls;

pub(crate) use self::pools::SERVERS_MAX;
pub(crate) use self::routes::ROUTES_MAX;
use crate::mistakes::Collector;
use crate::node::Node;
use crate::plan::Plan;

/// The plan that `root` describes; `None` when a mistake was added to `mistakes`.
pub(crate) fn decode(root: &Node, mistakes: &mut Collector<'_>) -> Option<Plan> {
    let mut decoder = fields::Decoder::new(mistakes);
    let top = decoder.top(root);
    let process = process::decode(&mut decoder, &top);
    let pools = pools::decode(&mut decoder, &top);
    let listeners = listeners::decode(&mut decoder, &top, &pools.names, process.timeouts);
    overlap::check(&mut decoder, &listeners.bound, &process.doors);
    circle::check(&mut decoder, &listeners, &pools);
    if decoder.found() > 0 {
        return None;
    }
    Some(Plan {
        workers: process.workers,
        io: process.io,
        admin: process.doors.admin,
        log: process.log,
        limits: process.limits,
        drain: process.drain,
        timeouts: process.timeouts,
        listeners: listeners.listeners,
        pools: pools.pools,
    })
}
