//! The error of a handler: any error by `?`, or a close frame.
//!
//! Owns the one place where an error becomes the close frame of a handler.

use std::any::Any;
use std::fmt;

use tidegate_engine::{ReceiveError, SendError};
use tidegate_http::HandlerFailure;
use tidegate_http::causes::WithCauses;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::error::Error;
use crate::hub::HubError;
use crate::protocol_error::ProtocolError;
use crate::usage_error::UsageError;

/// The error of a WebSocket handler. `?` converts every [`std::error::Error`] into it.
///
/// It decides on the close frame that the peer gets, unless one was sent already. The frame never has the error's text,
/// which can hold secrets.
///
/// | Error | From a handler | From [`on_connect`](crate::Upgrade::on_connect) |
/// |---|---|---|
/// | [`HandlerError::close`] | its code and reason | its code and reason |
/// | [`Error::Usage`], [`Error::Application`] | 1011 | 1011 |
/// | [`Error::Full`], [`Error::SendDeadline`], [`HubError::Full`] | 1013 | 1013 |
/// | [`Error::ReadDeadline`]: the peer was silent, as after the idle timeout | 1001 | 1001 |
/// | `Error::Json` (feature `json`) | 1007 | 1007 |
/// | any other [`Error`]: caused by the peer or the connection | 1000 | 1000 |
/// | an error of any other type | 1011 | 1008 |
///
/// An error that closes a handler's connection with 1011 is logged as a warning, a refusal of `on_connect` at level
/// `info`.
///
/// ```
/// use tidegate_websocket::{self as websocket, CloseCode, HandlerError, WebSocket, upgrade};
///
/// async fn sum(mut ws: WebSocket) -> websocket::Result {
///     let mut sum = 0_u64;
///     while let Some(message) = ws.recv().await? {
///         let text = message.as_text().ok_or_else(|| HandlerError::close(CloseCode::UNSUPPORTED_DATA, "text only"))?;
///         sum += text.parse::<u64>()?; // not a number: closed with 1011, and logged
///         ws.send(sum.to_string()).await?;
///     }
///     Ok(())
/// }
///
/// let sums = upgrade(sum);
/// ```
///
/// It does not implement [`std::error::Error`]: the conversion from every error would conflict with the one from
/// itself. Anything else, such as a text or an `anyhow::Error` (which is not a [`std::error::Error`] either), is
/// converted by [`new`](HandlerError::new): `.map_err(HandlerError::new)?`.
pub struct HandlerError(Cause);

enum Cause {
    /// Has its own close code.
    WebSocket(Error),
    /// Closes with this frame.
    Close(Box<CloseFrame>),
    /// Closes with 1011, or 1008 from `on_connect`.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// The result of a WebSocket handler: by default `()` or a [`HandlerError`].
///
/// ```
/// use tidegate_websocket::{self as websocket, WebSocket};
///
/// async fn greet(mut ws: WebSocket) -> websocket::Result {
///     ws.send(std::fs::read_to_string("greeting.txt")?).await?;
///     Ok(())
/// }
/// ```
pub type Result<T = (), E = HandlerError> = std::result::Result<T, E>;

impl HandlerError {
    /// Creates an error from a cause: a text, a boxed error, or an error type of another crate that is not a
    /// [`std::error::Error`]. It closes with 1011, or 1008 from `on_connect`.
    ///
    /// ```
    /// use tidegate_websocket::{self as websocket, HandlerError, WebSocket};
    ///
    /// async fn room(ws: &WebSocket) -> websocket::Result<String> {
    ///     let head = ws.request().ok_or_else(|| HandlerError::new("the route does not keep its requests"))?;
    ///     Ok(head.path().to_owned())
    /// }
    /// ```
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Cause::Other(cause.into()))
    }

    /// Creates an error that closes with this code and a reason of at most 123 bytes. A frame that must not be sent
    /// is replaced by its [`UsageError`], which closes with 1011, or 1008 from `on_connect`.
    ///
    /// ```
    /// use tidegate_websocket::{CloseCode, HandlerError};
    ///
    /// let banned = HandlerError::close(CloseCode::new(4001), "you are banned");
    /// ```
    pub fn close(code: CloseCode, reason: &str) -> Self {
        match CloseFrame::new(code, reason) {
            Ok(frame) => Self(Cause::Close(Box::new(frame))),
            Err(error) => Self(Cause::Other(Box::new(error))),
        }
    }

    /// Returns the cause, if it is an error of this type: for tests, and for code that wraps handlers.
    ///
    /// ```
    /// use tidegate_websocket::{Error, HandlerError};
    ///
    /// let error = HandlerError::from(Error::Lost);
    /// assert!(matches!(error.downcast_ref(), Some(Error::Lost)));
    /// ```
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match &self.0 {
            Cause::WebSocket(error) => (error as &(dyn std::error::Error + 'static)).downcast_ref(),
            Cause::Close(_) => None,
            Cause::Other(error) => error.downcast_ref(),
        }
    }

    /// Returns the close frame of this error. `default` is the code of an error of any other type.
    pub(crate) fn frame(&self, default: CloseCode) -> Option<CloseFrame> {
        let code = match &self.0 {
            Cause::Close(frame) => return Some(CloseFrame::clone(frame)),
            Cause::WebSocket(error) => error.handler_close_code(),
            Cause::Other(_) => default,
        };
        CloseFrame::new(code, "").ok()
    }
}

