//! Active checks: one small endless task per server opens a connection on the server's own schedule, where the plan
//! asks for it up to the end of a TLS handshake, and reports what it found. It never runs on a worker, never sends a
//! byte of its own, and never blames a server for a shortage of ours.

mod approach;

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use ringgate_balance::{PoolId, ServerId, spread};
use ringgate_config::{Address, Health, HealthCheck, Plan, ProxyVersion};
use ringgate_engine::reason::Reason;
use rustls::ClientConfig;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::approach::{Approach, Failed, Secured};
use crate::facts::{Facts, Finding};
use crate::tls;

/// First checks start this far apart, so that a large pool does not begin with one burst of connects.
const FIRST_CHECKS_APART: Duration = Duration::from_millis(1);

/// A unix socket whose queue is full answers at once instead of queueing the connect; it is asked again after this.
const UNIX_QUEUE_FULL_RETRY: Duration = Duration::from_millis(20);

/// Starts a task for every server that is to be checked. The tasks end with the local set that this is called in.
pub(crate) fn start(plan: &Plan, facts: &Rc<RefCell<Facts>>) {
    let mut first = Duration::ZERO;
    let unverified = tls::unverified()
        .inspect_err(|error| tracing::error!(%error, "checks cannot speak TLS"))
        .ok();
    for (pool_id, pool) in (0..).map(PoolId).zip(&plan.pools) {
        let Health::Connect(check) = pool.health else {
            continue;
        };
        for (server_id, server) in (0..).map(ServerId).zip(&pool.servers) {
            let server_checks = Checks {
                pool: pool_id,
                server: server_id,
                address: check.address_of(server),
                check,
                proxy_protocol: pool.proxy_protocol,
                unverified: unverified.clone(),
            };
            spawn_local(server_checks.run(first.min(check.interval), Rc::clone(facts)));
            first += FIRST_CHECKS_APART;
        }
    }
}

/// The checks of one server.
struct Checks {
    pool: PoolId,
    server: ServerId,
    address: Address,
    check: HealthCheck,
    proxy_protocol: Option<ProxyVersion>,
    /// How TLS is spoken where the pool does not say; `None` when it cannot be.
    unverified: Option<Arc<ClientConfig>>,
}

/// What one check says about the server.
#[derive(Debug)]
enum Verdict {
    Good,
    Bad(Reason),
    /// It accepts, but there is no TLS with it, and why.
    Insecure(io::Error),
    /// Nothing: this process lacked what it takes to connect.
    Unclear(io::Error),
}

impl Checks {
    async fn run(self, first: Duration, facts: Rc<RefCell<Facts>>) {
        let mut history = History::default();
        sleep(first).await;
        loop {
            let begun = Instant::now();
            let approach = self.approach(&facts.borrow());
            let verdict = check(&self.address, self.check.timeout, history.reached, approach).await;
            let took = begun.elapsed();
            match verdict {
                Verdict::Good => {
                    history = History {
                        reached: true,
                        ..History::default()
                    };
                    self.report(&facts, Ok(()), took);
                }
                Verdict::Bad(reason) => {
                    history.unclear = false;
                    self.report(&facts, Err(reason), took);
                }
                Verdict::Insecure(error) => {
                    if !history.insecure {
                        tracing::warn!(address = %self.address, %error, "the TLS handshake of a check failed");
                    }
                    history.unclear = false;
                    history.insecure = true;
                    self.report(&facts, Err(Reason::TlsHandshake), took);
                }
                Verdict::Unclear(error) => {
                    if !history.unclear {
                        tracing::warn!(address = %self.address, %error, "a check could not be made; the server keeps its state");
                    }
                    history.unclear = true;
                }
            }
            sleep_until(begun + spread(self.check.interval, random())).await;
        }
    }

