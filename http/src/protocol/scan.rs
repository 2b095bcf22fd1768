//! Finds the end of a request head in bytes that arrive in pieces.
//!
//! Owns the line structure: where lines end, their number, their lengths and the whole length (RFC 9112 sections 2.2
//! and 3). It reads each byte once, whatever the pieces, and keeps no bytes. It never looks inside a line: `parse`
//! does, once the head is complete. Called by the reading machine, and for trailer sections by the content decoder.

use crate::error::RequestError;
use crate::field::is_token_byte;
use crate::limits::Limits;

/// The longest method accepted. The longest registered one is UPDATEREDIRECTREF with 17 bytes.
pub(crate) const METHOD_BYTES_MAX: usize = 32;

/// The bytes of a request line without method and target: two spaces, the version and CRLF.
const REQUEST_LINE_REST_BYTES: usize = 12;

/// A scanner of one head: the state between two pieces of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeadScanner {
    section: Section,
    /// Bytes of the current line seen so far.
    line_bytes: usize,
    /// Bytes of the head seen so far, complete lines included.
    head_bytes: usize,
    /// The last byte seen, because a CRLF can be split.
    last: u8,
    /// Length of the method, once its space was seen.
    method_bytes: usize,
}

/// The received part of a head that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct PartialHead {
    pub(crate) scanner: HeadScanner,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Section {
    /// The request line, or an empty line before it.
    #[default]
    Start,
    /// The request line, after an empty line was skipped.
    AfterEmptyLine,
    /// The field line of this number, from 0.
    Fields(usize),
}

impl HeadScanner {
    /// Creates a scanner for a trailer section: fields only.
    pub(crate) fn for_trailers() -> HeadScanner {
        HeadScanner { section: Section::Fields(0), ..HeadScanner::default() }
    }

    /// Returns whether only an empty line, or the start of one, was seen: no request has begun.
    pub(crate) fn is_blank(&self) -> bool {
        match self.section {
            Section::Start => self.line_bytes == 0 || (self.line_bytes == 1 && self.last == b'\r'),
            Section::AfterEmptyLine => self.line_bytes == 0,
            Section::Fields(_) => false,
        }
    }

