//! Finds a server that answers a request: the next one where a server cannot be reached or its answer may be replaced,
//! within bounds that keep retries from multiplying a load that servers already fail under. What has been told to the
//! client is never taken back.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ringgate_engine::plugin::{
    ClosedBy, Guest, Load, Pool, PoolId, Race, Reason, ServerId, Sleep, Tried, Upstream, now, race,
};

use crate::answerer::{Answerer, Source};
use crate::exchange::{Ended, Terms, Trouble, exchange};
use crate::head::ResponseHead;
use crate::incoming::Incoming;
use crate::outgoing::{Outgoing, Written};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::request::Request;
use crate::servers::Conn;
use crate::shelf::Shelf;

/// How often clients that are kept waiting look for a server.
const HOLD_PERIOD: Duration = Duration::from_millis(25);

/// How long the descriptors of connections that were let go may take to be free.
const CLOSE_PATIENCE: Duration = Duration::from_millis(5);

/// What becomes of a request that was forwarded.
pub(crate) enum Forwarded {
    /// The client has an answer.
    Answered,
    /// It has none yet, and gets this one.
    Refused(Refusal),
    /// The client's connection cannot go on.
    Over { by: ClosedBy, reason: Reason },
    /// Client and server speak another protocol from here on.
    Switched(Box<Conn>),
}

/// A request that is to be forwarded.
pub(crate) struct Forward<'a> {
    pub(crate) guest: &'a Guest,
    pub(crate) shelf: &'a Shelf,
    pub(crate) record: &'a Record,
    pub(crate) request: &'a Request<'a>,
    pub(crate) pool: PoolId,
    /// As [`crate::Ask::held`].
    pub(crate) held: Option<&'a Cell<u32>>,
    pub(crate) body_max: u64,
    /// Makes the fields of an answer those that the client gets.
    pub(crate) prepare: &'a dyn Fn(&mut ResponseHead),
}