    /// What is said to the server, by what is known now of its pool.
    fn approach(&self, facts: &Facts) -> Approach {
        let pool = facts.material().pool(self.pool.index());
        let secured = match (pool, &self.unverified) {
            _ if !self.check.tls => None,
            (Some(pool), _) => {
                let name = pool.origination.name(&self.address);
                Some(Secured::new(&pool.checks, name))
            }
            // Nobody is verified.
            (None, Some(config)) => Some(Secured::new(config, ringgate_engine::tls::local())),
            (None, None) => None,
        };
        Approach {
            proxy_protocol: self.proxy_protocol,
            secured,
        }
    }

    fn report(&self, facts: &RefCell<Facts>, verdict: Result<(), Reason>, took: Duration) {
        facts
            .borrow_mut()
            .observe(self.pool, self.server, Finding { verdict, took });
    }
}

/// What is remembered of earlier checks of a server.
#[derive(Default)]
struct History {
    /// One of them succeeded.
    reached: bool,
    /// The newest could not be made, which has been logged.
    unclear: bool,
    /// A handshake failed since one was good, which has been logged.
    insecure: bool,
}

/// Opens a connection, says what there is to say and gives the verdict; the connection is ended in the background.
async fn check(address: &Address, limit: Duration, reached: bool, approach: Approach) -> Verdict {
    let connected = Cell::new(false);
    let made = timeout(limit, async {
        match address {
            Address::Ip(addr) => {
                let stream = TcpStream::connect(addr).await.map_err(Failed::Connect)?;
                connected.set(true);
                approach.make(stream).await
            }
            Address::Unix(path) => loop {
                match UnixStream::connect(path).await {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        sleep(UNIX_QUEUE_FULL_RETRY).await;
                    }
                    Err(error) => break Err(Failed::Connect(error)),
                    Ok(stream) => {
                        connected.set(true);
                        break approach.make(stream).await;
                    }
                }
            },
        }
    });
    match made.await {
        Ok(Ok(())) => Verdict::Good,
        Ok(Err(Failed::Connect(error))) => verdict_on(error, reached),
        Ok(Err(Failed::Header)) => Verdict::Bad(Reason::ConnectError),
        Ok(Err(Failed::Handshake(error))) => Verdict::Insecure(error),
        Err(_elapsed) if connected.get() => Verdict::Insecure(ErrorKind::TimedOut.into()),
        Err(_elapsed) => Verdict::Bad(Reason::ConnectTimeout),
    }
}

/// What a failed connect says; `reached` tells whether an earlier one succeeded.
fn verdict_on(error: io::Error, reached: bool) -> Verdict {
    match error.raw_os_error().map(Errno::from_raw) {
        // Descriptors or memory ran out: socket(2), connect(2).
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EAGAIN) => {
            Verdict::Unclear(error)
        }
        // All local ports towards the server are taken: the more traffic it gets the likelier, so it must not take
        // the server away. Where no connect ever succeeded, this host lacks the address family.
        Some(Errno::EADDRNOTAVAIL) if reached => Verdict::Unclear(error),
        Some(Errno::ECONNREFUSED) => Verdict::Bad(Reason::ConnectRefused),
        Some(Errno::ETIMEDOUT) => Verdict::Bad(Reason::ConnectTimeout),
        _ => Verdict::Bad(Reason::ConnectError),
    }
}

