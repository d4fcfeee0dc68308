//! The binary under test as a process: started with a file, watched through its own doors, and ended with the test.
//! Whatever a test is about, its end asserts that the process lived and that io_uring never fell back to kernel threads.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::client::connect;
use crate::command::{Finished, binary, run_to_end};
use crate::config::{Config, loopback};
use crate::http::{Response, get};
use crate::metrics::Metrics;
use crate::proc::Proc;
use crate::wait::{PATIENCE, wait_for, wait_until};

/// How often a start is tried with other ports when another process took one of the chosen ports meanwhile.
const STARTS_MAX: usize = 5;

/// By these words Ringgate says that it was so.
const PORT_TAKEN: [&str; 2] = ["another process listens", "another process already listens"];

/// A running `ringgate run`; killed when dropped.
#[derive(Debug)]
pub struct Ringgate {
    config: Config,
    command: Vec<String>,
    child: Child,
    ended: Option<ExitStatus>,
}

/// The driver that the tests run on: what RINGGATE_IO says, otherwise what Ringgate chooses here.
pub fn driver_under_test() -> String {
    std::env::var("RINGGATE_IO").unwrap_or_else(|_| "uring".to_owned())
}

impl Ringgate {
    /// Starts with that configuration (see [`Config::write`]) and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[])
    }

    /// Like [`Ringgate::start`], with further arguments after `run -c FILE`.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start_with(yaml: &str, args: &[&str]) -> Self {
        Self::start_trying(yaml, &[], args, |_| {})
    }

    /// Like [`Ringgate::start`], through a command that ends by executing its arguments.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start_through(wrapper: &[&str], yaml: &str) -> Self {
        Self::start_trying(yaml, wrapper, &[], |_| {})
    }

    /// Like [`Ringgate::start`], with something done to `$dir` before the start.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start_prepared(yaml: &str, prepare: impl Fn(&Path)) -> Self {
        Self::start_trying(yaml, &[], &[], prepare)
    }

    fn start_trying(yaml: &str, wrapper: &[&str], args: &[&str], prepare: impl Fn(&Path)) -> Self {
        let mut refused = String::new();
        for _ in 0..STARTS_MAX {
            let config = Config::write(yaml);
            prepare(config.dir());
            let (binary, file) = (
                binary().display().to_string(),
                config.file().display().to_string(),
            );
            let io = std::env::var("RINGGATE_IO").ok();
            let io: Vec<&str> = io.iter().flat_map(|io| ["--io", io]).collect();
            let command = [wrapper, &[&binary, "run", "-c", &file], &io, args].concat();
            match Self::try_start(config, command.into_iter().map(str::to_owned).collect()) {
                Ok(ringgate) => return ringgate,
                Err(output) if PORT_TAKEN.iter().any(|words| output.contains(words)) => {
                    refused = output;
                }
                Err(output) => panic!("ringgate did not start:\n{output}"),
            }
        }
        panic!("ringgate found its ports taken {STARTS_MAX} times:\n{refused}");
    }

    fn try_start(config: Config, command: Vec<String>) -> Result<Self, String> {
        let child = spawn(&command, config.dir());
        let mut ringgate = Self {
            config,
            command,
            child,
            ended: None,
        };
        if ringgate.becomes_ready() {
            Ok(ringgate)
        } else {
            Err(ringgate.output())
        }
    }

    /// Starts the same command again, after the process has ended.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn start_again(&mut self) {
        assert!(self.ended.take().is_some(), "the process runs");
        self.child = spawn(&self.command, self.config.dir());
        assert!(
            self.becomes_ready(),
            "ringgate did not start again:\n{}",
            self.output()
        );
    }

    /// Waits for `/ready`; `false` when the process ended instead.
    fn becomes_ready(&mut self) -> bool {
        wait_for("ringgate is ready", PATIENCE, || {
            self.ended = self.child.try_wait().expect("a child can be waited for");
            if self.ended.is_some() {
                return Some(false);
            }
            self.ask("/ready")
                .is_ok_and(|answer| answer.status == 200)
                .then_some(true)
        })
    }

    /// `127.0.0.1` with the port that `$name` became.
    #[must_use]
    pub fn addr(&self, name: &str) -> SocketAddr {
        loopback(self.config.port(name))
    }

    /// A client's connection to `127.0.0.1:$name`.
    #[must_use]
    pub fn connect(&self, name: &str) -> TcpStream {
        connect(self.addr(name))
    }

    /// A file in its directory, `$dir/name`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.config.dir().join(name)
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What `/proc` says of it.
    #[must_use]
    pub fn proc(&self) -> Proc {
        Proc(self.child.id())
    }

    /// A connection to its admin socket.
    ///
    /// # Errors
    /// Those of the connect.
    pub fn admin(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(self.path("admin.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Asks over the admin socket.
    ///
    /// # Errors
    /// Those of the socket, and of an answer that is not HTTP.
    pub fn ask(&self, path: &str) -> io::Result<Response> {
        get(self.admin()?, path)
    }

    /// `/v1/status`.
    ///
    /// # Panics
    /// When the answer is not JSON.
    #[must_use]
    pub fn status(&self) -> Value {
        let answer = self.ask("/v1/status").expect("the admin socket answers");
        serde_json::from_str(&answer.body).expect("the status is JSON")
    }

    /// `/metrics`, read strictly.
    ///
    /// # Panics
    /// When the answer breaks the format.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let answer = self.ask("/metrics").expect("the admin socket answers");
        Metrics::parse(&answer.body).unwrap_or_else(|fault| panic!("{fault}\n{}", answer.body))
    }

    /// The value of a metric, summed over all labels that are not given; 0 when there is none.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().value(name, labels).unwrap_or_default()
    }

    /// Waits until a metric has that value.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`].
    pub fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        wait_until(&format!("{name}{labels:?} is {value}"), PATIENCE, || {
            self.metric(name, labels) == value
        });
    }

    /// Waits until no connection is open.
    ///
    /// # Panics
    /// When one is after [`PATIENCE`].
    pub fn wait_until_quiet(&self) {
        self.wait_for_metric("ringgate_listener_connections_active", &[], 0.0);
    }

    /// Waits until the file of the access log, `$dir/access.log`, has at least `lines` lines.
    ///
    /// # Panics
    /// When it has fewer after [`PATIENCE`], or a line is not JSON.
    #[must_use]
    pub fn access_log(&self, lines: usize) -> Vec<Value> {
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.access_lines(lines).iter().map(parse).collect()
    }

    /// Like [`Ringgate::access_log`], the lines as they stand.
    ///
    /// # Panics
    /// When there are fewer after [`PATIENCE`].
    #[must_use]
    pub fn access_lines(&self, lines: usize) -> Vec<String> {
        wait_for(
            &format!("the access log has {lines} lines"),
            PATIENCE,
            || {
                let text = fs::read_to_string(self.path("access.log")).unwrap_or_default();
                // A line counts when it is whole.
                let whole: Vec<String> = text
                    .split_inclusive('\n')
                    .filter(|line| line.ends_with('\n'))
                    .map(|line| line.trim_end().to_owned())
                    .collect();
                (whole.len() >= lines).then_some(whole)
            },
        )
    }

    /// All that it wrote to its standard output and error.
    #[must_use]
    pub fn output(&self) -> String {
        ["stdout", "stderr"]
            .map(|file| fs::read_to_string(self.path(file)).unwrap_or_default())
            .concat()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "the process has ended");
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid is positive"));
        kill(pid, signal).expect("a child that was not waited for takes signals");
    }

    /// Stops it where it is, until a `SIGCONT`.
    ///
    /// # Panics
    /// When it goes on for [`PATIENCE`].
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |task: io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(task?.path().join("stat"))?;
            // The name before it may hold anything but ends with the last bracket (proc_pid_stat(5)).
            let state = stat
                .rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with('T'));
            io::Result::Ok(state.unwrap_or_default())
        };
        wait_until("all threads have stopped", PATIENCE, || {
            let mut tasks = fs::read_dir(&tasks).expect("it has threads");
            tasks.all(|task| is_stopped(task).unwrap_or_default())
        });
    }

    /// Asks it to drain and stop.
    pub fn term(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// Never, for a process that this test started.
    pub fn runs(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended.is_none()
    }

    /// Waits for its end and returns the exit code; `None` when a signal ended it.
    ///
    /// # Panics
    /// When it still runs after `deadline`.
    pub fn wait_exit(&mut self, deadline: Duration) -> Option<i32> {
        wait_until("ringgate ends", deadline, || !self.runs());
        self.ended.and_then(|status| status.code())
    }

    /// Runs another command of the same binary against this process: `--admin` is added.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Finished {
        let socket = self.path("admin.sock").display().to_string();
        run_to_end(&[args, &["--admin", &socket]].concat())
    }
}

impl Drop for Ringgate {
    fn drop(&mut self) {
        let waited_for = self.ended.is_some();
        let lived = self.runs();
        let threads = if lived {
            self.proc().threads()
        } else {
            Vec::new()
        };
        if std::thread::panicking() {
            let status = self.ask("/v1/status").map(|answer| answer.body);
            eprintln!("ringgate wrote:\n{}its status: {status:?}", self.output());
        }
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            return;
        }
        assert!(
            lived || waited_for,
            "ringgate ended by itself:\n{}",
            self.output()
        );
        assert!(
            !threads.iter().any(|name| name.starts_with("iou-wrk")),
            "io_uring fell back to threads: {threads:?}"
        );
    }
}

fn spawn(command: &[String], dir: &Path) -> Child {
    let file = |name: &str| {
        let file = File::options()
            .create(true)
            .append(true)
            .open(dir.join(name));
        file.expect("the directory can be written to")
    };
    Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command[0]))
}
