//! A null relay: tokio-uring reading into a buffer and writing it, on one thread. The measure of
//! the ready-made io_uring runtime; it has no limits, no timeouts, no counters.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use ringgate_benches::{Relay, listen};
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

/// As much as most proxies read at once.
const BUFFER_BYTES: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut relay = Relay::from_arguments()?;
    tokio_uring::start(async {
        let listener = TcpListener::from_std(listen(relay.listen)?);
        Relay::announce(listener.local_addr()?);
        loop {
            let (client, _) = listener.accept().await?;
            let server = relay.next_server();
            // A side that fails ends its connection, which is all a null relay has to say.
            tokio_uring::spawn(async move { drop(connection(client, server).await) });
        }
    })
}

async fn connection(client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let client = Rc::new(client);
    let server = Rc::new(TcpStream::connect(server).await?);
    server.set_nodelay(true)?;
    let upward = tokio_uring::spawn(pump(client.clone(), server.clone()));
    let downward = pump(server, client).await;
    upward.await??;
    downward
}

async fn pump(from: Rc<TcpStream>, to: Rc<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let (read, filled) = from.read(buffer).await;
        let count = read?;
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        let (written, part) = to.write_all(filled.slice(..count)).await;
        written?;
        buffer = part.into_inner();
    }
}
