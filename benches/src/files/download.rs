//! Checks responses to the last byte, without keeping them.

use crate::replies::{Mismatch, Replies};

/// The longest response head accepted, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The content that every response must have.
#[derive(Debug)]
pub struct Downloads {
    expected: Expected,
}

#[derive(Debug)]
enum Expected {
    /// These bytes, with their Content-Length.
    Content(Vec<u8>),
    /// Content with gzip that is smaller than this and the same each time, as the first response has it.
    Gzip { size: usize, first: Option<Vec<u8>> },
}

/// Position of one connection in its responses.
#[derive(Debug, Default)]
pub struct Position {
    /// Received bytes of an incomplete head, or of an incomplete response with gzip.
    partial: Vec<u8>,
    /// Bytes of the content that were received, after a whole head.
    at: Option<usize>,
    responses: u64,
}

impl Downloads {
    /// Expects this content.
    #[must_use]
    pub fn of(content: Vec<u8>) -> Self {
        Self { expected: Expected::Content(content) }
    }

    /// Expects content with gzip, of fewer bytes than this.
    #[must_use]
    pub fn gzip(size: usize) -> Self {
        Self { expected: Expected::Gzip { size, first: None } }
    }
}

impl Replies for Downloads {
    type Position = Position;

    fn begin(&self, _first: usize) -> Position {
        Position::default()
    }

    fn receive(&mut self, position: &mut Position, outstanding: u32, mut bytes: &[u8]) -> Result<u32, Mismatch> {
        let mut completed = 0;
        while !bytes.is_empty() {
            if completed == outstanding {
                return Err(Mismatch::Unsolicited { bytes: bytes.len() });
            }
            let reply = position.responses;
            let violation = |why: String| Mismatch::Violation { reply, why };
            let (used, is_complete) = self.expected.advance(position, bytes).map_err(violation)?;
            bytes = &bytes[used..];
            if is_complete {
                position.partial.clear();
                position.at = None;
                position.responses += 1;
                completed += 1;
            }
        }
        Ok(completed)
    }
}

impl Expected {
    /// Takes bytes of one response. Returns their number, and whether they complete it.
    fn advance(&mut self, position: &mut Position, bytes: &[u8]) -> Result<(usize, bool), String> {
        match self {
            Self::Content(content) => match &mut position.at {
                None => {
                    let Some(used) = take_head(&mut position.partial, bytes)? else { return Ok((bytes.len(), false)) };
                    let head = Head::parse(&position.partial)?;
                    if head.length != Some(content.len()) || head.coding.is_some() {
                        return Err(format!("expected Content-Length {} and no coding, got {head:?}", content.len()));
                    }
                    position.at = Some(0);
                    Ok((used, content.is_empty()))
                }
                Some(at) => {
                    let part = bytes.len().min(content.len() - *at);
                    if bytes[..part] != content[*at..*at + part] {
                        return Err(format!("the content differs within {part} bytes from byte {at}"));
                    }
                    *at += part;
                    Ok((part, *at == content.len()))
                }
            },
            Self::Gzip { size, first } => {
                let before = position.partial.len();
                position.partial.extend_from_slice(bytes);
                let Some((end, content)) = whole(&position.partial)? else { return Ok((bytes.len(), false)) };
                if content.len() >= *size || !content.starts_with(&[0x1f, 0x8b]) {
                    return Err(format!("expected fewer than {size} bytes of gzip, got {}", content.len()));
                }
                if *first.get_or_insert_with(|| content.clone()) != content {
                    return Err("the content differs from that of the first response".to_owned());
                }
                Ok((end - before, true))
            }
        }
    }
}

/// What of a head matters.
#[derive(Debug)]
struct Head {
    length: Option<usize>,
    is_chunked: bool,
    coding: Option<String>,
}

impl Head {
    /// Parses a head with its empty line.
    fn parse(head: &[u8]) -> Result<Self, String> {
        let head = std::str::from_utf8(head).map_err(|_| "the head is not UTF-8".to_owned())?;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("expected status 200 with HTTP/1.1, got {head:?}"));
        }
        let value = |wanted: &str| {
            let fields = head.lines().filter_map(|line| line.split_once(':'));
            fields
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.trim().to_owned())
                .next()
        };
        if value("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close")) {
            return Err("expected a persistent connection, got Connection: close".to_owned());
        }
        Ok(Self {
            length: value("content-length").and_then(|length| length.parse().ok()),
            is_chunked: value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")),
            coding: value("content-encoding"),
        })
    }
}

