//! Reads one response as it arrives.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};

use super::error::InvalidResponse;
use super::framing::{Framing, framing_of};
use crate::limits::Limits;
use crate::protocol::content_decoder::{ContentDecoder, Found};

/// Reads one response in pieces: bytes in, events out.
///
/// ```
/// use tidegate_http::Limits;
/// use tidegate_http::client::{ResponseEvent, ResponseReader};
///
/// let mut reader = ResponseReader::new(Limits::default());
/// let input = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
/// let progress = reader.receive(input)?;
/// let Some(ResponseEvent::Head(head)) = progress.event else { panic!("the head is complete") };
/// assert_eq!(head.status(), 404);
/// let content = &input[progress.consumed..];
/// assert!(matches!(reader.receive(content)?.event, Some(ResponseEvent::Content(range)) if range == (0..4)));
/// assert!(matches!(reader.receive(b"")?.event, Some(ResponseEvent::End(_))));
/// # Ok::<(), tidegate_http::client::InvalidResponse>(())
/// ```
///
/// Interim responses (1xx, except 101) are skipped. After a 101, and after a 2xx that answers CONNECT, the bytes that
/// follow the head belong to the next protocol: [`receive`](Self::receive) reports the end and consumes none of them.
/// Memory grows with the bytes of the head that arrive.
#[derive(Debug)]
pub struct ResponseReader {
    limits: Limits,
    /// The method of the request.
    method: Method,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The bytes of the head so far, and those of the interim responses before it.
    Head {
        bytes: Vec<u8>,
        skipped_bytes: usize,
    },
    Content(ContentDecoder),
    /// The content ends with the stream.
    UntilEnd,
    Ended,
}

/// The result of one call of [`ResponseReader::receive`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ResponseProgress {
    /// Bytes of the input that are consumed, content included.
    pub consumed: usize,
    /// The event; `None` if more input is needed.
    pub event: Option<ResponseEvent>,
}

/// A part of a response.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResponseEvent {
    /// The head. Names are in lower case.
    Head(Box<Response<()>>),
    /// Content at these positions of the input, not empty.
    Content(Range<usize>),
    /// The response is complete, with its trailers if it has any. Every later call reports it again, without them.
    End(Option<Box<HeaderMap>>),
}

impl ResponseReader {
    /// Creates a reader for the response to a GET.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, method: Method::GET, state: State::Head { bytes: Vec::new(), skipped_bytes: 0 } }
    }

    /// Creates a reader for the response to a CONNECT, with which a 2xx begins a tunnel (RFC 9110 section 9.3.6).
    #[must_use]
    pub fn for_connect(limits: Limits) -> Self {
        Self { method: Method::CONNECT, ..Self::new(limits) }
    }

    /// Creates a reader for the response to a HEAD, which has no content whatever its fields say.
    #[cfg(feature = "testing")]
    pub(crate) fn for_head(limits: Limits) -> Self {
        Self { method: Method::HEAD, ..Self::new(limits) }
    }

    /// Takes the next bytes up to the next event. Call it again with the rest.
    ///
    /// # Errors
    /// [`InvalidResponse`], as soon as that is certain. The reader must not be used again.
    pub fn receive(&mut self, input: &[u8]) -> Result<ResponseProgress, InvalidResponse> {
        match &mut self.state {
            State::Head { .. } => self.receive_head(input),
            State::Content(decoder) => {
                let decoded = decoder.decode(input, &self.limits).map_err(|_| InvalidResponse::Chunk)?;
                let event = match decoded.found {
                    Found::Nothing => None,
                    Found::Content(range) if range.is_empty() => None,
                    Found::Content(range) => Some(ResponseEvent::Content(range)),
                    Found::End(trailers) => {
                        self.state = State::Ended;
                        Some(ResponseEvent::End(trailers))
                    }
                };
                Ok(ResponseProgress { consumed: decoded.consumed, event })
            }
            State::UntilEnd if input.is_empty() => Ok(ResponseProgress { consumed: 0, event: None }),
            State::UntilEnd => {
                let event = Some(ResponseEvent::Content(0..input.len()));
                Ok(ResponseProgress { consumed: input.len(), event })
            }
            State::Ended => Ok(ResponseProgress { consumed: 0, event: Some(ResponseEvent::End(None)) }),
        }
    }

    /// Returns whether the response is complete: nothing more of it will come.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended | State::Content(ContentDecoder::Length(0)))
    }

    /// Notes the end of the peer's stream.
    ///
    /// # Errors
    /// [`InvalidResponse::Incomplete`] within a head, or within content whose end was announced.
    pub fn end(&mut self) -> Result<(), InvalidResponse> {
        if !self.is_ended() && !matches!(self.state, State::UntilEnd) {
            return Err(InvalidResponse::Incomplete);
        }
        self.state = State::Ended;
        Ok(())
    }

    fn receive_head(&mut self, input: &[u8]) -> Result<ResponseProgress, InvalidResponse> {
        let mut consumed = 0;
        while let State::Head { bytes, skipped_bytes } = &mut self.state {
            let rest = &input[consumed..];
            let head_end = find_end(bytes, rest)?;
            let taken = head_end.unwrap_or(rest.len());
            if *skipped_bytes + bytes.len() + taken > self.limits.head_bytes_max {
                return Err(InvalidResponse::HeadTooLarge);
            }
            bytes.extend_from_slice(&rest[..taken]);
            consumed += taken;
            if head_end.is_none() {
                check_start(bytes)?;
                return Ok(ResponseProgress { consumed, event: None });
            }
            let head = parse(bytes, self.limits.fields_max)?;
            let status = head.status();
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                *skipped_bytes += bytes.len();
                bytes.clear();
                continue;
            }
            self.state = match framing_of(status, head.version(), head.headers(), &self.method)? {
                Framing::UntilEnd => State::UntilEnd,
                Framing::Framed(framing) => ContentDecoder::new(framing).map_or(State::Ended, State::Content),
            };
            return Ok(ResponseProgress { consumed, event: Some(ResponseEvent::Head(Box::new(head))) });
        }
        Ok(ResponseProgress { consumed, event: None })
    }
}

