//! UTF-8, checked as it arrives (RFC 6455 sections 5.6 and 8.1).
//!
//! [`Utf8Validator`] checks bytes that come in pieces and fails at the first byte that cannot be part of UTF-8, even in
//! the middle of a character. `TextBuffer` gathers pieces through it. [`Text`] is bytes that passed.
//!
//! Invariant of `Text`: its bytes are UTF-8. Only this module can make one, and `Bytes` are immutable. That is what
//! its one `unsafe` block relies on; without it every use of a text as a `str` would check all of it again.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use thiserror::Error;

use crate::buffer_pool;
use crate::protocol::assembler::reserve_for_arrival;

/// The bytes are not UTF-8, or, at the end of a text, stop inside a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the text is not UTF-8")]
pub struct InvalidUtf8;

/// Text known to be UTF-8: a reference-counted `str` over [`Bytes`], cheap to clone and to send between threads.
///
/// ```
/// use tidegate_websocket::Text;
/// let text = Text::from("tide");
/// assert!(text.starts_with("ti"));
/// assert!(Text::from_utf8(b"\xFF".as_slice()).is_err());
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    /// The empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// A text that lives as long as the program, without allocating.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Checks `bytes` once and keeps them, without copying them.
    ///
    /// # Errors
    /// [`InvalidUtf8`].
    pub fn from_utf8(bytes: impl Into<Bytes>) -> Result<Self, InvalidUtf8> {
        let bytes = bytes.into();
        check_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// Checks `bytes` once and copies them.
    ///
    /// # Errors
    /// [`InvalidUtf8`].
    pub fn copy_from_utf8(bytes: &[u8]) -> Result<Self, InvalidUtf8> {
        check_utf8(bytes)?;
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }

    /// The text; free of charge.
    #[must_use]
    #[inline]
    #[allow(unsafe_code, reason = "the one place; see the module documentation")]
    pub fn as_str(&self) -> &str {
        // SAFETY: every way to make a `Text` (`new`, `from_static`, `from_utf8`, `copy_from_utf8`, the `From`
        // conversions of `str` and `String`, `TextBuffer::finish`) starts from a `str` or from bytes that passed
        // simdutf8 or a `Utf8Validator` to the end of a character. The field is private to this module, nothing in
        // it changes the field, and `Bytes` gives no mutable access to its contents.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// The text's bytes, shared; no copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Text {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// Checks a whole text at memory speed.
///
/// # Errors
/// [`InvalidUtf8`].
#[inline]
pub fn check_utf8(bytes: &[u8]) -> Result<(), InvalidUtf8> {
    simdutf8::basic::from_utf8(bytes).map(|_| ()).map_err(|_| InvalidUtf8)
}

/// Checks a text that comes in pieces: every byte is looked at once, wherever the pieces are cut.
///
/// ```
/// use tidegate_websocket::Utf8Validator;
/// let mut validator = Utf8Validator::new();
/// validator.push(&[0xE2, 0x82])?; // the first two bytes of a euro sign
/// assert!(!validator.is_complete());
/// validator.push(&[0xAC])?;
/// assert!(validator.is_complete());
/// # Ok::<(), tidegate_websocket::InvalidUtf8>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Utf8Validator {
    expecting: Expecting,
}

/// What may come next (the table of RFC 3629 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expecting {
    /// The first byte of a character, or the end.
    #[default]
    Lead,
    /// A continuation byte from `low` to `high`, then `more` of 0x80-0xBF.
    Continuation { low: u8, high: u8, more: u8 },
}

impl Utf8Validator {
    /// A validator at the start of a text.
    #[must_use]
    pub const fn new() -> Self {
        Self { expecting: Expecting::Lead }
    }

    /// Checks the next piece; it may end inside a character. After an error the validator is of no more use.
    ///
    /// # Errors
    /// [`InvalidUtf8`] as soon as a byte cannot continue the text, whatever may follow.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let mut rest = piece;
        while let (Expecting::Continuation { .. }, [byte, after @ ..]) = (self.expecting, rest) {
            self.expecting = self.expecting.step(*byte)?;
            rest = after;
        }
        let (whole, cut) = rest.split_at(cut_character_start(rest));
        check_utf8(whole)?;
        for byte in cut {
            self.expecting = self.expecting.step(*byte)?;
        }
        Ok(())
    }

    /// Does the text so far end with a whole character?
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.expecting, Expecting::Lead)
    }
}

impl Expecting {
    /// The state after `byte`.
    fn step(self, byte: u8) -> Result<Self, InvalidUtf8> {
        let (low, high, more) = match self {
            Self::Continuation { low, high, .. } if byte < low || byte > high => {
                return Err(InvalidUtf8);
            }
            Self::Continuation { more: 0, .. } => return Ok(Self::Lead),
            Self::Continuation { more, .. } => (0x80, 0xBF, more - 1),
            Self::Lead => match byte {
                0x00..=0x7F => return Ok(Self::Lead),
                0xC2..=0xDF => (0x80, 0xBF, 0),
                0xE0 => (0xA0, 0xBF, 1), // below: overlong
                0xED => (0x80, 0x9F, 1), // above: surrogates
                0xE1..=0xEF => (0x80, 0xBF, 1),
                0xF0 => (0x90, 0xBF, 2), // below: overlong
                0xF1..=0xF3 => (0x80, 0xBF, 2),
                0xF4 => (0x80, 0x8F, 2), // above: beyond U+10FFFF
                _ => return Err(InvalidUtf8),
            },
        };
        Ok(Self::Continuation { low, high, more })
    }
}

/// Where the last character of `bytes` starts if its lead byte promises more bytes than there are, else the length.
pub(crate) fn cut_character_start(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        if matches!(byte, 0x80..=0xBF) {
            continue;
        }
        if character_len(*byte) > back + 1 {
            return bytes.len() - back - 1;
        }
        break;
    }
    bytes.len()
}

