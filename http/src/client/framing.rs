//! How the end of a response's content is determined (RFC 9112 section 6.3).

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};

use super::error::InvalidResponse;
use crate::field::list_elements;
use crate::message::conclusion::RequestFraming;

/// The content of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// It is framed as that of a request can be, or there is none.
    Framed(RequestFraming),
    /// It ends with the connection.
    UntilEnd,
}

const NONE: Framing = Framing::Framed(RequestFraming::None);

/// Returns the framing of a response to this method. After a 101, and a 2xx that answers CONNECT, what follows is not
/// content.
pub(super) fn framing_of(
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
    method: &Method,
) -> Result<Framing, InvalidResponse> {
    let is_tunnel = *method == Method::CONNECT && status.is_success();
    let has_none = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_none || is_tunnel || *method == Method::HEAD {
        return Ok(NONE);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (length, second) = (lengths.next(), lengths.next());
    if headers.contains_key(TRANSFER_ENCODING) {
        if length.is_some() || version != Version::HTTP_11 {
            return Err(InvalidResponse::Length);
        }
        let lines = headers.get_all(TRANSFER_ENCODING).iter();
        let codings: Vec<_> = lines.flat_map(|line| list_elements(line.as_bytes())).collect();
        return match codings[..] {
            [only] if only.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Framed(RequestFraming::Chunked)),
            // Another coding last: the content ends with the connection.
            [.., last] if !last.eq_ignore_ascii_case(b"chunked") => Ok(Framing::UntilEnd),
            _ => Err(InvalidResponse::Length),
        };
    }
    match (length, second) {
        (None, _) => Ok(Framing::UntilEnd),
        (Some(_), Some(_)) => Err(InvalidResponse::Length),
        (Some(value), None) => match parse_length(value.as_bytes()).ok_or(InvalidResponse::Length)? {
            0 => Ok(NONE),
            length => Ok(Framing::Framed(RequestFraming::Length(length))),
        },
    }
}

/// Parses `1*DIGIT`.
fn parse_length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if is_number { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}
