//! The flow of one admitted connection, read downward: dial, relay, close. Each stage has a file;
//! this one only puts them in order.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use ringgate_runtime::{Next, Race, Stream, next_turn, race};

use crate::dial::{dial, picker};
use crate::reason::ClosedBy;
use crate::relay::relay;
use crate::session::{Ending, Session};
use crate::worker::Local;

/// Serves a connection to its end, whichever comes first: its own, or the worker's word.
pub(crate) async fn run(local: Rc<Local>, session: Session, client: Stream) {
    let ending = match race(serve(&local, &session, client), local.cut.heard()).await {
        Race::First(ending) => ending,
        Race::Second(reason) => Ending::ours(reason),
    };
    close(&local, &session, ending);
}

async fn serve(local: &Local, session: &Session, client: Stream) -> Ending {
    let timeouts = session.listener.timeouts.overlaid(&session.pool.timeouts);
    let next = listen_first(&client).await;
    let cursor = local.cursor(session.listener.pool);
    let server = match dial(session, &timeouts, next, picker(session, &cursor)).await {
        Ok(server) => server,
        Err(ending) => {
            client.reset();
            return ending;
        }
    };
    let ending = relay(
        session,
        &client,
        &server.stream,
        server.id,
        &timeouts,
        local.counters(),
    )
    .await;
    // The end of a side that failed must not look like an orderly one to the other.
    match ending.by {
        _ if ending.reason == crate::reason::Reason::Done => {}
        ClosedBy::Client => server.stream.reset(),
        ClosedBy::Server => client.reset(),
        ClosedBy::Ringgate => {}
    }
    ending
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

/// Counts and logs the end. The sockets have been let go by now; the runtime closes each when
/// nothing is in flight on it.
fn close(local: &Local, session: &Session, ending: Ending) {
    session.count_end(ending);
    local.counters().active.sub(1);
    local.shared.connections.fetch_sub(1, Relaxed);
    if let Some(log) = &local.log {
        log.write(session, ending);
    }
    local.left();
}
