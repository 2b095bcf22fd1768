//! Text known to be UTF-8.
//!
//! Invariant: the bytes of a [`Text`] are UTF-8. Only this file makes one, and `Bytes` are immutable. Its one `unsafe`
//! block relies on that; without it every use of a text as a `str` would check all of it again.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

use super::{InvalidUtf8, check_utf8};
use crate::buffer_pool;

/// Text known to be UTF-8: a reference-counted `str` over [`Bytes`], cheap to clone and to send to other threads.
///
/// ```
/// use tidegate_websocket::Text;
/// let text = Text::from("tide");
/// assert!(text.starts_with("ti"));
/// assert!(Text::from_utf8(b"\xFF".as_slice()).is_err());
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    /// Returns the empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// Returns a static text, without allocating.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Checks `bytes` and takes them over without a copy.
    ///
    /// # Errors
    /// [`InvalidUtf8`].
    pub fn from_utf8(bytes: impl Into<Bytes>) -> Result<Self, InvalidUtf8> {
        let bytes = bytes.into();
        check_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// Checks `bytes` and copies them.
    ///
    /// # Errors
    /// [`InvalidUtf8`].
    pub fn copy_from_utf8(bytes: &[u8]) -> Result<Self, InvalidUtf8> {
        check_utf8(bytes)?;
        Ok(Self(buffer_pool::copy(bytes)))
    }

    /// Takes bytes that a [`Utf8Validator`](super::Utf8Validator) has passed, to the end of a character.
    pub(super) fn from_validated(bytes: Bytes) -> Self {
        debug_assert!(check_utf8(&bytes).is_ok());
        Self(bytes)
    }

    /// Returns the text. This costs nothing.
    #[must_use]
    #[inline]
    #[allow(unsafe_code, reason = "the one place; see the module documentation")]
    pub fn as_str(&self) -> &str {
        // SAFETY: every way to make a `Text` (`new`, `from_static`, `from_utf8`, `copy_from_utf8`, the `From`
        // conversions of `str` and `String`, `from_validated`) starts from a `str` or from bytes that passed simdutf8
        // or, in `TextBuffer::finish`, the only caller of `from_validated`, a `Utf8Validator` to the end of a
        // character. The field is private to this file, nothing in it changes the field, and `Bytes` gives no mutable
        // access to its contents.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// Returns the bytes of the text, without a copy.
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

/// As `str`, so that a map of texts can be asked for a `str`. (`Bytes` hash differently.)
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(buffer_pool::copy(text.as_bytes()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_texts_finds_a_str() {
        let texts = std::collections::HashSet::from([Text::from("tide"), Text::new()]);
        assert!(texts.contains("tide") && texts.contains("") && !texts.contains("ebb"));
    }

    #[test]
    fn texts_compare_as_their_strings() {
        let (text, tide, ebb) = (Text::from("tide"), "tide", "ebb");
        assert!(text == tide && text == *tide);
        assert!(text != ebb && text != *ebb);
        let earlier = Text::from(ebb);
        assert!(text == Text::from_static("tide") && text > earlier);
    }

    #[test]
    fn conversions_keep_the_text() {
        assert_eq!(Text::from(String::from("grün")), "grün");
        assert_eq!(Text::from_utf8(Bytes::from_static("grün".as_bytes())).unwrap(), "grün");
        assert_eq!(String::from(Text::from_static("grün")), "grün");
        assert_eq!(format!("{} {:?}", Text::from("a"), Text::from("b")), "a \"b\"");
        assert_eq!(Text::new().len(), 0);
        assert_eq!(Text::copy_from_utf8(&[0xC3]), Err(InvalidUtf8));
        assert_eq!(Text::copy_from_utf8(&[0xC3, 0xBC]).unwrap(), "ü");
        let text = Text::from("grün");
        let (as_str, as_bytes): (&str, &[u8]) = (text.as_ref(), text.as_ref());
        assert_eq!((as_str, as_bytes), ("grün", "grün".as_bytes()));
        assert_eq!(text.clone().into_bytes(), "grün");
        assert_eq!(Bytes::from(text), "grün");
    }
}
