//! The flow of one admitted connection, read downward: dial, relay, close. Each stage has a file;
//! this one only puts them in order.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringgate_runtime::{Next, Race, Sleep, Stream, next_turn, now, race};

use crate::dial::{Dialled, dial, picker};
use crate::reason::{ClosedBy, Reason};
use crate::relay::relay;
use crate::session::{Ending, Session};
use crate::worker::Local;

/// Serves a connection to its end, whichever comes first: its own, or the worker's word.
pub(crate) async fn run(local: Rc<Local>, session: Session, client: Stream) {
    let server = OnceCell::new();
    let ending = match race(serve(&local, &session, &client, &server), local.cut.heard()).await {
        Race::First(ending) => ending,
        Race::Second(reason) => Ending::ours(reason),
    };
    let server = server.into_inner().map(Dialled::hang_up);
    close(&local, &session, client, server, ending).await;
}

async fn serve(
    local: &Local,
    session: &Session,
    client: &Stream,
    server: &OnceCell<Dialled>,
) -> Ending {
    let timeouts = session.listener.timeouts.overlaid(&session.pool.timeouts);
    let next = listen_first(client).await;
    let cursor = local.cursor(session.listener.pool);
    match dial(session, &timeouts, next, picker(session, &cursor)).await {
        Ok(dialled) => {
            let server = server.get_or_init(|| dialled);
            relay(session, client, server, &timeouts, local.counters()).await
        }
        Err(ending) => ending,
    }
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
    client: Stream,
    server: Option<Stream>,
    ending: Ending,
) {
    if ending.reason == Reason::Done {
        drop((client, server));
    } else {
        match (ending.by, &server) {
            (ClosedBy::Server, _) => delivered(&client).await,
            (ClosedBy::Client, Some(server)) => delivered(server).await,
            _ => {}
        }
        client.reset();
        if let Some(server) = server {
            server.reset();
        }
    }
    session.count_end(ending);
    local.counters().active.sub(1);
    local.shared.connections.fetch_sub(1, Relaxed);
    if let Some(log) = &local.log {
        log.write(session, ending);
    }
    local.left();
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
