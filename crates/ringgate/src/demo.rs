//! The small HTTP servers of `ringgate demo`: real ones on real sockets, each on a thread of its own, so that what
//! the demo shows is what Ringgate does with any server. They never learn that a load balancer is in front of them.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

/// How long a server refuses connections after it was asked to stop.
pub(crate) const STOP: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted; the kernel's own bound holds below it.
const BACKLOG: u32 = 4096;

/// How long a server waits before it tries again what the system refused for now.
const PAUSE: Duration = Duration::from_millis(100);

/// A server that runs until the process ends.
#[derive(Debug)]
pub(crate) struct DemoServer {
    /// What it says it is.
    pub(crate) name: &'static str,
    /// Where it listens: on the loopback, at a port that the system chose.
    pub(crate) address: SocketAddr,
}

impl DemoServer {
    /// Starts a server on a thread of its own; it accepts when this returns.
    ///
    /// # Errors
    /// When the system gives no socket or no thread.
    pub(crate) fn start(name: &'static str) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _within = runtime.enter();
            reserve((Ipv4Addr::LOCALHOST, 0).into())?.listen(BACKLOG)?
        };
        let address = listener.local_addr()?;
        thread::Builder::new()
            .name(format!("server-{name}"))
            .spawn(move || LocalSet::new().block_on(&runtime, live(name, listener, address)))?;
        Ok(Self { name, address })
    }
}

/// Serves, stops when asked to, and comes back.
async fn live(name: &'static str, mut listener: TcpListener, address: SocketAddr) {
    loop {
        serve_until_stopped(name, &listener).await;
        drop(listener);
        // A socket that is bound but does not listen refuses connections, and nobody else is given its port.
        let reserved = persist(|| reserve(address)).await;
        sleep(STOP).await;
        drop(reserved);
        listener = persist(|| reserve(address)?.listen(BACKLOG)).await;
    }
}

/// Answers until a client asks for a stop, then leaves every connection as a dying server would.
async fn serve_until_stopped(name: &'static str, listener: &TcpListener) {
    let stop = Rc::new(Notify::new());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.notified() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn_local(converse(name, stream, Rc::clone(&stop))); }
                Err(_) => sleep(PAUSE).await,
            },
        }
    }
}

/// One connection, with as many requests as the client likes.
async fn converse(name: &'static str, stream: TcpStream, stop: Rc<Notify>) {
    let _ = stream.set_nodelay(true);
    let asked_to_stop = Cell::new(false);
    let answer = |request: Request<Incoming>| {
        let stopping = request.method() == Method::POST && request.uri().path() == "/stop";
        asked_to_stop.set(asked_to_stop.get() || stopping);
        let response = if stopping {
            farewell(name)
        } else {
            Response::new(hello(name, request.headers().get("x-consumer")))
        };
        async { Ok::<_, Infallible>(response) }
    };
    // A client that breaks off or makes no sense is its own problem here.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await;
    if asked_to_stop.get() {
        stop.notify_one();
    }
}

/// The usual answer; a gateway in front tells who asks.
fn hello(name: &str, consumer: Option<&HeaderValue>) -> String {
    match consumer.and_then(|consumer| consumer.to_str().ok()) {
        Some(consumer) => format!("hello {consumer}, from server {name}\n"),
        None => format!("hello from server {name}\n"),
    }
}

/// The last answer before a stop; the connection ends with it.
fn farewell(name: &str) -> Response<String> {
    let mut response = Response::new(format!(
        "server {name} refuses connections for {} s\n",
        STOP.as_secs()
    ));
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A socket with this address that does not listen yet.
fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What `attempt` gives as soon as it succeeds.
async fn persist<T>(attempt: impl Fn() -> io::Result<T>) -> T {
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(_) => sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream as Client;
    use std::time::Instant;

    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut client = Client::connect(address).unwrap();
        client
            .write_all(format!("{request}\r\nHost: demo\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_server_says_its_name_and_refuses_once_it_was_stopped() {
        let server = DemoServer::start("a").unwrap();
        assert!(ask(server.address, "GET / HTTP/1.1").ends_with("hello from server a\n"));
        let of_alice = "GET / HTTP/1.1\r\nX-Consumer: alice";
        assert!(ask(server.address, of_alice).ends_with("hello alice, from server a\n"));
        assert!(
            ask(server.address, "POST /stop HTTP/1.1")
                .ends_with("server a refuses connections for 10 s\n")
        );
        // What is queued when it stops is reset.
        let begun = Instant::now();
        let is_refused = || {
            let tried = Client::connect(server.address);
            tried.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        };
        while !is_refused() {
            assert!(begun.elapsed() < Duration::from_secs(5), "it still listens");
            thread::yield_now();
        }
    }
}
