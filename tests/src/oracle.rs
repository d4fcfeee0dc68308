//! A second opinion on what servers were sent: the classifier that Amazon's load balancers use against request
//! smuggling. It judges heads only, and knows nothing of Ringgate.

use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;

use crate::recorder::Recorder;

/// Asserts that every head that a server received, with a whole request behind or not, leaves no room for a second
/// reading of its bounds.
///
/// # Panics
/// When one does, or the recorder itself has found a fault.
pub(crate) fn all_compliant(recorder: &Recorder) {
    let mut wrong = recorder.faults();
    for head in recorder.heads() {
        let verdict = HttpRequestData::analyze_raw_request(&head);
        if verdict.tier != RequestSafetyTier::Compliant {
            let head = String::from_utf8_lossy(&head);
            wrong.push(format!(
                "{:?}, {:?}: {head:?}",
                verdict.reason, verdict.message
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Then;
    use crate::wire::Wire;

    #[test]
    fn the_oracle_tells_good_from_bad() {
        let check = |head: &str, expected: RequestSafetyTier| {
            let verdict = HttpRequestData::analyze_raw_request(head.as_bytes());
            assert_eq!(verdict.tier, expected, "{head:?}: {:?}", verdict.message);
        };
        check(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            RequestSafetyTier::Compliant,
        );
        check(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            RequestSafetyTier::Ambiguous,
        );
        check(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
            RequestSafetyTier::Severe,
        );
    }

    #[test]
    #[should_panic(expected = "Content-Length: 5")]
    fn a_head_of_which_no_whole_request_came_is_judged_too() {
        let server = Recorder::serving(|_| Ok(Then::Close));
        let mut wire = Wire::connect(server.addr());
        wire.send(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        server.wait_ended(0);
    }
}
