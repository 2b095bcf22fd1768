//! Why a test gets no response.

use thiserror::Error;
use tidegate_engine::testing::{PeerEnd, Stuck};

/// The reason why a test gets no response, or no complete one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TestError {
    /// The server has not answered.
    #[error("no response to {request}: {reason}")]
    NoResponse {
        /// The method and the target of the request.
        request: String,
        /// What the server does instead.
        reason: Stuck,
    },
    /// The server has answered, and the content of its response has no end.
    #[error("the content of the response to {request} has not ended: {reason}")]
    Unfinished {
        /// The method and the target of the request.
        request: String,
        /// What the server does instead.
        reason: Stuck,
    },
    /// The connection ended before the response was complete.
    #[error("the connection of {request} ended before its response was complete ({end:?})")]
    Closed {
        /// The method and the target of the request.
        request: String,
        /// The end of the connection.
        end: PeerEnd,
    },
    /// The response is not one of HTTP/1.1.
    #[error("malformed response to {request}: {reason}")]
    Malformed {
        /// The method and the target of the request.
        request: String,
        /// What is wrong with it.
        reason: String,
    },
}
