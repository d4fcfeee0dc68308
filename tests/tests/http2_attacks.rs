//! Promise: what abuses HTTP/2 ends its own connection or stream with the right code and costs a bounded amount; no
//! server hears of it, and other clients go on.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use ringgate_tests::{
    Ends, Frame, H2, H2End, INITIAL_WINDOW_SIZE, PATIENCE, Recorder, Ringgate, head, literal,
    literals, ok, wait_until,
};

/// Codes of errors (RFC 9113 §7).
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const CANCEL: u32 = 8;
const COMPRESSION: u32 = 9;
const CALM: u32 = 11;

/// No attack gets further than so many streams or frames.
const ROUNDS_MAX: usize = 12_000;

/// A listener `$web` in front of a server that answers every request, and a client of it.
struct Scene {
    ringgate: Ringgate,
    server: Recorder,
    good: H2,
}

impl Scene {
    fn new(listener: &str, body: usize) -> Self {
        let body = "x".repeat(body);
        let server = Recorder::answering(move |_| ok(&body));
        let ringgate = Ringgate::start(&format!(
            "
workers: 1
timeouts: {{ idle: 2s, header: 2s }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{ {listener} }} }}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
        ));
        let good = H2::connect(ringgate.addr("web"));
        let mut scene = Self {
            ringgate,
            server,
            good,
        };
        scene.others_go_on("before");
        scene
    }

    fn attacker(&self) -> H2 {
        H2::connect(self.ringgate.addr("web"))
    }

    /// How many requests the server has heard of.
    fn heard(&self) -> usize {
        let connections = self.server.connections();
        connections.iter().map(|each| each.heads).sum()
    }

    #[track_caller]
    fn others_go_on(&mut self, after: &str) {
        // One that was quiet for too long comes back.
        if self.good.go_away.is_some() || self.good.closed {
            self.good = self.attacker();
        }
        self.good.read_ready();
        if self.good.closed || self.good.go_away.is_some() {
            self.good = self.attacker();
        }
        let stream = self.good.get("/good");
        let end = self.good.finish(stream);
        assert_eq!(end.status(), Some(200), "{after}: {end:?}");
        self.good.messages.clear();
    }
}

/// Sends bursts until the other end closes, reading what comes between.
fn flood(end: &mut H2, mut burst: impl FnMut(&mut H2)) -> Option<u32> {
    for _ in 0..ROUNDS_MAX {
        burst(end);
        end.read_ready();
        if end.closed || end.deaf || end.go_away.is_some() {
            break;
        }
    }
    assert!(
        end.closed || end.deaf || end.go_away.is_some(),
        "it was let through {ROUNDS_MAX} times"
    );
    end.close_code()
}

/// What is done to a connection again and again, and the codes one of which ends it.
struct Flood {
    what: &'static str,
    burst: fn(&mut H2),
    codes: &'static [u32],
    /// Requests that the server hears of at most, with that of somebody else behind it.
    heard_max: usize,
}

/// A hundred resets, requests taken back or mistakes of streams are let through, with a few whole requests between.
const HUNDRED: usize = 130;

/// The connection ends with the first of them.
const FIRST: usize = 10;

