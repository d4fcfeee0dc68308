//! What the process takes of the machine, as rows for `/metrics` under the names that every Prometheus client library
//! uses. What the system does not tell is left out; nothing here fails or waits.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;

use crate::exposition::write_single;

/// The process since its start.
pub(crate) struct Footprint {
    /// Seconds since 1970 (UTC). Fixed once, so that a step of the clock is not taken for a restart; and not computed
    /// from the boot time in `/proc/stat`, which a unit with `ProcSubset=pid` does not see.
    started_s: f64,
}

impl Footprint {
    /// Of a process that started then.
    pub(crate) fn new(started: Instant) -> Footprint {
        let at = SystemTime::now().checked_sub(started.elapsed());
        let since = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Footprint {
            started_s: since.map_or(0.0, |since| since.as_secs_f64()),
        }
    }

    /// Appends its families as of now.
    pub(crate) fn write(&self, page: &mut String) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let families = [
            (
                "process_cpu_seconds_total",
                "counter",
                "Processor time spent, user and system, in seconds.",
                cpu_seconds(),
            ),
            (
                "process_max_fds",
                "gauge",
                "File descriptors that may be open.",
                getrlimit(Resource::RLIMIT_NOFILE)
                    .ok()
                    .map(|(soft, _)| soft as f64),
            ),
            (
                "process_open_fds",
                "gauge",
                "File descriptors open now.",
                open_files().map(|files| files as f64),
            ),
            (
                "process_resident_memory_bytes",
                "gauge",
                "Memory in use.",
                bytes_of(&status, "VmRSS:"),
            ),
            (
                "process_start_time_seconds",
                "gauge",
                "When the process started, in seconds since 1970 (UTC).",
                Some(self.started_s),
            ),
            (
                "process_threads",
                "gauge",
                "Threads of the process.",
                number_of(&status, "Threads:"),
            ),
            (
                "process_virtual_memory_bytes",
                "gauge",
                "Address space in use.",
                bytes_of(&status, "VmSize:"),
            ),
        ];
        for (name, kind, help, value) in families {
            if let Some(value) = value {
                write_single(page, name, kind, help, value);
            }
        }
    }
}

fn cpu_seconds() -> Option<f64> {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// How many descriptors are open.
fn open_files() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    // Since 6.2 the directory's size is their number; listing a hundred thousand of them would hold up the checks.
    match fs::metadata(DIRECTORY).ok()?.len() {
        0 => {
            let listed = fs::read_dir(DIRECTORY).ok()?.count() as u64;
            // Listing takes a descriptor too.
            Some(listed.saturating_sub(1))
        }
        files => Some(files),
    }
}

/// A field of `/proc/self/status`, whose `kB` are KiB (proc_pid_status(5)).
fn bytes_of(status: &str, field: &str) -> Option<f64> {
    number_of(status, field).map(|kibibytes| kibibytes * 1024.0)
}

fn number_of(status: &str, field: &str) -> Option<f64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(field))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_the_system_does_not_say_is_left_out() {
        const STATUS: &str = "Name:\tringgate\nVmRSS:\t   12 kB\nThreads:\tmany\n";
        assert_eq!(bytes_of(STATUS, "VmRSS:"), Some(12.0 * 1024.0));
        assert_eq!(number_of(STATUS, "Threads:"), None);
        assert_eq!(bytes_of(STATUS, "VmSize:"), None);
        assert_eq!(number_of("", "Threads:"), None);
    }

    #[test]
    fn open_files_are_counted() {
        // Other tests open and close files at the same time, but far fewer.
        const FILES: u64 = 300;
        let before = open_files().unwrap();
        let files: Vec<File> = (0..FILES)
            .map(|_| File::open("/dev/null").unwrap())
            .collect();
        assert!(open_files().unwrap() >= before + FILES / 2);
        drop(files);
    }

    #[test]
    fn the_start_is_in_the_past_and_stays_where_it_is() {
        let footprint = Footprint::new(Instant::now());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!((now.as_secs_f64() - footprint.started_s).abs() < 60.0);
        let mut pages = [String::new(), String::new()];
        for page in &mut pages {
            footprint.write(page);
        }
        let start = |page: &str| {
            let row = |line: &&str| line.starts_with("process_start_time_seconds ");
            page.lines().find(row).unwrap().to_owned()
        };
        assert_eq!(start(&pages[0]), start(&pages[1]));
    }
}
