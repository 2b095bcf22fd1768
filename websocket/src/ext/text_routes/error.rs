//! The error of a request's body.

use thiserror::Error;

/// The body of a request is not of the shape its handler reads. As a [`TextResponse`](crate::TextResponse) it has code
/// 400 and the reason.
#[derive(Debug, Error)]
#[error("invalid body: {0}")]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
pub struct InvalidBody(#[from] serde_json::Error);
