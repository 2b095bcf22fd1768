//! The check of text that comes in pieces (the table of RFC 3629 section 4).

use super::{InvalidUtf8, check_utf8};

/// Checks a text that arrives in pieces. Every byte is looked at once, wherever the pieces are cut.
///
/// ```
/// use tidegate_websocket::protocol::Utf8Validator;
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

/// The bytes that can come next (the table of RFC 3629 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expecting {
    /// The first byte of a character, or the end.
    #[default]
    Lead,
    /// A continuation byte from `low` to `high`, then `more` of 0x80-0xBF.
    Continuation { low: u8, high: u8, more: u8 },
}

impl Utf8Validator {
    /// Returns a validator at the start of a text.
    #[must_use]
    pub const fn new() -> Self {
        Self { expecting: Expecting::Lead }
    }

    /// Checks the next piece, which can end inside a character. After an error the validator must not be used again.
    ///
    /// # Errors
    /// [`InvalidUtf8`] as soon as a byte cannot continue the text, whatever follows.
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

    /// Returns whether the text so far ends with a whole character.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.expecting, Expecting::Lead)
    }
}

impl Expecting {
    /// Returns the state after `byte`.
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

/// Returns where the last character of `bytes` starts if it is incomplete, otherwise the length.
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

/// Returns the length in bytes of the character that begins with `lead`.
pub(crate) const fn character_len(lead: u8) -> usize {
    match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters at the edges of every row of RFC 3629's table, and an ordinary one.
    const EDGES: &str =
        "a\u{7f}\u{80}\u{7ff}\u{800}\u{fff}\u{1000}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{3ffff}\u{40000}\u{10ffff}";

    /// Invalid UTF-8, and the number of its bytes that show it.
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
    fn only_an_incomplete_last_character_is_cut() {
        for (bytes, start) in [
            (&b""[..], 0),
            (b"a", 1),
            (b"\xC3", 0),
            (b"\xC3\xBC", 2),
            (b"a\xE2\x82", 1),
            (b"a\xE2", 1),
            (b"\xE2\x82\xAC", 3),
            (b"a\xF0\x9D\x84", 1),
            (b"\xF0\x9D\x84\x9E", 4),
            (b"\xF0\x9D\x84\x9E\xF0", 4),
            // Not UTF-8: no character starts in the last three bytes.
            (b"\x80\x80\x80\x80", 4),
        ] {
            assert_eq!(cut_character_start(bytes), start, "{bytes:x?}");
        }
    }

    #[test]
    fn every_sequence_of_two_bytes_and_leads_of_three_agree_with_the_standard_library() {
        // All sequences take minutes under miri.
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
}
