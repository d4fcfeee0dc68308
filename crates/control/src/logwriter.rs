//! Writes the access log on a thread of its own, so that a slow, blocked or full log never stops a worker: what does
//! not fit into the queue, or cannot be written, is dropped and counted. It never looks into a line. A file that is
//! renamed or removed is followed: whoever rotates it needs to tell nobody.

mod followed;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringgate_config::{AccessLog, LogFormat};
use ringgate_engine::log::{self, Batch, QUEUED_BATCHES_MAX};

use self::followed::Followed;

/// A new log file may be read by the group, and by nobody else: it names clients.
const FILE_MODE: u32 = 0o640;

/// What goes wrong with the log is reported at most this often.
const REPORTS_APART: Duration = Duration::from_secs(60);

/// The access log's thread.
#[derive(Debug)]
pub struct LogWriter {
    queue: SyncSender<Batch>,
    /// Bytes in it.
    queued: Arc<AtomicUsize>,
    lines_dropped: Arc<AtomicU64>,
    /// Hangs up when the thread has written everything.
    done: Receiver<()>,
}

/// Why the access log cannot be opened.
#[derive(Debug)]
pub struct OpenError {
    log: Destination,
    error: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the access log cannot be opened: {}: {}; make it writable, or set another `log.access`",
            self.log, self.error
        )
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[derive(Clone, Debug)]
enum Destination {
    Stdout,
    Path(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Stdout => f.write_str("standard output"),
            Destination::Path(path) => path.display().fmt(f),
        }
    }
}

impl LogWriter {
    /// Opens the log and starts its thread; `None` when the access log is off.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or there is no thread to be had.
    pub fn open(access: &AccessLog) -> Result<Option<LogWriter>, OpenError> {
        let log = match access {
            AccessLog::Off => return Ok(None),
            AccessLog::Stdout => Destination::Stdout,
            AccessLog::File(path) => Destination::Path(path.clone()),
        };
        let opened = match &log {
            Destination::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            Destination::Path(path) => open_file(path),
        };
        let failed = |error| OpenError {
            log: log.clone(),
            error,
        };
        let file = opened.map_err(failed)?;
        let followed = match &log {
            Destination::Stdout => None,
            Destination::Path(path) => Followed::new(path, &file).map_err(failed)?,
        };
        LogWriter::start(file, log.clone(), followed)
            .map(Some)
            .map_err(failed)
    }

    fn start(
        file: File,
        log: Destination,
        mut followed: Option<Followed>,
    ) -> io::Result<LogWriter> {
        let (queue, batches) = sync_channel(QUEUED_BATCHES_MAX);
        let (hang_up, done) = sync_channel(0);
        let lines_dropped = Arc::new(AtomicU64::new(0));
        let mut pen = Pen {
            file,
            log,
            torn: Vec::new(),
            lines_dropped: Arc::clone(&lines_dropped),
            reports: Reports::default(),
        };
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                for batch in batches {
                    if let Some(file) = followed.as_mut().and_then(Followed::successor) {
                        pen.turn_to(file);
                    }
                    pen.write(&batch);
                }
                drop(hang_up);
            })?;
        Ok(LogWriter {
            queue,
            queued: Arc::default(),
            lines_dropped,
            done,
        })
    }

    /// The way to it for a worker.
    pub fn access_log(&self, format: LogFormat) -> log::AccessLog {
        log::AccessLog {
            format,
            sink: self.queue.clone(),
            queued: self.queued.clone(),
        }
    }

    /// The lines that could not be written; those that never got into the queue are their sender's to count.
    pub(crate) fn lines_dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lines_dropped)
    }

    /// Writes what is queued, for at most `patience`. Every sender must be gone by then, or the queue never ends.
    pub(crate) fn finish(self, patience: Duration) {
        drop(self.queue);
        if self.done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the access log does not take its last lines; leaving without them");
        }
    }
}

