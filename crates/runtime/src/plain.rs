//! The plain system calls on sockets that real drivers share. All return at once.

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::driver::PipeEnds;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket, Type};

/// A stream socket, close-on-exec; with TCP_NODELAY where the family is TCP's, since a relay
/// passes on what it gets when it gets it.
pub(crate) fn stream_socket(domain: Domain) -> io::Result<OwnedFd> {
    let socket = Socket::new(domain, Type::STREAM, None)?;
    if domain != Domain::UNIX {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket.into())
}

/// Connects a unix socket without waiting: connect(2) decides at once, and a ring would keep a
/// kernel thread waiting for a place in the queue.
pub(crate) fn connect_now(fd: RawFd, address: &SockAddr) -> io::Result<()> {
    look_at(fd, |socket| {
        socket.set_nonblocking(true)?;
        socket.connect(address)
    })
}

/// Bytes in the send queue that the peer has not acknowledged (SIOCOUTQ, tcp(7)).
pub(crate) fn unacknowledged(fd: RawFd) -> usize {
    nix::ioctl_read_bad!(outq, libc::TIOCOUTQ, libc::c_int);
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int, to which it is given the address.
    match unsafe { outq(fd, &raw mut bytes) } {
        Ok(_) => usize::try_from(bytes).unwrap_or(0),
        Err(_) => 0,
    }
}

/// Receives what has arrived, without waiting. As [`send_now`] it is on the way of every message, so
/// it goes to the kernel straight: libc's recv(3) is a cancellation point, which costs a tenth of it.
pub(crate) fn recv_now(fd: RawFd, space: &mut [u8]) -> io::Result<usize> {
    // SAFETY: as in `look_at`.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let received = retry_on_intr(|| recv(fd, &mut *space, RecvFlags::DONTWAIT))?;
    Ok(received.0)
}

/// Sends as much as there is room for, without waiting.
pub(crate) fn send_now(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: as in `look_at`.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(retry_on_intr(|| send(fd, bytes, flags))?)
}

/// Sends as much of the pieces, in their order, as there is room for, without waiting.
pub(crate) fn send_pieces_now(fd: RawFd, pieces: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
    // SAFETY: as in `look_at`.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    flags.set(SendFlags::MORE, more);
    if let [piece] = pieces {
        return Ok(retry_on_intr(|| send(fd, piece, flags))?);
    }
    let mut nothing = SendAncillaryBuffer::default();
    Ok(retry_on_intr(|| sendmsg(fd, pieces, &mut nothing, flags))?)
}

/// Lets out what MSG_MORE has kept: that is what setting TCP_NODELAY does, even where it is set. A unix
/// socket keeps nothing.
pub(crate) fn push(fd: RawFd) {
    let _ = look_at(fd, |socket| socket.set_tcp_nodelay(true));
}

/// Ends the sending direction. An error would mean that the connection is gone, which the
/// receiving direction tells too.
pub(crate) fn shutdown_write(fd: RawFd) {
    let _ = look_at(fd, |socket| socket.shutdown(std::net::Shutdown::Write));
}

/// Makes the close to come a reset (SO_LINGER, socket(7)); where that fails it stays a plain close.
pub(crate) fn reset_on_close(fd: RawFd) {
    let _ = look_at(fd, |socket| socket.set_linger(Some(Duration::ZERO)));
}

/// Lets acknowledgements wait for data to carry them (TCP_QUICKACK off, tcp(7)); without effect on
/// other families. The kernel still sends them by itself when no data comes.
pub(crate) fn delay_acks(fd: RawFd) {
    let _ = look_at(fd, |socket| socket.set_tcp_quickack(false));
}

/// The address of the other end.
pub(crate) fn peer(fd: RawFd) -> io::Result<SockAddr> {
    look_at(fd, |socket| socket.peer_addr())
}

/// The address of this end.
pub(crate) fn local(fd: RawFd) -> io::Result<SockAddr> {
    look_at(fd, |socket| socket.local_addr())
}

