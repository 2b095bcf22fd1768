//! Decodes the content of a request as it arrives (RFC 9112 sections 6 and 7).
//!
//! Owns the position in the content: the rest of a Content-Length, or the state of the chunked coding. Returns
//! positions of content in the input and never copies it; holds no memory until a trailer section begins. Called by the
//! reading machine. Everything is bounded: content, chunk-size lines, extensions, trailers.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::RequestError;
use crate::limits::Limits;
use crate::message::conclusion::RequestFraming;
use crate::protocol::scan::HeadScanner;

/// The decoder of one request's content.
#[derive(Debug)]
pub(crate) enum ContentDecoder {
    /// The bytes left of a Content-Length.
    Length(u64),
    /// The chunked transfer coding.
    Chunked(Chunked),
}

/// The result of one call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Bytes of the input that are consumed, content included.
    pub(crate) consumed: usize,
    pub(crate) found: Found,
}

/// The item found at the start of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing: more input is needed, and all of it was consumed.
    Nothing,
    /// Content at these positions of the input, not empty.
    Content(Range<usize>),
    /// The content is complete.
    End(Option<Box<HeaderMap>>),
}

/// The state of the chunked transfer coding (RFC 9112 section 7.1).
#[derive(Debug)]
pub(crate) struct Chunked {
    state: ChunkState,
    /// Content of all chunks so far.
    content_bytes: u64,
    /// Chunk extensions of all chunks so far.
    extension_bytes: usize,
}

#[derive(Debug)]
enum ChunkState {
    /// In the digits of a chunk-size.
    Size { size: u64, line_bytes: usize },
    /// In whitespace before an extension.
    Space { size: u64, line_bytes: usize },
    /// In the extensions, which are skipped.
    Extension { size: u64, line_bytes: usize },
    /// Before the line feed of a chunk-size line.
    SizeEnd { size: u64 },
    /// In chunk data, with the number of bytes left.
    Data { left: u64 },
    /// Before the carriage return after chunk data.
    DataReturn,
    /// Before the line feed after chunk data.
    DataEnd,
    /// In the trailer section.
    Trailers(Box<Trailers>),
}

#[derive(Debug)]
struct Trailers {
    scanner: HeadScanner,
    bytes: Vec<u8>,
}

/// Digits of a chunk size: as many as a u64 has. More leading zeros would only cost time.
const CHUNK_SIZE_DIGITS_MAX: usize = 16;

/// The start of a chunk-size line: no digit was seen, as `line_bytes` is zero.
const LINE_START: ChunkState = ChunkState::Size { size: 0, line_bytes: 0 };

impl ContentDecoder {
    /// Creates a decoder; `None` if there is no content.
    pub(crate) fn new(framing: RequestFraming) -> Option<ContentDecoder> {
        match framing {
            RequestFraming::None => None,
            RequestFraming::Length(length) => Some(ContentDecoder::Length(length)),
            RequestFraming::Chunked => {
                Some(ContentDecoder::Chunked(Chunked { state: LINE_START, content_bytes: 0, extension_bytes: 0 }))
            }
        }
    }

    /// Returns the bytes still to come, if announced.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self {
            ContentDecoder::Length(left) => Some(*left),
            ContentDecoder::Chunked(_) => None,
        }
    }

    /// Decodes the next piece of input. Must not be called again after [`Found::End`] or an error.
    pub(crate) fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Decoded, RequestError> {
        match self {
            ContentDecoder::Length(0) => Ok(Decoded { consumed: 0, found: Found::End(None) }),
            ContentDecoder::Length(left) => {
                let length = clamp(*left, input.len());
                *left -= length as u64;
                Ok(content(0, length))
            }
            ContentDecoder::Chunked(chunked) => chunked.decode(input, limits),
        }
    }
}

