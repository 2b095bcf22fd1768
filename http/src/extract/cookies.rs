//! Cookies (RFC 6265), with the types of the `cookie` crate.

use cookie::Cookie;
use http::header::{self, HeaderValue};

use crate::message::head::RequestHead;
use crate::message::response::Response;

/// # Cookies
impl RequestHead {
    /// Returns the cookies of the request, with percent-decoded names and values. What is not a cookie is skipped.
    ///
    /// ```
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: theme=dark; user=J%C3%BCrgen\r\n\r\n";
    /// let request = tidegate_http::Request::parse(head, "")?;
    /// let names: Vec<_> = request.cookies().map(|cookie| cookie.name().to_owned()).collect();
    /// assert_eq!(names, ["theme", "user"]);
    /// # Ok::<(), tidegate_http::protocol::RequestError>(())
    /// ```
    pub fn cookies(&self) -> impl Iterator<Item = Cookie<'_>> {
        let lines = self.values("cookie").filter_map(|line| std::str::from_utf8(line).ok());
        lines.flat_map(|line| Cookie::split_parse_encoded(line).filter_map(Result::ok))
    }

    /// Returns the value of the first cookie of this name, percent-decoded.
    ///
    /// ```
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: theme=dark; user=J%C3%BCrgen\r\n\r\n";
    /// let request = tidegate_http::Request::parse(head, "")?;
    /// assert_eq!(request.cookie("user").as_deref(), Some("J\u{fc}rgen"));
    /// assert_eq!(request.cookie("session"), None);
    /// # Ok::<(), tidegate_http::protocol::RequestError>(())
    /// ```
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies().find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
    }
}

/// # Cookies
impl Response {
    /// Adds a cookie, with percent-encoded name and value. `Cookie::build` sets its attributes.
    ///
    /// ```
    /// use http::header;
    /// use tidegate_http::Response;
    /// use tidegate_http::cookie::{Cookie, SameSite};
    ///
    /// let session = Cookie::build(("session", "a b")).path("/").http_only(true).secure(true).same_site(SameSite::Lax);
    /// let response = Response::text("welcome").with_cookie(session);
    /// let field = response.header(&header::SET_COOKIE).expect("a cookie");
    /// assert_eq!(field, "session=a%20b; HttpOnly; SameSite=Lax; Secure; Path=/");
    /// ```
    ///
    /// A cookie whose path or domain has a control character is not sent, and logged.
    pub fn with_cookie<'c>(mut self, cookie: impl Into<Cookie<'c>>) -> Response {
        let cookie = cookie.into();
        match HeaderValue::try_from(cookie.encoded().to_string()) {
            Ok(value) => self.append_header(header::SET_COOKIE, value),
            Err(_) => log::error!("cookie {:?} not sent: its attributes have a control character", cookie.name()),
        }
        self
    }

    /// Makes the client delete a cookie that was set for this path: sets it to nothing, with an expiry in the past.
    ///
    /// ```
    /// use tidegate_http::Response;
    /// let response = Response::text("goodbye").without_cookie("session", "/");
    /// ```
    pub fn without_cookie(self, name: &str, path: &str) -> Response {
        let mut cookie = Cookie::build((name, "")).path(path).build();
        cookie.make_removal();
        self.with_cookie(cookie)
    }
}
