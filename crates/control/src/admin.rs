//! The operator's two doors: the unix socket, and the read-only one at `admin.http`. Both speak HTTP/1.1, one request
//! per connection, each within hard bounds, so that no client of theirs can hold up the other door or the checks.

mod answer;

use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::instance::Claim;
use crate::process::Process;

/// Connections that one door serves at once; further ones wait in the kernel's queue. Each door has its own, so the
/// socket stays usable whatever happens to the other.
const CONNECTIONS_MAX: usize = 64;

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(5),
    connection: Duration::from_secs(15),
};

/// The longest head of a request; hyper answers 431 to a longer one.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// How long a door rests when the system refuses to accept for want of descriptors or memory.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Both doors, open but not yet served.
#[derive(Debug)]
pub struct Doors {
    claim: Claim,
    http: Option<TcpListener>,
}

/// Why the door at `admin.http` cannot be opened.
#[derive(Debug)]
pub struct DoorError {
    addr: SocketAddr,
    error: io::Error,
}

impl fmt::Display for DoorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr;
        match self.error.kind() {
            ErrorKind::AddrInUse => write!(
                f,
                "another process already listens on {addr}; stop it, or set another `admin.http` (`off` closes it)"
            ),
            _ => write!(
                f,
                "cannot listen on {addr}: {}; set another `admin.http` (`off` closes it)",
                self.error
            ),
        }
    }
}

impl std::error::Error for DoorError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Doors {
    /// Opens the read-only door beside the socket that has been claimed; `http` is `None` when it is to stay closed.
    ///
    /// # Errors
    /// When its address is taken or cannot be listened on.
    pub fn open(claim: Claim, http: Option<SocketAddr>) -> Result<Doors, DoorError> {
        let http = http
            .map(|addr| listen(addr).map_err(|error| DoorError { addr, error }))
            .transpose()?;
        Ok(Doors { claim, http })
    }

    /// Serves both doors on the current local set until that ends. The claim comes back: dropping it removes the
    /// socket.
    pub(crate) fn serve(self, process: &Rc<Process>) -> io::Result<Claim> {
        let Doors { mut claim, http } = self;
        if let Some(listener) = claim.take_listener() {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            let process = Rc::clone(process);
            spawn_local(async move {
                serve_door(
                    async || listener.accept().await.map(|(stream, _)| stream),
                    Door::Socket,
                    process,
                )
                .await;
            });
        }
        if let Some(listener) = http {
            let door = Door::Http {
                is_local: listener.local_addr()?.ip().is_loopback(),
            };
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let process = Rc::clone(process);
            spawn_local(async move {
                serve_door(
                    async || listener.accept().await.map(|(stream, _)| stream),
                    door,
                    process,
                )
                .await;
            });
        }
        Ok(claim)
    }
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// From the accept to the end of the request's head.
    head: Duration,
    /// From the accept to the last byte of the answer.
    connection: Duration,
}

