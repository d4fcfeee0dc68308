//! Connections to servers of HTTP/1 that wait for a request, of one worker: the newest is used first, so that the others
//! grow old and go. One is kept only when its request and its answer ended in order and nothing is left on it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use ringgate_engine::plugin::{Guest, Pool, ServerId, Sleep, Upstream, now, spawn};

use crate::intake::Intake;

/// Connections to one server that wait at once.
const IDLE_MAX: usize = 256;

/// How long one waits. Many servers close after less; what has been closed is noticed.
const IDLE_PATIENCE: Duration = Duration::from_secs(30);

/// How often those are looked for that have waited too long, or were closed.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// A connection to a server.
pub(crate) struct Conn {
    /// The connection.
    pub(crate) upstream: Upstream,
    /// What has arrived on it.
    pub(crate) intake: Intake,
    /// It has served a request before.
    pub(crate) is_used: bool,
    since: Instant,
}

impl Conn {
    /// One that was just connected.
    pub(crate) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            intake: Intake::default(),
            is_used: false,
            since: now(),
        }
    }

    /// Whether it has waited too long, or something has come on it: the end, or bytes that nobody asked for. To look
    /// is to receive, so that the answer is known when the next request comes.
    fn is_stale(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let heard = self.intake.poll_more(&self.upstream, &mut nobody);
        heard.is_ready() || self.since + IDLE_PATIENCE < now()
    }

    fn serves(&self, pool: &Pool, id: ServerId) -> bool {
        let before = self.upstream.pool();
        let tls = |pool: &Pool| pool.tls.as_ref().map(Arc::as_ptr);
        Arc::ptr_eq(self.upstream.server(), pool.server(id)) && tls(before) == tls(pool)
    }
}

/// The connections that wait.
#[derive(Default)]
pub(crate) struct Servers {
    /// By pool and server.
    idle: RefCell<Vec<Vec<Vec<Conn>>>>,
    sweeps: Cell<bool>,
}

impl Servers {
    /// The newest connection to a server that waits and is still good.
    pub(crate) fn take(&self, pool: &Pool, id: ServerId) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(pool.id.index())?.get_mut(id.index())?;
        while let Some(mut conn) = waiting.pop() {
            if !conn.is_stale() && conn.serves(pool, id) {
                return Some(conn);
            }
        }
        None
    }

    /// Closes all of them; whether there was one.
    pub(crate) fn let_go(&self) -> bool {
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        idle.iter().flatten().any(|waiting| !waiting.is_empty())
    }

    /// Lets a connection wait.
    pub(crate) fn keep(self: &Rc<Self>, guest: &Guest, id: ServerId, mut conn: Conn) {
        let pool = conn.upstream.pool().id.index();
        // The PROXY header has named one client: nobody else's requests may follow it.
        let names_a_client = conn.upstream.pool().proxy_protocol.is_some();
        conn.is_used = true;
        conn.since = now();
        let is_clean = conn.intake.is_empty() && !conn.intake.has_ended();
        if guest.is_draining() || !is_clean || names_a_client || conn.is_stale() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() <= pool {
            idle.resize_with(pool + 1, Vec::new);
        }
        let servers = &mut idle[pool];
        if servers.len() <= id.index() {
            servers.resize_with(id.index() + 1, Vec::new);
        }
        let waiting = &mut servers[id.index()];
        if waiting.len() == IDLE_MAX {
            waiting.remove(0);
        }
        waiting.push(conn);
        if !self.sweeps.replace(true) {
            spawn(sweep(self.clone()));
        }
    }
}

/// Closes what has waited too long or was closed, for as long as anything waits.
async fn sweep(servers: Rc<Servers>) {
    loop {
        Sleep::until(now() + SWEEP_PERIOD).wait().await;
        let mut idle = servers.idle.borrow_mut();
        let mut waiting = 0;
        for conns in idle.iter_mut().flatten() {
            conns.retain_mut(|conn| !conn.is_stale());
            waiting += conns.len();
        }
        if waiting == 0 {
            servers.sweeps.set(false);
            return;
        }
    }
}
