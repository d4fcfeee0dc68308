//! From what a plan says about HTTP to the gateways that serve it. It only puts together what other rooms have made.

use std::sync::Arc;

use ringgate_config as config;
use ringgate_gateway::{Gateway, Rules, Setup};

use crate::auth::Credentials;

/// The gateway of a listener that speaks HTTP, by whose credentials its clients are known.
pub(crate) fn gateway(
    listener: &config::Listener,
    credentials: &Credentials,
    workers: usize,
) -> Option<Arc<Gateway>> {
    let rules = Rules::new(&Setup {
        http: listener.http.as_ref()?,
        pool: listener.pool,
        guard: &|auth| credentials.guard(auth),
        workers,
    });
    Some(Arc::new(Gateway::new(rules)))
}
