//! A second opinion on what servers were sent: the classifier that Amazon's load balancers use against request
//! smuggling. It judges heads only, and knows nothing of Ringgate.

use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::HttpRequestData;

use crate::recorder::Recorder;

/// Asserts that every request that a server received leaves no room for a second reading of its bounds.
///
/// # Panics
/// When one does, or the recorder itself has found a fault.
pub(crate) fn all_compliant(recorder: &Recorder) {
    let mut wrong = recorder.faults();
    for request in recorder.received() {
        let verdict = HttpRequestData::analyze_raw_request(&request.head.raw);
        if verdict.tier != RequestSafetyTier::Compliant {
            let head = String::from_utf8_lossy(&request.head.raw).into_owned();
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
}
