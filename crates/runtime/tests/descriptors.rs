//! What the runtime opens it closes. The tests count this process's descriptors, so they take turns.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use ringgate_runtime::{
    Io, Listener, ListeningSocket, Options, Runtime, Sleep, now, spawn, timeout,
};

static ALONE: Mutex<()> = Mutex::new(());

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
    a_stream_dropped_with_a_receive_in_flight_closes_its_descriptor
    a_runtime_that_ends_closes_everything_it_held
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

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn a_stream_dropped_with_a_receive_in_flight_closes_its_descriptor(io: Io) {
    let _alone = ALONE.lock().unwrap();
    let (socket, address) = listening();
    let runtime = runtime(io);
    runtime
        .block_on(async {
            let listener = Listener::new(socket).unwrap();
            let before = descriptors();
            for _ in 0..100 {
                let mut client = TcpStream::connect(address).unwrap();
                let stream = listener.accept().await.unwrap();
                assert!(timeout(now(), stream.recv()).await.is_none());
                drop(stream);
                // Turns until the cancel has ended and the descriptor is closed.
                while descriptors() > before + 1 {
                    Sleep::until(now() + Duration::from_millis(1)).wait().await;
                }
                assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
            }
            assert_eq!(descriptors(), before);
        })
        .unwrap();
}

fn a_runtime_that_ends_closes_everything_it_held(io: Io) {
    let _alone = ALONE.lock().unwrap();
    let before = descriptors();
    for _ in 0..5 {
        let (socket, address) = listening();
        let runtime = runtime(io);
        let clients: Vec<TcpStream> = runtime
            .block_on(async {
                let listener = Listener::new(socket).unwrap();
                let mut clients = Vec::new();
                for _ in 0..10 {
                    clients.push(TcpStream::connect(address).unwrap());
                    let stream = listener.accept().await.unwrap();
                    spawn(async move { drop(stream.recv().await) });
                }
                Sleep::until(now() + Duration::from_millis(10)).wait().await;
                clients
            })
            .unwrap();
        drop(runtime);
        drop(clients);
        // The kernel lets go of a ring's descriptor at once, of its memory later.
        assert_eq!(descriptors(), before);
    }
}
