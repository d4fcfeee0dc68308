//! What exchanges and streams of bytes travel on: TCP, or TLS over it. It counts nothing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use ringgate_benches::connect;

use crate::tls::{Handshake, TlsClient, TlsStream};

/// How long nothing may move on a stream that waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection's stream of plaintext. `flush` shakes hands and sends what was written.
pub(crate) enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP; a session is large.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Connects, shakes hands and gives a stream that waits.
    ///
    /// # Errors
    /// Those of connect(2) and of the handshake.
    pub(crate) fn open(server: SocketAddr, tls: Option<&TlsClient>) -> io::Result<Self> {
        let socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut stream = Self::over(socket, tls)?;
        stream.flush()?;
        Ok(stream)
    }

    /// Starts to connect and gives a stream that never waits.
    ///
    /// # Errors
    /// Those of connect(2) that come at once.
    pub(crate) fn begin(server: SocketAddr, tls: Option<&TlsClient>) -> io::Result<Self> {
        Self::over(connect(server)?, tls)
    }

    fn over(socket: TcpStream, tls: Option<&TlsClient>) -> io::Result<Self> {
        Ok(match tls {
            Some(tls) => Self::Tls(Box::new(tls.speak(socket)?)),
            None => Self::Plain(socket),
        })
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.socket(),
        }
    }

    /// The handshake, when there is one and it has ended.
    pub(crate) fn handshake(&self) -> Option<Handshake> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.handshake(),
        }
    }

    /// Whether there may be more after a read that gave less than it was asked for: a record is
    /// mostly shorter than that.
    pub(crate) fn reads_short(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Ends this direction; the other goes on.
    ///
    /// # Errors
    /// Those of send(2) and shutdown(2).
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if let Self::Tls(tls) = self {
            tls.end()?;
        }
        self.socket().shutdown(Shutdown::Write)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