impl Chunked {
    fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Decoded, RequestError> {
        let mut position = 0;
        while position < input.len() {
            match &mut self.state {
                ChunkState::Data { left } => {
                    let length = clamp(*left, input.len() - position);
                    *left -= length as u64;
                    if *left == 0 {
                        self.state = ChunkState::DataReturn;
                    }
                    return Ok(content(position, length));
                }
                ChunkState::Trailers(trailers) => {
                    let mut decoded = trailers.take(&input[position..], limits)?;
                    decoded.consumed += position;
                    return Ok(decoded);
                }
                _ => self.step(input[position], limits)?,
            }
            position += 1;
        }
        Ok(Decoded { consumed: position, found: Found::Nothing })
    }

    /// Consumes one byte outside chunk data.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<(), RequestError> {
        self.state = match &self.state {
            ChunkState::Size { size, line_bytes } => self.step_in_size(byte, *size, *line_bytes, limits)?,
            &ChunkState::Space { size, line_bytes } => {
                let line_bytes = self.count_extension(line_bytes, limits)?;
                match byte {
                    b' ' | b'\t' => ChunkState::Space { size, line_bytes },
                    b';' => ChunkState::Extension { size, line_bytes },
                    _ => return Err(RequestError::ChunkSize),
                }
            }
            &ChunkState::Extension { size, line_bytes } => match byte {
                b'\r' => ChunkState::SizeEnd { size },
                b'\t' | b' '..=b'~' | 0x80.. => {
                    let line_bytes = self.count_extension(line_bytes, limits)?;
                    ChunkState::Extension { size, line_bytes }
                }
                _ => return Err(RequestError::ChunkSize),
            },
            &ChunkState::SizeEnd { size } => match byte {
                b'\n' => self.begin_chunk(size, limits)?,
                _ => return Err(RequestError::ChunkSize),
            },
            ChunkState::DataReturn if byte == b'\r' => ChunkState::DataEnd,
            ChunkState::DataEnd if byte == b'\n' => LINE_START,
            ChunkState::DataReturn | ChunkState::DataEnd => return Err(RequestError::ChunkEnd),
            // `decode` handles these itself.
            ChunkState::Data { .. } | ChunkState::Trailers(_) => return Ok(()),
        };
        Ok(())
    }

    fn step_in_size(
        &mut self,
        byte: u8,
        size: u64,
        line_bytes: usize,
        limits: &Limits,
    ) -> Result<ChunkState, RequestError> {
        if let Some(digit) = (byte as char).to_digit(16) {
            // RFC 9112 section 7.1: overflow must be prevented. 16 digits cannot overflow.
            if line_bytes >= limits.chunk_line_bytes_max.min(CHUNK_SIZE_DIGITS_MAX) {
                return Err(RequestError::ChunkSize);
            }
            let size = size << 4 | u64::from(digit);
            let line_bytes = line_bytes + 1;
            return Ok(ChunkState::Size { size, line_bytes });
        }
        if line_bytes == 0 {
            return Err(RequestError::ChunkSize);
        }
        match byte {
            b'\r' => Ok(ChunkState::SizeEnd { size }),
            b';' | b' ' | b'\t' => {
                let line_bytes = self.count_extension(line_bytes, limits)?;
                match byte {
                    b';' => Ok(ChunkState::Extension { size, line_bytes }),
                    _ => Ok(ChunkState::Space { size, line_bytes }),
                }
            }
            _ => Err(RequestError::ChunkSize),
        }
    }

    /// Counts one byte of an extension, and returns the new length of the line.
    fn count_extension(&mut self, line_bytes: usize, limits: &Limits) -> Result<usize, RequestError> {
        self.extension_bytes += 1;
        if line_bytes >= limits.chunk_line_bytes_max || self.extension_bytes > limits.chunk_extension_bytes_max {
            return Err(RequestError::ChunkExtensionTooLong);
        }
        Ok(line_bytes + 1)
    }

    fn begin_chunk(&mut self, size: u64, limits: &Limits) -> Result<ChunkState, RequestError> {
        if size == 0 {
            return Ok(ChunkState::Trailers(Box::new(Trailers {
                scanner: HeadScanner::for_trailers(),
                bytes: Vec::new(),
            })));
        }
        self.content_bytes = self.content_bytes.saturating_add(size);
        if self.content_bytes > limits.body_bytes_max {
            return Err(RequestError::BodyTooLarge);
        }
        Ok(ChunkState::Data { left: size })
    }
}

