//! Refusing a WebSocket after its opening handshake.

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::protocol_error::UsageError;

/// Why a WebSocket is closed before its handler has seen it: the close frame the peer gets.
///
/// Every error can become one: the peer is then told 1008 (policy violation) without the error's text.
#[derive(Debug)]
pub struct Refusal {
    frame: Option<CloseFrame>,
}

impl Refusal {
    /// A close frame with this code and reason, of at most 123 bytes. One that must not be sent becomes a 1008 without
    /// reason.
    pub fn new(code: CloseCode, reason: &str) -> Self {
        Self::of(CloseFrame::new(code, reason))
    }

    pub(crate) fn frame(&self) -> Option<&CloseFrame> {
        self.frame.as_ref()
    }

    fn of(frame: Result<CloseFrame, UsageError>) -> Self {
        let frame = frame.inspect_err(|error| log::warn!("a refusal that must not be sent: {error}"));
        Self { frame: frame.or_else(|_| CloseFrame::new(CloseCode::POLICY_VIOLATION, "")).ok() }
    }
}

impl From<CloseFrame> for Refusal {
    fn from(frame: CloseFrame) -> Self {
        Self { frame: Some(frame) }
    }
}

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        log::info!("a websocket is refused: {error}");
        Self::of(CloseFrame::new(CloseCode::POLICY_VIOLATION, ""))
    }
}
