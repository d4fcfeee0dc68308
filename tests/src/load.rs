//! Clients that work as hard as they can and account for every exchange. They decide nothing: what counts as too many
//! failures is the test's business.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::client::{bounded, connect, read_to_end};
use crate::wait::PATIENCE;

/// Does `exchange` for every number below `count`, in `threads` threads, and returns the results in any order.
///
/// # Panics
/// When one of the exchanges does.
pub fn in_parallel<T: Send>(
    threads: usize,
    count: usize,
    exchange: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let numbers = std::iter::from_fn(|| {
            Some(next.fetch_add(1, Relaxed)).filter(|number| *number < count)
        });
        numbers.map(&exchange).collect::<Vec<T>>()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("every exchange succeeds"))
            .collect()
    })
}

/// Makes `connections` connections to `addr`, each read to its end, and counts the answers.
///
/// # Panics
/// When one of the connections fails.
pub fn answers(addr: SocketAddr, threads: usize, connections: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in in_parallel(threads, connections, |_| {
        read_to_end(&connect(addr)).expect("a whole answer")
    }) {
        *counts.entry(answer).or_default() += 1;
    }
    counts
}

/// Whether a client of a [`Load`] keeps its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// One connection for as many requests as it lasts.
    Alive,
    /// A new connection for each request.
    Fresh,
}

/// HTTP clients that ask without a pause until they are stopped, or refused.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<Failure>>>,
    clients: Vec<JoinHandle<()>>,
}

/// A request that got no whole answer, or a connection that was not made.
#[derive(Debug)]
pub struct Failure {
    /// When it was seen.
    pub at: Instant,
    /// What went wrong.
    pub error: io::Error,
    /// Whether nobody listened. A connection that was reset may seem to have failed while it was made.
    pub refused: bool,
}

impl Load {
    /// Starts `clients` clients of `addr`.
    #[must_use]
    pub fn start(addr: SocketAddr, clients: usize, keep: Keep) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failures: Arc::default(),
            clients: Vec::new(),
        };
        for _ in 0..clients {
            let client = Client {
                addr,
                keep,
                stop: load.stop.clone(),
                answered: load.answered.clone(),
                failures: load.failures.clone(),
            };
            load.clients
                .push(std::thread::spawn(move || client.ask_until_stopped()));
        }
        load
    }

    /// How many whole answers have come so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Whether every client has ended by itself.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.clients.iter().all(JoinHandle::is_finished)
    }

    /// Whether every client still works.
    #[must_use]
    pub fn works(&self) -> bool {
        !self.clients.iter().any(JoinHandle::is_finished)
    }

    /// Stops the clients after their current request and returns every failure.
    ///
    /// # Panics
    /// When a client panicked.
    #[must_use]
    pub fn stop(mut self) -> Vec<Failure> {
        self.stop.store(true, Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("clients do not panic");
        }
        std::mem::take(&mut self.failures.lock().expect("clients do not panic"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

struct Client {
    addr: SocketAddr,
    keep: Keep,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<Failure>>>,
}

impl Client {
    fn ask_until_stopped(&self) {
        let mut kept = None;
        while !self.stop.load(Relaxed) {
            let connected = match kept.take() {
                Some(stream) => Ok(stream),
                None => TcpStream::connect_timeout(&self.addr, PATIENCE)
                    .inspect(bounded)
                    .map(BufReader::new),
            };
            let mut stream = match connected {
                Ok(stream) => stream,
                Err(error) => {
                    let refused = error.kind() == ErrorKind::ConnectionRefused;
                    self.failed(error, refused);
                    if refused {
                        return;
                    }
                    continue;
                }
            };
            match ask(&mut stream, self.keep) {
                Ok(lasts) => {
                    self.answered.fetch_add(1, Relaxed);
                    kept = lasts.then_some(stream);
                }
                Err(error) => self.failed(error, false),
            }
        }
    }

    fn failed(&self, error: io::Error, refused: bool) {
        let failure = Failure {
            at: Instant::now(),
            error,
            refused,
        };
        self.failures
            .lock()
            .expect("clients do not panic")
            .push(failure);
    }
}

/// One exchange; whether the connection takes another one after it.
fn ask(stream: &mut BufReader<TcpStream>, keep: Keep) -> io::Result<bool> {
    let wish = if keep == Keep::Alive {
        "keep-alive"
    } else {
        "close"
    };
    write!(
        stream.get_mut(),
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: {wish}\r\n\r\n"
    )?;
    let (mut length, mut lasts) = (0, true);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(": ") {
            Some(("content-length", value)) => {
                length = value.parse().map_err(|_| ErrorKind::InvalidData)?;
            }
            Some(("connection", value)) => lasts = value != "close",
            None if line.is_empty() => break,
            _ => {}
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    Ok(lasts)
}
