//! Promise: servers that speak HTTP/2 get it within the bounds that they set, what they refuse goes to another
//! connection, and gRPC goes from end to end with its trailers.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use ringgate_tests::{
    Authority, Ends, Frame, H2, H2Answer, H2Message, H2Server, MAX_CONCURRENT_STREAMS, Ringgate,
    Says, ServesTls, TlsServer, Wire, get, head, in_parallel, request, serve_all,
};

/// A listener `$web` in front of a pool of HTTP/2 servers, with these further settings of the pool.
fn start(servers: &[&H2Server], pool: &str) -> Ringgate {
    Ringgate::start(&yaml(servers, pool))
}

fn yaml(servers: &[&H2Server], pool: &str) -> String {
    let servers: Vec<String> = servers
        .iter()
        .map(|server| format!("'{}'", server.server()))
        .collect();
    format!(
        "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: [{}], health: off, http2: true, {pool} }}
",
        servers.join(", ")
    )
}

/// What a server received, once Ringgate has closed its connections.
fn received(server: &H2Server, ringgate: Ringgate) -> Vec<H2Message> {
    drop(ringgate);
    ringgate_tests::wait_for("the server has kept it", ringgate_tests::PATIENCE, || {
        let received = server.received();
        (!received.is_empty()).then_some(received)
    })
}

/// As gRPC does to learn how long the way is.
#[test]
fn each_side_may_send_a_ping_for_each_message() {
    const MESSAGES: u64 = 300;
    let ping = || Frame::new(Frame::PING, 0, 0, [0; 8]);
    let server = H2Server::start(&[], move |end, _| {
        let mut known = Vec::new();
        while let Some(stream) = end.next_request(&mut known) {
            end.send(&ping());
            H2Answer::body("pong").send(end, stream);
        }
    });
    let ringgate = start(&[&server], "");
    let mut client = H2::connect(ringgate.addr("web"));
    for number in 0..MESSAGES {
        client.send(&ping());
        let stream = client.get("/");
        assert_eq!(client.finish(stream).answer().text(), "pong", "{number}");
    }
}

#[test]
fn a_server_that_sends_pings_without_end_is_left() {
    let server = H2Server::start(&[], |end, _| {
        let mut known = Vec::new();
        while let Some(stream) = end.next_request(&mut known) {
            let pings = Frame::new(Frame::PING, 0, 0, [0; 8]).bytes().repeat(1_000);
            end.bytes(&pings);
            H2Answer::body("late").send(end, stream);
        }
    });
    let ringgate = start(&[&server], "");
    let answer = Wire::connect(ringgate.addr("web")).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let found = (answer.status, answer.reason());
    assert_eq!(found, (502, Some("server_reset".to_owned())));
}

#[test]
fn clients_of_either_version_reach_an_http2_server() {
    let server = H2Server::answering(|request| {
        H2Answer::body(format!(
            "{} {} {}",
            request.field(":method").unwrap_or_default(),
            request.field(":path").unwrap_or_default(),
            request.body.len()
        ))
    });
    let ringgate = start(&[&server], "");
    let answer = get(ringgate.connect("web"), "/one?a=1").unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "GET /one?a=1 0")
    );
    let answer = request(ringgate.connect("web"), "POST", "/two", "twelve bytes").unwrap();
    assert_eq!(answer.body, "POST /two 12");
    let mut client = H2::connect(ringgate.addr("web"));
    let stream = client.open(&head("PUT", "/three"), Ends::Later);
    client.body(stream, &[b'x'; 300_000], Ends::Here);
    assert_eq!(client.finish(stream).answer().text(), "PUT /three 300000");
    assert_eq!(
        server.server().accepted(),
        1,
        "one connection takes them all"
    );
    drop(client);

    let received = received(&server, ringgate);
    assert_eq!(received.len(), 3, "{received:?}");
    for request in received {
        let field = |name| request.field(name);
        assert!(field(":authority").is_some(), "{request:?}");
        assert_eq!(field(":scheme"), Some("http"), "{request:?}");
        for hop in ["connection", "host", "transfer-encoding", "keep-alive"] {
            assert_eq!(field(hop), None, "{request:?}");
        }
        assert_eq!(field("x-forwarded-for"), Some("127.0.0.1"));
        assert!(field("x-request-id").is_some_and(|id| id.len() == 32));
    }
}

