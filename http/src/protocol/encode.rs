//! Encodes response heads and the chunked transfer coding.
//!
//! Owns the bytes of a response head and those around chunk data. It decides nothing: the writing machine has decided
//! how content is framed and whether the connection persists. Everything goes straight into the caller's buffer, in one
//! pass.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use crate::message::response::Response;
use crate::protocol::date::HttpDate;

/// The field of a head that announces the length of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LengthField {
    /// None: there is no content, or it ends with the connection.
    Absent,
    /// Content-Length.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// The Connection field of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionField {
    /// None: the default of the peer's version is right.
    Absent,
    KeepAlive,
    Close,
    Upgrade,
}

/// The fields that the protocol machine adds to a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProtocolFields<'a> {
    pub(crate) length: LengthField,
    pub(crate) connection: ConnectionField,
    /// The date, which a server with a clock must send (RFC 9110 section 6.6.1).
    pub(crate) date: &'a HttpDate,
    /// The value of Server, if one is sent.
    pub(crate) server: Option<&'a HeaderValue>,
}

/// The interim response that asks for the content (RFC 9110 section 15.2.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes a response head with its empty line.
pub(crate) fn encode_head(response: &Response, protocol: &ProtocolFields<'_>, out: &mut Vec<u8>) {
    // Enough for the common head: one growth instead of several.
    out.reserve(256);
    encode_status_line(response.status(), out);
    if let Some(value) = response.content_type() {
        out.extend_from_slice(b"content-type: ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let own = encode_own_fields(response.other_fields(), out);
    match protocol.length {
        LengthField::Absent => {}
        LengthField::Length(length) => encode_length(length, out),
        LengthField::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    // RFC 9110 section 7.8: Upgrade needs the connection option, in 426 as in 101.
    out.extend_from_slice(match (protocol.connection, own.upgrade) {
        (ConnectionField::Absent, false) => b"".as_slice(),
        (ConnectionField::KeepAlive, false) => b"connection: keep-alive\r\n",
        (ConnectionField::KeepAlive, true) => b"connection: keep-alive, upgrade\r\n",
        (ConnectionField::Close, false) => b"connection: close\r\n",
        (ConnectionField::Close, true) => b"connection: close, upgrade\r\n",
        (ConnectionField::Absent, true) | (ConnectionField::Upgrade, _) => b"connection: upgrade\r\n",
    });
    if let (Some(server), false) = (protocol.server, own.server) {
        out.extend_from_slice(b"server: ");
        out.extend_from_slice(server.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !own.date {
        out.extend_from_slice(protocol.date.line());
    }
    out.extend_from_slice(b"\r\n");
}

/// The fields that the handler set and that the protocol machine therefore does not add.
#[derive(Default)]
struct OwnFields {
    date: bool,
    server: bool,
    upgrade: bool,
}

fn encode_own_fields(fields: &[(HeaderName, HeaderValue)], out: &mut Vec<u8>) -> OwnFields {
    let mut own = OwnFields::default();
    for (name, value) in fields {
        if is_of_protocol(name) {
            continue;
        }
        own.date |= name == header::DATE;
        own.server |= name == header::SERVER;
        own.upgrade |= name == header::UPGRADE;
        encode_field(name.as_str().as_bytes(), value.as_bytes(), out);
    }
    own
}

/// Writes the chunk-size line of a chunk of this length, which must not be zero: a chunk of zero ends the content.
pub(crate) fn encode_chunk_size(length: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 16];
    let mut start = digits.len();
    let mut rest = length;
    while rest > 0 {
        start -= 1;
        digits[start] = b"0123456789abcdef"[rest % 16];
        rest /= 16;
    }
    out.extend_from_slice(&digits[start..]);
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk and the trailer section.
pub(crate) fn encode_last_chunk(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        // RFC 9110 section 6.5.1: fields for framing and routing are not allowed in trailers.
        if !is_of_protocol(name) && name != header::HOST && name != header::TRAILER {
            encode_field(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Returns whether only the protocol machine writes a field of this name.
fn is_of_protocol(name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING || *name == header::CONNECTION
}

fn encode_status_line(status: StatusCode, out: &mut Vec<u8>) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    // The reason phrase can be empty, but its space is required (RFC 9112 section 4).
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn encode_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes Content-Length. The line is made backwards in an array, which needs no count of the digits beforehand.
fn encode_length(length: u64, out: &mut Vec<u8>) {
    const NAME: &[u8] = b"content-length: ";
    const DIGITS_MAX: usize = 20;
    let mut line = [0; NAME.len() + DIGITS_MAX + 2];
    let mut start = line.len() - 2;
    line[start..].copy_from_slice(b"\r\n");
    let mut rest = length;
    loop {
        start -= 1;
        line[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    start -= NAME.len();
    line[start..start + NAME.len()].copy_from_slice(NAME);
    out.extend_from_slice(&line[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::date::DateCache;

    fn head(response: &Response, length: LengthField, server: Option<&HeaderValue>) -> String {
        let mut out = Vec::new();
        let protocol = ProtocolFields {
            length,
            connection: ConnectionField::Absent,
            date: &DateCache::new().at(std::time::UNIX_EPOCH),
            server,
        };
        encode_head(response, &protocol, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn heads() {
        let server = HeaderValue::from_static("tidegate");
        assert_eq!(
            head(&Response::text("a"), LengthField::Length(1), Some(&server)),
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 1\r\n\
             server: tidegate\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
        );
        let odd = StatusCode::from_u16(299).expect("status");
        let value = HeaderValue::from_static;
        let response = Response::new(odd)
            .with_header(header::DATE, value("now"))
            .with_header(header::SERVER, value("mine"))
            .with_header(header::CONTENT_LENGTH, value("9"))
            .with_header(header::TRANSFER_ENCODING, value("gzip"))
            .with_header(header::CONNECTION, value("x"));
        assert_eq!(
            head(&response, LengthField::Chunked, Some(&server)),
            "HTTP/1.1 299 \r\ndate: now\r\nserver: mine\r\ntransfer-encoding: chunked\r\n\r\n"
        );
    }

    #[test]
    fn a_field_of_the_handler_replaces_only_the_one_of_its_name() {
        let server = HeaderValue::from_static("tidegate");
        let date = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        for (name, lines) in [
            (header::DATE, "date: own\r\nserver: tidegate\r\n".to_owned()),
            (header::SERVER, format!("server: own\r\n{date}")),
            (header::ETAG, format!("etag: own\r\nserver: tidegate\r\n{date}")),
            (header::UPGRADE, format!("upgrade: own\r\nconnection: upgrade\r\nserver: tidegate\r\n{date}")),
        ] {
            let response = Response::new(StatusCode::OK).with_header(name, HeaderValue::from_static("own"));
            let expected = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
            assert_eq!(head(&response, LengthField::Absent, Some(&server)), expected);
        }
    }

    #[test]
    fn numbers() {
        for (value, decimal, hexadecimal) in [
            (1, "1", "1\r\n"),
            (10, "10", "a\r\n"),
            (65_535, "65535", "ffff\r\n"),
            (usize::MAX, "18446744073709551615", "ffffffffffffffff\r\n"),
        ] {
            let mut out = Vec::new();
            encode_length(value as u64, &mut out);
            assert_eq!(out, format!("content-length: {decimal}\r\n").as_bytes());
            out.clear();
            encode_chunk_size(value, &mut out);
            assert_eq!(out, hexadecimal.as_bytes());
        }
        let mut out = Vec::new();
        encode_length(0, &mut out);
        assert_eq!(out, b"content-length: 0\r\n");
    }

    #[test]
    fn trailers_carry_no_framing_and_no_routing() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST, header::TRAILER] {
            trailers.insert(name, HeaderValue::from_static("1"));
        }
        let mut out = Vec::new();
        encode_last_chunk(Some(&trailers), &mut out);
        assert_eq!(out, b"0\r\nx-sum: 1\r\n\r\n");
    }
}
