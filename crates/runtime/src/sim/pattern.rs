//! What the simulated peers send: a stream that names itself in its first bytes and goes on with
//! bytes that follow from its name and the position. So nothing has to be kept to tell whether
//! what arrives is what was sent, in order, and whose it is.

use std::sync::OnceLock;

/// The name of a stream.
pub(super) type StreamId = u32;

/// Bytes at the start of a stream that name it: a mark and the number.
pub(super) const NAME_BYTES: usize = 8;
const MARK: [u8; 4] = *b"ring";

/// A prime, so that no power of two shifts one stream onto itself.
const BLOCK_BYTES: usize = 65_521;

/// Writes the bytes of a stream from `position` on.
pub(super) fn fill(stream: StreamId, position: u64, into: &mut [u8]) {
    let mut at = 0;
    while at < into.len() {
        let bytes = run(stream, position + at as u64);
        let len = bytes.len().min(into.len() - at);
        into[at..at + len].copy_from_slice(&bytes[..len]);
        at += len;
    }
}

/// Whether these are the bytes of a stream from `position` on.
fn matches(stream: StreamId, position: u64, bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        let expected = run(stream, position + at as u64);
        let len = expected.len().min(bytes.len() - at);
        if bytes[at..at + len] != expected[..len] {
            return false;
        }
        at += len;
    }
    true
}

/// A run of the stream's bytes that begins at `position`; it is never empty.
fn run(stream: StreamId, position: u64) -> &'static [u8] {
    static NAMES: OnceLock<Vec<[u8; NAME_BYTES]>> = OnceLock::new();
    const STREAMS_MAX: StreamId = 4096;
    if position < NAME_BYTES as u64 {
        let names = NAMES.get_or_init(|| (0..STREAMS_MAX).map(name).collect());
        return &names[stream as usize][position as usize..];
    }
    let start = (position + u64::from(stream) * 7919) % BLOCK_BYTES as u64;
    &block()[start as usize..]
}

fn name(stream: StreamId) -> [u8; NAME_BYTES] {
    let mut name = [0; NAME_BYTES];
    name[..4].copy_from_slice(&MARK);
    name[4..].copy_from_slice(&stream.to_le_bytes());
    name
}

fn block() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut random = super::Random::new(0);
        (0..BLOCK_BYTES).map(|_| random.any() as u8).collect()
    })
}

/// The bytes of one stream, in a pipe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) stream: StreamId,
    pub(super) position: u64,
    pub(super) len: usize,
}

/// A listener who knows what it must hear.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Bytes heard so far.
    pub(super) len: u64,
    /// Known when the whole name has been heard.
    pub(super) stream: Option<StreamId>,
    name: [u8; NAME_BYTES],
}

impl Heard {
    /// Hears bytes; `false` when they are not what comes next in any stream.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) -> bool {
        while let [first, rest @ ..] = bytes
            && self.stream.is_none()
        {
            self.name[self.len as usize] = *first;
            self.len += 1;
            bytes = rest;
            if self.len == NAME_BYTES as u64 {
                let [_, _, _, _, number @ ..] = self.name;
                self.stream = Some(StreamId::from_le_bytes(number));
                if self.name[..4] != MARK {
                    return false;
                }
            }
        }
        let right = bytes.is_empty()
            || self
                .stream
                .is_some_and(|stream| matches(stream, self.len, bytes));
        self.len += bytes.len() as u64;
        right
    }

    /// Hears bytes that came through a pipe.
    pub(super) fn hear_segment(&mut self, segment: Segment) -> bool {
        let known = (self.len as usize).min(NAME_BYTES);
        let right = segment.position == self.len
            && match self.stream {
                Some(stream) => stream == segment.stream,
                None => self.name[..known] == name(segment.stream)[..known],
            };
        self.len += segment.len as u64;
        self.name = name(segment.stream);
        if self.len >= NAME_BYTES as u64 {
            self.stream = Some(segment.stream);
        }
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_known_by_its_bytes_in_order_and_no_others() {
        let mut bytes = vec![0; 200_000];
        fill(7, 0, &mut bytes);
        let mut heard = Heard::default();
        assert!(heard.hear(&bytes[..3]) && heard.hear(&bytes[3..50_000]));
        assert_eq!(heard.stream, Some(7));
        assert!(heard.hear_segment(Segment {
            stream: 7,
            position: 50_000,
            len: 10_000
        }));
        assert!(heard.hear(&bytes[60_000..]));
        for wrong in [&bytes[..100], &bytes[199_000..]] {
            assert!(!heard.hear(wrong));
        }
        assert!(!Heard::default().hear(&bytes[1..100]));
        assert!(!heard.hear_segment(Segment {
            stream: 8,
            position: heard.len,
            len: 1
        }));
    }
}
