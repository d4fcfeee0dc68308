//! Moves bytes both ways between a client and its server until both directions have ended, one
//! side fails, or nothing moves for too long. How bytes move is `way.rs`; this is when it ends.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use ringgate_runtime::{Sleep, now};

use crate::reason::Reason;
use crate::session::Ending;
use crate::way::{Broken, Movement, Side, Way};

/// Relays until the end, which it tells.
pub(crate) async fn relay(movement: &Movement<'_>) -> Ending {
    let mut upward = pin!(Way::new(movement, Side::Client).pump());
    let mut downward = pin!(Way::new(movement, Side::Server).pump());
    let silence = Silence::new(movement);
    let mut failure = None;
    let mut up_open = true;
    let mut down_open = true;
    poll_fn(move |context| {
        if up_open && let Poll::Ready(result) = upward.as_mut().poll(context) {
            up_open = false;
            if let Err(broken) = result {
                let first = *failure.get_or_insert(broken.ending());
                // A side that takes nothing more may still have something to give.
                down_open &= matches!(broken, Broken::Sending(_));
                if !down_open {
                    return Poll::Ready(first);
                }
            }
        }
        if down_open && let Poll::Ready(result) = downward.as_mut().poll(context) {
            down_open = false;
            if let Err(broken) = result {
                let first = *failure.get_or_insert(broken.ending());
                up_open &= matches!(broken, Broken::Sending(_));
                if !up_open {
                    return Poll::Ready(first);
                }
            }
        }
        if !up_open && !down_open {
            let done = movement.ended.get().map(Side::done);
            return Poll::Ready(
                failure
                    .or(done)
                    .expect("a way ends in order or by a failure"),
            );
        }
        let half_closed = !up_open || !down_open;
        let awaited = down_open && movement.awaits_first_byte();
        silence
            .poll(context, movement, half_closed, awaited)
            .map(|ended| {
                failure.unwrap_or_else(|| match ended {
                    Waited::FirstByte => Ending::ours(Reason::FirstByteTimeout),
                    Waited::AnyByte => whose_turn(up_open, down_open, movement).idle(),
                })
            })
    })
    .await
}

/// The side that everybody waited for: the only one that can still send, otherwise the one that
/// did not send last.
fn whose_turn(up_open: bool, down_open: bool, movement: &Movement<'_>) -> Side {
    match (up_open, down_open, movement.last_from.get()) {
        (true, false, _) | (true, true, Side::Server) | (false, false, _) => Side::Client,
        (false, true, _) | (true, true, Side::Client) => Side::Server,
    }
}

/// What everybody waited for in vain.
enum Waited {
    /// The server's answer to what the client has said.
    FirstByte,
    AnyByte,
}

/// The clock of a relay in which nothing moves. Movement only changes a value; the timer looks at
/// it when it fires and moves on.
struct Silence {
    timer: Sleep,
    /// Whether the client has spoken, and the timer looks for the server's answer.
    asked: Cell<bool>,
    /// When the first direction ended.
    half_closed_since: Cell<Option<Instant>>,
}

impl Silence {
    fn new(movement: &Movement<'_>) -> Self {
        Self {
            timer: Sleep::until(movement.last.get() + movement.session.timeouts().idle),
            asked: Cell::new(false),
            half_closed_since: Cell::new(None),
        }
    }

    /// Whether nothing has moved for as long as it may.
    fn poll(
        &self,
        context: &mut Context<'_>,
        movement: &Movement<'_>,
        half_closed: bool,
        awaited: bool,
    ) -> Poll<Waited> {
        if half_closed && self.half_closed_since.get().is_none() {
            self.half_closed_since.set(Some(now()));
            self.timer.reset(self.deadline(movement, awaited).0);
        }
        if awaited && !self.asked.replace(true) {
            self.timer.reset(self.deadline(movement, awaited).0);
        }
        while self.timer.poll(context).is_ready() {
            let (deadline, waited) = self.deadline(movement, awaited);
            if deadline <= now() {
                return Poll::Ready(waited);
            }
            self.timer.reset(deadline);
        }
        Poll::Pending
    }

