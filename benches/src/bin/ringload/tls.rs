//! TLS 1.3 as a client that measures: one key exchange for all, the certificate not looked at, the
//! handshake's signature checked as every client does. It waits only where its socket does.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, NamedGroup,
    PeerIncompatible, SignatureScheme,
};

use crate::options::TlsOptions;

/// Bytes taken from the socket at once: rustls alone would ask for 4 KiB.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Tickets kept. rustls keeps eight for each server, so a thousand connections that begin together
/// could not all resume.
const TICKETS_MAX: usize = 4096;

/// What all connections of a run share: the settings and the sessions to resume.
pub(crate) struct TlsClient {
    /// Whether sessions are to be resumed.
    pub(crate) resumes: bool,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsClient {
    /// A client as asked for.
    pub(crate) fn new(options: &TlsOptions) -> Self {
        let default = aws_lc_rs::default_provider();
        let provider = CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            cipher_suites: match options.cipher {
                Some(cipher) => vec![cipher],
                None => default.cipher_suites,
            },
            ..default
        };
        let verifier = SignatureOnly {
            algorithms: provider.signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&TLS13])
            .expect("every cipher that can be asked for is one of TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = match options.resume {
            true => Resumption::store(Arc::new(Tickets::default())),
            false => Resumption::disabled(),
        };
        Self {
            resumes: options.resume,
            config: config.into(),
            name: options.sni.clone(),
        }
    }

    /// Speaks TLS on a stream, which may still be connecting.
    ///
    /// # Errors
    /// When rustls cannot make a first message.
    pub(crate) fn speak(&self, stream: TcpStream) -> io::Result<TlsStream> {
        Ok(TlsStream {
            session: self.session()?,
            stream: BufReader::with_capacity(RECEIVE_BYTES, stream),
            handshake: None,
        })
    }

    /// The first message of a handshake.
    ///
    /// # Errors
    /// When rustls cannot make one.
    pub(crate) fn hello(&self) -> io::Result<Vec<u8>> {
        let mut hello = Vec::new();
        self.session()?.write_tls(&mut hello)?;
        Ok(hello)
    }

    fn session(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(self.config.clone(), self.name.clone()).map_err(io::Error::other)
    }
}

/// A handshake that has ended.
#[derive(Clone, Copy)]
pub(crate) struct Handshake {
    /// When.
    pub(crate) ended: Instant,
    /// Whether it resumed a session.
    pub(crate) resumed: bool,
}

/// A stream of plaintext over a socket. What is written is sent by `flush`, or when it is much.
pub(crate) struct TlsStream {
    session: ClientConnection,
    stream: BufReader<TcpStream>,
    handshake: Option<Handshake>,
}

impl TlsStream {
    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// The handshake, when it has ended.
    pub(crate) fn handshake(&self) -> Option<Handshake> {
        self.handshake
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// Those of send(2).
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        self.send()
    }

    /// Goes on with the handshake until it has ended.
    fn shake(&mut self) -> io::Result<()> {
        while self.session.is_handshaking() {
            self.send()?;
            if self.receive()? == 0 && self.session.is_handshaking() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let kind = self.session.handshake_kind();
        self.handshake.get_or_insert_with(|| Handshake {
            ended: Instant::now(),
            resumed: kind == Some(HandshakeKind::Resumed),
        });
        Ok(())
    }

    /// Sends the records that are ready.
    fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(self.stream.get_mut())?;
        }
        Ok(())
    }

    /// Takes records from the socket; 0 when it has ended.
    fn receive(&mut self) -> io::Result<usize> {
        let count = self.session.read_tls(&mut self.stream)?;
        if let Err(error) = self.session.process_new_packets() {
            // The peer is told why, if it still listens; this end has failed either way.
            let _ = self.send();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.shake()?;
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.receive()?,
                result => return result,
            };
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.shake()?;
        // Nothing is sent before the session's buffer is full, so that a small request goes out
        // together with the end of the handshake.
        match self.session.writer().write(bytes)? {
            0 => {
                self.send()?;
                self.session.writer().write(bytes)
            }
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.shake()?;
        self.send()
    }
}

impl Drop for TlsStream {
    /// Takes leave as a good client does, if that can be done at once.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The tickets of the one server that a run talks to, each used once (RFC 8446 appendix C.4).
#[derive(Debug, Default)]
struct Tickets(Mutex<Vec<Tls13ClientSessionValue>>);

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _server: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() < TICKETS_MAX {
            tickets.push(ticket);
        }
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Takes every certificate. Its owner must have signed the handshake, as everywhere: a client that
/// skipped this would be faster than any real one.
#[derive(Debug)]
struct SignatureOnly {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for SignatureOnly {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
