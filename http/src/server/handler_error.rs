//! The error of a handler: any error by `?`, or a response.
//!
//! Owns the one place where an error of the application becomes an answer.

use std::any::Any;
use std::fmt;

use http::StatusCode;

use crate::causes::WithCauses;
use crate::error::BodyError;
use crate::extract::rejection::Rejection;
use crate::message::into_response::IntoResponse;
use crate::message::response::Response;
use crate::server::handler_name::HandlerName;

/// The error of a handler. `?` converts every [`std::error::Error`] into it.
///
/// It is answered with 500 and a fixed text; the error's own text, which can hold secrets, is only logged, with the
/// route. Some are answered differently: a [`BodyError`] and a [`Rejection`] with their status and text, and a
/// [`Response`], also one made of any [`IntoResponse`] by [`response`](HandlerError::response), as it is.
///
/// ```
/// use http::StatusCode;
/// use tidegate_http::{HandlerError, Request, Result, Router};
///
/// async fn double(mut request: Request) -> Result<String> {
///     let number: u64 = request.text().await?.trim().parse()?;
///     let too_large = || HandlerError::response((StatusCode::BAD_REQUEST, "too large"));
///     let doubled = number.checked_mul(2).ok_or_else(too_large)?;
///     Ok(doubled.to_string())
/// }
///
/// let app = Router::new().post("/double", double).get("/config", async |_request: Request| -> Result<String> {
///     Ok(std::fs::read_to_string("app.toml")?)
/// });
/// ```
///
/// It does not implement [`std::error::Error`]: the conversion from every error would conflict with the one from
/// itself. Other values, such as text or an `anyhow::Error`, are converted by [`new`](HandlerError::new):
/// `.map_err(HandlerError::new)?`.
pub struct HandlerError(Cause);

enum Cause {
    /// Answered with its status and text.
    Body(BodyError),
    /// Answered with its status and text.
    Rejection(Rejection),
    /// Answered as it is.
    Response(Box<Response>),
    /// Answered with 500, and logged.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of a handler that can fail: by default a [`Response`] or a [`HandlerError`].
///
/// A closure names it in its signature, because nothing else says which error `?` converts into:
/// `async |request: Request| -> Result<String> { .. }`.
pub type Result<T = Response, E = HandlerError> = std::result::Result<T, E>;

impl HandlerError {
    /// Creates an error from a cause: a text, a boxed error, or an error type of another crate that is not a
    /// [`std::error::Error`]. It is logged and answered with 500.
    ///
    /// ```
    /// use tidegate_http::{HandlerError, Request, Result};
    ///
    /// async fn user(request: Request) -> Result<String> {
    ///     let name = request.param("name").ok_or_else(|| HandlerError::new("the route has no `name`"))?;
    ///     Ok(name.to_owned())
    /// }
    /// ```
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HandlerError {
        HandlerError(Cause::Other(cause.into()))
    }

    /// Creates an error that is answered with this response, and not logged.
    ///
    /// For an error type that is a response itself, this is the conversion of `?`:
    ///
    /// ```
    /// use http::StatusCode;
    /// use tidegate_http::{HandlerError, IntoResponse, Request, Response, Result};
    ///
    /// enum Refusal {
    ///     NotYours,
    /// }
    ///
    /// impl IntoResponse for Refusal {
    ///     fn into_response(self) -> Response {
    ///         (StatusCode::FORBIDDEN, "not yours").into_response()
    ///     }
    /// }
    ///
    /// impl From<Refusal> for HandlerError {
    ///     fn from(refusal: Refusal) -> HandlerError {
    ///         HandlerError::response(refusal)
    ///     }
    /// }
    ///
    /// fn check(request: &Request) -> std::result::Result<(), Refusal> {
    ///     if request.query("owner").as_deref() == Some("me") { Ok(()) } else { Err(Refusal::NotYours) }
    /// }
    ///
    /// async fn open(request: Request) -> Result<String> {
    ///     check(&request)?;
    ///     Ok(std::fs::read_to_string("mine.txt")?)
    /// }
    /// ```
    ///
    /// ```
    /// use http::StatusCode;
    /// use tidegate_http::HandlerError;
    ///
    /// let missing = HandlerError::response((StatusCode::NOT_FOUND, "no such room"));
    /// ```
    pub fn response(response: impl IntoResponse) -> HandlerError {
        HandlerError(Cause::Response(Box::new(response.into_response())))
    }
}

/// The errors that `?` converts into a [`HandlerError`]: those that are `Send + Sync + 'static`.
///
/// Implemented for every such type, and not to be implemented. The trait exists for its compile error, which says how
/// to convert the others.
#[diagnostic::on_unimplemented(
    message = "`?` cannot convert `{Self}` into a `HandlerError`",
    label = "not an error that is `Send + Sync`: convert it with `.map_err(HandlerError::new)?`",
    note = "convert it first: `.map_err(HandlerError::new)?`, or `.ok_or_else(|| HandlerError::new(\"..\"))?` for an \
            `Option`"
)]
pub trait HandlerFailure: std::error::Error + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<E: std::error::Error + Send + Sync + 'static> HandlerFailure for E {}

