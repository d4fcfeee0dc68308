//! The beginning of a connection that says something of itself before its bytes are relayed: who the
//! client is (PROXY header), which name it asks for (ClientHello), who it can prove to be (TLS). All
//! of it within one deadline, from bytes of bounded number.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use ringgate_runtime::{Stream, now, timeout};
use rustls::{HandshakeKind, ProtocolVersion};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::hello::{self, Hello, Peeked};
use crate::proxy_protocol::{self, Addresses, ClientCertificate, Parsed, Tlvs};
use crate::reason::{ClosedBy, Reason};
use crate::routes::Asked;
use crate::session::{Client, Ending, Session};
use crate::snapshot::{Listener, Snapshot};
use crate::tls::{self, Failure, Tls};
use crate::wire::Wire;
use crate::worker::Local;

/// What a connection has said of itself.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The addresses that a PROXY header carried.
    pub(crate) carried: Option<Addresses>,
    /// The name it asks for.
    pub(crate) server_name: Option<Box<str>>,
    /// The protocol that was agreed on.
    pub(crate) alpn: Option<Box<[u8]>>,
    /// How TLS was ended, or why it was not.
    pub(crate) tls: Option<Encryption>,
    /// The certificate that the client has shown.
    pub(crate) shown: Option<Shown>,
    /// How long the handshake took.
    pub(crate) handshake: Option<Duration>,
    /// The route that decided.
    pub(crate) route: Option<Arc<str>>,
    /// Bytes that were heard and are for the server.
    pub(crate) heard: RefCell<Vec<u8>>,
}

/// What became of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// It goes on to the server.
    PassedThrough,
    /// It is ended here.
    Ended {
        version: &'static str,
        cipher: &'static str,
    },
    Failed(Failure),
}

/// A client's certificate, which has been verified.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Whom it is made out to, as RFC 4514 writes it.
    pub(crate) subject: Box<str>,
    common_name: Option<Box<str>>,
    /// It was shown on an earlier connection of the session.
    is_resumed: bool,
}

impl Said {
    /// What a PROXY header tells a server besides addresses.
    pub(crate) fn tlvs(&self) -> Tlvs<'_> {
        Tlvs {
            authority: self.server_name.as_deref(),
            alpn: self.alpn.as_deref(),
            tls: match self.tls {
                Some(Encryption::Ended { version, cipher }) => Some(proxy_protocol::Tls {
                    version: match version {
                        "1.2" => "TLSv1.2",
                        _ => "TLSv1.3",
                    },
                    cipher: Some(cipher),
                    client_certificate: self.shown.as_ref().map(|shown| ClientCertificate {
                        common_name: shown.common_name.as_deref(),
                        is_resumed: shown.is_resumed,
                    }),
                }),
                _ => None,
            },
        }
    }
}

impl Encryption {
    /// The word in the log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::PassedThrough => "passthrough",
            Self::Ended { version, .. } => version,
            Self::Failed(failure) => failure.word(),
        }
    }
}

impl Listener {
    /// Whether its connections say something of themselves first.
    pub(crate) fn expects_a_beginning(&self) -> bool {
        self.trusted.is_some() || self.tls.is_some() || !self.routes.is_empty()
    }

    /// Whether it has to know where its connections come from.
    pub(crate) fn asks_for_addresses(&self) -> bool {
        let asks = self.trusted.is_some() || self.routes.ask_for_client();
        asks || self.admission.asks_for_addresses()
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
            let header =
                timeout(deadline, proxy_header(&client.stream, said.heard.get_mut())).await;
            said.carried = header.unwrap_or(Err(Ending::ours(Reason::ProxyHeader)))?;
            if let Some(addresses) = &said.carried {
                session.client = Some(Client::carried(addresses));
            }
            session.admitted.admit_late(&listener, session.client)?;
        }
        let hello = if listener.routes.ask_for_hello() {
            let hello = timeout(deadline, client_hello(&client.stream, said.heard.get_mut())).await;
            hello.unwrap_or(Err(Ending::ours(Reason::TlsHandshake)))?
        } else {
            Hello::default()
        };
        let route = listener.routes.find(&Asked {
            server_name: hello.server_name.as_deref(),
            alpn: &hello.alpn,
            client: session.client.and_then(Client::ip),
        });
        let pool = route.map(|route| route.pool).or(listener.pool);
        session.pool = pool.map(|pool| snapshot.pool(pool).clone());
        said.route = route.map(|route| route.name.clone());
        said.server_name = hello.server_name.map(String::into_boxed_str);
        match &listener.tls {
            Some(termination) if route.is_none_or(|route| !route.passthrough) => {
                local.handshakes.set_max(snapshot.handshakes_max);
                if said.heard.get_mut().is_empty() {
                    let heard = hear(&client.stream, said.heard.get_mut(), Reason::TlsHandshake);
                    if let Some(heard) = timeout(deadline, heard).await {
                        heard?;
                    }
                }
                let heard = said.heard.take();
                let began = now();
                let accepting = tls::accept(termination, &local.handshakes, &client.stream, heard);
                let ended = timeout(deadline, accepting).await;
                let ended = ended.unwrap_or(Err(Failure::Timeout));
                said.handshake = Some(now().saturating_duration_since(began));
                client.tls = Some(count(local, session, ended, &mut said)?);
            }
            Some(_) => said.tls = Some(Encryption::PassedThrough),
            None => {}
        }
        match session.pool {
            Some(_) => Ok(()),
            None => Err(Ending::ours(Reason::TlsNoName)),
        }
    }
    .await;
    session.said = Some(said);
    begun
}

