//! What a path becomes on its way to the server. Of canonical parts it makes a canonical path, and what is not named
//! by the rewrite it leaves out.

use std::borrow::Cow;

use ringgate_config::PathPattern;

/// The first pattern that the path fits.
pub fn matching<'p>(patterns: &'p [PathPattern], path: &str) -> Option<&'p PathPattern> {
    patterns
        .iter()
        .find(|pattern| rest(pattern, path).is_some())
}

/// The path by `to`. With a star at its end it takes what the star of `matched` stood for, the pattern that the path
/// fits: nothing where that has no star, the whole path where the route wants none (`None`). `*` stays as it is.
pub fn rewrite<'a>(
    matched: Option<&PathPattern>,
    to: &'a PathPattern,
    path: &'a str,
) -> Cow<'a, str> {
    let under = match to {
        _ if !path.starts_with('/') => return Cow::Borrowed(path),
        PathPattern::Exact(to) => return Cow::Borrowed(to),
        PathPattern::Under(under) => under,
    };
    let star = match matched {
        None => path,
        Some(pattern) => rest(pattern, path).unwrap_or_default(),
    };
    match (under.as_str(), star) {
        ("", "") => Cow::Borrowed("/"),
        ("", star) => Cow::Borrowed(star),
        (under, "") => Cow::Borrowed(under),
        (under, star) => Cow::Owned([under, star].concat()),
    }
}

/// What the star of the pattern stands for: empty, or from a slash on. `None` when the path does not fit.
fn rest<'a>(pattern: &PathPattern, path: &'a str) -> Option<&'a str> {
    match pattern {
        PathPattern::Exact(exact) => (path == exact).then_some(""),
        PathPattern::Under(under) if under.is_empty() => Some(path),
        PathPattern::Under(under) => path
            .strip_prefix(under.as_str())
            .filter(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::canonical;

    fn pattern(text: &str) -> PathPattern {
        match text.strip_suffix("/*") {
            Some(under) => PathPattern::Under(under.to_owned()),
            None => PathPattern::Exact(text.to_owned()),
        }
    }

    #[track_caller]
    fn check(patterns: &[&str], to: &str, path: &str, expected: &str) {
        let patterns: Vec<PathPattern> = patterns.iter().map(|text| pattern(text)).collect();
        let matched = matching(&patterns, path);
        assert_eq!(matched.is_none(), patterns.is_empty(), "{path}");
        let to = pattern(to);
        let found = rewrite(matched, &to, path);
        assert_eq!(found, expected, "{path}");
        if path != "*" {
            assert_eq!(canonical(&found).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn the_star_of_a_rewrite_is_that_of_the_pattern() {
        check(&["/api/*"], "/*", "/api/a/b", "/a/b");
        check(&["/api/*"], "/*", "/api", "/");
        check(&["/api/*"], "/*", "/api/", "/");
        check(&["/api/*"], "/v2/*", "/api", "/v2");
        check(&["/api/*"], "/v2/*", "/api/", "/v2/");
        check(&["/api/*"], "/v2/*", "/api/a", "/v2/a");
        check(&["/*"], "/v2/*", "/", "/v2/");
        check(&["/*"], "/v2/*", "/a", "/v2/a");
        check(&["/api/*"], "/fixed", "/api/a", "/fixed");
        check(&["/a"], "/b/*", "/a", "/b");
        check(&["/a"], "/*", "/a", "/");
        check(&["/b", "/a/*", "/a/b/*"], "/*", "/a/b/c", "/b/c");
        check(&[], "/b/*", "/a", "/b/a");
        check(&[], "/*", "/a", "/a");
        check(&["/*"], "/b/*", "*", "*");
        check(&["/*"], "/b", "*", "*");
    }

    #[test]
    fn a_star_ends_at_a_segment() {
        let api = [pattern("/api/*")];
        for path in ["/apis", "/ap", "/", "/x/api", "/API", "*"] {
            assert_eq!(matching(&api, path), None, "{path}");
        }
    }
}
