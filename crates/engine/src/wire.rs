//! One end of a connection as the relay sees it: a stream, and the TLS session on it when there is
//! one. What passes here is what the peers said, never what was on the network.

use std::io::{self, IoSlice};

use ringgate_runtime::Stream;

use crate::tls::Tls;

/// A stream, with or without TLS.
pub(crate) struct Wire {
    pub(crate) stream: Stream,
    /// Boxed, it takes no room in the many connections that are plain.
    pub(crate) tls: Option<Box<Tls>>,
}

impl Wire {
    /// A stream as it is.
    pub(crate) fn plain(stream: Stream) -> Self {
        Self { stream, tls: None }
    }

    /// Takes as much of some bytes as there is room for, without waiting. What is encrypted goes out with
    /// [`Wire::flush`], and so may the rest when `more` is to come.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, otherwise those of send(2).
    pub(crate) fn take(&self, bytes: &[u8], more: bool) -> io::Result<usize> {
        match &self.tls {
            None if more => self.stream.try_send_some(bytes),
            None => self.stream.try_send(&[IoSlice::new(bytes)]),
            Some(tls) => tls.seal(bytes),
        }
    }

    /// Waits until everything taken before has gone out.
    ///
    /// # Errors
    /// Those of send(2).
    pub(crate) async fn flush(&self) -> io::Result<()> {
        match &self.tls {
            None => self.stream.push(),
            Some(tls) => tls.flush(&self.stream).await?,
        }
        Ok(())
    }

    /// Sends all of some bytes.
    ///
    /// # Errors
    /// Those of send(2).
    pub(crate) async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        if self.tls.is_none() {
            return self.stream.send_all(bytes).await;
        }
        while !bytes.is_empty() {
            bytes = &bytes[self.take(bytes, false)?..];
            self.flush().await?;
        }
        Ok(())
    }

    /// Ends the sending direction, in a way that the peer cannot mistake for a broken connection.
    ///
    /// # Errors
    /// Those of send(2).
    pub(crate) async fn finish(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            tls.close_notify();
            tls.flush(&self.stream).await?;
        }
        Ok(())
    }
}
