//! A request: its head, and its content to be read.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;

use crate::error::BodyError;
use crate::message::body::Body;
use crate::message::client_gone::ClientGone;
use crate::message::head::RequestHead;

/// A request. It dereferences to its [`RequestHead`]; the methods here read the content.
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

    /// Returns the head. [`into_parts`](Request::into_parts) returns it without the content.
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Returns the content, such as to ask how much of it remains.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Returns the content, to be read piece by piece.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Returns a future that completes when the client has gone. It completes at once if the request is over, or was
    /// not received by a server, or its content was replaced.
    ///
    /// ```
    /// use tidegate_http::{Request, Response};
    ///
    /// async fn poll(request: Request) -> Response {
    ///     let gone = request.client_gone();
    ///     std::thread::spawn(move || {
    ///         tidegate_engine::block_on(gone);
    ///         // Stop the work that was begun for this client.
    ///     });
    ///     Response::text("begun")
    /// }
    /// ```
    pub fn client_gone(&self) -> ClientGone {
        self.body.client_gone()
    }

    /// Splits the request into its head and its content.
    pub fn into_parts(self) -> (RequestHead, Body) {
        (self.head, self.body)
    }

    /// Creates a request from a head and content, such as content that middleware has read or replaced.
    pub fn from_parts(head: RequestHead, body: Body) -> Request {
        Request { head, body }
    }

    /// Reads the rest of the content into memory, up to [`Limits::body_bytes_max`](crate::Limits::body_bytes_max), by
    /// default 100 MiB. Prefer [`bytes_up_to`](Request::bytes_up_to) with the size that the handler needs: each request
    /// can hold this much memory.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn bytes(&mut self) -> Result<Bytes, BodyError> {
        self.body.collect(u64::MAX).await
    }

    /// Reads the rest of the content into memory, up to `limit` bytes.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] beyond the limit; if the length was announced, before anything is read.
    pub async fn bytes_up_to(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        self.body.collect(limit).await
    }

    /// Reads the rest of the content into memory as UTF-8 text, up to the same limit as [`bytes`](Request::bytes).
    /// Content that arrived in one piece is not copied unless its memory is shared.
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
