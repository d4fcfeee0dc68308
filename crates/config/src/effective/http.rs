//! The parts of the printed file that speak of HTTP. What a route has from its listener is left out: there it is
//! inherited again.

use std::path::Path;
use std::time::Duration;

use super::{key, list, path, quoted, set};
use crate::plan::{
    Auth, FieldChanges, FieldCondition, Hold, Http, HttpRoute, Jwt, JwtKeys, Plan, PoolIndex,
    RateLimit, Redirect, RedirectTo, Retry, Stages,
};
use crate::value::admission::bytes_text;
use crate::value::{duration_text, name};

/// The routes of a listener that speaks HTTP.
pub(super) fn routes(plan: &Plan, http: &Http) -> String {
    if http.routes.is_empty() {
        return String::new();
    }
    let lines = http.routes.iter();
    let lines: String = lines.map(|each| route(plan, each, &http.stages)).collect();
    format!("    routes:\n{lines}")
}

/// A name that cannot be written is one that follows the conditions.
fn route(plan: &Plan, route: &HttpRoute, listener: &Stages) -> String {
    let is_name = name(&route.name, "route").is_ok();
    let (pool, pools) = match route.pools.as_slice() {
        [] => (None, None),
        [(pool, 1)] => (Some(key(&plan.pool(*pool).name)), None),
        pools => (None, Some(shares(plan, pools))),
    };
    let set = [
        set("name", is_name.then(|| quoted(&route.name))),
        set("host", list(&route.host)),
        set("path", list(&route.path)),
        set("methods", list(&route.methods)),
        set("headers", conditions(&route.headers)),
        set("query", conditions(&route.query)),
        set("sni", list(&route.sni)),
        set("client", list(&route.client)),
        set("pool", pool),
        set("pools", pools),
        set(
            "rewrite",
            route.rewrite.as_ref().map(|path| quoted(&path.to_string())),
        ),
        set("http", overrides(&route.stages, listener)),
    ];
    format!("      - {}\n", block(set))
}

fn shares(plan: &Plan, pools: &[(PoolIndex, u32)]) -> String {
    let share =
        |(pool, share): &(PoolIndex, u32)| format!("{}: {share}", key(&plan.pool(*pool).name));
    let shares: Vec<String> = pools.iter().map(share).collect();
    format!("{{ {} }}", shares.join(", "))
}

fn conditions(conditions: &[FieldCondition]) -> Option<String> {
    let texts = conditions.iter().map(|each| {
        let value = each.value.as_deref().unwrap_or("*");
        (each.name.as_str(), value)
    });
    map(texts)
}

/// Names with a text each; `None` when there are none, which no key can say.
fn map<'t>(texts: impl Iterator<Item = (&'t str, &'t str)>) -> Option<String> {
    let texts = texts.map(|(name, text)| format!("{}: {}", quoted(name), quoted(text)));
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| format!("{{ {} }}", texts.join(", ")))
}

/// What a listener does with HTTP.
pub(super) fn http(http: &Http) -> String {
    let stages = &http.stages;
    let limits = block([
        set("header", Some(bytes_text(http.limits.header_bytes.into()))),
        set("fields", Some(http.limits.fields)),
        set("body", Some(body(stages.body_max))),
        set(
            "requests_per_connection",
            Some(http.limits.requests_per_connection),
        ),
        set("streams", Some(http.limits.streams)),
    ]);
    let set = [
        set("trusted_proxies", list(&http.trusted_proxies)),
        set("auth", stages.auth.as_ref().map(auth)),
        set("require", list(&stages.require)),
        set("rate_limit", rate_limits(&stages.rate_limits)),
        set("headers", changes(stages)),
        set("redirect", stages.redirect.as_ref().map(redirect)),
        set("limits", Some(limits)),
    ];
    let lines = set.into_iter().flatten();
    let lines: String = lines.map(|line| format!("      {line}\n")).collect();
    format!("    http:\n{lines}")
}

