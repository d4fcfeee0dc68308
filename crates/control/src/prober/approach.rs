//! What a check says on the connection that it has opened, in the order in which a client's connection would: a PROXY
//! header that stands for nobody, a TLS handshake, and the farewell. No byte of what the server says is looked at.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringgate_config::ProxyVersion;
use ringgate_engine::proxy_protocol::{Tlvs, v1, v2};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
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
    /// With a server that should be called so.
    pub(super) fn new(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Secured {
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;
    use std::rc::Rc;

    use ringgate_config::{Health, Plan};
    use ringgate_engine::proxy_protocol::{Parsed, parse};
    use ringgate_engine::reason::Reason;
    use rustls::ServerConfig;
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;
    use tokio_rustls::TlsAcceptor;

    use crate::prober::start;
    use crate::status::ServerState;
    use crate::testing::{Directory, facts, plan, until};
    use crate::tls::provider;
    use crate::tls::testing::{Authority, leaf, pool_plan};

    use super::*;

    /// A server that takes a PROXY header where one is expected, then ends TLS with a certificate of that authority.
    async fn serve(listener: TcpListener, authority: Rc<Authority>, expects_header: bool) {
        let made = authority.sign(leaf(&["app.internal"]));
        let config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.certificate.clone()], made.private_key())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            spawn_local(async move {
                let mut heard = Vec::new();
                let mut expected = expects_header;
                while expected {
                    heard.push(stream.read_u8().await?);
                    if let Parsed::Header(header) = parse(&heard) {
                        assert!(header.addresses.is_none());
                        expected = false;
                    }
                }
                let mut stream = acceptor.accept(stream).await?;
                stream.read_u8().await
            });
        }
    }

    /// What the checks of the only server of a plan say first.
    async fn said(
        plan: Plan,
        authority: Rc<Authority>,
        listener: TcpListener,
    ) -> (ServerState, Option<Reason>) {
        let facts = Rc::new(RefCell::new(facts(&plan, 1, 1)));
        let state = || {
            let facts = facts.borrow();
            let snapshot = facts.snapshot();
            let (_, pool) = facts.pools(&snapshot).next().unwrap();
            (pool.servers[0].state(), pool.servers[0].reason)
        };
        let expects_header = plan.pools[0].proxy_protocol.is_some();
        LocalSet::new()
            .run_until(async {
                spawn_local(serve(listener, authority, expects_header));
                start(&plan, &facts);
                until("it was checked", || state().0 != ServerState::Unknown).await;
            })
            .await;
        state()
    }

    fn patient(plan: &mut Plan) {
        let Health::Connect(check) = &mut plan.pools[0].health else {
            panic!("the plan has checks");
        };
        check.tls = true;
        check.timeout = Duration::from_secs(10);
        check.interval = Duration::from_secs(10);
    }

    #[tokio::test]
    async fn a_check_ends_with_a_handshake_that_verifies_the_server() {
        let directory = Directory::new();
        let ca = directory.path("ca.pem");
        let (ours, others) = (
            Rc::new(Authority::new("ours")),
            Rc::new(Authority::new("others")),
        );
        fs::write(&ca, &ours.pem).unwrap();
        let up = (ServerState::Up, None);
        let down = (ServerState::Down, Some(Reason::TlsHandshake));
        for (name, authority, header, expected) in [
            ("app.internal", &ours, None, up),
            ("other.internal", &ours, None, down),
            ("app.internal", &others, None, down),
            ("app.internal", &ours, Some(ProxyVersion::V1), up),
            ("app.internal", &ours, Some(ProxyVersion::V2), up),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let mut plan = pool_plan(&address, &ca, Some(name));
            plan.pools[0].proxy_protocol = header;
            patient(&mut plan);
            let said = said(plan, Rc::clone(authority), listener).await;
            assert_eq!(said, expected, "{name} {header:?}");
        }
    }

    #[tokio::test]
    async fn where_the_pool_has_no_tls_any_server_that_speaks_it_is_good() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut plan = plan(&[&listener.local_addr().unwrap().to_string()]);
        patient(&mut plan);
        let said = said(plan, Rc::new(Authority::new("any")), listener).await;
        assert_eq!(said, (ServerState::Up, None));
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_tls_is_down() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut plan = plan(&[&listener.local_addr().unwrap().to_string()]);
        patient(&mut plan);
        let facts = Rc::new(RefCell::new(facts(&plan, 1, 1)));
        let reason = || {
            let facts = facts.borrow();
            let snapshot = facts.snapshot();
            facts.pools(&snapshot).next().unwrap().1.servers[0].reason
        };
        LocalSet::new()
            .run_until(async {
                start(&plan, &facts);
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"220 hello\r\n").await.unwrap();
                until("it is down", || reason() == Some(Reason::TlsHandshake)).await;
            })
            .await;
    }
}
