//! Checks responses to the last byte.
//!
//! The first response, and each one that differs from the one before, is parsed and checked: status, fields, framing,
//! body. A response that equals the last checked one is correct too, so nearly all of them cost one comparison in the
//! buffer they were received in. Once a second the date changes and one response is parsed again.

use std::mem;

use crate::replies::{Mismatch, Replies, hexadecimal};

/// The body of the response, as in common plain-text benchmarks.
const BODY: &[u8] = b"Hello, World!";

/// The longest response head accepted, in bytes.
const RESPONSE_BYTES_MAX: usize = 16 * 1024;

/// Approximate size of a response, for the size of the receive buffers.
pub const RESPONSE_BYTES: usize = 256;

/// Shared state of all connections.
#[derive(Debug, Default)]
pub struct Responses {
    /// The last response that was parsed and checked.
    last: Vec<u8>,
}

/// Position of one connection in its responses.
#[derive(Debug, Default)]
pub struct Position {
    /// Received bytes of an incomplete response.
    partial: Vec<u8>,
    responses: u64,
}

impl Replies for Responses {
    type Position = Position;

    fn begin(&self, _first: usize) -> Position {
        Position::default()
    }

    fn receive(&mut self, position: &mut Position, outstanding: u32, bytes: &[u8]) -> Result<u32, Mismatch> {
        let (completed, left) = if position.partial.is_empty() {
            let (completed, used) = self.complete(position.responses, bytes)?;
            position.partial.extend_from_slice(&bytes[used..]);
            (completed, bytes.len() - used)
        } else {
            let mut partial = mem::take(&mut position.partial);
            partial.extend_from_slice(bytes);
            let (completed, used) = self.complete(position.responses, &partial)?;
            partial.drain(..used);
            position.partial = partial;
            (completed, position.partial.len())
        };
        if completed > outstanding || completed == outstanding && left > 0 {
            let unasked = completed.saturating_sub(outstanding) as usize;
            return Err(Mismatch::Unsolicited { bytes: unasked * self.last.len() + left });
        }
        position.responses += u64::from(completed);
        Ok(completed)
    }
}

impl Responses {
    /// Returns the number of whole responses at the beginning of `bytes`, and their bytes.
    fn complete(&mut self, responses: u64, bytes: &[u8]) -> Result<(u32, usize), Mismatch> {
        let (mut completed, mut used) = (0, 0);
        while used < bytes.len() {
            let rest = &bytes[used..];
            if !self.last.is_empty() && rest.starts_with(&self.last) {
                used += self.last.len();
            } else {
                let read = read(rest);
                let violation = |why| Mismatch::Violation { reply: responses + u64::from(completed), why };
                let Some(length) = read.map_err(violation)? else { break };
                self.last.clear();
                self.last.extend_from_slice(&rest[..length]);
                used += length;
            }
            completed += 1;
        }
        Ok((completed, used))
    }
}

/// Parses and checks one response. Returns its length, or `None` if it is incomplete.
fn read(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        if bytes.len() > RESPONSE_BYTES_MAX {
            return Err(format!("the head exceeds {RESPONSE_BYTES_MAX} bytes"));
        }
        return Ok(None);
    };
    check_head(&bytes[..end])?;
    let body = &bytes[end + 4..];
    let length = body.len().min(BODY.len());
    if body[..length] != BODY[..length] {
        return Err(format!("expected the body {}, got {}", hexadecimal(BODY), hexadecimal(body)));
    }
    Ok((length == BODY.len()).then_some(end + 4 + length))
}

/// Checks the head, without its empty line.
fn check_head(head: &[u8]) -> Result<(), String> {
    let head = std::str::from_utf8(head).map_err(|_| "the head is not UTF-8".to_owned())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').take(2).ne(["HTTP/1.1", "200"]) {
        return Err(format!("expected status 200 with HTTP/1.1, got {status:?}"));
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("expected a field line, got {line:?}"))?;
        fields.push((name, value.trim_matches([' ', '\t'])));
    }
    let values = |name: &'static str| {
        fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    };
    if values("content-length").ne([BODY.len().to_string()]) || values("transfer-encoding").next().is_some() {
        return Err(format!("expected one Content-Length of {} and no Transfer-Encoding in {head:?}", BODY.len()));
    }
    if !values("date").eq(values("date").filter(|value| is_date(value)).take(1)) || values("date").next().is_none() {
        return Err(format!("expected one Date, an IMF-fixdate, in {head:?}"));
    }
    if values("server").next().is_none_or(str::is_empty) {
        return Err(format!("expected a Server with a value in {head:?}"));
    }
    if !values("content-type").next().is_some_and(|value| value.to_ascii_lowercase().starts_with("text/plain")) {
        return Err(format!("expected a Content-Type of text/plain in {head:?}"));
    }
    if values("connection").any(|value| value.to_ascii_lowercase().contains("close")) {
        return Err("expected a persistent connection, got Connection: close".to_owned());
    }
    Ok(())
}

