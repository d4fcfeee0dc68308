//! The part of the page that speaks of HTTP listeners, written straight from the workers' counters: with thousands of
//! routes it has too many rows to fold each of them into a recorder first. Nothing is counted here.

use ringgate_gateway::counters::{HttpCounters, Requests};

use crate::exposition::{Reading, labels, write_counters, write_histograms};

/// Appends what was counted of each listener, which comes with its name.
pub(super) fn write<'a>(
    page: &mut String,
    listeners: impl Iterator<Item = (&'a str, &'a HttpCounters)> + Clone,
) {
    let of_route = |listener, route| labels(&[("listener", listener), ("route", route)]);
    let requests = listeners.clone().flat_map(|(listener, counters)| {
        let row = move |row: Requests<'_>| (request_labels(listener, &row), row.count);
        counters.requests().map(row)
    });
    write_counters(
        page,
        "ringgate_http_requests_total",
        "Requests answered, by route, method and status.",
        requests,
    );
    let seconds = listeners.clone().flat_map(|(listener, counters)| {
        let row = move |(route, each)| (of_route(listener, route), Reading::of::<'a>(each));
        counters.seconds().map(row)
    });
    write_histograms(
        page,
        "ringgate_http_request_seconds",
        "Time from a request's first byte to the end of its answer.",
        seconds,
    );
    let denied = listeners.clone().flat_map(|(listener, counters)| {
        let row = move |(word, count)| (labels(&[("listener", listener), ("reason", word)]), count);
        counters.denied().into_iter().map(row)
    });
    write_counters(
        page,
        "ringgate_auth_rejected_total",
        "Requests whose credentials were refused, by reason.",
        denied,
    );
    let limited = listeners.flat_map(|(listener, counters)| {
        let row = move |(route, count)| (of_route(listener, route), count);
        counters.limited().map(row)
    });
    write_counters(
        page,
        "ringgate_rate_limited_total",
        "Requests refused since there were more of their kind than the rate allows.",
        limited,
    );
}

fn request_labels(listener: &str, row: &Requests<'_>) -> String {
    labels(&[
        ("listener", listener),
        ("route", row.route),
        ("method", row.method),
        ("code", &row.status.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ringgate_engine::counters::WorkerId;

    use super::*;

    #[test]
    fn each_listener_s_requests_have_rows_and_a_route_may_have_any_name() {
        let routes = [Arc::from("/a \"b\"")];
        let (api, web) = (HttpCounters::new(2, &routes), HttpCounters::new(2, &[]));
        let (one, other) = (api.of(WorkerId(0)), api.of(WorkerId(1)));
        let took = Duration::from_millis(1500);
        one.request(1, "GET", 200, took);
        other.request(1, "GET", 200, took);
        other.request(0, "PROPFIND", 404, took);
        one.denied("expired");
        other.limited(1);
        let mut page = String::new();
        write(&mut page, [("api", &api), ("web", &web)].into_iter());
        let rows: Vec<&str> = page
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains("le=\"0"))
            .filter(|line| !line.contains("_bucket") || line.contains("le=\"2.5\""))
            .collect();
        let expected = [
            r#"ringgate_http_requests_total{listener="api",route="-",method="other",code="404"} 1"#,
            r#"ringgate_http_requests_total{listener="api",route="/a \"b\"",method="GET",code="200"} 2"#,
            r#"ringgate_http_request_seconds_bucket{listener="api",route="-",le="2.5"} 1"#,
            r#"ringgate_http_request_seconds_sum{listener="api",route="-"} 1.5"#,
            r#"ringgate_http_request_seconds_count{listener="api",route="-"} 1"#,
            r#"ringgate_http_request_seconds_bucket{listener="api",route="/a \"b\"",le="2.5"} 2"#,
            r#"ringgate_http_request_seconds_sum{listener="api",route="/a \"b\""} 3"#,
            r#"ringgate_http_request_seconds_count{listener="api",route="/a \"b\""} 2"#,
            r#"ringgate_auth_rejected_total{listener="api",reason="expired"} 1"#,
            r#"ringgate_rate_limited_total{listener="api",route="-"} 0"#,
            r#"ringgate_rate_limited_total{listener="api",route="/a \"b\""} 1"#,
            r#"ringgate_rate_limited_total{listener="web",route="-"} 0"#,
        ];
        assert_eq!(rows, expected);
        for name in ["requests_total", "request_seconds"] {
            assert!(
                page.contains(&format!("# HELP ringgate_http_{name} ")),
                "{page}"
            );
        }
    }

    #[test]
    fn a_process_without_http_says_nothing_of_it() {
        let mut page = String::new();
        write(&mut page, std::iter::empty());
        assert_eq!(page, "");
    }
}
