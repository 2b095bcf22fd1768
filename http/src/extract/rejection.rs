//! The refusal of a request whose parts do not convert to the types that a handler asked for.

use http::StatusCode;
use thiserror::Error;

use crate::error::BodyError;
use crate::message::into_response::IntoResponse;
use crate::message::response::Response;

/// A part of a request that is missing, or does not convert to the type that the handler asked for.
///
/// It is a response: a handler that returns it with `?`, alone or in a [`Result`](crate::Result), answers with
/// [`status`](Rejection::status) and the text of the error.
///
/// | Status | For |
/// |---|---|
/// | 400 | a path parameter, a query, or content that is malformed |
/// | 408, 413 and others | content that was not received, see [`BodyError::status`] |
/// | 415 | content of another media type |
/// | 422 | content that is well-formed, but does not fit the type |
///
/// ```
/// use tidegate_http::{Rejection, Request};
///
/// async fn double(request: Request) -> Result<String, Rejection> {
///     let number: u32 = request.param_as("number")?; // 400 unless it is a number
///     Ok((u64::from(number) * 2).to_string())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The route has no path parameter of this name: a mistake of the application.
    #[error("the route has no parameter {0:?}")]
    ParamMissing(String),
    /// A path parameter does not parse.
    #[error("invalid path parameter {name}: {reason}")]
    Param {
        /// The name of the parameter.
        name: String,
        /// The error of its type.
        reason: String,
    },
    /// The query does not fit the type, with the reason.
    #[error("invalid query: {0}")]
    Query(String),
    /// The content has another media type, or none. The value names the allowed one.
    #[error("unsupported content type: must be {0}")]
    MediaType(&'static str),
    /// The content is malformed, with the reason.
    #[error("malformed content: {0}")]
    Malformed(String),
    /// The content is well-formed, but does not fit the type, with the reason.
    #[error("invalid content: {0}")]
    Content(String),
    /// The content was not received.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl Rejection {
    /// Returns the status code of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Rejection::ParamMissing(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Rejection::Param { .. } | Rejection::Query(_) | Rejection::Malformed(_) => StatusCode::BAD_REQUEST,
            Rejection::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Rejection::Content(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Rejection::Body(error) => error.status(),
        }
    }
}

/// The status of the rejection, with its message as text. A mistake of the application is logged.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            log::error!("a request was answered with {status}: {self}");
        }
        Response::text(format!("{self}\n")).with_status(status)
    }
}
