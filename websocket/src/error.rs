//! The errors of a connection: who is at fault, and what becomes of the connection.

use thiserror::Error;
use tidegate_engine::{CloseCause, GatheringError, ReceiveError, SendError};

use crate::close_code::CloseCode;
use crate::protocol_error::ProtocolError;
use crate::usage_error::UsageError;

/// An error of a [`WebSocket`](crate::WebSocket). The peer's close frame is not an error but the end of the messages.
///
/// Most handlers pass it on with `?`: see [`HandlerError`](crate::HandlerError) for the close code of each. Match it to
/// go on after an error that leaves the connection open, or to tell how a connection ended:
///
/// ```
/// use std::time::{Duration, Instant};
/// use tidegate_websocket::{self as websocket, Error, WebSocket};
///
/// async fn remind(mut ws: WebSocket) -> websocket::Result {
///     loop {
///         ws.set_read_deadline(Some(Instant::now() + Duration::from_secs(60)));
///         match ws.recv().await {
///             Ok(Some(message)) => println!("{} bytes", message.len()),
///             Ok(None) => return Ok(()),
///             Err(Error::ReadDeadline) => ws.send("are you still there?").await?,
///             Err(error @ (Error::Lost | Error::Closed(_))) => {
///                 println!("{} vanished: {error}", ws.peer_addr());
///                 return Ok(());
///             }
///             Err(error) => return Err(error.into()),
///         }
///     }
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke a rule. The close frame that says so has been sent, and the connection is being closed.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The application asked for something that the protocol forbids. Nothing was sent.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The outbound queue is full. Only the `try_` calls return this; the others wait.
    #[error("the outbound queue is full: wait for space with `send`, or close slow peers")]
    Full,
    /// As many calls of handles as [`posted_calls_max`](crate::WebSocketConfig::posted_calls_max) wait for the
    /// connection. The call was dropped.
    #[error(
        "too many calls wait for the connection, whose peer reads too slowly or whose thread is busy: post fewer, or \
         raise `posted_calls_max`"
    )]
    TooManyCalls,
    /// The peer ended the stream without a close frame: code 1006 of RFC 6455 section 7.1.5.
    #[error("the peer ended the connection without a close frame")]
    Lost,
    /// The connection ended inside a message that was being read in pieces, even if the peer sent a close frame.
    #[error("the connection ended inside a message: the pieces read so far are not the whole message")]
    Incomplete,
    /// Nothing was received before the read deadline. The connection stays usable; returned by a handler, this error
    /// closes with 1001.
    #[error("nothing was received before the read deadline: set a later one and read on, or close")]
    ReadDeadline,
    /// Nothing was received for as long as the idle timeout. Close 1001 has been sent.
    #[error("nothing was received within the idle timeout: the peer is gone, or must send or ping more often")]
    Idle,
    /// A large message was given up, because it arrived too slowly or the memory for all of them is spent. Close 1013
    /// or 1008 has been sent. See `MemoryConfig` of the engine.
    #[error("a large message was given up: {0}")]
    GivenUp(#[from] GatheringError),
    /// A message is not JSON, or JSON of another shape than was asked for. The connection stays usable; returned by a
    /// handler, this error closes with 1007. (Feature `json`.)
    #[cfg(feature = "json")]
    #[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
    #[error("the peer sent a message that is not the expected JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// A ping of the keepalive was not answered in time. The peer is considered lost.
    #[error("the peer did not answer a ping in time")]
    NoPong,
    /// The outbound queue had no space before the deadline of a send. Nothing was queued.
    #[error("the outbound queue had no space before the deadline: the peer reads too slowly; send less, or close it")]
    SendDeadline,
    /// The connection failed.
    #[error("connection closed: {0}")]
    Closed(CloseCause),
    /// An error of the application. Returned by a handler, it closes with 1011.
    #[error(transparent)]
    Application(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps an error of the application, for handlers of control frames to return: the read that finds the frame
    /// returns it. (A WebSocket handler returns any error, see [`HandlerError`](crate::HandlerError).)
    ///
    /// ```
    /// use tidegate_websocket::{Error, upgrade};
    ///
    /// let strict = upgrade(async |mut ws| {
    ///     while ws.recv().await?.is_some() {}
    ///     Ok(())
    /// })
    /// .on_ping(|_sender, _payload| Err(Error::application("this peer must not ping")));
    /// ```
    pub fn application(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Application(error.into())
    }

    /// Returns the close code of a handler that fails with this error.
    pub(crate) fn handler_close_code(&self) -> CloseCode {
        match self {
            // The close frame has been sent.
            Self::Usage(UsageError::CloseSent) => CloseCode::NORMAL,
            Self::Application(_) | Self::Usage(_) => CloseCode::INTERNAL_ERROR,
            #[cfg(feature = "json")]
            Self::Json(_) => CloseCode::INVALID_PAYLOAD,
            Self::Full | Self::TooManyCalls | Self::SendDeadline => CloseCode::TRY_AGAIN_LATER,
            // As after the idle timeout: the peer was silent for longer than the handler waits.
            Self::ReadDeadline => CloseCode::GOING_AWAY,
            _ => CloseCode::NORMAL,
        }
    }

    /// Returns whether the call failed because our close frame has been sent: nothing can follow it.
    pub fn is_close_sent(&self) -> bool {
        matches!(self, Self::Usage(UsageError::CloseSent))
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => Self::Full,
            SendError::Closed(cause) => Self::Closed(cause),
            SendError::HeldByCaller => Self::Usage(UsageError::StreamOpen),
            // The last bytes of a WebSocket are its close frame, whichever sender queued it.
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
