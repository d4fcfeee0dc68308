//! Commands that end by themselves: the binary's short verbs and the tools around it. Every one has a bounded time.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::PATIENCE;

/// The binary under test: `$RINGGATE_BIN`, or the release build beside this test's own build.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("RINGGATE_BIN")
        .map(PathBuf::from)
        .or_else(|| {
            // TARGET/debug/deps/TEST
            let test = std::env::current_exe().ok()?;
            Some(test.ancestors().nth(3)?.join("release/ringgate"))
        });
    path.filter(|path| path.is_file())
        .expect("no binary to test: run scripts/test, or set RINGGATE_BIN to it")
}

/// A command that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to the standard output.
    pub stdout: String,
    /// What it wrote to the standard error.
    pub stderr: String,
}

/// Runs the binary under test with `args` to its end.
///
/// # Panics
/// When it does not end within [`PATIENCE`].
#[must_use]
pub fn run_to_end(args: &[&str]) -> Finished {
    finish(Command::new(binary()).args(args))
}

/// Runs any command to its end.
///
/// # Panics
/// When it cannot be run, or does not end within [`PATIENCE`].
#[must_use]
pub fn finish(command: &mut Command) -> Finished {
    finish_within(command, PATIENCE)
}

/// Like [`finish`], for what takes longer.
///
/// # Panics
/// When it cannot be run, or does not end within `deadline`.
#[must_use]
pub fn finish_within(command: &mut Command, deadline: Duration) -> Finished {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap_or_else(|error| {
        panic!("{command:?}: {error}; scripts/test installs what the tests need")
    });
    let pid = Pid::from_raw(child.id().try_into().expect("a pid is positive"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(deadline) else {
        kill(pid, Signal::SIGKILL).ok();
        panic!("{command:?} did not end within {deadline:?}");
    };
    let output = output.expect("a child's output can be read");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("commands write text");
    Finished {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
