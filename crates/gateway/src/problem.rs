//! The body of an answer that Ringgate makes itself: a problem (RFC 9457) as JSON. It says what is wrong and never
//! what the inside looks like: no server, no address, no file.

use serde::Serialize;

/// The `Content-Type` of the body.
pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// The body for a status with its reason in a word, perhaps more about it in a sentence, and the name of the request
/// where it has one already.
pub(crate) fn problem(
    status: u16,
    reason: &str,
    detail: Option<&str>,
    request_id: Option<&str>,
) -> Vec<u8> {
    let problem = Problem {
        r#type: "about:blank",
        title: title(status),
        status,
        reason,
        detail,
        request_id,
    };
    let mut body = serde_json::to_vec(&problem).unwrap_or_default();
    body.push(b'\n');
    body
}

/// What a status is called (RFC 9110 §15, RFC 6585); that of its class when it has no name of its own.
fn title(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => class(status),
    }
}

fn class(status: u16) -> &'static str {
    match status {
        100..200 => "Informational",
        200..300 => "Success",
        300..400 => "Redirection",
        400..500 => "Client Error",
        _ => "Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: Vec<u8>, expected: &str) {
        let text = String::from_utf8(body).unwrap();
        assert_eq!(text, format!("{expected}\n"));
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn a_problem_has_its_members_in_order() {
        check(
            problem(
                400,
                "bad_request",
                Some("The \"host\"\r\nis wrong."),
                Some("id"),
            ),
            concat!(
                r#"{"type":"about:blank","title":"Bad Request","status":400,"reason":"bad_request","#,
                r#""detail":"The \"host\"\r\nis wrong.","request_id":"id"}"#
            ),
        );
        check(
            problem(404, "no_route", None, None),
            r#"{"type":"about:blank","title":"Not Found","status":404,"reason":"no_route"}"#,
        );
    }

    #[test]
    fn every_status_has_a_title() {
        for status in 0..=999 {
            assert!(!title(status).is_empty());
        }
        assert_eq!((title(418), title(599)), ("Client Error", "Server Error"));
    }
}
