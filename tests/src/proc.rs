//! What `/proc` says of a process: descriptors, memory, time, threads. It only reads.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// A process that this test started.
#[derive(Clone, Copy, Debug)]
pub struct Proc(pub u32);

impl Proc {
    /// The numbers of its open descriptors.
    ///
    /// # Panics
    /// Like every reading here, when the process is gone.
    #[must_use]
    pub fn descriptors(self) -> BTreeSet<usize> {
        fs::read_dir(format!("/proc/{}/fd", self.0))
            .expect("the process is alive")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Its resident memory in KiB.
    #[must_use]
    pub fn resident_kib(self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory that it ever had, in KiB.
    #[must_use]
    pub fn resident_peak_kib(self) -> u64 {
        self.status("VmHWM:")
    }

    /// The processor time it has used, in user and kernel mode, all threads together.
    #[must_use]
    pub fn cpu(self) -> Duration {
        let stat = self.read("stat");
        // proc_pid_stat(5): the name in parentheses may hold anything, what follows is split by spaces.
        let after_name = stat
            .rsplit(')')
            .next()
            .expect("rsplit gives at least one part");
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a number of ticks"))
            .sum();
        // USER_HZ is 100 on every Linux architecture that Ringgate runs on.
        Duration::from_millis(ticks * 10)
    }

    /// The names of its threads.
    #[must_use]
    pub fn threads(self) -> Vec<String> {
        fs::read_dir(format!("/proc/{}/task", self.0))
            .expect("the process is alive")
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .map(|name| name.trim_end().to_owned())
            .collect()
    }

    fn status(self, key: &str) -> u64 {
        let status = self.read("status");
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .expect("proc_pid_status(5) has the key");
        value
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("it is a number of kB")
    }

    fn read(self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).expect("the process is alive")
    }
}
