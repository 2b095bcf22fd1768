//! Responses of common kinds: a page, a redirection.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::message::response::{Response, ResponseBody};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What cannot stand in a URI reference as it is. A percent sign can: it begins what is encoded already.
const NOT_IN_A_URI: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

/// # Kinds of responses
impl Response {
    /// Creates a 200 with a page, as `text/html; charset=utf-8`. Static text is not copied.
    ///
    /// The text is sent as it is: escape what comes from users.
    pub fn html(html: impl Into<Bytes>) -> Response {
        let body = ResponseBody::Bytes(html.into());
        Response::new(StatusCode::OK).with_header(header::CONTENT_TYPE, HTML).with_body(body)
    }

    /// Creates a 303 (See Other), which sends the client to another place with GET, whatever it did here. Choose
    /// another status with [`with_status`](Response::with_status): 307 and 308 keep the method, 301 and 308 are
    /// permanent (RFC 9110 section 15.4).
    ///
    /// `location` is a URI or a path. Characters that cannot stand in one are percent-encoded. One that comes from
    /// users must be checked: `//example.com` and `https://example.com` lead elsewhere.
    ///
    /// ```
    /// use http::{StatusCode, header};
    /// use tidegate_http::Response;
    ///
    /// let response = Response::redirect("/caf\u{e9}?page=2").with_status(StatusCode::PERMANENT_REDIRECT);
    /// assert_eq!(response.header(&header::LOCATION).expect("a location"), "/caf%C3%A9?page=2");
    /// ```
    pub fn redirect(location: impl AsRef<str>) -> Response {
        let location = utf8_percent_encode(location.as_ref(), NOT_IN_A_URI).to_string();
        // What is left is printable ASCII, which is valid in a field value.
        let location = HeaderValue::try_from(location).unwrap_or(const { HeaderValue::from_static("/") });
        Response::new(StatusCode::SEE_OTHER).with_header(header::LOCATION, location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_location_can_be_sent() {
        for (location, sent) in [
            ("/a?b=c&d=%20#e", "/a?b=c&d=%20#e"),
            ("https://example.com:8443/[x]", "https://example.com:8443/[x]"),
            ("/a b\r\nSet-Cookie: c\u{7f}", "/a%20b%0D%0ASet-Cookie:%20c%7F"),
            ("/\u{fc}", "/%C3%BC"),
            ("", ""),
        ] {
            let response = Response::redirect(location);
            assert_eq!(response.header(&header::LOCATION).unwrap(), sent, "{location}");
        }
        assert_eq!(Response::redirect("/").status(), 303);
    }
}
