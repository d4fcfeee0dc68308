//! Takes connections from one listening socket and admits them, hands them to another worker or
//! turns them away, until the worker drains. When descriptors run out it pauses and goes on by itself.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringgate_runtime::{Listener, Sleep, Stream, next_turn, now, race};

use crate::admit::{Admitted, take};
use crate::connection;
use crate::dial::ran_out;
use crate::reason::{ClosedBy, Reason};
use crate::session::{Client, Ending, Session};
use crate::snapshot::{ListenerId, Snapshot};
use crate::worker::Local;

/// How long accepting pauses when descriptors or memory ran out.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a draining listener still takes connections whose handshake has begun, while new ones
/// are refused: more than most round trips.
const LAST_HANDSHAKES: Duration = Duration::from_millis(200);

/// Accepts until the worker drains; then takes what has begun, and closes the listener.
pub(crate) async fn accept(local: Rc<Local>, id: ListenerId, listener: Listener) {
    race(accept_all(&local, id, &listener), local.draining.heard()).await;
    listener.refuse_new();
    let last = Sleep::until(now() + LAST_HANDSHAKES);
    let over = race(last.wait(), local.cut.heard());
    race(accept_all(&local, id, &listener), over).await;
    for stream in listener.finish().await {
        admit(&local, id, stream);
    }
}

async fn accept_all(local: &Rc<Local>, id: ListenerId, listener: &Listener) {
    loop {
        match listener.accept().await {
            Ok(stream) => place(local, id, listener, stream),
            Err(error) if ran_out(&error) => {
                local.counters().accept_pauses.add(1);
                Sleep::until(now() + PAUSE).wait().await;
            }
            // The connection failed before it was accepted, or the network it came by (accept(2));
            // the next turn keeps even an error that lasts from taking the core.
            Err(_) => next_turn().await,
        }
    }
}

/// Serves a new connection here, or hands it to a worker that has less to do.
fn place(local: &Rc<Local>, id: ListenerId, listener: &Listener, stream: Stream) {
    let total = u64::from(local.shared.connections.load(Relaxed));
    let workers = &local.shared.workers;
    match local
        .share
        .elsewhere(workers, total, listener.is_shared(), now())
    {
        Some(worker) if local.may_hand_over() => {
            if let Some(descriptor) = stream.release() {
                local.shared.hand_over(worker, id, descriptor);
            }
        }
        _ => admit(local, id, stream),
    }
}

/// Lets a connection in when its listener admits it and the process may hold one more, otherwise
/// resets it.
pub(crate) fn admit(local: &Rc<Local>, id: ListenerId, stream: Stream) {
    let snapshot = local.snapshot();
    let asked = local.log.is_some() || snapshot.asks_for_addresses(id);
    let client = asked.then(|| Client::of(stream.peer()));
    let mut session = Session::new(local.id, &snapshot, id, client);
    let counters = session.listener.counters.of(local.id);
    match enter(local, &snapshot, &session, id) {
        Ok(admitted) => session.admitted = admitted,
        Err(ending) => {
            counters.rejected.of(ending.reason).add(1);
            if let Some(log) = &local.log {
                log.write(&session, ending);
            }
            stream.reset();
            return;
        }
    }
    counters.connections.add(1);
    counters.active.add(1);
    local.counters().active.add(1);
    connection::start(local.clone(), snapshot, session, stream);
}

/// Counts one connection more, when that may be.
fn enter(
    local: &Local,
    snapshot: &Snapshot,
    session: &Session,
    id: ListenerId,
) -> Result<Admitted, Ending> {
    let listener = &session.listener;
    if session.client == Some(Client::Gone) && snapshot.asks_for_addresses(id) {
        // Nobody could be counted, judged or named to a server.
        return Err(Ending {
            by: ClosedBy::Client,
            reason: Reason::ClientReset,
        });
    }
    let admitted = match &listener.trusted {
        Some(trusted) => Admitted::of_proxy(listener, trusted, session.client)?,
        None => Admitted::new(listener, session.client)?,
    };
    if take(&local.shared.connections, snapshot.connections_max) {
        Ok(admitted)
    } else {
        Err(Ending::ours(Reason::LimitConnections))
    }
}
