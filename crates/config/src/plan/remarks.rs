//! What is allowed and may still not be meant: an open door beside closed ones. It only looks at the plan, and never
//! refuses anything.

use super::{Http, Listener, Plan};

/// Something in a good file that its author may not have meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The key that it is about, as [`crate::Places::mistake`] takes it.
    pub key: String,
    /// What is remarkable, in one clause.
    pub what: String,
    /// What helps when it was not meant.
    pub advice: String,
}

impl Plan {
    /// Everything that can be reached without authentication on a listener where other things cannot, in the order of
    /// the file. Redirects are not: they give nothing away.
    #[must_use]
    pub fn remarks(&self) -> Vec<Remark> {
        self.listeners.iter().flat_map(open_doors).collect()
    }
}

fn open_doors(listener: &Listener) -> Vec<Remark> {
    let Some(http) = &listener.http else {
        return Vec::new();
    };
    let Some(closed) = first_closed(listener, http) else {
        return Vec::new();
    };
    let mut remarks = Vec::new();
    if listener.pool.is_some() && http.stages.auth.is_none() {
        remarks.push(Remark {
            key: format!("listeners.{}.pool", listener.name),
            what: format!(
                "what no route of the listener `{}` matches is open to everybody, while {closed} needs authentication",
                listener.name
            ),
            advice: "set `auth` in `http` of the listener, or leave `pool` out".to_owned(),
        });
    }
    for (index, route) in http.routes.iter().enumerate() {
        if route.stages.auth.is_some() || route.stages.redirect.is_some() {
            continue;
        }
        remarks.push(Remark {
            key: format!("listeners.{}.routes[{index}]", listener.name),
            what: format!(
                "the route `{}` is open to everybody, while {closed} needs authentication",
                route.name
            ),
            advice: "set `auth` in `http` of the route, unless that is meant".to_owned(),
        });
    }
    remarks
}

/// What a client must authenticate for, as it is called in a sentence.
fn first_closed(listener: &Listener, http: &Http) -> Option<String> {
    let closed = http
        .routes
        .iter()
        .find(|route| route.stages.auth.is_some() && route.stages.redirect.is_none());
    match closed {
        Some(route) => Some(format!("the route `{}`", route.name)),
        None if http.stages.auth.is_some() && listener.pool.is_some() => {
            Some("what no route matches".to_owned())
        }
        None => None,
    }
}