impl Trailers {
    /// Consumes input up to the end of the section.
    fn take(&mut self, input: &[u8], limits: &Limits) -> Result<Decoded, RequestError> {
        let bounds = Limits { head_bytes_max: limits.trailer_bytes_max, ..limits.clone() };
        let end = self.scanner.scan(input, &bounds).map_err(|error| match error {
            RequestError::HeadTooLarge | RequestError::TooManyFields => RequestError::TrailerTooLarge,
            _ => RequestError::Trailer,
        })?;
        let Some(end) = end else {
            self.bytes.extend_from_slice(input);
            return Ok(Decoded { consumed: input.len(), found: Found::Nothing });
        };
        self.bytes.extend_from_slice(&input[..end]);
        Ok(Decoded { consumed: end, found: Found::End(parse_trailers(&self.bytes)?) })
    }
}

/// Parses a complete trailer section, which ends with its empty line.
fn parse_trailers(bytes: &[u8]) -> Result<Option<Box<HeaderMap>>, RequestError> {
    if bytes == b"\r\n" {
        return Ok(None);
    }
    let mut table = [httparse::EMPTY_HEADER; Limits::FIELDS_CEILING];
    let fields = match httparse::parse_headers(bytes, &mut table) {
        Ok(httparse::Status::Complete((length, fields))) if length == bytes.len() => fields,
        _ => return Err(RequestError::Trailer),
    };
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(RequestError::Trailer);
        };
        map.append(name, value);
    }
    Ok(Some(Box::new(map)))
}

fn content(start: usize, length: usize) -> Decoded {
    let end = start + length;
    Decoded { consumed: end, found: if length == 0 { Found::Nothing } else { Found::Content(start..end) } }
}

