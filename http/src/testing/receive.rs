//! Reads a response from the bytes that have arrived.

use bytes::Bytes;
use http::header::CONNECTION;
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};

use crate::client::{self, InvalidResponse, ResponseEvent};
use crate::field::contains_token;
use crate::limits::Limits;

/// A part of a response.
#[derive(Debug)]
pub(super) enum Part {
    Head(Parts),
    Content(Bytes),
    End(HeaderMap),
}

#[derive(Debug)]
pub(super) struct ResponseReader {
    /// Received bytes that are not read.
    pub(super) buffer: Vec<u8>,
    reader: client::ResponseReader,
    /// The response is complete; after a 101 another protocol follows.
    is_over: bool,
    /// The error that ended the reading.
    error: Option<InvalidResponse>,
    /// The connection can be used for another request.
    pub(super) is_persistent: bool,
}

impl ResponseReader {
    pub(super) fn new(buffer: Vec<u8>, is_head: bool) -> ResponseReader {
        let limits = Limits {
            head_bytes_max: Limits::HEAD_BYTES_CEILING,
            fields_max: Limits::FIELDS_CEILING,
            body_bytes_max: u64::MAX,
            ..Limits::default()
        };
        let reader = match is_head {
            true => client::ResponseReader::for_head(limits),
            false => client::ResponseReader::new(limits),
        };
        ResponseReader { buffer, reader, is_over: false, error: None, is_persistent: false }
    }

    /// Reads the next part, if it is there. An error is returned by every later call too.
    pub(super) fn next(&mut self) -> Result<Option<Part>, InvalidResponse> {
        match self.error {
            Some(error) => return Err(error),
            None if self.is_over => return Ok(None),
            None => {}
        }
        let progress = self.reader.receive(&self.buffer).inspect_err(|error| self.error = Some(*error))?;
        let part = progress.event.map(|event| match event {
            ResponseEvent::Head(head) => {
                let (head, ()) = head.into_parts();
                self.is_persistent = is_persistent(&head);
                Part::Head(head)
            }
            ResponseEvent::Content(range) => Part::Content(Bytes::copy_from_slice(&self.buffer[range])),
            ResponseEvent::End(trailers) => {
                self.is_over = true;
                Part::End(trailers.map(|trailers| *trailers).unwrap_or_default())
            }
        });
        self.buffer.drain(..progress.consumed);
        Ok(part)
    }

    /// Notes that the server has ended its side in order. Returns whether that is the end of the response.
    pub(super) fn end(&mut self) -> bool {
        self.is_persistent = false;
        self.reader.end().is_ok()
    }
}

/// Returns whether the connection can be used for another request, by the head of the response.
fn is_persistent(head: &Parts) -> bool {
    head.version == Version::HTTP_11
        && head.status != StatusCode::SWITCHING_PROTOCOLS
        && !head.headers.get_all(CONNECTION).iter().any(|value| contains_token(value.as_bytes(), b"close"))
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
            ("HTTP/1.1 101 Switching Protocols\r\n\r\nhello", false, (101, b"", true, 5)),
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
            assert_eq!(reader.end(), expected, "again: {input}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for input in [
            "220 mail.example.com ESMTP\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        ] {
            let mut reader = ResponseReader::new(input.as_bytes().to_vec(), false);
            let error = reader.next().expect_err("malformed");
            assert_eq!(reader.next().err(), Some(error), "{input}");
        }
    }
}
