//! The claim of one process on its admin socket: a lock beside the socket makes a second instance refuse to start
//! instead of silently sharing ports with the first. It never removes what is not a socket.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};

/// Who may talk to the admin socket: the process's user and group. Operators are members of that group; systemd
/// runs Ringgate in a group of its own, in a directory that nobody else may enter.
const SOCKET_MODE: u32 = 0o660;

/// The lock tells only who holds it.
const LOCK_MODE: u32 = 0o640;

/// The mode of a directory that is made for the socket.
const DIRECTORY_MODE: u32 = 0o750;

/// Connects to the admin socket that may wait to be accepted.
const BACKLOG: i32 = 64;

/// This process's sole right to an admin socket, and the socket. Dropping it removes both files.
#[derive(Debug)]
pub struct Claim {
    /// `None` once it serves.
    listener: Option<UnixListener>,
    socket: PathBuf,
    /// The socket file that was made here: one with another inode belongs to somebody else.
    socket_inode: u64,
    /// Given up after the socket has been removed.
    _lock: Lock,
}

/// A held lock. Dropping it removes its file.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    _file: File,
}

/// Why a process may not have an admin socket.
#[derive(Debug)]
pub enum ClaimError {
    /// Another instance holds it.
    Held {
        /// The socket.
        socket: PathBuf,
        /// The process that holds it, when it says so.
        pid: Option<u32>,
    },
    /// Somebody who does not hold the lock answers on the socket.
    Answered(PathBuf),
    /// Something else than a socket is there.
    NotASocket(PathBuf),
    /// The directory of the socket is missing.
    NoDirectory {
        /// The socket.
        socket: PathBuf,
        /// The missing directory.
        directory: PathBuf,
    },
    /// The system refused something.
    Refused {
        /// What was tried, as in "cannot …".
        tried: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimError::Held { socket, pid } => {
                f.write_str("another ringgate ")?;
                if let Some(pid) = pid {
                    write!(f, "(pid {pid}) ")?;
                }
                let socket = socket.display();
                write!(
                    f,
                    "already serves on {socket}; stop it, or give this one another `admin.socket`"
                )
            }
            ClaimError::Answered(socket) => {
                let socket = socket.display();
                write!(
                    f,
                    "another process already answers on {socket}; stop it, or give this one another `admin.socket`"
                )
            }
            ClaimError::NotASocket(path) => {
                let path = path.display();
                write!(
                    f,
                    "{path} is there and is not a socket; move it away, or set another `admin.socket`"
                )
            }
            ClaimError::NoDirectory { socket, directory } => {
                let (socket, directory) = (socket.display(), directory.display());
                write!(
                    f,
                    "the directory {directory} of {socket} does not exist; create it, or set another `admin.socket`"
                )
            }
            ClaimError::Refused { tried, path, error } => {
                let path = path.display();
                write!(
                    f,
                    "cannot {tried} {path}: {error}; change that, or set another `admin.socket`"
                )
            }
        }
    }
}

impl std::error::Error for ClaimError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClaimError::Refused { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl Claim {
    /// Claims `socket`, an absolute path, and listens on it. The socket of a process that died is cleared away. A
    /// missing directory is made when it stands directly in `/run`, where it vanishes with each boot.
    ///
    /// # Errors
    /// When another process has the socket, something else stands in its place, or the system refuses.
    pub fn take(socket: &Path) -> Result<Claim, ClaimError> {
        ensure_directory(socket)?;
        let lock = Lock::hold_for(socket)?;
        clear_stale(socket)?;
        let (listener, socket_inode) =
            open_socket(socket).map_err(|error| refused("listen on", socket, error))?;
        Ok(Claim {
            listener: Some(listener),
            socket: socket.to_owned(),
            socket_inode,
            _lock: lock,
        })
    }