/// Which door a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Socket,
    Http {
        /// Only this host's own processes can reach it.
        is_local: bool,
    },
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve_door<S>(accept: impl AsyncFn() -> io::Result<S>, door: Door, process: Rc<Process>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match accept().await {
            Ok(stream) => {
                let process = Rc::clone(&process);
                spawn_local(async move {
                    serve_connection(stream, door, &process, PATIENCE).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(?door, %error, "the admin door could not accept");
                sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn serve_connection<S>(stream: S, door: Door, process: &Process, patience: Patience)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(|request| {
        let answer = answer::answer(process, door, &request);
        async { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(patience.head)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(patience.connection, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(?door, %error, "an admin connection failed"),
        Err(_elapsed) => tracing::debug!(?door, "an admin connection took too long"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::task::{LocalSet, spawn_blocking};

    use super::*;
    use crate::client;
    use crate::status::State;
    use crate::testing::{Directory, process};

    const SERVER: &str = "127.0.0.1:1";
    const LOCAL: Door = Door::Http { is_local: true };

    /// What a client that sends `request` reads until its connection ends.
    async fn exchange(process: &Process, door: Door, request: &str, patience: Patience) -> String {
        let (mut client, server) = duplex(1024);
        let talk = async {
            // The server may have closed before it has read everything.
            let _ = client.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        };
        tokio::join!(talk, serve_connection(server, door, process, patience)).0
    }

    async fn first_line_of(process: &Process, request: &str) -> String {
        let answer = exchange(process, LOCAL, request, PATIENCE).await;
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn requests_get_the_status_that_they_deserve() {
        let process = process(&[SERVER]);
        let long = "x".repeat(HEAD_BYTES_MAX);
        let many = "a: b\r\n".repeat(HEADERS_MAX + 1);
        for (request, expected) in [
            (
                "GET / HTTP/1.1\r\nHost: localhost:9900\r\n\r\n",
                "HTTP/1.1 200 OK",
            ),
            (
                "GET /live HTTP/1.1\r\nHost: [::1]:9900\r\n\r\n",
                "HTTP/1.1 200 OK",
            ),
            ("GET /live HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK"),
            (
                "GET /metrics?x=y HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                "HTTP/1.1 200 OK",
            ),
            (
                "GET /v1/status HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n",
                "HTTP/1.1 200 OK",
            ),
            (
                "GET /nothing HTTP/1.1\r\nHost: ::1\r\n\r\n",
                "HTTP/1.1 421 Misdirected Request",
            ),
            (
                "GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                "HTTP/1.1 421 Misdirected Request",
            ),
            (
                "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "HTTP/1.1 404 Not Found",
            ),
            (
                "GET /metrics/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "HTTP/1.1 404 Not Found",
            ),
            (
                "POST /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "HTTP/1.1 405 Method Not Allowed",
            ),
            ("nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            (
                &format!("GET / HTTP/1.1\r\nHost: localhost\r\nx: {long}\r\n\r\n"),
                "HTTP/1.1 431 Request Header Fields Too Large",
            ),
            (
                &format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
                "HTTP/1.1 431 Request Header Fields Too Large",
            ),
        ] {
            let shown = &request[..request.len().min(80)];
            assert_eq!(first_line_of(&process, request).await, expected, "{shown}");
        }
    }

    #[tokio::test]
    async fn a_door_to_the_network_answers_to_any_name() {
        let request = "GET /live HTTP/1.1\r\nHost: lb.example\r\n\r\n";
        for door in [Door::Socket, Door::Http { is_local: false }] {
            let answer = exchange(&process(&[SERVER]), door, request, PATIENCE).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{door:?}: {answer}");
        }
    }

    #[tokio::test]
    async fn an_answer_to_head_has_no_body() {
        let request = "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = exchange(&process(&[SERVER]), LOCAL, request, PATIENCE).await;
        assert!(
            answer.ends_with("\r\n\r\n") && answer.contains("content-length: "),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn a_refused_method_is_told_the_allowed_ones() {
        let request = "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = exchange(&process(&[SERVER]), LOCAL, request, PATIENCE).await;
        assert!(answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn ready_follows_the_state() {
        let process = process(&[SERVER]);
        for (state, status, body) in [
            (State::Starting, "503 Service Unavailable", "starting\n"),
            (State::Serving, "200 OK", "ready\n"),
            (State::Draining, "503 Service Unavailable", "draining\n"),
        ] {
            process.state.set(state);
            let answer = exchange(&process, LOCAL, "GET /ready HTTP/1.0\r\n\r\n", PATIENCE).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.0 {status}\r\n")),
                "{answer}"
            );
            assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
        }
    }

    #[tokio::test]
    async fn the_dashboard_runs_only_its_own_script() {
        let request = "GET / HTTP/1.0\r\n\r\n";
        let process = process(&[SERVER]);
        let answers = [
            exchange(&process, LOCAL, request, PATIENCE).await,
            exchange(&process, LOCAL, request, PATIENCE).await,
        ];
        let nonces = answers.each_ref().map(|answer| {
            let (_, policy) = answer.split_once("script-src 'nonce-").expect("a policy");
            policy.split('\'').next().expect("a nonce").to_owned()
        });
        assert_ne!(nonces[0], nonces[1]);
        for (answer, nonce) in answers.iter().zip(&nonces) {
            assert_eq!(answer.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
            let (_, page) = answer.split_once("\r\n\r\n").expect("a body");
            assert!(
                !page.contains("{{") && !page.contains("src="),
                "nothing is left open or fetched"
            );
        }
    }

    #[tokio::test]
    async fn a_slow_head_and_a_slow_reader_are_cut_off() {
        let process = process(&[SERVER]);
        let hasty = Duration::from_millis(30);
        let long = Duration::from_secs(600);
        let slow_head = Patience {
            head: hasty,
            connection: long,
        };
        let (mut client, server) = duplex(1024);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: lo")
            .await
            .unwrap();
        serve_connection(server, LOCAL, &process, slow_head).await;

        let slow_reader = Patience {
            head: long,
            connection: hasty,
        };
        let (mut client, server) = duplex(1024);
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        serve_connection(server, LOCAL, &process, slow_reader).await;
    }

    #[tokio::test]
    async fn a_taken_port_says_what_to_do() {
        let directory = Directory::new();
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = first.local_addr().unwrap();
        let claim = Claim::take(&directory.path("admin.sock")).unwrap();
        let refusal = Doors::open(claim, Some(addr)).unwrap_err().to_string();
        let expected = format!(
            "another process already listens on {addr}; stop it, or set another `admin.http` (`off` closes it)"
        );
        assert_eq!(refusal, expected);
        assert_eq!(directory.files(), 0, "a refused start leaves nothing");
    }

    #[tokio::test]
    async fn the_command_line_reads_the_status_over_the_socket() {
        let directory = Directory::new();
        let socket = directory.path("admin.sock");
        let process = Rc::new(process(&[SERVER]));
        process.state.set(State::Serving);
        let doors = Doors::open(Claim::take(&socket).unwrap(), None).unwrap();
        let status = LocalSet::new()
            .run_until(async {
                let _claim = doors.serve(&process).unwrap();
                spawn_blocking(move || client::status(&socket))
                    .await
                    .unwrap()
                    .unwrap()
            })
            .await;
        assert_eq!(
            (status.state, status.pid),
            (State::Serving, std::process::id())
        );
        assert_eq!(status.pools[0].servers[0].address, SERVER);
        assert_eq!(status.listeners[0].bind, [SERVER]);
        assert_eq!(status.workers.len(), 1);
    }

    #[tokio::test]
    async fn silent_clients_of_one_door_do_not_hold_up_the_other() {
        let directory = Directory::new();
        let socket = directory.path("admin.sock");
        let process = Rc::new(process(&[SERVER]));
        let http = Some("127.0.0.1:0".parse().unwrap());
        let doors = Doors::open(Claim::take(&socket).unwrap(), http).unwrap();
        let addr = doors
            .http
            .as_ref()
            .expect("it is open")
            .local_addr()
            .unwrap();
        LocalSet::new()
            .run_until(async {
                let _claim = doors.serve(&process).unwrap();
                let mut silent = Vec::new();
                for _ in 0..CONNECTIONS_MAX + 10 {
                    silent.push(tokio::net::TcpStream::connect(addr).await.unwrap());
                }
                spawn_blocking(move || client::status(&socket))
                    .await
                    .unwrap()
                    .unwrap();
            })
            .await;
    }

    #[test]
    fn a_missing_instance_is_said_to_be_missing() {
        let directory = Directory::new();
        let socket = directory.path("admin.sock");
        let refusal = client::status(&socket).unwrap_err().to_string();
        let expected = format!(
            "no ringgate serves on {}; start it, or name its socket with --admin",
            socket.display()
        );
        assert_eq!(refusal, expected);
    }
}
