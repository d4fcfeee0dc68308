//! HTTP as a plugin of the engine: one strict door that authenticates, authorizes, limits, routes and logs. It has no
//! socket of its own: the engine hands it clients and dials servers for it. Each stage of a request has a file, and their
//! order is in `answer` alone.

pub mod aim;
mod answerer;
mod asked;
pub mod auth;
pub mod chunks;
pub mod counters;
mod crowd;
mod exchange;
pub mod fields;
pub mod flaw;
mod forward;
pub mod forwarded;
mod frames;
pub mod head;
pub mod host;
mod http1;
mod http2;
mod incoming;
mod intake;
mod io;
pub mod limit;
pub mod networks;
mod outgoing;
mod patience;
mod problem;
mod pump;
mod record;
mod redirect;
pub mod refusal;
mod reply;
mod request;
mod respond;
mod rules;
mod servers;
mod shelf;
mod stage;
mod stream;
mod streams;
pub mod target;
#[cfg(test)]
mod testing;
mod watched;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use ringgate_engine::plugin::{ClosedBy, Guest, Plugin, Reason, Served, Task};

pub use crate::rules::{Rules, Setup};

use crate::asked::Asked;
use crate::fields::Known;
use crate::forward::{Forward, Forwarded};
use crate::head::{RequestHead, ResponseHead};
use crate::incoming::Incoming;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::servers::Conn;
use crate::shelf::Shelf;
use crate::stage::{Stage, Told};

/// The gateway of one listener.
#[derive(Debug)]
pub struct Gateway {
    rules: Rules,
}

impl Gateway {
    /// One that goes by these rules.
    pub fn new(rules: Rules) -> Self {
        Self { rules }
    }

    /// Its rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

impl Plugin for Gateway {
    fn serve(self: Arc<Self>, guest: Guest) -> Task<Served> {
        let shelf = guest.shelf::<Shelf>();
        // Each in a box of its own: a connection of HTTP/1 that waits takes much less than one of HTTP/2.
        match guest.client().protocol().as_deref() {
            Some(b"h2") => {
                let heard = guest.heard();
                Box::pin(http2::serve(self, shelf, guest, heard))
            }
            _ => Box::pin(http1::serve(self, shelf, guest)),
        }
    }
}

/// A request that is to be answered.
pub(crate) struct Ask<'a> {
    pub(crate) guest: &'a Guest,
    pub(crate) rules: &'a Rules,
    pub(crate) shelf: &'a Rc<Shelf>,
    pub(crate) record: &'a Record,
    /// Its head.
    pub(crate) request: &'a mut RequestHead,
    /// Room for the heads of answers.
    pub(crate) response: &'a mut ResponseHead,
    /// The connections to servers that the client's requests hold, where it asks for more than one thing at once.
    pub(crate) held: Option<&'a Cell<u32>>,
}

/// What follows an answer on the client's connection.
pub(crate) enum Then {
    /// The next request, if the connection is one that goes on.
    GoOn,
    /// Nothing: the answer has said so, for that reason.
    End(Reason),
    /// Nothing: it cannot go on.
    Over {
        /// Who ended it.
        by: ClosedBy,
        /// Why.
        reason: Reason,
    },
    /// Another protocol.
    Switched(Box<Conn>),
}

/// Serves one request to its end, whoever answers it.
pub(crate) async fn attend(
    ask: &mut Ask<'_>,
    incoming: &mut Incoming<'_>,
    reply: &mut Reply<'_>,
) -> Then {
    let mut told = Told::default();
    let forwarded = answer(ask, &mut told, incoming, reply).await;
    let record = ask.record;
    match forwarded {
        Ok(Forwarded::Answered) => {
            record.end(ClosedBy::Server, Reason::Done);
            Then::GoOn
        }
        Ok(Forwarded::Over { by, reason }) => {
            record.end(by, reason);
            Then::Over { by, reason }
        }
        Ok(Forwarded::Switched(conn)) => {
            record.begin(101);
            Then::Switched(conn)
        }
        Ok(Forwarded::Refused(refusal)) | Err(refusal) => {
            respond::refuse(ask, &told, refusal, incoming, reply).await
        }
    }
}

/// Answers a request: the order of the stages.
async fn answer<'a>(
    ask: &mut Ask<'a>,
    told: &mut Told<'a>,
    incoming: &mut Incoming<'_>,
    reply: &mut Reply<'_>,
) -> Result<Forwarded, Refusal> {
    let Ask {
        guest,
        rules,
        shelf,
        record,
        held,
        ..
    } = *ask;
    let RequestHead {
        version,
        method,
        target,
        fields,
        framing,
        ..
    } = &mut *ask.request;
    let line = (*version, &**method, &**target, *framing);
    let asked = Asked::read(guest, rules, shelf, record, told, line, fields);
    let asked = asked.inspect_err(|_| {
        let host = fields.first(Known::Host).unwrap_or_default();
        record.note_refused(host, target);
    })?;
    reply.go_by(&asked);
    let stage = Stage::find(guest, rules, shelf, record, &asked, fields);
    stage.redirect()?;
    stage.limit_client(fields, told)?;
    let identity = stage.authenticate(fields)?;
    stage.authorize(identity.as_ref())?;
    stage.limit_consumer(identity.as_ref(), told)?;
    stage.bound_body()?;
    let pool = stage.pool()?;
    stage.prepare(identity.as_ref(), fields);
    let forward = Forward {
        guest,
        shelf,
        record,
        request: &stage.request(fields),
        pool,
        held,
        body_max: stage.body_max(),
        prepare: &|head| stage.prepare_answer(told, head),
    };
    Ok(forward.run(incoming, reply, ask.response).await)
}
