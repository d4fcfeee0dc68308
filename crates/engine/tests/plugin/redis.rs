//! Redis as a plugin: it answers `PING` itself, so that probes cost no server anything, and relays a connection to a
//! server of the listener's pool from its first other command on. It never looks at what a server says.

use std::sync::Arc;

use ringgate_engine::plugin::{
    ClosedBy, Guest, Plugin, Race, Reason, Served, Task, Tried, Upstream, now, race, timeout,
};

/// The two forms of the command (RESP), and its answer.
const PINGS: [&[u8]; 2] = [b"PING\r\n", b"*1\r\n$4\r\nPING\r\n"];
const PONG: &[u8] = b"+PONG\r\n";

/// The plugin of a listener.
#[derive(Debug)]
pub struct Redis;

impl Plugin for Redis {
    fn serve(self: Arc<Self>, guest: Guest) -> Task<Served> {
        Box::pin(async move {
            let (by, reason) = serve(&guest).await;
            let is_logged = false; // The engine writes its line.
            Served {
                by,
                reason,
                is_logged,
            }
        })
    }
}

/// Answers until the client wants something else, or nothing more.
async fn serve(guest: &Guest) -> (ClosedBy, Reason) {
    let client = guest.client();
    let mut heard = guest.heard();
    loop {
        while let Some(rest) = PINGS.iter().find_map(|ping| heard.strip_prefix(*ping)) {
            heard = rest.to_vec();
            if client.send_all(PONG).await.is_err() {
                return (ClosedBy::Client, Reason::ClientReset);
            }
        }
        let may_be_a_ping = PINGS.iter().any(|ping| ping.starts_with(&heard));
        if !may_be_a_ping {
            return match dial(guest).await {
                Ok(server) => {
                    let relayed = guest.relay(server, heard).await;
                    (relayed.by, relayed.reason)
                }
                Err(reason) => (ClosedBy::Ringgate, reason),
            };
        }
        let silent = now() + guest.listener().timeouts.idle;
        match race(timeout(silent, client.recv()), guest.drains()).await {
            Race::First(Some(Ok(piece))) if piece.is_empty() => {
                return (ClosedBy::Client, Reason::Done);
            }
            Race::First(Some(Ok(piece))) => heard.extend_from_slice(&piece),
            Race::First(Some(Err(_))) => return (ClosedBy::Client, Reason::ClientReset),
            Race::First(None) => return (ClosedBy::Ringgate, Reason::ClientIdle),
            Race::Second(()) => return (ClosedBy::Ringgate, Reason::Done),
        }
    }
}

/// Connects to a server, the next one where that fails.
async fn dial(guest: &Guest) -> Result<Upstream, Reason> {
    let snapshot = guest.snapshot();
    let pool = snapshot.pool(guest.listener().pool.ok_or(Reason::NoRoute)?);
    let (mut tried, mut failure) = (Tried::new(), Reason::NoServer);
    while let Some(server) = guest.pick(pool, &tried) {
        match guest.connect(pool, server).await {
            Ok(server) => return Ok(server),
            Err(reason) => failure = reason,
        }
        tried.push(server);
    }
    Err(failure)
}
