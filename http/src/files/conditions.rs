//! Conditional requests (RFC 9110 section 13), and the other fields of a request that decide about its answer.

use std::time::SystemTime;

use crate::field::list_elements;
use crate::message::request::Request;

/// The fields of a request that decide about its answer, found in one pass.
#[derive(Debug, Default)]
pub(super) struct Conditions<'a> {
    if_match: Option<&'a [u8]>,
    if_none_match: Option<&'a [u8]>,
    if_modified_since: Option<&'a [u8]>,
    if_unmodified_since: Option<&'a [u8]>,
    if_range: Option<&'a [u8]>,
    range: Option<&'a [u8]>,
    /// A field has several lines. Those after the first are looked up when they are needed.
    has_lists: bool,
}

/// What the conditions demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The content, or parts of it.
    Send,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client expects.
    Failed,
}

/// What identifies a version of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validators<'a> {
    /// A strong entity tag, with its quotation marks.
    pub(super) etag: &'a [u8],
    /// The value of Last-Modified.
    pub(super) last_modified: &'a [u8],
    /// The same, in seconds since 1970.
    pub(super) modified_seconds: u64,
}

impl<'a> Conditions<'a> {
    pub(super) fn of(request: &'a Request) -> Conditions<'a> {
        let mut conditions = Conditions::default();
        for (name, value) in request.fields() {
            // The lengths differ from those of nearly all other fields.
            let place = match name.len() {
                5 if name.eq_ignore_ascii_case("range") => &mut conditions.range,
                8 if name.eq_ignore_ascii_case("if-match") => &mut conditions.if_match,
                8 if name.eq_ignore_ascii_case("if-range") => &mut conditions.if_range,
                13 if name.eq_ignore_ascii_case("if-none-match") => &mut conditions.if_none_match,
                17 if name.eq_ignore_ascii_case("if-modified-since") => &mut conditions.if_modified_since,
                19 if name.eq_ignore_ascii_case("if-unmodified-since") => &mut conditions.if_unmodified_since,
                _ => continue,
            };
            conditions.has_lists |= place.is_some();
            place.get_or_insert(value);
        }
        conditions
    }

    /// Judges the conditions in the order of RFC 9110 section 13.2.2.
    pub(super) fn judge(&self, request: &Request, validators: &Validators<'_>) -> Verdict {
        if let Some(tags) = self.if_match {
            if !self.any_tag(request, "if-match", tags, |tag| tag == validators.etag) {
                return Verdict::Failed;
            }
        } else if let Some(date) = self.if_unmodified_since.and_then(seconds_of)
            && validators.modified_seconds > date
        {
            return Verdict::Failed;
        }
        if let Some(tags) = self.if_none_match {
            if self.any_tag(request, "if-none-match", tags, |tag| without_weakness(tag) == validators.etag) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = self.if_modified_since.and_then(seconds_of)
            && validators.modified_seconds <= date
        {
            return Verdict::NotModified;
        }
        Verdict::Send
    }

    /// Returns the Range field, if it is one and its condition holds (RFC 9110 section 13.1.5).
    pub(super) fn range(&self, validators: &Validators<'_>) -> Option<&'a [u8]> {
        let range = self.range.filter(|_| !self.has_lists)?;
        let holds = match self.if_range {
            None => true,
            // A date must be exactly that of the file, as a tag must.
            Some(condition) => condition == validators.etag || condition == validators.last_modified,
        };
        holds.then_some(range)
    }

    /// Returns whether a list of tags has `*` or one that matches.
    fn any_tag(&self, request: &Request, name: &str, first: &[u8], matches: impl Fn(&[u8]) -> bool) -> bool {
        // A foreign tag with a comma falls into parts that lack a quotation mark, and so match no tag of a file.
        let matches = |tag: &[u8]| tag == b"*" || matches(tag);
        match self.has_lists {
            false => list_elements(first).any(matches),
            true => request.values(name).flat_map(list_elements).any(matches),
        }
    }
}

fn without_weakness(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Reads a date, in seconds since 1970. An invalid one is ignored, as the RFC demands.
fn seconds_of(value: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    Some(date.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn check<T>(fields: &[&str], ask: impl Fn(&Conditions<'_>, &Request, &Validators<'_>) -> T) -> T {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let request = Request::parse(request.as_bytes(), "").expect("valid");
        let validators = Validators { etag: b"\"a\"", last_modified: DATE.as_bytes(), modified_seconds: 784_111_777 };
        ask(&Conditions::of(&request), &request, &validators)
    }

    fn verdict(fields: &[&str]) -> Verdict {
        check(fields, |conditions, request, validators| conditions.judge(request, validators))
    }

    #[test]
    fn conditions_are_judged_in_the_order_of_the_rfc() {
        use Verdict::{Failed, NotModified, Send};
        let since = |date: &str| format!("If-Modified-Since: {date}");
        let unmodified = |date: &str| format!("If-Unmodified-Since: {date}");
        for (fields, expected) in [
            (vec![], Send),
            (vec!["If-None-Match: \"a\""], NotModified),
            (vec!["If-None-Match: W/\"a\""], NotModified),
            (vec!["If-None-Match: \"b\", W/\"c\" ,\"a\""], NotModified),
            (vec!["If-None-Match: \"b\"", "If-None-Match: \"a\""], NotModified),
            (vec!["If-None-Match: *"], NotModified),
            (vec!["If-None-Match: \"b\""], Send),
            (vec!["If-None-Match: a"], Send),
            (vec!["If-None-Match: \"x,a\""], Send),
            (vec!["If-Match: \"a\""], Send),
            (vec!["If-Match: *"], Send),
            (vec!["If-Match: W/\"a\""], Failed),
            (vec!["If-Match: \"b\""], Failed),
            (vec!["If-Match: \"b\"", "If-Match: \"a\""], Send),
            (vec!["If-Match: \"a\"", "If-None-Match: \"a\""], NotModified),
            (vec![&since(DATE)], NotModified),
            (vec![&since(LATER)], NotModified),
            (vec![&since(EARLIER)], Send),
            (vec![&since("Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
            (vec![&since("yesterday")], Send),
            (vec!["If-None-Match: \"b\"", &since(DATE)], Send),
            (vec![&unmodified(DATE)], Send),
            (vec![&unmodified(EARLIER)], Failed),
            (vec![&unmodified("yesterday")], Send),
            (vec!["If-Match: \"a\"", &unmodified(EARLIER)], Send),
        ] {
            assert_eq!(verdict(&fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_range_has_its_own_condition() {
        let has_range =
            |fields: &[&str]| check(fields, |conditions, _, validators| conditions.range(validators).is_some());
        assert!(has_range(&["Range: bytes=0-1"]));
        assert!(has_range(&["Range: bytes=0-1", "If-Range: \"a\""]));
        assert!(has_range(&["Range: bytes=0-1", &format!("If-Range: {DATE}")]));
        for condition in ["\"b\"", "W/\"a\"", LATER, EARLIER] {
            assert!(!has_range(&["Range: bytes=0-1", &format!("If-Range: {condition}")]), "{condition}");
        }
        assert!(!has_range(&["Range: bytes=0-1", "Range: bytes=2-3"]));
        assert!(!has_range(&["If-Range: \"a\""]));
    }
}
