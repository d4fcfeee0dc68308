//! Handshakes: a listener's with its client and ours with a server. What they compute gets the spare
//! moments of the worker, so that a flood of them leaves running relays alone.

use std::future::poll_fn;
use std::io::{self, Write};

use ringgate_balance::ServerId;
use ringgate_config::Address;
use ringgate_runtime::{Stream, spare};
use rustls::pki_types::UnixTime;
use rustls::server::{Accepted, Acceptor};
use rustls::{
    ClientConnection, HandshakeKind, PeerIncompatible, ProtocolVersion, ServerConnection,
};

use super::queue::{Displaced, Handshakes, Place};
use super::session::{Arrived, Flaw, Tls};
use super::{Clients, Origination, Termination};
use crate::counters::WorkerId;

/// Why a handshake failed: the words of `ringgate_tls_handshake_failures_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Failure {
    /// It took longer than it may.
    Timeout,
    /// The peer went away.
    Gone,
    /// What the peer sent is not TLS, or breaks its rules.
    Protocol,
    /// No version of TLS that both speak.
    Version,
    /// No cipher suite, group or signature scheme that both know.
    Parameters,
    /// None of the protocols that the peer offers (ALPN).
    Alpn,
    /// There is no certificate for the name that the client asks for.
    NoName,
    /// The peer's certificate is missing or not good.
    Certificate,
    /// The peer refused, with an alert.
    Alert,
    /// Too many are under way, and the client had been silent for longer than theirs.
    Displaced,
}

impl Failure {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Gone,
        Self::Protocol,
        Self::Version,
        Self::Parameters,
        Self::Alpn,
        Self::NoName,
        Self::Certificate,
        Self::Alert,
        Self::Displaced,
    ];

    /// The word used in the metrics and the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::Protocol => "protocol",
            Self::Version => "version",
            Self::Parameters => "parameters",
            Self::Alpn => "alpn",
            Self::NoName => "no_name",
            Self::Certificate => "certificate",
            Self::Alert => "alert",
            Self::Displaced => "displaced",
        }
    }

    fn of(error: &rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::PeerIncompatible(
                // Clients older than 1.2 have no such extension, and rustls looks for it first.
                PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::Version,
            Error::PeerIncompatible(_) => Self::Parameters,
            Error::NoApplicationProtocol => Self::Alpn,
            Error::NoCertificatesPresented
            | Error::InvalidCertificate(_)
            | Error::InvalidCertRevocationList(_) => Self::Certificate,
            Error::AlertReceived(_) => Self::Alert,
            _ => Self::Protocol,
        }
    }
}

impl From<Flaw> for Failure {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Tls(error) => Self::of(&error),
            Flaw::Gone => Self::Gone,
        }
    }
}

/// Ends TLS with a client that has been heard already; `name` becomes the one that it asks for.
///
/// # Errors
/// Why it failed; the client has been told, where the protocol has a word for it.
pub(crate) async fn accept(
    termination: &Termination,
    handshakes: &Handshakes,
    stream: &Stream,
    heard: Vec<u8>,
    name: &mut Option<Box<str>>,
) -> Result<Box<Tls>, Failure> {
    let mut arrived = Arrived::heard(heard);
    let accepted = client_hello(stream, &mut arrived).await?;
    let asked = accepted
        .client_hello()
        .server_name()
        .map(str::to_ascii_lowercase);
    *name = asked.map(Into::into);
    let knows = |name: &str| termination.certificates.cover(name);
    if termination.refuses_unknown_names && !name.as_deref().is_some_and(knows) {
        refuse_name(stream);
        return Err(Failure::NoName);
    }
    let moment = spare().await;
    let place = handshakes.begin();
    let connection = accepted.into_connection(termination.config.clone());
    let connection = connection.map_err(|(error, mut alert)| {
        let _ = alert.write_all(&mut Told(stream));
        Failure::of(&error)
    })?;
    let tls = Box::new(Tls::new(connection.into(), arrived));
    // What came in one piece with the hello.
    let stepped = tls.step(stream);
    drop(moment);
    stepped?;
    complete(&tls, stream, Some(&place)).await?;
    if let Some(clients) = &termination.clients {
        tls.look(|connection| match connection {
            rustls::Connection::Server(connection) => check_again(clients, connection),
            rustls::Connection::Client(_) => Ok(()),
        })?;
    }
    Ok(tls)
}

