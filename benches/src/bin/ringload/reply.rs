//! A reply on its way: how much of it is still to come. It reads no socket.

use std::io;

/// Bytes of the longest HTTP head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The first byte of a TLS record that carries a handshake (RFC 8446 §5.1); of an alert it is 21.
const HANDSHAKE: u8 = 22;

/// What is still to come of a reply.
pub(crate) enum Reply {
    /// So many bytes.
    Sized { left: u64 },
    /// The rest of an HTTP head, of which this has come, and a body.
    Head { bytes: Vec<u8> },
    /// A TLS server's first message; what follows it does not matter.
    Hello,
}

impl Reply {
    /// Notes that bytes have come.
    ///
    /// # Errors
    /// When they are no reply, or more than it.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Sized { left } => {
                *left = left
                    .checked_sub(bytes.len() as u64)
                    .ok_or_else(|| io::Error::other("more came than was asked for"))?;
                Ok(())
            }
            Self::Head { bytes: head } => {
                head.extend_from_slice(bytes);
                let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
                    return match head.len() {
                        0..=HEAD_BYTES_MAX => Ok(()),
                        _ => Err(io::Error::other("a response's head does not end")),
                    };
                };
                let body = head.split_off(end + 4);
                let left = body_bytes(&String::from_utf8_lossy(head))?;
                *self = Self::Sized { left };
                self.take(&body)
            }
            Self::Hello if bytes.first() == Some(&HANDSHAKE) => {
                *self = Self::Sized { left: 0 };
                Ok(())
            }
            Self::Hello => Err(io::Error::other("the server refuses the handshake")),
        }
    }

    /// Whether all of it has come.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self, Self::Sized { left: 0 })
    }
}

/// The length of the body that a head announces.
fn body_bytes(head: &str) -> io::Result<u64> {
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("the response is {status:?}")));
    }
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| io::Error::other("a response does not tell its length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_knows_its_end_however_it_is_cut() {
        let check = |new: &dyn Fn() -> Reply, whole: &[u8]| {
            for cut in 0..whole.len() {
                let mut reply = new();
                reply.take(&whole[..cut]).unwrap();
                assert!(!reply.is_complete(), "after {cut} bytes");
                reply.take(&whole[cut..]).unwrap();
                assert!(reply.is_complete(), "cut after {cut} bytes");
                assert!(reply.take(b"x").is_err(), "a byte too many");
            }
        };
        check(&|| Reply::Sized { left: 5 }, b"12345");
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nX: y\r\n\r\nabc";
        check(&|| Reply::Head { bytes: Vec::new() }, response);
    }

    #[test]
    fn a_response_must_be_a_good_one() {
        let check = |response: &[u8]| {
            let mut reply = Reply::Head { bytes: Vec::new() };
            assert!(reply.take(response).is_err());
        };
        check(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
        check(b"HTTP/1.1 200 OK\r\n\r\n");
        check(&[b'x'; HEAD_BYTES_MAX + 1]);
    }

    #[test]
    fn an_alert_is_no_server_s_first_message() {
        let check = |bytes: &[u8], expected: bool| {
            let mut reply = Reply::Hello;
            assert_eq!(reply.take(bytes).is_ok(), expected);
            assert_eq!(reply.is_complete(), expected);
        };
        check(&[22, 3, 3], true);
        check(&[21, 3, 3, 0, 2, 2, 40], false);
    }
}
