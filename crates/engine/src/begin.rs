//! The beginning of a connection that says something of itself before its bytes are relayed: who the
//! client is (PROXY header), which name it asks for (ClientHello), who it can prove to be (TLS). All
//! of it within one deadline, from bytes of bounded number.

use ringgate_runtime::{Stream, now, timeout};

use crate::hello::{self, Hello, Peeked};
use crate::proxy_protocol::{self, Addresses, Parsed};
use crate::reason::{ClosedBy, Reason};
use crate::routes::Asked;
use crate::said::{Encryption, Said};
use crate::session::{Client, Ending, Session};
use crate::snapshot::{Listener, Snapshot};
use crate::tls::{self, Failure};
use crate::way::Side;
use crate::wire::Wire;
use crate::worker::Local;

impl Listener {
    /// Whether its connections say something of themselves first.
    pub(crate) fn expects_a_beginning(&self) -> bool {
        self.trusted.is_some() || self.tls.is_some() || !self.routes.is_empty()
    }
}

/// Takes a connection to where it can be relayed: its client admitted, TLS ended, its pool found.
///
/// # Errors
/// The end of the connection, when it may not go on.
pub(crate) async fn begin(
    local: &Local,
    snapshot: &Snapshot,
    session: &mut Session,
    client: &mut Wire,
) -> Result<(), Ending> {
    let listener = session.listener.clone();
    let deadline = session.accepted + listener.timeouts.handshake;
    let mut said = Box::<Said>::default();
    let begun = async {
        if listener.trusted.is_some() {
            let header = proxy_header(&client.stream, said.heard.get_mut());
            let header = timeout(deadline, header).await;
            said.carried = header.unwrap_or(Err(Ending::ours(Reason::ProxyHeader)))?;
            if let Some(addresses) = &said.carried {
                session.client = Some(Client::carried(addresses));
            }
            let admitted = session.admitted.admit_late(&listener, session.client);
            admitted.inspect_err(|ending| {
                let counters = listener.counters.of(session.worker);
                counters.rejected.of(ending.reason).add(1);
            })?;
        }
        let hello = if listener.routes.ask_for_hello() {
            let hello = client_hello(&client.stream, said.heard.get_mut(), &listener);
            let hello = timeout(deadline, hello)
                .await
                .unwrap_or(Err(Unheard::InTime));
            hello.map_err(|unheard| unheard.ending(session, &mut said))?
        } else {
            Hello::default()
        };
        let route = listener.routes.find(&Asked {
            server_name: hello.server_name.as_deref(),
            alpn: &hello.alpn,
            client: session.client.and_then(Client::ip),
        });
        said.route = route.map(|route| route.name.clone());
        said.server_name = hello.server_name.map(String::into_boxed_str);
        let pool = route.map(|route| route.pool).or(listener.pool);
        if pool.is_none() && listener.plugin.is_none() {
            if !listener.routes.ask_for_hello() {
                return Err(Ending::ours(Reason::DeniedAddress));
            }
            tls::refuse_name(&client.stream);
            said.tls = Some(Encryption::Failed(Failure::NoName));
            return Err(Ending::ours(Reason::TlsNoName));
        }
        match &listener.tls {
            Some(termination) if route.is_none_or(|route| !route.passthrough) => {
                local.handshakes.set_max(snapshot.handshakes_max);
                if said.heard.get_mut().is_empty() {
                    let heard = hear(&client.stream, said.heard.get_mut());
                    let heard = timeout(deadline, heard)
                        .await
                        .unwrap_or(Err(Unheard::InTime));
                    heard.map_err(|unheard| unheard.ending(session, &mut said))?;
                }
                let (began, heard) = (now(), said.heard.take());
                let name = &mut said.server_name;
                let accepting =
                    tls::accept(termination, &local.handshakes, &client.stream, heard, name);
                let ended = timeout(deadline, accepting).await;
                let took = now().saturating_duration_since(began);
                said.handshake = Some(took);
                let ended = ended.unwrap_or(Err(Failure::Timeout));
                let tls = ended.map_err(|failure| failed(failure, session, &mut said))?;
                local.counters().handshake.record(took);
                tls.look(|connection| said.note(connection));
                client.tls = Some(tls);
            }
            Some(_) => said.tls = Some(Encryption::PassedThrough),
            None => {}
        }
        // A plugin finds pools by itself, for each request one.
        let pool = pool.filter(|_| listener.plugin.is_none());
        session.pool = pool.map(|pool| snapshot.pool(pool).clone());
        Ok(())
    }
    .await;
    session.said = Some(said);
    begun
}

