//! A response: status, fields and content.
//!
//! Writes no bytes: the protocol machine does, and it alone decides about Content-Length, Transfer-Encoding and
//! Connection. CR and LF cannot get into a head, because names and values have the types of the `http` crate.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use tidegate_engine::Connection;

use crate::field::contains_token;
use crate::message::content_stream::{ContentStream, ContentWriter, StreamError, WriterStream};
use crate::message::on_upgrade::OnUpgrade;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A response: status, fields and content. A handler returns it, or anything that implements
/// [`IntoResponse`](crate::IntoResponse).
///
/// ```
/// use http::{HeaderValue, StatusCode, header};
/// use tidegate_http::Response;
///
/// let response = Response::text("gone fishing")
///     .with_status(StatusCode::SERVICE_UNAVAILABLE)
///     .with_header(header::RETRY_AFTER, HeaderValue::from_static("120"));
/// assert_eq!(response.status(), 503);
/// ```
#[derive(Debug)]
#[must_use = "a response is sent only if a handler returns it"]
pub struct Response {
    status: StatusCode,
    /// Apart from the other fields: the common response allocates nothing for them.
    content_type: Option<HeaderValue>,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: ResponseBody,
}

/// The content of a response.
#[derive(Default)]
#[non_exhaustive]
pub enum ResponseBody {
    /// No content.
    #[default]
    Empty,
    /// The whole content.
    Bytes(Bytes),
    /// Content that is produced while it is sent.
    Stream(Box<dyn ContentStream>),
    /// No content: the connection continues with another protocol.
    Upgrade(OnUpgrade),
}

impl Response {
    /// Creates a response with a status and no content.
    pub fn new(status: StatusCode) -> Response {
        Response { status, content_type: None, fields: Vec::new(), body: ResponseBody::Empty }
    }

