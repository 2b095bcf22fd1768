//! UTF-8, checked as it arrives (RFC 6455 sections 5.6 and 8.1).
//!
//! [`Utf8Validator`] checks bytes that arrive in pieces and fails at the first byte that cannot be part of UTF-8, even
//! inside a character. `TextBuffer` assembles pieces through it. [`Text`] holds bytes that have passed.

mod text;
mod text_buffer;
mod validator;

use thiserror::Error;

pub use text::Text;
pub(crate) use text_buffer::TextBuffer;
pub use validator::Utf8Validator;
pub(crate) use validator::{character_len, cut_character_start};

/// The bytes are not UTF-8, or the text ends inside a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the text is not UTF-8")]
pub struct InvalidUtf8;

/// Checks a whole text at memory speed.
///
/// # Errors
/// [`InvalidUtf8`].
#[inline]
pub fn check_utf8(bytes: &[u8]) -> Result<(), InvalidUtf8> {
    simdutf8::basic::from_utf8(bytes).map(|_| ()).map_err(|_| InvalidUtf8)
}
