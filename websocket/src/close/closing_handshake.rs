//! The closing handshake, for both roles: what can still be sent, and when and by which side the TCP connection is
//! closed (RFC 6455 sections 5.5.1, 7.1 and 1.4).
//!
//! ```text
//!                 we send close                    the peer's close comes
//!        ┌─────────────────────────▶ CloseSent ────────────────────────────┐
//!        │                               │                                 ▼
//!      Open                              │ end of stream, deadline       Done ── server: FIN, drain, close
//!        │                               ▼                                 ▲     client: wait for the FIN,
//!        │ the peer's close comes       Lost                               │             bounded, then close
//!        └─────────────────────────▶ CloseReceived ────────────────────────┘
//!                                                  we send close (the echo)
//!
//!      Open, CloseSent, CloseReceived ── the peer breaks a rule ──▶ Failed: send close if none was, FIN, drain, close
//!      Open, CloseReceived ── end of stream ──▶ Lost: close
//! ```
//!
//! Held by the owner of a connection next to a [`Protocol`](crate::protocol::Protocol). It does no I/O and has no
//! clock: the owner reports what happened and asks what to do. Every transition is in this file. Unread input is
//! drained before a socket is closed, because the kernel would answer it with RST and the peer would lose our close
//! frame.

use crate::role::Role;
use crate::usage_error::UsageError;

/// The progress of the closing handshake.
///
/// The owner of a connection notes what happens, and asks what to do with the TCP connection:
///
/// ```
/// use tidegate_websocket::protocol::{Closing, ClosingState, Role, Transport};
///
/// let mut closing = Closing::new(Role::Server);
/// assert_eq!(closing.transport(), Transport::Keep);
/// closing.receive_close(); // the peer closes
/// assert_eq!(closing.transport(), Transport::SendClose);
/// closing.send_close()?; // so we answer
/// assert_eq!((closing.state(), closing.transport()), (ClosingState::Done, Transport::Shutdown));
/// # Ok::<(), tidegate_websocket::UsageError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    role: Role,
    state: ClosingState,
}

/// The states of the [closing handshake](Closing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosingState {
    /// Neither side has sent a close frame.
    Open,
    /// We have sent one. The peer's is awaited, and messages before it are still received.
    CloseSent,
    /// The peer has sent one. Ours is due; a message that was begun can be finished first.
    CloseReceived,
    /// Both have sent one: the WebSocket connection is closed cleanly.
    Done,
    /// The peer broke a rule.
    Failed {
        /// Whether our close frame has been sent, before or because of the failure.
        close_sent: bool,
    },
    /// The stream ended, or the time for an answer, before both close frames were exchanged: the application sees 1006.
    Lost,
}

/// What to do with the TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// Keep it open.
    Keep,
    /// Send a close frame: the echo of the peer's, or one of the error's
    /// [`close_code`](crate::ProtocolError::close_code).
    SendClose,
    /// Keep reading until the peer's close frame, for a bounded time.
    AwaitClose,
    /// Keep reading until the peer's end of stream, for a bounded time: the server closes first, so that the client's
    /// port is not left in TIME_WAIT.
    AwaitEnd,
    /// Flush, send FIN, drain the peer's input for a bounded time, close.
    Shutdown,
    /// Close at once: the peer is gone.
    Close,
}

