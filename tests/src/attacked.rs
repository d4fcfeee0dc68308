//! A gateway before a server that keeps what it is sent, and what must hold of every request that is refused: the
//! status, the end of the connection, the line of the log, the count, and above all that the server saw nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::recorder::{Recorder, ok};
use crate::ringgate::Ringgate;
use crate::wait::{PATIENCE, wait_until};
use crate::wire::{End, Wire};

/// What no server may ever see: it stands behind every bad request.
const BEHIND: &str = "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n";

/// So many faults are gathered before a test gives up.
const FAULTS_MAX: usize = 8;

const REQUESTS: &str = "ringgate_http_requests_total";

/// A gateway under attack.
#[derive(Debug)]
pub struct Attacked {
    /// The gateway, with the listener `$web`.
    pub ringgate: Ringgate,
    /// The only server, which answers every request with its target.
    pub server: Recorder,
    wrong: Vec<String>,
    lines: usize,
    /// What the server has seen and should have.
    seen: Seen,
}

/// A request that must be refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What is wrong with it.
    pub what: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The statuses that are right.
    pub status: Vec<u16>,
    /// Whether it is refused before a server can have seen anything; otherwise for what its body brings.
    pub by: By,
}

/// The part of a request that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Its head: no server sees a byte.
    Head,
    /// Its body: no server sees a whole request, and whoever saw a part sees that it was cut.
    Body,
}

/// The reason by which the log calls a refusal with that status.
fn reason(status: u16) -> &'static [&'static str] {
    match status {
        408 => &["header_timeout"],
        413 | 414 | 431 => &["too_large"],
        401 => &["unauthorized"],
        403 => &["forbidden"],
        429 => &["rate_limited"],
        _ => &["bad_request"],
    }
}