/// Bytes of the character that begins with `lead`.
pub(crate) const fn character_len(lead: u8) -> usize {
    match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

/// A text being gathered from pieces, checked as they come; holds no heap until the first byte.
#[derive(Debug, Default)]
pub(crate) struct TextBuffer {
    bytes: Vec<u8>,
    validator: Utf8Validator,
}

impl TextBuffer {
    /// Checks and keeps a piece; `expected_bytes` more are expected after it, if that is known.
    pub(crate) fn push(&mut self, piece: &[u8], expected_bytes: Option<u64>) -> Result<(), InvalidUtf8> {
        self.validator.push(piece)?;
        reserve_for_arrival(&mut self.bytes, piece.len(), expected_bytes);
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The text, unless it stops inside a character.
    pub(crate) fn finish(self) -> Result<Text, InvalidUtf8> {
        if !self.validator.is_complete() {
            return Err(InvalidUtf8);
        }
        Ok(Text(buffer_pool::into_bytes(self.bytes)))
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters at the edges of every row of RFC 3629's table, and a plain one.
    const EDGES: &str =
        "a\u{7f}\u{80}\u{7ff}\u{800}\u{fff}\u{1000}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{3ffff}\u{40000}\u{10ffff}";

    /// Bytes that are no UTF-8, and how many of them are needed to know it.
    const BROKEN: &[(&[u8], usize)] = &[
        (b"\x80", 1),
        (b"\xbf", 1),
        (b"\xc0\x80", 1),
        (b"\xc1\xbf", 1),
        (b"\xc2\x41", 2),
        (b"\xe0\x9f\xbf", 2),
        (b"\xe1\x80\x41", 3),
        (b"\xed\xa0\x80", 2),
        (b"\xf0\x8f\xbf\xbf", 2),
        (b"\xf1\x80\x80\xc0", 4),
        (b"\xf4\x90\x80\x80", 2),
        (b"\xf5\x80\x80\x80", 1),
        (b"\xff", 1),
    ];

    /// The scalar twin: one byte at a time.
    fn is_utf8_scalar(bytes: &[u8]) -> bool {
        let stepped = bytes.iter().try_fold(Expecting::Lead, |state, byte| state.step(*byte));
        stepped == Ok(Expecting::Lead)
    }

    fn is_utf8_in_pieces(bytes: &[u8], piece_len: usize) -> bool {
        let mut validator = Utf8Validator::new();
        bytes.chunks(piece_len).all(|piece| validator.push(piece).is_ok()) && validator.is_complete()
    }

    #[test]
    fn every_cut_of_valid_text_passes() {
        let text = EDGES.repeat(if cfg!(miri) { 2 } else { 20 });
        for piece_len in 1..=text.len() {
            assert!(is_utf8_in_pieces(text.as_bytes(), piece_len), "pieces of {piece_len}");
        }
        assert!(is_utf8_scalar(text.as_bytes()));
    }

    #[test]
    fn the_first_impossible_byte_fails_wherever_the_pieces_are_cut() {
        for padding in [0, 1, 15, 63, 64, 130] {
            for (broken, needed) in BROKEN {
                let mut bytes = vec![b'x'; padding];
                bytes.extend_from_slice(&broken[..*needed]);
                assert!(Utf8Validator::new().push(&bytes).is_err(), "{broken:x?} after {padding}");
                for cut in 0..*needed {
                    let (head, tail) = bytes.split_at(padding + cut);
                    let mut validator = Utf8Validator::new();
                    assert!(validator.push(head).is_ok(), "{broken:x?} cut at {cut} fails early");
                    assert!(validator.push(tail).is_err(), "{broken:x?} cut at {cut} passes");
                }
            }
        }
    }

    #[test]
    fn every_sequence_of_two_bytes_and_leads_of_three_agree_with_the_standard_library() {
        // All of them take minutes under miri.
        let step = if cfg!(miri) { 11 } else { 1 };
        for first in (0..=u8::MAX).step_by(step) {
            for second in (0..=u8::MAX).step_by(step) {
                for tail in [&[][..], &[0x80], &[0xBF, 0x80], &[0x41]] {
                    let bytes = [&[first, second], tail].concat();
                    let expected = std::str::from_utf8(&bytes).is_ok();
                    assert_eq!(is_utf8_scalar(&bytes), expected, "{bytes:x?}");
                    for piece_len in 1..=bytes.len() {
                        assert_eq!(is_utf8_in_pieces(&bytes, piece_len), expected, "{bytes:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn texts_that_stop_inside_a_character_do_not_finish() {
        for text in ["é", "€", "𝄞"] {
            for len in 1..text.len() {
                let mut buffer = TextBuffer::default();
                buffer.push(&text.as_bytes()[..len], None).unwrap();
                assert_eq!(buffer.finish(), Err(InvalidUtf8));
            }
            let mut buffer = TextBuffer::default();
            for byte in text.as_bytes() {
                buffer.push(&[*byte], None).unwrap();
            }
            assert_eq!(buffer.finish().unwrap(), text);
        }
    }

    #[test]
    fn conversions_keep_the_text() {
        assert_eq!(Text::from(String::from("grün")), "grün");
        assert_eq!(Text::from_utf8(Bytes::from_static("grün".as_bytes())).unwrap(), "grün");
        assert_eq!(String::from(Text::from_static("grün")), "grün");
        assert_eq!(format!("{} {:?}", Text::from("a"), Text::from("b")), "a \"b\"");
        assert_eq!(Text::new().len(), 0);
        assert_eq!(Text::copy_from_utf8(&[0xC3]), Err(InvalidUtf8));
    }
}
