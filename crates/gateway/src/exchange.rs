//! One request and its answer over one connection to a server: the request's body goes up while the answer comes down,
//! so that a server may answer before it has read everything. It decides whether the answer went well, never which
//! server is asked.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ringgate_engine::plugin::{ClosedBy, Guest, Reason, Sleep, now};

use crate::answerer::{Answerer, Silence};
use crate::fields::{Fields, Known};
use crate::head::{Framing, ResponseHead, Version};
use crate::incoming::{Cut, Gone, Incoming};
use crate::outgoing::Outgoing;
use crate::patience::within;
use crate::pump::{Flow, STALL, Stop, pump};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::reply::{Head, Reply};

/// How long a body waits for `100 Continue` of a server that says nothing (RFC 9110 §10.1.1).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// What an exchange needs to know besides the messages.
pub(crate) struct Terms<'a> {
    /// The client's connection.
    pub(crate) guest: &'a Guest,
    /// What is noted of the request.
    pub(crate) record: &'a Record,
    /// How long the server may take to begin its answer.
    pub(crate) response: Duration,
    /// How long both sides may be silent.
    pub(crate) idle: Duration,
    /// The most bytes of the request's body.
    pub(crate) body_max: u64,
    /// The client waits for a word before it sends it.
    pub(crate) expects_continue: bool,
    /// The two sides talk with each other from the beginning.
    pub(crate) is_dialogue: bool,
    /// Neither side encrypts.
    pub(crate) is_plain: bool,
    /// The protocol that the client asks to change to.
    pub(crate) upgrade: Option<&'a [u8]>,
    /// Told of bytes that went to the server.
    pub(crate) sent: &'a dyn Fn(usize),
    /// Told of bytes that came from it.
    pub(crate) received: &'a dyn Fn(usize),
    /// Statuses after which another server is tried.
    pub(crate) retried: &'a dyn Fn(u16) -> bool,
    /// Makes the fields of the answer those that the client gets.
    pub(crate) prepare: &'a dyn Fn(&mut ResponseHead),
}

/// How an exchange ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The client has the whole answer; whether the server's connection can be used again.
    Answered {
        /// Request and answer ended in order on the server's side.
        server_is_clean: bool,
    },
    /// The server has agreed to another protocol.
    Switched,
    /// Nothing was told to the client yet.
    Unanswered(Trouble),
    /// The answer broke off: the client must not take it for whole.
    Broken {
        /// Who broke it off.
        by: ClosedBy,
        /// Why.
        reason: Reason,
    },
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection has ended without a word: it may have been stale.
    Unseen,
    /// The server has refused to begin: it has not looked at the request.
    Unbegun,
    /// The server's status asks for another server.
    Status,
    /// The server failed.
    Server(Reason),
    /// The client's fault, or its end.
    Client(Refusal),
    /// The client is gone.
    Gone(Reason),
}

