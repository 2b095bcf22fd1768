//! Errors of routes, and of the bodies of requests.

use thiserror::Error;

/// Why a route cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The method is not a token (RFC 9110 section 5.6.2).
    #[error("invalid method {method:?}: must be a token such as GET")]
    Method {
        /// The method as it was given.
        method: String,
    },
    /// The target is not a path.
    #[error("invalid target {target:?}: {rule}")]
    Target {
        /// The target as it was given.
        target: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A parameter occurs twice.
    #[error("invalid target {target:?}: parameter {name:?} occurs twice, give each its own name")]
    DuplicateParam {
        /// The target as it was given.
        target: String,
        /// The parameter's name.
        name: String,
    },
    /// The same requests already have a route, perhaps with other parameter names.
    #[error("duplicate route: {method} {target:?} already has a handler")]
    DuplicateRoute {
        /// The method.
        method: String,
        /// The target as it was given.
        target: String,
    },
}

/// The body of a request is not of the shape its handler reads. As a [`TextResponse`](crate::TextResponse) it has code
/// 400 and the reason.
#[derive(Debug, Error)]
#[error("invalid body: {0}")]
pub struct InvalidBody(#[from] serde_json::Error);
