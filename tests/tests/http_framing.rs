//! Promise: a request whose bounds could be read in two ways is refused with its connection, and no server sees a byte
//! of it or of what stands behind it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use ringgate_tests::{Attacked, By, Refused};

const BAD: &[u16] = &[400];
const CODING: &[u16] = &[400, 501];
const UNKNOWN_CODING: &[u16] = &[501];
const VERSION: &[u16] = &[400, 505];

/// Fields of a POST that has the body `0\r\n\r\n`, which is one of five bytes as well as one without chunks.
const FIELDS_OF_BODIES: &[(&str, &[u16], &str)] = &[
    (
        "length, coding",
        BAD,
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
    ),
    (
        "coding, length",
        BAD,
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ),
    (
        "bad length, coding",
        BAD,
        "Content-Length: x\r\nTransfer-Encoding: chunked",
    ),
    (
        "length, identity",
        CODING,
        "Content-Length: 5\r\nTransfer-Encoding: identity",
    ),
    (
        "the same length twice",
        BAD,
        "Content-Length: 5\r\nContent-Length: 5",
    ),
    ("two lengths", BAD, "Content-Length: 5\r\nContent-Length: 6"),
    (
        "two lengths apart",
        BAD,
        "Content-Length: 0\r\nX: y\r\ncontent-length: 5",
    ),
    ("list of one length", BAD, "Content-Length: 5, 5"),
    ("list of lengths", BAD, "Content-Length: 5,6"),
    ("length and comma", BAD, "Content-Length: 5,"),
    ("positive length", BAD, "Content-Length: +5"),
    ("negative length", BAD, "Content-Length: -5"),
    ("negative zero", BAD, "Content-Length: -0"),
    ("hex length", BAD, "Content-Length: 0x5"),
    ("empty length", BAD, "Content-Length:"),
    ("blank length", BAD, "Content-Length:  \t "),
    ("2^64 + 5", BAD, "Content-Length: 18446744073709551621"),
    ("2^64", BAD, "Content-Length: 18446744073709551616"),
    ("2^63", BAD, "Content-Length: 9223372036854775808"),
    (
        "30 digits",
        BAD,
        "Content-Length: 100000000000000000000000000005",
    ),
    ("leading zero", BAD, "Content-Length: 05"),
    ("two zeros", BAD, "Content-Length: 00"),
    ("length with a space", BAD, "Content-Length: 5 0"),
    ("fraction", BAD, "Content-Length: 5.0"),
    ("exponent", BAD, "Content-Length: 5e0"),
    ("quoted length", BAD, "Content-Length: \"5\""),
    ("word", BAD, "Content-Length: five"),
    ("underscore in the number", BAD, "Content-Length: 1_0"),
    ("length with a parameter", BAD, "Content-Length: 5;q=1"),
    ("length after VT", BAD, "Content-Length: \x0b5"),
    ("length before FF", BAD, "Content-Length: 5\x0c"),
    ("length before NUL", BAD, "Content-Length: 5\0"),
    ("digits of Devanagari", BAD, "Content-Length: \u{96b}"),
    (
        "space before the colon of a length",
        BAD,
        "Content-Length : 5",
    ),
    (
        "tab before the colon of a length",
        BAD,
        "Content-Length\t: 5",
    ),
    ("folded length", BAD, "Content-Length:\r\n 5"),
    (
        "larger than the bound of bodies",
        &[413],
        "Content-Length: 10485761",
    ),
    (
        "coding twice",
        CODING,
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ),
    (
        "coding twice in a list",
        CODING,
        "Transfer-Encoding: chunked, chunked",
    ),
    (
        "chunked, then identity",
        CODING,
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ),
    (
        "identity, then chunked",
        CODING,
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    ),
    ("identity", UNKNOWN_CODING, "Transfer-Encoding: identity"),
    ("gzip", UNKNOWN_CODING, "Transfer-Encoding: gzip"),
    ("gzip, chunked", CODING, "Transfer-Encoding: gzip, chunked"),
    ("chunked, gzip", CODING, "Transfer-Encoding: chunked, gzip"),
    ("xchunked", UNKNOWN_CODING, "Transfer-Encoding: xchunked"),
    ("chunke", UNKNOWN_CODING, "Transfer-Encoding: chunke"),
    (
        "chunked with a parameter",
        CODING,
        "Transfer-Encoding: chunked;q=1",
    ),
    ("quoted coding", CODING, "Transfer-Encoding: \"chunked\""),
    ("empty coding", CODING, "Transfer-Encoding:"),
    ("comma", CODING, "Transfer-Encoding: ,"),
    ("coding and comma", CODING, "Transfer-Encoding: chunked,"),
    ("comma and coding", CODING, "Transfer-Encoding: , chunked"),
    ("coding after VT", CODING, "Transfer-Encoding: \x0bchunked"),
    ("coding before VT", CODING, "Transfer-Encoding: chunked\x0b"),
    ("coding after NUL", CODING, "Transfer-Encoding: \0chunked"),
    (
        "coding after a no-break space",
        CODING,
        "Transfer-Encoding: \u{a0}chunked",
    ),
    (
        "coding with a Kelvin sign",
        CODING,
        "Transfer-Encoding: chun\u{212a}ed",
    ),
    ("folded coding", BAD, "Transfer-Encoding:\r\n chunked"),
    (
        "folded coding behind a tab",
        BAD,
        "Transfer-Encoding:\r\n\tchunked",
    ),
    (
        "coding that goes on in a fold",
        BAD,
        "Transfer-Encoding: chunked\r\n , identity",
    ),
    (
        "space before the colon of a coding",
        BAD,
        "Transfer-Encoding : chunked",
    ),
    (
        "tab before the colon of a coding",
        BAD,
        "Transfer-Encoding\t: chunked",
    ),
    (
        "space before a coding's name",
        BAD,
        " Transfer-Encoding: chunked",
    ),
    (
        "coding in a fold",
        BAD,
        "X: y\r\n Transfer-Encoding: chunked",
    ),
    ("coding behind CR", BAD, "X: y\rTransfer-Encoding: chunked"),
    (
        "coding behind LF",
        BAD,
        "Content-Length: 5\r\nX: y\nTransfer-Encoding: chunked",
    ),
    (
        "coding behind CR CR LF",
        BAD,
        "Content-Length: 5\r\nX: y\r\r\nTransfer-Encoding: chunked",
    ),
    (
        "NUL in the name of a coding",
        BAD,
        "Transfer\0-Encoding: chunked",
    ),
    (
        "Connection names the length",
        BAD,
        "Content-Length: 5\r\nConnection: Content-Length",
    ),
    (
        "Connection names the coding",
        BAD,
        "Transfer-Encoding: chunked\r\nConnection: transfer-encoding",
    ),
];