/// Returns the smaller one. It fits in a usize because `available` does.
fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(Vec<u8>, Option<HeaderMap>, usize), RequestError>;

    fn feed(framing: RequestFraming, input: &[u8], size: usize, limits: &Limits) -> Outcome {
        let mut decoder = ContentDecoder::new(framing).expect("content");
        let mut content = Vec::new();
        let mut total = 0;
        for piece in input.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let decoded = decoder.decode(rest, limits)?;
                total += decoded.consumed;
                match decoded.found {
                    Found::Nothing => {}
                    Found::Content(range) => content.extend_from_slice(&rest[range]),
                    Found::End(trailers) => {
                        return Ok((content, trailers.map(|map| *map), total));
                    }
                }
                rest = &rest[decoded.consumed..];
            }
        }
        Err(RequestError::Incomplete)
    }

    /// Feeds the input whole, byte by byte, and with trailing bytes, and expects the same result each time.
    fn decode_with(input: &str, limits: &Limits) -> Outcome {
        let framing = RequestFraming::Chunked;
        let whole = feed(framing, input.as_bytes(), usize::MAX, limits);
        assert_eq!(feed(framing, input.as_bytes(), 1, limits), whole);
        let longer = format!("{input}GET / HTTP/1.1\r\n");
        if whole != Err(RequestError::Incomplete) {
            assert_eq!(feed(framing, longer.as_bytes(), usize::MAX, limits), whole);
        }
        whole
    }

    fn decode(input: &str) -> Result<String, RequestError> {
        decode_with(input, &Limits::default()).map(|(content, _, consumed)| {
            assert_eq!(consumed, input.len());
            String::from_utf8(content).expect("text")
        })
    }

    #[test]
    fn chunks_are_decoded() {
        assert_eq!(decode("0\r\n\r\n"), Ok(String::new()));
        assert_eq!(decode("5\r\nhello\r\n0\r\n\r\n"), Ok("hello".into()));
        assert_eq!(decode("3\r\nhel\r\n00A\r\nlo, world!\r\n000\r\n\r\n"), Ok("hello, world!".into()));
        assert_eq!(decode("1;a=b\r\nx\r\n1 ; c=\"d\"\r\ny\r\n0;e\r\n\r\n"), Ok("xy".into()));
    }

    #[test]
    fn chunk_syntax_is_strict() {
        use RequestError as E;
        for (input, error) in [
            ("\r\n", E::ChunkSize),
            ("g\r\n", E::ChunkSize),
            ("0x5\r\n", E::ChunkSize),
            ("+5\r\n", E::ChunkSize),
            ("-1\r\n", E::ChunkSize),
            (" 5\r\n", E::ChunkSize),
            (";a\r\n", E::ChunkSize),
            ("5 \r\nhello\r\n", E::ChunkSize),
            ("5\nhello\r\n", E::ChunkSize),
            ("5\r\rhello", E::ChunkSize),
            ("5;a\nhello", E::ChunkSize),
            ("5;a\0\r\nhello", E::ChunkSize),
            ("10000000000000000\r\n", E::ChunkSize),
            ("ffffffffffffffff\r\n", E::BodyTooLarge),
            ("5\r\nhello0\r\n\r\n", E::ChunkEnd),
            ("5\r\nhello\n0\r\n\r\n", E::ChunkEnd),
            ("5\r\nhello\rx", E::ChunkEnd),
            ("0\r\na b: c\r\n\r\n", E::Trailer),
            ("0\r\n: c\r\n\r\n", E::Trailer),
            ("0\r\na: b\n\r\n", E::Trailer),
            ("0\r\na: b\0\r\n\r\n", E::Trailer),
            ("0\r\nx\r\n\r\n", E::Trailer),
            ("5\r\nhel", E::Incomplete),
        ] {
            assert_eq!(decode(input), Err(error), "{input:?}");
        }
    }

    #[test]
    fn trailers_are_returned_separately() {
        let input = "1\r\na\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n";
        let (content, trailers, _) = decode_with(input, &Limits::default()).expect("valid");
        assert_eq!(content, b"a");
        let trailers = trailers.expect("trailers");
        assert_eq!(trailers.get_all("x-sum").iter().count(), 2);
    }

    #[test]
    fn everything_is_bounded() {
        use RequestError as E;
        let limits = Limits::default()
            .body_bytes_max(10)
            .chunk_line_bytes_max(8)
            .chunk_extension_bytes_max(12)
            .trailer_bytes_max(20)
            .fields_max(2);
        let error = |input| decode_with(input, &limits).expect_err(input);
        assert!(decode_with("a\r\n0123456789\r\n0\r\n\r\n", &limits).is_ok());
        assert_eq!(error("b\r\n"), E::BodyTooLarge);
        assert_eq!(error("6\r\n012345\r\n5\r\n"), E::BodyTooLarge);
        assert_eq!(error("000000001\r\n"), E::ChunkSize);
        assert_eq!(error("1;3456789\r\n"), E::ChunkExtensionTooLong);
        assert_eq!(error("1;aaaaaa\r\nx\r\n1;aaaaaa\r\nx\r\n"), E::ChunkExtensionTooLong);
        assert_eq!(error("0\r\na: 0123456789012345678\r\n"), E::TrailerTooLarge);
        assert_eq!(error("0\r\na:\r\nb:\r\nc:\r\n\r\n"), E::TrailerTooLarge);
    }

    #[test]
    fn a_length_ends_by_itself() {
        let limits = Limits::default();
        for size in [1, 3, 100] {
            let outcome = feed(RequestFraming::Length(5), b"helloGET", size, &limits);
            let expected = (b"hello".to_vec(), None, 5);
            assert_eq!(outcome, Ok(expected));
        }
        let outcome = feed(RequestFraming::Length(5), b"hell", 1, &limits);
        assert_eq!(outcome, Err(RequestError::Incomplete));
    }
}
