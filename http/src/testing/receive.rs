//! Reads responses without I/O: bytes in, parts of a response out.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use crate::field::contains_token;
use crate::limits::Limits;
use crate::message::conclusion::RequestFraming;
use crate::protocol::content_decoder::{ContentDecoder, Found};

/// The head of a response.
#[derive(Debug, Clone)]
pub(super) struct ResponseHead {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// A part of a response.
#[derive(Debug)]
pub(super) enum Part {
    Head(ResponseHead),
    Content(Bytes),
    End(Option<Box<HeaderMap>>),
}

/// The state of reading one response.
#[derive(Debug)]
enum Reading {
    Head,
    Content(ContentDecoder),
    /// Content that ends with the connection.
    UntilEnd,
    /// The response is complete; after a 101 another protocol follows.
    Over,
}

#[derive(Debug)]
pub(super) struct ResponseReader {
    /// Received bytes that are not read.
    pub(super) buffer: Vec<u8>,
    reading: Reading,
    /// The request was HEAD: its response has no content.
    is_head: bool,
    /// The connection can be used for another request.
    pub(super) is_persistent: bool,
}

impl ResponseReader {
    pub(super) fn new(buffer: Vec<u8>, is_head: bool) -> ResponseReader {
        ResponseReader { buffer, reading: Reading::Head, is_head, is_persistent: false }
    }

    /// Reads the next part, if it is there.
    pub(super) fn next(&mut self) -> Result<Option<Part>, String> {
        match &mut self.reading {
            Reading::Head => self.read_head(),
            Reading::Content(decoder) => {
                let limits = Limits { body_bytes_max: u64::MAX, ..Limits::default() };
                let decoded = decoder.decode(&self.buffer, &limits).map_err(|error| error.to_string())?;
                let part = match decoded.found {
                    Found::Nothing => None,
                    Found::Content(range) => Some(Part::Content(Bytes::copy_from_slice(&self.buffer[range]))),
                    Found::End(trailers) => {
                        self.reading = Reading::Over;
                        Some(Part::End(trailers))
                    }
                };
                self.buffer.drain(..decoded.consumed);
                Ok(part)
            }
            Reading::UntilEnd if !self.buffer.is_empty() => {
                Ok(Some(Part::Content(std::mem::take(&mut self.buffer).into())))
            }
            Reading::UntilEnd | Reading::Over => Ok(None),
        }
    }

    /// Notes that the server has ended its side in order. Returns whether that is the end of the response.
    pub(super) fn end(&mut self) -> bool {
        let is_end = matches!(self.reading, Reading::UntilEnd);
        if is_end {
            self.reading = Reading::Over;
        }
        is_end
    }

    fn read_head(&mut self) -> Result<Option<Part>, String> {
        loop {
            let mut table = [httparse::EMPTY_HEADER; Limits::FIELDS_CEILING];
            let mut response = httparse::Response::new(&mut table);
            let length = match response.parse(&self.buffer).map_err(|error| error.to_string())? {
                httparse::Status::Complete(length) => length,
                httparse::Status::Partial => return Ok(None),
            };
            let head = convert(&response)?;
            self.buffer.drain(..length);
            if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            self.is_persistent = head.version == Version::HTTP_11 && !has_close(&head.headers);
            self.reading = self.content_of(&head)?;
            return Ok(Some(Part::Head(head)));
        }
    }

    /// Returns how the content of a response ends (RFC 9112 section 6.3).
    fn content_of(&mut self, head: &ResponseHead) -> Result<Reading, String> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Reading::Over);
        }
        let has_none = self.is_head || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
        if has_none {
            return Ok(Reading::Content(ContentDecoder::Length(0)));
        }
        if let Some(coding) = head.headers.get(TRANSFER_ENCODING) {
            if coding != "chunked" {
                return Err(format!("the transfer coding {coding:?}"));
            }
            return Ok(ContentDecoder::new(RequestFraming::Chunked).map_or(Reading::Over, Reading::Content));
        }
        match head.headers.get(CONTENT_LENGTH) {
            Some(length) => match length.to_str().ok().and_then(|length| length.parse().ok()) {
                Some(length) => Ok(Reading::Content(ContentDecoder::Length(length))),
                None => Err(format!("the content length {length:?}")),
            },
            None => {
                self.is_persistent = false;
                Ok(Reading::UntilEnd)
            }
        }
    }
}

fn has_close(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| contains_token(value.as_bytes(), b"close"))
}

fn convert(response: &httparse::Response<'_, '_>) -> Result<ResponseHead, String> {
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or("the status")?;
    let version = if response.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut headers = HeaderMap::new();
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|error| error.to_string())?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(|error| error.to_string())?);
    }
    Ok(ResponseHead { version, status, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the input in pieces of this size. Returns the status, the content and whether the response is complete.
    fn read(input: &[u8], size: usize, is_head: bool) -> (u16, Vec<u8>, bool, usize) {
        let mut reader = ResponseReader::new(Vec::new(), is_head);
        let (mut status, mut content, mut over) = (0, Vec::new(), false);
        for piece in input.chunks(size) {
            reader.buffer.extend_from_slice(piece);
            while let Some(part) = reader.next().expect("well-formed") {
                match part {
                    Part::Head(head) => status = head.status.as_u16(),
                    Part::Content(bytes) => content.extend_from_slice(&bytes),
                    Part::End(_) => over = true,
                }
            }
        }
        (status, content, over, reader.buffer.len())
    }

    #[test]
    fn responses_are_read_whole_and_byte_by_byte() {
        for (input, is_head, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP", false, (200, &b"hello"[..], true, 4)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, (200, b"", true, 0)),
            ("HTTP/1.1 204 No Content\r\n\r\nHTTP", false, (204, b"", true, 4)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n", false, (304, b"", true, 0)),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                false,
                (200, b"abc", true, 0),
            ),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\nhello", false, (101, b"", false, 5)),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", false, (200, b"until the end", false, 0)),
        ] {
            for size in [1, input.len()] {
                let (status, content, over, left) = read(input.as_bytes(), size, is_head);
                assert_eq!((status, &content[..], over, left), expected, "{input}");
            }
        }
    }

    #[test]
    fn only_content_without_a_length_ends_with_the_connection() {
        for (input, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\nabc", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", false),
            ("HTTP/1.1 200", false),
        ] {
            let mut reader = ResponseReader::new(input.as_bytes().to_vec(), false);
            while let Ok(Some(_)) = reader.next() {}
            assert_eq!(reader.end(), expected, "{input}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for input in [
            "220 mail.example.com ESMTP\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        ] {
            assert!(ResponseReader::new(input.as_bytes().to_vec(), false).next().is_err(), "{input}");
        }
    }
}