    /// Creates a 200 with text, as `text/plain; charset=utf-8`. Static text is not copied.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Response {
        let bytes = match text.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        Response::with_content(TEXT, bytes)
    }

    /// Creates a 200 with encoded JSON, as `application/json`.
    pub fn json_bytes(json: impl Into<Bytes>) -> Response {
        Response::with_content(JSON, json.into())
    }

    /// Creates a 200 with bytes, as `application/octet-stream`.
    pub fn bytes(bytes: impl Into<Bytes>) -> Response {
        Response::with_content(OCTETS, bytes.into())
    }

    /// Creates a 200 with content that an async function writes while it is sent, at the peer's pace.
    ///
    /// ```
    /// use tidegate_http::Response;
    ///
    /// let response = Response::stream(|mut writer| async move {
    ///     for number in 0..1000 {
    ///         writer.write(format!("{number}\n")).await;
    ///     }
    ///     Ok(())
    /// });
    /// assert_eq!(response.status(), 200);
    /// ```
    pub fn stream<F, Fut>(produce: F) -> Response
    where
        F: FnOnce(ContentWriter) -> Fut,
        Fut: Future<Output = Result<(), StreamError>> + 'static,
    {
        let body = ResponseBody::Stream(Box::new(WriterStream::new(produce)));
        Response::new(StatusCode::OK).with_body(body)
    }

    /// Creates a 101 that upgrades the connection to another protocol (RFC 9110 section 7.8): once it is sent, HTTP
    /// has ended and `run` owns the connection. `protocol` is the value of Upgrade. Bytes that the peer sent right
    /// after its request are received first.
    ///
    /// If the peer did not ask for an upgrade, see [`RequestHead::wants_upgrade`](crate::RequestHead::wants_upgrade),
    /// 426 is sent instead; if content of the request is unread, 400.
    ///
    /// ```
    /// use http::HeaderValue;
    /// use tidegate_http::{Request, Response, Router};
    ///
    /// let app = Router::new().get("/echo", |_req: Request| async {
    ///     Response::upgrade(HeaderValue::from_static("echo"), |mut connection| async move {
    ///         while let Ok(Some(chunk)) = connection.receive().await {
    ///             if connection.sender().send(chunk.into_vec()).await.is_err() {
    ///                 break;
    ///             }
    ///         }
    ///     })
    /// });
    /// ```
    pub fn upgrade<F, Fut>(protocol: HeaderValue, run: F) -> Response
    where
        F: FnOnce(Connection) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        Response::new(StatusCode::SWITCHING_PROTOCOLS)
            .with_header(header::UPGRADE, protocol)
            .with_body(ResponseBody::Upgrade(OnUpgrade::new(run)))
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the value of the first field of this name.
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields().find(|field| field.0 == name).map(|field| field.1)
    }

    /// Returns all fields in the order in which they are sent, without those that the server adds.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let content_type = self.content_type.as_ref();
        content_type
            .map(|value| (&header::CONTENT_TYPE, value))
            .into_iter()
            .chain(self.fields.iter().map(|(name, value)| (name, value)))
    }

    /// Makes room for this many more fields.
    #[cfg(any(feature = "tower", feature = "files"))]
    pub(crate) fn reserve_fields(&mut self, count: usize) {
        self.fields.reserve(count);
    }

    pub(crate) fn content_type(&self) -> Option<&HeaderValue> {
        self.content_type.as_ref()
    }

    /// Returns all fields except Content-Type.
    pub(crate) fn other_fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }

    /// Returns whether the handler set `Connection: close`.
    pub(crate) fn has_close_option(&self) -> bool {
        self.fields
            .iter()
            .any(|(name, value)| *name == header::CONNECTION && contains_token(value.as_bytes(), b"close"))
    }

    /// Returns the content.
    pub fn body(&self) -> &ResponseBody {
        &self.body
    }

    /// Takes the content, leaving none.
    pub fn take_body(&mut self) -> ResponseBody {
        std::mem::take(&mut self.body)
    }

    /// Replaces the status.
    #[inline]
    pub fn with_status(mut self, status: StatusCode) -> Response {
        self.status = status;
        self
    }

    /// Sets a field, replacing all fields of its name.
    ///
    /// Content-Length and Transfer-Encoding follow from the content: values set here are not sent. The exceptions are
    /// the responses to HEAD and with 304, which have no content: they are sent with the Content-Length that is set
    /// here. Of Connection, only the option `close` has an effect. Date and Server are added unless they are set.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Response {
        self.set_header(name, value);
        self
    }

    /// Sets a field, replacing all fields of its name; see [`with_header`](Response::with_header).
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) {
        if name == header::CONTENT_TYPE {
            self.content_type = Some(value);
            return;
        }
        self.fields.retain(|field| field.0 != name);
        self.fields.push((name, value));
    }

    /// Adds a field and keeps others of its name, as Set-Cookie needs. Content-Type is replaced: there is only one.
    pub fn append_header(&mut self, name: HeaderName, value: HeaderValue) {
        if name == header::CONTENT_TYPE {
            self.content_type = Some(value);
            return;
        }
        self.fields.push((name, value));
    }

    /// Removes all fields of a name.
    pub fn remove_header(&mut self, name: &HeaderName) {
        if name == header::CONTENT_TYPE {
            self.content_type = None;
        }
        self.fields.retain(|field| field.0 != name);
    }

    /// Replaces the content and keeps Content-Type.
    pub fn with_body(mut self, body: ResponseBody) -> Response {
        self.body = body;
        self
    }

    fn with_content(content_type: HeaderValue, bytes: Bytes) -> Response {
        Response {
            status: StatusCode::OK,
            content_type: Some(content_type),
            fields: Vec::new(),
            body: ResponseBody::Bytes(bytes),
        }
    }
}

impl ResponseBody {
    /// Returns the length in bytes, if it is known before the content is sent.
    pub fn length(&self) -> Option<u64> {
        match self {
            ResponseBody::Empty | ResponseBody::Upgrade(_) => Some(0),
            ResponseBody::Bytes(bytes) => Some(bytes.len() as u64),
            ResponseBody::Stream(stream) => stream.length(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseBody::Empty => f.write_str("Empty"),
            ResponseBody::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            ResponseBody::Stream(stream) => write!(f, "Stream({:?} bytes)", stream.length()),
            ResponseBody::Upgrade(_) => f.write_str("Upgrade"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_appended_and_removed() {
        let value = HeaderValue::from_static;
        let mut response = Response::text("a")
            .with_header(header::ETAG, value("1"))
            .with_header(header::ETAG, value("2"))
            .with_header(header::CONTENT_TYPE, value("text/html"));
        response.append_header(header::SET_COOKIE, value("a=1"));
        response.append_header(header::SET_COOKIE, value("b=2"));
        let fields: Vec<_> = response.fields().map(|(name, value)| format!("{name}={value:?}")).collect();
        assert_eq!(fields, ["content-type=\"text/html\"", "etag=\"2\"", "set-cookie=\"a=1\"", "set-cookie=\"b=2\""]);
        response.remove_header(&header::SET_COOKIE);
        response.remove_header(&header::CONTENT_TYPE);
        assert_eq!(response.header(&header::CONTENT_TYPE), None);
        assert_eq!(response.fields().count(), 1);
    }
}