/// Moves the error out if it is a `T`.
fn take<E: 'static, T: 'static>(error: &mut Option<E>) -> Option<T> {
    (error as &mut dyn Any).downcast_mut::<Option<T>>()?.take()
}

impl<E: HandlerFailure> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut slot = Some(error);
        let known = take::<E, Error>(&mut slot)
            .or_else(|| take::<E, SendError>(&mut slot).map(Error::from))
            .or_else(|| take::<E, ReceiveError>(&mut slot).map(Error::from))
            .or_else(|| take::<E, UsageError>(&mut slot).map(Error::from))
            .or_else(|| take::<E, ProtocolError>(&mut slot).map(Error::from))
            .or_else(|| take::<E, HubError>(&mut slot).map(Error::from));
        match (known, slot) {
            (Some(known), _) => Self(Cause::WebSocket(known)),
            (None, Some(error)) => Self(Cause::Other(Box::new(error))),
            (None, None) => unreachable!("an error is taken only as a known one"),
        }
    }
}

impl From<CloseFrame> for HandlerError {
    fn from(frame: CloseFrame) -> Self {
        Self(Cause::Close(Box::new(frame)))
    }
}

/// The error with its causes, as it is logged.
impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error: &(dyn std::error::Error + 'static) = match &self.0 {
            Cause::WebSocket(error) => return fmt::Display::fmt(error, f),
            Cause::Close(frame) => return write!(f, "closed with {} {:?}", frame.code(), frame.reason()),
            Cause::Other(error) => &**error,
        };
        fmt::Display::fmt(&WithCauses(error), f)
    }
}

/// The same text as `Display`, so that `unwrap` in a test shows it.
impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    fn code(error: impl Into<HandlerError>) -> u16 {
        error.into().frame(CloseCode::INTERNAL_ERROR).expect("a frame").code().value()
    }

    #[test]
    fn websocket_errors_keep_their_codes() {
        assert_eq!(code(Error::Lost), 1000);
        assert_eq!(code(Error::Full), 1013);
        assert_eq!(code(Error::TooManyCalls), 1013);
        assert_eq!(code(SendError::Full), 1013);
        assert_eq!(code(Error::SendDeadline), 1013);
        assert_eq!(code(Error::ReadDeadline), 1001);
        assert_eq!(code(UsageError::ControlTooLong { payload_bytes: 126 }), 1011);
        assert_eq!(code(UsageError::CloseSent), 1000);
        assert_eq!(code(ProtocolError::InvalidUtf8), 1000);
        assert_eq!(code(Error::application("text")), 1011);
    }

    #[test]
    fn any_other_error_has_the_default_code() {
        let error = HandlerError::from("x".parse::<u64>().unwrap_err());
        assert_eq!(error.frame(CloseCode::POLICY_VIOLATION).expect("a frame").code(), CloseCode::POLICY_VIOLATION);
        assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
        assert!(error.downcast_ref::<Error>().is_none());
        assert_eq!(code(HandlerError::new("text")), 1011);
    }

    #[test]
    fn close_frames_are_sent_as_they_are() {
        let frame = HandlerError::close(CloseCode::new(4001), "why").frame(CloseCode::INTERNAL_ERROR).expect("a frame");
        assert_eq!((frame.code().value(), frame.reason()), (4001, "why"));
        assert_eq!(code(HandlerError::close(CloseCode::new(1006), "must not be sent")), 1011);
        assert_eq!(code(HandlerError::close(CloseCode::NORMAL, &"long".repeat(40))), 1011);
    }

    #[test]
    fn the_text_has_the_causes() {
        let error = CString::new(*b"\xff").expect("no zero").into_string().expect_err("not UTF-8");
        let text = HandlerError::from(error).to_string();
        assert!(text.starts_with("C string contained non-utf8 bytes: invalid utf-8 sequence"), "{text}");
        let error = HandlerError::close(CloseCode::NORMAL, "bye");
        assert_eq!(format!("{error} | {error:?}"), "closed with 1000 \"bye\" | closed with 1000 \"bye\"");
    }

    /// Handlers that only pass errors of WebSockets on pay nothing for the conversion.
    #[test]
    fn it_is_as_large_as_a_websocket_error() {
        assert_eq!(size_of::<HandlerError>(), size_of::<Error>());
    }
}
