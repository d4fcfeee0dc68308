//! One direction of a relay in which at least one side speaks TLS. What it decrypts or receives it
//! encrypts or sends straight away, and copies nothing itself. rustls 0.23 copies once to encrypt and
//! twice to decrypt: into a buffer of its own, and each record out of it. Measured with records of 16 KiB
//! as CPU time to this: its unbuffered interface 1.00 to 1.08, with buffers of the same size, and it copies
//! twice to encrypt; receiving straight into its buffer 0.99 to 1.09, of 4 KiB 1.33.

use std::io;

use ringgate_runtime::{Chunk, next_turn};

use super::{Broken, CHUNKS_PER_TURN, Way};
use crate::tls::{Spoken, Tls};

/// What is sent as one of what has arrived, if there is so much. CPU time to Envoy for requests of 1 MiB:
/// each record of 16 KiB for itself 1.72, pieces of 256 KiB 1.07, of 1 MiB 0.95 to 1.07.
const BATCH_BYTES: usize = 1024 * 1024;

/// Bytes that a direction moves before other connections get their turn, as without TLS.
const BYTES_PER_TURN: usize = CHUNKS_PER_TURN as usize * Chunk::BYTES_MAX;

impl Way<'_> {
    /// Moves everything to the end of the direction, and passes the end on.
    ///
    /// # Errors
    /// When a side fails, or ends in a way that may hide missing bytes.
    pub(super) async fn pump_secured(self) -> Result<(), Broken> {
        let mut since_turn = 0;
        loop {
            if since_turn >= BYTES_PER_TURN {
                since_turn = 0;
                next_turn().await;
            }
            let moved = match &self.from().tls {
                Some(tls) => self.decrypt(tls).await?,
                None => self.encrypt().await?,
            };
            if moved == 0 {
                break;
            }
            since_turn += moved;
            if let Some(turn) = self.movement.afford(moved) {
                turn.await;
            }
        }
        if self.from().stream.send_failed() {
            return Err(self.receiving_failed());
        }
        let finished = self.to().finish().await;
        finished.map_err(|_| self.sending_failed())?;
        self.end();
        Ok(())
    }

    /// Moves what one receive gives to a side that encrypts; 0 at the end.
    async fn encrypt(self) -> Result<usize, Broken> {
        let chunk = self.from().stream.recv().await;
        let chunk = chunk.map_err(|_| self.receiving_failed())?;
        let taken = self.to().take(&chunk, false);
        taken.map_err(|_| self.sending_failed())?;
        self.moved(chunk.len(), &self.movement.worker.tls_bytes);
        self.flush().await?;
        Ok(chunk.len())
    }

    /// Moves what has been decrypted; 0 at the end.
    async fn decrypt(self, tls: &Tls) -> Result<usize, Broken> {
        match tls.hear(&self.from().stream).await {
            Ok(Spoken::Bytes) => {}
            Ok(Spoken::End) => return Ok(0),
            Err(_) => return Err(self.receiving_failed()),
        }
        let bandwidth = self.movement.session.listener.bandwidth.as_ref();
        let batch = bandwidth.map_or(BATCH_BYTES, |bandwidth| bandwidth.piece_bytes());
        let (mut moved, mut kept) = (0, false);
        loop {
            let more = moved < batch && tls.may_hear_more(&self.from().stream);
            match tls.pass(|bytes| self.to().take(bytes, more)) {
                Ok(Some(taken)) => {
                    self.moved(taken, &self.movement.worker.tls_bytes);
                    (moved, kept) = (moved + taken, more);
                }
                Ok(None) if more => match tls.hear_now(&self.from().stream) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => {
                        // What came before the failure still goes out.
                        self.flush().await?;
                        return Err(self.receiving_failed());
                    }
                },
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let writable = self.to().stream.writable().await;
                    writable.map_err(|_| self.sending_failed())?;
                }
                Err(_) => return Err(self.sending_failed()),
            }
        }
        if kept || self.to().tls.is_some() {
            self.flush().await?;
        }
        Ok(moved)
    }

    async fn flush(self) -> Result<(), Broken> {
        let flushed = self.to().flush().await;
        flushed.map_err(|_| self.sending_failed())
    }
}
