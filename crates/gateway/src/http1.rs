//! A client that speaks HTTP/1: one request after the other on its connection, each answered before the next is looked at.
//! A connection that waits holds next to nothing; a request has its room while it is served.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ringgate_engine::plugin::{ClosedBy, Guest, Race, Reason, Served, next_turn, now, race};

use crate::head::{
    Framing, HeadLimits, Of, RequestHead, Search, Version, is_no_request, read_request,
};
use crate::incoming::{Framed, Incoming};
use crate::intake::Intake;
use crate::patience::within;
use crate::pump::STALL;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::reply::{Answer, Reply, push_line};
use crate::rules::Rules;
use crate::servers::Conn;
use crate::shelf::Shelf;
use crate::stage::Told;
use crate::{Ask, Gateway, Then, attend, http2, respond};

/// The first bytes of a client that speaks HTTP/2 without having asked (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a new connection may wait for its first request once no more are accepted.
const FRESH_PATIENCE: Duration = Duration::from_secs(1);

/// After so many requests of one connection it is the others' turn.
const TURN_REQUESTS: u32 = 64;

/// How long a client may take to end its side after the last answer.
const LINGER_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that are thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Serves a connection to its end.
pub(crate) fn serve(
    gateway: Arc<Gateway>,
    shelf: Rc<Shelf>,
    guest: Guest,
) -> impl Future<Output = Served> {
    let mut intake = Intake::of(guest.heard());
    // An `async fn` would hold its arguments twice.
    async move {
        for served in 1.. {
            if intake.is_empty()
                && let Err(ended) = begin(&guest, &mut intake, served).await
            {
                return ended;
            }
            if served == 1
                && may_be_http2(intake.bytes())
                && speaks_http2(&guest, &mut intake).await
            {
                return Box::pin(http2::serve(gateway, shelf, guest, intake.take())).await;
            }
            // Boxed, it takes no room in a connection that waits.
            let after = Box::pin(one(&gateway.rules, &shelf, &guest, &mut intake, served)).await;
            let (by, reason) = match after {
                After::Next => {
                    // A client may have sent many at once, and all that we answer ourselves is answered at once.
                    if served % TURN_REQUESTS == 0 {
                        next_turn().await;
                    }
                    continue;
                }
                After::Last(reason) => (ClosedBy::Ringgate, reason),
                After::Over { by, reason } => (by, reason),
            };
            return Served {
                by,
                reason,
                is_logged: true,
            };
        }
        unreachable!("requests are counted to the end of their connection")
    }
}

/// Waits for the first byte of a request.
async fn begin(guest: &Guest, intake: &mut Intake, served: u32) -> Result<(), Served> {
    let link = guest.client();
    let timeouts = &guest.listener().timeouts;
    let deadline = match served {
        1 => guest.accepted() + timeouts.header,
        _ => now() + timeouts.idle,
    };
    let first = within(deadline, intake.more(link));
    let (by, reason) = match race(first, guest.drains()).await {
        Race::First(Some(Ok(true))) => return Ok(()),
        Race::First(Some(Ok(false))) => (ClosedBy::Client, Reason::Done),
        Race::First(Some(Err(_))) => (ClosedBy::Client, Reason::ClientReset),
        Race::First(None) if served == 1 => (ClosedBy::Ringgate, Reason::HeaderTimeout),
        Race::First(None) => (ClosedBy::Ringgate, Reason::ClientIdle),
        // The first request may be on its way: nobody repeats one on a connection that was accepted.
        Race::Second(()) if served == 1 => {
            match within(deadline.min(now() + FRESH_PATIENCE), intake.more(link)).await {
                Some(Ok(true)) => return Ok(()),
                _ => (ClosedBy::Ringgate, Reason::Done),
            }
        }
        Race::Second(()) => {
            // A request that has come already is served.
            let mut nobody = Context::from_waker(Waker::noop());
            match intake.poll_more(link, &mut nobody) {
                Poll::Ready(Ok(true)) => return Ok(()),
                _ => (ClosedBy::Ringgate, Reason::Done),
            }
        }
    };
    // Nobody is in the middle of anything: the end may look like one.
    within(now() + LINGER_PATIENCE, link.finish()).await;
    Err(Served {
        by,
        reason,
        is_logged: served > 1 || reason == Reason::Done,
    })
}

/// Whether these may be the first bytes of a client that speaks HTTP/2.
fn may_be_http2(bytes: &[u8]) -> bool {
    PREFACE.starts_with(&bytes[..bytes.len().min(PREFACE.len())])
}

/// Whether the client speaks HTTP/2 from its first bytes on.
async fn speaks_http2(guest: &Guest, intake: &mut Intake) -> bool {
    let deadline = guest.accepted() + guest.listener().timeouts.header;
    while intake.bytes().len() < PREFACE.len() && may_be_http2(intake.bytes()) {
        match within(deadline, intake.more(guest.client())).await {
            Some(Ok(true)) => {}
            _ => return false,
        }
    }
    intake.bytes().starts_with(PREFACE)
}

/// What follows a request on its connection.
enum After {
    /// The next one.
    Next,
    /// Nothing: the answer has said so, for that reason.
    Last(Reason),
    Over {
        by: ClosedBy,
        reason: Reason,
    },
}

/// Serves one request, whose first byte is there.
async fn one(
    rules: &Rules,
    shelf: &Rc<Shelf>,
    guest: &Guest,
    intake: &mut Intake,
    served: u32,
) -> After {
    let mut heads = shelf.heads();
    let mut out = shelf.buffer();
    let record = Record::begin_now(guest, shelf, &rules.counters);
    let (request, response) = &mut *heads;
    let ask = Ask {
        guest,
        rules,
        shelf,
        record: &record,
        request,
        response,
        held: None,
    };
    let after = serve_ask(ask, intake, served, &mut out).await;
    drop(record);
    shelf.give_back(out);
    shelf.give_back_heads(heads);
    if let After::Last(_) = after {
        linger(guest, intake).await;
    }
    after
}