/// Encrypts a connection to a server.
///
/// # Errors
/// Why it failed.
pub(crate) async fn connect(
    origination: &Origination,
    worker: WorkerId,
    server: ServerId,
    stream: &Stream,
    address: &Address,
) -> Result<Box<Tls>, Failure> {
    let (config, name) = (
        origination.config(worker, server),
        origination.name(address),
    );
    let moment = spare().await;
    let connection = ClientConnection::new(config, name);
    drop(moment);
    let connection = connection.map_err(|error| Failure::of(&error))?;
    let tls = Box::new(Tls::new(connection.into(), Arrived::Nothing));
    complete(&tls, stream, None).await?;
    Ok(tls)
}

/// Waits for a client's first message.
async fn client_hello(stream: &Stream, arrived: &mut Arrived) -> Result<Accepted, Failure> {
    let mut acceptor = Acceptor::default();
    loop {
        let heard = poll_fn(|context| arrived.poll(stream, context)).await;
        heard.map_err(|_| Failure::Gone)?;
        let fed = arrived.feed(|bytes| acceptor.read_tls(bytes));
        fed.map_err(|_| Failure::Protocol)?;
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok(accepted),
            Err((error, mut alert)) => {
                let _ = alert.write_all(&mut Told(stream));
                return Err(Failure::of(&error));
            }
        }
    }
}

/// Takes a handshake to its end.
async fn complete(tls: &Tls, stream: &Stream, place: Option<&Place<'_>>) -> Result<(), Failure> {
    loop {
        let is_done = !tls.look(|connection| connection.is_handshaking());
        if is_done && tls.look(only_tickets_wait) && tls.has_said() {
            // They go with the answer. Had the client said nothing yet, it might wait for the
            // acknowledgement that comes with them (Nagle, RFC 9293 §3.7.4).
            return Ok(());
        }
        waited(place, tls.flush(stream)).await?;
        if is_done {
            return Ok(());
        }
        waited(place, tls.arrive(stream)).await?;
        let moment = spare().await;
        let stepped = tls.step(stream);
        drop(moment);
        let is_handshaking = tls.look(|connection| connection.is_handshaking());
        if stepped? && is_handshaking {
            return Err(Failure::Gone);
        }
    }
}

/// Waits for the peer, unless others need the place more.
async fn waited(
    place: Option<&Place<'_>>,
    peer: impl Future<Output = io::Result<()>>,
) -> Result<(), Failure> {
    let heard = match place {
        Some(place) => place
            .wait(peer)
            .await
            .map_err(|Displaced| Failure::Displaced)?,
        None => peer.await,
    };
    heard.map_err(|_| Failure::Gone)
}

/// Whether what is to be sent after a handshake is nothing that the peer waits for (RFC 8446 §4.6.1).
fn only_tickets_wait(connection: &mut rustls::Connection) -> bool {
    let is_server = matches!(connection, rustls::Connection::Server(_));
    is_server && connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
}

/// Checks the certificate of a resumed session as if it had been shown now: since then it may have
/// ended or been revoked.
fn check_again(clients: &Clients, connection: &ServerConnection) -> Result<(), Failure> {
    if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
        return Ok(());
    }
    match connection.peer_certificates() {
        Some([own, chain @ ..]) => {
            let verified = clients
                .verifier
                .verify_client_cert(own, chain, UnixTime::now());
            verified.map(|_| ()).map_err(|error| Failure::of(&error))
        }
        _ if clients.required => Err(Failure::Certificate),
        _ => Ok(()),
    }
}

/// Tells a client that nothing serves the name that it asks for: a fatal alert `unrecognized_name`
/// (RFC 6066 §3), before anything is encrypted. It finds room, or the client does not listen.
pub(crate) fn refuse_name(stream: &Stream) {
    const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
    let _ = Told(stream).write_all(&UNRECOGNIZED_NAME);
}

/// A stream as an alert is written to it.
struct Told<'a>(&'a Stream);

impl Write for Told<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_send(&[io::IoSlice::new(bytes)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
