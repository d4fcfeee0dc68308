//! Promise: what is let through arrives at the server as one plain request, however its bytes came.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use ringgate_tests::Attacked;

/// Requests as they arrive: method and target, and the body.
type Arrives = &'static [(&'static str, &'static str)];

/// Bytes, and what must arrive of them, one after the other.
const LET_THROUGH: &[(&str, &str, Arrives)] = &[
    (
        "GET",
        "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("GET /x", "")],
    ),
    (
        "no space behind the colon",
        "GET /x HTTP/1.1\r\nHost:a\r\nX:y\r\n\r\n",
        &[("GET /x", "")],
    ),
    (
        "white space around values",
        "GET /x HTTP/1.1\r\nHost: \t a \t \r\nX: \t\r\n\r\n",
        &[("GET /x", "")],
    ),
    (
        "HTTP/1.0",
        "GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        &[("GET /x", "")],
    ),
    (
        "absolute form",
        "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("GET /x", "")],
    ),
    (
        "absolute form, other case",
        "GET HTTP://A/x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("GET /x", "")],
    ),
    (
        "asterisk",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("OPTIONS *", "")],
    ),
    (
        "absolute form of a whole server",
        "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("OPTIONS *", "")],
    ),
    (
        "length",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        &[("POST /x", "hello")],
    ),
    (
        "length 0",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        &[("POST /x", "")],
    ),
    (
        "no length",
        "POST /x HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("POST /x", "")],
    ),
    (
        "chunks",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n",
        &[("POST /x", "hello0123456789")],
    ),
    (
        "15 digits",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        000000000000005\r\nhello\r\n0\r\n\r\n",
        &[("POST /x", "hello")],
    ),
    (
        "two zeros at the end",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n00\r\n\r\n",
        &[("POST /x", "h")],
    ),
    (
        "tab before the coding",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n1\r\nh\r\n0\r\n\r\n",
        &[("POST /x", "h")],
    ),
    (
        "coding in capitals",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n1\r\nh\r\n0\r\n\r\n",
        &[("POST /x", "h")],
    ),
    (
        "tab behind the length",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\t\r\n\r\nh",
        &[("POST /x", "h")],
    ),
    (
        "length of GET",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        &[("GET /x", "")],
    ),
    (
        "obs-text",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: \u{e4}\r\n\r\n",
        &[("GET /x", "")],
    ),
    (
        "no chunk",
        "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[("PUT /x", "")],
    ),
    (
        "heads in a body",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\n\
        GET /y HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
        &[("POST /x", "GET /y HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n")],
    ),
    (
        "two in a row",
        "GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n",
        &[("GET /x", ""), ("GET /y", "")],
    ),
    (
        "body, then another",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n0\r\n0\r\n\r\n\
        PUT /y HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n\r\nGET /z HTTP/1.1\r\nHost: c\r\n\r\n",
        &[("POST /x", "0"), ("PUT /y", "\r\n"), ("GET /z", "")],
    ),
];

/// A request is cut at so many of its bytes, spread evenly.
const CUTS: usize = 12;

#[test]
fn good_requests_arrive_the_same_however_their_bytes_come() {
    let attacked = Attacked::start("{}");
    let mut wrong = Vec::new();
    for (what, bytes, expected) in LET_THROUGH {
        let bytes = bytes.as_bytes();
        let cuts = (1..bytes.len())
            .step_by(bytes.len() / CUTS + 1)
            .map(|cut| vec![cut]);
        let ways = [vec![], (1..bytes.len()).collect()].into_iter().chain(cuts);
        for ends in ways {
            let before = attacked.server.received().len();
            let mut wire = attacked.wire();
            wire.send_in_pieces(bytes, ends.clone());
            let statuses: Vec<u16> = expected.iter().map(|_| wire.answer().status).collect();
            let received = attacked.server.received().split_off(before);
            let got: Vec<_> = received
                .iter()
                .map(|each| (each.what(), each.text()))
                .collect();
            let expected = expected
                .iter()
                .map(|(what, body)| ((*what).to_owned(), (*body).to_owned()));
            if statuses.iter().any(|status| *status != 200) || got != expected.collect::<Vec<_>>() {
                wrong.push(format!("{what}, cut at {ends:?}: {statuses:?} {got:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
