//! What the doors answer. Every path is read-only: nothing here changes the process, and a request's body is never
//! read.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::Door;
use crate::process::Process;
use crate::status::State;

const DASHBOARD: &str = include_str!("dashboard.html");

/// Where the dashboard's page takes the nonce of its style and its script.
const NONCE_PLACE: &str = "{{nonce}}";

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

type Answer = Response<Full<Bytes>>;

/// The answer to a request that came in by `door`.
pub(super) fn answer<B>(process: &Process, door: Door, request: &Request<B>) -> Answer {
    if !names_this_host(door, request) {
        let detail = "this door answers to an IP address or to localhost only";
        return problem(StatusCode::MISDIRECTED_REQUEST, detail);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are answered",
        );
        refusal
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/" => dashboard(),
        "/live" => live(process),
        "/metrics" => metrics(process),
        "/ready" => ready(process),
        "/v1/status" => status(process),
        _ => problem(
            StatusCode::NOT_FOUND,
            "there are /, /live, /metrics, /ready and /v1/status",
        ),
    }
}

/// Whether the request's `Host` may be answered.
///
/// A web page can point its own name at 127.0.0.1 and so read, in the browser of someone on this host, what is meant
/// for this host alone (DNS rebinding). A door that only this host reaches therefore answers to no name but localhost.
/// A door on another address is open to the network anyway, and may be reached by any name.
fn names_this_host<B>(door: Door, request: &Request<B>) -> bool {
    if door != (Door::Http { is_local: true }) {
        return true;
    }
    let Some(host) = request.headers().get(HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn live(process: &Process) -> Answer {
    match process.pulse.borrow().standing_still(Instant::now()) {
        None => with_body(StatusCode::OK, TEXT, "live\n"),
        Some((worker, silent)) => {
            let text = format!(
                "worker {} has not answered for {} s\n",
                worker.0,
                silent.as_secs()
            );
            with_body(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
        }
    }
}

fn ready(process: &Process) -> Answer {
    match process.state.get() {
        State::Serving => with_body(StatusCode::OK, TEXT, "ready\n"),
        other => with_body(
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            format!("{}\n", other.word()),
        ),
    }
}

fn metrics(process: &Process) -> Answer {
    let make = || Ok::<_, Infallible>(process.metrics_page());
    let Ok(page) = process.pages.metrics.get(make);
    with_body(StatusCode::OK, PROMETHEUS, page)
}

fn status(process: &Process) -> Answer {
    let make = || serde_json::to_string(&process.status());
    match process.pages.status.get(make) {
        Ok(json) => with_body(StatusCode::OK, JSON, json),
        // The path of the file is the only part that may not be text.
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn dashboard() -> Answer {
    let nonce = nonce();
    let mut answer = with_body(StatusCode::OK, HTML, DASHBOARD.replace(NONCE_PLACE, &nonce));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// Hexadecimal digits that nobody can guess: each hasher has keys from the system's random numbers.
fn nonce() -> String {
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part())
}

/// A refusal in the form of RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail });
    with_body(status, PROBLEM, body.to_string())
}

fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}