/// Sends a request, whose head waits in `to`, and passes the answer on.
pub(crate) async fn exchange(
    terms: &Terms<'_>,
    incoming: &mut Incoming<'_>,
    to: &mut Outgoing<'_>,
    from: &mut Answerer<'_>,
    reply: &mut Reply<'_>,
    head: &mut ResponseHead,
) -> Ended {
    let hurries = Cell::new(!terms.is_dialogue);
    let waits = Continue::new(terms.expects_continue);
    let is_sent = Cell::new(false);
    let moved = Cell::new(now());
    let mut up = Upward {
        is_sent: &is_sent,
        stop: None,
        response: terms.response,
        timer: None,
    };
    let signs = Signs {
        hurries: &hurries,
        waits: &waits,
        is_sent: &is_sent,
        moved: &moved,
    };
    let mut sending = pin!(send(terms, incoming, to, &signs));
    loop {
        let heard = poll_fn(|context| {
            if let Poll::Ready(trouble) = up.poll(sending.as_mut(), context) {
                return Poll::Ready(Err(trouble));
            }
            if waits.must_tell() {
                return Poll::Ready(Ok(false));
            }
            if let Poll::Ready(heard) = from.poll_head(head, context) {
                return Poll::Ready(heard.map(|()| true).map_err(blame));
            }
            if reply.poll_reset(context).is_ready() {
                return Poll::Ready(Err(Trouble::Gone(Reason::ClientReset)));
            }
            up.poll_patience(context).map(Err)
        });
        match heard.await {
            Ok(true) => {}
            Ok(false) => head.status = 100,
            Err(trouble) => return Ended::Unanswered(trouble),
        }
        match head.status {
            101 if agrees(terms, head) => {
                terms.record.note_first_byte();
                // RFC 9110 §8.6
                head.fields
                    .remove_if(|field| field.known == Known::ContentLength);
                (terms.prepare)(head);
                return Ended::Switched;
            }
            101 => return Ended::Unanswered(Trouble::Server(Reason::BadResponse)),
            100 => {
                let tells = waits.end();
                if tells && !told(reply.inform(100, &Fields::default())).await {
                    return Ended::Unanswered(Trouble::Gone(Reason::ClientReset));
                }
            }
            status @ 102..200 => {
                head.fields.remove_if(|field| field.known != Known::Other);
                if !told(reply.inform(status, &head.fields)).await {
                    return Ended::Unanswered(Trouble::Gone(Reason::ClientReset));
                }
            }
            _ => break,
        }
    }
    if (terms.retried)(head.status) {
        return Ended::Unanswered(Trouble::Status);
    }
    terms.record.note_first_byte();
    hurries.set(false);
    moved.set(now());
    let server_keeps = keeps(head);
    (terms.prepare)(head);
    // A body that the client need not send any more leaves its connection in the middle of a message.
    if waits.waits() {
        reply.close();
    }
    let began = reply.begin(&Head {
        status: head.status,
        fields: &head.fields,
        framing: head.framing,
        length: head
            .fields
            .first(Known::ContentLength)
            .filter(|_| head.status != 204),
    });
    let Ok(mut down) = began else {
        return Ended::Broken {
            by: ClosedBy::Client,
            reason: Reason::ClientReset,
        };
    };
    terms.record.begin(head.status);
    let mut body = from.body(head.framing);
    let passed = {
        let count = |bytes| {
            terms.record.add_out(bytes);
            (terms.received)(bytes);
        };
        let flow = Flow {
            guest: terms.guest,
            count: &count,
            bytes_max: u64::MAX,
            silence: terms.idle,
            moved: &moved,
            must_hurry: None,
            is_plain: terms.is_plain,
        };
        let mut passing = pin!(pump(&mut body, &mut down, &flow));
        poll_fn(|context| {
            if let Poll::Ready(trouble) = up.poll(sending.as_mut(), context) {
                return Poll::Ready(Err(trouble.breaks()));
            }
            passing.as_mut().poll(context).map_err(broken)
        })
        .await
    };
    if let Err(ended) = passed {
        down.abort();
        return ended;
    }
    let server_is_clean = server_keeps && body.is_done() && up.is_well();
    Ended::Answered { server_is_clean }
}

/// Whether a few words were taken in time.
async fn told(telling: impl Future<Output = io::Result<()>>) -> bool {
    matches!(within(now() + STALL, telling).await, Some(Ok(())))
}

/// A client that waits for `100 Continue` before it sends its body.
struct Continue {
    waits: Cell<bool>,
    must_tell: Cell<bool>,
}

impl Continue {
    fn new(waits: bool) -> Self {
        Self {
            waits: Cell::new(waits),
            must_tell: Cell::new(false),
        }
    }

    fn waits(&self) -> bool {
        self.waits.get()
    }

    /// Whether it has to be told although the server has not said it.
    fn must_tell(&self) -> bool {
        self.waits() && self.must_tell.get()
    }

    /// Lets it go on; whether it has to be told.
    fn end(&self) -> bool {
        self.waits.replace(false)
    }
}

/// What the two directions of an exchange tell each other.
struct Signs<'a> {
    /// The client must not trickle.
    hurries: &'a Cell<bool>,
    waits: &'a Continue,
    /// The whole request has gone out.
    is_sent: &'a Cell<bool>,
    /// When anything has moved last.
    moved: &'a Cell<Instant>,
}

/// Sends the request, its body when it may go, and watches its sender then; why it ended.
async fn send(
    terms: &Terms<'_>,
    incoming: &mut Incoming<'_>,
    to: &mut Outgoing<'_>,
    signs: &Signs<'_>,
) -> Stop {
    let waits = signs.waits;
    if waits.waits() {
        if !told(to.flush()).await {
            return Stop::Sink;
        }
        let told = || match waits.waits() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        };
        let told_in_time = within(now() + CONTINUE_PATIENCE, poll_fn(|_| told())).await;
        if told_in_time.is_none() {
            // A client need not wait for a server that does not say it.
            waits.must_tell.set(true);
            poll_fn(|_| told()).await;
        }
    }
    let count = |bytes| {
        terms.record.add_in(bytes);
        (terms.sent)(bytes);
    };
    let flow = Flow {
        guest: terms.guest,
        count: &count,
        bytes_max: terms.body_max,
        silence: terms.idle,
        moved: signs.moved,
        must_hurry: Some(signs.hurries),
        is_plain: terms.is_plain,
    };
    if let Err(stop) = pump(incoming, to, &flow).await {
        return stop;
    }
    signs.is_sent.set(true);
    let gone = poll_fn(|context| incoming.poll_gone(context)).await;
    if gone == Gone::Silent {
        terms.record.goes_quiet(STALL).await;
    }
    Stop::Source(Cut::Gone)
}

