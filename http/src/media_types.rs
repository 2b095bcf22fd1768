//! Facts about media types.

/// Returns whether content of a media type becomes notably smaller by compression. Parameters are ignored. What is
/// compressed already, such as images, video and archives, does not.
pub(crate) fn gains_by_compression(media_type: &[u8]) -> bool {
    let essence = media_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let starts = |prefix: &[u8]| essence.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let ends = |suffix: &[u8]| {
        let start = essence.len().checked_sub(suffix.len());
        start.is_some_and(|start| essence[start..].eq_ignore_ascii_case(suffix))
    };
    if starts(b"text/") || ends(b"+json") || ends(b"+xml") {
        return true;
    }
    GAINING.iter().any(|known| essence.eq_ignore_ascii_case(known.as_bytes()))
}

/// Types that gain, in addition to text and to those built on JSON and XML.
const GAINING: &[&str] = &[
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "model/gltf-binary",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_gains_and_what_is_compressed_does_not() {
        for gains in [
            "text/html; charset=utf-8",
            "TEXT/PLAIN",
            "application/json",
            "application/problem+json",
            "image/svg+xml",
            "application/wasm",
            "text/event-stream",
        ] {
            assert!(gains_by_compression(gains.as_bytes()), "{gains}");
        }
        for not in
            ["", "image/png", "video/mp4", "application/gzip", "font/woff2", "application/octet-stream", "texts/a"]
        {
            assert!(!gains_by_compression(not.as_bytes()), "{not}");
        }
    }
}
