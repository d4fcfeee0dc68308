//! The answer of a verb on the standard output, and remarks beside it on the standard error. Neither panics when the
//! reader has gone: `ringgate schema | head` is good use.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::failure::Failure;

/// Writes `text`, with a newline at its end, to the standard output.
///
/// # Errors
/// When the output cannot take it, except when its reader has closed it, which ends the wish for more.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let newline: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(newline))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(format_args!(
            "cannot write to the standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Writes a remark that changes nothing about the answer to the standard error; a closed one is nobody's loss.
pub(crate) fn note(remark: impl Display) {
    let _ = writeln!(io::stderr().lock(), "note: {remark}");
}
