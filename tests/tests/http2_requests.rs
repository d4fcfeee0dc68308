//! Promise: HTTP/2 clients get what HTTP/1.1 clients get, whatever the servers behind speak: bodies both ways, fields,
//! trailers and interim answers, within the bounds that they are told of.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::Read;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use ringgate_tests::{
    Authority, Ends, Frame, H2, H2End, MAX_CONCURRENT_STREAMS, PATIENCE, Recorder, Ringgate, Says,
    Then, TlsClient, head, ok, refuses, wait_until,
};

/// A listener `$web` with that `http:` block.
fn start(server: &Recorder, http: &str) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{ {http} }} }}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
    ))
}

#[test]
fn a_request_becomes_one_of_http1_with_its_fields() {
    let server = Recorder::start();
    let ringgate = start(&server, "");
    let mut client = H2::connect(ringgate.addr("web"));
    let mut fields = head("GET", "/a/../b?c=%20d").to_vec();
    fields[2].1 = "A.example.com:8080";
    fields.extend([
        ("cookie", "one=1"),
        ("accept", "*/*"),
        ("cookie", "two=2"),
        ("cookie", "three=3"),
        ("te", "trailers"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-consumer", "root"),
        ("x_underscored", "1"),
    ]);
    let stream = client.open(&fields, Ends::Here);
    let answer = client.finish(stream).answer();
    assert_eq!(
        (answer.status(), answer.text()),
        (200, "/b?c=%20d".to_owned())
    );
    let request = server.last();
    assert_eq!(request.head.line, "GET /b?c=%20d HTTP/1.1");
    for (name, expected) in [
        ("host", Some("a.example.com:8080")),
        ("cookie", Some("one=1; two=2; three=3")),
        ("accept", Some("*/*")),
        ("te", Some("trailers")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("a.example.com:8080")),
        ("forwarded", None),
        ("x-real-ip", None),
        ("x-consumer", None),
        ("x_underscored", None),
        (
            "traceparent",
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ),
        ("content-length", None),
        ("transfer-encoding", None),
    ] {
        let all: Vec<&str> = request.head.all(name).collect();
        assert_eq!(
            all,
            Vec::from_iter(expected),
            "{name} of {:?}",
            request.head
        );
    }
    let id = answer.field("x-request-id").unwrap();
    assert_eq!(request.field("x-request-id"), Some(id));
    assert!(
        request
            .head
            .fields
            .iter()
            .all(|(name, _)| !name.starts_with(':'))
    );
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn bodies_of_any_size_go_both_ways_by_flow_control() {
    let server = Recorder::answering(|request| {
        let echo = String::from_utf8(request.body.clone()).unwrap();
        ok(&echo)
    });
    let ringgate = start(&server, "limits: { body: off }");
    let mut client = H2::connect(ringgate.addr("web"));
    for size in [0, 1, 16_384, 65_535, 65_536, 1_000_000, 5_000_000] {
        let body: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        let length = size.to_string();
        for with_length in [true, false] {
            let mut fields = head("POST", "/echo").to_vec();
            if with_length {
                fields.push(("content-length", &length));
            }
            let stream = client.open(&fields, Ends::Later);
            client.body(stream, &body, Ends::Later);
            client.send(&Frame::new(Frame::DATA, Frame::END_STREAM, stream, []));
            let answer = client.finish(stream).answer();
            assert_eq!(answer.status(), 200);
            assert!(answer.body == body, "{size} became {}", answer.body.len());
            let framing = server.last().field("content-length").map(str::to_owned);
            // A body of no bytes may go on in chunks.
            let says_it = with_length && size > 0;
            assert_eq!(framing, says_it.then(|| length.clone()));
            client.messages.clear();
        }
    }
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn streams_of_one_connection_do_not_wait_for_each_other() {
    let server = Recorder::serving(|exchange| {
        let request = exchange.request()?;
        if request.target() == "/slow" {
            // It is answered after those that came later.
            exchange.wait_for_end()?;
            return Ok(Then::Close);
        }
        exchange.send(ok(&"x".repeat(200_000)))?;
        Ok(Then::Keep)
    });
    let ringgate = start(&server, "");
    let mut client = H2::connect(ringgate.addr("web"));
    let slow = client.get("/slow");
    let fast: Vec<u32> = (0..20).map(|_| client.get("/fast")).collect();
    for stream in fast {
        assert_eq!(client.finish(stream).answer().body.len(), 200_000);
    }
    client.send(&Frame::reset(slow, 8));
    wait_until("the server is let go", PATIENCE, || {
        server.connections().iter().any(|each| each.ended.is_some())
    });
}

#[test]
fn trailers_go_both_ways() {
    let server = Recorder::serving(|exchange| {
        exchange.request()?;
        exchange.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n",
        )?;
        Ok(Then::Keep)
    });
    let ringgate = start(&server, "");
    let mut client = H2::connect(ringgate.addr("web"));
    let mut fields = head("POST", "/").to_vec();
    fields.push(("te", "trailers"));
    let stream = client.open(&fields, Ends::Later);
    client.body(stream, b"body", Ends::Later);
    client.fields(stream, &[("x-check", "4")], Ends::Here);
    let answer = client.finish(stream).answer();
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.trailer("x-sum"), Some("5"), "{:?}", answer.heads);
    let request = server.last();
    assert_eq!(
        (request.text().as_str(), &request.trailers[..]),
        ("body", &[("x-check".to_owned(), "4".to_owned())][..])
    );
    for hop in ["connection", "transfer-encoding", "keep-alive"] {
        assert_eq!(answer.field(hop), None);
    }
}

#[test]
fn answers_without_a_body_and_before_the_answer() {
    let server = Recorder::serving(|exchange| {
        let request = exchange.request()?;
        let answer = match request.target() {
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 9\r\n\r\n",
            "/103" => {
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            }
            _ => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
        };
        exchange.send(answer)?;
        let ends_by_close = request.target() == "/close";
        Ok(if ends_by_close {
            Then::Close
        } else {
            Then::Keep
        })
    });
    let ringgate = start(&server, "");
    let mut client = H2::connect(ringgate.addr("web"));
    for (method, path, status, body) in [
        ("HEAD", "/head", 200, ""),
        ("GET", "/204", 204, ""),
        ("GET", "/304", 304, ""),
        ("GET", "/103", 200, "ok"),
        ("GET", "/close", 200, "until the end"),
    ] {
        let stream = client.open(&head(method, path), Ends::Here);
        let answer = client.finish(stream).answer();
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (status, body),
            "{path}"
        );
        if path == "/head" {
            assert_eq!(answer.field("content-length"), Some("1234"));
        }
        if path == "/103" {
            assert_eq!(answer.heads.len(), 3, "{:?}", answer.heads);
            assert!(answer.heads[0].contains(&("link".to_owned(), "</a.css>".to_owned())));
        }
    }
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn an_answer_that_is_cut_resets_its_stream_and_no_other() {
    let server = Recorder::serving(|exchange| {
        let request = exchange.request()?;
        match request.target() {
            "/cut" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")?,
            "/chunk" => exchange
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?,
            _ => {
                exchange.send(ok("whole"))?;
                return Ok(Then::Keep);
            }
        }
        Ok(Then::Close)
    });
    let ringgate = start(&server, "");
    let mut client = H2::connect(ringgate.addr("web"));
    for path in ["/cut", "/chunk"] {
        let cut = client.get(path);
        let end = client.finish(cut);
        assert!(matches!(end, H2End::Reset(_)), "{path}: {end:?}");
        let whole = client.get("/whole");
        assert_eq!(client.finish(whole).answer().text(), "whole");
    }
}

#[test]
fn a_client_is_told_how_many_streams_it_may_open_and_held_to_it() {
    let (release, released) = channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let server = Recorder::serving(move |exchange| {
        exchange.request()?;
        // Until the test lets go.
        let _let_go = released.lock().unwrap().recv_timeout(PATIENCE);
        exchange.send(ok("held"))?;
        Ok(Then::Close)
    });
    let ringgate = start(&server, "limits: { streams: 5 }");
    let mut client = H2::connect(ringgate.addr("web"));
    client.wait("the settings", |end| !end.settings.is_empty());
    assert_eq!(client.settings.get(&MAX_CONCURRENT_STREAMS), Some(&5));
    // What was sent before the settings were seen may be more (RFC 9113 §5.1.2).
    let held: Vec<u32> = (0..5).map(|_| client.get("/held")).collect();
    server.wait_received(5);
    let beyond: Vec<u32> = (0..3).map(|_| client.get("/beyond")).collect();
    for stream in beyond {
        let end = client.finish(stream);
        assert!(
            matches!(end, H2End::Reset(7)),
            "REFUSED_STREAM, not {end:?}"
        );
    }
    assert_eq!(server.received().len(), 5);
    drop(release);
    for stream in held {
        assert_eq!(client.finish(stream).answer().text(), "held");
    }
}

#[test]
fn a_connection_that_has_brought_its_requests_is_told_to_go() {
    let server = Recorder::start();
    let ringgate = start(&server, "limits: { requests_per_connection: 10 }");
    let mut client = H2::connect(ringgate.addr("web"));
    for number in 1..=10 {
        let stream = client.get("/");
        assert_eq!(client.finish(stream).status(), Some(200), "the {number}th");
    }
    assert_eq!(client.close_code(), Some(0), "NO_ERROR");
    assert_eq!(server.received().len(), 10);
}

#[test]
fn who_does_not_hear_that_it_is_to_go_gets_no_more_than_could_be_on_their_way() {
    let server = Recorder::start();
    let limits = "limits: { requests_per_connection: 5, streams: 4 }";
    let ringgate = start(&server, limits);
    let mut client = H2::connect(ringgate.addr("web"));
    // An acknowledgement would say that the first GOAWAY was seen (RFC 9113 §6.8).
    client.answers_pings = false;
    let mut answered = 0;
    while !client.closed && answered < 40 {
        let stream = client.get("/");
        answered += usize::from(client.finish(stream).status() == Some(200));
    }
    assert_eq!((answered, client.close_code()), (5 + 4, Some(0)));
    assert_eq!(server.received().len(), answered);
}

#[test]
fn an_answer_that_is_taken_back_while_it_is_silent_frees_its_server() {
    const STREAMS: usize = 20;
    let server = Recorder::serving(|exchange| {
        let request = exchange.request()?;
        if request.target() == "/good" {
            exchange.send(ok("good"))?;
            return Ok(Then::Keep);
        }
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")?;
        exchange.wait_for_end()?;
        Ok(Then::Close)
    });
    let ringgate = start(&server, "");
    let mut client = H2::connect(ringgate.addr("web"));
    let streams: Vec<u32> = (0..STREAMS).map(|_| client.get("/events")).collect();
    for stream in &streams {
        client.wait("a piece of the answer", |end| {
            let message = end.messages.get(stream);
            message.is_some_and(|message| message.text() == "hi")
        });
    }
    for stream in streams {
        client.send(&Frame::reset(stream, 8));
    }
    server.wait_all_ended();
    // One that was not freed would have given up by itself.
    assert!(server.faults().is_empty(), "{:?}", server.faults());
    let log = ringgate.access_log(STREAMS);
    let is_right = |line: &serde_json::Value| {
        line["status"] == 200 && line["closed_by"] == "client" && line["reason"] == "client_reset"
    };
    assert!(log.iter().all(is_right), "{log:#?}");
    let good = client.get("/good");
    assert_eq!(client.finish(good).answer().text(), "good");
}

#[test]
fn a_drain_says_so_and_ends_what_was_begun() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let server = Recorder::serving(move |exchange| {
        exchange.request()?;
        let _let_go = released.lock().unwrap().recv_timeout(PATIENCE);
        exchange.send(ok("begun"))?;
        Ok(Then::Close)
    });
    let mut ringgate = start(&server, "");
    let mut client = H2::connect(ringgate.addr("web"));
    let mut idle = H2::connect(ringgate.addr("web"));
    idle.wait("the settings", |end| !end.settings.is_empty());
    let begun = client.get("/begun");
    server.wait_received(1);
    ringgate.term();
    wait_until("the listener is closed", PATIENCE, || {
        refuses(ringgate.addr("web"))
    });
    client.wait("GOAWAY", |end| end.go_away.is_some());
    assert_eq!(client.go_away.map(|(_, code)| code), Some(0));
    assert_eq!(idle.close_code(), Some(0));
    drop(release);
    assert_eq!(client.finish(begun).answer().text(), "begun");
    assert_eq!(client.close_code(), Some(0));
    assert_eq!(ringgate.wait_exit(PATIENCE), Some(0));
}