/// Opens a log file for appending.
///
/// A FIFO is opened for reading too: without that, opening would wait for a reader (fifo(7)).
fn open_file(path: &Path) -> io::Result<File> {
    let is_fifo = fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    OpenOptions::new()
        .append(true)
        .create(!is_fifo)
        .read(is_fifo)
        .mode(FILE_MODE)
        .open(path)
}

/// The writing end, on the log's thread.
struct Pen<W> {
    file: W,
    log: Destination,
    /// The rest of a line of which the beginning has been written; goes before anything else.
    torn: Vec<u8>,
    lines_dropped: Arc<AtomicU64>,
    reports: Reports,
}

impl<W: Write + AsFd> Pen<W> {
    /// Writes a batch, and waits for as long as the log makes it wait. What fails is dropped, but a line is never
    /// left torn: its rest stays for the next time.
    fn write(&mut self, batch: &Batch) {
        if let Err(error) = self.finish_line() {
            return self.drop_lines(batch.lines().into(), &error);
        }
        let Err(Stopped { written, error }) = self.write_bytes(batch.text()) else {
            return;
        };
        let (done, rest) = batch.text().split_at(written);
        let mut lines_begun = count_lines(done);
        if done.last().is_some_and(|byte| *byte != b'\n') {
            let line_end = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(rest.len(), |at| at + 1);
            self.torn = rest[..line_end].to_vec();
            lines_begun += 1;
        }
        self.drop_lines(u64::from(batch.lines()).saturating_sub(lines_begun), &error);
    }

    /// Goes on in another file. A line that was begun ends in the old one; where that is not possible, it stays torn
    /// there and counts as dropped, for no file may begin with half a line.
    fn turn_to(&mut self, file: W) {
        if let Err(error) = self.finish_line() {
            self.torn.clear();
            self.drop_lines(1, &error);
        }
        self.file = file;
    }

    /// Writes the rest of a line that was begun, if there is one.
    fn finish_line(&mut self) -> io::Result<()> {
        let torn = std::mem::take(&mut self.torn);
        self.write_bytes(&torn)
            .map_err(|Stopped { written, error }| {
                self.torn = torn[written..].to_vec();
                error
            })
    }

    /// `Write::write_all` that tells how far it came, and that also waits for a pipe that someone else has made
    /// non-blocking.
    fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        let mut written = 0;
        while written < bytes.len() {
            let error = match self.file.write(&bytes[written..]) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(more) => {
                    written += more;
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => wait_until_writable(&self.file),
                _ => return Err(Stopped { written, error }),
            }
        }
        Ok(())
    }

    fn drop_lines(&mut self, lines: u64, error: &io::Error) {
        let dropped = self.lines_dropped.fetch_add(lines, Relaxed) + lines;
        if self.reports.is_due() {
            tracing::error!(log = %self.log, %error, lines_dropped = dropped, "the access log cannot be written");
        }
    }
}

/// When something was last reported.
#[derive(Default)]
struct Reports(Option<Instant>);