/// Fields of a GET.
const FIELDS: &[(&str, &[u16], &str)] = &[
    ("space before the colon", BAD, "X : y"),
    ("tab before the colon", BAD, "X\t: y"),
    ("obs-fold by a space", BAD, "X: y\r\n z"),
    ("obs-fold by a tab", BAD, "X: y\r\n\tz"),
    ("fold before the first field", BAD, " X: y"),
    ("line without a colon", BAD, "X"),
    ("line of a space", BAD, "X: y\r\n "),
    ("empty name", BAD, ": y"),
    ("colon alone", BAD, ":"),
    ("bare LF", BAD, "X: y\nZ: z"),
    ("bare CR", BAD, "X: y\rZ: z"),
    ("CR CR LF", BAD, "X: y\r\r\nZ: z"),
    ("CR at the end of a value", BAD, "X: y\r"),
    ("NUL in a value", BAD, "X: y\0z"),
    ("NUL in a name", BAD, "X\0: y"),
    ("ESC in a value", BAD, "X: \x1b[2J"),
    ("SOH in a value", BAD, "X: \x01"),
    ("DEL in a value", BAD, "X: \x7f"),
    ("space in a name", BAD, "X Y: z"),
    ("tab in a name", BAD, "X\tY: z"),
    ("parentheses in a name", BAD, "X(Y): z"),
    ("slash in a name", BAD, "X/Y: z"),
    ("quotes in a name", BAD, "\"X\": z"),
    ("comma in a name", BAD, "X,Y: z"),
    ("bracket in a name", BAD, "X[Y]: z"),
    ("not ASCII in a name", BAD, "X\u{e4}: z"),
    ("Connection names Host", BAD, "Connection: Host"),
    (
        "Connection names Authorization",
        BAD,
        "Authorization: x\r\nConnection: close, authorization",
    ),
    (
        "Connection names Cookie",
        BAD,
        "Cookie: a=b\r\nConnection: Cookie",
    ),
    (
        "Connection names X-Forwarded-For",
        BAD,
        "Connection: X-Forwarded-For",
    ),
    (
        "Connection names X-Forwarded-Host",
        BAD,
        "Connection: keep-alive, x-forwarded-host",
    ),
    (
        "Connection names X-Forwarded-Proto",
        BAD,
        "Connection: X-Forwarded-Proto",
    ),
    ("Connection names X-Consumer", BAD, "Connection: X-Consumer"),
    (
        "Connection names X-Request-Id",
        BAD,
        "Connection: X-Request-Id",
    ),
    (
        "a second Connection names Host",
        BAD,
        "Connection: keep-alive\r\nConnection: Host",
    ),
    ("another expectation", &[417], "Expect: 200-ok"),
    ("two expectations", &[417], "Expect: 100-continue, 200-ok"),
    (
        "two fields of expectations",
        &[400, 417],
        "Expect: 100-continue\r\nExpect: x",
    ),
];

