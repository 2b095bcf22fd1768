//! Handing a connection over to another protocol (RFC 9110, section 7.8).
//!
//! Owns the closure that takes the connection. The serving loop sends 101, puts the bytes it received beyond the
//! request back into the connection, frees everything of HTTP, and then runs the closure: whatever it is, it is the
//! only owner of the connection from there on.

use std::fmt;
use std::future::Future;

use tidegate_engine::Connection;

use crate::message::content_stream::LocalBoxFuture;

/// What takes a connection over after 101; see [`Response::upgrade`](crate::Response::upgrade).
pub struct OnUpgrade(Box<dyn FnOnce(Connection) -> LocalBoxFuture<()>>);

impl OnUpgrade {
    pub(crate) fn new<F, Fut>(take: F) -> OnUpgrade
    where
        F: FnOnce(Connection) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        OnUpgrade(Box::new(|connection| Box::pin(take(connection))))
    }

    /// Starts the other protocol. Its bytes that came in the same segment as the request are the first it receives.
    pub(crate) fn start(self, connection: Connection) -> LocalBoxFuture<()> {
        (self.0)(connection)
    }
}

impl fmt::Debug for OnUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnUpgrade")
    }
}
