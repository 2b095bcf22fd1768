//! The close frame and the closing handshake (RFC 6455 sections 5.5.1 and 7).

mod closing_handshake;
mod frame;

pub use closing_handshake::{Closing, ClosingState, Transport};
pub use frame::{CloseFrame, ClosePayload};