/// Reads a PROXY header off the front of what is heard.
async fn proxy_header(stream: &Stream, heard: &mut Vec<u8>) -> Result<Option<Addresses>, Ending> {
    loop {
        match proxy_protocol::parse(heard) {
            Parsed::Incomplete => hear(stream, heard).await.map_err(|unheard| Ending {
                by: ClosedBy::Client,
                reason: match unheard {
                    Unheard::AtAll => Reason::Done,
                    _ => Reason::ProxyHeader,
                },
            })?,
            Parsed::Header(header) => {
                heard.drain(..header.length);
                return Ok(header.addresses);
            }
            Parsed::Refused(_) => return Err(Ending::ours(Reason::ProxyHeader)),
        }
    }
}

/// Hears a ClientHello and leaves it where it is. Who speaks something else asks for nothing.
async fn client_hello(
    stream: &Stream,
    heard: &mut Vec<u8>,
    listener: &Listener,
) -> Result<Hello, Unheard> {
    loop {
        match hello::peek(heard) {
            Peeked::Incomplete => hear(stream, heard).await?,
            Peeked::Hello(hello) => return Ok(hello),
            Peeked::NotTls => return Ok(Hello::default()),
            // Where TLS is ended, it has an alert for that.
            Peeked::Malformed if listener.tls.is_some() => return Ok(Hello::default()),
            Peeked::Malformed => return Err(Unheard::Malformed),
        }
    }
}

/// Why nothing was heard that the connection could go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unheard {
    /// The client ended without a word: it asked whether the port is open.
    AtAll,
    /// It went away in the middle.
    ToTheEnd,
    InTime,
    Malformed,
}

impl Unheard {
    /// The end of a connection that should have begun with a ClientHello.
    fn ending(self, session: &Session, said: &mut Said) -> Ending {
        let failure = match self {
            Self::AtAll => return Side::Client.done(),
            Self::ToTheEnd => Failure::Gone,
            Self::InTime => Failure::Timeout,
            Self::Malformed => Failure::Protocol,
        };
        failed(failure, session, said)
    }
}

/// Waits for more bytes. Both parsers decide before they have heard much, so what is heard stays
/// within their bounds and one receive.
async fn hear(stream: &Stream, heard: &mut Vec<u8>) -> Result<(), Unheard> {
    match stream.recv().await {
        Ok(chunk) if !chunk.is_empty() => {
            heard.extend_from_slice(&chunk);
            Ok(())
        }
        Ok(_) if heard.is_empty() => Err(Unheard::AtAll),
        _ => Err(Unheard::ToTheEnd),
    }
}

/// Counts a failed handshake and notes why; the end of its connection.
fn failed(failure: Failure, session: &Session, said: &mut Said) -> Ending {
    if session.listener.tls.is_some() {
        let counters = session.listener.counters.of(session.worker);
        counters.handshake_failures[failure as usize].add(1);
    }
    said.tls = Some(Encryption::Failed(failure));
    Ending {
        by: match failure {
            Failure::Gone | Failure::Alert => ClosedBy::Client,
            _ => ClosedBy::Ringgate,
        },
        reason: match failure {
            Failure::NoName => Reason::TlsNoName,
            _ => Reason::TlsHandshake,
        },
    }
}