async fn serve_ask(mut ask: Ask<'_>, intake: &mut Intake, served: u32, out: &mut Vec<u8>) -> After {
    let (guest, link) = (ask.guest, ask.guest.client());
    let timeout = guest.listener().timeouts.header;
    let deadline = match served {
        1 => guest.accepted() + timeout,
        _ => now() + timeout,
    };
    let read = head(ask.rules, guest, intake, ask.request, deadline).await;
    let refusal = match read {
        Ok(()) => None,
        Err(Unread::Refused(refusal)) => Some(refusal),
        Err(Unread::Gone) => return After::gone(&ask),
    };
    if refusal.is_some() {
        ask.request.framing = Framing::None;
    }
    let requests_max = ask.rules.limits.requests_per_connection.get();
    let mut reply = Reply::One(Answer {
        guest,
        out,
        version: ask.request.version,
        closes: served >= requests_max,
        keeps_alive: false,
        is_head: ask.request.method == "HEAD",
    });
    let mut incoming = Incoming::One(Framed::new(link, intake, ask.request.framing, Of::Client));
    let then = match refusal {
        Some(refusal) => {
            let told = Told::default();
            respond::refuse(&ask, &told, refusal, &mut incoming, &mut reply).await
        }
        None => attend(&mut ask, &mut incoming, &mut reply).await,
    };
    match then {
        Then::Over { by, reason } => {
            link.reset_on_close();
            After::Over { by, reason }
        }
        Then::Switched(conn) => switch(&ask, intake, *conn).await,
        Then::GoOn if !reply.closes() && respond::drain(&mut incoming).await => After::Next,
        Then::GoOn => After::Last(Reason::Done),
        Then::End(reason) => After::Last(reason),
    }
}

impl After {
    /// The client went away.
    fn gone(ask: &Ask<'_>) -> Self {
        let (by, reason) = (ClosedBy::Client, Reason::ClientReset);
        ask.record.end(by, reason);
        Self::Over { by, reason }
    }
}

/// Why there is no head.
enum Unread {
    Refused(Refusal),
    Gone,
}

/// Reads the head of a request off the front of what arrives.
async fn head(
    rules: &Rules,
    guest: &Guest,
    intake: &mut Intake,
    request: &mut RequestHead,
    deadline: Instant,
) -> Result<(), Unread> {
    let limits = HeadLimits {
        bytes: rules.limits.header_bytes as usize,
        fields: rules.limits.fields as usize,
    };
    let too_large = || {
        Unread::Refused(Refusal::new(
            431,
            Reason::TooLarge,
            "the head of the request is too large",
        ))
    };
    let mut search = Search::default();
    request.method.clear();
    request.version = Version::V1_1;
    loop {
        let bytes = intake.bytes();
        match search.find(bytes).map_err(Unread::Refused)? {
            Some(length) if length > limits.bytes => return Err(too_large()),
            Some(length) => {
                read_request(&bytes[..length], limits, request).map_err(Unread::Refused)?;
                intake.consume(length);
                return Ok(());
            }
            None if bytes.len() > limits.bytes => return Err(too_large()),
            None if is_no_request(bytes) => {
                return Err(Unread::Refused(Refusal::bad(
                    "this is no request of HTTP/1",
                )));
            }
            None => {}
        }
        match within(deadline, intake.more(guest.client())).await {
            Some(Ok(true)) => {}
            Some(_) => return Err(Unread::Gone),
            None => {
                return Err(Unread::Refused(Refusal::new(
                    408,
                    Reason::HeaderTimeout,
                    "the head of the request takes too long",
                )));
            }
        }
    }
}

/// Hands both sides over to another protocol: from here on bytes are relayed as they are.
async fn switch(ask: &Ask<'_>, intake: &mut Intake, mut conn: Conn) -> After {
    let (guest, record) = (ask.guest, ask.record);
    let mut out = Vec::new();
    push_line(&mut out, 101);
    ask.response.fields.write(&mut out);
    out.extend_from_slice(b"\r\n");
    let heard = conn.intake.take();
    record.add_out(heard.len());
    out.extend_from_slice(&heard);
    let sent = within(now() + STALL, guest.client().send_all(&out)).await;
    if !matches!(sent, Some(Ok(()))) {
        return After::gone(ask);
    }
    conn.upstream.note_spoken();
    let relayed = guest.relay(conn.upstream, intake.take()).await;
    record.add_in(usize::try_from(relayed.bytes_in).unwrap_or(usize::MAX));
    record.add_out(usize::try_from(relayed.bytes_out).unwrap_or(usize::MAX));
    let (by, reason) = (relayed.by, relayed.reason);
    record.end(by, reason);
    if reason != Reason::Done {
        guest.client().reset_on_close();
    }
    After::Over { by, reason }
}

/// Ends our side, and waits a while for the client to end its own: bytes that it still sends would make the kernel take
/// the answer back from it.
async fn linger(guest: &Guest, intake: &mut Intake) {
    let link = guest.client();
    if !matches!(
        within(now() + LINGER_PATIENCE, link.finish()).await,
        Some(Ok(()))
    ) {
        return;
    }
    intake.consume(intake.bytes().len());
    let mut left = LINGER_BYTES_MAX;
    let ended = within(now() + LINGER_PATIENCE, async {
        while let Ok(true) = intake.more(link).await {
            let bytes = intake.bytes().len();
            intake.consume(bytes);
            left = left.saturating_sub(bytes);
            if left == 0 {
                return;
            }
        }
    });
    ended.await;
}
