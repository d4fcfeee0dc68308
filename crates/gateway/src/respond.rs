//! Answers of our own: a problem with its reason (RFC 9457), or a redirect. What the client still sends of its request is
//! taken and thrown away, within bounds; beyond them the connection ends with the answer.

use std::time::Duration;

use ringgate_engine::plugin::{ClosedBy, Reason, now};

use crate::fields::Fields;
use crate::head::Framing;
use crate::incoming::{Incoming, Next};
use crate::patience::within;
use crate::problem::{CONTENT_TYPE, problem};
use crate::pump::STALL;
use crate::refusal::Refusal;
use crate::reply::{Head, Reply};
use crate::stage::Told;
use crate::{Ask, Then};

/// Bytes of a body that are thrown away so that the connection can go on.
const DRAINED_BYTES_MAX: u64 = 64 * 1024;

/// How long that may take.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// Answers a request that no server answers.
pub(crate) async fn refuse(
    ask: &Ask<'_>,
    told: &Told<'_>,
    refusal: Refusal,
    incoming: &mut Incoming<'_>,
    reply: &mut Reply<'_>,
) -> Then {
    let record = ask.record;
    let may_go_on = !told.expects_continue && may_drain(ask.request.framing, incoming);
    let ends = ends_connection(&refusal) || !may_go_on;
    if ends {
        reply.close();
    }
    let id = told.request_id.as_ref().map(|id| id.as_str());
    let body = match refusal.status {
        300..400 => Vec::new(),
        status => {
            let detail = (!refusal.detail.is_empty()).then_some(refusal.detail);
            problem(status, refusal.reason.word(), detail, id)
        }
    };
    let mut fields = Fields::default();
    if !body.is_empty() {
        fields.push("content-type", CONTENT_TYPE.as_bytes());
    }
    ask.shelf
        .with_date(|date| fields.push("date", date.as_bytes()));
    if let Some(id) = id {
        fields.push("x-request-id", id.as_bytes());
    }
    if refusal.reason == Reason::BadRequest {
        record.note_detail(refusal.detail);
    }
    let has_retry = refusal.fields.iter().any(|(name, _)| name == "retry-after");
    for (name, value) in &refusal.fields {
        match refusal.status {
            300..400 => fields.set(name, value.as_bytes()),
            _ => fields.push(name, value.as_bytes()),
        }
    }
    if refusal.status == 503 && !has_retry {
        fields.push("retry-after", b"1");
    }
    told.write(&mut fields);
    record.begin(refusal.status);
    record.end(ClosedBy::Ringgate, refusal.reason);
    let length = body.len().to_string();
    let is_head = ask.request.method == "HEAD";
    let head = Head {
        status: refusal.status,
        fields: &fields,
        framing: match body.len() {
            0 => Framing::None,
            _ if is_head => Framing::None,
            length => Framing::Length(length as u64),
        },
        length: (is_head && !body.is_empty()).then_some(length.as_bytes()),
    };
    let sends_body = head.framing != Framing::None;
    let sent = within(now() + STALL, async {
        let mut out = reply.begin(&head)?;
        if sends_body {
            out.put(&body).await?;
            record.add_out(body.len());
        }
        out.finish(None).await
    });
    if !matches!(sent.await, Some(Ok(()))) {
        return Then::Over {
            by: ClosedBy::Client,
            reason: Reason::ClientReset,
        };
    }
    match ends {
        true => Then::End(refusal.reason),
        false => Then::GoOn,
    }
}

/// Whether nothing behind this request can be believed to be another one, or its client has shown that it does not keep
/// to HTTP.
fn ends_connection(refusal: &Refusal) -> bool {
    matches!(refusal.reason, Reason::BadRequest | Reason::HeaderTimeout)
        || matches!(refusal.status, 414 | 431)
}

/// Whether what is left of the body can be thrown away.
fn may_drain(framing: Framing, incoming: &Incoming<'_>) -> bool {
    match framing {
        _ if incoming.is_done() => true,
        Framing::None => true,
        Framing::Length(length) => length <= DRAINED_BYTES_MAX,
        Framing::Chunked | Framing::UntilClose => matches!(incoming, Incoming::Two(_)),
    }
}

/// Takes what is left of a body and throws it away; whether it ended within bounds.
pub(crate) async fn drain(incoming: &mut Incoming<'_>) -> bool {
    let mut left = DRAINED_BYTES_MAX;
    let drained = within(now() + DRAIN_PATIENCE, async {
        loop {
            match incoming.next().await {
                Ok(Next::End) => return true,
                Ok(Next::Data) => {
                    let bytes = incoming.data().len();
                    incoming.consume(bytes);
                    match left.checked_sub(bytes as u64) {
                        Some(rest) => left = rest,
                        None => return false,
                    }
                }
                Err(_) => return false,
            }
        }
    });
    drained.await.unwrap_or(false)
}
