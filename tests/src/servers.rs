//! Small TCP servers of one thread per connection, well-behaved and not. They listen on 127.0.0.2: connections go out
//! from 127.0.0.1, so no outgoing port can take a server's port while it is down, and none connects to itself.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;

use socket2::{Domain, Socket, Type};

use crate::client::bounded;

/// Where servers listen; see the head of this file.
pub(crate) const SERVERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Connections that may wait for a server's accept: more than any test makes at once.
const BACKLOG: i32 = 4096;

/// How much a server reads or writes at once.
const CHUNK: usize = 64 * 1024;

/// A listening server; closed when dropped, while connections that it accepted go on.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Does `serve` for each connection, on a thread of its own; the connection is closed when it returns.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_at(Refusing::start(), serve)
    }

    /// Like [`Server::start`], where connects were refused until now.
    ///
    /// # Panics
    /// Never: the port is ours.
    pub fn start_at(
        Refusing(socket): Refusing,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Self {
        socket.listen(BACKLOG).expect("a bound socket can listen");
        let addr = address(&socket);
        let listener = TcpListener::from(socket);
        let (accepted, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let accepting = Accepting {
            accepted: accepted.clone(),
            stop: stop.clone(),
        };
        let thread = Some(std::thread::spawn(move || {
            accepting.run(&listener, Arc::new(serve))
        }));
        Self {
            addr,
            accepted,
            stop,
            thread,
        }
    }

    /// Sends everything back, and ends when the peer has ended.
    #[must_use]
    pub fn echo() -> Self {
        Self::start(|mut stream| {
            let mut buffer = vec![0; CHUNK];
            while let Ok(got @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..got]).is_err() {
                    return;
                }
            }
        })
    }

    /// Says `answer` and ends, whatever the peer does.
    #[must_use]
    pub fn saying(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::start(move |mut stream| {
            stream.write_all(answer.as_bytes()).ok();
            stream.shutdown(Shutdown::Write).ok();
            let _peer_ended = stream.read(&mut [0]);
        })
    }

    /// Says `greeting`, then nothing more until the peer ends.
    #[must_use]
    pub fn greeting(greeting: &str) -> Self {
        let greeting = greeting.to_owned();
        Self::start(move |mut stream| {
            stream.write_all(greeting.as_bytes()).ok();
            while let Ok(1..) = stream.read(&mut [0; 1024]) {}
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Relaxed)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // A connection wakes the thread out of its accept.
        TcpStream::connect(self.addr).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct Accepting {
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Accepting {
    fn run(&self, listener: &TcpListener, serve: Arc<dyn Fn(TcpStream) + Send + Sync>) {
        for stream in listener.incoming() {
            if self.stop.load(Relaxed) {
                return;
            }
            // A peer may be gone before it is accepted.
            let Ok(stream) = stream else { continue };
            self.accepted.fetch_add(1, Relaxed);
            bounded(&stream);
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    }
}

/// An address where every connect is refused for as long as it lives.
#[derive(Debug)]
pub struct Refusing(Socket);

impl Refusing {
    /// Takes a port without listening on it.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        Self(bound_socket())
    }

    /// The address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        address(&self.0)
    }
}

/// An address where every connect waits for an answer that never comes.
#[derive(Debug)]
pub struct Hanging {
    socket: Socket,
    /// Fill the accept queue for good.
    _waiting: Vec<Socket>,
}

impl Hanging {
    /// Listens with a queue of one connection and fills it: Linux answers no further SYN then.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        let socket = bound_socket();
        socket.listen(0).expect("a bound socket can listen");
        let waiting = (0..4)
            .map(|_| {
                let client =
                    Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
                client
                    .set_nonblocking(true)
                    .expect("a socket can be non-blocking");
                // In progress, for the first ones as for those that will never get through.
                client.connect(&address(&socket).into()).ok();
                client
            })
            .collect();
        Self {
            socket,
            _waiting: waiting,
        }
    }

    /// The address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        address(&self.socket)
    }
}

fn bound_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is free");
    socket
        .bind(&SocketAddr::from((SERVERS, 0)).into())
        .expect("a port is free");
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket
        .local_addr()
        .ok()
        .and_then(|addr| addr.as_socket())
        .expect("a bound socket has an address")
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use super::*;
    use crate::client::refuses;

    #[test]
    fn a_refusing_address_refuses_and_a_hanging_one_hangs() {
        assert!(refuses(Refusing::start().addr()));
        let hanging = Hanging::start();
        let outcome = TcpStream::connect_timeout(&hanging.addr(), Duration::from_millis(200));
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
