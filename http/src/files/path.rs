//! The file that a request asks for, as a path below the folder.
//!
//! Decides by the text alone: a path that passes leads to no folder above and to no hidden file, and no file has two
//! paths.

use std::borrow::Cow;

use crate::message::request::Request;
use crate::server::pattern::percent_decode;

/// The path parameter that names a file.
pub(super) const PARAM: &str = "path";

/// Returns the path of the file that a request asks for, relative to the folder: the parameter `path` of its route, or
/// the whole path of the request if the route has none. `None` if there can be no such file.
pub(super) fn asked_path(request: &Request, serves_hidden: bool) -> Option<Cow<'_, str>> {
    let path = match request.param(PARAM) {
        // The router has decoded it.
        Some(path) => Cow::Borrowed(path),
        None => {
            let path = request.path().strip_prefix('/')?;
            if path.contains('%') { Cow::Owned(percent_decode(path)?) } else { Cow::Borrowed(path) }
        }
    };
    is_plain(&path, serves_hidden).then_some(path)
}

/// Returns whether a path consists of names, with an optional slash at its end. Nothing is normalised: a path with an
/// empty segment, `.` or `..` is not a second name of a file.
fn is_plain(path: &str, serves_hidden: bool) -> bool {
    if path.bytes().any(|byte| byte == 0 || byte == b'\\') {
        return false;
    }
    let names = path.strip_suffix('/').unwrap_or(path);
    (names.is_empty() && path.is_empty())
        || names.split('/').all(|name| match name {
            "" | "." | ".." => false,
            name => serves_hidden || !name.starts_with('.'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str) -> Option<String> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = Request::parse(request.as_bytes(), "").expect("valid");
        asked_path(&request, false).map(Cow::into_owned)
    }

    #[test]
    fn only_plain_paths_pass() {
        for (target, path) in [
            ("/", ""),
            ("/a", "a"),
            ("/a/", "a/"),
            ("/a/b.txt?c", "a/b.txt"),
            ("/a%20b", "a b"),
            ("/%C3%A4", "ä"),
            ("/a%2Fb", "a/b"),
            ("/...a/..b", "no"),
            ("/a..", "a.."),
        ] {
            let expected = if path == "no" { None } else { Some(path.to_owned()) };
            assert_eq!(asked(target), expected, "{target}");
        }
        for target in [
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/../a",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/%2e%2e/a",
            "/a%2F..%2Fb",
            "/.a",
            "/a/.git/config",
            "/a%00b",
            "/a%5Cb",
            "/..%5Ca",
            "/%2Fetc/passwd",
            "/%ff",
            "/%zz",
            "/%",
        ] {
            assert_eq!(asked(target), None, "{target}");
        }
    }

    #[test]
    fn hidden_files_can_be_served_and_parents_cannot() {
        assert!(is_plain(".well-known/a", true));
        assert!(!is_plain("../a", true));
        assert!(!is_plain("a/..", true));
        assert!(is_plain("", true));
        assert!(!is_plain("/", true));
    }
}