/// First lines, before `Host: a`.
const LINES: &[(&str, &[u16], &str)] = &[
    ("two spaces before the target", BAD, "GET  / HTTP/1.1"),
    ("two spaces before the version", VERSION, "GET /  HTTP/1.1"),
    ("tab before the target", BAD, "GET\t/ HTTP/1.1"),
    ("tab before the version", BAD, "GET /\tHTTP/1.1"),
    ("space behind the version", BAD, "GET / HTTP/1.1 "),
    ("tab behind the version", BAD, "GET / HTTP/1.1\t"),
    ("space before the method", BAD, " GET / HTTP/1.1"),
    ("space in the target", VERSION, "GET /a b HTTP/1.1"),
    (
        "version in the target",
        BAD,
        "GET /behind HTTP/1.1 HTTP/1.1",
    ),
    ("NUL in the target", BAD, "GET /\0 HTTP/1.1"),
    ("NUL in the method", BAD, "GE\0T / HTTP/1.1"),
    ("NUL before the method", BAD, "\0GET / HTTP/1.1"),
    ("CR in the line", BAD, "GET /\rX HTTP/1.1"),
    ("CR CR LF", BAD, "GET / HTTP/1.1\r"),
    ("LF in the line", BAD, "GET / HTTP/1.1\nX: y"),
    ("no version", VERSION, "GET /"),
    ("no target", BAD, "GET HTTP/1.1"),
    ("no method", BAD, "/ HTTP/1.1"),
    ("empty method", BAD, " / HTTP/1.1"),
    ("HTTP/0.9", VERSION, "GET / HTTP/0.9"),
    ("HTTP/1.2", VERSION, "GET / HTTP/1.2"),
    ("HTTP/2.0", VERSION, "GET / HTTP/2.0"),
    ("HTTP/9.9", VERSION, "GET / HTTP/9.9"),
    ("HTTP/1.10", VERSION, "GET / HTTP/1.10"),
    ("HTTP/01.1", VERSION, "GET / HTTP/01.1"),
    ("HTTP/1", VERSION, "GET / HTTP/1"),
    ("HTTP/1,1", VERSION, "GET / HTTP/1,1"),
    ("HTTP/+1.1", VERSION, "GET / HTTP/+1.1"),
    ("HTTP/ 1.1", VERSION, "GET / HTTP/ 1.1"),
    ("lower case", VERSION, "GET / http/1.1"),
    ("mixed case", VERSION, "GET / Http/1.1"),
    ("HTTPS/1.1", VERSION, "GET / HTTPS/1.1"),
    ("fragment", BAD, "GET /#x HTTP/1.1"),
    ("fragment behind the query", BAD, "GET /?x#y HTTP/1.1"),
    ("GET *", BAD, "GET * HTTP/1.1"),
    ("OPTIONS *x", BAD, "OPTIONS *x HTTP/1.1"),
    ("authority form", BAD, "GET a:80 HTTP/1.1"),
    ("name as the target", BAD, "GET a HTTP/1.1"),
    ("query as the target", BAD, "GET ?x HTTP/1.1"),
    ("CONNECT", &[501], "CONNECT a:80 HTTP/1.1"),
    ("CONNECT to a path", &[400, 501], "CONNECT / HTTP/1.1"),
    ("TRACE", &[405], "TRACE / HTTP/1.1"),
    ("other host than Host", BAD, "GET http://b/ HTTP/1.1"),
    ("other port than Host", BAD, "GET http://a:81/ HTTP/1.1"),
    ("user in the target", BAD, "GET http://u@a/ HTTP/1.1"),
    (
        "user and password in the target",
        BAD,
        "GET http://u:p@a/ HTTP/1.1",
    ),
    ("host behind a user", BAD, "GET http://a@b/ HTTP/1.1"),
    ("no host in the target", BAD, "GET http:///x HTTP/1.1"),
    ("FTP", BAD, "GET ftp://a/ HTTP/1.1"),
    ("scheme without slashes", BAD, "GET http:a/ HTTP/1.1"),
    ("scheme with a backslash", BAD, "GET http:/\\a/ HTTP/1.1"),
];

