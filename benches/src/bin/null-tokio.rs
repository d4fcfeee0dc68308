//! A null relay: tokio's `copy_bidirectional` and nothing else, on one thread. The measure of what
//! an ordinary async relay costs; it has no limits, no timeouts, no counters.

use std::io;
use std::net::SocketAddr;

use ringgate_benches::{Relay, listen};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut relay = Relay::from_arguments()?;
    let listener = TcpListener::from_std(listen(relay.listen)?)?;
    Relay::announce(listener.local_addr()?);
    loop {
        let (client, _) = listener.accept().await?;
        let server = relay.next_server();
        // A side that fails ends its connection, which is all a null relay has to say.
        tokio::spawn(async move { drop(connection(client, server).await) });
    }
}

async fn connection(mut client: TcpStream, server: SocketAddr) -> io::Result<(u64, u64)> {
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await
}
