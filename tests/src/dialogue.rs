//! A program that a test talks with: lines in, and what it writes while it runs. Every wait is bounded.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use crate::wait::{PATIENCE, wait_for, wait_until};

/// A running program, killed when dropped.
#[derive(Debug)]
pub struct Dialogue {
    child: Child,
    input: Option<ChildStdin>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Dialogue {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{command:?}: {error}; scripts/test installs what the tests need")
        });
        let heard = Arc::new(Mutex::new(Vec::new()));
        listen(
            child.stdout.take().expect("it was asked for"),
            heard.clone(),
        );
        listen(
            child.stderr.take().expect("it was asked for"),
            heard.clone(),
        );
        let input = child.stdin.take();
        Self {
            child,
            input,
            heard,
        }
    }

    /// Writes to its standard input, unless it has ended.
    ///
    /// # Panics
    /// After [`Dialogue::say_no_more`].
    pub fn say(&mut self, text: &str) {
        let input = self.input.as_mut().expect("there is more to say");
        input.write_all(text.as_bytes()).ok();
        input.flush().ok();
    }

    /// Closes its standard input.
    pub fn say_no_more(&mut self) {
        self.input = None;
    }

    /// All that it wrote so far, its output and its errors together.
    ///
    /// # Panics
    /// Never: who writes it does not panic.
    #[must_use]
    pub fn heard(&self) -> String {
        let heard = self.heard.lock().expect("listeners do not panic");
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Waits until it wrote `text` that many times, or ended; whether it wrote it.
    ///
    /// # Panics
    /// When neither comes within [`PATIENCE`].
    pub fn says(&mut self, text: &str, times: usize) -> bool {
        let mut ended = false;
        let said = |heard: &str| heard.matches(text).count() >= times;
        wait_for(&format!("{text:?} or an end"), PATIENCE, || {
            if said(&self.heard()) {
                return Some(true);
            }
            // What it wrote last may still be on its way.
            if ended && Arc::strong_count(&self.heard) == 1 {
                return Some(said(&self.heard()));
            }
            ended = self.exit().is_some();
            None
        })
    }

    /// Waits for its end and gives its exit code, `None` when a signal ended it, and all that it wrote.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    pub fn end(&mut self) -> (Option<i32>, String) {
        let status = wait_for("the program ends", PATIENCE, || self.exit());
        wait_until("all that it wrote is heard", PATIENCE, || {
            Arc::strong_count(&self.heard) == 1
        });
        (status.code(), self.heard())
    }

    fn exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the program wrote:\n{}", self.heard());
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn listen(mut source: impl Read + Send + 'static, heard: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(got @ 1..) = source.read(&mut buffer) {
            heard
                .lock()
                .expect("listeners do not panic")
                .extend_from_slice(&buffer[..got]);
        }
    });
}
