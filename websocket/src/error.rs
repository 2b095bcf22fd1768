//! What the asynchronous connection can fail with: who is at fault, and what became of the connection.

use thiserror::Error;
use tidegate_engine::{CloseCause, ReceiveError, SendError};

use crate::protocol_error::{ProtocolError, UsageError};

/// Why a call on a [`WebSocket`](crate::WebSocket) failed. The peer's close is no error: it is the end of the messages.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke a rule; the close frame that says so was sent, and the connection is being closed.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The application asked for something the protocol forbids; nothing was sent.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The outbound queue is full (only the `try_` calls say so; the others wait).
    #[error("the outbound queue is full: wait for it with `send`, or close slow peers")]
    Full,
    /// The peer ended the stream without a close frame (RFC 6455 section 7.1.5 calls this 1006).
    #[error("the peer ended the connection without a close frame")]
    Lost,
    /// The connection ended, in order or not, inside a message that was being read in pieces.
    #[error("the connection ended before the message did: what was read of it is not the whole")]
    Incomplete,
    /// Nothing was received before the read deadline. The connection is usable.
    #[error("nothing was received before the read deadline")]
    ReadDeadline,
    /// Nothing was received for the idle timeout; close 1001 was sent.
    #[error("nothing was received for the idle timeout")]
    Idle,
    /// A message is not the JSON that was asked for: no JSON at all, or of another shape. The connection is usable; returned
    /// by a handler this closes with 1007. (Feature `json`.)
    #[cfg(feature = "json")]
    #[error("the peer sent a message that is not the JSON that was asked for: {0}")]
    Json(#[source] serde_json::Error),
    /// A ping of the keepalive was not answered in time: the peer is taken for lost.
    #[error("the peer did not answer a ping in time")]
    NoPong,
    /// The deadline of a send passed before there was space in the outbound queue; nothing was queued.
    #[error("the outbound queue had no space before the deadline: the peer takes too little; send less, or close it")]
    SendDeadline,
    /// The connection failed under us.
    #[error("connection closed: {0}")]
    Closed(CloseCause),
    /// A failure of the application's own: returned by a handler, it closes with 1011.
    #[error(transparent)]
    Application(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An application's own failure, for handlers to return: the peer is told 1011 without the text.
    pub fn application(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Application(error.into())
    }

    /// Whether a close frame of ours has been sent, so that nothing can follow it.
    pub fn is_close_sent(&self) -> bool {
        matches!(self, Self::Usage(UsageError::CloseSent))
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => Self::Full,
            SendError::Closed(cause) => Self::Closed(cause),
            // The last bytes of a WebSocket are its close frame, whoever sent it.
            _ => Self::Usage(UsageError::CloseSent),
        }
    }
}

impl From<ReceiveError> for Error {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Closed(cause) => Self::Closed(cause),
            _ => Self::ReadDeadline,
        }
    }
}
