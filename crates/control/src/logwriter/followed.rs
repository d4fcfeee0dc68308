//! A log file that may be renamed or removed while it is written, as rotation does: it is told by device and inode
//! whether the open file is still the one at its path. It never writes a line.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Reports, open_file};

/// A regular file that is open, and where it was.
pub(super) struct Followed {
    path: PathBuf,
    open: Identity,
    reports: Reports,
}

/// What a file keeps when its name changes. As long as it is open, no other file gets the same.
#[derive(PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(found: &Metadata) -> Identity {
        Identity {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

impl Followed {
    /// `None` when `file` is a FIFO or a device: nobody rotates those.
    ///
    /// # Errors
    /// When the system does not say what `file` is.
    pub(super) fn new(path: &Path, file: &File) -> io::Result<Option<Followed>> {
        let found = file.metadata()?;
        Ok(found.is_file().then(|| Followed {
            path: path.to_owned(),
            open: Identity::of(&found),
            reports: Reports::default(),
        }))
    }

    /// The file to go on with when the open one is not at its path any more; it is made where there is none. When it
    /// cannot be opened that is reported, and tried again at the next call.
    pub(super) fn successor(&mut self) -> Option<File> {
        let is_there =
            fs::metadata(&self.path).is_ok_and(|found| Identity::of(&found) == self.open);
        if is_there {
            return None;
        }
        let opened =
            open_file(&self.path).and_then(|file| Ok((Identity::of(&file.metadata()?), file)));
        let log = self.path.display();
        match opened {
            Ok((identity, file)) => {
                tracing::debug!(%log, "the access log was moved; going on in a new file");
                self.open = identity;
                Some(file)
            }
            Err(error) => {
                if self.reports.is_due() {
                    tracing::error!(
                        %log, %error,
                        "the access log was moved and cannot be made anew; going on in the old file"
                    );
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;
    use std::time::Instant;

    use ringgate_engine::log::Batch;

    use super::super::tests::{LONG, open};
    use super::*;
    use crate::testing::Directory;

    #[test]
    fn a_rename_under_traffic_loses_no_line_and_writes_none_twice() {
        const LINES: u32 = 20_000;
        const FILES_MAX: usize = 100;
        let directory = Directory::new();
        let path = directory.path("access.log");
        let log = open(&path);
        let sender = log.queue.clone();
        let worker = thread::spawn(move || {
            for line in 0..LINES {
                sender.send(Batch::of(&format!("{line}\n"))).unwrap();
            }
        });
        let mut files = vec![path.clone()];
        while !worker.is_finished() {
            let renamed = directory.path(&format!("access.log.{}", files.len()));
            if files.len() < FILES_MAX && fs::rename(&path, &renamed).is_ok() {
                files.push(renamed);
            }
            thread::yield_now();
        }
        worker.join().unwrap();
        log.finish(LONG);
        assert!(files.len() > 2, "it was renamed while it was written");
        let mut lines: Vec<u32> = Vec::new();
        // The last rename may have taken the file away for good.
        for file in files.iter().filter(|file| file.exists()) {
            let text = fs::read_to_string(file).unwrap();
            lines.extend(text.lines().map(|line| line.parse::<u32>().unwrap()));
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o137, 0);
        }
        lines.sort_unstable();
        assert!(lines.into_iter().eq(0..LINES));
    }

    /// Waits until all that was sent is written.
    fn settle(path: &Path, expected: &str) {
        let begun = Instant::now();
        while fs::read_to_string(path).unwrap_or_default() != expected {
            assert!(begun.elapsed() < LONG, "{expected:?} never came");
            thread::yield_now();
        }
    }

    #[test]
    fn a_removed_log_is_made_anew_and_one_that_cannot_be_stays_the_old() {
        let directory = Directory::new();
        let (place, away) = (directory.path("logs"), directory.path("away"));
        fs::create_dir(&place).unwrap();
        let path = place.join("access.log");
        let log = open(&path);
        let sender = log.queue.clone();
        let say = |text| sender.send(Batch::of(text)).unwrap();
        say("one\n");
        settle(&path, "one\n");

        fs::remove_file(&path).unwrap();
        say("two\n");
        settle(&path, "two\n");

        fs::rename(&place, &away).unwrap();
        say("three\n");
        settle(&away.join("access.log"), "two\nthree\n");

        fs::create_dir(&place).unwrap();
        say("four\n");
        settle(&path, "four\n");
        assert_eq!(log.lines_dropped().load(Relaxed), 0);
    }
}
