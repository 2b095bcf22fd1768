//! A cache of the last plain response head of each thread: within one second, the next one is often the same.
//!
//! Owns the cached head and everything that it depends on. The writing machine writes heads through it, and the fast
//! path copies from it. It decides nothing about a head: `encode` writes it.

use std::cell::RefCell;

use http::StatusCode;
use http::header::HeaderValue;

use crate::message::response::Response;
use crate::protocol::date::HttpDate;
use crate::protocol::encode::{ConnectionField, LengthField, ProtocolFields, encode_head};

/// Writes a response with its content if its head is the same as the last one on this thread. Otherwise returns
/// `false`, and writes nothing. The request must be one that [`is_common`](super::exchange::Exchange::is_common).
#[inline]
pub(crate) fn try_write_like_last(
    response: &Response,
    content: &[u8],
    server: Option<&HeaderValue>,
    date: &HttpDate,
    out: &mut Vec<u8>,
) -> bool {
    if response.status() != StatusCode::OK || !response.other_fields().is_empty() {
        return false;
    }
    let plain = PlainHead { length: content.len() as u64, content_type: response.content_type(), server, date };
    let copied = LAST_HEAD.try_with(|last| match &*last.borrow() {
        Some(last) if plain.is_same_as(last) => {
            out.reserve(last.head.len() + content.len());
            out.extend_from_slice(&last.head);
            out.extend_from_slice(content);
            true
        }
        _ => false,
    });
    copied == Ok(true)
}

/// Writes a response head with its empty line: by copying the last one if it is the same.
pub(crate) fn write_head(response: &Response, protocol: &ProtocolFields<'_>, out: &mut Vec<u8>) {
    match PlainHead::of(response, protocol) {
        Some(plain) => plain.write(response, protocol, out),
        None => encode_head(response, protocol, out),
    }
}

/// A plain head: 200, content of a known length, no fields except Content-Type. Holds the parts in which such heads
/// differ.
struct PlainHead<'a> {
    length: u64,
    content_type: Option<&'a HeaderValue>,
    server: Option<&'a HeaderValue>,
    date: &'a HttpDate,
}

/// The last plain head written on a thread.
struct CachedHead {
    length: u64,
    content_type: Option<HeaderValue>,
    server: Option<HeaderValue>,
    date: HttpDate,
    head: Vec<u8>,
}

thread_local! {
    static LAST_HEAD: RefCell<Option<CachedHead>> = const { RefCell::new(None) };
}

impl<'a> PlainHead<'a> {
    fn of(response: &'a Response, protocol: &ProtocolFields<'a>) -> Option<PlainHead<'a>> {
        let LengthField::Length(length) = protocol.length else { return None };
        let plain = response.status() == StatusCode::OK
            && protocol.connection == ConnectionField::Absent
            && response.other_fields().is_empty();
        plain.then(|| PlainHead {
            length,
            content_type: response.content_type(),
            server: protocol.server,
            date: protocol.date,
        })
    }

    fn is_same_as(&self, last: &CachedHead) -> bool {
        self.length == last.length
            && is_same_value(self.content_type, last.content_type.as_ref())
            && is_same_value(self.server, last.server.as_ref())
            && *self.date == last.date
    }

    /// Copies the cached head if it is the same; otherwise encodes the head and caches it.
    fn write(&self, response: &Response, protocol: &ProtocolFields<'_>, out: &mut Vec<u8>) {
        let copied = LAST_HEAD.try_with(|last| match &*last.borrow() {
            Some(last) if self.is_same_as(last) => {
                out.extend_from_slice(&last.head);
                true
            }
            _ => false,
        });
        if copied == Ok(true) {
            return;
        }
        let start = out.len();
        encode_head(response, protocol, out);
        let head = &out[start..];
        if head.len() > CACHED_BYTES_MAX {
            return;
        }
        // Fails only while the thread is ending.
        let _ = LAST_HEAD.try_with(|last| {
            *last.borrow_mut() = Some(CachedHead {
                length: self.length,
                content_type: self.content_type.cloned(),
                server: self.server.cloned(),
                date: *self.date,
                head: head.to_vec(),
            });
        });
    }
}

/// Returns whether two values are equal. They nearly always share their memory, which is compared first.
fn is_same_value(one: Option<&HeaderValue>, other: Option<&HeaderValue>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => std::ptr::eq(one.as_bytes(), other.as_bytes()) || one == other,
        (None, None) => true,
        _ => false,
    }
}