impl Reports {
    /// Whether it may be reported again, which then counts as done.
    fn is_due(&mut self) -> bool {
        let is_due = self.0.is_none_or(|at| at.elapsed() >= REPORTS_APART);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}

/// A write that did not get to the end.
struct Stopped {
    /// Bytes written before it stopped.
    written: usize,
    error: io::Error,
}

fn count_lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn wait_until_writable(file: &impl AsFd) {
    // Whatever poll says, the next write decides.
    let _ = poll(
        &mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)],
        PollTimeout::NONE,
    );
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::fd::BorrowedFd;
    use std::os::unix::fs::PermissionsExt;
    use std::rc::Rc;
    use std::sync::mpsc::TrySendError;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;
    use crate::testing::Directory;

    pub(super) const LONG: Duration = Duration::from_secs(20);

    pub(super) fn open(path: &Path) -> LogWriter {
        LogWriter::open(&AccessLog::File(path.to_owned()))
            .unwrap()
            .expect("a file is not off")
    }

    #[test]
    fn lines_are_appended_in_order_to_a_file_that_others_may_not_read() {
        let directory = Directory::new();
        let path = directory.path("access.log");
        for text in ["one\n", "two\nthree\n"] {
            let log = open(&path);
            log.queue.clone().send(Batch::of(text)).unwrap();
            log.finish(LONG);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0);
    }

    #[test]
    fn a_full_disk_drops_and_counts() {
        let log = open(Path::new("/dev/full"));
        let dropped = log.lines_dropped();
        log.queue.clone().send(Batch::of("one\ntwo\n")).unwrap();
        log.queue.clone().send(Batch::of("three\n")).unwrap();
        log.finish(LONG);
        assert_eq!(dropped.load(Relaxed), 3);
    }

    #[test]
    fn a_fifo_that_nobody_reads_blocks_neither_sender_nor_exit() {
        let directory = Directory::new();
        let path = directory.path("access.fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let log = open(&path);
        let line = format!("{}\n", "x".repeat(4 * 1024));
        // The pipe and the queue together hold so much; then the queue is full for good.
        let sender = log.queue.clone();
        let mut taken = 0;
        loop {
            match sender.try_send(Batch::of(&line)) {
                Ok(()) => taken += 1,
                Err(TrySendError::Full(_)) if taken >= QUEUED_BATCHES_MAX => break,
                Err(TrySendError::Full(_)) => thread::yield_now(),
                Err(TrySendError::Disconnected(_)) => panic!("the writer ended"),
            }
        }
        drop(sender);
        let begun = Instant::now();
        log.finish(Duration::from_millis(10));
        assert!(begun.elapsed() < LONG);
    }

    #[test]
    fn a_log_in_a_missing_directory_is_named() {
        let directory = Directory::new();
        let path = directory.path("missing/access.log");
        let refusal = LogWriter::open(&AccessLog::File(path.clone()))
            .unwrap_err()
            .to_string();
        assert!(refusal.contains(path.to_str().unwrap()), "{refusal}");
    }

    /// Takes `room` bytes and then is full.
    struct Disk {
        /// Outlives the disk's use.
        written: Rc<RefCell<Vec<u8>>>,
        room: usize,
        any: File,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.written.borrow_mut().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsFd for Disk {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.any.as_fd()
        }
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn disk(room: usize) -> Disk {
        Disk {
            written: Rc::default(),
            room,
            any: File::open("/dev/null").unwrap(),
        }
    }

    fn pen(room: usize) -> Pen<Disk> {
        Pen {
            file: disk(room),
            log: Destination::Stdout,
            torn: Vec::new(),
            lines_dropped: Arc::default(),
            reports: Reports::default(),
        }
    }

    #[test]
    fn a_line_that_was_begun_never_ends_in_another_file() {
        // After two bytes of the first line the disk is full; at the turn it has room again, or not.
        for (room_then, old, dropped) in [(100, "one\n", 0), (0, "on", 1)] {
            let mut pen = pen(2);
            pen.write(&Batch::of("one\n"));
            pen.file.room = room_then;
            let before = Rc::clone(&pen.file.written);
            pen.turn_to(disk(100));
            pen.write(&Batch::of("two\n"));
            assert_eq!(text(&before.borrow()), old);
            assert_eq!(text(&pen.file.written.borrow()), "two\n");
            assert_eq!(pen.lines_dropped.load(Relaxed), dropped);
        }
    }

    #[test]
    fn a_line_that_was_begun_is_finished_when_there_is_room_again() {
        for room in 0..=12 {
            let mut pen = pen(room);
            pen.write(&Batch::of("one\ntwo\nsix\n"));
            pen.write(&Batch::of("lost\n"));
            pen.file.room = 100;
            pen.write(&Batch::of("ten\n"));
            let lines_begun = room.div_ceil(4);
            let expected: String = ["one\n", "two\n", "six\n"][..lines_begun]
                .iter()
                .chain(&["ten\n"])
                .copied()
                .collect();
            assert_eq!(
                text(&pen.file.written.borrow()),
                expected,
                "with room for {room} bytes"
            );
            let dropped = pen.lines_dropped.load(Relaxed);
            assert_eq!(
                dropped,
                (3 - lines_begun) as u64 + 1,
                "with room for {room} bytes"
            );
        }
    }
}