/// Returns whether `value` has the form of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
fn is_date(value: &str) -> bool {
    const SHAPE: &[u8] = b"Aaa, 00 Aaa 0000 00:00:00 GMT";
    value.len() == SHAPE.len()
        && value.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'A' => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            other => byte == *other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn response(date: &str) -> String {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\nServer: x\r\nContent-Length: 13\r\n\
             Date: {date}\r\n\r\nHello, World!"
        )
    }

    /// Passes all bytes in pieces, with `outstanding` responses expected.
    fn receive(outstanding: u32, bytes: &[u8], piece: usize) -> Result<u32, Mismatch> {
        let mut responses = Responses::default();
        let mut position = responses.begin(0);
        let mut completed = 0;
        for bytes in bytes.chunks(piece) {
            completed += responses.receive(&mut position, outstanding - completed, bytes)?;
        }
        Ok(completed)
    }

    #[test]
    fn right_responses_are_counted_however_they_are_cut() {
        let stream = response(DATE).repeat(3) + &response("Mon, 07 Nov 1994 00:00:00 GMT").repeat(2);
        for piece in 1..=stream.len() {
            assert_eq!(receive(5, stream.as_bytes(), piece), Ok(5), "pieces of {piece}");
        }
    }

    #[test]
    fn an_invalid_response_is_found() {
        let right = response(DATE);
        let wrong = [
            right.replace("200 OK", "404 Not Found"),
            right.replace("HTTP/1.1", "HTTP/1.0"),
            right.replace("Server: x\r\n", ""),
            right.replace("Server: x", "Server:"),
            right.replace("Date:", "Data:"),
            right.replace("08:49", "08.49"),
            right.replace("Date:", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate:"),
            right.replace("Content-Length: 13\r\n", ""),
            right.replace("13", "14"),
            right.replace("Content-Length: 13", "Content-Length: 13\r\nContent-Length: 13"),
            right.replace("Server", "Transfer-Encoding: chunked\r\nServer"),
            right.replace("text/plain", "text/html"),
            right.replace("Server", "Connection: close\r\nServer"),
            right.replace("Server: x", "Server x"),
            right.replace("World", "world"),
        ];
        for wrong in &wrong {
            assert_ne!(*wrong, right);
            let stream = right.clone() + wrong;
            for piece in [1, 7, stream.len()] {
                let error = receive(3, stream.as_bytes(), piece);
                assert!(matches!(error, Err(Mismatch::Violation { reply: 1, .. })), "{error:?} for {wrong}");
            }
        }
    }

    #[test]
    fn every_byte_behind_a_known_response_is_compared() {
        let right = response(DATE);
        let body = right.len() - BODY.len();
        for index in body..right.len() {
            let mut wrong = right.clone().into_bytes();
            wrong[index] ^= 1;
            assert!(receive(2, &[right.as_bytes(), &wrong].concat(), usize::MAX).is_err(), "byte {index}");
        }
    }

    #[test]
    fn unsolicited_bytes_are_found() {
        let two = response(DATE).repeat(2);
        let one = two.len() / 2;
        assert_eq!(receive(1, two.as_bytes(), usize::MAX), Err(Mismatch::Unsolicited { bytes: one }));
        assert_eq!(receive(1, &two.as_bytes()[..one + 1], usize::MAX), Err(Mismatch::Unsolicited { bytes: 1 }));
        assert_eq!(receive(0, &two.as_bytes()[..1], 1), Err(Mismatch::Unsolicited { bytes: 1 }));
    }

    #[test]
    fn a_head_without_an_end_is_refused() {
        assert!(receive(1, &[b'a'; RESPONSE_BYTES_MAX + 1], usize::MAX).is_err());
    }
}
