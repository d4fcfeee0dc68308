//! The flow of one admitted connection, read downward: dial, relay, close. Each stage has a file;
//! this one only puts them in order.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringgate_runtime::{Next, Race, Sleep, Stream, next_turn, now, race, spawn};

use crate::begin::begin;
use crate::dial::{Dialled, dial, picker};
use crate::plugin::{Guest, Plugin};
use crate::reason::{ClosedBy, Reason};
use crate::relay::relay;
use crate::session::{Ending, Session};
use crate::snapshot::Snapshot;
use crate::way::Movement;
use crate::wire::Wire;
use crate::worker::Local;

/// Serves a connection, in a task of its own, to its end, whichever comes first: its own, or the
/// worker's word.
pub(crate) fn start(
    local: Rc<Local>,
    snapshot: Arc<Snapshot>,
    mut session: Session,
    client: Stream,
) {
    let begins = session.listener.expects_a_beginning().then_some(snapshot);
    let mut client = Wire::plain(client);
    // An `async fn` would hold its arguments twice, and so would variables made of them in here.
    spawn(async move {
        let begun = match begins {
            Some(snapshot) => {
                let begun = Box::pin(begin(&local, &snapshot, &mut session, &mut client));
                match race(begun, local.cut.heard()).await {
                    Race::First(begun) => begun,
                    Race::Second(reason) => Err(Ending::ours(reason)),
                }
            }
            None => Ok(()),
        };
        if begun.is_ok()
            && let Some(plugin) = session.listener.plugin.clone()
        {
            // Boxed, it takes no room in the connections that are relayed.
            return Box::pin(serve(local, session, client, plugin)).await;
        }
        let reached = match begun {
            Ok(()) => {
                let reached = reach(&local, &session, &client);
                match race(reached, local.cut.heard()).await {
                    Race::First(reached) => reached,
                    Race::Second(reason) => Err(Ending::ours(reason)),
                }
            }
            Err(ending) => Err(ending),
        };
        let ending = match &reached {
            Ok(server) => {
                let movement = Movement::new(&session, &client, server, local.counters());
                match race(relay(&movement), local.cut.heard()).await {
                    Race::First(ending) => ending,
                    Race::Second(reason) => Ending::ours(reason),
                }
            }
            Err(ending) => *ending,
        };
        let server = reached.ok().map(Dialled::hang_up);
        close(&local, &session, client, server, ending).await;
    });
}

/// Leaves a connection to a plugin until its end, or until the worker's word.
fn serve(
    local: Rc<Local>,
    session: Session,
    client: Wire,
    plugin: Arc<dyn Plugin>,
) -> impl Future<Output = ()> {
    let guest = Guest::new(local.clone(), session, client);
    // An `async fn` would hold its arguments twice.
    async move {
        let served = match race(plugin.serve(guest.clone()), local.cut.heard()).await {
            Race::First(served) => Some(served),
            Race::Second(_) => None,
        };
        let ending = guest.ending(served);
        let is_logged = served.is_none_or(|served| served.is_logged);
        if ending.reason != Reason::Done && !(served.is_some() && is_logged) {
            guest.client().reset_on_close();
        }
        let session = guest.session();
        note_end(&local, session, ending);
        if let Some(log) = local.log.as_ref().filter(|_| !is_logged) {
            log.write(session, ending);
        }
        local.left();
    }
}

/// Connects to a server.
async fn reach(local: &Local, session: &Session, client: &Wire) -> Result<Dialled, Ending> {
    let next = match &client.tls {
        _ if session.has_heard() => Next::Data,
        Some(tls) if tls.has_said() => Next::Data,
        Some(_) => Next::Unknown,
        None => listen_first(&client.stream).await,
    };
    let pick = picker(session, local.cursor(session.pool().id));
    dial(session, client, next, pick).await
}

/// Looks whether the client has spoken already, as most do, without waiting for it: then the
/// handshake with the server can carry its words. Otherwise its first words need no acknowledgement
/// of their own, the answer carries it.
async fn listen_first(client: &Stream) -> Next {
    client.start_recv();
    next_turn().await;
    if client.has_received() {
        return Next::Data;
    }
    client.delay_acks();
    Next::Unknown
}

/// Lets go of both sides, then counts and logs the end. An end that was not orderly must not look
/// so: both sides get a reset, the one that did not fail after it has been given what was meant for
/// it. The runtime closes each socket when nothing is in flight on it.
async fn close(
    local: &Local,
    session: &Session,
    client: Wire,
    server: Option<Wire>,
    ending: Ending,
) {
    if ending.reason == Reason::Done || session.has_been_told() {
        drop((client, server));
    } else {
        match (ending.by, &server) {
            (ClosedBy::Server, _) => delivered(&client.stream).await,
            (ClosedBy::Client, Some(server)) => delivered(&server.stream).await,
            _ => {}
        }
        client.stream.reset();
        if let Some(server) = server {
            server.stream.reset();
        }
    }
    note_end(local, session, ending);
    if let Some(log) = &local.log {
        log.write(session, ending);
    }
    local.left();
}

/// Counts the end of a connection.
fn note_end(local: &Local, session: &Session, ending: Ending) {
    session.count_end(ending);
    local.counters().active.sub(1);
    local.shared.connections.fetch_sub(1, Relaxed);
}

/// Waits a while until a side has received what was sent to it: a reset would overtake it.
async fn delivered(stream: &Stream) {
    const PATIENCE: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(5);
    let end = now() + PATIENCE;
    while stream.unacknowledged() > 0 && now() < end {
        Sleep::until(now() + PAUSE).wait().await;
    }
}
