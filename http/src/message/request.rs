//! What a handler is given: the head of a request and the way to its content.
//!
//! Owns the pairing of head and content and the collecting helpers. Where content comes from is behind a private trait:
//! the serving loop pulls it out of the connection when it is asked for, which is the backpressure. Content that is
//! never asked for is never read.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;

use crate::error::BodyError;
use crate::message::body::Body;
use crate::message::head::RequestHead;

/// A request. Everything of its head is there by dereferencing to [`RequestHead`].
///
/// ```
/// use tidegate_http::{Request, Response};
///
/// async fn greet(mut request: Request) -> Result<Response, tidegate_http::BodyError> {
///     let name = request.text().await?;
///     Ok(Response::text(format!("{} {name}", request.header("x-greeting").unwrap_or("Hello,"))))
/// }
/// ```
#[derive(Debug)]
pub struct Request {
    head: RequestHead,
    body: Body,
}

impl Request {
    pub(crate) fn new(head: RequestHead, body: Body) -> Request {
        Request { head, body }
    }

    /// The head. It can be taken along by itself with [`into_parts`](Request::into_parts).
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// The content.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The content, to be read.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Takes the request apart.
    pub fn into_parts(self) -> (RequestHead, Body) {
        (self.head, self.body)
    }

    /// Puts a request together.
    pub fn from_parts(head: RequestHead, body: Body) -> Request {
        Request { head, body }
    }

    /// Reads the rest of the content into memory, up to the server's limit for content
    /// ([`Limits::body_bytes_max`](crate::Limits::body_bytes_max)).
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn bytes(&mut self) -> Result<Bytes, BodyError> {
        self.body.collect(u64::MAX).await
    }

    /// As [`bytes`](Request::bytes), but of content up to a limit in bytes.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] beyond the limit, without reading if the length was announced.
    pub async fn bytes_up_to(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        self.body.collect(limit).await
    }

    /// As [`bytes`](Request::bytes), as UTF-8 text.
    ///
    /// # Errors
    /// [`BodyError::NotText`] if it is not UTF-8.
    pub async fn text(&mut self) -> Result<String, BodyError> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into()).map_err(|_| BodyError::NotText)
    }
}

impl Deref for Request {
    type Target = RequestHead;

    fn deref(&self) -> &RequestHead {
        &self.head
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }
}
