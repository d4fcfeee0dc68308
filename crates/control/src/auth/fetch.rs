//! Fetches keys from a URL: one request on one connection, within ten seconds and 256 KiB. It follows no redirect, and
//! speaks plain HTTP with this host alone.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use ringgate_config::JwtKeys;
use ringgate_gateway::auth::{KEYS_BYTES_MAX, KeyRing};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Address;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys that are fetched.
#[derive(Debug)]
pub(super) struct Remote {
    /// Where the configuration names them first.
    pub(super) key: String,
    pub(super) keys: JwtKeys,
    pub(super) address: Address,
    pub(super) ring: Arc<KeyRing>,
}

impl Remote {
    /// What is there now, or why it cannot be had.
    pub(super) async fn fetch(&self) -> Result<Bytes, String> {
        let fetched = timeout(PATIENCE, self.exchange()).await;
        fetched.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    }

    async fn exchange(&self) -> Result<Bytes, String> {
        let stream = self.connect().await.map_err(|error| error.to_string())?;
        match &self.address.secured {
            None => self.ask(stream).await,
            Some(name) => self.ask(self.secure(stream, name.clone()).await?).await,
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let Address {
            host,
            port,
            secured,
            ..
        } = &self.address;
        let found: Vec<SocketAddr> = lookup_host((host.as_str(), *port)).await?.collect();
        let mut failure = io::Error::other(format!("{host} has no address"));
        for address in found {
            if secured.is_none() && !address.ip().is_loopback() {
                failure = io::Error::other(format!("{address} is not of this host: use https"));
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The authorities are read each time, so that a new file counts.
    async fn secure(
        &self,
        stream: TcpStream,
        name: ServerName<'static>,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + 'static, String> {
        let ca = match &self.keys {
            JwtKeys::Url { ca, .. } => ca.clone(),
            JwtKeys::File(_) => None,
        };
        let config = spawn_blocking(move || crate::tls::verifying(ca.as_deref())).await;
        let config = config.map_err(|error| error.to_string())?;
        let mut config = config.map_err(|fault| fault.what)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connected = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await;
        connected.map_err(|error| error.to_string())
    }

    async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    ) -> Result<Bytes, String> {
        let said = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        // Ended when this function is, whatever the server does.
        let _connection = Ended(spawn_local(async {
            // Its error comes out of the request too.
            let _ = connection.await;
        }));
        let request = Request::get(self.address.target.as_str())
            .header(HOST, self.address.authority.as_str())
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(USER_AGENT, "ringgate")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(said)?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => {
                return Err(format!(
                    "the answer is {status}, and redirects are not followed"
                ));
            }
            status => return Err(format!("the answer is {status}")),
        }
        let body = Limited::new(answer.into_body(), KEYS_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| format!("the answer cannot be read: {error}"))?;
        Ok(body.to_bytes())
    }
}

/// A task that ends with this.
struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}
