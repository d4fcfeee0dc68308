//! Sockets that the service manager opened and gave to the process (sd_listen_fds(3)).

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{SockAddr, SockRef, Type};

/// The first descriptor that is given (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

/// More than any service manager gives; keeps a strange environment from making us look at every
/// number there is.
const COUNT_MAX: RawFd = 4096;

/// Set when the descriptors have been taken, so that nobody owns them twice.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The listening sockets that the environment names (LISTEN_PID, LISTEN_FDS), with the address of
/// each; none when it names none, or when they were taken before.
///
/// # Errors
/// When a descriptor that is named is not a listening stream socket.
pub fn given_sockets() -> io::Result<Vec<(SockAddr, OwnedFd)>> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<RawFd>().ok())
    };
    let for_us = number("LISTEN_PID") == RawFd::try_from(std::process::id()).ok();
    let count = number("LISTEN_FDS").filter(|_| for_us).unwrap_or(0);
    if !(0..=COUNT_MAX).contains(&count) {
        return Err(io::Error::other(
            "LISTEN_FDS names more sockets than there can be",
        ));
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    (FIRST..FIRST + count).map(take).collect()
}

/// Takes one descriptor over when it is a listening stream socket.
fn take(fd: RawFd) -> io::Result<(SockAddr, OwnedFd)> {
    let unfit =
        |error| io::Error::other(format!("LISTEN_FDS names descriptor {fd}, which {error}"));
    // SAFETY: the loan is used only to ask the kernel about the number; where nothing is open
    // there, the kernel answers EBADF.
    let given = unsafe { BorrowedFd::borrow_raw(fd) };
    let socket = SockRef::from(&given);
    let address = socket
        .local_addr()
        .map_err(|error| unfit(format!("is no socket: {error}")))?;
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(unfit("does not listen for streams".to_owned()));
    }
    fcntl(given, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: the descriptor is open, and the environment says that it is this process's to keep;
    // `TAKEN` lets it be taken once.
    Ok((address, unsafe { OwnedFd::from_raw_fd(fd) }))
}