/// Appends bytes to a head up to its end. Returns the number of bytes used, or `None` if it goes on.
fn take_head(head: &mut Vec<u8>, bytes: &[u8]) -> Result<Option<usize>, String> {
    let before = head.len();
    head.extend_from_slice(bytes);
    let searched = before.saturating_sub(3);
    let Some(end) = head[searched..].windows(4).position(|window| window == b"\r\n\r\n") else {
        let fits = head.len() <= HEAD_BYTES_MAX;
        return if fits { Ok(None) } else { Err(format!("the head exceeds {HEAD_BYTES_MAX} bytes")) };
    };
    let end = searched + end + 4;
    head.truncate(end);
    Ok(Some(end - before))
}

/// Returns the length of a whole response with gzip at the beginning of `bytes`, and its content.
fn whole(bytes: &[u8]) -> Result<Option<(usize, Vec<u8>)>, String> {
    let mut head = Vec::new();
    let Some(start) = take_head(&mut head, bytes)? else { return Ok(None) };
    let parsed = Head::parse(&head)?;
    if parsed.coding.as_deref() != Some("gzip") {
        return Err(format!("expected gzip, got {parsed:?}"));
    }
    let rest = &bytes[start..];
    match parsed.length {
        Some(length) if length <= rest.len() => Ok(Some((start + length, rest[..length].to_vec()))),
        Some(_) => Ok(None),
        None if parsed.is_chunked => Ok(dechunk(rest)?.map(|(end, content)| (start + end, content))),
        None => Err(format!("expected a length, got {parsed:?}")),
    }
}

/// Returns the length of whole chunks with their last one, and their content.
fn dechunk(bytes: &[u8]) -> Result<Option<(usize, Vec<u8>)>, String> {
    let (mut at, mut content) = (0, Vec::new());
    loop {
        let Some(line) = bytes[at..].windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + line]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).ok_or("expected the size of a chunk")?;
        at += line + 2;
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        content.extend_from_slice(&chunk[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((at, content)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes all bytes in pieces, with `outstanding` responses expected.
    fn receive(mut downloads: Downloads, outstanding: u32, bytes: &[u8], piece: usize) -> Result<u32, Mismatch> {
        let mut position = downloads.begin(0);
        let mut completed = 0;
        for bytes in bytes.chunks(piece) {
            completed += downloads.receive(&mut position, outstanding - completed, bytes)?;
        }
        Ok(completed)
    }

    #[test]
    fn files_are_compared_however_they_are_cut() {
        let content = crate::files::content(300);
        let head = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 300\r\n\r\n";
        let one = [head.as_slice(), &content].concat();
        let stream = one.repeat(3);
        for piece in [1, 2, 7, 100, one.len(), stream.len()] {
            assert_eq!(receive(Downloads::of(content.clone()), 3, &stream, piece), Ok(3), "pieces of {piece}");
            for at in [9, 40, head.len(), one.len() - 1] {
                let mut wrong = stream.clone();
                wrong[one.len() + at] ^= 1;
                assert!(receive(Downloads::of(content.clone()), 3, &wrong, piece).is_err(), "byte {at}");
            }
            let unasked = receive(Downloads::of(content.clone()), 2, &stream, piece);
            assert!(matches!(unasked, Err(Mismatch::Unsolicited { .. })), "{unasked:?}");
        }
    }

    #[test]
    fn gzip_comes_with_a_length_or_in_chunks() {
        let content = b"\x1f\x8bcompressed";
        let fields = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n";
        let with_length = [format!("{fields}Content-Length: 12\r\n\r\n").as_bytes(), content].concat();
        let chunks = [b"5\r\n\x1f\x8bcom\r\n7\r\npressed\r\n0\r\n\r\n".as_slice()].concat();
        let chunked = [format!("{fields}Transfer-Encoding: chunked\r\n\r\n").as_bytes(), &chunks].concat();
        let stream = [with_length.clone(), chunked, with_length.clone()].concat();
        for piece in 1..stream.len() {
            assert_eq!(receive(Downloads::gzip(100), 3, &stream, piece), Ok(3), "pieces of {piece}");
        }
        assert!(receive(Downloads::gzip(12), 1, &with_length, 100).is_err(), "it is not smaller");
        let mut other = stream.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(receive(Downloads::gzip(100), 3, &other, 50).is_err(), "it differs from the first");
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nuncompressed";
        assert!(receive(Downloads::gzip(100), 1, plain, 100).is_err());
    }
}