/// Reads a PROXY header off the front of what is heard.
async fn proxy_header(stream: &Stream, heard: &mut Vec<u8>) -> Result<Option<Addresses>, Ending> {
    loop {
        match proxy_protocol::parse(heard) {
            Parsed::Incomplete => hear(stream, heard, Reason::ProxyHeader).await?,
            Parsed::Header(header) => {
                heard.drain(..header.length);
                return Ok(header.addresses);
            }
            Parsed::Refused(_) => return Err(Ending::ours(Reason::ProxyHeader)),
        }
    }
}

/// Hears a ClientHello and leaves it where it is. Who speaks something else asks for nothing.
async fn client_hello(stream: &Stream, heard: &mut Vec<u8>) -> Result<Hello, Ending> {
    loop {
        match hello::peek(heard) {
            Peeked::Incomplete => hear(stream, heard, Reason::TlsHandshake).await?,
            Peeked::Hello(hello) => return Ok(hello),
            Peeked::NotTls => return Ok(Hello::default()),
            Peeked::Malformed => return Err(Ending::ours(Reason::TlsHandshake)),
        }
    }
}

/// Waits for more bytes. Both parsers decide before they have heard much, so what is heard stays
/// within their bounds and one receive.
async fn hear(stream: &Stream, heard: &mut Vec<u8>, reason: Reason) -> Result<(), Ending> {
    match stream.recv().await {
        Ok(chunk) if !chunk.is_empty() => {
            heard.extend_from_slice(&chunk);
            Ok(())
        }
        // Who asks whether the port is open says nothing, and nothing is wrong.
        Ok(_) if heard.is_empty() => Err(Ending {
            by: ClosedBy::Client,
            reason: Reason::Done,
        }),
        Ok(_) => Err(Ending {
            by: ClosedBy::Client,
            reason,
        }),
        Err(_) => Err(Ending {
            by: ClosedBy::Client,
            reason: Reason::ClientReset,
        }),
    }
}

/// Counts a handshake and notes what came of it.
fn count(
    local: &Local,
    session: &Session,
    ended: Result<Box<Tls>, Failure>,
    said: &mut Said,
) -> Result<Box<Tls>, Ending> {
    let took = said.handshake.unwrap_or_default();
    match ended {
        Ok(tls) => {
            local.counters().handshake.record(took);
            tls.look(|connection| note(connection, said));
            Ok(tls)
        }
        Err(failure) => {
            let counters = session.listener.counters.of(session.worker);
            counters.handshake_failures[failure as usize].add(1);
            said.tls = Some(Encryption::Failed(failure));
            let reason = match failure {
                Failure::NoName => Reason::TlsNoName,
                _ => Reason::TlsHandshake,
            };
            let by = match failure {
                Failure::Gone | Failure::Alert => ClosedBy::Client,
                _ => ClosedBy::Ringgate,
            };
            Err(Ending { by, reason })
        }
    }
}

/// Notes what a handshake has shown.
fn note(connection: &rustls::Connection, said: &mut Said) {
    if let rustls::Connection::Server(server) = connection
        && let Some(name) = server.server_name()
    {
        said.server_name = Some(name.to_ascii_lowercase().into());
    }
    said.alpn = connection.alpn_protocol().map(Into::into);
    said.shown = Shown::of(connection);
    said.tls = Some(Encryption::Ended {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        },
        cipher: connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or_default(),
    });
}

impl Shown {
    fn of(connection: &rustls::Connection) -> Option<Self> {
        /// A name that is longer is cut: it stands in every line of the log.
        const CHARACTERS_MAX: usize = 256;
        let own = connection.peer_certificates()?.first()?;
        let (_, certificate) = X509Certificate::from_der(own).ok()?;
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().next();
        Some(Self {
            subject: subject.to_string().chars().take(CHARACTERS_MAX).collect(),
            common_name: common_name
                .and_then(|name| name.as_str().ok())
                .map(Into::into),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }
}
