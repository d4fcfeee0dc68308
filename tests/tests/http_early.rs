//! Promise: a server, or we, may answer before a request's body has ended; a fault in what is left of that body is the
//! end of its connection, never a whole request of a server, and nothing behind it is a request of its own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::Value;

use ringgate_tests::{
    End, Ended, Ends, H2Answer, H2Message, H2Server, PATIENCE, Recorder, Ringgate, Then, Wire, ok,
    token_line, wait_for,
};

/// A listener `$web` in front of that server; its routes `/auth`, `/limited` and `/moved` are answered by us.
fn gateway(server: impl std::fmt::Display, listener: &str, pool: &str) -> Ringgate {
    let yaml = format!(
        "
workers: 1
listeners:
  web:
    bind: '127.0.0.1:$web'
    pool: app
    http: {{ limits: {{ body: 100KiB }} }}
{listener}
    routes:
      - {{ path: /auth, pool: app, http: {{ auth: {{ tokens_file: $dir/tokens }} }} }}
      - {{ path: /limited, pool: app, http: {{ rate_limit: {{ rate: 1/h, burst: 1 }} }} }}
      - {{ path: /moved, http: {{ redirect: {{ to: 'https://b.example/' }} }} }}
pools:
  app: {{ servers: ['{server}'], health: off, {pool} }}
"
    );
    Ringgate::start_prepared(&yaml, |dir| {
        std::fs::write(dir.join("tokens"), token_line("ann", "secret", "")).unwrap();
    })
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Sent when the answer has begun: chunks that are none, more than may be, and nothing more at all.
fn faults() -> Vec<(&'static str, String)> {
    let over = 101 << 10;
    let mut faults = vec![
        ("the end of the connection", String::new()),
        (
            "a body over the bound",
            format!("{over:x}\r\n{}\r\n", "x".repeat(over)),
        ),
    ];
    let chunks = [
        ("extension", "5;a\r\nhello\r\n"),
        ("extension with a value", "5;a=b\r\nhello\r\n"),
        ("no size", "\r\nhello\r\n"),
        ("letter", "x\r\nhello\r\n"),
        ("17 digits", "00000000000000005\r\nhello\r\n"),
        ("negative size", "-5\r\nhello\r\n"),
        ("size before a space", "5 \r\nhello\r\n"),
        ("LF behind the size", "5\nhello\r\n"),
        ("spill", "5\r\nhelloX\r\n"),
        ("LF behind the chunk", "5\r\nhello\n"),
        ("nothing behind the chunk", "5\r\nhello"),
        ("extension of the last chunk", "0;a\r\n"),
        ("Host in the trailers", "0\r\nHost: b\r\n\r\n"),
        (
            "X-Remote-User in the trailers",
            "0\r\nX-Remote-User: b\r\n\r\n",
        ),
        ("trailer without a colon", "0\r\nX\r\n\r\n"),
        ("folded trailer", "0\r\nX: y\r\n z\r\n\r\n"),
    ];
    faults.extend(chunks.map(|(what, bytes)| (what, bytes.to_owned())));
    faults
}

/// How an answer that comes early goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Early {
    /// It is whole before the fault comes.
    Whole,
    /// It has begun and has not ended when the fault comes.
    Half,
    /// It is ours.
    Ours,
}

impl Early {
    const ALL: [Self; 3] = [Self::Whole, Self::Half, Self::Ours];

    fn target(self) -> &'static str {
        match self {
            Self::Whole => "/whole",
            Self::Half => "/half",
            Self::Ours => "/auth",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Whole | Self::Half => 200,
            Self::Ours => 401,
        }
    }

    fn is_logged_as(self, line: &Value) -> bool {
        let by = match self {
            Self::Whole => "server",
            Self::Half => "client",
            Self::Ours => "ringgate",
        };
        let is_done = line["reason"] == "done";
        line["path"] == self.target()
            && line["status"] == self.status()
            && line["closed_by"] == by
            && is_done == (self == Self::Whole)
    }
}

/// What a server sends of `/half`: 10 bytes were promised.
const HALF: &str = "12345";

