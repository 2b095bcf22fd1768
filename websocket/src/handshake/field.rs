//! Header fields: single values, and comma-separated lists over one line or several (RFC 9110 section 5.6.1).

use http::{HeaderMap, HeaderName};
use tidegate_http::__private::list_elements;
pub(crate) use tidegate_http::__private::{Host, split_host, token};
use tidegate_http::RequestHead;

/// The fields of a request or a response: in an [`http::HeaderMap`], or in a [`RequestHead`] as they were received,
/// which needs no map. An HTTP layer with another type of head implements it:
///
/// ```
/// use http::HeaderName;
/// use tidegate_websocket::handshake::{Fields, is_websocket_request};
///
/// struct Lines(Vec<(String, String)>);
///
/// impl Fields for Lines {
///     fn values<'f>(&'f self, name: &'f HeaderName) -> impl Iterator<Item = &'f [u8]> {
///         let lines = self.0.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_str()));
///         lines.map(|(_, value)| value.as_bytes())
///     }
/// }
///
/// assert!(is_websocket_request(&Lines(vec![("Upgrade".to_owned(), "websocket".to_owned())])));
/// ```
pub trait Fields {
    /// Returns the values of all fields of this name, in order.
    fn values<'f>(&'f self, name: &'f HeaderName) -> impl Iterator<Item = &'f [u8]>;
}

impl Fields for HeaderMap {
    fn values<'f>(&'f self, name: &'f HeaderName) -> impl Iterator<Item = &'f [u8]> {
        self.get_all(name).iter().map(|value| value.as_bytes())
    }
}

impl Fields for RequestHead {
    fn values<'f>(&'f self, name: &'f HeaderName) -> impl Iterator<Item = &'f [u8]> {
        RequestHead::values(self, name.as_str())
    }
}

/// Returns the elements of a list field over all of its lines, without empty ones.
pub(super) fn list<'f, F: Fields>(fields: &'f F, name: &'f HeaderName) -> impl Iterator<Item = &'f [u8]> {
    fields.values(name).flat_map(list_elements)
}

/// Returns whether the list field contains this token, in any case.
pub(super) fn contains_token<F: Fields>(fields: &F, name: &HeaderName, token: &str) -> bool {
    list(fields, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// The value of a field that must occur exactly once.
pub(super) enum Once<'f> {
    Missing,
    Value(&'f [u8]),
    Repeated,
}

pub(super) fn once<'f, F: Fields>(fields: &'f F, name: &'f HeaderName) -> Once<'f> {
    let mut values = fields.values(name);
    match (values.next(), values.next()) {
        (None, _) => Once::Missing,
        (Some(value), None) => Once::Value(value),
        (Some(_), Some(_)) => Once::Repeated,
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CONNECTION, HOST, UPGRADE};
    use tidegate_http::Request;

    use super::*;

    #[test]
    fn the_fields_of_a_received_head_are_those_of_a_map() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nconnection: keep-alive\r\nConnection: x, Upgrade\r\n\r\n";
        let request = Request::parse(head, "").expect("valid");
        let lines = [b"keep-alive".as_slice(), b"x, Upgrade"];
        assert!(Fields::values(request.head(), &CONNECTION).eq(lines));
        assert!(Fields::values(request.head().headers(), &CONNECTION).eq(lines));
        assert!(contains_token(request.head(), &CONNECTION, "upgrade"));
        assert!(!contains_token(request.head(), &CONNECTION, "grade"));
        assert!(matches!(once(request.head(), &HOST), Once::Value(b"a")));
        assert!(matches!(once(request.head(), &CONNECTION), Once::Repeated));
        assert!(matches!(once(request.head(), &UPGRADE), Once::Missing));
    }
}
