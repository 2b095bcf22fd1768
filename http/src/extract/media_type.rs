//! The media type of a request's content (RFC 9110 section 8.3).

use crate::message::head::RequestHead;

/// Returns the media type of the content without its parameters; empty if the request has no Content-Type, or one that
/// is not text.
pub(super) fn media_type(head: &RequestHead) -> &str {
    let value = head.header("content-type").unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim_ascii()
}
