//! Where a connection goes by what is known of it before any byte is relayed: the name and the protocols that its
//! ClientHello asks for, and the client's address.

use std::sync::Arc;

use ringgate_balance::PoolId;
use ringgate_config::NamePattern;

use crate::access::AccessList;

/// The routes of a listener, in the order of the file; the first that matches decides.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Box<[Route]>,
}

/// Connections that fulfil all of its conditions go to its pool.
#[derive(Debug)]
pub struct Route {
    /// What the log calls it.
    pub name: Arc<str>,
    /// The names that a client asks for, any of them; any or none when empty.
    pub sni: Vec<NamePattern>,
    /// The protocols that a client offers, any of them; any or none when empty.
    pub alpn: Vec<String>,
    /// Where the client comes from; `None` for anywhere.
    pub client: Option<AccessList>,
    /// Where its connections go.
    pub pool: PoolId,
    /// TLS is not ended for them.
    pub passthrough: bool,
}

impl Routes {
    /// These, in this order.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self {
            routes: routes.into_iter().collect(),
        }
    }
}
