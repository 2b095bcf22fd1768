//! Refusing a WebSocket after its opening handshake.

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::protocol_error::UsageError;

/// The close frame of a WebSocket that is refused before its handler runs.
///
/// Every error converts to a refusal with 1008 (policy violation) and without the error's text.
#[derive(Debug)]
pub struct Refusal {
    frame: Option<CloseFrame>,
}

impl Refusal {
    /// Refuses with this code and a reason of at most 123 bytes. A frame that must not be sent becomes a 1008 without
    /// reason.
    pub fn new(code: CloseCode, reason: &str) -> Self {
        Self::of(CloseFrame::new(code, reason))
    }

    pub(crate) fn frame(&self) -> Option<&CloseFrame> {
        self.frame.as_ref()
    }

    fn of(frame: Result<CloseFrame, UsageError>) -> Self {
        let frame = frame.inspect_err(|error| log::warn!("a refusal cannot be sent: {error}"));
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
        log::info!("a websocket was refused: {error}");
        Self::of(CloseFrame::new(CloseCode::POLICY_VIOLATION, ""))
    }
}
