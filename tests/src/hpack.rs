//! HPACK (RFC 7541) for the raw HTTP/2 peers: an encoder that writes plain literals, whatever they are, and a whole
//! decoder. The encoder never indexes and never asks whether a field is allowed.

use std::collections::VecDeque;

/// Fields in their order, pseudo-header fields among them.
pub type Fields = Vec<(String, String)>;

/// The bytes of the dynamic table that a peer may fill before it is told anything else (RFC 9113 §6.5.2).
const TABLE_MAX: usize = 4096;

/// What an entry counts beyond its text (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;

/// RFC 7541 appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The length of the code of each byte, as a letter from `a` for 5 bits on (RFC 7541 appendix B). The codes themselves
/// follow: they rise by length, then by byte.
const CODE_LENGTHS: [&[u8; 64]; 4] = [
    b"isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhf",
    b"ibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgjix",
    b"prpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrs",
    b"vvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwv",
];

/// Literal fields without indexing and without Huffman coding.
#[must_use]
pub fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| literal(0, name, value))
        .collect()
}

/// One literal field after that first byte: 0 for without indexing, 0x40 for one that enters the dynamic table.
#[must_use]
pub fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![first];
    for text in [name, value] {
        block.extend(integer(text.len()));
        block.extend(text.as_bytes());
    }
    block
}

/// An integer with a prefix of seven bits.
fn integer(value: usize) -> Vec<u8> {
    const PREFIX: usize = 127;
    let byte = |value: usize| u8::try_from(value).expect("it was cut to a byte");
    if value < PREFIX {
        return vec![byte(value)];
    }
    let (mut bytes, mut rest) = (vec![byte(PREFIX)], value - PREFIX);
    while rest >= 128 {
        bytes.push(byte(rest % 128 + 128));
        rest /= 128;
    }
    bytes.push(byte(rest));
    bytes
}

/// Reads the blocks of one direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The newest first.
    dynamic: VecDeque<(String, String)>,
}

impl Decoder {
    /// The fields of a block.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Fields, String> {
        let mut reader = Reader { rest: block };
        let mut fields = Vec::new();
        while let Some(&first) = reader.rest.first() {
            match first {
                0x80.. => {
                    let index = reader.integer(7)?;
                    fields.push(self.entry(index)?);
                }
                0x40.. => {
                    let field = self.literal(&mut reader, 6)?;
                    self.insert(field.clone());
                    fields.push(field);
                }
                // Every size that a peer may choose is within ours.
                0x20.. => {
                    let size = reader.integer(5)?;
                    self.shrink(size);
                }
                _ => fields.push(self.literal(&mut reader, 4)?),
            }
        }
        Ok(fields)
    }

    fn literal(&self, reader: &mut Reader<'_>, prefix: u32) -> Result<(String, String), String> {
        let name = match reader.integer(prefix)? {
            0 => reader.text()?,
            index => self.entry(index)?.0,
        };
        Ok((name, reader.text()?))
    }

    fn entry(&self, index: usize) -> Result<(String, String), String> {
        let at = index.checked_sub(1).ok_or("an index of 0")?;
        let known = STATIC
            .get(at)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let dynamic = || self.dynamic.get(at.checked_sub(STATIC.len())?).cloned();
        known
            .or_else(dynamic)
            .ok_or_else(|| format!("no entry {index}"))
    }

    fn insert(&mut self, field: (String, String)) {
        self.dynamic.push_front(field);
        self.shrink(TABLE_MAX);
    }

    fn shrink(&mut self, size: usize) {
        let mut used = 0;
        let fits = |(name, value): &&(String, String)| {
            used += name.len() + value.len() + ENTRY_OVERHEAD;
            used <= size
        };
        let kept = self.dynamic.iter().take_while(fits).count();
        self.dynamic.truncate(kept);
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.rest.split_first().ok_or("a block cut short")?;
        self.rest = rest;
        Ok(*first)
    }

    fn integer(&mut self, prefix: u32) -> Result<usize, String> {
        let mask = (1 << prefix) - 1;
        let mut value = usize::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value);
        }
        for shift in (0..28).step_by(7) {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("an endless integer".to_owned())
    }

    fn text(&mut self) -> Result<String, String> {
        let is_huffman = *self.rest.first().ok_or("a block cut short")? >= 0x80;
        let length = self.integer(7)?;
        if length > self.rest.len() {
            return Err("a text cut short".to_owned());
        }
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        let text = match is_huffman {
            true => huffman(text)?,
            false => text.to_vec(),
        };
        // Bytes beyond ASCII are shown as they are numbered.
        Ok(text.into_iter().map(char::from).collect())
    }
}

fn huffman(coded: &[u8]) -> Result<Vec<u8>, String> {
    let codes = codes();
    let (mut text, mut code, mut length) = (Vec::new(), 0, 0);
    for bit in coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
    {
        (code, length) = (code << 1 | u32::from(bit), length + 1);
        if let Ok(at) = codes.binary_search_by_key(&(length, code), |(known, _)| *known) {
            text.push(codes[at].1);
            (code, length) = (0, 0);
        }
    }
    // What is left is the beginning of EOS, all ones (RFC 7541 §5.2).
    match length < 8 && code == (1 << length) - 1 {
        true => Ok(text),
        false => Err("bad padding".to_owned()),
    }
}

/// Each byte by the length and the value of its code, in order.
fn codes() -> Vec<((u32, u32), u8)> {
    let lengths = CODE_LENGTHS.iter().copied().flatten();
    let mut symbols: Vec<(u32, u8)> = lengths
        .zip(0..=u8::MAX)
        .map(|(letter, byte)| (u32::from(letter - b'a') + 5, byte))
        .collect();
    symbols.sort_unstable();
    let (mut next, mut last) = (0, 0);
    let code = |(length, byte): (u32, u8)| {
        next <<= length - last;
        last = length;
        next += 1;
        ((length, next - 1), byte)
    };
    symbols.into_iter().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_come_back() {
        let long = "x".repeat(5_000);
        let fields = [(":path", "/a"), ("x-long", long.as_str()), ("", "")];
        let decoded = Decoder::default().decode(&literals(&fields)).unwrap();
        let shown: Vec<_> = decoded
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(shown, fields);
    }

    /// RFC 7541 appendix C.6.1 and C.6.2: Huffman codes, and a second block that refers to the first.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let bytes = |hex: &str| -> Vec<u8> {
            let digits = hex.as_bytes().chunks(2);
            digits
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        let mut decoder = Decoder::default();
        let first = bytes(
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        );
        let fields = decoder.decode(&first).unwrap();
        let value = |fields: &Fields, at: usize| fields[at].1.clone();
        assert_eq!(value(&fields, 0), "302");
        assert_eq!(value(&fields, 2), "Mon, 21 Oct 2013 20:13:21 GMT");
        assert_eq!(value(&fields, 3), "https://www.example.com");
        let fields = decoder.decode(&bytes("4883640effc1c0bf")).unwrap();
        assert_eq!(value(&fields, 0), "307");
        assert_eq!(value(&fields, 3), "https://www.example.com");
        decoder.decode(&[0xff, 0xff]).unwrap_err();
    }
}
