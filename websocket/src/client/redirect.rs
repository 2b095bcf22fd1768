//! Redirects of the opening handshake (RFC 9110 sections 10.2.2 and 15.4).

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};

use super::target::Target;
use crate::handshake::UriError;

/// Returns the location that a response redirects to, if it does.
pub(super) fn location_of(status: StatusCode, headers: &HeaderMap) -> Option<&str> {
    match status {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => headers.get(LOCATION)?.to_str().ok(),
        _ => None,
    }
}

/// Resolves a reference (RFC 3986 section 5.2) against the URL that was asked for.
pub(super) fn resolve(base: &Target, location: &str) -> Result<Target, UriError> {
    let location = location.trim();
    let scheme = if base.is_secure { "wss" } else { "ws" };
    let has_scheme = location.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    if has_scheme {
        return Target::parse(location);
    }
    if location.starts_with("//") {
        return Target::parse(&format!("{scheme}:{location}"));
    }
    let authority = base.authority();
    let (path, query) = (base.uri.path(), base.uri.query());
    let target = if location.is_empty() {
        query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    } else if location.starts_with('?') {
        format!("{path}{location}")
    } else {
        let (new_path, rest) = location.split_at(location.find(['?', '#']).unwrap_or(location.len()));
        let merged = if new_path.starts_with('/') {
            new_path.to_owned()
        } else {
            format!("{}/{new_path}", path.rsplit_once('/').map_or("", |(folder, _)| folder))
        };
        format!("{}{rest}", remove_dot_segments(&merged))
    };
    Target::parse(&format!("{scheme}://{authority}{target}"))
}

/// Removes `.` and `..` from an absolute path (RFC 3986 section 5.2.4).
fn remove_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        match *part {
            "." | ".." => {
                if *part == ".." {
                    segments.pop();
                }
                if is_last {
                    segments.push("");
                }
            }
            part => segments.push(part),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        let base = Target::parse("ws://a:81/b/c/d?q").unwrap();
        for (location, url) in [
            ("ws://x/y", "ws://x/y"),
            ("http://x/y?z", "ws://x/y?z"),
            ("https://x", "wss://x/"),
            ("//x:82/y", "ws://x:82/y"),
            ("/e", "ws://a:81/e"),
            ("/e/../f/./g", "ws://a:81/f/g"),
            ("e", "ws://a:81/b/c/e"),
            ("./e?x=../y", "ws://a:81/b/c/e?x=../y"),
            ("../e", "ws://a:81/b/e"),
            ("../../../../e", "ws://a:81/e"),
            ("..", "ws://a:81/b/"),
            ("?x", "ws://a:81/b/c/d?x"),
            ("", "ws://a:81/b/c/d?q"),
            ("e#f", "ws://a:81/b/c/e"),
            ("e:/f", "error"),
            ("ftp://x/", "error"),
        ] {
            let resolved =
                resolve(&base, location).map_or_else(|_| "error".to_owned(), |target| target.uri.to_string());
            assert_eq!(resolved, url, "{location:?}");
        }
    }

    #[test]
    fn only_redirects_with_a_location_redirect() {
        let mut headers = HeaderMap::new();
        assert_eq!(location_of(StatusCode::FOUND, &headers), None);
        headers.insert(LOCATION, "/next".parse().unwrap());
        assert_eq!(location_of(StatusCode::FOUND, &headers), Some("/next"));
        assert_eq!(location_of(StatusCode::TEMPORARY_REDIRECT, &headers), Some("/next"));
        assert_eq!(location_of(StatusCode::NOT_MODIFIED, &headers), None);
        assert_eq!(location_of(StatusCode::OK, &headers), None);
    }
}
