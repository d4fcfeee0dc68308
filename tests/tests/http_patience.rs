//! Promise: what is slow or silent for good reason goes on: who reads slowly but reads, who is silent while the other side
//! speaks, and a server that says nothing for long after it has changed the protocol.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ringgate_tests::{
    Ends, H2, H2Server, Pattern, Recorder, Ringgate, Then, Wire, head, wait_until,
};

/// The clock that none of this may be cut by.
const CLOCK: Duration = Duration::from_secs(1);

/// Far beyond it.
const LONG: Duration = Duration::from_millis(2500);

/// Far below it.
const SHORT: Duration = Duration::from_millis(100);

fn gateway(servers: &str, pool: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ idle: 1s, first_byte: 1s }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{servers}], health: off {pool} }}
"
    ))
}

#[test]
fn who_reads_slowly_is_not_one_who_does_not_read() {
    const LENGTH: u64 = 32 << 20;
    const PIECE: u64 = 16 << 10;
    let server = Recorder::serving(|exchange| {
        exchange.request()?;
        exchange.send(match exchange.target() {
            "/chunked" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2000000\r\n".to_owned()
            }
            _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"),
        })?;
        Pattern::new().write(exchange.stream(), LENGTH, |_| {})?;
        if exchange.target() == "/chunked" {
            exchange.send("\r\n0\r\n\r\n")?;
        }
        Ok(Then::Keep)
    });
    let ringgate = gateway(&server.to_string(), "");
    for target in ["/length", "/chunked"] {
        let mut wire = Wire::connect(ringgate.addr("web"));
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = wire.answer_with("GET", |body| {
            // Some hundred KiB in a second: the socket's buffer has room again only after many of them.
            let begun = Instant::now();
            let mut slow = vec![0; PIECE as usize];
            let mut read = 0;
            while begun.elapsed() < LONG {
                body.read_exact(&mut slow)?;
                read += PIECE;
                sleep(SHORT / 2);
            }
            let rest = std::io::copy(body, &mut std::io::sink())?;
            assert_eq!(read + rest, LENGTH, "{target}");
            Ok(())
        });
        assert_eq!(answer.unwrap().cut, None, "{target}");
    }
}

#[test]
fn a_silent_side_waits_for_the_one_that_speaks() {
    let server = Recorder::serving(|exchange| {
        let mut stream = exchange.stream().try_clone()?;
        if exchange.target() == "/server-speaks" {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let begun = Instant::now();
            while begun.elapsed() < LONG {
                stream.write_all(b"4\r\ntick\r\n")?;
                sleep(SHORT);
            }
            exchange.request()?;
            exchange.send("0\r\n\r\n")?;
        } else {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")?;
            exchange.request()?;
            exchange.send("done")?;
        }
        Ok(Then::Keep)
    });
    let ringgate = gateway(&server.to_string(), "");
    let begin = |target: &str| {
        let mut wire = Wire::connect(ringgate.addr("web"));
        wire.send(format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
        ));
        wire
    };
    let mut wire = begin("/server-speaks");
    let mut to = wire.stream().try_clone().unwrap();
    let answer = wire.answer_with("POST", |body| {
        let begun = Instant::now();
        while begun.elapsed() < LONG - CLOCK {
            body.read_exact(&mut [0; 4])?;
        }
        to.write_all(b"0\r\n\r\n")?;
        std::io::copy(body, &mut std::io::sink()).map(drop)
    });
    assert_eq!(answer.unwrap().cut, None);

    let mut wire = begin("/client-speaks");
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        wire.send("4\r\ntick\r\n");
        sleep(SHORT);
    }
    wire.send("0\r\n\r\n");
    let answer = wire.answer();
    assert_eq!((answer.text().as_str(), answer.cut), ("done", None));
}

/// As those who watch something by gRPC: the request goes on, without a word, while answers come.
#[test]
fn a_watch_goes_on_over_streams_whose_request_is_open() {
    let server = H2Server::start(&[], |end, _| {
        let mut known = Vec::new();
        let Some(stream) = end.next_request(&mut known) else {
            return;
        };
        end.fields(stream, &[(":status", "200")], Ends::Later);
        let begun = Instant::now();
        while begun.elapsed() < LONG {
            end.body(stream, b"news", Ends::Later);
            sleep(SHORT);
        }
        end.fields(stream, &[("grpc-status", "0"), ("my_key", "1")], Ends::Here);
        end.wait("the end", |_| false);
    });
    let ringgate = gateway(&format!("'{}'", server.server()), ", http2: true");
    let mut client = H2::connect(ringgate.addr("web"));
    let mut fields = head("POST", "/watch.Watch/Watch").to_vec();
    fields.extend([("content-type", "application/grpc"), ("te", "trailers")]);
    let stream = client.open(&fields, Ends::Later);
    client.body(stream, b"watch", Ends::Later);
    let answer = client.finish(stream).answer();
    assert!(answer.body.len() > 4 * 10, "{answer:?}");
    assert_eq!(answer.trailer("grpc-status"), Some("0"));
    assert_eq!(answer.trailer("my_key"), Some("1"));
}

#[test]
fn a_server_has_spoken_when_it_has_changed_the_protocol() {
    let server = Recorder::serving(|exchange| {
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        )?;
        exchange.bytes(9)?;
        // The clock of a first byte would be over, that of silence is another one.
        sleep(2 * CLOCK);
        exchange.send("news")?;
        Ok(Then::Close)
    });
    let ringgate = Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ first_byte: 1s }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    ));
    let mut wire = Wire::connect(ringgate.addr("web"));
    let answer =
        wire.ask("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(answer.status, 101);
    wire.send("subscribe");
    assert_eq!(wire.bytes(4).unwrap(), b"news");
}

#[test]
fn when_neither_side_speaks_the_exchange_ends() {
    let server = Recorder::serving(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12")?;
        exchange.request()?;
        Ok(Then::Close)
    });
    let ringgate = gateway(&server.to_string(), "");
    let mut wire = Wire::connect(ringgate.addr("web"));
    wire.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1");
    wire.end();
    let line = &ringgate.access_log(1)[0];
    let reason = line["reason"].as_str().unwrap();
    assert!(["client_idle", "server_idle"].contains(&reason), "{line}");
    assert_eq!(line["closed_by"], "ringgate");
    wait_until("the server sees the end", ringgate_tests::PATIENCE, || {
        server.connections()[0].ended.is_some()
    });
}
