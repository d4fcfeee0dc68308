//! The runtime against the kernel: what is sent arrives, what is dropped is released, and what
//! runs out is waited for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use ringgate_runtime::{
    Io, Listener, ListeningSocket, Next, Options, Runtime, Sleep, SockAddr, Stream, inbox, now,
    spawn, tidy, timeout,
};
use socket2::SockRef;

/// The same tests on every driver.
macro_rules! on_each_driver {
    ($($test:ident)*) => {
        mod uring {
            $(#[test] fn $test() { super::$test(super::Io::Uring); })*
        }
        mod epoll {
            $(#[test] fn $test() { super::$test(super::Io::Epoll); })*
        }
    };
}

on_each_driver! {
    bytes_come_back_as_they_were_sent_over_many_connections
    a_receive_that_was_given_up_loses_no_byte
    slow_receivers_wait_for_buffers_and_lose_nothing
    a_refused_and_a_hanging_connect_are_told_apart
    messages_from_other_threads_arrive_in_order
    bytes_behind_urgent_data_are_received
    what_waits_when_a_listener_finishes_is_handed_over_and_newcomers_are_refused
}

fn runtime(io: Io) -> Runtime {
    Runtime::new(Options {
        io,
        buffers_max: 128,
    })
    .expect("both drivers work here")
}

/// A listener of ours on a port of the OS's choice, and that port's address.
fn listening() -> (ListeningSocket, SocketAddr) {
    let probe = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let socket = ListeningSocket::bind(address, false, 1).unwrap().remove(0);
    socket.listen().unwrap();
    (socket, address)
}

/// Echoes every connection until the runtime ends.
async fn echo(listener: Listener) {
    loop {
        let stream = listener.accept().await.unwrap();
        spawn(async move {
            loop {
                let Ok(chunk) = stream.recv().await else {
                    return;
                };
                if chunk.is_empty() {
                    stream.sent().await.ok();
                    stream.shutdown_write();
                    return;
                }
                if stream.send(chunk).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn bytes_come_back_as_they_were_sent_over_many_connections(io: Io) {
    let (socket, address) = listening();
    let runtime = runtime(io);
    let clients = std::thread::spawn(move || {
        for round in 0..50_usize {
            let mut client = TcpStream::connect(address).unwrap();
            let message: Vec<u8> = (0..round * 3001).map(|byte| byte as u8).collect();
            let copy = message.clone();
            let mut half = client.try_clone().unwrap();
            let writer = std::thread::spawn(move || {
                half.write_all(&copy).unwrap();
                half.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let mut back = Vec::new();
            client.read_to_end(&mut back).unwrap();
            writer.join().unwrap();
            assert!(back == message, "round {round}");
        }
    });
    runtime
        .block_on(async {
            spawn(echo(Listener::new(socket).unwrap()));
            while !clients.is_finished() {
                Sleep::until(now() + Duration::from_millis(10)).wait().await;
            }
        })
        .unwrap();
    clients.join().unwrap();
}

fn a_receive_that_was_given_up_loses_no_byte(io: Io) {
    let (socket, address) = listening();
    let mut client = TcpStream::connect(address).unwrap();
    let runtime = runtime(io);
    runtime
        .block_on(async {
            let listener = Listener::new(socket).unwrap();
            let stream = listener.accept().await.unwrap();
            let early = timeout(now() + Duration::from_millis(20), stream.recv()).await;
            assert!(early.is_none());
            client.write_all(b"late").unwrap();
            assert_eq!(&*stream.recv().await.unwrap(), b"late");
        })
        .unwrap();
}

fn slow_receivers_wait_for_buffers_and_lose_nothing(io: Io) {
    /// More stalled directions than there are buffers.
    const CONNECTIONS: usize = 200;
    const BYTES: usize = 3_000_000;
    let (socket, address) = listening();
    let runtime = runtime(io);
    let clients = std::thread::spawn(move || {
        let mut clients: Vec<TcpStream> = (0..CONNECTIONS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        // Everybody writes until nothing goes any more, since nobody reads the echo.
        let data = vec![7_u8; 1 << 16];
        let mut written = vec![0_usize; CONNECTIONS];
        for (client, written) in clients.iter_mut().zip(&mut written) {
            client.set_nonblocking(true).unwrap();
            while *written < BYTES {
                match client.write(&data[..data.len().min(BYTES - *written)]) {
                    Ok(n) => *written += n,
                    Err(_) => break,
                }
            }
            client.set_nonblocking(false).unwrap();
        }
        for (mut client, written) in clients.into_iter().zip(written) {
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut back = Vec::new();
            client.read_to_end(&mut back).unwrap();
            assert_eq!(back.len(), written);
        }
    });
    runtime
        .block_on(async {
            spawn(echo(Listener::new(socket).unwrap()));
            while !clients.is_finished() {
                Sleep::until(now() + Duration::from_millis(10)).wait().await;
            }
        })
        .unwrap();
    clients.join().unwrap();
}

fn a_refused_and_a_hanging_connect_are_told_apart(io: Io) {
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused: SocketAddr = refusing.local_addr().unwrap();
    drop(refusing);
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    full.listen(0).unwrap();
    let hanging = full.local_addr().unwrap();
    let _first = TcpStream::connect(hanging.as_socket().unwrap()).unwrap();
    let runtime = runtime(io);
    runtime
        .block_on(async {
            let error = Stream::connect(&SockAddr::from(refused), Next::Unknown)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            let deadline = now() + Duration::from_millis(100);
            assert!(
                timeout(deadline, Stream::connect(&hanging, Next::Unknown))
                    .await
                    .is_none()
            );
        })
        .unwrap();
}

fn messages_from_other_threads_arrive_in_order(io: Io) {
    let runtime = runtime(io);
    let sum = runtime
        .block_on(async {
            let (sender, mut inbox) = inbox::<u64>().unwrap();
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let sender = sender.clone();
                    std::thread::spawn(move || (0..1000).for_each(|number| sender.send(number)))
                })
                .collect();
            let mut sum = 0;
            for _ in 0..4000 {
                sum += inbox.recv().await;
            }
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            sum
        })
        .unwrap();
    assert_eq!(sum, 4 * 999 * 1000 / 2);
}

fn bytes_behind_urgent_data_are_received(io: Io) {
    /// Enough for a socket to count as one that is kept.
    const EXCHANGES: usize = 10;
    let (socket, address) = listening();
    runtime(io)
        .block_on(async {
            let listener = Listener::new(socket).unwrap();
            let mut client = TcpStream::connect(address).unwrap();
            let server = listener.accept().await.unwrap();
            for _ in 0..EXCHANGES {
                client.write_all(b"hello").unwrap();
                assert_eq!(&*server.recv().await.unwrap(), b"hello");
            }
            // All of it has arrived before anything is received, since this thread does both.
            client.write_all(b"before").unwrap();
            SockRef::from(&client).send_out_of_band(b"!").unwrap();
            client.write_all(b"after").unwrap();
            let mut received = Vec::new();
            while received.len() < b"beforeafter".len() {
                tidy();
                let chunk = timeout(now() + Duration::from_secs(10), server.recv()).await;
                received.extend_from_slice(&chunk.expect("nothing came").unwrap());
            }
            assert_eq!(received, b"beforeafter");
        })
        .unwrap();
}

fn what_waits_when_a_listener_finishes_is_handed_over_and_newcomers_are_refused(io: Io) {
    let (socket, address) = listening();
    let clients: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let runtime = runtime(io);
    let accepted = Rc::new(Cell::new(0));
    runtime
        .block_on(async {
            let listener = Listener::new(socket).unwrap();
            let first = listener.accept().await.unwrap();
            listener.refuse_new();
            let newcomer = TcpStream::connect_timeout(&address, Duration::from_millis(100));
            assert!(newcomer.is_err());
            let rest = listener.finish().await;
            accepted.set(1 + rest.len());
            drop((first, rest));
        })
        .unwrap();
    assert_eq!(accepted.get(), clients.len());
    assert_eq!(
        TcpStream::connect(address).unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn an_address_that_somebody_listens_on_is_refused_even_if_it_could_be_shared() {
    let (first, address) = listening();
    let second = ListeningSocket::bind(address, false, 2);
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(first);
    assert_eq!(ListeningSocket::bind(address, false, 2).unwrap().len(), 2);
}
