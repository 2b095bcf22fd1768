//! The fields of a request that determine its framing, its connection, and its expectations.
//!
//! Owns the rules for fields of RFC 9112 sections 6.1, 6.3, 9.3 and 9.6, and RFC 9110 sections 7.2, 7.6.1, 7.8 and
//! 10.1.1: Host, Content-Length, Transfer-Encoding, Connection, Upgrade and Expect. `parse` notes each field once, in
//! order, and then draws the conclusion.

use http::Version;

use crate::error::RequestError;
use crate::field::list_elements;
use crate::limits::Limits;
use crate::message::conclusion::{Conclusion, RequestFraming};
use crate::protocol::target::is_host;

/// The facts from the fields noted so far.
#[derive(Debug, Default)]
pub(crate) struct HeaderFacts {
    host_index: Option<usize>,
    content_length: Option<u64>,
    codings: Codings,
    options: ConnectionOptions,
    expect: ExpectField,
    upgrade: bool,
}

/// The transfer codings in their order, over all fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Codings {
    #[default]
    Absent,
    /// The field is present and names no coding.
    Empty,
    /// Codings other than chunked.
    NotChunked,
    /// chunked alone.
    Chunked,
    /// Others, then chunked.
    OthersAndChunked,
    /// Something follows chunked.
    AfterChunked,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ExpectField {
    #[default]
    Absent,
    /// `100-continue`.
    Continue,
    Unsupported,
}

