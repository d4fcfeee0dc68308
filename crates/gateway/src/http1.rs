//! A client that speaks HTTP/1: one request after the other on its connection, each answered before the next is looked at.
//! A connection that waits holds next to nothing; a request has its room while it is served.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringgate_engine::plugin::{ClosedBy, Guest, Race, Reason, Served, now, race};

use crate::head::{
    Framing, HeadLimits, RequestHead, ResponseHead, Search, Version, is_no_request, read_request,
};
use crate::incoming::{Framed, Incoming};
use crate::intake::Intake;
use crate::patience::within;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::reply::{Answer, Reply};
use crate::rules::Rules;
use crate::servers::Conn;
use crate::shelf::Shelf;
use crate::stage::Told;
use crate::{Ask, Gateway, Then, attend, http2, respond};

/// The first bytes of a client that speaks HTTP/2 without having asked (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client may take to end its side after the last answer.
const LINGER_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that are thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Serves a connection to its end.
pub(crate) async fn serve(gateway: Arc<Gateway>, shelf: Rc<Shelf>, guest: Guest) -> Served {
    let mut intake = Intake::of(guest.heard());
    let mut served = 0;
    loop {
        let begins = match served {
            0 => guest.accepted() + guest.listener().timeouts.header,
            _ => now() + guest.listener().timeouts.idle,
        };
        if intake.is_empty()
            && let Err(ended) = begin(&guest, &mut intake, begins, served).await
        {
            return ended;
        }
        if served == 0
            && PREFACE.starts_with(&intake.bytes()[..intake.bytes().len().min(PREFACE.len())])
        {
            match speaks_http2(&guest, &mut intake).await {
                Ok(true) => {
                    return Box::pin(http2::serve(gateway, shelf, guest, intake.take())).await;
                }
                Ok(false) => {}
                Err(ended) => return ended,
            }
        }
        served += 1;
        // Boxed, it takes no room in a connection that waits.
        let next = Box::pin(one(&gateway.rules, &shelf, &guest, &mut intake, served)).await;
        match next {
            After::Next => {}
            After::Over { by, reason } => {
                return Served {
                    by,
                    reason,
                    is_logged: true,
                };
            }
        }
    }
}

/// Waits for the first byte of a request.
async fn begin(
    guest: &Guest,
    intake: &mut Intake,
    deadline: Instant,
    served: u32,
) -> Result<(), Served> {
    let link = guest.client();
    let first = within(deadline, intake.more(link));
    let (by, reason) = match race(first, guest.drains()).await {
        Race::First(Some(Ok(true))) => return Ok(()),
        Race::First(Some(Ok(false))) => (ClosedBy::Client, Reason::Done),
        Race::First(Some(Err(_))) => (ClosedBy::Client, Reason::ClientReset),
        Race::First(None) if served == 0 => (ClosedBy::Ringgate, Reason::HeaderTimeout),
        Race::First(None) => (ClosedBy::Ringgate, Reason::ClientIdle),
        Race::Second(()) if !link.has_received() => (ClosedBy::Ringgate, Reason::Done),
        Race::Second(()) => match within(deadline, intake.more(link)).await {
            Some(Ok(true)) => return Ok(()),
            _ => (ClosedBy::Client, Reason::Done),
        },
    };
    // Nobody is in the middle of anything: the end may look like one.
    let _ = link.finish().await;
    Err(Served {
        by,
        reason,
        is_logged: served > 0 || reason == Reason::Done,
    })
}

/// Whether the client speaks HTTP/2 from its first bytes on.
async fn speaks_http2(guest: &Guest, intake: &mut Intake) -> Result<bool, Served> {
    let deadline = guest.accepted() + guest.listener().timeouts.header;
    while intake.bytes().len() < PREFACE.len() && PREFACE.starts_with(intake.bytes()) {
        match within(deadline, intake.more(guest.client())).await {
            Some(Ok(true)) => {}
            _ => return Ok(false),
        }
    }
    Ok(intake.bytes().starts_with(PREFACE))
}