#[test]
fn no_more_streams_are_open_than_the_server_allows() {
    const MAX: usize = 3;
    const REQUESTS: usize = 60;
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let server = H2Server::start(&[(MAX_CONCURRENT_STREAMS, 3)], move |end, _| {
        let mut answered = Vec::new();
        loop {
            // A ping is answered behind all that was sent before it.
            let pings = end.acknowledged;
            end.send(&Frame::new(Frame::PING, 0, 0, [0; 8]));
            end.wait("a pong", |end| end.acknowledged > pings);
            end.wait("a whole request", |end| end.messages.len() > answered.len());
            let open: Vec<u32> = end
                .messages
                .keys()
                .copied()
                .filter(|stream| !answered.contains(stream))
                .collect();
            let Some(first) = open.first() else { return };
            seen.fetch_max(open.len(), Relaxed);
            H2Answer::body("done").send(end, *first);
            answered.push(*first);
        }
    });
    let ringgate = start(&[&server], "");
    let answers = in_parallel(12, REQUESTS, |_| get(ringgate.connect("web"), "/").unwrap());
    assert!(
        answers.iter().all(|answer| answer.body == "done"),
        "{answers:?}"
    );
    let most = most.load(Relaxed);
    assert!(most <= MAX, "{most} streams were open at once");
}

/// What a server does with its first request, the method of that, and how it ends for the client.
#[derive(Debug)]
struct Refusal {
    what: &'static str,
    refuses: fn(&mut H2, u32),
    method: &'static str,
    expected: u16,
}

#[test]
fn what_a_server_refused_is_tried_again_and_what_it_may_have_done_is_not() {
    let row = |what, refuses, method, expected| Refusal {
        what,
        refuses,
        method,
        expected,
    };
    let refused_stream: fn(&mut H2, u32) = |end, stream| end.send(&Frame::reset(stream, 7));
    let broke: fn(&mut H2, u32) = |end, stream| end.send(&Frame::reset(stream, 2));
    for case in [
        row("REFUSED_STREAM, GET", refused_stream, "GET", 200),
        row("REFUSED_STREAM, POST", refused_stream, "POST", 200),
        row("INTERNAL_ERROR, POST", broke, "POST", 502),
    ] {
        // Whichever of the two comes first refuses, and the other one serves.
        let has_refused = Arc::new(AtomicBool::new(false));
        let [one, two] = [(); 2].map(|()| {
            let has_refused = has_refused.clone();
            H2Server::start(&[], move |end, _| {
                let mut known = Vec::new();
                while let Some(stream) = end.next_request(&mut known) {
                    match has_refused.swap(true, Relaxed) {
                        false => (case.refuses)(end, stream),
                        true => H2Answer::body("second").send(end, stream),
                    }
                }
            })
        });
        let ringgate = start(&[&one, &two], "retry: { attempts: 2 }");
        let answer = request(ringgate.connect("web"), case.method, "/", "").unwrap();
        assert_eq!(answer.status, case.expected, "{}: {answer:?}", case.what);
        if case.expected == 200 {
            assert_eq!(answer.body, "second", "{}", case.what);
        }
    }
}

#[test]
fn a_server_that_leaves_before_a_request_gets_it_on_a_new_connection() {
    for method in ["GET", "POST"] {
        let server = H2Server::start(&[], |end, number| {
            if number > 0 {
                return serve_all(end, &|_: &H2Message| H2Answer::body("second"));
            }
            let mut known = Vec::new();
            let Some(first) = end.next_request(&mut known) else {
                return;
            };
            H2Answer::body("first").send(end, first);
            // It goes when the next one is on its way already.
            if end.next_request(&mut known).is_some() {
                end.send(&Frame::go_away(first, 0));
                end.wait("the end", |_| false);
            }
        });
        let ringgate = start(&[&server], "");
        for expected in ["first", "second", "second"] {
            let answer = request(ringgate.connect("web"), method, "/", "").unwrap();
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (200, expected),
                "{method}"
            );
        }
    }
}

#[test]
fn a_connection_that_was_stale_is_no_answer_to_what_may_be_repeated() {
    for (method, expected) in [("GET", (200, "second")), ("POST", (502, ""))] {
        let server = H2Server::start(&[], |end, number| {
            if number > 0 {
                return serve_all(end, &|_: &H2Message| H2Answer::body("second"));
            }
            let mut known = Vec::new();
            let Some(first) = end.next_request(&mut known) else {
                return;
            };
            H2Answer::body("first").send(end, first);
            // It closes without a word when the next one has come.
            end.next_request(&mut known);
        });
        let ringgate = start(&[&server], "");
        let ask = |method| request(ringgate.connect("web"), method, "/", "").unwrap();
        assert_eq!(ask(method).body, "first");
        let answer = ask(method);
        assert_eq!(answer.status, expected.0, "{method}: {answer:?}");
        let line = ringgate.access_log(2).swap_remove(1);
        if answer.status == 200 {
            assert_eq!(answer.body, expected.1, "{method}");
            assert_eq!(
                (&line["retries"], &line["reason"]),
                (&1.into(), &"done".into())
            );
        } else {
            assert_eq!(line["reason"], "server_reset", "{line}");
            assert_eq!(server.server().accepted(), 1, "it is not sent again");
        }
        assert_eq!(ask("POST").body, "second", "{method}");
    }
}

