//! What a check says on the connection that it has opened, in the order in which a client's connection would: a PROXY
//! header that stands for nobody, a TLS handshake, and the farewell. No byte of what the server says is looked at.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringgate_config::{Address, ProxyVersion};
use ringgate_engine::proxy_protocol::{Tlvs, v1, v2};
use rustls::ClientConfig;
use rustls::pki_types::{DnsName, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a server may take to answer the end of a check's connection, and how much it may send until then.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// What is said to a server.
#[derive(Default)]
pub(super) struct Approach {
    /// The header that says that this is a check.
    pub(super) proxy_protocol: Option<ProxyVersion>,
    /// `None` when TLS is not asked for.
    pub(super) secured: Option<Secured>,
}

/// The TLS that is asked for.
pub(super) struct Secured {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// At what an approach failed.
pub(super) enum Failed {
    Connect(io::Error),
    Header,
    Handshake(io::Error),
}

impl Secured {
    /// With the server at `address`, by `name` if it has one.
    pub(super) fn new(
        config: &Arc<ClientConfig>,
        name: Option<&ServerName<'static>>,
        address: &Address,
    ) -> Secured {
        let name = match (name, address) {
            (Some(name), _) => name.clone(),
            (None, Address::Ip(addr)) => ServerName::from(addr.ip()),
            // A unix socket is reached by this host alone.
            (None, Address::Unix(_)) => ServerName::DnsName(
                DnsName::try_from("localhost").expect("it is the name of a host"),
            ),
        };
        Secured {
            config: Arc::clone(config),
            name,
        }
    }
}

impl Approach {
    /// Says everything, and ends the connection in the background.
    pub(super) async fn make<S>(self, mut stream: S) -> Result<(), Failed>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        if let Some(version) = self.proxy_protocol {
            let header = match version {
                ProxyVersion::V1 => v1(None),
                ProxyVersion::V2 => v2(None, &Tlvs::default()),
            };
            stream
                .write_all(&header)
                .await
                .map_err(|_| Failed::Header)?;
        }
        match self.secured {
            None => drop(spawn_local(farewell(stream))),
            Some(Secured { config, name }) => {
                let secured = TlsConnector::from(config).connect(name, stream).await;
                drop(spawn_local(farewell(secured.map_err(Failed::Handshake)?)));
            }
        }
        Ok(())
    }
}

/// Ends a check's connection as an ordinary client would: our end first, then theirs.
///
/// Closing at once would reset the connection of every server that greets first (SSH, SMTP, MySQL), since a close
/// with unread bytes sends a reset (RFC 2525 §2.17), and so would `SO_LINGER` 0; servers log that and some
/// count it against the host. The price is one socket in TIME_WAIT for a minute per check, on our side.
async fn farewell(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let ended = timeout(FAREWELL, async {
        stream.shutdown().await?;
        tokio::io::copy(
            &mut (&mut stream).take(FAREWELL_BYTES_MAX),
            &mut tokio::io::sink(),
        )
        .await
    });
    // Verdict and state do not depend on how the server takes the end.
    let _ = ended.await;
}
