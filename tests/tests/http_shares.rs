//! Promise: clients who ask for much and take nothing keep nothing from others: no connections, no windows, and no
//! streams of those who only change their mind.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use ringgate_tests::{
    Ends, Frame, H2, H2Answer, H2Server, PATIENCE, Recorder, Ringgate, Then, Wire, ok, wait_until,
    wait_until_still,
};

const GET: &str = "GET /small HTTP/1.1\r\nHost: a\r\n\r\n";

/// RFC 9113 §7.
const CANCEL: u32 = 8;

fn small() -> (String, String) {
    (":path".to_owned(), "/small".to_owned())
}

/// A hundred requests of each client want a connection to a server each, and there are not that many descriptors.
#[test]
fn a_client_of_many_streams_leaves_descriptors_for_others() {
    const DESCRIPTORS: u32 = 600;
    const CLIENTS: usize = 8;
    const STREAMS: usize = 100;
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let server = Recorder::serving(move |exchange| {
        exchange.request()?;
        if exchange.target() != "/small" {
            // Until the test is over.
            let _over = told.lock().unwrap().recv();
        }
        exchange.send(ok("small"))?;
        Ok(Then::Keep)
    });
    let yaml = format!(
        "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    );
    let limit = format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}");
    let ringgate = Ringgate::start_through(&["prlimit", &limit], &yaml);
    let held = || {
        server
            .connections()
            .iter()
            .map(|each| each.heads)
            .sum::<usize>()
    };
    let mut refused = 0;
    let clients: Vec<H2> = (0..CLIENTS)
        .map(|_| {
            let mut client = H2::connect(ringgate.addr("web"));
            let before = held();
            for _ in 0..STREAMS {
                client.get("/held");
            }
            let answered = |client: &H2| client.messages.values().filter(|each| each.ended).count();
            wait_until("each is held or refused", PATIENCE, || {
                client.read_ready();
                answered(&client) + held() - before == STREAMS
            });
            refused += answered(&client);
            assert_eq!(Wire::connect(ringgate.addr("web")).ask(GET).text(), "small");
            client
        })
        .collect();
    assert!(refused > 0, "all were let through");
    let used = ringgate.proc().descriptors().len();
    assert!(used < DESCRIPTORS as usize - 50, "{used} descriptors");
    let log = ringgate.access_log(refused + CLIENTS);
    let lines: Vec<_> = log.iter().filter(|line| line["status"] == 503).collect();
    assert_eq!(lines.len(), refused);
    assert!(lines.iter().all(|line| line["reason"] == "overload"));
    drop((clients, go_on));
}

/// Clients of HTTP/1 that ask for much and read nothing, over the one connection to a server of HTTP/2.
#[test]
fn who_takes_no_answer_keeps_no_window_from_others() {
    const IDLERS: usize = 20;
    let server = H2Server::start(&[], |end, _| {
        let mut known = BTreeSet::new();
        let piece = [b'x'; 16 << 10];
        while !end.closed {
            end.next_frame();
            let heads = end.messages.iter();
            let asks =
                heads.map(|(stream, message)| (*stream, message.heads[0].contains(&small())));
            for (stream, is_small) in asks.collect::<Vec<_>>() {
                match (known.insert(stream), is_small) {
                    (true, true) => H2Answer::body("small").send(end, stream),
                    (true, false) => end.fields(stream, &[(":status", "200")], Ends::Later),
                    (false, _) => {}
                }
                // As much as may be sent, and never a wait for one of them.
                while !is_small && end.credit(stream) >= piece.len() as i64 {
                    end.body(stream, &piece, Ends::Later);
                }
            }
        }
    });
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: ['{}'], health: off, http2: true }}
",
        server.server()
    ));
    let idlers: Vec<Wire> = (0..IDLERS)
        .map(|_| {
            let mut wire = Wire::connect(ringgate.addr("web"));
            wire.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
            wire
        })
        .collect();
    let sent = || ringgate.metric("ringgate_relay_bytes_total", &[]) as u64;
    wait_until_still("what goes to those who do not read", sent);
    let mut wire = Wire::connect(ringgate.addr("web"));
    for _ in 0..100 {
        assert_eq!(wire.ask(GET).text(), "small");
    }
    drop(idlers);
}

/// As those who watch something for a while, or seek in a video.
#[test]
fn answers_that_have_begun_may_be_taken_back_as_often_as_one_likes() {
    let server = Recorder::serving(|exchange| {
        exchange.request()?;
        exchange.send(match exchange.target() {
            "/small" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall",
            _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnews\r\n",
        })?;
        if exchange.target() != "/small" {
            exchange.wait_for_end()?;
            return Ok(Then::Close);
        }
        Ok(Then::Keep)
    });
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    ));
    let mut client = H2::connect(ringgate.addr("web"));
    for number in 0..300 {
        let stream = client.get("/watch");
        client.wait("the first news", |end| {
            let message = end.messages.get(&stream);
            end.closed || message.is_some_and(|message| message.body == b"news")
        });
        client.send(&Frame::reset(stream, CANCEL));
        assert!(client.go_away.is_none(), "after {number}");
    }
    let stream = client.get("/small");
    assert_eq!(client.finish(stream).answer().text(), "small");
}
