//! Where a redirect sends its client (RFC 9110 §10.2.2). What comes from the request is canonical, so that the
//! location has nothing in it that would end a field.

use ringgate_config::{Redirect, RedirectTo};

/// The value of `Location`: the target of the redirect, in which `$host`, `$path` and `$query` stand for the
/// request's host without port, its path, and its query with the question mark in front (nothing without a query).
pub(crate) fn redirect_location(
    redirect: &Redirect,
    host: &str,
    path: &str,
    query: Option<&str>,
) -> String {
    let host = without_port(host);
    // `OPTIONS *` is redirected to the root: a location has no asterisk form.
    let path = if path.starts_with('/') { path } else { "/" };
    let template = match &redirect.to {
        RedirectTo::Https => "https://$host$path$query",
        RedirectTo::Url(url) => url,
    };
    let room = template.len() + host.len() + path.len() + query.map_or(0, str::len);
    let mut out = String::with_capacity(room);
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(rest) = behind.strip_prefix("host") {
            out.push_str(host);
            rest
        } else if let Some(rest) = behind.strip_prefix("path") {
            out.push_str(path);
            rest
        } else if let Some(rest) = behind.strip_prefix("query") {
            if let Some(query) = query {
                out.push('?');
                out.push_str(query);
            }
            rest
        } else {
            out.push('$');
            behind
        };
    }
    out.push_str(rest);
    out
}

/// Of a canonical host with or without port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if !host.ends_with(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(to: &str, host: &str, path: &str, query: Option<&str>, expected: &str) {
        let to = match to {
            "https" => RedirectTo::Https,
            url => RedirectTo::Url(url.to_owned()),
        };
        let redirect = Redirect { to, status: 308 };
        assert_eq!(redirect_location(&redirect, host, path, query), expected);
    }

    #[test]
    fn https_keeps_host_path_and_query_at_the_default_port() {
        check("https", "a", "/b", None, "https://a/b");
        check("https", "a:8080", "/b", Some("c=d"), "https://a/b?c=d");
        check("https", "[::1]", "/", None, "https://[::1]/");
        check("https", "[::1]:80", "/", Some(""), "https://[::1]/?");
        check("https", "a", "*", None, "https://a/");
    }

    #[test]
    fn variables_stand_for_what_was_asked() {
        let url = "https://b.example$path$query";
        check(url, "a", "/x", Some("y"), "https://b.example/x?y");
        check(url, "a", "/x", None, "https://b.example/x");
        check(
            "https://www.$host/",
            "a:80",
            "/x",
            Some("y"),
            "https://www.a/",
        );
        check("/new$path", "a", "/x", Some("y"), "/new/x");
        check("/fixed", "a", "/x", Some("y"), "/fixed");
        check("/$$a$", "a", "/x", None, "/$$a$");
        // What a variable brought is not looked at again.
        check("$path", "a", "/$query", Some("$host"), "/$query");
    }
}
