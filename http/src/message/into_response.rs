//! Conversions into a [`Response`]: the types that a handler can return.

use bytes::Bytes;
use http::StatusCode;

use crate::error::BodyError;
use crate::message::response::Response;

/// A type that a handler can return.
///
/// Implement it for an error type whose values are answered differently. For errors that all mean 500,
/// [`HandlerError`](crate::HandlerError) needs no code:
///
/// ```
/// use http::StatusCode;
/// use tidegate_http::{IntoResponse, Request, Response};
///
/// enum LookupError {
///     NoSuchUser,
/// }
///
/// impl IntoResponse for LookupError {
///     fn into_response(self) -> Response {
///         match self {
///             LookupError::NoSuchUser => (StatusCode::NOT_FOUND, "no such user").into_response(),
///         }
///     }
/// }
///
/// async fn user(request: Request) -> Result<String, LookupError> {
///     let name = request.param("name").ok_or(LookupError::NoSuchUser)?;
///     Ok(format!("Hello, {name}"))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a response",
    label = "not a response",
    note = "return `Response`, `&'static str`, `String`, `Bytes`, `StatusCode`, `(StatusCode, T)`, or a `Result` of two of \
            them; `?` turns any error into a `HandlerError`, which is answered with 500"
)]
pub trait IntoResponse {
    /// Returns the response to send.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for Bytes {
    fn into_response(self) -> Response {
        Response::bytes(self)
    }
}

/// The status without content.
impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        Response::new(self)
    }
}

/// 204 (No Content).
impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::new(StatusCode::NO_CONTENT)
    }
}

impl<T: IntoResponse> IntoResponse for (StatusCode, T) {
    fn into_response(self) -> Response {
        self.1.into_response().with_status(self.0)
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

/// The status of the error, with its message as text.
impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        Response::text(self.to_string()).with_status(self.status())
    }
}

impl IntoResponse for std::convert::Infallible {
    fn into_response(self) -> Response {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use http::header::{self, HeaderValue};

    use super::*;

    #[test]
    fn conversions() {
        assert_eq!("a".into_response().body().length(), Some(1));
        assert_eq!(StatusCode::NOT_FOUND.into_response().status(), 404);
        assert_eq!((StatusCode::CREATED, "a").into_response().status(), 201);
        assert_eq!(().into_response().status(), 204);
        let failed: Result<&'static str, StatusCode> = Err(StatusCode::CONFLICT);
        assert_eq!(failed.into_response().status(), 409);
        let error = BodyError::TooLarge(5).into_response();
        assert_eq!(error.status(), 413);
        let bytes = Bytes::from_static(b"a").into_response();
        assert_eq!(bytes.header(&header::CONTENT_TYPE), Some(&HeaderValue::from_static("application/octet-stream")));
    }
}