/// What would be a second answer on a connection of HTTP/1.1.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

#[test]
fn a_body_that_an_answer_may_not_have_reaches_nobody() {
    let server = H2Server::answering(|request| {
        let path = request.field(":path").unwrap_or_default();
        if path == "/good" {
            return H2Answer::body("good");
        }
        H2Answer {
            head: vec![(":status", path[1..].to_owned())],
            body: POISON.into(),
            ..H2Answer::default()
        }
    });
    let ringgate = start(&[&server], "");
    let cases = [("GET", 204), ("GET", 304), ("HEAD", 200), ("HEAD", 404)];
    let mut one = Wire::connect(ringgate.addr("web"));
    let mut two = H2::connect(ringgate.addr("web"));
    for (method, status) in cases {
        one.send(format!("{method} /{status} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = one.try_answer(method).unwrap();
        assert_eq!(
            (answer.status, &answer.text()[..]),
            (status, ""),
            "{method}"
        );
        let good = one.ask("GET /good HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(good.text(), "good", "{method} {status}");

        let stream = two.open(&head(method, &format!("/{status}")), Ends::Here);
        let answer = two.finish(stream).answer();
        assert_eq!(
            (answer.status(), &answer.text()[..]),
            (status, ""),
            "{method}"
        );
        let good = two.get("/good");
        assert_eq!(
            two.finish(good).answer().text(),
            "good",
            "{method} {status}"
        );
    }
}

#[test]
fn a_server_that_goes_away_ends_what_it_has_begun_and_gets_nothing_new() {
    let server = H2Server::start(&[], |end, number| {
        if number > 0 {
            return serve_all(end, &|_: &H2Message| H2Answer::body("second"));
        }
        let mut known = Vec::new();
        let Some(stream) = end.next_request(&mut known) else {
            return;
        };
        end.send(&Frame::go_away(stream, 0));
        // It answers only when the second connection is asked for, or never.
        H2Answer::body("first").send(end, stream);
        end.wait("the end", |_| false);
        assert_eq!(end.messages.len(), 1, "nothing comes after the GOAWAY");
    });
    let ringgate = start(&[&server], "");
    let mut bodies = Vec::new();
    for _ in 0..20 {
        bodies.push(get(ringgate.connect("web"), "/").unwrap().body);
    }
    assert_eq!(bodies[0], "first");
    assert!(
        bodies[1..].iter().all(|body| body == "second"),
        "{bodies:?}"
    );
}

#[test]
fn grpc_goes_from_end_to_end_with_its_trailers() {
    let server = H2Server::answering(|request| H2Answer {
        head: vec![
            (":status", "200".to_owned()),
            ("content-type", "application/grpc".to_owned()),
        ],
        body: request.body.clone(),
        trailers: vec![
            ("grpc-status", "0".to_owned()),
            (
                "grpc-message",
                request.field("te").unwrap_or("none").to_owned(),
            ),
        ],
    });
    let ringgate = start(&[&server], "");
    let mut client = H2::connect(ringgate.addr("web"));
    let mut fields = head("POST", "/echo.Echo/Say").to_vec();
    fields.extend([("content-type", "application/grpc"), ("te", "trailers")]);
    let streams: Vec<u32> = (0..10).map(|_| client.open(&fields, Ends::Later)).collect();
    let message = [&[0, 0, 0, 4, 0][..], &[b'm'; 1024]].concat();
    for stream in &streams {
        client.body(*stream, &message, Ends::Here);
    }
    for stream in streams {
        let answer = client.finish(stream).answer();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("content-type"), Some("application/grpc"));
        assert_eq!(answer.body, message);
        assert_eq!(
            answer.trailer("grpc-status"),
            Some("0"),
            "{:?}",
            answer.heads
        );
        assert_eq!(answer.trailer("grpc-message"), Some("trailers"));
    }
    // A call that fails at once has trailers alone: its head ends the stream.
    let refusing = H2Server::answering(|_| H2Answer {
        head: vec![
            (":status", "200".to_owned()),
            ("content-type", "application/grpc".to_owned()),
            ("grpc-status", "7".to_owned()),
        ],
        ..H2Answer::default()
    });
    let ringgate = start(&[&refusing], "");
    let mut client = H2::connect(ringgate.addr("web"));
    let stream = client.open(&fields, Ends::Here);
    let answer = client.finish(stream).answer();
    assert_eq!(answer.field("grpc-status"), Some("7"));
    assert!(answer.body.is_empty());
}

#[test]
fn a_stream_goes_both_ways_before_either_side_has_ended() {
    let server = H2Server::start(&[], |end, _| {
        let mut known = Vec::new();
        let Some(stream) = end.next_request(&mut known) else {
            return;
        };
        end.fields(stream, &[(":status", "200")], Ends::Later);
        let mut echoed = 0;
        loop {
            end.wait("more", |end| {
                let message = &end.messages[&stream];
                message.body.len() > echoed || message.ended
            });
            let message = end.messages[&stream].clone();
            end.body(stream, &message.body[echoed..], Ends::Later);
            echoed = message.body.len();
            if message.ended || end.closed {
                end.fields(stream, &[("grpc-status", "0")], Ends::Here);
                return end.wait("the end", |_| false);
            }
        }
    });
    let ringgate = start(&[&server], "");
    let mut client = H2::connect(ringgate.addr("web"));
    let stream = client.open(&head("POST", "/chat"), Ends::Later);
    for round in 1..=20 {
        client.body(stream, b"ping", Ends::Later);
        client.wait("the echo", |end| {
            end.messages
                .get(&stream)
                .is_some_and(|message| message.body.len() == 4 * round)
        });
        assert!(!client.closed, "{:?}", client.go_away);
    }
    client.body(stream, b"last", Ends::Here);
    let answer = client.finish(stream).answer();
    assert_eq!(answer.body.len(), 84);
    assert_eq!(answer.trailer("grpc-status"), Some("0"));
}

#[test]
fn a_stream_that_its_client_leaves_is_cancelled_at_the_server() {
    let server = H2Server::start(&[], |end, _| {
        let mut known = Vec::new();
        let Some(stream) = end.next_request(&mut known) else {
            return;
        };
        end.wait("the reset", |end| end.messages[&stream].reset.is_some());
        while let Some(stream) = end.next_request(&mut known) {
            H2Answer::body("next").send(end, stream);
        }
    });
    let ringgate = start(&[&server], "");
    let mut client = H2::connect(ringgate.addr("web"));
    let left = client.get("/slow");
    ringgate.wait_for_metric("ringgate_pool_connections_active", &[("pool", "app")], 1.0);
    client.send(&Frame::reset(left, 8));
    let next = client.get("/next");
    assert_eq!(client.finish(next).answer().text(), "next");
    assert_eq!(server.server().accepted(), 1, "the connection goes on");
}

#[test]
fn an_answer_that_its_client_leaves_while_it_is_silent_is_cancelled_at_the_server() {
    let server = H2Server::start(&[], |end, _| {
        let mut known = Vec::new();
        while let Some(stream) = end.next_request(&mut known) {
            if end.messages[&stream].field(":path") == Some("/next") {
                H2Answer::body("next").send(end, stream);
                continue;
            }
            end.fields(stream, &[(":status", "200")], Ends::Later);
            end.body(stream, b"hi", Ends::Later);
            end.wait("the reset", |end| end.messages[&stream].reset.is_some());
        }
    });
    let ringgate = start(&[&server], "");
    let mut client = H2::connect(ringgate.addr("web"));
    let left = client.get("/events");
    client.wait("a piece of the answer", |end| {
        let message = end.messages.get(&left);
        message.is_some_and(|message| message.text() == "hi")
    });
    client.send(&Frame::reset(left, 8));
    // Answered only behind the reset.
    let next = client.get("/next");
    assert_eq!(client.finish(next).answer().text(), "next");
    assert_eq!(server.server().accepted(), 1, "the connection goes on");
}

#[test]
fn over_tls_the_server_is_asked_for_h2_by_name() {
    let authority = Authority::new("ca");
    let identity = authority.sign(&Says::names(&["app.internal"]));
    let serving = |alpn: &'static [&'static str]| {
        let tls = TlsServer::new(ServesTls {
            alpn,
            ..ServesTls::showing(&identity)
        });
        H2Server::start_tls(tls, |end, _| {
            serve_all(end, &|_: &H2Message| H2Answer::body("tls"))
        })
    };
    let (with, without) = (serving(&["h2"]), serving(&[]));
    let pool = "tls: { ca: $dir/ca.pem, server_name: app.internal }";
    for (server, status) in [(&with, 200), (&without, 502)] {
        let ringgate = Ringgate::start_prepared(&yaml(&[server], pool), |dir| {
            std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
        });
        let answer = get(ringgate.connect("web"), "/").unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
    }
}
