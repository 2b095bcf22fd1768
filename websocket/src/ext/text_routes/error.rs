//! What can be wrong with a route, and with what a request carries.

use http::StatusCode;
use thiserror::Error;

use super::exchange::TextResponse;

/// Why a route cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The method is no token (RFC 9110 section 5.6.2).
    #[error("the method {method:?} is none: it must be a token, such as GET")]
    Method {
        /// The method as it was given.
        method: String,
    },
    /// The target is no path.
    #[error("the target {target:?} is none: {rule}")]
    Target {
        /// The target as it was given.
        target: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// A parameter is there twice.
    #[error("the target {target:?} has the parameter {name:?} twice: give each a name of its own")]
    DuplicateParam {
        /// The target as it was given.
        target: String,
        /// The parameter's name.
        name: String,
    },
    /// The same requests have a route already, perhaps with other names for its parameters.
    #[error("{method} {target:?} has a route already")]
    DuplicateRoute {
        /// The method.
        method: String,
        /// The target as it was given.
        target: String,
    },
}

/// The body of a request is not what its handler reads. As a [`TextResponse`] it has code 400 and says why.
#[derive(Debug, Error)]
#[error("the body is not what is expected: {0}")]
pub struct InvalidBody(#[from] serde_json::Error);

impl From<InvalidBody> for TextResponse {
    fn from(error: InvalidBody) -> Self {
        Self::new(StatusCode::BAD_REQUEST.as_u16(), &error.to_string())
    }
}