/// Hosts of a GET.
const HOSTS: &[(&str, &str)] = &[
    ("no Host", "X: y"),
    ("the same Host twice", "Host: a\r\nHost: a"),
    ("two Hosts", "Host: a\r\nHost: b"),
    ("two Hosts of other case", "Host: a\r\nhOST: b"),
    ("list of Hosts", "Host: a, b"),
    ("list without a space", "Host: a,b"),
    ("empty Host", "Host:"),
    ("port alone", "Host: :80"),
    ("space in Host", "Host: a b"),
    ("tab in Host", "Host: a\tb"),
    ("slash in Host", "Host: a/b"),
    ("backslash in Host", "Host: a\\b"),
    ("query in Host", "Host: a?b"),
    ("fragment in Host", "Host: a#b"),
    ("user in Host", "Host: u@a"),
    ("NUL in Host", "Host: a\0b"),
    ("word as port", "Host: a:http"),
    ("port 65536", "Host: a:65536"),
    ("signed port", "Host: a:+80"),
    ("two ports", "Host: a:80:80"),
    ("port 0", "Host: a:0"),
    ("port with a zero in front", "Host: a:080"),
    ("URL", "Host: http://a"),
    ("open bracket", "Host: [::1"),
    ("closing bracket", "Host: ::1]"),
    ("IPv6 without brackets", "Host: ::1"),
    ("not IPv6", "Host: [::g]"),
    ("words behind a bracket", "Host: [::1]x"),
    ("not ASCII", "Host: \u{e4}"),
    ("percent", "Host: a%00b"),
    ("angle brackets", "Host: <a>"),
    ("quotes", "Host: \"a\""),
    ("space before the colon", "Host : a"),
    ("space before the name", " Host: a"),
    ("fold", "Host:\r\n a"),
];