/// Returns how many bytes of `input` complete the head that began with `before`: up to its empty line. Each byte is
/// looked at once.
fn find_end(before: &[u8], input: &[u8]) -> Result<Option<usize>, InvalidResponse> {
    // The last three bytes before, which decide about a line end that is split.
    let mut last = [0; 3];
    let kept = before.len().min(3);
    last[3 - kept..].copy_from_slice(&before[before.len() - kept..]);
    for (index, &byte) in input.iter().enumerate() {
        if byte == b'\n' {
            if last[2] != b'\r' {
                return Err(InvalidResponse::BareLineFeed);
            }
            if last[..2] == *b"\r\n" {
                return Ok(Some(index + 1));
            }
        }
        last = [last[1], last[2], byte];
    }
    Ok(None)
}

/// Checks that a head which is not complete can still become one: a peer of another protocol is noticed at once.
fn check_start(bytes: &[u8]) -> Result<(), InvalidResponse> {
    const START: &[u8] = b"HTTP/1.";
    let len = bytes.len().min(START.len());
    if bytes[..len] == START[..len] { Ok(()) } else { Err(InvalidResponse::StatusLine) }
}

/// Parses a complete head.
fn parse(bytes: &[u8], fields_max: usize) -> Result<Response<()>, InvalidResponse> {
    check_start(bytes)?;
    let mut table = [httparse::EMPTY_HEADER; Limits::FIELDS_CEILING];
    let table = &mut table[..fields_max.min(Limits::FIELDS_CEILING)];
    let mut lines = httparse::Response::new(table);
    match lines.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(InvalidResponse::FieldValue),
        Err(httparse::Error::TooManyHeaders) => return Err(InvalidResponse::TooManyFields),
        Err(httparse::Error::HeaderName) => return Err(InvalidResponse::FieldName),
        Err(httparse::Error::HeaderValue) => return Err(InvalidResponse::FieldValue),
        Err(_) => return Err(InvalidResponse::StatusLine),
    }
    let mut response = Response::new(());
    let status = lines.code.and_then(|code| StatusCode::from_u16(code).ok());
    *response.status_mut() = status.ok_or(InvalidResponse::StatusLine)?;
    *response.version_mut() = if lines.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let headers: &mut HeaderMap = response.headers_mut();
    for field in lines.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| InvalidResponse::FieldName)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| InvalidResponse::FieldValue)?;
        headers.try_append(name, value).map_err(|_| InvalidResponse::TooManyFields)?;
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head, its content, and the bytes of the input that belong to the response.
    type Read = (u16, Vec<u8>, usize);

    /// Reads a response that arrives in pieces of `piece_len` bytes, and ends with the input.
    fn read_pieces(mut reader: ResponseReader, input: &[u8], piece_len: usize) -> Result<Read, InvalidResponse> {
        let (mut status, mut content, mut used) = (0, Vec::new(), 0);
        for piece in input.chunks(piece_len) {
            let mut rest = piece;
            loop {
                let progress = reader.receive(rest)?;
                match progress.event {
                    Some(ResponseEvent::Head(head)) => status = head.status().as_u16(),
                    Some(ResponseEvent::Content(range)) => content.extend_from_slice(&rest[range]),
                    Some(ResponseEvent::End(_)) => return Ok((status, content, used + progress.consumed)),
                    None => {
                        assert_eq!(progress.consumed, rest.len(), "input is left without an event");
                        used += progress.consumed;
                        break;
                    }
                }
                used += progress.consumed;
                rest = &rest[progress.consumed..];
            }
        }
        reader.end().map(|()| (status, content, used))
    }

    fn read(input: &str) -> Result<Read, InvalidResponse> {
        let whole = read_pieces(ResponseReader::new(Limits::default()), input.as_bytes(), input.len().max(1));
        for piece_len in [1, 2, 3, 7] {
            let pieces = read_pieces(ResponseReader::new(Limits::default()), input.as_bytes(), piece_len);
            assert_eq!(pieces, whole, "in pieces of {piece_len}: {input:?}");
        }
        whole
    }

    #[test]
    fn content_is_framed_by_its_length_by_chunks_or_by_the_end() {
        let head = "HTTP/1.1 403 Forbidden\r\nServer: x\r\n";
        for (rest, content, left) in [
            ("Content-Length: 5\r\n\r\nhello", "hello", ""),
            ("Content-Length: 5\r\n\r\nhello", "hello", "more"),
            ("Content-Length: 0\r\n\r\n", "", "more"),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", "abcde", "more"),
            ("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", "a", ""),
            ("Transfer-Encoding: gzip\r\n\r\nabc", "abc", ""),
            ("\r\nuntil the end", "until the end", ""),
        ] {
            let input = format!("{head}{rest}{left}");
            let used = input.len() - left.len();
            assert_eq!(read(&input), Ok((403, content.into(), used)), "{input:?}");
        }
    }

    #[test]
    fn what_follows_a_101_is_left_alone() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        assert_eq!(read(&format!("{head}\u{1}frames")), Ok((101, vec![], head.len())));
        for status in ["204 No Content", "304 Not Modified"] {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
            let status = status[..3].parse().unwrap();
            assert_eq!(read(&format!("{head}next")), Ok((status, vec![], head.len())));
        }
    }

    #[test]
    fn a_tunnel_begins_after_the_head() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let reader = ResponseReader::for_connect(Limits::default());
        assert_eq!(read_pieces(reader, format!("{head}tunnel").as_bytes(), 4), Ok((200, vec![], head.len())));
        let reader = ResponseReader::for_connect(Limits::default());
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(read_pieces(reader, refusal.as_bytes(), 9), Ok((407, b"no".to_vec(), refusal.len())));
    }

    #[test]
    fn interim_responses_are_skipped_within_the_limit() {
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
        let input = format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{last}");
        assert_eq!(read(&input), Ok((200, b"x".to_vec(), input.len())));
        let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        assert_eq!(read(&endless), Err(InvalidResponse::HeadTooLarge));
    }

    #[test]
    fn what_is_not_strictly_http_is_refused() {
        for (input, error) in [
            ("SSH-2.0-OpenSSH_9.2\r\n", InvalidResponse::StatusLine),
            ("HTTP/2 200 OK\r\n\r\n", InvalidResponse::StatusLine),
            ("HTTP/1.1 20 OK\r\n\r\n", InvalidResponse::StatusLine),
            ("HTTP/1.1 099 No\r\n\r\n", InvalidResponse::StatusLine),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", InvalidResponse::StatusLine),
            ("HTTP/1.1 200 OK\n\n", InvalidResponse::BareLineFeed),
            ("HTTP/1.1 200 OK\r\nA: b\n\r\n", InvalidResponse::BareLineFeed),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", InvalidResponse::FieldName),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", InvalidResponse::FieldName),
            ("HTTP/1.1 200 OK\r\nA: \u{1}\r\n\r\n", InvalidResponse::FieldValue),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx", InvalidResponse::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", InvalidResponse::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", InvalidResponse::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", InvalidResponse::Length),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", InvalidResponse::Length),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", InvalidResponse::Length),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", InvalidResponse::Chunk),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", InvalidResponse::Incomplete),
            ("HTTP/1.1 200", InvalidResponse::Incomplete),
            ("", InvalidResponse::Incomplete),
        ] {
            assert_eq!(read(input), Err(error), "{input:?}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let limits = Limits::default().head_bytes_max(64).target_bytes_max(8).fields_max(2);
        let read = |input: &str| read_pieces(ResponseReader::new(limits.clone()), input.as_bytes(), 10);
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(100));
        assert_eq!(read(&long), Err(InvalidResponse::HeadTooLarge));
        assert_eq!(read("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), Err(InvalidResponse::TooManyFields));
    }
}