    /// The listening socket, non-blocking; `None` when it has been taken before.
    pub(crate) fn take_listener(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.socket).is_ok_and(|found| found.ino() == self.socket_inode) {
            let _ = fs::remove_file(&self.socket);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While the lock is still held: whoever has opened this very file looks again once it is theirs.
        let _ = fs::remove_file(&self.path);
    }
}

fn ensure_directory(socket: &Path) -> Result<(), ClaimError> {
    let Some(directory) = socket.parent().filter(|directory| !directory.exists()) else {
        return Ok(());
    };
    if directory.parent() != Some(Path::new("/run")) {
        return Err(ClaimError::NoDirectory {
            socket: socket.to_owned(),
            directory: directory.to_owned(),
        });
    }
    DirBuilder::new()
        .mode(DIRECTORY_MODE)
        .create(directory)
        .map_err(|error| refused("create the directory", directory, error))
}

impl Lock {
    /// Locks the file beside `socket`, and writes our process id into it.
    fn hold_for(socket: &Path) -> Result<Lock, ClaimError> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(LOCK_MODE)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(&path)
                .map_err(|error| refused("open", &path, error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    let pid = file
                        .read_to_string(&mut text)
                        .ok()
                        .and_then(|_| text.trim().parse().ok());
                    return Err(ClaimError::Held {
                        socket: socket.to_owned(),
                        pid,
                    });
                }
                Err(TryLockError::Error(error)) => return Err(refused("lock", &path, error)),
            }
            // An instance that ended between our open and our lock has removed the file that we now hold.
            let is_current = match (fs::symlink_metadata(&path), file.metadata()) {
                (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
                _ => false,
            };
            if is_current {
                file.set_len(0)
                    .and_then(|()| writeln!(file, "{}", std::process::id()))
                    .map_err(|error| refused("write", &path, error))?;
                return Ok(Lock { path, _file: file });
            }
        }
    }
}

/// Removes the socket file that a dead process left behind. Called with the lock held.
fn clear_stale(socket: &Path) -> Result<(), ClaimError> {
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused("look at", socket, error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ClaimError::NotASocket(socket.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(socket) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(socket)
            .map_err(|error| refused("remove the stale socket", socket, error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused("find out who serves on", socket, error)),
        Ok(_) => Err(ClaimError::Answered(socket.to_owned())),
    }
}

/// Makes the socket. Nobody can connect before it has its mode: until it listens, connecting is refused.
fn open_socket(path: &Path) -> io::Result<(UnixListener, u64)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    let inode = fs::symlink_metadata(path)?.ino();
    Ok((UnixListener::from(fd), inode))
}

fn refused(tried: &'static str, path: &Path, error: io::Error) -> ClaimError {
    ClaimError::Refused {
        tried,
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Directory;

    #[test]
    fn a_second_instance_is_told_who_the_first_is() {
        let directory = Directory::new();
        let socket = directory.path("admin.sock");
        let _first = Claim::take(&socket).unwrap();
        let refusal = Claim::take(&socket).unwrap_err().to_string();
        let expected = format!(
            "another ringgate (pid {}) already serves on {}; stop it, or give this one another `admin.socket`",
            std::process::id(),
            socket.display()
        );
        assert_eq!(refusal, expected);
    }

    #[test]
    fn the_end_of_an_instance_leaves_nothing_and_frees_the_socket() {
        let directory = Directory::new();
        let socket = directory.path("admin.sock");
        drop(Claim::take(&socket).unwrap());
        assert_eq!(directory.files(), 0);
        Claim::take(&socket).unwrap();
    }

    #[test]
    fn the_socket_of_a_dead_process_is_cleared_away() {
        let directory = Directory::new();
        let socket = directory.path("admin.sock");
        drop(UnixListener::bind(&socket).unwrap());
        fs::write(directory.path("admin.sock.lock"), "999999\n").unwrap();
        let _claim = Claim::take(&socket).unwrap();
        UnixStream::connect(&socket).unwrap();
    }

    #[test]
    fn what_is_not_a_socket_stays() {
        let directory = Directory::new();
        let file = directory.path("admin.sock");
        fs::write(&file, "precious").unwrap();
        assert!(matches!(Claim::take(&file), Err(ClaimError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert_eq!(directory.files(), 1, "a refused claim leaves no lock");
    }

    #[test]
    fn a_socket_that_somebody_answers_on_stays() {
        let directory = Directory::new();
        let socket = directory.path("admin.sock");
        let _other = UnixListener::bind(&socket).unwrap();
        assert!(matches!(Claim::take(&socket), Err(ClaimError::Answered(_))));
        UnixStream::connect(&socket).unwrap();
    }

    #[test]
    fn a_missing_directory_is_named() {
        let directory = Directory::new();
        let socket = directory.path("missing/admin.sock");
        let refusal = Claim::take(&socket).unwrap_err();
        assert!(
            matches!(&refusal, ClaimError::NoDirectory { directory, .. } if directory.ends_with("missing"))
        );
    }

    #[test]
    fn owner_and_group_may_connect_and_nobody_else() {
        let directory = Directory::new();
        let socket = directory.path("admin.sock");
        let _claim = Claim::take(&socket).unwrap();
        assert_eq!(
            fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
            SOCKET_MODE
        );
    }
}
