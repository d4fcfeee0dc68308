//! Promise: every connection leaves one line that says who, where, how much, how long and why it ended.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use ringgate_tests::{Ringgate, Server, answers, in_parallel, read_to_end, send_all};

/// All fields of a connection that was served.
const FIELDS: [&str; 13] = [
    "time",
    "listener",
    "pool",
    "server",
    "client",
    "bytes_in",
    "bytes_out",
    "connect_s",
    "first_byte_s",
    "duration_s",
    "retries",
    "closed_by",
    "reason",
];

#[test]
fn a_line_has_every_field_with_the_right_value() {
    let server = Server::start(|mut stream| {
        stream.read_exact(&mut [0; 321]).unwrap();
        stream.write_all(&[b'a'; 123_456]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let ringgate = start(&server, "log: { access: $dir/access.log }");
    let client = ringgate.connect("web");
    send_all(&client, [b'q'; 321]);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client).unwrap().len(), 123_456);

    let log = ringgate.access_log(1);
    let line = log[0].as_object().unwrap();
    let mut fields: Vec<&str> = line.keys().map(String::as_str).collect();
    fields.sort_unstable();
    let mut expected = FIELDS.to_vec();
    expected.sort_unstable();
    assert_eq!(fields, expected);

    let text = |field: &str| line[field].as_str().unwrap();
    let number = |field: &str| line[field].as_f64().unwrap();
    assert_eq!(
        (text("listener"), text("pool"), text("server")),
        ("web", "app", "s")
    );
    assert_eq!(text("client"), client.local_addr().unwrap().to_string());
    assert_eq!(
        (number("bytes_in"), number("bytes_out"), number("retries")),
        (321.0, 123_456.0, 0.0)
    );
    assert_eq!(text("reason"), "done");
    assert!(["client", "server"].contains(&text("closed_by")));
    assert!(number("connect_s") > 0.0 && number("first_byte_s") > 0.0);
    assert!(
        number("duration_s") >= number("first_byte_s") && number("duration_s") < 10.0,
        "{line:?}"
    );
    assert!(is_now(text("time")), "{line:?}");
}

/// RFC 3339 in UTC, and the day of today.
fn is_now(time: &str) -> bool {
    let days = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        / 86_400;
    // A test around midnight may see the day before.
    let days_of = |time: &str| -> Option<u64> {
        let (year, month, day): (i64, i64, i64) = (
            time.get(0..4)?.parse().ok()?,
            time.get(5..7)?.parse().ok()?,
            time.get(8..10)?.parse().ok()?,
        );
        // Days from civil: the year begins in March, so that the leap day is its last.
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let (era, year_of_era) = (year / 400, year % 400);
        let day_of_year = (153 * month + 2) / 5 + day - 1;
        u64::try_from(
            era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
                - 719_468,
        )
        .ok()
    };
    time.len() >= 20
        && time.ends_with('Z')
        && time.as_bytes()[10] == b'T'
        && days_of(time).is_some_and(|day| day.abs_diff(days) <= 1)
}

#[test]
fn every_connection_has_one_line() {
    const CONNECTIONS: usize = 2_000;
    let server = Server::echo();
    let ringgate = start(&server, "log: { access: $dir/access.log }");
    let mut ports = in_parallel(4, CONNECTIONS, |number| {
        let client = ringgate.connect("web");
        let sent = "x".repeat(1 + number % 7);
        send_all(&client, &sent);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&client).unwrap(), sent);
        (client.local_addr().unwrap().to_string(), sent.len() as u64)
    });
    let log = ringgate.access_log(CONNECTIONS);
    let mut logged: Vec<_> = log
        .iter()
        .map(|line| {
            assert_eq!(line["bytes_in"], line["bytes_out"], "{line}");
            (
                line["client"].as_str().unwrap().to_owned(),
                line["bytes_in"].as_u64().unwrap(),
            )
        })
        .collect();
    ports.sort_unstable();
    logged.sort_unstable();
    assert_eq!(logged, ports);
}

#[test]
fn the_text_format_says_the_same_to_people() {
    let server = Server::saying("good");
    let ringgate = start(&server, "log: { access: $dir/access.log, format: text }");
    answers(ringgate.addr("web"), 1, 1);
    let lines = ringgate.access_lines(1);
    for word in [
        "listener=web",
        "pool=app",
        "server=s",
        "client=127.0.0.1:",
        "bytes_in=0",
        "bytes_out=4",
        "retries=0",
        "reason=done",
    ] {
        assert!(lines[0].contains(word), "{word:?} is not in {}", lines[0]);
    }
    assert_eq!(lines.len(), 1);
}

#[test]
fn the_standard_output_takes_the_lines_unless_told_otherwise() {
    let server = Server::saying("good");
    let mut ringgate = start(&server, "log: { level: info }");
    answers(ringgate.addr("web"), 1, 3);
    ringgate.wait_until_quiet();
    ringgate.term();
    assert_eq!(ringgate.wait_exit(ringgate_tests::PATIENCE), Some(0));
    let stdout = std::fs::read_to_string(ringgate.path("stdout")).unwrap();
    let connections = stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    assert_eq!(
        connections
            .filter(|line| line["listener"] == "web" && line["reason"] == "done")
            .count(),
        3,
        "{stdout}"
    );
}

#[test]
fn off_is_off() {
    let server = Server::saying("good");
    let mut ringgate = start(&server, "log: { access: off }");
    answers(ringgate.addr("web"), 1, 3);
    ringgate.wait_until_quiet();
    ringgate.term();
    assert_eq!(ringgate.wait_exit(ringgate_tests::PATIENCE), Some(0));
    assert!(
        !ringgate.output().contains("bytes_in"),
        "{}",
        ringgate.output()
    );
    assert!(!ringgate.path("access.log").exists());
}

#[test]
fn a_stop_writes_the_last_lines() {
    let server = Server::echo();
    let mut ringgate = start(&server, "log: { access: $dir/access.log }");
    let clients: Vec<TcpStream> = (0..50).map(|_| ringgate.connect("web")).collect();
    ringgate.wait_for_metric("ringgate_listener_connections_active", &[], 50.0);
    ringgate.term();
    drop(clients);
    assert_eq!(ringgate.wait_exit(ringgate_tests::PATIENCE), Some(0));
    assert_eq!(ringgate.access_log(50).len(), 50);
}

fn start(server: &Server, log: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 2
{log}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app }}
pools:
  app: {{ servers: [{{ name: s, address: '{server}' }}], health: off }}
"
    ))
}