/// The options of Connection that a server acts on.
#[derive(Debug, Default, Clone, Copy)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl HeaderFacts {
    /// Notes one field. `index` is its position among the fields.
    #[inline]
    pub(crate) fn note(&mut self, index: usize, name: &[u8], value: &[u8]) -> Result<(), RequestError> {
        // The length rules out nearly every other field with one comparison.
        match name.len() {
            4 if equals_lower(name, b"host") => self.note_host(index, value),
            6 if equals_lower(name, b"expect") => {
                for expectation in list_elements(value) {
                    self.expect = match self.expect {
                        ExpectField::Unsupported => ExpectField::Unsupported,
                        _ if expectation.eq_ignore_ascii_case(b"100-continue") => ExpectField::Continue,
                        _ => ExpectField::Unsupported,
                    };
                }
                Ok(())
            }
            7 if equals_lower(name, b"upgrade") => {
                self.upgrade |= list_elements(value).next().is_some();
                Ok(())
            }
            10 if equals_lower(name, b"connection") => {
                self.note_connection(value);
                Ok(())
            }
            14 if equals_lower(name, b"content-length") => self.note_length(value),
            17 if equals_lower(name, b"transfer-encoding") => {
                self.note_codings(value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Returns the position of the Host field among the fields.
    pub(crate) fn host_index(&self) -> Option<usize> {
        self.host_index
    }

    /// Draws the conclusion once all fields are noted.
    pub(crate) fn conclude(&self, version: Version, limits: &Limits) -> Result<Conclusion, RequestError> {
        let is_10 = version == Version::HTTP_10;
        // RFC 9112 section 3.2: required in HTTP/1.1.
        if self.host_index.is_none() && !is_10 {
            return Err(RequestError::HostMissing);
        }
        let framing = self.framing(is_10, limits)?;
        // RFC 9110 section 10.1.1: ignored in HTTP/1.0.
        if self.expect == ExpectField::Unsupported && !is_10 {
            return Err(RequestError::Expectation);
        }
        Ok(Conclusion {
            framing,
            // RFC 9112 section 9.3.
            persistent: !self.options.close && (!is_10 || self.options.keep_alive),
            expects_continue: self.expect == ExpectField::Continue && !is_10 && framing != RequestFraming::None,
            // RFC 9110 section 7.8: ignored in HTTP/1.0, and without the connection option.
            upgrade: self.upgrade && self.options.upgrade && !is_10,
        })
    }

    /// Returns the framing by RFC 9112 section 6.3, for requests.
    fn framing(&self, is_10: bool, limits: &Limits) -> Result<RequestFraming, RequestError> {
        if self.codings != Codings::Absent && is_10 {
            return Err(RequestError::TransferEncodingIn10);
        }
        if self.codings != Codings::Absent && self.content_length.is_some() {
            return Err(RequestError::TransferEncodingWithLength);
        }
        match self.codings {
            Codings::Absent => {}
            Codings::Chunked => return Ok(RequestFraming::Chunked),
            Codings::OthersAndChunked => return Err(RequestError::TransferCodingUnsupported),
            Codings::Empty | Codings::NotChunked | Codings::AfterChunked => {
                return Err(RequestError::TransferEncodingNotChunked);
            }
        }
        match self.content_length {
            None | Some(0) => Ok(RequestFraming::None),
            Some(length) if length > limits.body_bytes_max => Err(RequestError::BodyTooLarge),
            Some(length) => Ok(RequestFraming::Length(length)),
        }
    }

    fn note_host(&mut self, index: usize, value: &[u8]) -> Result<(), RequestError> {
        // RFC 9112 section 3.2: more than one, or an invalid one, must be refused with 400.
        if self.host_index.replace(index).is_some() {
            return Err(RequestError::HostRepeated);
        }
        if is_host(value) { Ok(()) } else { Err(RequestError::HostInvalid) }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), RequestError> {
        if self.content_length.is_some() {
            return Err(RequestError::ContentLengthRepeated);
        }
        // RFC 9110 section 8.6: digits only. A list of equal numbers can be refused, and is.
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(RequestError::ContentLength);
        }
        let length =
            value.iter().try_fold(0_u64, |length, digit| length.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
        // A number that does not fit is valid, and above any limit.
        self.content_length = Some(length.ok_or(RequestError::BodyTooLarge)?);
        Ok(())
    }

    fn note_codings(&mut self, value: &[u8]) {
        if self.codings == Codings::Absent {
            self.codings = Codings::Empty;
        }
        for coding in list_elements(value) {
            let chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.codings = match self.codings {
                Codings::Absent | Codings::Empty if chunked => Codings::Chunked,
                Codings::Absent | Codings::Empty => Codings::NotChunked,
                Codings::NotChunked if chunked => Codings::OthersAndChunked,
                Codings::NotChunked => Codings::NotChunked,
                Codings::Chunked | Codings::OthersAndChunked | Codings::AfterChunked => Codings::AfterChunked,
            };
        }
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in list_elements(value) {
            self.options.close |= equals_lower(option, b"close");
            self.options.keep_alive |= equals_lower(option, b"keep-alive");
            self.options.upgrade |= equals_lower(option, b"upgrade");
        }
    }
}

/// Returns whether `bytes` equal `lower`, which is in lower case, ignoring case. The known length makes it a few
/// comparisons of words, where `eq_ignore_ascii_case` takes one step per byte.
#[inline]
fn equals_lower<const N: usize>(bytes: &[u8], lower: &[u8; N]) -> bool {
    let Ok(bytes) = <&[u8; N]>::try_from(bytes) else { return false };
    let mut difference = 0;
    for (byte, lower) in bytes.iter().zip(lower) {
        let case = if lower.is_ascii_lowercase() { 0x20 } else { 0 };
        difference |= (byte | case) ^ lower;
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_ignoring_the_case_of_letters_only() {
        const NAME: &[u8; 17] = b"transfer-encoding";
        for position in 0..NAME.len() {
            for byte in 0..=u8::MAX {
                let mut other = *NAME;
                other[position] = byte;
                assert_eq!(equals_lower(&other, NAME), other.eq_ignore_ascii_case(NAME), "{byte} at {position}");
            }
            assert!(!equals_lower(&NAME[..position], NAME));
        }
        assert!(!equals_lower(b"transfer-encoding ", NAME));
    }

    fn conclude(version: Version, fields: &[(&str, &str)]) -> Result<Conclusion, RequestError> {
        let mut facts = HeaderFacts::default();
        for (index, (name, value)) in fields.iter().enumerate() {
            facts.note(index, name.as_bytes(), value.as_bytes())?;
        }
        facts.conclude(version, &Limits::default())
    }

    fn framing(fields: &[(&str, &str)]) -> Result<RequestFraming, RequestError> {
        let mut all = vec![("Host", "a")];
        all.extend(fields);
        conclude(Version::HTTP_11, &all).map(|conclusion| conclusion.framing)
    }

    #[test]
    fn content_length() {
        assert_eq!(framing(&[]), Ok(RequestFraming::None));
        assert_eq!(framing(&[("content-length", "0")]), Ok(RequestFraming::None));
        assert_eq!(framing(&[("Content-Length", "12")]), Ok(RequestFraming::Length(12)));
        for value in ["", "+1", "-1", "1 2", "1,1", "0x1", "1a"] {
            assert_eq!(framing(&[("Content-Length", value)]), Err(RequestError::ContentLength), "{value}");
        }
        for values in [["5", "5"], ["5", "6"], ["0", "0"]] {
            assert_eq!(
                framing(&[("Content-Length", values[0]), ("content-length", values[1])]),
                Err(RequestError::ContentLengthRepeated)
            );
        }
        for value in ["104857601", "18446744073709551616"] {
            assert_eq!(framing(&[("Content-Length", value)]), Err(RequestError::BodyTooLarge));
        }
    }

    #[test]
    fn transfer_codings() {
        use RequestError as E;
        let codings = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| ("Transfer-Encoding", *value)).collect();
            framing(&fields)
        };
        assert_eq!(codings(&["Chunked"]), Ok(RequestFraming::Chunked));
        assert_eq!(codings(&[" , chunked ,"]), Ok(RequestFraming::Chunked));
        assert_eq!(codings(&["gzip, chunked"]), Err(E::TransferCodingUnsupported));
        assert_eq!(codings(&["gzip", "chunked"]), Err(E::TransferCodingUnsupported));
        for values in [
            &[""][..],
            &["identity"],
            &["chunked, gzip"],
            &["chunked", "identity"],
            &["chunked, chunked"],
            &["xchunked"],
            &["chunked;a=b"],
            &["gzip, chunked, chunked"],
        ] {
            assert_eq!(codings(values), Err(E::TransferEncodingNotChunked), "{values:?}");
        }
        let both = [("Transfer-Encoding", "chunked"), ("Content-Length", "1")];
        assert_eq!(framing(&both), Err(E::TransferEncodingWithLength));
        let old = [("Transfer-Encoding", "chunked")];
        assert_eq!(conclude(Version::HTTP_10, &old), Err(E::TransferEncodingIn10));
    }

    #[test]
    fn persistence() {
        let persistent =
            |version, value| conclude(version, &[("Host", "a"), ("Connection", value)]).expect("valid").persistent;
        assert!(persistent(Version::HTTP_11, "keep-alive"));
        assert!(persistent(Version::HTTP_11, "x"));
        assert!(!persistent(Version::HTTP_11, "x, Close"));
        assert!(!persistent(Version::HTTP_11, "keep-alive, close"));
        assert!(!persistent(Version::HTTP_10, "x"));
        assert!(persistent(Version::HTTP_10, "Keep-Alive"));
    }

    #[test]
    fn host_is_required_once() {
        assert_eq!(conclude(Version::HTTP_11, &[]), Err(RequestError::HostMissing));
        assert!(conclude(Version::HTTP_10, &[]).is_ok());
        let twice = [("Host", "a"), ("host", "a")];
        assert_eq!(conclude(Version::HTTP_11, &twice), Err(RequestError::HostRepeated));
        assert_eq!(conclude(Version::HTTP_10, &[("Host", "a b")]), Err(RequestError::HostInvalid));
    }

    #[test]
    fn expectations() {
        let expects = |version, value| {
            let fields = [("Host", "a"), ("Expect", value), ("Content-Length", "1")];
            conclude(version, &fields).map(|conclusion| conclusion.expects_continue)
        };
        assert_eq!(expects(Version::HTTP_11, "100-Continue"), Ok(true));
        assert_eq!(expects(Version::HTTP_11, "100-continue, ,100-continue"), Ok(true));
        assert_eq!(expects(Version::HTTP_11, ""), Ok(false));
        for value in ["a", "100-continue, a", "a, 100-continue", "100-continue;a"] {
            assert_eq!(expects(Version::HTTP_11, value), Err(RequestError::Expectation), "{value}");
        }
        assert_eq!(expects(Version::HTTP_10, "100-continue"), Ok(false));
        assert_eq!(expects(Version::HTTP_10, "a"), Ok(false));
        let without = conclude(Version::HTTP_11, &[("Host", "a"), ("Expect", "100-continue")]);
        assert_eq!(without.map(|c| c.expects_continue), Ok(false));
    }

    #[test]
    fn upgrades() {
        let upgrade = |version, fields: &[(&str, &str)]| {
            let mut all = vec![("Host", "a")];
            all.extend(fields);
            conclude(version, &all).expect("valid").upgrade
        };
        let fields = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket")];
        assert!(upgrade(Version::HTTP_11, &fields));
        assert!(!upgrade(Version::HTTP_10, &fields));
        assert!(!upgrade(Version::HTTP_11, &fields[1..]));
        assert!(!upgrade(Version::HTTP_11, &fields[..1]));
    }
}