#[test]
fn over_tls_the_protocol_is_agreed_on_and_the_host_must_be_covered() {
    let authority = Authority::new("ca");
    let server = Recorder::start();
    let ringgate = Ringgate::start_prepared(
        &format!(
            "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, tls: {{ certs: $dir/certs }}, http: {{}} }}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
        ),
        |dir| {
            for names in [&["a.example.com", "b.example.com"][..], &["c.example.net"]] {
                let identity = authority.sign(&Says::names(names));
                identity.write(&dir.join("certs"), names[0]);
            }
        },
    );
    let client = TlsClient::new(&authority);
    let addr = ringgate.addr("web");
    let mut h2 = H2::connect_tls(&client, addr, "a.example.com").unwrap();
    let mut ask = |host: &str| {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", host),
            (":path", "/"),
        ];
        let stream = h2.open(&fields, Ends::Here);
        h2.finish(stream).status()
    };
    assert_eq!(ask("a.example.com"), Some(200));
    assert_eq!(ask("a.example.com:443"), Some(200));
    // RFC 9113 §9.1.1: the certificate covers it, so that a client may use the connection for it.
    assert_eq!(ask("b.example.com"), Some(200));
    assert_eq!(ask("c.example.net"), Some(421), "Misdirected Request");
    assert_eq!(ask("a.example.com"), Some(200), "the connection goes on");
    assert_eq!(server.last().field("x-forwarded-proto"), Some("https"));
    // Who offers both gets HTTP/2, who offers HTTP/1.1 gets that, and so does who offers nothing.
    for (offered, agreed) in [
        (&["http/1.1", "h2"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = client
            .clone()
            .offering(offered)
            .connect(addr, "a.example.com");
        let mut stream = stream.unwrap();
        let protocol = stream.conn.alpn_protocol();
        assert_eq!(protocol, agreed.map(str::as_bytes), "{offered:?}");
        if agreed != Some("h2") {
            use std::io::Write;
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    }
}