/// What follows a request on its connection.
enum After {
    Next,
    Over { by: ClosedBy, reason: Reason },
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
    let record = Record::begin_now(guest, &rules.counters);
    let (request, response) = &mut *heads;
    let after = request_of(
        rules, shelf, guest, intake, served, &record, request, response, &mut out,
    );
    let after = after.await;
    shelf.give_back(out);
    shelf.give_back_heads(heads);
    after
}

#[expect(
    clippy::too_many_arguments,
    reason = "the room of one request, and nothing else calls it"
)]
async fn request_of(
    rules: &Rules,
    shelf: &Rc<Shelf>,
    guest: &Guest,
    intake: &mut Intake,
    served: u32,
    record: &Record,
    request: &mut RequestHead,
    response: &mut ResponseHead,
    out: &mut Vec<u8>,
) -> After {
    let link = guest.client();
    let read = head(rules, guest, intake, request).await;
    let framing = request.framing;
    if read.is_err() {
        request.framing = Framing::None;
    }
    let refused = match read {
        Ok(()) => None,
        Err(Unread::Refused(refusal)) => Some(refusal),
        Err(Unread::Gone) => {
            record.end(ClosedBy::Client, Reason::ClientReset);
            return After::Over {
                by: ClosedBy::Client,
                reason: Reason::ClientReset,
            };
        }
    };
    let mut reply = Reply::One(Answer {
        link,
        out,
        version: request.version,
        closes: served >= rules.limits.requests_per_connection.get() || guest.is_draining(),
        keeps_alive: false,
        is_head: request.method == "HEAD",
    });
    let mut incoming = Incoming::One(Framed::new(
        link,
        intake,
        if refused.is_some() {
            Framing::None
        } else {
            framing
        },
    ));
    let ask = Ask {
        guest,
        rules,
        shelf,
        record,
        request,
        response,
    };
    let then = match refused {
        Some(refusal) => {
            respond::refuse(&ask, &Told::default(), refusal, &mut incoming, &mut reply).await
        }
        None => attend(ask, &mut incoming, &mut reply).await,
    };
    let closes = reply.closes();
    match then {
        Then::Over { by, reason } => {
            link.reset_on_close();
            After::Over { by, reason }
        }
        Then::Switched(conn) => {
            drop((incoming, reply));
            switch(guest, intake, *conn, response, record).await
        }
        Then::GoOn if !closes && respond::drain(&mut incoming).await => After::Next,
        Then::GoOn => {
            drop(incoming);
            linger(guest, intake).await;
            After::Over {
                by: ClosedBy::Ringgate,
                reason: Reason::Done,
            }
        }
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
    let deadline = now() + guest.listener().timeouts.header;
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
async fn switch(
    guest: &Guest,
    intake: &mut Intake,
    mut conn: Conn,
    head: &ResponseHead,
    record: &Record,
) -> After {
    let mut out = Vec::new();
    crate::reply::push_line(&mut out, 101);
    head.fields.write(&mut out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(conn.intake.bytes());
    record.add_out(conn.intake.bytes().len());
    conn.intake.consume(conn.intake.bytes().len());
    let sent = within(now() + crate::pump::STALL, guest.client().send_all(&out)).await;
    if !matches!(sent, Some(Ok(()))) {
        record.end(ClosedBy::Client, Reason::ClientReset);
        return After::Over {
            by: ClosedBy::Client,
            reason: Reason::ClientReset,
        };
    }
    let relayed = guest.relay(conn.upstream, intake.take()).await;
    record.add_in(usize::try_from(relayed.bytes_in).unwrap_or(usize::MAX));
    record.add_out(usize::try_from(relayed.bytes_out).unwrap_or(usize::MAX));
    record.end(relayed.by, relayed.reason);
    if relayed.reason != Reason::Done {
        guest.client().reset_on_close();
    }
    After::Over {
        by: relayed.by,
        reason: relayed.reason,
    }
}

/// Ends our side, and waits a while for the client to end its own: bytes that it still sends would make the kernel take
/// the answer back from it.
async fn linger(guest: &Guest, intake: &mut Intake) {
    let link = guest.client();
    if link.finish().await.is_err() {
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