    fn deadline(&self, movement: &Movement<'_>, awaited: bool) -> (Instant, Waited) {
        let timeouts = movement.session.timeouts();
        let last = movement.last.get();
        let any_byte = match self.half_closed_since.get() {
            None => last + timeouts.idle,
            Some(since) => last.max(since) + timeouts.half_closed,
        };
        let first_byte = last + timeouts.first_byte;
        if awaited && first_byte <= any_byte {
            (first_byte, Waited::FirstByte)
        } else {
            (any_byte, Waited::AnyByte)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::rc::Rc;

    use ringgate_runtime::{
        Io, Listener, ListeningSocket, Next, Options, Runtime, SockAddr, Stream, spawn,
    };

    use ringgate_balance::ServerId;

    use crate::dial::{Dialled, Load, Place};
    use crate::session::Session;
    use crate::snapshot::{ListenerId, Shared, testing};
    use crate::wire::Wire;

    fn listener() -> (Listener, SocketAddr) {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let socket = ListeningSocket::bind(free, false, 1).unwrap().remove(0);
        socket.listen().unwrap();
        (Listener::new(socket).unwrap(), free)
    }

    /// Both ends of a connection.
    async fn pair() -> (Stream, Stream) {
        let (listener, address) = listener();
        let ours = Stream::connect(&SockAddr::from(address), Next::Unknown)
            .await
            .unwrap();
        (ours, listener.accept().await.unwrap())
    }

    /// A client and a server with a relay between them, and a chunk for them to throw.
    async fn relayed() -> (Stream, Stream, ringgate_runtime::Chunk) {
        let ((client, client_end), (server_end, server)) = (pair().await, pair().await);
        spawn(async move {
            let snapshot = testing::snapshot();
            let session = Session::new(testing::WORKER, &snapshot, ListenerId(0), None);
            let shared = Shared::new(1);
            let worker = shared.workers.of(testing::WORKER);
            let server = session.pool().server(ServerId(0));
            let dialled = Dialled {
                wire: Wire::plain(server_end),
                place: Place::take(server, testing::WORKER),
                load: Load::take(server),
            };
            let client = Wire::plain(client_end);
            relay(&Movement::new(&session, &client, &dialled, worker)).await;
        });
        let (listener, address) = listener();
        TcpStream::connect(address)
            .unwrap()
            .write_all(b"thrown to and fro")
            .unwrap();
        let chunk = listener.accept().await.unwrap().recv().await.unwrap();
        (client, server, chunk)
    }

    #[test]
    fn a_relay_turn_allocates_nothing() {
        let runtime = Runtime::new(Options {
            io: Io::Auto,
            buffers_max: 128,
        })
        .unwrap();
        let (client, server, chunk) = runtime.block_on(relayed()).unwrap();
        let ends = Rc::new((client, server));
        let mut held = Some(chunk);
        let mut throw = |turns: usize| {
            let ends = ends.clone();
            let chunk = held.take().unwrap();
            held = Some(
                runtime
                    .block_on(async move {
                        let (client, server) = &*ends;
                        let mut chunk = chunk;
                        for _ in 0..turns {
                            client.send(chunk).await.unwrap();
                            chunk = server.recv().await.unwrap();
                            server.send(chunk).await.unwrap();
                            chunk = client.recv().await.unwrap();
                        }
                        chunk
                    })
                    .unwrap(),
            );
        };
        throw(100);
        let few = allocation_counter::measure(|| throw(10)).count_total;
        let many = allocation_counter::measure(|| throw(1010)).count_total;
        assert_eq!(many, few, "a thousand turns more");
        assert_eq!(&*held.unwrap(), b"thrown to and fro");
    }
}
