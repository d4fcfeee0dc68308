//! The language between `ringload` and `ringserve`: a request says in its first bytes how long it
//! is and how long a reply it wants, so one server serves every measure. It never looks at what
//! follows; the bytes have no meaning.

/// Bytes of the header with which a request begins.
pub const HEADER_BYTES: usize = 16;

/// A length that no stream reaches. A request of this length ends when its direction does; the
/// reply is then the count of its bytes, as 8 bytes in network order. A reply of this length ends
/// when the client goes away.
pub const ENDLESS: u64 = u64::MAX;

/// One request and its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Bytes of the request, its header among them.
    pub request: u64,
    /// Bytes of the reply.
    pub reply: u64,
}

impl Exchange {
    /// The header of the request.
    pub fn header(self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&self.request.to_be_bytes());
        header[8..].copy_from_slice(&self.reply.to_be_bytes());
        header
    }

    /// The exchange that a header tells of; `None` when the request would be shorter than its
    /// header.
    pub fn parse(header: [u8; HEADER_BYTES]) -> Option<Self> {
        let both = u128::from_be_bytes(header);
        let exchange = Self {
            request: (both >> 64) as u64,
            reply: both as u64,
        };
        (exchange.request >= HEADER_BYTES as u64).then_some(exchange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_what_was_put_into_it() {
        let check = |request, reply, expected: bool| {
            let exchange = Exchange { request, reply };
            assert_eq!(
                Exchange::parse(exchange.header()),
                expected.then_some(exchange)
            );
        };
        check(16, 0, true);
        check(100, 1 << 20, true);
        check(ENDLESS, 8, true);
        check(16, ENDLESS, true);
        check(15, 1, false);
    }
}
