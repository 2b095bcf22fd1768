//! Closing a WebSocket (RFC 6455 sections 5.5.1 and 7): the frame that says so, and the handshake it is part of.

mod closing_handshake;
mod frame;

pub use closing_handshake::{Closing, ClosingState, Transport};
pub use frame::{CloseFrame, ClosePayload};