impl Closing {
    /// Returns the state of an open connection.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role, state: ClosingState::Open }
    }

    /// Returns our role.
    pub(crate) const fn role(self) -> Role {
        self.role
    }

    /// Returns the state.
    #[must_use]
    pub const fn state(self) -> ClosingState {
        self.state
    }

    /// Checks that frames other than close can still be sent.
    ///
    /// # Errors
    /// [`UsageError::CloseSent`] once our close frame was sent, or the connection failed or was lost.
    pub const fn check_may_send(self) -> Result<(), UsageError> {
        match self.state {
            ClosingState::Open | ClosingState::CloseReceived => Ok(()),
            ClosingState::CloseSent | ClosingState::Done | ClosingState::Failed { .. } | ClosingState::Lost => {
                Err(UsageError::CloseSent)
            }
        }
    }

    /// Notes that we are about to send a close frame, our last frame.
    ///
    /// # Errors
    /// [`UsageError::CloseSent`] if one was already sent or the peer is gone: then send none.
    pub const fn send_close(&mut self) -> Result<(), UsageError> {
        self.state = match self.state {
            ClosingState::Open => ClosingState::CloseSent,
            ClosingState::CloseReceived => ClosingState::Done,
            ClosingState::Failed { close_sent: false } => ClosingState::Failed { close_sent: true },
            ClosingState::CloseSent
            | ClosingState::Done
            | ClosingState::Failed { close_sent: true }
            | ClosingState::Lost => return Err(UsageError::CloseSent),
        };
        Ok(())
    }

    /// Notes that the peer's close frame has arrived.
    pub const fn receive_close(&mut self) {
        self.state = match self.state {
            ClosingState::Open => ClosingState::CloseReceived,
            ClosingState::CloseSent => ClosingState::Done,
            state => state,
        };
    }

    /// Notes that the peer broke a rule.
    pub const fn fail(&mut self) {
        self.state = match self.state {
            ClosingState::Open | ClosingState::CloseReceived => ClosingState::Failed { close_sent: false },
            ClosingState::CloseSent => ClosingState::Failed { close_sent: true },
            state => state,
        };
    }

    /// Notes that the peer's stream ended, or that it did not answer in time.
    pub const fn lose(&mut self) {
        self.state = match self.state {
            ClosingState::Open | ClosingState::CloseSent | ClosingState::CloseReceived => ClosingState::Lost,
            state => state,
        };
    }

    /// Returns whether close frames were exchanged in both directions (RFC 6455 section 7.1.4).
    #[must_use]
    pub const fn is_clean(self) -> bool {
        matches!(self.state, ClosingState::Done)
    }

    /// Returns what to do with the TCP connection now.
    #[must_use]
    pub const fn transport(self) -> Transport {
        match (self.state, self.role) {
            (ClosingState::Open, _) => Transport::Keep,
            (ClosingState::CloseSent, _) => Transport::AwaitClose,
            (ClosingState::CloseReceived | ClosingState::Failed { close_sent: false }, _) => Transport::SendClose,
            (ClosingState::Done, Role::Server) | (ClosingState::Failed { close_sent: true }, _) => Transport::Shutdown,
            (ClosingState::Done, Role::Client) => Transport::AwaitEnd,
            (ClosingState::Lost, _) => Transport::Close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_close_first() {
        for (role, done) in [(Role::Server, Transport::Shutdown), (Role::Client, Transport::AwaitEnd)] {
            let mut closing = Closing::new(role);
            assert_eq!(closing.transport(), Transport::Keep);
            assert_eq!(closing.check_may_send(), Ok(()));
            closing.send_close().unwrap();
            assert_eq!(closing.transport(), Transport::AwaitClose);
            assert_eq!(closing.check_may_send(), Err(UsageError::CloseSent));
            assert_eq!(closing.send_close(), Err(UsageError::CloseSent));
            closing.receive_close();
            assert_eq!(closing.transport(), done);
            assert!(closing.is_clean());
            closing.lose();
            assert!(closing.is_clean(), "the end of stream after both close frames loses nothing");
        }
    }

    #[test]
    fn the_peer_closes_first() {
        let mut closing = Closing::new(Role::Server);
        closing.receive_close();
        assert_eq!(closing.transport(), Transport::SendClose);
        assert_eq!(closing.check_may_send(), Ok(()), "a begun message can be finished");
        closing.send_close().unwrap();
        assert_eq!(closing.transport(), Transport::Shutdown);
        assert_eq!(closing.send_close(), Err(UsageError::CloseSent));
        assert!(closing.is_clean());
    }

    #[test]
    fn a_failed_connection_sends_one_close_frame_and_shuts_down() {
        for role in [Role::Server, Role::Client] {
            let mut closing = Closing::new(role);
            closing.fail();
            assert_eq!(closing.check_may_send(), Err(UsageError::CloseSent));
            assert_eq!(closing.transport(), Transport::SendClose);
            closing.send_close().unwrap();
            assert_eq!(closing.transport(), Transport::Shutdown);
            assert_eq!(closing.send_close(), Err(UsageError::CloseSent));
            closing.receive_close();
            assert!(!closing.is_clean());

            let mut closing = Closing::new(role);
            closing.send_close().unwrap();
            closing.fail();
            assert_eq!(closing.transport(), Transport::Shutdown, "no second close frame");
        }
    }

    #[test]
    fn a_stream_that_ends_early_is_lost() {
        let mut sent = Closing::new(Role::Client);
        sent.send_close().unwrap();
        let mut received = Closing::new(Role::Client);
        received.receive_close();
        for mut closing in [Closing::new(Role::Server), sent, received] {
            closing.lose();
            assert_eq!(closing.state(), ClosingState::Lost);
            assert_eq!(closing.transport(), Transport::Close);
            assert_eq!(closing.check_may_send(), Err(UsageError::CloseSent));
            assert_eq!(closing.send_close(), Err(UsageError::CloseSent));
            assert!(!closing.is_clean());
        }
    }
}