const FLOODS: [Flood; 19] = [
    Flood {
        what: "rapid reset",
        burst: |end| {
            let stream = end.get("/reset");
            end.send(&Frame::reset(stream, CANCEL));
        },
        codes: &[CALM],
        heard_max: HUNDRED,
    },
    Flood {
        what: "rapid reset in one segment, 50 at a time",
        burst: |end| {
            let mut bytes = Vec::new();
            for stream in (end.next_stream()..).step_by(2).take(50) {
                let block = literals(&head("GET", "/reset"));
                let flags = Frame::END_HEADERS | Frame::END_STREAM;
                bytes.extend(Frame::new(Frame::HEADERS, flags, stream, block).bytes());
                bytes.extend(Frame::reset(stream, CANCEL).bytes());
            }
            end.skip_streams(50);
            end.bytes(&bytes);
        },
        codes: &[CALM],
        heard_max: HUNDRED,
    },
    Flood {
        what: "rapid reset, paced by a whole request after each ten",
        burst: |end| {
            for _ in 0..10 {
                let stream = end.get("/reset");
                end.send(&Frame::reset(stream, CANCEL));
            }
            let whole = end.get("/whole");
            end.finish(whole);
        },
        codes: &[CALM],
        heard_max: HUNDRED,
    },
    Flood {
        what: "rapid reset beside answers that are taken",
        burst: |end| {
            let whole = end.get("/whole");
            end.finish(whole);
            let stream = end.get("/reset");
            end.send(&Frame::reset(stream, CANCEL));
        },
        codes: &[CALM],
        heard_max: 2 * HUNDRED,
    },
    Flood {
        what: "two resets of each answer",
        burst: |end| {
            let whole = end.get("/whole");
            end.finish(whole);
            end.bytes(&Frame::reset(whole, CANCEL).bytes().repeat(2));
        },
        codes: &[CALM],
        heard_max: HUNDRED,
    },
    Flood {
        what: "MadeYouReset by an increment of 0",
        burst: |end| {
            let stream = end.get("/made");
            end.send(&Frame::window(stream, 0));
        },
        codes: &[CALM, PROTOCOL],
        heard_max: HUNDRED,
    },
    Flood {
        what: "MadeYouReset by a window beyond its bound",
        burst: |end| {
            let stream = end.get("/made");
            end.send(&Frame::window(stream, 0x7fff_ffff));
            end.send(&Frame::window(stream, 0x7fff_ffff));
        },
        codes: &[CALM, FLOW_CONTROL, PROTOCOL],
        heard_max: HUNDRED,
    },
    Flood {
        what: "MadeYouReset by HEADERS after the end",
        burst: |end| {
            let stream = end.get("/made");
            end.fields(stream, &[("x-late", "1")], Ends::Here);
        },
        codes: &[CALM, STREAM_CLOSED, PROTOCOL],
        heard_max: FIRST,
    },
    Flood {
        what: "MadeYouReset by DATA after the end",
        burst: |end| {
            let stream = end.get("/made");
            end.send(&Frame::new(Frame::DATA, 0, stream, *b"late"));
        },
        codes: &[CALM, STREAM_CLOSED, PROTOCOL],
        heard_max: FIRST,
    },
    Flood {
        what: "MadeYouReset by a PRIORITY of four bytes",
        burst: |end| {
            let stream = end.get("/made");
            end.send(&Frame::new(Frame::PRIORITY, 0, stream, [0; 4]));
        },
        codes: &[CALM, FRAME_SIZE, PROTOCOL],
        heard_max: FIRST,
    },
    Flood {
        what: "MadeYouReset by a PRIORITY on itself",
        burst: |end| {
            let stream = end.get("/made");
            let on_itself = [&stream.to_be_bytes()[..], &[0]].concat();
            end.send(&Frame::new(Frame::PRIORITY, 0, stream, on_itself));
        },
        codes: &[CALM, PROTOCOL],
        heard_max: HUNDRED,
    },
    Flood {
        what: "PING",
        burst: |end| end.bytes(&Frame::new(Frame::PING, 0, 0, [0; 8]).bytes().repeat(10)),
        codes: &[CALM],
        heard_max: FIRST,
    },
    Flood {
        what: "SETTINGS",
        burst: |end| end.bytes(&Frame::settings(&[]).bytes().repeat(10)),
        codes: &[CALM],
        heard_max: FIRST,
    },
    Flood {
        what: "PRIORITY",
        burst: |end| {
            let frame = Frame::new(Frame::PRIORITY, 0, 1, [0, 0, 0, 0, 16]);
            end.bytes(&frame.bytes().repeat(10));
        },
        codes: &[CALM],
        heard_max: FIRST,
    },
    Flood {
        what: "WINDOW_UPDATE",
        burst: |end| end.bytes(&Frame::window(0, 1).bytes().repeat(10)),
        codes: &[CALM],
        heard_max: FIRST,
    },
    Flood {
        what: "empty DATA",
        burst: |end| {
            if end.next_stream() == 1 {
                end.open(&head("POST", "/empty"), Ends::Later);
            }
            end.bytes(&Frame::new(Frame::DATA, 0, 1, []).bytes().repeat(10));
        },
        codes: &[CALM],
        heard_max: FIRST,
    },
    Flood {
        what: "empty HEADERS of unknown streams that are over",
        burst: |end| {
            let stream = end.open(&[], Ends::Here);
            end.send(&Frame::reset(stream, CANCEL));
        },
        codes: &[CALM, PROTOCOL],
        heard_max: FIRST,
    },
    Flood {
        what: "requests of two hosts",
        burst: two_hosts,
        codes: &[CALM],
        heard_max: FIRST,
    },
    Flood {
        what: "the same, paced by a whole request after each ten",
        burst: |end| {
            (0..10).for_each(|_| two_hosts(end));
            let whole = end.get("/whole");
            end.finish(whole);
        },
        codes: &[CALM],
        heard_max: 2 * FIRST,
    },
];

