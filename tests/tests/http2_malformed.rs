//! Promise: frames and fields that break HTTP/2, or would become other requests in HTTP/1.1, end their connection or
//! their stream with the right code, and no server receives a byte of them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use ringgate_tests::{Ends, Frame, H2, H2End, Recorder, Ringgate, head, literals};

/// Codes of errors (RFC 9113 §7).
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const COMPRESSION: u32 = 9;

fn start(server: &Recorder) -> Ringgate {
    Ringgate::start(&format!(
        "
workers: 1
timeouts: {{ header: 2s, idle: 5s }}
listeners:
  web: {{ bind: '127.0.0.1:$web', pool: app, http: {{}} }}
pools:
  app: {{ servers: ['{server}'], health: off }}
"
    ))
}

/// Bytes, and the codes one of which the connection ends with: those of the RFC, or `PROTOCOL_ERROR`, which stands for
/// all of them.
type Broken = (&'static str, Vec<u8>, &'static [u32]);

fn frame(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Vec<u8> {
    Frame::new(kind, flags, stream, payload).bytes()
}

/// A whole GET on that stream.
fn get(stream: u32) -> Vec<u8> {
    let flags = Frame::END_HEADERS | Frame::END_STREAM;
    frame(
        Frame::HEADERS,
        flags,
        stream,
        literals(&head("GET", "/broken")),
    )
}

/// The head of a POST on that stream, which stays open.
fn post(stream: u32) -> Vec<u8> {
    frame(
        Frame::HEADERS,
        Frame::END_HEADERS,
        stream,
        literals(&head("POST", "/broken")),
    )
}

fn broken_frames() -> Vec<Broken> {
    const WHOLE: u8 = Frame::END_HEADERS | Frame::END_STREAM;
    let block = || literals(&head("GET", "/broken"));
    let long = |kind: u8| vec![0xff, 0xff, 0xff, kind, 0, 0, 0, 0, 1];
    let setting = |name, value| Frame::settings(&[(name, value)]).bytes();
    let behind = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    vec![
        (
            "DATA with more padding than payload",
            behind(post(1), frame(Frame::DATA, Frame::PADDED, 1, [9, 1, 2])),
            &[PROTOCOL],
        ),
        (
            "DATA with padding as long as its payload",
            behind(post(1), frame(Frame::DATA, Frame::PADDED, 1, [3, 1, 2])),
            &[PROTOCOL],
        ),
        (
            "padded DATA of no bytes",
            behind(post(1), frame(Frame::DATA, Frame::PADDED, 1, [])),
            &[FRAME_SIZE, PROTOCOL],
        ),
        (
            "HEADERS with more padding than payload",
            frame(
                Frame::HEADERS,
                WHOLE | Frame::PADDED,
                1,
                [&[255][..], &block()].concat(),
            ),
            &[PROTOCOL],
        ),
        (
            "HEADERS with a priority of three bytes",
            frame(Frame::HEADERS, WHOLE | Frame::WITH_PRIORITY, 1, [0, 0, 0]),
            &[FRAME_SIZE, PROTOCOL],
        ),
        (
            "DATA of 16 MiB",
            behind(post(1), long(Frame::DATA)),
            &[FRAME_SIZE],
        ),
        ("HEADERS of 16 MiB", long(Frame::HEADERS), &[FRAME_SIZE]),
        ("an unknown frame of 16 MiB", long(0xfe), &[FRAME_SIZE]),
        (
            "SETTINGS of five bytes",
            frame(Frame::SETTINGS, 0, 0, [0; 5]),
            &[FRAME_SIZE],
        ),
        (
            "SETTINGS on a stream",
            frame(Frame::SETTINGS, 0, 1, []),
            &[PROTOCOL],
        ),
        (
            "an acknowledgement with settings",
            frame(Frame::SETTINGS, Frame::ACK, 0, [0; 6]),
            &[FRAME_SIZE],
        ),
        ("ENABLE_PUSH of 2", setting(2, 2), &[PROTOCOL]),
        (
            "INITIAL_WINDOW_SIZE of 2^31",
            setting(4, 1 << 31),
            &[FLOW_CONTROL],
        ),
        ("MAX_FRAME_SIZE of 1", setting(5, 1), &[PROTOCOL]),
        ("MAX_FRAME_SIZE of 2^24", setting(5, 1 << 24), &[PROTOCOL]),
        (
            "PING of seven bytes",
            frame(Frame::PING, 0, 0, [0; 7]),
            &[FRAME_SIZE],
        ),
        (
            "PING on a stream",
            frame(Frame::PING, 0, 1, [0; 8]),
            &[PROTOCOL],
        ),
        (
            "GOAWAY on a stream",
            frame(Frame::GOAWAY, 0, 1, [0; 8]),
            &[PROTOCOL],
        ),
        (
            "GOAWAY of four bytes",
            frame(Frame::GOAWAY, 0, 0, [0; 4]),
            &[FRAME_SIZE],
        ),
        (
            "RST_STREAM of three bytes",
            behind(post(1), frame(Frame::RST_STREAM, 0, 1, [0; 3])),
            &[FRAME_SIZE],
        ),
        (
            "RST_STREAM of a stream that never was",
            frame(Frame::RST_STREAM, 0, 1, [0; 4]),
            &[PROTOCOL],
        ),
        (
            "RST_STREAM of the connection",
            frame(Frame::RST_STREAM, 0, 0, [0; 4]),
            &[PROTOCOL],
        ),
        (
            "WINDOW_UPDATE of three bytes",
            frame(Frame::WINDOW_UPDATE, 0, 0, [0; 3]),
            &[FRAME_SIZE],
        ),
        (
            "WINDOW_UPDATE of the connection by 0",
            Frame::window(0, 0).bytes(),
            &[PROTOCOL],
        ),
        (
            "WINDOW_UPDATE of a stream that never was",
            Frame::window(1, 1).bytes(),
            &[PROTOCOL],
        ),
        (
            "a window of the connection beyond its bound",
            Frame::window(0, 0x7fff_ffff).bytes(),
            &[FLOW_CONTROL],
        ),
        (
            "DATA on the connection",
            frame(Frame::DATA, 0, 0, [0]),
            &[PROTOCOL],
        ),
        (
            "DATA on a stream that never was",
            frame(Frame::DATA, 0, 1, [0]),
            &[PROTOCOL],
        ),
        ("HEADERS on the connection", get(0), &[PROTOCOL]),
        ("a stream with an even number", get(2), &[PROTOCOL]),
        (
            "PUSH_PROMISE",
            frame(Frame::PUSH_PROMISE, 4, 1, [0, 0, 0, 2]),
            &[PROTOCOL],
        ),
        (
            "PRIORITY on the connection",
            frame(Frame::PRIORITY, 0, 0, [0; 5]),
            &[PROTOCOL],
        ),
        (
            "CONTINUATION behind nothing",
            frame(Frame::CONTINUATION, Frame::END_HEADERS, 1, block()),
            &[PROTOCOL],
        ),
        (
            "PING within a block",
            behind(
                frame(Frame::HEADERS, 1, 1, block()),
                frame(Frame::PING, 0, 0, [0; 8]),
            ),
            &[PROTOCOL],
        ),
        (
            "CONTINUATION of another stream",
            behind(
                frame(Frame::HEADERS, 1, 1, block()),
                frame(Frame::CONTINUATION, Frame::END_HEADERS, 3, []),
            ),
            &[PROTOCOL],
        ),
        (
            "an entry of index 0",
            frame(Frame::HEADERS, WHOLE, 1, [0x80]),
            &[COMPRESSION],
        ),
        (
            "an entry that is not there",
            frame(Frame::HEADERS, WHOLE, 1, [0xff, 0x40]),
            &[COMPRESSION],
        ),
        (
            "a literal cut short",
            frame(Frame::HEADERS, WHOLE, 1, [0, 9, b'a']),
            &[COMPRESSION],
        ),
        (
            "an endless integer",
            frame(Frame::HEADERS, WHOLE, 1, [0xff; 20]),
            &[COMPRESSION],
        ),
        (
            "a table of 16 MiB",
            frame(Frame::HEADERS, WHOLE, 1, [0x3f, 0xe1, 0xff, 0xff, 0x07]),
            &[COMPRESSION],
        ),
        (
            "Huffman codes that end in zeros",
            frame(Frame::HEADERS, WHOLE, 1, [0, 0x81, 0, 1, b'a']),
            &[COMPRESSION],
        ),
        (
            "a stream below one that was used",
            behind(get(5), get(3)),
            &[PROTOCOL, STREAM_CLOSED],
        ),
    ]
}

#[test]
fn broken_frames_end_their_connection_with_a_code_of_the_rfc() {
    let server = Recorder::start();
    let ringgate = start(&server);
    let mut good = H2::connect(ringgate.addr("web"));
    let mut wrong = Vec::new();
    for (what, bytes, codes) in broken_frames() {
        let mut client = H2::connect(ringgate.addr("web"));
        client.bytes(&bytes);
        let code = client.close_code();
        if !code.is_some_and(|code| codes.contains(&code) || code == PROTOCOL) {
            wrong.push(format!("{what}: {code:?}, not {codes:?}"));
        }
        good.read_ready();
        let stream = good.get("/good");
        assert_eq!(good.finish(stream).status(), Some(200), "after {what}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A GET before the one with the lower number is whole, and whether it got that far is a matter of time.
    let others = server
        .received()
        .into_iter()
        .filter(|request| request.target() != "/good");
    let others: Vec<String> = others.map(|request| request.what()).collect();
    assert!(others.len() <= 1, "{others:?}");
}

#[test]
fn what_is_only_unknown_is_ignored() {
    let server = Recorder::start();
    let ringgate = start(&server);
    for (what, bytes) in [
        ("an unknown frame", frame(0xfe, 0xff, 0, [1; 100])),
        (
            "an unknown frame on a stream",
            frame(0xfe, 0xff, 1, [1; 100]),
        ),
        (
            "an unknown setting",
            Frame::settings(&[(0xfefe, 1)]).bytes(),
        ),
        ("an unknown flag", frame(Frame::PING, 0xf0, 0, [0; 8])),
        (
            "PRIORITY of a stream that never was",
            frame(Frame::PRIORITY, 0, 9, [0, 0, 0, 1, 16]),
        ),
    ] {
        let mut client = H2::connect(ringgate.addr("web"));
        client.bytes(&bytes);
        let stream = client.get("/known");
        assert_eq!(client.finish(stream).status(), Some(200), "{what}");
    }
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn another_preface_is_no_connection() {
    let server = Recorder::start();
    let ringgate = start(&server);
    for preface in [
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = ringgate_tests::Wire::connect(ringgate.addr("web"));
        client.send([preface.as_bytes(), &Frame::settings(&[]).bytes(), &get(1)].concat());
        client.end();
    }
    assert!(server.received().is_empty(), "{:?}", server.received());
    assert_eq!(server.bytes(), 0);
}

/// Fields of a head, and what follows it.
struct Smuggled {
    what: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    body: &'static [u8],
    trailers: Vec<(&'static str, &'static str)>,
}

/// A GET with some of its fields replaced (by name) or added.
fn with(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut fields = head("GET", "/smuggled").to_vec();
    for change in changes {
        match fields.iter_mut().find(|(name, _)| *name == change.0) {
            Some(field) if field.0.starts_with(':') => *field = *change,
            _ => fields.push(*change),
        }
    }
    fields
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    let mut fields = with(&[]);
    fields.retain(|(known, _)| *known != name);
    fields
}

fn twice(field: (&'static str, &'static str)) -> Vec<(&'static str, &'static str)> {
    [vec![field], with(&[])].concat()
}

fn smuggled() -> Vec<Smuggled> {
    let head = |what, fields| Smuggled {
        what,
        fields,
        body: b"",
        trailers: vec![],
    };
    let field = |what, name, value| head(what, with(&[(name, value)]));
    let with_body = |what, changes: &[_], body, trailers| Smuggled {
        what,
        fields: with(&[&[(":method", "POST")], changes].concat()),
        body,
        trailers,
    };
    vec![
        field("transfer-encoding", "transfer-encoding", "chunked"),
        field(
            "transfer-encoding: identity",
            "transfer-encoding",
            "identity",
        ),
        field("content-length without a body", "content-length", "5"),
        field("content-length signed", "content-length", "+0"),
        field("content-length of a word", "content-length", "zero"),
        field("content-length empty", "content-length", ""),
        field("content-length as a list", "content-length", "0, 0"),
        head(
            "content-length twice",
            with(&[("content-length", "0"), ("content-length", "5")]),
        ),
        field("connection", "connection", "close"),
        field("proxy-connection", "proxy-connection", "close"),
        field("keep-alive", "keep-alive", "timeout=5"),
        field("upgrade", "upgrade", "websocket"),
        field("te: gzip", "te", "gzip"),
        field("te: trailers, gzip", "te", "trailers, gzip"),
        field("a value with CRLF", "x-a", "b\r\nx-smuggled: 1"),
        field("a value with LF", "x-a", "b\nx-smuggled: 1"),
        field("a value with CR", "x-a", "b\rx-smuggled: 1"),
        field("a value with NUL", "x-a", "b\0c"),
        field("a value with a space in front", "x-a", " b"),
        field("a value with a tab behind", "x-a", "b\t"),
        field("a name with a colon", "x-a:b", "c"),
        field("a name in upper case", "X-A", "b"),
        field("an empty name", "", "b"),
        field("a name with a space", "x a", "b"),
        field("a name with CRLF", "x-a: b\r\nx-smuggled", "c"),
        field("a name beyond ASCII", "x-\u{e9}", "c"),
        field(
            ":path with a request behind",
            ":path",
            "/ HTTP/1.1\r\nx-a: b",
        ),
        field(":path with a space", ":path", "/a b"),
        field(":path without a slash", ":path", "a"),
        field(":path empty", ":path", ""),
        field(":path absolute", ":path", "http://b/"),
        field(":path with a backslash", ":path", "/a\\b"),
        field(":path that leaves the root", ":path", "/../etc/passwd"),
        field(":path with an encoded slash", ":path", "/a%2fb"),
        field(":path of *", ":path", "*"),
        field(":method with a target", ":method", "GET /admin"),
        field(":method with CRLF", ":method", "GET\r\n"),
        field(":method empty", ":method", ""),
        field(":scheme with a URL", ":scheme", "http://b/?"),
        field(":scheme with CRLF", ":scheme", "http\r\nx: y"),
        field(":scheme empty", ":scheme", ""),
        field(":authority with a path", ":authority", "a/b"),
        field(":authority with userinfo", ":authority", "me@a"),
        field(":authority with CRLF", ":authority", "a\r\nx: y"),
        field(":authority with a list", ":authority", "a, b"),
        field(":authority empty", ":authority", ""),
        field(":authority with a bad port", ":authority", "a:99999"),
        field(":authority against host", "host", "b"),
        field(":status in a request", ":status", "200"),
        field("an unknown pseudo-header field", ":unknown", "1"),
        field("CONNECT with a path", ":method", "CONNECT"),
        field(":protocol without CONNECT", ":protocol", "websocket"),
        head("no :path", without(":path")),
        head("no :method", without(":method")),
        head("no :scheme", without(":scheme")),
        head("no :authority and no host", without(":authority")),
        head("two :path", twice((":path", "/first"))),
        head("two :method", twice((":method", "POST"))),
        head("two :scheme", twice((":scheme", "https"))),
        head("two :authority", twice((":authority", "b"))),
        head(
            "a pseudo-header field behind a regular one",
            [vec![("x-a", "b")], with(&[])].concat(),
        ),
        with_body(
            "a body longer than content-length",
            &[("content-length", "3")],
            b"12345",
            vec![],
        ),
        with_body(
            "a body shorter than content-length",
            &[("content-length", "9")],
            b"12345",
            vec![],
        ),
        with_body(
            "trailers before content-length is reached",
            &[("content-length", "9")],
            b"12345",
            vec![("x-a", "b")],
        ),
        with_body(
            "transfer-encoding in trailers",
            &[],
            b"12345",
            vec![("transfer-encoding", "chunked")],
        ),
        with_body(
            "content-length in trailers",
            &[],
            b"12345",
            vec![("content-length", "5")],
        ),
        with_body("host in trailers", &[], b"12345", vec![("host", "b")]),
        with_body(
            "authorization in trailers",
            &[],
            b"12345",
            vec![("authorization", "Bearer x")],
        ),
        with_body(
            "x-forwarded-for in trailers",
            &[],
            b"12345",
            vec![("x-forwarded-for", "1.1.1.1")],
        ),
        with_body(
            "CRLF in trailers",
            &[],
            b"12345",
            vec![("x-a", "b\r\nx: y")],
        ),
    ]
}

#[test]
fn nothing_is_smuggled_into_http1() {
    let server = Recorder::start();
    let ringgate = start(&server);
    let mut wrong = Vec::new();
    for Smuggled {
        what,
        fields,
        body,
        trailers,
    } in smuggled()
    {
        let mut client = H2::connect(ringgate.addr("web"));
        let ends = |is_last: bool| if is_last { Ends::Here } else { Ends::Later };
        let stream = client.open(&fields, ends(body.is_empty()));
        if !body.is_empty() {
            client.body(stream, body, ends(trailers.is_empty()));
        }
        if !trailers.is_empty() {
            client.fields(stream, &trailers, Ends::Here);
        }
        let end = client.finish(stream);
        let refused = match &end {
            H2End::Reset(code) | H2End::GoAway(code) => *code == PROTOCOL,
            H2End::Answered(answer) => [400, 405, 501].contains(&answer.status()),
            H2End::Closed => false,
        };
        if !refused {
            wrong.push(format!("{what}: {end:?}"));
        }
        // A whole request is the worst; a part of one, cut by the end of its connection, only comes of a bad body.
        let whole = server.received();
        if !whole.is_empty() || (body.is_empty() && server.bytes() > 0) {
            wrong.push(format!(
                "{what}: the server received {:?}",
                server.connections().last()
            ));
            break;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Good requests that look a little like it.
    for (what, fields) in [
        ("content-length of 0", with(&[("content-length", "0")])),
        // It is cut off before anything looks at the path.
        ("a fragment", with(&[(":path", "/a#b")])),
        ("te: trailers", with(&[("te", "trailers")])),
        ("a colon in a value", with(&[("x-a", "b:c")])),
        ("host as :authority", with(&[("host", "a")])),
        (
            "host alone",
            [without(":authority"), vec![("host", "a")]].concat(),
        ),
    ] {
        let mut client = H2::connect(ringgate.addr("web"));
        let stream = client.open(&fields, Ends::Here);
        let end = client.finish(stream);
        assert_eq!(end.status(), Some(200), "{what}: {end:?}");
        assert_eq!(server.last().field("host"), Some("a"), "{what}");
    }
    let faults = server.faults();
    assert!(faults.is_empty(), "{faults:?}");
}
