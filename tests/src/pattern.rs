//! Bytes that a test can make and recognise at any offset without keeping them. Equal offsets give equal bytes, and no
//! power of two is a period: bytes lost, doubled or swapped in chunks never fit.

use std::io::{self, Read, Write};

/// A prime, so that the same chunk size never meets the same place of the block again.
const PERIOD: usize = 1_048_573;
const CHUNK: usize = 256 * 1024;

/// An endless, fixed sequence of random-looking bytes.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// One period and one chunk more, so that a chunk is a slice wherever it begins.
    block: Box<[u8]>,
}

impl Pattern {
    /// Makes the sequence; it is the same every time.
    #[must_use]
    pub fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let period: Vec<u8> = (0..PERIOD)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        Self {
            block: period
                .iter()
                .copied()
                .cycle()
                .take(PERIOD + CHUNK)
                .collect(),
        }
    }

    /// Writes the first `length` bytes; `progress` hears after each write how many are out.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(
        &self,
        mut to: impl Write,
        length: u64,
        mut progress: impl FnMut(u64),
    ) -> io::Result<()> {
        let mut sent = 0;
        while sent < length {
            let written = to.write(self.expected(sent, at_most(CHUNK, length - sent)))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            sent += written as u64;
            progress(sent);
        }
        Ok(())
    }

    /// Reads `length` bytes and compares each with the sequence; `progress` hears after each read how many came.
    ///
    /// # Errors
    /// Those of the reader, and `InvalidData` or `UnexpectedEof` with the offset where the bytes differ or end.
    pub fn verify(
        &self,
        mut from: impl Read,
        length: u64,
        mut progress: impl FnMut(u64),
    ) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut read = 0;
        while read < length {
            let got = from.read(&mut buffer[..at_most(CHUNK, length - read)])?;
            if got == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("ended at byte {read}"),
                ));
            }
            if buffer[..got] != *self.expected(read, got) {
                let message = format!("differs between byte {read} and {}", read + got as u64);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            read += got as u64;
            progress(read);
        }
        Ok(())
    }

    fn expected(&self, offset: u64, length: usize) -> &[u8] {
        let start = (offset % PERIOD as u64) as usize;
        &self.block[start..start + length]
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Self::new()
    }
}

fn at_most(chunk: usize, left: u64) -> usize {
    usize::try_from(left).map_or(chunk, |left| left.min(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_a_doubled_and_a_missing_chunk_are_seen() {
        let pattern = Pattern::new();
        let length = 4 << 20;
        let mut whole = Vec::new();
        pattern.write(&mut whole, length, |_| {}).unwrap();
        pattern.verify(&whole[..], length, |_| {}).unwrap();
        let verdict = |bytes: &[u8]| pattern.verify(bytes, length, |_| {}).unwrap_err().kind();

        let lost = [&whole[..1 << 20], &whole[2 << 20..], &whole[..1 << 20]].concat();
        assert_eq!(verdict(&lost), io::ErrorKind::InvalidData);
        let doubled = [&whole[..1 << 20], &whole[..1 << 20], &whole[1 << 20..]].concat();
        assert_eq!(verdict(&doubled), io::ErrorKind::InvalidData);
        assert_eq!(verdict(&whole[1..]), io::ErrorKind::InvalidData);
        assert_eq!(verdict(&whole[..3 << 20]), io::ErrorKind::UnexpectedEof);
    }
}