/// Whole requests.
const WHOLE: &[(&str, &[u16], &str)] = &[
    ("LF alone", BAD, "GET / HTTP/1.1\nHost: a\n\n"),
    (
        "LF at the end of the line",
        BAD,
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
    ),
    (
        "LF at the end of the head",
        BAD,
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
    ),
    ("LF, CR LF", BAD, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
    ("CR alone", BAD, "GET / HTTP/1.1\rHost: a\r\r"),
    ("HTTP/1.0 without Host", BAD, "GET / HTTP/1.0\r\n\r\n"),
    (
        "HTTP/1.0 with a coding",
        CODING,
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "HTTP/1.0 with a kept coding",
        CODING,
        "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "absolute form without Host",
        BAD,
        "GET http://a/ HTTP/1.1\r\n\r\n",
    ),
    (
        "absolute form with two Hosts",
        BAD,
        "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    ),
    (
        "TLS",
        BAD,
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n",
    ),
    (
        "CR LF before the line",
        BAD,
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "CR LF CR LF before the line",
        BAD,
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("SSH", BAD, "SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ("an answer", BAD, "HTTP/1.1 200 OK\r\nHost: a\r\n\r\n"),
];

#[test]
fn lengths_and_codings_that_leave_a_choice_are_refused() {
    let with = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n");
    refused(cases(FIELDS_OF_BODIES, with));
}

#[test]
fn fields_that_are_none_are_refused() {
    let with = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    refused(cases(FIELDS, with));
}

#[test]
fn first_lines_that_are_none_are_refused() {
    refused(cases(LINES, |line| format!("{line}\r\nHost: a\r\n\r\n")));
}

#[test]
fn a_request_has_one_good_host() {
    let hosts: Vec<_> = HOSTS
        .iter()
        .map(|(what, host)| (*what, BAD, *host))
        .collect();
    refused(cases(&hosts, |host| {
        format!("GET / HTTP/1.1\r\n{host}\r\n\r\n")
    }));
}

#[test]
fn lines_end_by_cr_lf_and_old_versions_have_no_codings() {
    refused(cases(WHOLE, str::to_owned));
}

#[test]
fn heads_have_bounds_of_bytes_fields_target_and_method() {
    let get = |fields: String| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("X{n}: y\r\n"))
            .collect::<String>()
    };
    let bombs: [(&str, &[u16], String); 9] = [
        (
            "a field of 40 KiB",
            &[431],
            get(format!("X: {}\r\n", "y".repeat(40 << 10))),
        ),
        (
            "a name of 40 KiB",
            &[431],
            get(format!("{}: y\r\n", "X".repeat(40 << 10))),
        ),
        (
            "40 KiB in 80 fields",
            &[431],
            get(format!("X: {}\r\n", "y".repeat(512)).repeat(80)),
        ),
        ("101 fields", &[431], get(many(101))),
        ("5,000 fields", &[431], get(many(5000))),
        ("10,000 empty fields", &[431], get("a:\r\n".repeat(10_000))),
        (
            "a target of 9 KiB",
            &[414],
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9 << 10)),
        ),
        (
            "a target of 1 MiB",
            &[414, 431],
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1 << 20)),
        ),
        (
            "a method of 64 KiB",
            &[400, 414, 431],
            format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "G".repeat(64 << 10)),
        ),
    ];
    let cases = bombs
        .into_iter()
        .map(|(what, status, bytes)| case(what, status, &bytes));
    refused(cases.collect());
}

fn cases(
    table: &[(&'static str, &'static [u16], &str)],
    with: impl Fn(&str) -> String,
) -> Vec<Refused> {
    let cases = table.iter();
    cases
        .map(|(what, status, part)| case(what, status, &with(part)))
        .collect()
}

fn case(what: &'static str, status: &[u16], text: &str) -> Refused {
    Refused {
        what,
        bytes: text.into(),
        status: status.into(),
        by: By::Head,
    }
}

/// Each is refused; good requests before, between and after are served.
fn refused(cases: Vec<Refused>) {
    let mut attacked = Attacked::start("{}");
    let good = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    attacked.let_through(good.as_bytes(), "/good");
    for (number, case) in cases.iter().enumerate() {
        attacked.check(case);
        if number % 16 == 15 {
            attacked.let_through(good.as_bytes(), "/good");
        }
    }
    attacked.let_through(good.as_bytes(), "/good");
    attacked.end();
}