impl<E: HandlerFailure> From<E> for HandlerError {
    fn from(error: E) -> HandlerError {
        let any = &error as &dyn Any;
        if let Some(error) = any.downcast_ref::<BodyError>() {
            return HandlerError(Cause::Body(error.clone()));
        }
        if let Some(rejection) = any.downcast_ref::<Rejection>() {
            return HandlerError(Cause::Rejection(rejection.clone()));
        }
        HandlerError(Cause::Other(Box::new(error)))
    }
}

/// As [`HandlerError::response`]: `Err(Response::redirect("/login"))?`.
impl From<Response> for HandlerError {
    fn from(response: Response) -> HandlerError {
        HandlerError(Cause::Response(Box::new(response)))
    }
}

impl IntoResponse for HandlerError {
    fn into_response(self) -> Response {
        match self.0 {
            Cause::Body(error) => error.into_response(),
            Cause::Rejection(rejection) => rejection.into_response(),
            Cause::Response(response) => *response,
            Cause::Other(_) => {
                log::error!("{} failed: {self}", HandlerName::current());
                Response::text("internal server error\n").with_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

/// The error with its causes, as it is logged.
impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Body(error) => error.fmt(f),
            Cause::Rejection(rejection) => rejection.fmt(f),
            Cause::Response(response) => write!(f, "answered with {}", response.status()),
            Cause::Other(error) => WithCauses(&**error).fmt(f),
        }
    }
}

/// As `Display`: `unwrap` in a test shows the text.
impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;
    use crate::error::RequestError;
    use crate::message::response::ResponseBody;

    fn answer(error: impl Into<HandlerError>) -> (u16, String) {
        let response = error.into().into_response();
        let ResponseBody::Bytes(text) = response.body() else { panic!("the answer has a text") };
        (response.status().as_u16(), String::from_utf8(text.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn any_error_becomes_a_500_without_its_text() {
        let secret = std::io::Error::other("/etc/secret: permission denied");
        assert_eq!(answer(secret), (500, "internal server error\n".into()));
        assert_eq!(answer(HandlerError::new("text")), (500, "internal server error\n".into()));
    }

    #[test]
    fn body_errors_keep_their_status() {
        let too_large = BodyError::TooLarge(5);
        assert_eq!(answer(too_large.clone()), (413, too_large.to_string()));
        assert_eq!(answer(BodyError::from(RequestError::Timeout)).0, 408);
    }

    #[test]
    fn responses_are_sent_as_they_are() {
        let error = HandlerError::response((StatusCode::NOT_FOUND, "no such room"));
        assert_eq!(error.to_string(), "answered with 404 Not Found");
        assert_eq!(answer(error), (404, "no such room".into()));
    }

    #[test]
    fn the_log_has_the_causes() {
        let error = CString::new(*b"\xff").expect("no zero").into_string().expect_err("not UTF-8");
        let error = HandlerError::from(error);
        assert!(error.to_string().starts_with("C string contained non-utf8 bytes: invalid utf-8 sequence"), "{error}");
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}