impl Attacked {
    /// One whose listener has this `http:` block.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(http: &str) -> Self {
        let server = Recorder::answering(|request| ok(request.target()));
        let ringgate = Ringgate::start(&format!(
            "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {http} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
        ));
        Self {
            ringgate,
            server,
            wrong: Vec::new(),
            lines: 0,
            seen: Seen::default(),
        }
    }

    /// A client's connection.
    #[must_use]
    pub fn wire(&self) -> Wire {
        Wire::over(self.ringgate.connect("web"))
    }

    /// A request that is let through: its answer is `expected`, and the log has one line more.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn let_through(&mut self, bytes: &[u8], expected: &str) {
        let mut wire = self.wire();
        let answer = wire.ask(bytes);
        if (answer.status, &answer.text()[..]) != (200, expected) {
            self.wrong.push(format!("{expected}: {answer:?}"));
        }
        self.lines += 1;
        self.all_are_counted();
        let before = std::mem::replace(&mut self.seen, Seen::of(&self.server));
        if (self.seen.heads, self.seen.whole) != (before.heads + 1, before.whole + 1) {
            let seen = &self.seen;
            let fault = format!("{expected}: the server saw {seen:?} after {before:?}");
            self.wrong.push(fault);
        }
    }

    /// Sends a bad request with another one behind it, and keeps what is not as it must be.
    ///
    /// # Panics
    /// When there have been so many faults that it is not worth while to go on: each may have taken long.
    pub fn check(&mut self, case: &Refused) {
        let is_worth_while = self.wrong.len() < FAULTS_MAX;
        assert!(is_worth_while, "too much is wrong: {:#?}", self.wrong);
        if let Err(fault) = self.refuses(case) {
            self.wrong.push(format!("{}: {fault}", case.what));
            self.seen = Seen::of(&self.server);
        }
    }

    fn refuses(&mut self, case: &Refused) -> Result<(), String> {
        let counted = self.counted_as(&case.status);
        let mut wire = self.wire();
        wire.send([&case.bytes[..], BEHIND.as_bytes()].concat());
        let answer = wire
            .try_answer("GET")
            .map_err(|error| format!("no answer: {error}"))?;
        self.lines += 1;
        let rest = wire.end();
        // Whoever has ended such a connection may wait for the other side to do so too.
        drop(wire);
        if !case.status.contains(&answer.status) {
            return Err(format!("status {}, {:?}", answer.status, answer.text()));
        }
        let reasons = reason(answer.status);
        let told = answer.reason().unwrap_or_default();
        if !reasons.contains(&&told[..]) {
            return Err(format!(
                "{}: the answer says {:?}",
                answer.status,
                answer.text()
            ));
        }
        // A head that was refused may still be written to; what counts is that no second answer comes.
        if !answer.says_close() || matches!(&rest, End::Fin(bytes) if !bytes.is_empty()) {
            return Err(format!("does not close after {:?}: {rest:?}", answer.head));
        }
        self.server_saw_none(case.by)?;
        let line = self.logged();
        if line["status"] != answer.status || !reasons.iter().any(|word| line["reason"] == *word) {
            return Err(format!("the log says {line}"));
        }
        self.all_are_counted();
        let now = self.counted_as(&case.status);
        match now - counted {
            1.0 => Ok(()),
            times => Err(format!("{} is counted {times} times", answer.status)),
        }
    }

    /// What the server received beyond what it had received before.
    fn server_saw_none(&mut self, by: By) -> Result<(), String> {
        if by == By::Body {
            // A part of it may have gone out, and the end of that is on its way.
            self.wait_for_ends();
        }
        let now = Seen::of(&self.server);
        let untouched = match by {
            By::Head => now == self.seen,
            By::Body => now.whole == self.seen.whole && now.heads <= self.seen.heads + 1,
        };
        if untouched {
            self.seen = now;
            return Ok(());
        }
        let seen: Vec<String> = self
            .server
            .connections()
            .iter()
            .map(|each| String::from_utf8_lossy(&each.bytes).into_owned())
            .collect();
        Err(format!("the server received {:?}", seen.last()))
    }

    /// Waits until the server has seen all that it was sent, and the end of each connection that is not kept.
    fn wait_for_ends(&self) {
        // Where nobody asks any more, those that are open are kept, and nothing is on its way by them.
        self.ringgate.wait_until_quiet();
        wait_until("the server sees the cut", PATIENCE, || {
            let metrics = self.ringgate.metrics();
            let of = |name: &str| metrics.value(name, &[]).unwrap_or_default() as usize;
            let connections = self.server.connections();
            let open = connections.iter().filter(|each| each.ended.is_none());
            open.count() == of("ringgate_pool_connections_active")
                && connections.len() == of("ringgate_pool_connections_total")
        });
    }

    /// Waits until every request that was answered is counted, each once.
    fn all_are_counted(&self) {
        let labels = [("listener", "web")];
        let lines = self.lines as f64;
        self.ringgate.wait_for_metric(REQUESTS, &labels, lines);
    }

    fn counted_as(&self, statuses: &[u16]) -> f64 {
        let metrics = self.ringgate.metrics();
        let of = |status: &u16| metrics.value(REQUESTS, &[("code", &status.to_string())]);
        statuses.iter().filter_map(of).sum()
    }

    fn logged(&self) -> Value {
        self.ringgate.access_log(self.lines)[self.lines - 1].clone()
    }

    /// Asserts that nothing was wrong, that the log has no line too many, that the server was never sent what stood
    /// behind a bad request, and that no head and no byte came to it later than was looked.
    ///
    /// # Panics
    /// When one of them does not hold.
    pub fn end(&self) {
        assert!(
            self.wrong.is_empty(),
            "{} wrong: {:#?}",
            self.wrong.len(),
            self.wrong
        );
        assert_eq!(self.ringgate.access_log(self.lines).len(), self.lines);
        let targets: BTreeSet<String> = self
            .server
            .received()
            .iter()
            .map(|request| request.target().to_owned())
            .collect();
        assert!(!targets.contains("/behind"), "{targets:?}");
        self.wait_for_ends();
        assert_eq!(Seen::of(&self.server), self.seen);
    }
}

/// What a server has seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    connections: usize,
    bytes: u64,
    heads: usize,
    whole: usize,
}

impl Seen {
    fn of(server: &Recorder) -> Self {
        let connections = server.connections();
        Self {
            connections: connections.len(),
            bytes: server.bytes(),
            heads: connections.iter().map(|each| each.heads).sum(),
            whole: server.received().len(),
        }
    }
}
