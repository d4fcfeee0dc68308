//! Promise: `ringgate demo` needs no file and shows a load balancer and a gateway at work. Its ports are fixed, so it runs
//! in a network of its own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use ringgate_tests::{Metrics, PATIENCE, binary, finish, wait_for, wait_until};

#[test]
fn the_demo_runs_and_everything_it_suggests_works() {
    let demo = Demo::start();
    wait_until("the demo answers", PATIENCE, || {
        demo.curl("http://127.0.0.1:8080/").is_some()
    });
    let answers: Vec<String> = (0..6)
        .filter_map(|_| demo.curl("http://127.0.0.1:8080/"))
        .collect();
    for server in ["server a", "server b", "server c"] {
        assert_eq!(
            answers
                .iter()
                .filter(|answer| answer.contains(server))
                .count(),
            2,
            "{answers:?}"
        );
    }
    assert!(
        demo.curl("http://127.0.0.1:9900/")
            .unwrap()
            .contains("<html")
    );
    assert!(demo.curl("http://127.0.0.1:9900/ready").is_some());
    let metrics = Metrics::parse(&demo.curl("http://127.0.0.1:9900/metrics").unwrap()).unwrap();
    assert!(
        metrics
            .value("ringgate_listener_connections_total", &[])
            .unwrap()
            >= 7.0
    );

    let guide = demo.guide();
    check_the_gateway(&demo, &guide);
    let stop = guide
        .lines()
        .find(|line| line.contains("/stop"))
        .expect("the demo says how to stop a server");
    let status = guide
        .lines()
        .find(|line| line.contains(" status "))
        .expect("the demo says how to see its state");
    demo.sh(status).expect("status answers");
    demo.sh(stop).expect("the server takes the stop");
    for _ in 0..6 {
        assert!(
            demo.curl("http://127.0.0.1:8080/")
                .is_some_and(|answer| !answer.contains("server a"))
        );
    }
}

/// Runs every line for the gateway as it is printed; the line below it says what it shows.
fn check_the_gateway(demo: &Demo, guide: &str) {
    let lines: Vec<&str> = guide.lines().map(str::trim).collect();
    let asked: Vec<(&str, &str)> = lines
        .windows(2)
        .filter(|pair| pair[0].starts_with("curl") && pair[0].contains(":8081/"))
        .map(|pair| (pair[0], pair[1]))
        .collect();
    let statuses: Vec<&str> = asked.iter().map(|(_, shows)| &shows[..3]).collect();
    assert_eq!(statuses, ["200", "401", "200", "403", "200"], "{guide}");
    let (hammer, shown) = asked.split_last().expect("the demo has lines to try");
    let answers: Vec<String> = shown
        .iter()
        .map(|(command, shows)| {
            let answer = demo.sh(command).expect("curl gets an answer");
            let status = format!("HTTP/1.1 {} ", &shows[..3]);
            assert!(answer.starts_with(&status), "{command}\n{answer}");
            answer.to_ascii_lowercase()
        })
        .collect();
    for (answer, sign) in answers.iter().zip([
        "hello from server",
        "www-authenticate: bearer",
        "hello alice, from server",
        "\"reason\":\"forbidden\"",
    ]) {
        assert!(answer.contains(sign), "{sign} is not in\n{answer}");
    }
    let statuses = demo.sh(hammer.0).expect("curl gets all the answers");
    assert!(
        statuses.starts_with("200 ") && statuses.ends_with("429 "),
        "{statuses}"
    );
}

/// The demo, killed with its network when dropped.
struct Demo {
    child: Child,
    output: std::sync::mpsc::Receiver<String>,
}

impl Demo {
    fn start() -> Self {
        let mut child = Command::new("unshare")
            .args([
                "--map-root-user",
                "--net",
                "--kill-child",
                "--fork",
                "sh",
                "-c",
                "ip link set lo up && exec \"$0\" demo",
            ])
            .arg(binary())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/test installs unshare");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, output) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self { child, output }
    }

    /// What it has printed so far, once that is all it has to say.
    fn guide(&self) -> String {
        let mut guide = String::new();
        wait_for("the demo has said how it ends", PATIENCE, || {
            guide.extend(self.output.try_iter().map(|line| line + "\n"));
            guide.contains("Ctrl-C").then_some(())
        });
        guide
    }

    /// The body of a good answer.
    fn curl(&self, url: &str) -> Option<String> {
        self.sh(&format!("curl --silent --fail --max-time 5 {url}"))
    }

    /// The output of a command that succeeds inside the demo's network.
    fn sh(&self, command: &str) -> Option<String> {
        let inside = self.inside()?;
        let target = format!("--target={inside}");
        let finished = finish(Command::new("nsenter").args([
            "--user",
            "--preserve-credentials",
            "--net",
            &target,
            "sh",
            "-c",
            command,
        ]));
        (finished.code == Some(0)).then_some(finished.stdout)
    }

    /// The process that `unshare` forked into the new namespaces.
    fn inside(&self) -> Option<u32> {
        let id = self.child.id();
        let mut children = String::new();
        std::fs::File::open(format!("/proc/{id}/task/{id}/children"))
            .ok()?
            .read_to_string(&mut children)
            .ok()?;
        children.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