/// A request that is none (RFC 9113 §8.3.1).
fn two_hosts(end: &mut H2) {
    let fields = [&head("GET", "/none")[..], &[("host", "b")]].concat();
    end.open(&fields, Ends::Here);
}

#[test]
fn floods_end_their_connection_and_no_other() {
    let mut scene = Scene::new("", 2);
    for Flood {
        what,
        burst,
        codes,
        heard_max,
    } in FLOODS
    {
        let before = scene.heard();
        let mut attacker = scene.attacker();
        let code = flood(&mut attacker, burst);
        assert!(
            code.is_some_and(|code| codes.contains(&code)),
            "{what}: {code:?}, not {codes:?}"
        );
        scene.others_go_on(what);
        let heard = scene.heard() - before;
        assert!(
            heard <= heard_max,
            "{what}: the server heard of {heard} requests"
        );
    }
    let open = || {
        scene
            .ringgate
            .metric("ringgate_pool_connections_active", &[])
    };
    wait_until("what was reset is cancelled", PATIENCE, || open() <= 1.0);
}

#[test]
fn who_takes_requests_back_too_slowly_for_a_flood_is_found_out_too() {
    // Of resets, fewer than 100 come in ten seconds, which nobody calls a flood.
    const PACE: Duration = Duration::from_millis(110);
    let mut scene = Scene::new("", 2);
    let before = scene.heard();
    let mut attacker = scene.attacker();
    let code = flood(&mut attacker, |end| {
        let stream = end.get("/reset");
        end.send(&Frame::reset(stream, CANCEL));
        std::thread::sleep(PACE);
        let heard = scene.heard() - before;
        assert!(heard <= HUNDRED, "the server heard of {heard} requests");
    });
    assert_eq!(code, Some(CALM));
    scene.others_go_on("slow resets");
}

#[test]
fn answers_to_control_frames_do_not_pile_up_for_a_peer_that_does_not_read() {
    let mut scene = Scene::new("", 2);
    let before = scene.ringgate.proc().resident_kib();
    let mut attacker = scene.attacker();
    // As much as the system takes, and never a read.
    let pings = Frame::new(Frame::PING, 0, 0, [7; 8]).bytes().repeat(10_000);
    for _ in 0..100 {
        if attacker.deaf {
            break;
        }
        attacker.bytes(&pings);
    }
    assert!(attacker.deaf, "17 MB of PING were taken");
    scene.others_go_on("PING without a read");
    let grown = scene.ringgate.proc().resident_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "it grew by {grown} KiB");
}

/// A block of fields cut into HEADERS and CONTINUATION frames of at most `size` bytes.
fn cut(stream: u32, block: &[u8], size: usize) -> Vec<u8> {
    let mut pieces = block.chunks(size).peekable();
    let first = pieces.next().unwrap();
    let end = |is_last: bool| if is_last { Frame::END_HEADERS } else { 0 };
    let flags = Frame::END_STREAM | end(pieces.peek().is_none());
    let mut bytes = Frame::new(Frame::HEADERS, flags, stream, first).bytes();
    while let Some(piece) = pieces.next() {
        let flags = end(pieces.peek().is_none());
        bytes.extend(Frame::new(Frame::CONTINUATION, flags, stream, piece).bytes());
    }
    bytes
}

/// Heads that are too much of something, as blocks, and the size of the frames that bring them.
fn bombs() -> Vec<(&'static str, Vec<u8>, usize)> {
    let get = || literals(&head("GET", "/bomb"));
    let crumb = [("cookie", "a=b")];
    let indexed =
        |value: &str, times: usize| [get(), literal(0x40, "a", value), vec![0xbe; times]].concat();
    vec![
        (
            "a large field referred to 16 thousand times",
            indexed(&"v".repeat(4_000), 16_000),
            16_384,
        ),
        (
            "an almost empty field referred to 4000 times",
            indexed("", 4_000),
            16_384,
        ),
        ("the same, over many frames", indexed("", 200_000), 16_384),
        (
            "200 crumbs of a cookie",
            [get(), literals(&crumb.repeat(200))].concat(),
            16_384,
        ),
        (
            "200 fields",
            [get(), literals(&[("x-a", "b")].repeat(200))].concat(),
            16_384,
        ),
        (
            "64 KiB of one field",
            [get(), literal(0, "x-a", &"v".repeat(65_536))].concat(),
            16_384,
        ),
        (
            "a head in frames of one byte",
            [get(), literal(0, "x-a", &"v".repeat(2_000))].concat(),
            1,
        ),
    ]
}

