//! Byte ranges (RFC 9110 section 14).
//!
//! Parsed here, because the crates for it refuse what the RFC allows: whitespace around commas, and a last position
//! beyond every number.

use crate::field::list_elements;

/// Maximum ranges of a response. More are ignored, as RFC 9110 section 17.15 advises: they cost more than the whole.
const RANGES_MAX: usize = 16;

/// A part of content, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) start: u64,
    pub(super) len: u64,
}

/// The meaning of a Range field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// The whole content is sent: the field is invalid, of another unit, or asks for more than the whole.
    Ignored,
    /// None of the ranges is in the content.
    Unsatisfiable,
    /// At least one, in the order of the request.
    Some(Vec<ByteRange>),
}

/// Returns the meaning of a Range field for content of this length.
pub(super) fn ranges_of(value: &[u8], content_bytes: u64) -> Ranges {
    let Some((unit, set)) = value.iter().position(|&byte| byte == b'=').map(|at| (&value[..at], &value[at + 1..]))
    else {
        return Ranges::Ignored;
    };
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Ranges::Ignored;
    }
    let (mut ranges, mut named, mut sum) = (Vec::new(), 0, 0_u64);
    for spec in list_elements(set) {
        named += 1;
        let Some(range) = parse(spec, content_bytes) else { return Ranges::Ignored };
        if named > RANGES_MAX {
            return Ranges::Ignored;
        }
        if let Some(range) = range {
            sum = sum.saturating_add(range.len);
            ranges.push(range);
        }
    }
    match ranges.len() {
        _ if named == 0 => Ranges::Ignored,
        0 => Ranges::Unsatisfiable,
        // Ranges that overlap: a small request must not ask for many times the content.
        2.. if sum > content_bytes => Ranges::Ignored,
        _ => Ranges::Some(ranges),
    }
}

/// Parses one range: `None` if it is invalid, `Some(None)` if it is outside of the content.
fn parse(spec: &[u8], content_bytes: u64) -> Option<Option<ByteRange>> {
    let dash = spec.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let len = number(last)?.min(content_bytes);
        return Some((len > 0).then(|| ByteRange { start: content_bytes - len, len }));
    }
    let start = number(first)?;
    let end = if last.is_empty() { u64::MAX } else { number(last)? };
    if end < start {
        return None;
    }
    if start >= content_bytes {
        return Some(None);
    }
    Some(Some(ByteRange { start, len: end.min(content_bytes - 1) - start + 1 }))
}

/// Reads a decimal number; a larger one than fits is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(ranges: &[(u64, u64)]) -> Ranges {
        Ranges::Some(ranges.iter().map(|&(start, len)| ByteRange { start, len }).collect())
    }

    #[test]
    fn ranges() {
        for (value, expected) in [
            ("bytes=0-9", some(&[(0, 10)])),
            ("BYTES=0-9", some(&[(0, 10)])),
            ("bytes=0-", some(&[(0, 100)])),
            ("bytes=99-", some(&[(99, 1)])),
            ("bytes=-1", some(&[(99, 1)])),
            ("bytes=-1000", some(&[(0, 100)])),
            ("bytes=90-1000", some(&[(90, 10)])),
            ("bytes=00-09", some(&[(0, 10)])),
            ("bytes=0-99999999999999999999999", some(&[(0, 100)])),
            ("bytes=0-0, 5-9 ,\t-1", some(&[(0, 1), (5, 5), (99, 1)])),
            ("bytes=50-59,0-9", some(&[(50, 10), (0, 10)])),
            ("bytes=,0-9,,", some(&[(0, 10)])),
            ("bytes=200-,0-9", some(&[(0, 10)])),
            ("bytes=100-", Ranges::Unsatisfiable),
            ("bytes=-0", Ranges::Unsatisfiable),
            ("bytes=99999999999999999999999-", Ranges::Unsatisfiable),
            ("bytes=0-99,0-99", Ranges::Ignored),
            ("bytes=9-0", Ranges::Ignored),
            ("bytes=", Ranges::Ignored),
            ("bytes=-", Ranges::Ignored),
            ("bytes=a-b", Ranges::Ignored),
            ("bytes=0-9, a", Ranges::Ignored),
            ("bytes=+1-9", Ranges::Ignored),
            ("bytes 0-9", Ranges::Ignored),
            ("items=0-9", Ranges::Ignored),
            ("bytes= 0 - 9", Ranges::Ignored),
        ] {
            assert_eq!(ranges_of(value.as_bytes(), 100), expected, "{value:?}");
        }
        let many = format!("bytes={}", (0..17).map(|at| format!("{at}-{at},")).collect::<String>());
        assert_eq!(ranges_of(many.as_bytes(), 100), Ranges::Ignored);
    }

    #[test]
    fn empty_content_has_no_range() {
        for value in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(ranges_of(value.as_bytes(), 0), Ranges::Unsatisfiable, "{value}");
        }
    }
}