/// A longer head is not cached, so that a few large values do not occupy a thread's memory for good.
const CACHED_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::header;

    use super::*;
    use crate::protocol::date::DateCache;

    /// Writes the head of a response with content of this length, and keeps it.
    fn write(response: &Response, length: usize, server: Option<&HeaderValue>, date: &HttpDate) -> Vec<u8> {
        let mut out = Vec::new();
        let (length, connection) = (LengthField::Length(length as u64), ConnectionField::Absent);
        write_head(response, &ProtocolFields { length, connection, date, server }, &mut out);
        out
    }

    #[test]
    fn only_a_response_with_the_same_plain_head_is_copied() {
        let mut dates = DateCache::new();
        let [date, later] = [1, 2].map(|seconds| dates.at(UNIX_EPOCH + Duration::from_secs(seconds)));
        let [one, two] = ["one", "two"].map(HeaderValue::from_static);
        let text = Response::text("");
        let is_copied = |response: &Response, content: &[u8], server: Option<&HeaderValue>, at: &HttpDate| {
            write(&text, 1, Some(&one), &date);
            let mut out = Vec::new();
            let copied = try_write_like_last(response, content, server, at, &mut out);
            assert_eq!(copied, !out.is_empty());
            copied
        };
        assert!(is_copied(&text, b"a", Some(&one), &date));
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).expect("valid");
        let with = |name, text| Response::text("").with_header(name, value(text));
        let equal = with(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        assert!(is_copied(&equal, b"a", Some(&value("one")), &date), "equal values in other memory");
        for (difference, response) in [
            ("the status", Response::text("").with_status(StatusCode::NOT_FOUND)),
            ("a field", with(header::ETAG, "1")),
            ("the content type", with(header::CONTENT_TYPE, "text/html")),
            ("no content type", Response::new(StatusCode::OK)),
        ] {
            assert!(!is_copied(&response, b"a", Some(&one), &date), "{difference}");
        }
        assert!(!is_copied(&text, b"ab", Some(&one), &date));
        assert!(!is_copied(&text, b"a", Some(&two), &date));
        assert!(!is_copied(&text, b"a", None, &date));
        assert!(!is_copied(&text, b"a", Some(&one), &later));
    }

    #[test]
    fn only_a_short_head_is_kept() {
        let date = DateCache::new().at(UNIX_EPOCH);
        let typed = |len| {
            let value = HeaderValue::from_bytes(&vec![b'x'; len]).expect("valid");
            Response::new(StatusCode::OK).with_header(header::CONTENT_TYPE, value)
        };
        let others = write(&typed(1), 1, None, &date).len() - 1;
        for (head_bytes, kept) in [(CACHED_BYTES_MAX, true), (CACHED_BYTES_MAX + 1, false)] {
            let response = typed(head_bytes - others);
            assert_eq!(write(&response, 1, None, &date).len(), head_bytes);
            assert_eq!(try_write_like_last(&response, b"a", None, &date, &mut Vec::new()), kept, "{head_bytes} bytes");
        }
    }

    #[test]
    fn a_copied_response_takes_no_more_memory_than_it_needs() {
        let date = DateCache::new().at(UNIX_EPOCH);
        let (text, content) = (Response::text(""), [7; 5000]);
        write(&text, content.len(), None, &date);
        let mut out = Vec::new();
        assert!(try_write_like_last(&text, &content, None, &date, &mut out));
        assert!(out.ends_with(&content) && out.capacity() < 2 * out.len());
    }

    #[test]
    fn a_head_is_encoded_anew_if_anything_in_it_differs() {
        let servers = [HeaderValue::from_static("one"), HeaderValue::from_static("two")];
        let mut dates = DateCache::new();
        let mut encode = |response: &Response, length, server, seconds| {
            let date = dates.at(UNIX_EPOCH + Duration::from_secs(seconds));
            let protocol = ProtocolFields {
                length: LengthField::Length(length),
                connection: ConnectionField::Absent,
                date: &date,
                server,
            };
            let mut expected = b"before".to_vec();
            let mut out = expected.clone();
            encode_head(response, &protocol, &mut expected);
            write_head(response, &protocol, &mut out);
            assert_eq!(out, expected);
        };
        let text = Response::text("");
        let html = Response::text("").with_header(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        let copied = HeaderValue::from_bytes(b"one").expect("valid");
        for _ in 0..2 {
            encode(&text, 1, Some(&servers[0]), 1);
            encode(&text, 1, Some(&servers[0]), 1);
            encode(&text, 1, Some(&copied), 1);
            encode(&text, 2, Some(&servers[0]), 1);
            encode(&html, 2, Some(&servers[0]), 1);
            encode(&html, 2, Some(&servers[1]), 1);
            encode(&html, 2, None, 1);
            encode(&html, 2, None, 2);
            encode(&Response::new(StatusCode::OK), 2, None, 2);
            encode(&Response::new(StatusCode::ACCEPTED), 2, None, 2);
        }
    }
}