/// Sends a body that breaks off behind an early answer, for each fault and each such answer, and looks at what the
/// client sees and the log says.
fn break_off(ringgate: &Ringgate) {
    let faults = faults();
    let cases: Vec<_> = faults
        .iter()
        .flat_map(|fault| Early::ALL.map(|early| (fault, early)))
        .collect();
    let mut wrong = Vec::new();
    for ((what, bytes), early) in &cases {
        if let Err(fault) = breaks_off(ringgate, *early, bytes) {
            wrong.push(format!("{what}, {early:?}: {fault}"));
        }
    }
    let log = ringgate.access_log(cases.len());
    for (((what, _), early), line) in cases.iter().zip(log) {
        if !early.is_logged_as(&line) {
            wrong.push(format!("{what}, {early:?}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let answer = Wire::connect(ringgate.addr("web")).ask(get("/good"));
    assert_eq!((answer.status, &answer.text()[..]), (200, "/good"));
}

fn breaks_off(ringgate: &Ringgate, early: Early, fault: &str) -> Result<(), String> {
    let mut wire = Wire::connect(ringgate.addr("web"));
    let target = early.target();
    wire.send(format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    ));
    let status = match early {
        Early::Whole | Early::Ours => wire.answer().status,
        Early::Half => {
            let head = wire.head().unwrap();
            assert_eq!(wire.bytes(HALF.len() as u64).unwrap(), HALF.as_bytes());
            head.word(1).parse().unwrap()
        }
    };
    // Read as a body from the fault on, it ends here; as requests, they are two.
    if !fault.is_empty() {
        wire.send([fault, "0\r\n\r\n", &get("/behind").repeat(2)].concat());
    }
    wire.finish();
    // Whoever was promised more sees that it does not come.
    match wire.end() {
        End::Fin(more) if !more.is_empty() => Err(format!("{:?} comes", String::from_utf8(more))),
        _ if status != early.status() => Err(format!("status {status}")),
        _ => Ok(()),
    }
}

#[test]
fn a_fault_behind_an_early_answer_ends_the_request_and_its_connection() {
    let server = Recorder::serving(|exchange| {
        match exchange.target() {
            "/whole" => exchange.send(ok("early"))?,
            "/half" => exchange.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{HALF}"
            ))?,
            _ => {
                let request = exchange.request()?;
                exchange.send(ok(request.target()))?;
                return Ok(Then::Keep);
            }
        }
        // There is no end of it.
        exchange.request()?;
        Ok(Then::Close)
    });
    let ringgate = gateway(&server, "", "");
    break_off(&ringgate);
    let received = server.received();
    assert!(
        received.iter().all(|each| each.target() == "/good"),
        "{received:#?}"
    );
    assert_eq!(server.connections().len(), 2 * faults().len() + 1);
    for number in 0..2 * faults().len() {
        let ended = server.wait_ended(number);
        assert!(matches!(ended, Ended::Cut | Ended::Reset), "{ended:?}");
    }
}

#[test]
fn a_server_of_http2_sees_such_a_request_reset() {
    let server = H2Server::start(&[], |end, _| {
        let mut known = Vec::new();
        while let Some(stream) = end.next_request(&mut known) {
            let path = end.messages[&stream].field(":path").unwrap().to_owned();
            match &path[..] {
                "/whole" => H2Answer::body("early").send(end, stream),
                "/half" => {
                    let head = [(":status", "200"), ("content-length", "10")];
                    end.fields(stream, &head, Ends::Later);
                    end.body(stream, HALF.as_bytes(), Ends::Later);
                }
                _ => H2Answer::body(path).send(end, stream),
            }
        }
    });
    let ringgate = gateway(server.server(), "", "http2: true");
    break_off(&ringgate);
    drop(ringgate);
    let received = wait_for("the server has kept it", PATIENCE, || {
        Some(server.received()).filter(|received| !received.is_empty())
    });
    let (good, early): (Vec<H2Message>, _) = received
        .into_iter()
        .partition(|request| request.field(":path") == Some("/good"));
    assert_eq!((good.len(), early.len()), (1, 2 * faults().len()));
    let is_cut = |request: &H2Message| {
        let is_early = ["/whole", "/half"]
            .map(Some)
            .contains(&request.field(":path"));
        is_early && request.reset.is_some() && !request.ended
    };
    assert!(early.iter().all(is_cut), "{early:#?}");
}

#[test]
fn what_is_on_its_way_when_an_early_answer_comes_is_not_looked_for_again() {
    /// A body of which so much is still to come that a pipe carries it, and no more is left than is thrown away.
    const LENGTH: usize = 100_000;
    /// So much of it is read before the answer.
    const READ: u64 = 50_000;
    /// Requests behind it: more bytes than are on their way at once.
    const BEHIND: usize = 1_200;
    let server = Recorder::serving(|exchange| {
        if exchange.target() == "/early" {
            exchange.bytes(READ)?;
            exchange.send(ok("early"))?;
            // There is no end of it.
            exchange.bytes(LENGTH as u64)?;
        }
        let request = exchange.request()?;
        exchange.send(ok(request.target()))?;
        Ok(Then::Keep)
    });
    // Each piece waits for its turn, and so does the answer: one waits when the answer has come to its end.
    let ringgate = gateway(&server, "    limits: { bandwidth: 128KiB/s }", "");
    let mut wire = Wire::connect(ringgate.addr("web"));
    let behind = (0..BEHIND).map(|number| get(&format!("/n{number}")));
    wire.send(format!(
        "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n{}{}",
        "x".repeat(LENGTH),
        behind.collect::<String>()
    ));
    assert_eq!(wire.answer().text(), "early");
    // Closed upon, or read as what it is.
    if let Ok(answer) = wire.try_answer("GET") {
        assert_eq!((answer.status, &answer.text()[..]), (200, "/n0"));
    }
    drop(wire);
    let first = server.received().first().map(|each| each.what());
    assert!(
        first.as_deref().is_none_or(|first| first == "GET /n0"),
        "{first:?}"
    );
}

#[test]
fn who_waits_for_leave_and_hears_an_answer_of_ours_is_closed_upon() {
    let server = Recorder::start();
    let ringgate = gateway(&server, "", "");
    let answer = Wire::connect(ringgate.addr("web")).ask(get("/limited"));
    assert_eq!(answer.status, 200);
    for (target, status) in [("/auth", 401), ("/limited", 429), ("/moved", 308)] {
        for body in ["", &get("/hidden")] {
            // Nobody knows whether what comes next is the body: it is sent all the same, or it is not.
            let length = get("/hidden").len();
            let mut wire = Wire::connect(ringgate.addr("web"));
            wire.send(format!(
                "POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
            let answer = wire.answer();
            assert_eq!(
                (answer.status, answer.says_close(), &answer.interim[..]),
                (status, true, &[][..]),
                "{answer:?}"
            );
            assert_eq!(wire.end(), End::Fin(vec![]), "{target}");
        }
    }
    let targets: Vec<_> = server.received().iter().map(|each| each.what()).collect();
    assert_eq!(targets, ["GET /limited"]);
}