#[test]
fn heads_that_are_too_much_are_refused_and_cost_little() {
    let mut scene = Scene::new("", 2);
    let before = scene.ringgate.proc().resident_kib();
    for (what, block, size) in bombs() {
        let heard = scene.heard();
        let mut attacker = scene.attacker();
        let stream = attacker.next_stream();
        attacker.bytes(&cut(stream, &block, size));
        let end = attacker.finish(stream);
        let refused = match &end {
            H2End::Answered(answer) => answer.status() == 431,
            H2End::Reset(code) | H2End::GoAway(code) => {
                [PROTOCOL, COMPRESSION, CALM].contains(code)
            }
            H2End::Closed => false,
        };
        assert!(refused, "{what}: {end:?}");
        assert_eq!(scene.heard(), heard, "{what} went to the server");
        scene.others_go_on(what);
    }
    let grown = scene.ringgate.proc().resident_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "it grew by {grown} KiB");
}

#[test]
fn an_endless_head_is_stopped() {
    let mut scene = Scene::new("", 2);
    let mut attacker = scene.attacker();
    let first = Frame::new(
        Frame::HEADERS,
        Frame::END_STREAM,
        1,
        literals(&head("GET", "/")),
    );
    attacker.send(&first);
    let code = flood(&mut attacker, |end| {
        let crumb = literal(0, "x-a", "b");
        end.send(&Frame::new(Frame::CONTINUATION, 0, 1, crumb));
    });
    assert!(
        [Some(CALM), Some(COMPRESSION), Some(PROTOCOL)].contains(&code),
        "{code:?}"
    );
    let mut attacker = scene.attacker();
    attacker.send(&first);
    let code = flood(&mut attacker, |end| {
        end.send(&Frame::new(Frame::CONTINUATION, 0, 1, []))
    });
    assert!(
        [Some(CALM), Some(COMPRESSION), Some(PROTOCOL)].contains(&code),
        "{code:?}"
    );
    scene.others_go_on("CONTINUATION");
    // One that begins and never goes on has no longer than any other head.
    let mut attacker = scene.attacker();
    attacker.send(&first);
    attacker.wait("the connection is closed", |end| end.go_away.is_some());
}

#[test]
fn who_takes_no_answers_costs_little_and_is_let_go() {
    const BODY: usize = 1024 * 1024;
    let mut scene = Scene::new("", BODY);
    let before = scene.ringgate.proc().resident_kib();
    for (what, window, update) in [
        ("a window of 0", 0, false),
        ("a window of one byte", 1, true),
    ] {
        let mut attacker =
            H2::connect_with(scene.ringgate.addr("web"), &[(INITIAL_WINDOW_SIZE, window)]);
        attacker.gives_credit = false;
        let streams: Vec<u32> = (0..100).map(|_| attacker.get("/large")).collect();
        // One byte for one stream now and then does not count as reading.
        let is_let_go = |end: &H2| {
            let over = |stream: &u32| {
                let message = end.messages.get(stream);
                message.is_some_and(|message| message.reset.is_some())
            };
            end.closed || end.go_away.is_some() || streams.iter().all(over)
        };
        let mut rounds = streams.iter().cycle();
        wait_until(&format!("{what}: it is let go"), PATIENCE, || {
            if update && !attacker.deaf {
                attacker.send(&Frame::window(*rounds.next().unwrap(), 1));
            }
            attacker.read_ready();
            is_let_go(&attacker)
        });
        scene.others_go_on(what);
        let grown = scene
            .ringgate
            .proc()
            .resident_peak_kib()
            .saturating_sub(before);
        assert!(grown < 16 * 1024, "{what}: it grew by {grown} KiB");
    }
    let open = || {
        scene
            .ringgate
            .metric("ringgate_pool_connections_active", &[])
    };
    wait_until("the server is let go", PATIENCE, || open() <= 1.0);
}

#[test]
fn data_after_a_reset_is_ignored_and_its_credit_comes_back() {
    let mut scene = Scene::new("", 2);
    let mut client = scene.attacker();
    client.wait("the settings", |end| !end.settings.is_empty());
    // More than a window of a connection, unless credit comes back.
    for _ in 0..40 {
        let stream = client.open(&head("POST", "/left"), Ends::Later);
        let data = vec![b'x'; 16_384];
        let both = [
            Frame::reset(stream, CANCEL).bytes(),
            Frame::new(Frame::DATA, Frame::END_STREAM, stream, data).bytes(),
        ];
        client.bytes(&both.concat());
        let whole = client.get("/whole");
        assert_eq!(client.finish(whole).status(), Some(200));
    }
    scene.others_go_on("DATA after a reset");
}
