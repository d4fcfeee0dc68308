//! Both sides of TLS for tests, by rustls over blocking sockets: what a peer shows, accepts and is told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

use crate::client::connect;
use crate::pki::{Authority, Identity};
use crate::servers::Server;

/// A client's side of a TLS connection.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A client that keeps its sessions.
#[derive(Clone, Debug)]
pub struct TlsClient {
    config: ClientConfig,
}

impl TlsClient {
    /// One that trusts `authority` alone.
    ///
    /// # Panics
    /// When the authority is none.
    #[must_use]
    pub fn new(authority: &Authority) -> Self {
        Self::with(authority, None, rustls::DEFAULT_VERSIONS)
    }

    /// One that shows a certificate.
    ///
    /// # Panics
    /// When authority or identity are none.
    #[must_use]
    pub fn showing(authority: &Authority, identity: &Identity) -> Self {
        Self::with(authority, Some(identity), rustls::DEFAULT_VERSIONS)
    }

    /// One that speaks these versions of TLS and may show a certificate.
    ///
    /// # Panics
    /// When authority or identity are none.
    #[must_use]
    pub fn with(
        authority: &Authority,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots(authority)), provider());
        let verifier = verifier.build().expect("an authority can be trusted");
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("the versions are known")
            .with_webpki_verifier(verifier);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = parts(identity);
                config
                    .with_client_auth_cert(chain, key)
                    .expect("an identity can be shown")
            }
        };
        config.resumption = Resumption::in_memory_sessions(16);
        Self { config }
    }

    /// One that offers these protocols by ALPN.
    #[must_use]
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols
            .iter()
            .map(|each| each.as_bytes().to_vec())
            .collect();
        self
    }

    /// Its settings, for a test that speaks for itself.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Connects and ends the handshake; `name` is asked for and verified.
    ///
    /// # Errors
    /// That of the handshake.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub fn connect(&self, addr: SocketAddr, name: &str) -> io::Result<TlsStream> {
        self.over(connect(addr), name)
    }

    /// As [`TlsClient::connect`], over a connection that is there already.
    ///
    /// # Errors
    /// That of the handshake.
    ///
    /// # Panics
    /// When the name is none.
    pub fn over<S: Read + Write>(
        &self,
        mut stream: S,
        name: &str,
    ) -> io::Result<StreamOwned<ClientConnection, S>> {
        let name = ServerName::try_from(name.to_owned()).expect("a test writes a good name");
        let config = Arc::new(self.config.clone());
        let mut connection = ClientConnection::new(config, name).expect("a good configuration");
        // In TLS 1.3 the server's word on our certificate comes later, with the first bytes.
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}

/// Sends `text` and reads as many bytes back.
///
/// # Errors
/// Those of the connection.
pub fn echoed(stream: &mut TlsStream, text: &str) -> io::Result<String> {
    stream.write_all(text.as_bytes())?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What a TLS server does.
#[derive(Clone, Copy, Debug)]
pub struct ServesTls<'a> {
    /// What it shows.
    pub identity: &'a Identity,
    /// Who signs the certificates that it asks clients for.
    pub clients: Option<&'a Authority>,
    /// What it offers by ALPN.
    pub alpn: &'a [&'a str],
}

impl Server {
    /// Sends everything back over TLS, after a line with what it knows of the client: the name asked for, the
    /// protocol, whether a certificate was shown, and how the handshake went (`full` or `resumed`).
    ///
    /// # Panics
    /// When the identity is none, or no port is free.
    #[must_use]
    pub fn tls_echo(serves: ServesTls<'_>) -> Self {
        let config = server_config(serves);
        Self::start(move |stream| {
            let connection = ServerConnection::new(config.clone()).expect("a good configuration");
            let mut stream = StreamOwned::new(connection, stream);
            // A client that does not trust us ends here.
            let _ = echo(&mut stream);
        })
    }
}

fn echo(stream: &mut StreamOwned<ServerConnection, TcpStream>) -> io::Result<()> {
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
    let name = text(stream.conn.server_name().map(str::as_bytes));
    let alpn = text(stream.conn.alpn_protocol());
    let shown = if stream.conn.peer_certificates().is_some() {
        "shown"
    } else {
        "-"
    };
    let kind = match stream.conn.handshake_kind() {
        Some(rustls::HandshakeKind::Resumed) => "resumed",
        _ => "full",
    };
    stream.write_all(format!("{name} {alpn} {shown} {kind}\n").as_bytes())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let got = stream.read(&mut buffer)?;
        if got == 0 {
            stream.conn.send_close_notify();
            return stream.flush();
        }
        stream.write_all(&buffer[..got])?;
    }
}

fn server_config(serves: ServesTls<'_>) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the versions are known");
    let config = match serves.clients {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)), provider());
            config.with_client_cert_verifier(verifier.build().expect("an authority can be trusted"))
        }
    };
    let (chain, key) = parts(serves.identity);
    let mut config = config
        .with_single_cert(chain, key)
        .expect("an identity can be shown");
    config.alpn_protocols = serves
        .alpn
        .iter()
        .map(|each| each.as_bytes().to_vec())
        .collect();
    Arc::new(config)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let certificate =
        CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("an authority is PEM");
    roots
        .add(certificate)
        .expect("an authority is a certificate");
    roots
}

fn parts(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes());
    let chain = chain.collect::<Result<_, _>>().expect("a chain is PEM");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key is PEM");
    (chain, key)
}
