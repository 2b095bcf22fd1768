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
    use http::header;

    use super::*;
    use crate::protocol::date::DateCache;

    #[test]
    fn a_head_is_encoded_anew_if_anything_in_it_differs() {
        let servers = [HeaderValue::from_static("one"), HeaderValue::from_static("two")];
        let mut dates = DateCache::new();
        let mut encode = |response: &Response, length, server, seconds| {
            let date = dates.at(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
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
