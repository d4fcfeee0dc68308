//! From a path to text. It reads regular files only, so that it never hangs on a pipe, and only up to a size that
//! no configuration needs.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use crate::mistakes::Mistakes;

/// The largest file that is read, in bytes.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// `O_NONBLOCK` of Linux: opening a FIFO without a writer returns at once instead of waiting for one (open(2)).
const O_NONBLOCK: i32 = 0o4000;

/// The text of the file at `path`, which mistakes call `name`.
pub(crate) fn text(path: &Path, name: &str) -> Result<String, Mistakes> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path);
    let file = opened.map_err(|error| unreadable(name, &error))?;
    let bytes = bytes(file, name)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Mistakes::about_file(
            name,
            "the file is UTF-16",
            "save it as UTF-8",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        Mistakes::about_file(
            name,
            format!("the file is not UTF-8: the first wrong byte is in line {line}"),
            "save it as UTF-8",
        )
    })
}

fn bytes(file: File, name: &str) -> Result<Vec<u8>, Mistakes> {
    let metadata = file.metadata().map_err(|error| unreadable(name, &error))?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let kind = match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_fifo() => "a pipe",
            () => "a device or a socket",
        };
        return Err(Mistakes::about_file(
            name,
            format!("this is {kind}"),
            "expected a regular file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(name, &error))?;
    match bytes.len() as u64 > BYTES_MAX {
        true => Err(Mistakes::about_file(
            name,
            "the file is too large",
            "expected at most 4 MiB",
        )),
        false => Ok(bytes),
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Mistakes {
    let advice = match error.kind() {
        std::io::ErrorKind::NotFound => "give the path of the configuration with -c FILE",
        std::io::ErrorKind::PermissionDenied => "let the user that runs ringgate read it",
        _ => "expected a readable file",
    };
    Mistakes::about_file(name, format!("cannot be read: {error}"), advice)
}
