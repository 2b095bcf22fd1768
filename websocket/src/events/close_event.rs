//! The end of a connection, as an event handler sees it.

use std::fmt;
use std::sync::Arc;

use tidegate_engine::Address;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::session::Session;
use crate::hub::Registration;
use crate::serve::handler_error::HandlerError;

/// How a connection ended, for [`EventHandler::on_close`](crate::EventHandler::on_close).
///
/// ```
/// use tidegate_websocket::CloseEvent;
///
/// fn report(event: &CloseEvent<'_>) {
///     println!("{} has left with {} {:?}", event.peer_addr(), event.code(), event.reason());
///     if let Some(error) = event.error() {
///         println!("because of {error}");
///     }
/// }
/// ```
pub struct CloseEvent<'a> {
    peer: Address,
    frame: Option<&'a CloseFrame>,
    was_clean: bool,
    error: Option<&'a HandlerError>,
    registration: Option<&'a Registration>,
}

impl<'a> CloseEvent<'a> {
    pub(super) fn new(
        session: &'a Session,
        error: Option<&'a HandlerError>,
        registration: Option<&'a Registration>,
    ) -> Self {
        Self {
            peer: session.connection.peer_addr(),
            frame: session.peer_close(),
            was_clean: session.closing.is_clean(),
            error,
            registration,
        }
    }

    /// Returns the peer's address.
    pub fn peer_addr(&self) -> Address {
        self.peer
    }

    /// Returns the code of the peer's close frame: 1005 if it carried none; 1006 if no frame came because the
    /// connection was lost, aborted or ended by us first (RFC 6455 section 7.1.5).
    pub fn code(&self) -> CloseCode {
        match self.frame {
            Some(frame) => frame.code(),
            None if self.was_clean => CloseCode::NO_STATUS,
            None => CloseCode::ABNORMAL,
        }
    }

    /// Returns the reason in the peer's close frame; empty if there is none.
    pub fn reason(&self) -> &'a str {
        self.frame.map_or("", CloseFrame::reason)
    }

    /// Returns whether close frames were exchanged in both directions.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Returns the error that ended the connection: one that a call returned, or one of the connection. `None` if the
    /// peer or [`EventSocket::close`](crate::EventSocket::close) closed it.
    pub fn error(&self) -> Option<&'a HandlerError> {
        self.error
    }

    /// Returns the rooms of the handler's hub that the connection has joined and not left, in no particular order. It
    /// leaves them after this call, which can [publish](crate::Hub::publish) to those who stay.
    pub fn subscriptions(&self) -> Vec<Arc<str>> {
        self.registration.map_or_else(Vec::new, Registration::joined_rooms)
    }
}

impl fmt::Debug for CloseEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseEvent")
            .field("peer", &self.peer)
            .field("code", &self.code())
            .field("reason", &self.reason())
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