    /// Scans the next piece. `Some(n)`: the head ends after `n` bytes of it.
    pub(crate) fn scan(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, RequestError> {
        let mut position = 0;
        while position < input.len() {
            let rest = &input[position..];
            self.check_start(rest)?;
            let Some(length) = find_line_feed(rest) else {
                self.advance(rest);
                self.check_lengths(limits)?;
                return Ok(None);
            };
            let line = &rest[..=length];
            let before = if length > 0 { rest[length - 1] } else { self.last };
            self.advance(line);
            self.check_lengths(limits)?;
            position += line.len();
            if before != b'\r' || self.line_bytes < 2 {
                return Err(RequestError::BareLineFeed);
            }
            if self.end_line(limits)? {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// Refuses input that cannot begin a method, so that a TLS client gets an answer at once instead of a timeout. A
    /// line that begins with a carriage return can only be empty, and is refused at its second byte.
    fn check_start(&mut self, rest: &[u8]) -> Result<(), RequestError> {
        if matches!(self.section, Section::Fields(_)) {
            return Ok(());
        }
        if self.line_bytes == 0 && !is_token_byte(rest[0]) && !matches!(rest[0], b'\r' | b'\n') {
            return Err(RequestError::Method);
        }
        let after_return = match self.line_bytes {
            0 if rest[0] == b'\r' => rest.get(1),
            1 if self.last == b'\r' => rest.first(),
            _ => None,
        };
        if after_return.is_some_and(|&byte| byte != b'\n') {
            return Err(RequestError::Method);
        }
        if self.method_bytes == 0 {
            let unseen = (METHOD_BYTES_MAX + 1).saturating_sub(self.line_bytes);
            let window = &rest[..rest.len().min(unseen)];
            match window.iter().position(|&byte| matches!(byte, b' ' | b'\r' | b'\n')) {
                Some(space) => self.method_bytes = self.line_bytes + space,
                None if window.len() == unseen => return Err(RequestError::MethodTooLong),
                None => {}
            }
        }
        Ok(())
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.line_bytes += bytes.len();
        self.head_bytes += bytes.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    fn check_lengths(&self, limits: &Limits) -> Result<(), RequestError> {
        let in_target = self.method_bytes > 0 && !matches!(self.section, Section::Fields(_));
        let rest = self.line_bytes.saturating_sub(self.method_bytes + REQUEST_LINE_REST_BYTES);
        if in_target && rest > limits.target_bytes_max {
            return Err(RequestError::TargetTooLong);
        }
        if self.head_bytes > limits.head_bytes_max {
            return Err(RequestError::HeadTooLarge);
        }
        Ok(())
    }

    /// Ends a line, CRLF included. Returns whether it was the empty line that ends the head.
    fn end_line(&mut self, limits: &Limits) -> Result<bool, RequestError> {
        let empty = self.line_bytes == 2;
        self.line_bytes = 0;
        self.section = match self.section {
            Section::Start if empty => {
                self.method_bytes = 0;
                Section::AfterEmptyLine
            }
            // RFC 9112 section 2.2: at least one empty line is to be ignored. No known client sends more.
            Section::AfterEmptyLine if empty => return Err(RequestError::EmptyLines),
            Section::Start | Section::AfterEmptyLine => Section::Fields(0),
            Section::Fields(_) if empty => return Ok(true),
            Section::Fields(count) if count >= limits.fields_max => {
                return Err(RequestError::TooManyFields);
            }
            Section::Fields(count) => Section::Fields(count + 1),
        };
        Ok(false)
    }
}

/// Returns the position of the first line feed, comparing eight bytes at a time.
fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    const LINE_FEEDS: u64 = ONES * b'\n' as u64;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let difference = u64::from_le_bytes(*word) ^ LINE_FEEDS;
        // The lowest set bit marks the first zero byte of the difference; higher bits can be false hits.
        let zeros = difference.wrapping_sub(ONES) & !difference & HIGHS;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let offset = bytes.len() - tail.len();
    tail.iter().position(|&byte| byte == b'\n').map(|position| offset + position)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans in pieces of every size and expects the same result each time.
    fn scan(input: &[u8], limits: &Limits) -> Result<Option<usize>, RequestError> {
        let expected = HeadScanner::default().scan(input, limits);
        for size in 1..=input.len() {
            let mut scanner = HeadScanner::default();
            let mut result = Ok(None);
            for (index, piece) in input.chunks(size).enumerate() {
                result = scanner.scan(piece, limits).map(|end| end.map(|end| index * size + end));
                if result != Ok(None) {
                    break;
                }
            }
            assert_eq!(result, expected, "pieces of {size}");
        }
        expected
    }

    #[test]
    fn line_feeds_are_found_at_every_position() {
        for length in 0..40 {
            for position in 0..length {
                let mut bytes = vec![0x0b; length];
                bytes[position] = b'\n';
                bytes[length - 1] = b'\n';
                assert_eq!(find_line_feed(&bytes), Some(position));
            }
            assert_eq!(find_line_feed(&vec![0x8a; length]), None);
        }
    }

    #[test]
    fn the_head_ends_after_the_empty_line() {
        let limits = Limits::default();
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", &limits), Ok(Some(27)));
        assert_eq!(scan(b"\r\nGET / HTTP/1.1\r\n\r\nGET", &limits), Ok(Some(20)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n", &limits), Ok(None));
    }

    #[test]
    fn line_structure_is_strict() {
        let limits = Limits::default();
        assert_eq!(scan(b"GET / HTTP/1.1\nHost: a\r\n\r\n", &limits), Err(RequestError::BareLineFeed));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n\n", &limits), Err(RequestError::BareLineFeed));
        assert_eq!(scan(b"\nGET /", &limits), Err(RequestError::BareLineFeed));
        assert_eq!(scan(b"\r\n\r\nGET /", &limits), Err(RequestError::EmptyLines));
        assert_eq!(scan(b"\x16\x03\x01\x02\x00", &limits), Err(RequestError::Method));
    }

    #[test]
    fn a_line_that_begins_with_a_carriage_return_is_empty() {
        let limits = Limits::default().target_bytes_max(10);
        let long_method = [b"\r".as_slice(), &[b'A'; 40]].concat();
        for line in [b"\rGET / HTTP/1.1\r\n".as_slice(), b"\r /1234567890123456789012\r\n", &long_method] {
            assert_eq!(scan(line, &limits), Err(RequestError::Method));
            assert_eq!(scan(&[b"\r\n", line].concat(), &limits), Err(RequestError::Method));
        }
        assert_eq!(scan(b"\r\n\r", &limits), Ok(None));
    }

    #[test]
    fn lengths_are_bounded() {
        let limits = Limits::default().target_bytes_max(10).head_bytes_max(60).fields_max(2);
        assert_eq!(scan(b"GET /123456789 HTTP/1.1\r\n\r\n", &limits), Ok(Some(27)));
        assert_eq!(scan(b"GET /1234567890 HTTP/1.1\r\n\r\n", &limits), Err(RequestError::TargetTooLong));
        assert_eq!(scan(&[b'A'; 40], &limits), Err(RequestError::MethodTooLong));
        assert_eq!(scan(b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\n\r\n", &limits), Ok(Some(30)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc:\r\n\r\n", &limits), Err(RequestError::TooManyFields));
        let long = [b"GET / HTTP/1.1\r\na: ".as_slice(), &[b'x'; 60]].concat();
        assert_eq!(scan(&long, &limits), Err(RequestError::HeadTooLarge));
    }
}
