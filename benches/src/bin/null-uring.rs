//! A null relay: Ringgate's own runtime on io_uring and nothing else, on one thread. The measure of
//! what the engine adds to it; it has no limits, no timeouts, no counters, no log.

use std::io;
use std::net::SocketAddr;

use ringgate_benches::Relay;
use ringgate_runtime::{
    Chunk, Io, Listener, ListeningSocket, Next, Options, Pipe, Runtime, Stream, spawn,
};

/// Enough for as many connections as a process has descriptors for.
const BUFFERS_MAX: usize = 20_000;

/// Receives in a row that fill their buffer before a direction is spliced, to its end.
const FULL_RECEIVES: u32 = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut relay = Relay::from_arguments()?;
    let runtime = Runtime::new(Options {
        io: Io::Uring,
        buffers_max: BUFFERS_MAX,
    })?;
    let socket = ListeningSocket::bind(relay.listen, false, 1)?.remove(0);
    socket.listen()?;
    Relay::announce(relay.listen);
    runtime.block_on(async {
        let listener = Listener::new(socket)?;
        loop {
            let client = listener.accept().await?;
            let server = relay.next_server();
            spawn(async move {
                // A side that fails ends its connection, which is all a null relay has to say.
                drop(connection(client, server).await);
            });
        }
    })?
}

async fn connection(client: Stream, server: SocketAddr) -> io::Result<()> {
    client.start_recv();
    let server = Stream::connect(&server.into(), Next::Data).await?;
    let mut upward = std::pin::pin!(pump(&client, &server));
    let mut downward = std::pin::pin!(pump(&server, &client));
    let (mut up_open, mut down_open) = (true, true);
    std::future::poll_fn(|context| {
        use std::task::Poll;
        if up_open && let Poll::Ready(result) = upward.as_mut().poll(context) {
            result?;
            up_open = false;
        }
        if down_open && let Poll::Ready(result) = downward.as_mut().poll(context) {
            result?;
            down_open = false;
        }
        match up_open || down_open {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    })
    .await
}

async fn pump(from: &Stream, to: &Stream) -> io::Result<()> {
    let mut full = 0;
    loop {
        let chunk = from.recv().await?;
        if chunk.is_empty() {
            break;
        }
        full = if chunk.len() == Chunk::BYTES_MAX {
            full + 1
        } else {
            0
        };
        to.send(chunk).await?;
        if full == FULL_RECEIVES
            && let Some(pipe) = Pipe::lease()
        {
            to.sent().await?;
            splice(from, to, pipe).await?;
            break;
        }
    }
    to.sent().await?;
    to.shutdown_write();
    Ok(())
}

async fn splice(from: &Stream, to: &Stream, mut pipe: Pipe) -> io::Result<()> {
    loop {
        match from.splice_in(&mut pipe) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => from.readable().await,
            result => drop(result?),
        }
        while !pipe.is_empty() {
            match to.splice_out(&mut pipe) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                result => drop(result?),
            }
        }
    }
}