/// What a route says in place of its listener; `None` when nothing.
fn overrides(route: &Stages, listener: &Stages) -> Option<String> {
    let off = || "off".to_owned();
    let auth = (route.auth != listener.auth).then(|| route.auth.as_ref().map_or_else(off, auth));
    let inherited: &[String] = match route.auth {
        Some(_) => &listener.require,
        None => &[],
    };
    let require = (route.require != inherited).then(|| list(&route.require).unwrap_or_else(off));
    let limits = route
        .counts_apart
        .then(|| rate_limits(&route.rate_limits).unwrap_or_else(off));
    let fields = |stages: &Stages| {
        (
            stages.request_fields.clone(),
            stages.response_fields.clone(),
        )
    };
    let changes = (fields(route) != fields(listener))
        .then(|| changes(route).unwrap_or_else(|| "{}".to_owned()));
    let bounds = (route.body_max != listener.body_max)
        .then(|| format!("{{ body: {} }}", body(route.body_max)));
    let set = [
        set("auth", auth),
        set("require", require),
        set("rate_limit", limits),
        set("headers", changes),
        set("redirect", route.redirect.as_ref().map(redirect)),
        set("limits", bounds),
    ];
    set.iter().any(Option::is_some).then(|| block(set))
}

fn body(most: Option<u64>) -> String {
    most.map_or("off".to_owned(), bytes_text)
}

fn auth(auth: &Auth) -> String {
    block([
        set("realm", Some(quoted(&auth.realm))),
        set("tokens_file", auth.tokens_file.as_deref().map(path)),
        set("users_file", auth.users_file.as_deref().map(path)),
        set("jwt", auth.jwt.as_ref().map(jwt)),
        set("client_certificate", Some(auth.client_certificate)),
    ])
}

fn jwt(jwt: &Jwt) -> String {
    let clock = |clock: Duration| Some(duration_text(clock));
    let (keys, ca, refresh, max_age): (String, Option<&Path>, _, _) = match &jwt.keys {
        JwtKeys::File(file) => (path(file), None, None, None),
        JwtKeys::Url {
            url,
            ca,
            refresh,
            max_age,
        } => (quoted(url), ca.as_deref(), clock(*refresh), clock(*max_age)),
    };
    block([
        set("keys", Some(keys)),
        set("ca", ca.map(path)),
        set("issuer", jwt.issuer.as_deref().map(quoted)),
        set("audience", list(&jwt.audience)),
        set("algorithms", list(&jwt.algorithms)),
        set("leeway", clock(jwt.leeway)),
        set("refresh", refresh),
        set("max_age", max_age),
        set("consumer", Some(quoted(&jwt.consumer_claim))),
        set("scopes", Some(quoted(&jwt.scope_claim))),
    ])
}

fn rate_limits(limits: &[RateLimit]) -> Option<String> {
    let limit = |limit: &RateLimit| {
        let by = quoted(&limit.by.to_string());
        format!(
            "{{ rate: {}, burst: {}, by: {by} }}",
            limit.rate, limit.burst
        )
    };
    let limits: Vec<String> = limits.iter().map(limit).collect();
    (!limits.is_empty()).then(|| format!("[{}]", limits.join(", ")))
}

fn changes(stages: &Stages) -> Option<String> {
    let one = |changes: &FieldChanges| {
        let pairs = changes.set.iter();
        let set = [
            set(
                "set",
                map(pairs.map(|(name, text)| (name.as_str(), text.as_str()))),
            ),
            set("remove", list(&changes.remove)),
        ];
        set.iter().any(Option::is_some).then(|| block(set))
    };
    let set = [
        set("request", one(&stages.request_fields)),
        set("response", one(&stages.response_fields)),
    ];
    set.iter().any(Option::is_some).then(|| block(set))
}

fn redirect(redirect: &Redirect) -> String {
    let to = match &redirect.to {
        RedirectTo::Https => "https",
        RedirectTo::Url(url) => url,
    };
    format!("{{ to: {}, status: {} }}", quoted(to), redirect.status)
}

/// What a pool tries on another server.
pub(super) fn retry(retry: &Retry) -> String {
    let retry = block([
        set("attempts", Some(retry.attempts)),
        set("budget", Some(format!("{}%", retry.budget_percent))),
        set("statuses", statuses(&retry.statuses)),
    ]);
    format!("    retry: {retry}\n")
}

fn statuses(statuses: &[u16]) -> Option<String> {
    let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
    (!statuses.is_empty()).then(|| format!("[{}]", statuses.join(", ")))
}

/// Whom a pool keeps waiting.
pub(super) fn hold(hold: &Hold) -> String {
    format!(
        "    hold: {{ for: {}, max: {} }}\n",
        duration_text(hold.patience),
        hold.max
    )
}

fn block<const N: usize>(set: [Option<String>; N]) -> String {
    let set: Vec<String> = set.into_iter().flatten().collect();
    format!("{{ {} }}", set.join(", "))
}