/// Whether the kernel encrypts and decrypts TLS itself when asked (kTLS): whether it knows the
/// upper-layer protocol `tls` (tcp(7), TCP_ULP). It tells so even of a socket that is not connected.
pub fn kernel_tls() -> bool {
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, None) else {
        return false;
    };
    let asked = setsockopt(&socket, sockopt::TcpUlp::default(), b"tls");
    !matches!(asked, Err(Errno::ENOENT | Errno::ENOPROTOOPT))
}

/// Drops the SYNs that come to a listening socket, by a classic BPF filter (socket(7),
/// SO_ATTACH_FILTER). The last ACK of a handshake that has begun still passes, so every connection
/// the client believes in gets into the queue. Without effect on unix sockets, which have no SYN.
pub(crate) fn refuse_new(fd: RawFd) {
    /// Offset of the flags in the TCP header (RFC 9293 §3.1), where the filter's packet begins.
    const TCP_FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    const DROP: u32 = 0;
    let code = |code: u32| code as u16;
    let filter = [
        SockFilter::new(
            code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS),
            0,
            0,
            TCP_FLAGS,
        ),
        SockFilter::new(
            code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K),
            0,
            0,
            SYN | ACK,
        ),
        SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, SYN),
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, DROP),
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX),
    ];
    // Where it fails, a connection made between the last accept and the close is reset, as with
    // any other server.
    let _ = look_at(fd, |socket| socket.attach_filter(&filter));
}

/// One accept that does not wait.
pub(crate) fn accept_waiting(fd: RawFd) -> Option<RawFd> {
    look_at(fd, |socket| {
        socket.set_nonblocking(true).ok()?;
        socket
            .accept()
            .ok()
            .map(|(accepted, _)| accepted.into_raw_fd())
    })
}

/// Whether a receive would not wait.
pub(crate) fn is_readable(fd: RawFd) -> bool {
    // SAFETY: as in `look_at`.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut asked = [PollFd::new(fd, PollFlags::POLLIN)];
    // An error is for the receive to tell.
    poll(&mut asked, PollTimeout::ZERO).is_err() || asked[0].any().unwrap_or(true)
}

/// What a pipe should hold: the most an unprivileged process may ask for
/// (`/proc/sys/fs/pipe-max-size`).
const PIPE_BYTES: i32 = 1 << 20;

/// A pipe that holds less than the kernel's usual 64 KiB is one that the user has too many of
/// (pipe(7), `pipe-user-pages-soft`); copying beats it.
const PIPE_BYTES_MIN: usize = 64 * 1024;

/// A non-blocking pipe, as large as the kernel lets it be.
pub(crate) fn pipe() -> Option<PipeEnds> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).ok()?;
    // A refusal leaves the usual size.
    let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    let capacity = usize::try_from(fcntl(&write, FcntlArg::F_GETPIPE_SZ).ok()?).ok()?;
    (capacity >= PIPE_BYTES_MIN).then(|| PipeEnds {
        read: read.into_raw_fd(),
        write: write.into_raw_fd(),
        capacity,
    })
}

/// Moves bytes between a socket and a pipe without waiting.
pub(crate) fn splice(from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    // SAFETY: both descriptors belong to the socket table or a leased pipe, which close them later.
    let (from, to) = unsafe { (BorrowedFd::borrow_raw(from), BorrowedFd::borrow_raw(to)) };
    Ok(nix::fcntl::splice(from, None, to, None, len, flags)?)
}

/// Keeps plain calls on a socket from waiting.
pub(crate) fn stop_blocking(fd: RawFd) {
    let _ = look_at(fd, |socket| socket.set_nonblocking(true));
}

/// Closes a descriptor.
pub(crate) fn close(fd: RawFd) {
    drop(own(fd));
}

/// The owner of a descriptor that leaves the runtime.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the runtime calls this once, for a descriptor that it owns and forgets.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Looks at a descriptor without owning it.
fn look_at<T>(fd: RawFd, look: impl FnOnce(SockRef<'_>) -> T) -> T {
    // SAFETY: descriptors come from the socket table, which closes them last of all; the loan ends
    // with this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    look(SockRef::from(&fd))
}