/// A number that is different each time; good enough to spread checks by.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpSocket, UnixListener};
    use tokio::task::LocalSet;

    use super::*;
    use crate::status::ServerState;
    use crate::testing::{Directory, facts, plan, until};

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(50);

    async fn verdict_of(address: Address, limit: Duration) -> Verdict {
        LocalSet::new()
            .run_until(check(&address, limit, false, Approach::default()))
            .await
    }

    /// A TCP socket on a port of its own, not yet listening.
    fn tcp_socket() -> (TcpSocket, Address) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = Address::Ip(socket.local_addr().unwrap());
        (socket, address)
    }

    #[tokio::test]
    async fn a_server_that_accepts_is_good() {
        let (socket, address) = tcp_socket();
        let _listener = socket.listen(1).unwrap();
        assert!(matches!(verdict_of(address, LONG).await, Verdict::Good));
    }

    #[tokio::test]
    async fn a_port_without_a_listener_is_refused() {
        let (_bound_only, address) = tcp_socket();
        assert!(matches!(
            verdict_of(address, LONG).await,
            Verdict::Bad(Reason::ConnectRefused)
        ));
    }

    #[tokio::test]
    async fn a_server_with_a_full_queue_times_out() {
        let (socket, address) = tcp_socket();
        let listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        let addr = listener.local_addr().unwrap();
        while let Ok(connected) = timeout(SHORT, TcpStream::connect(addr)).await {
            queued.push(connected.unwrap());
        }
        assert!(matches!(
            verdict_of(address, SHORT).await,
            Verdict::Bad(Reason::ConnectTimeout)
        ));
    }

    #[tokio::test]
    async fn a_unix_server_with_a_full_queue_times_out() {
        let directory = Directory::new();
        let path = directory.path("server.sock");
        let socket = tokio::net::UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        let _listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        while let Ok(connected) = UnixStream::connect(&path).await {
            queued.push(connected);
        }
        let verdict = verdict_of(Address::Unix(path), SHORT).await;
        assert!(
            matches!(verdict, Verdict::Bad(Reason::ConnectTimeout)),
            "{verdict:?}"
        );
    }

    #[test]
    fn a_shortage_of_ours_is_no_verdict_on_the_server() {
        for errno in [
            Errno::EMFILE,
            Errno::ENFILE,
            Errno::ENOBUFS,
            Errno::EADDRNOTAVAIL,
        ] {
            let verdict = verdict_on(errno.into(), true);
            assert!(matches!(verdict, Verdict::Unclear(_)), "{errno}");
        }
        for errno in [
            Errno::EHOSTUNREACH,
            Errno::ENETUNREACH,
            Errno::ENOENT,
            Errno::EADDRNOTAVAIL,
        ] {
            let verdict = verdict_on(errno.into(), false);
            assert!(
                matches!(verdict, Verdict::Bad(Reason::ConnectError)),
                "{errno}"
            );
        }
    }

    #[tokio::test]
    async fn a_server_that_greets_first_sees_an_orderly_end() {
        let (socket, address) = tcp_socket();
        let listener = socket.listen(1).unwrap();
        let ended = LocalSet::new()
            .run_until(async {
                let verdict = check(&address, LONG, false, Approach::default()).await;
                assert!(matches!(verdict, Verdict::Good));
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(b"220 hello\r\n").await.unwrap();
                let mut byte = [0];
                timeout(LONG, stream.read(&mut byte)).await.unwrap()
            })
            .await;
        assert_eq!(ended.unwrap(), 0, "an end of stream, not a reset");
    }

    #[tokio::test]
    async fn a_server_that_dies_and_comes_back_is_followed() {
        let directory = Directory::new();
        let path = directory.path("server.sock");
        let plan = plan(&[&format!("unix:{}", path.display())]);
        let facts = Rc::new(RefCell::new(facts(&plan, 1, 1)));
        let state = || {
            let facts = facts.borrow();
            let snapshot = facts.snapshot();
            let server = &facts
                .pools(&snapshot)
                .next()
                .expect("the plan has a pool")
                .1
                .servers[0];
            (server.state(), server.reason)
        };
        let listener = UnixListener::bind(&path).unwrap();
        LocalSet::new()
            .run_until(async {
                start(&plan, &facts);
                until("it is up", || state() == (ServerState::Up, None)).await;
                drop(listener);
                until("it is down", || {
                    state() == (ServerState::Down, Some(Reason::ConnectRefused))
                })
                .await;
                std::fs::remove_file(&path).unwrap();
                let _listener = UnixListener::bind(&path).unwrap();
                until("it is up again", || state() == (ServerState::Up, None)).await;
            })
            .await;
        assert_eq!(
            facts.borrow().snapshot().generation,
            4,
            "three changes, three snapshots"
        );
    }
}
