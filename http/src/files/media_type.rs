//! Media types of files, by their extension.

use http::header::HeaderValue;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Returns the media type of a file name, with the charset of text, which is taken to be UTF-8.
pub(super) fn of_name(name: &str) -> HeaderValue {
    let file_name = name.rsplit('/').next().unwrap_or(name);
    let extension = file_name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let Some(media_type) = mime_guess::from_ext(extension).first_raw() else { return OCTETS };
    if !is_text(media_type) {
        return HeaderValue::from_static(media_type);
    }
    HeaderValue::try_from(format!("{media_type}; charset=utf-8")).unwrap_or(OCTETS)
}

/// Returns whether a media type has a charset. JSON has none (RFC 8259 section 11).
fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || matches!(
            media_type,
            "application/javascript" | "application/xml" | "application/xhtml+xml" | "image/svg+xml"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_charset() {
        for (name, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.c/page.HTM", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "application/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.png", "image/png"),
            ("a.mp4", "video/mp4"),
            ("a.woff2", "font/woff2"),
            ("a.tar.gz", "application/gzip"),
            ("a.unknown-type", "application/octet-stream"),
            ("a", "application/octet-stream"),
            ("a.d/b", "application/octet-stream"),
        ] {
            assert_eq!(of_name(name), expected, "{name}");
        }
    }
}
