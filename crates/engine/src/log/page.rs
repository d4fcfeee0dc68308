//! Memory for lines that is there already: what is written lies in it one behind the other, and nothing is moved or made
//! for it. Only what does not fit makes it grow.

use std::io;

/// A number is written by pairs of digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// Digits of the longest number.
const DIGITS_MAX: usize = 20;

/// Some bytes that are known beforehand, in room for as many as any of them has: they are copied as a whole, of which the
/// first `len` count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<const ROOM: usize> {
    bytes: [u8; ROOM],
    len: u8,
}

impl<const ROOM: usize> Known<ROOM> {
    /// # Panics
    /// When the text needs more room.
    pub(crate) const fn new(text: &str) -> Self {
        let mut bytes = [0; ROOM];
        let (known, _) = bytes.split_at_mut(text.len());
        known.copy_from_slice(text.as_bytes());
        let len = text.len() as u8;
        Self { bytes, len }
    }
}

/// The memory and how far it is written.
#[derive(Debug, Default)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    end: usize,
}

impl Page {
    /// With room for so many bytes.
    pub(crate) fn with_room(room: usize) -> Self {
        Self::over(vec![0; room])
    }

    /// In memory that was used before.
    pub(crate) fn over(bytes: Vec<u8>) -> Self {
        Self { bytes, end: 0 }
    }

    pub(crate) fn into_memory(self) -> Vec<u8> {
        self.bytes
    }

    /// What is written, in memory of its own; then nothing is written here.
    pub(crate) fn take_copy(&mut self) -> Self {
        let bytes = self.written().to_vec();
        let end = std::mem::take(&mut self.end);
        Self { bytes, end }
    }

    pub(crate) fn written(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.end
    }

    /// Bytes of its memory.
    pub(crate) fn room(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn known<const ROOM: usize>(&mut self, known: &Known<ROOM>) {
        *self.room_for() = known.bytes;
        self.end += usize::from(known.len);
    }

    /// The same without its last byte.
    pub(crate) fn known_but_last<const ROOM: usize>(&mut self, known: &Known<ROOM>) {
        *self.room_for() = known.bytes;
        self.end += usize::from(known.len).saturating_sub(1);
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        *self.room_for() = [byte];
        self.end += 1;
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        if end > self.bytes.len() {
            self.grow(bytes.len());
        }
        self.bytes[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    /// A number in decimal.
    pub(crate) fn number(&mut self, number: u64) {
        if let Ok(digit @ 0..=9) = u8::try_from(number) {
            return self.byte(b'0' + digit);
        }
        let mut digits = [0; DIGITS_MAX];
        let mut at = DIGITS_MAX;
        let mut rest = number;
        while rest >= 10 {
            at -= 2;
            digits[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
            rest /= 100;
        }
        if rest > 0 {
            at -= 1;
            digits[at] = b'0' + rest as u8;
        }
        self.bytes(&digits[at..]);
    }

    /// So many digits of a number, an even count.
    pub(crate) fn digits<const COUNT: usize>(&mut self, number: u32) {
        let mut digits = [0; COUNT];
        let mut rest = number;
        for pair in digits.as_chunks_mut::<2>().0.iter_mut().rev() {
            *pair = PAIRS[(rest % 100) as usize];
            rest /= 100;
        }
        *self.room_for() = digits;
        self.end += COUNT;
    }

    /// Writes over the byte written last.
    pub(crate) fn replace_last(&mut self, byte: u8) {
        if let Some(last) = self.bytes[..self.end].last_mut() {
            *last = byte;
        }
    }

    fn room_for<const COUNT: usize>(&mut self) -> &mut [u8; COUNT] {
        if self.bytes.len() - self.end < COUNT {
            self.grow(COUNT);
        }
        self.bytes[self.end..]
            .first_chunk_mut()
            .expect("it has grown")
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        self.bytes.resize((self.end + more).next_power_of_two(), 0);
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_everywhere() {
        let powers = (0..20).map(|power| 10u64.pow(power));
        let edges = powers.flat_map(|power| [power - 1, power, power + 1]);
        for number in edges.chain([42, u64::MAX - 1, u64::MAX]) {
            let mut page = Page::default();
            page.number(number);
            assert_eq!(page.written(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_page_grows_by_what_does_not_fit() {
        let mut page = Page::with_room(3);
        for text in ["ab", "c", "", "defg"] {
            page.bytes(text.as_bytes());
        }
        page.known(&Known::<8>::new("hi"));
        page.digits::<2>(7);
        page.byte(b'x');
        page.replace_last(b'!');
        assert_eq!(page.written(), b"abcdefghi07!");
    }

    #[test]
    fn memory_that_is_used_again_shows_nothing_of_before() {
        let mut page = Page::with_room(4);
        page.bytes(b"secret");
        let mut again = Page::over(page.into_memory());
        assert_eq!(again.written(), b"");
        again.bytes(b"new");
        assert_eq!(again.written(), b"new");
    }
}