/// The request on its way up.
struct Upward<'a> {
    /// All of it has gone out; from here on its sender is only watched.
    is_sent: &'a Cell<bool>,
    stop: Option<Stop>,
    response: Duration,
    timer: Option<Sleep>,
}

impl Upward<'_> {
    /// Goes on; ready with what the client has done, when that ends the exchange.
    fn poll(
        &mut self,
        sending: Pin<&mut impl Future<Output = Stop>>,
        context: &mut Context<'_>,
    ) -> Poll<Trouble> {
        if self.stop.is_none()
            && let Poll::Ready(stop) = sending.poll(context)
        {
            self.stop = Some(stop);
        }
        match self.stop.as_ref().and_then(client_s_fault) {
            Some(trouble) => Poll::Ready(trouble),
            None => Poll::Pending,
        }
    }

    /// Whether all of it has gone out, and nothing is wrong with its sender.
    fn is_well(&self) -> bool {
        self.is_sent.get() && self.stop.is_none()
    }

    /// How long the answer may take, from the end of the request on.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<Trouble> {
        if !self.is_sent.get() && self.stop.is_none() {
            return Poll::Pending;
        }
        let late = Trouble::Server(Reason::ResponseTimeout);
        if matches!(self.stop, Some(Stop::Stalled)) {
            return Poll::Ready(late);
        }
        let response = self.response;
        let timer = || Sleep::until(now() + response);
        let timer = self.timer.get_or_insert_with(timer);
        timer.poll(context).map(|()| late)
    }
}

impl Trouble {
    /// What it makes of an answer that has begun.
    fn breaks(self) -> Ended {
        let (by, reason) = match self {
            // Both directions were silent.
            Self::Client(refusal) if refusal.reason == Reason::HeaderTimeout => {
                (ClosedBy::Ringgate, Reason::ClientIdle)
            }
            Self::Client(refusal) => (ClosedBy::Client, refusal.reason),
            Self::Gone(reason) => (ClosedBy::Client, reason),
            _ => (ClosedBy::Client, Reason::BadResponse),
        };
        Ended::Broken { by, reason }
    }
}

/// What it means that there is no answer.
fn blame(silence: Silence) -> Trouble {
    match silence {
        Silence::Closed => Trouble::Unseen,
        Silence::Refused => Trouble::Unbegun,
        Silence::Broken(reason) => Trouble::Server(reason),
    }
}

/// What the client has done, when the request's body did not get to the server for its sake.
fn client_s_fault(stop: &Stop) -> Option<Trouble> {
    Some(match stop {
        Stop::Source(Cut::Gone | Cut::Canceled) => Trouble::Gone(Reason::ClientReset),
        Stop::Source(Cut::Framing(detail)) => Trouble::Client(Refusal::bad(detail)),
        Stop::Silent => Trouble::Client(Refusal::new(
            408,
            Reason::HeaderTimeout,
            "the body of the request takes too long",
        )),
        Stop::TooLarge => Trouble::Client(Refusal::new(
            413,
            Reason::TooLarge,
            "the body of the request is too large",
        )),
        Stop::Sink | Stop::Stalled => return None,
    })
}

/// What became of an answer that did not get to the client whole.
fn broken(stop: Stop) -> Ended {
    let (by, reason) = match stop {
        Stop::Source(_) => (ClosedBy::Server, Reason::BadResponse),
        Stop::Silent => (ClosedBy::Ringgate, Reason::ServerIdle),
        Stop::TooLarge | Stop::Sink => (ClosedBy::Client, Reason::ClientReset),
        Stop::Stalled => (ClosedBy::Ringgate, Reason::ClientIdle),
    };
    Ended::Broken { by, reason }
}

/// Whether a server changes to the protocol that it was asked for, and to no other (RFC 9110 §7.8).
fn agrees(terms: &Terms<'_>, head: &ResponseHead) -> bool {
    let mut protocols = head.fields.all(Known::Upgrade);
    match (terms.upgrade, protocols.next(), protocols.next()) {
        (Some(asked), Some(agreed), None) => asked.eq_ignore_ascii_case(agreed),
        _ => false,
    }
}

/// Whether a server of HTTP/1 keeps the connection after this answer (RFC 9112 §9.3).
fn keeps(head: &ResponseHead) -> bool {
    let has = |wanted: &[u8]| {
        let values = head.fields.all(Known::Connection);
        let mut options = values.flat_map(|value| value.split(|byte| *byte == b','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    match (head.framing, head.version) {
        (Framing::UntilClose, _) => false,
        (_, Version::V1_0) => has(b"keep-alive"),
        _ => !has(b"close"),
    }
}
