//! Promise: a body that breaks its framing ends with its connection and never becomes a whole request of a server; one
//! that nobody will read, behind an early answer, is read within bounds or closed upon, never parsed.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use ringgate_tests::{Attacked, By, End, Ended, Recorder, Refused, Ringgate, Then, Wire, ok};

const BAD: &[u16] = &[400];

/// Bodies behind `Transfer-Encoding: chunked`.
const CHUNKS: &[(&str, &[u16], &str)] = &[
    ("positive size", BAD, "+5\r\nhello\r\n0\r\n\r\n"),
    ("negative size", BAD, "-5\r\nhello\r\n0\r\n\r\n"),
    ("negative zero", BAD, "-0\r\n\r\n"),
    ("hex prefix", BAD, "0x5\r\nhello\r\n0\r\n\r\n"),
    ("16 digits", BAD, "0000000000000005\r\nhello\r\n0\r\n\r\n"),
    (
        "16 digits at the end",
        BAD,
        "5\r\nhello\r\n0000000000000000\r\n\r\n",
    ),
    ("17 digits", BAD, "00000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("2^64", BAD, "10000000000000000\r\nhello\r\n0\r\n\r\n"),
    ("2^64 + 5", BAD, "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    (
        "2^64 - 1",
        &[400, 413],
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "2^63",
        &[400, 413],
        "8000000000000000\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "a bomb in its second chunk",
        &[400, 413],
        "5\r\nhello\r\nfffffffffffffffb\r\nhello\r\n0\r\n\r\n",
    ),
    ("empty size", BAD, "\r\nhello\r\n0\r\n\r\n"),
    ("size after a space", BAD, " 5\r\nhello\r\n0\r\n\r\n"),
    ("size before a space", BAD, "5 \r\nhello\r\n0\r\n\r\n"),
    ("size before a tab", BAD, "5\t\r\nhello\r\n0\r\n\r\n"),
    ("two sizes", BAD, "5 5\r\nhello\r\n0\r\n\r\n"),
    ("letter", BAD, "g\r\nhello\r\n0\r\n\r\n"),
    ("digit, letter", BAD, "5g\r\nhello\r\n0\r\n\r\n"),
    ("underscore", BAD, "1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    ("dot", BAD, "5.0\r\nhello\r\n0\r\n\r\n"),
    ("NUL", BAD, "5\0\r\nhello\r\n0\r\n\r\n"),
    (
        "digits that are not ASCII",
        BAD,
        "\u{96b}\r\nhello\r\n0\r\n\r\n",
    ),
    ("LF behind the size", BAD, "5\nhello\r\n0\r\n\r\n"),
    ("CR behind the size", BAD, "5\rhello\r\n0\r\n\r\n"),
    ("CR CR LF behind the size", BAD, "5\r\r\nhello\r\n0\r\n\r\n"),
    ("extension", BAD, "5;a=b\r\nhello\r\n0\r\n\r\n"),
    ("extension without a name", BAD, "5;\r\nhello\r\n0\r\n\r\n"),
    (
        "extension behind a space",
        BAD,
        "5 ;a\r\nhello\r\n0\r\n\r\n",
    ),
    ("LF in an extension", BAD, "5;a\nhello\r\n0\r\n\r\n"),
    ("CR in an extension", BAD, "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    (
        "open quote in an extension",
        BAD,
        "5;a=\"\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "CR LF in a quote",
        BAD,
        "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "extension of the last chunk",
        BAD,
        "5\r\nhello\r\n0;a=b\r\n\r\n",
    ),
    ("spill", BAD, "5\r\nhelloX\r\n0\r\n\r\n"),
    (
        "spill of a whole chunk",
        BAD,
        "5\r\nhello5\r\nhello\r\n0\r\n\r\n",
    ),
    ("LF behind the chunk", BAD, "5\r\nhello\n0\r\n\r\n"),
    ("CR behind the chunk", BAD, "5\r\nhello\r0\r\n\r\n"),
    ("LF CR behind the chunk", BAD, "5\r\nhello\n\r0\r\n\r\n"),
    ("nothing behind the chunk", BAD, "5\r\nhello0\r\n\r\n"),
    (
        "two lines behind the chunk",
        BAD,
        "5\r\nhello\r\n\r\n0\r\n\r\n",
    ),
    ("LF behind the last chunk", BAD, "5\r\nhello\r\n0\n\r\n"),
    ("LF at the end", BAD, "5\r\nhello\r\n0\r\n\n"),
    ("CR at the end", BAD, "5\r\nhello\r\n0\r\n\rX"),
    (
        "length in the trailers",
        BAD,
        "0\r\nContent-Length: 5\r\n\r\n",
    ),
    (
        "coding in the trailers",
        BAD,
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    ("Host in the trailers", BAD, "0\r\nHost: b\r\n\r\n"),
    (
        "Authorization in the trailers",
        BAD,
        "0\r\nAuthorization: Bearer x\r\n\r\n",
    ),
    (
        "Connection in the trailers",
        BAD,
        "0\r\nConnection: close\r\n\r\n",
    ),
    (
        "X-Forwarded-For in the trailers",
        BAD,
        "0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
    ),
    (
        "X-Consumer in the trailers",
        BAD,
        "0\r\nX-Consumer: root\r\n\r\n",
    ),
    (
        "X-Request-Id in the trailers",
        BAD,
        "0\r\nX-Request-Id: 1\r\n\r\n",
    ),
    (
        "X-Remote-User in the trailers",
        BAD,
        "0\r\nX-Remote-User: root\r\n\r\n",
    ),
    (
        "X-HTTP-Method-Override in the trailers",
        BAD,
        "0\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
    ),
    (
        "a good trailer, then a length",
        BAD,
        "0\r\nX: y\r\nContent-Length: 5\r\n\r\n",
    ),
    ("trailer without a colon", BAD, "0\r\nX\r\n\r\n"),
    ("trailer without a name", BAD, "0\r\n: y\r\n\r\n"),
    ("space before a trailer's colon", BAD, "0\r\nX : y\r\n\r\n"),
    ("folded trailer", BAD, "0\r\nX: y\r\n z\r\n\r\n"),
    ("NUL in a trailer", BAD, "0\r\nX: \0\r\n\r\n"),
    ("LF behind a trailer", BAD, "0\r\nX: y\n\r\n"),
    ("CR in a trailer", BAD, "0\r\nX: y\rZ: z\r\n\r\n"),
    (
        "CR behind the value of a trailer",
        BAD,
        "0\r\nX: y\r\r\n\r\n",
    ),
    (
        "CR before the value of a trailer",
        BAD,
        "0\r\nX: \ry\r\n\r\n",
    ),
    (
        "form feed behind the value of a trailer",
        BAD,
        "0\r\nX: y\x0c\r\n\r\n",
    ),
];

/// Sent before a body of chunks.
const CHUNKED: &str = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn chunks_and_trailers_that_are_none_end_the_request_and_its_connection() {
    let mut attacked = Attacked::start("{}");
    for (what, status, body) in CHUNKS {
        attacked.check(&case(what, status, format!("{CHUNKED}{body}")));
    }
    let bombs = [
        (
            "40 KiB of trailers",
            format!("0\r\nX: {}\r\n\r\n", "y".repeat(40 << 10)),
        ),
        (
            "200 trailers",
            format!("0\r\n{}\r\n", "X: y\r\n".repeat(200)),
        ),
    ];
    for (what, body) in bombs {
        attacked.check(&case(what, &[400, 431], format!("{CHUNKED}{body}")));
    }
    attacked.let_through(b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n", "/good");
    attacked.end();
}

#[test]
fn a_bad_chunk_that_comes_late_still_ends_the_request_as_cut() {
    let mut wrong = Vec::new();
    for (what, bad) in [
        ("size", "x\r\n"),
        ("spill", "5\r\nhelloX\r\n"),
        ("trailer", "0\r\nHost: b\r\n\r\n"),
        ("end of the connection", ""),
    ] {
        let attacked = Attacked::start("{}");
        let mut wire = attacked.wire();
        wire.send(format!("{CHUNKED}5\r\nhello\r\n"));
        // The request is on its way to the server, and streams.
        ringgate_tests::wait_until("the body streams", ringgate_tests::PATIENCE, || {
            let connections = attacked.server.connections();
            connections
                .iter()
                .any(|each| each.bytes.ends_with(b"hello\r\n"))
        });
        wire.send(format!("{bad}GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"));
        wire.finish();
        let status = wire.try_answer("GET").map(|answer| answer.status);
        let is_right = bad.is_empty() || matches!(status, Ok(400));
        let ended = attacked.server.wait_ended(0);
        if !is_right
            || !matches!(ended, Ended::Cut | Ended::Reset)
            || !attacked.server.received().is_empty()
        {
            wrong.push(format!(
                "{what}: {status:?}, {ended:?}, {:?}",
                attacked.server.received()
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_body_that_its_client_cuts_never_becomes_whole() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let attacked = Attacked::start("{}");
        let mut wire = attacked.wire();
        wire.send(format!(
            "POST /x HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n5\r\nhello"
        ));
        wire.finish();
        // An answer may come; a good one may not.
        if let Ok(answer) = wire.try_answer("GET") {
            assert_eq!(answer.status, 400, "{head}: {answer:?}");
        }
        assert_eq!(
            attacked.ringgate.access_log(1)[0]["closed_by"],
            "client",
            "{head}"
        );
        attacked.server.wait_all_ended();
        assert!(attacked.server.received().is_empty(), "{head}");
    }
}

#[test]
fn good_trailers_arrive() {
    let attacked = Attacked::start("{}");
    let mut wire = attacked.wire();
    let answer = wire.ask(format!(
        "{CHUNKED}5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-more: 2\r\n\r\n"
    ));
    assert_eq!(answer.status, 200);
    let request = attacked.server.last();
    let trailers = [("x-sum", "1"), ("x-more", "2")];
    let trailers = trailers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(
        (request.text(), request.trailers),
        ("hello".to_owned(), trailers.to_vec())
    );
    assert_eq!(wire.ask("GET /y HTTP/1.1\r\nHost: a\r\n\r\n").text(), "/y");
}

/// Early answers: what the listener says, what comes before a body, and the status.
const EARLY: &[(&str, &str, u16)] = &[
    (
        "pool: app, http: { auth: { tokens_file: $dir/tokens } }",
        "",
        401,
    ),
    (
        "pool: app, http: { rate_limit: { rate: 1/m, burst: 1 } }",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        429,
    ),
    (
        "pool: app, http: {}, routes: [{ path: /*, http: { redirect: { to: 'https://b.example/' } } }]",
        "",
        308,
    ),
];

fn early(listener: &str, server: &Recorder) -> Ringgate {
    let yaml = format!(
        "
workers: 1
listeners:
  web: {{ bind: '127.0.0.1:$web', {listener} }}
pools:
  app: {{ servers: [{server}], health: off }}
"
    );
    Ringgate::start_prepared(&yaml, |dir| {
        // The SHA-256 of "secret".
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        std::fs::write(dir.join("tokens"), format!("ann sha256:{hash}\n")).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir.join("tokens"), std::fs::Permissions::from_mode(0o600))
            .unwrap();
    })
}

#[test]
fn a_body_behind_an_early_answer_is_never_parsed_as_a_request() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len());
    let chunks = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
        hidden.len()
    );
    for (http, before, status) in EARLY {
        for body in [&length, &chunks] {
            let server = Recorder::start();
            let gateway = early(http, &server);
            let mut wire = Wire::over(gateway.connect("web"));
            if !before.is_empty() {
                wire.ask(before);
            }
            let known = server.received().len();
            let answer = wire.ask(format!("POST /x HTTP/1.1\r\nHost: a\r\n{body}"));
            assert_eq!(answer.status, *status, "{http}");
            // Closed, or good for another request with an answer of its own.
            if !answer.says_close() {
                wire.send("GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                assert_eq!(wire.answer().status, *status, "{http}");
            }
            assert_eq!(wire.end(), End::Fin(vec![]), "{http}");
            assert_eq!(server.received().len(), known, "{http}");
        }
    }
}

#[test]
fn a_large_body_behind_an_early_answer_is_closed_upon_and_the_answer_still_read() {
    const LARGE: usize = 8 << 20;
    for (http, before, status) in EARLY {
        let server = Recorder::start();
        let gateway = early(http, &server);
        let mut wire = Wire::over(gateway.connect("web"));
        if !before.is_empty() {
            wire.ask(before);
        }
        let known = server.bytes();
        wire.send(format!(
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"
        ));
        // In a thread: the gateway need not take it all.
        let stream = wire.stream().try_clone().unwrap();
        let sender = std::thread::spawn(move || Wire::over(stream).send(vec![b'x'; LARGE]));
        assert_eq!(wire.answer().status, *status, "{http}");
        drop(wire);
        sender.join().unwrap();
        assert_eq!(server.bytes(), known, "{http}");
        let lines = if before.is_empty() { 1 } else { 2 };
        let line = gateway.access_log(lines).pop().unwrap();
        assert_eq!(line["status"], *status, "{line}");
    }
}

#[test]
fn a_body_without_an_end_behind_an_early_answer_does_not_hold_the_connection() {
    let server = Recorder::start();
    let gateway = early(EARLY[0].0, &server);
    let mut wire = Wire::over(gateway.connect("web"));
    let answer = wire.ask("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello");
    assert_eq!(answer.status, 401);
    // Nothing more comes from us, and we do not end either.
    assert_ne!(wire.end(), End::Reset);
    gateway.wait_until_quiet();
    assert!(server.connections().is_empty());
}

#[test]
fn a_body_over_the_bound_is_refused_at_its_head_and_in_its_chunks() {
    let server = Recorder::serving(|exchange| {
        let request = exchange.request()?;
        exchange.send(ok(&request.body.len().to_string()))?;
        Ok(Then::Keep)
    });
    let gateway = early("pool: app, http: { limits: { body: 100KiB } }", &server);
    let post = |framing: &str, body: &str| {
        let mut wire = Wire::over(gateway.connect("web"));
        let answer = wire.ask(format!(
            "POST /x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}"
        ));
        (answer.status, answer.text())
    };
    let (most, more) = ("x".repeat(100 << 10), "x".repeat((100 << 10) + 1));
    let length = |body: &str| format!("Content-Length: {}", body.len());
    let chunks = |body: &str| {
        let chunks = body.as_bytes().chunks(5000);
        let chunks =
            chunks.map(|part| format!("{:x}\r\n{}\r\n", part.len(), "x".repeat(part.len())));
        chunks.collect::<String>() + "0\r\n\r\n"
    };
    let all = (200, most.len().to_string());
    assert_eq!(post(&length(&most), &most), all);
    assert_eq!(post("Transfer-Encoding: chunked", &chunks(&most)), all);
    assert_eq!(post(&length(&more), &more).0, 413);
    assert_eq!(server.received().len(), 2, "not sent on");
    assert_eq!(post("Transfer-Encoding: chunked", &chunks(&more)).0, 413);
    server.wait_ended(server.connections().len() - 1);
    assert_eq!(server.received().len(), 2, "cut, not ended");
}

fn case(what: &'static str, status: &[u16], text: String) -> Refused {
    Refused {
        what,
        bytes: text.into_bytes(),
        status: status.into(),
        by: By::Body,
    }
}
