//! The Date field (RFC 9110 section 6.6.1), formatted once a second.
//!
//! Owns the formatted second. It reads no clock: the caller passes the time, and keeps one cache per thread.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The end of the year 9999, the last the format can hold. Only a broken clock is beyond it.
const SECONDS_MAX: u64 = 253_402_300_799;

/// A time as the 29 bytes of an IMF-fixdate (RFC 9110 section 5.6.7), such as `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Debug, Clone, Copy)]
pub struct HttpDate {
    /// The second since the epoch that the line names. Dates are equal if it is.
    seconds: u64,
    /// The whole field line of a response.
    line: [u8; LINE_BYTES],
}

impl PartialEq for HttpDate {
    fn eq(&self, other: &HttpDate) -> bool {
        self.seconds == other.seconds
    }
}

impl Eq for HttpDate {}

/// The length of the field line.
const LINE_BYTES: usize = NAME_BYTES + VALUE_BYTES + 2;
const NAME_BYTES: usize = b"date: ".len();
const VALUE_BYTES: usize = 29;

impl HttpDate {
    const EPOCH: HttpDate = HttpDate { seconds: 0, line: *b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" };

    /// Returns the bytes of the field value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.line[NAME_BYTES..NAME_BYTES + VALUE_BYTES]
    }

    /// Returns the field line with its name and CRLF.
    pub(crate) fn line(&self) -> &[u8; LINE_BYTES] {
        &self.line
    }
}

/// A cache of the last formatted second.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// let mut cache = tidegate_http::protocol::DateCache::new();
/// let date = cache.at(UNIX_EPOCH + Duration::from_secs(784_111_777));
/// assert_eq!(date.as_bytes(), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
#[derive(Debug, Clone)]
pub struct DateCache {
    date: HttpDate,
}

impl DateCache {
    /// Creates a cache that holds the epoch.
    pub const fn new() -> DateCache {
        DateCache { date: HttpDate::EPOCH }
    }

    /// Returns the date of a time. Formats it only if the second differs from that of the last call.
    pub fn at(&mut self, now: SystemTime) -> HttpDate {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().min(SECONDS_MAX));
        if seconds != self.date.seconds {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            if text.len() == VALUE_BYTES {
                self.date.line[NAME_BYTES..NAME_BYTES + VALUE_BYTES].copy_from_slice(text.as_bytes());
                self.date.seconds = seconds;
            }
        }
        self.date
    }
}

impl Default for DateCache {
    fn default() -> DateCache {
        DateCache::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_follow_the_clock_in_both_directions() {
        let mut cache = DateCache::new();
        let mut at = |millis| {
            let date = cache.at(UNIX_EPOCH + Duration::from_millis(millis));
            String::from_utf8(date.as_bytes().to_vec()).expect("text")
        };
        assert_eq!(at(999), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(1_000), "Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(at(1_999), "Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(at(951_782_400_000), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(at(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_broken_clock_does_not_panic() {
        let mut cache = DateCache::new();
        let before = cache.at(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(before.as_bytes(), b"Thu, 01 Jan 1970 00:00:00 GMT");
        let after = cache.at(UNIX_EPOCH + Duration::from_secs(SECONDS_MAX + 10));
        assert_eq!(after.as_bytes(), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
