//! A client of the admin socket for the command line: one blocking request, one answer. It reads only what this
//! crate's own server writes, and trusts none of its sizes.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::status::Status;

/// How long [`status`] waits for each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read: far more than the status of 4096 servers in each of a hundred pools.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, such as 200.
    pub status: u16,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct ClientError {
    socket: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    /// The answer is not one that this version understands.
    Garbled(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.socket.display();
        let error = match &self.cause {
            Cause::Io(error) => error,
            Cause::Garbled(what) => {
                return write!(f, "the answer on {socket} cannot be read: {what}");
            }
        };
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                write!(
                    f,
                    "no ringgate serves on {socket}; start it, or name its socket with --admin"
                )
            }
            ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "{socket} may not be used by you; be root or a member of its group"
                )
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                write!(f, "the ringgate on {socket} does not answer")
            }
            _ => write!(f, "cannot talk to the ringgate on {socket}: {error}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            Cause::Garbled(_) => None,
        }
    }
}

/// Asks for `path` on the admin socket. `patience` bounds each step, not their sum.
///
/// # Errors
/// When nobody serves there, the socket may not be used, or the answer does not come or is not HTTP.
pub fn get(socket: &Path, path: &str, patience: Duration) -> Result<Answer, ClientError> {
    let failed = |cause| ClientError {
        socket: socket.to_owned(),
        cause,
    };
    let bytes = exchange(socket, path, patience).map_err(|error| failed(Cause::Io(error)))?;
    parse(&bytes).ok_or_else(|| failed(Cause::Garbled("it is not HTTP".to_owned())))
}

/// The state of the process that serves on the admin socket.
///
/// # Errors
/// As [`get`]; also when the answer is no status that this version understands.
pub fn status(socket: &Path) -> Result<Status, ClientError> {
    let answer = get(socket, "/v1/status", PATIENCE)?;
    let failed = |what| ClientError {
        socket: socket.to_owned(),
        cause: Cause::Garbled(what),
    };
    if answer.status != 200 {
        return Err(failed(format!("it has HTTP status {}", answer.status)));
    }
    serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()))
}

fn exchange(socket: &Path, path: &str, patience: Duration) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // In HTTP/1.0 the answer ends where the connection does (RFC 1945 §1.3).
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Takes an answer apart; `None` when it is not HTTP.
fn parse(bytes: &[u8]) -> Option<Answer> {
    const HEAD_END: &[u8] = b"\r\n\r\n";
    let end = bytes
        .windows(HEAD_END.len())
        .position(|window| window == HEAD_END)?;
    let (head, body) = (&bytes[..end], &bytes[end + HEAD_END.len()..]);
    let mut words = std::str::from_utf8(head).ok()?.split_ascii_whitespace();
    words
        .next()
        .filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next()?.parse().ok()?;
    Some(Answer {
        status,
        body: body.to_vec(),
    })
}