impl Forward<'_> {
    /// Forwards it; `head` is room for the heads of answers.
    pub(crate) async fn run(
        &self,
        incoming: &mut Incoming<'_>,
        reply: &mut Reply<'_>,
        head: &mut ResponseHead,
    ) -> Forwarded {
        let (mut pool, further_max) = {
            let snapshot = self.guest.snapshot();
            (snapshot.pool(self.pool).clone(), snapshot.further_max)
        };
        self.record.note_pool(&pool);
        self.shelf.earn(&pool);
        let mut tried = Tried::new();
        let mut failure = Reason::NoServer;
        // A connection that waited was stale: the others may be as well.
        let mut again: Option<ServerId> = None;
        loop {
            let id = match again {
                Some(id) => id,
                None => match self.guest.pick(&pool, &tried) {
                    Some(id) => id,
                    None if tried.is_empty() => match self.hold(&pool, incoming, reply).await {
                        Ok(fresh) => {
                            pool = fresh;
                            continue;
                        }
                        Err(forwarded) => return forwarded,
                    },
                    None => return Forwarded::Refused(Refusal::of_server(failure)),
                },
            };
            let load = Load::take(pool.server(id));
            let attempt = Attempt {
                pool: &pool,
                id,
                is_again: again.is_some(),
                tried: &tried,
                further_max,
            };
            let outcome = match pool.http2 {
                true => self.ask_stream(&attempt, incoming, reply, head).await,
                false => self.ask(&attempt, incoming, reply, head).await,
            };
            drop(load);
            again = None;
            match outcome {
                Asked::Ended(forwarded) => return forwarded,
                Asked::Stale => again = Some(id),
                Asked::Failed(reason) => {
                    failure = reason;
                    tried.push(id);
                    let spent = tried.len() > usize::from(pool.retry.attempts);
                    let is_ours = matches!(reason, Reason::Overload | Reason::ClientReset);
                    if spent || is_ours || self.guest.pick(&pool, &tried).is_none() {
                        return Forwarded::Refused(Refusal::of_server(reason));
                    }
                    self.note_retry(&pool);
                }
            }
        }
    }

    /// Asks a server by HTTP/1, on a connection that waits or a new one.
    async fn ask(
        &self,
        attempt: &Attempt<'_>,
        incoming: &mut Incoming<'_>,
        reply: &mut Reply<'_>,
        head: &mut ResponseHead,
    ) -> Asked {
        let (pool, id) = (attempt.pool, attempt.id);
        let place = self
            .held
            .map(|own| self.shelf.crowd.enter(own, attempt.further_max));
        if let Some(None) = place {
            return Asked::Failed(Reason::Overload);
        }
        let waiting = match attempt.is_again {
            true => None,
            false => self.shelf.servers.take(pool, id),
        };
        let mut conn = match waiting {
            Some(conn) => conn,
            None => match self.connect(pool, id).await {
                Ok(upstream) => Conn::new(upstream),
                Err(reason) => return Asked::Failed(reason),
            },
        };
        let connect = (!conn.is_used).then(|| conn.upstream.connect());
        self.record.note_server(pool, pool.server(id), connect);
        let mut out = self.shelf.buffer();
        let frame = self.request.write_head(&mut out);
        let ended = {
            let Conn {
                upstream, intake, ..
            } = &mut conn;
            let upstream = &*upstream;
            let terms = Terms {
                sent: &|bytes| upstream.count_sent(bytes),
                received: &|bytes| upstream.count_received(bytes),
                is_plain: upstream.is_plain() && self.guest.client().is_plain(),
                retried: &|status| self.may_replace(attempt, status),
                ..self.terms(pool)
            };
            let mut to = Outgoing::One(Written::new(upstream, frame, &mut out));
            let source = Source::One {
                link: upstream,
                intake,
            };
            let mut from = Answerer::new(source, self.request.method);
            let asked = exchange(&terms, incoming, &mut to, &mut from, reply, head);
            asked.await
        };
        self.shelf.give_back(out);
        match ended {
            Ended::Answered { server_is_clean } => {
                if server_is_clean {
                    self.shelf.servers.keep(self.guest, id, conn);
                }
                Asked::Ended(Forwarded::Answered)
            }
            Ended::Switched => Asked::Ended(Forwarded::Switched(Box::new(conn))),
            Ended::Unanswered(Trouble::Unseen) if conn.is_used && self.may_repeat() => {
                self.note_retry(pool);
                Asked::Stale
            }
            ended => self.judge(pool, ended),
        }
    }

    /// Connects to a server. Connections that wait for requests make room where there is none.
    async fn connect(&self, pool: &Arc<Pool>, id: ServerId) -> Result<Upstream, Reason> {
        match self.guest.connect(pool, id).await {
            Err(Reason::Overload) if self.shelf.servers.let_go() => {
                Sleep::until(now() + CLOSE_PATIENCE).wait().await;
                self.guest.connect(pool, id).await
            }
            connected => connected,
        }
    }

    /// Asks a server by HTTP/2, on a stream of its own.
    async fn ask_stream(
        &self,
        attempt: &Attempt<'_>,
        incoming: &mut Incoming<'_>,
        reply: &mut Reply<'_>,
        head: &mut ResponseHead,
    ) -> Asked {
        let (pool, id, fresh) = (attempt.pool, attempt.id, attempt.is_again);
        if self.request.upgrade.is_some() {
            let detail = "the server speaks HTTP/2, which changes to no other protocol";
            let refusal = Refusal::new(501, Reason::BadRequest, detail);
            return Asked::Ended(Forwarded::Refused(refusal));
        }
        let Some(asked) = self.request.as_http2() else {
            let refusal = Refusal::bad("the target cannot be told to a server of HTTP/2");
            return Asked::Ended(Forwarded::Refused(refusal));
        };
        let opened = self.shelf.streams.open(self.guest, pool, id, fresh).await;
        let mut tube = match opened {
            Ok(tube) => tube,
            Err(reason) => return Asked::Failed(reason),
        };
        let is_used = tube.connect().is_none();
        self.record
            .note_server(pool, pool.server(id), tube.connect());
        let has_body = !incoming.is_done();
        let sent = tube.send(asked, !has_body);
        let Ok((response, out)) = sent else {
            return match fresh {
                true => self.failed(pool, Reason::ServerReset, true),
                false => Asked::Stale,
            };
        };
        let counters = pool.server(id).counters.of(self.guest.worker());
        let terms = Terms {
            sent: &|bytes| counters.sent_bytes.add(bytes as u64),
            received: &|bytes| counters.received_bytes.add(bytes as u64),
            is_plain: pool.tls.is_none() && self.guest.client().is_plain(),
            retried: &|status| self.may_replace(attempt, status),
            ..self.terms(pool)
        };
        let mut to = Outgoing::Two(out);
        let mut from = Answerer::new(Source::Two(response), self.request.method);
        let ended = exchange(&terms, incoming, &mut to, &mut from, reply, head).await;
        if !matches!(
            ended,
            Ended::Answered {
                server_is_clean: true
            }
        ) && let Outgoing::Two(stream) = &mut to
        {
            stream.cancel();
        }
        match ended {
            Ended::Answered { .. } => Asked::Ended(Forwarded::Answered),
            // A stream that was refused was not looked at (RFC 9113 §8.7).
            Ended::Unanswered(Trouble::Unbegun) if !fresh && self.is_untouched() => {
                self.note_retry(pool);
                Asked::Stale
            }
            Ended::Unanswered(Trouble::Unseen) if is_used && self.may_repeat() => {
                self.note_retry(pool);
                Asked::Stale
            }
            ended => self.judge(pool, ended),
        }
    }

    fn terms<'t>(&'t self, pool: &'t Pool) -> Terms<'t> {
        let timeouts = self.guest.listener().timeouts.overlaid(&pool.timeouts);
        Terms {
            guest: self.guest,
            record: self.record,
            response: timeouts.response,
            idle: timeouts.idle,
            body_max: self.body_max,
            expects_continue: self.request.expects_continue,
            is_dialogue: self.request.is_dialogue && pool.http2,
            is_plain: false,
            upgrade: self.request.upgrade,
            sent: &|_| {},
            received: &|_| {},
            retried: &|_| false,
            prepare: self.prepare,
        }
    }

    /// What follows from an exchange that did not go well.
    fn judge(&self, pool: &Pool, ended: Ended) -> Asked {
        let refused = |refusal| Asked::Ended(Forwarded::Refused(refusal));
        match ended {
            Ended::Unanswered(Trouble::Unseen) => {
                self.failed(pool, Reason::ServerReset, self.may_repeat())
            }
            Ended::Unanswered(Trouble::Unbegun) => {
                self.failed(pool, Reason::ServerReset, self.is_untouched())
            }
            Ended::Unanswered(Trouble::Status) => Asked::Failed(Reason::BadResponse),
            Ended::Unanswered(Trouble::Server(reason)) => {
                let may = self.may_repeat() && reason != Reason::ResponseTimeout;
                self.failed(pool, reason, may)
            }
            Ended::Unanswered(Trouble::Client(refusal)) => refused(refusal),
            Ended::Unanswered(Trouble::Gone(reason)) => Asked::Ended(Forwarded::Over {
                by: ClosedBy::Client,
                reason,
            }),
            Ended::Broken { by, reason } => Asked::Ended(Forwarded::Over { by, reason }),
            Ended::Answered { .. } | Ended::Switched => Asked::Ended(Forwarded::Answered),
        }
    }

    fn failed(&self, pool: &Pool, reason: Reason, may: bool) -> Asked {
        match may && self.shelf.spend(pool) {
            true => Asked::Failed(reason),
            false => Asked::Ended(Forwarded::Refused(Refusal::of_server(reason))),
        }
    }

    fn note_retry(&self, pool: &Pool) {
        self.record.note_retry();
        pool.counters.of(self.guest.worker()).retries.add(1);
    }

    /// Whether nothing of the body has gone to a server.
    fn is_untouched(&self) -> bool {
        self.record.bytes_in() == 0
    }

    /// Whether the request may be sent once more although a server may have seen it (RFC 9110 §9.2.2).
    fn may_repeat(&self) -> bool {
        self.request.is_idempotent && self.is_untouched()
    }

    /// Whether an answer with that status is left for another server's.
    fn may_replace(&self, attempt: &Attempt<'_>, status: u16) -> bool {
        let retry = &attempt.pool.retry;
        if !retry.statuses.contains(&status) || !self.may_repeat() {
            return false;
        }
        let mut tried = *attempt.tried;
        tried.push(attempt.id);
        tried.len() <= usize::from(retry.attempts)
            && self.guest.pick(attempt.pool, &tried).is_some()
            && self.shelf.spend(attempt.pool)
    }

    /// Keeps the client waiting while no server is up, where the pool does so.
    async fn hold(
        &self,
        pool: &Arc<Pool>,
        incoming: &mut Incoming<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Arc<Pool>, Forwarded> {
        let refused = |reason| Err(Forwarded::Refused(Refusal::of_server(reason)));
        let Some(hold) = pool.hold else {
            return refused(Reason::NoServer);
        };
        let Some(_held) = Held::enter(pool, hold.max.get(), self.guest) else {
            return refused(Reason::HoldFull);
        };
        let end = now() + hold.patience;
        while now() < end && !self.guest.is_draining() {
            let gone = poll_fn(|context| {
                let is_gone = incoming.poll_gone(context).is_ready();
                match is_gone || reply.poll_reset(context).is_ready() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            });
            let pause = Sleep::until(end.min(now() + HOLD_PERIOD));
            if let Race::First(()) = race(gone, pause.wait()).await {
                return Err(Forwarded::Over {
                    by: ClosedBy::Client,
                    reason: Reason::ClientReset,
                });
            }
            let fresh = self.guest.snapshot().pool(self.pool).clone();
            if self.guest.pick(&fresh, &Tried::new()).is_some() {
                return Ok(fresh);
            }
        }
        refused(Reason::HoldTimeout)
    }
}

/// One server that is asked.
struct Attempt<'a> {
    pool: &'a Arc<Pool>,
    id: ServerId,
    /// A connection to it was stale: only a new one will do.
    is_again: bool,
    /// Those that were asked before.
    tried: &'a Tried,
    /// [`ringgate_engine::snapshot::Snapshot::further_max`].
    further_max: u32,
}

/// What came of asking one server.
enum Asked {
    Ended(Forwarded),
    /// Its connection was stale: it is asked again, on a new one.
    Stale,
    /// Another one may be asked.
    Failed(Reason),
}

/// A client that is kept waiting, counted as one.
struct Held<'a> {
    pool: &'a Pool,
    guest: &'a Guest,
}

impl<'a> Held<'a> {
    fn enter(pool: &'a Pool, max: u32, guest: &'a Guest) -> Option<Self> {
        use std::sync::atomic::Ordering::Relaxed;
        if pool.held.fetch_add(1, Relaxed) >= max {
            pool.held.fetch_sub(1, Relaxed);
            return None;
        }
        pool.counters.of(guest.worker()).held.add(1);
        Some(Self { pool, guest })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.pool
            .held
            .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        self.pool.counters.of(self.guest.worker()).held.sub(1);
    }
}
