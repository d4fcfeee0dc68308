//! A client's side of a TCP connection, with a bound on every wait. It never retries: what happens is what is reported.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::wait::PATIENCE;

/// A connection to `addr` whose reads and writes fail after [`PATIENCE`].
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn connect(addr: SocketAddr) -> TcpStream {
    try_connect(addr).unwrap_or_else(|error| panic!("{addr}: {error}"))
}

/// As [`connect`], where a reset may come before the connect has returned.
///
/// # Errors
/// Those of the connect.
pub fn try_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    bounded(&stream);
    Ok(stream)
}

/// Bounds the reads and writes of a stream by [`PATIENCE`] and sends without delay.
pub(crate) fn bounded(stream: &TcpStream) {
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("the timeout is not zero");
    stream
        .set_write_timeout(Some(PATIENCE))
        .expect("the timeout is not zero");
    stream
        .set_nodelay(true)
        .expect("a TCP socket takes TCP_NODELAY");
}

/// Sends all of `bytes`.
///
/// # Panics
/// When the peer does not take them.
pub fn send_all(mut stream: &TcpStream, bytes: impl AsRef<[u8]>) {
    stream
        .write_all(bytes.as_ref())
        .expect("the peer takes the bytes");
}

/// All that comes until the peer ends.
///
/// # Errors
/// `ConnectionReset` when the peer resets, `WouldBlock` when it neither sends nor ends for [`PATIENCE`].
pub fn read_to_end(mut stream: &TcpStream) -> io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether the peer has ended or reset the connection, looked at without waiting.
#[must_use]
pub fn ended(stream: &TcpStream) -> bool {
    stream
        .set_nonblocking(true)
        .expect("a socket can be non-blocking");
    let seen = stream.peek(&mut [0]);
    stream
        .set_nonblocking(false)
        .expect("a socket can be blocking");
    match seen {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Closes a connection with RST instead of FIN.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a TCP socket takes SO_LINGER");
}

/// Whether nobody listens at `addr`.
#[must_use]
pub fn refuses(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, PATIENCE)
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
