//! The end of a connection, as the `on_disconnect` hook sees it.

use std::fmt;

use tidegate_engine::Address;
use tidegate_http::RequestHead;

use crate::close_code::CloseCode;
use crate::conn::extensions::Extensions;

/// An application's hook for the end of its connections.
pub(crate) type OnDisconnect = dyn Fn(&Disconnected<'_>) + Send + Sync;

/// How a connection ended, and what was attached to it: for [`on_disconnect`](crate::Upgrade::on_disconnect).
///
/// ```
/// use std::time::Instant;
/// use tidegate_websocket::{Disconnected, upgrade};
///
/// struct Since(Instant);
///
/// let echo = upgrade(async |mut ws| {
///     ws.extensions().insert(Since(Instant::now()));
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// })
/// .on_disconnect(|ended: &Disconnected<'_>| {
///     let seconds = ended.extensions().get::<Since>().map_or(0, |since| since.0.elapsed().as_secs());
///     let how = if ended.panicked() { "its handler panicked" } else { "its handler returned" };
///     println!("{} left with {} after {seconds} s; {how}", ended.peer_addr(), ended.close_code());
/// });
/// ```
pub struct Disconnected<'a> {
    peer: Address,
    code: CloseCode,
    panicked: bool,
    request: Option<&'a RequestHead>,
    extensions: &'a Extensions,
}

impl<'a> Disconnected<'a> {
    pub(crate) fn new(
        peer: Address,
        code: CloseCode,
        panicked: bool,
        request: Option<&'a RequestHead>,
        extensions: &'a Extensions,
    ) -> Self {
        Self { peer, code, panicked, request, extensions }
    }

    /// Returns the peer's address.
    pub fn peer_addr(&self) -> Address {
        self.peer
    }

    /// Returns the code of the peer's close frame: 1005 if it carried none; 1006 if no frame came because the
    /// connection was lost, aborted or ended by us first.
    pub fn close_code(&self) -> CloseCode {
        self.code
    }

    /// Returns whether the handler panicked.
    pub fn panicked(&self) -> bool {
        self.panicked
    }

    /// Returns the head of the request; `None` unless [`keep_request`](crate::Upgrade::keep_request) is set.
    pub fn request(&self) -> Option<&'a RequestHead> {
        self.request
    }

    /// Returns the application's values for the connection.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }
}

impl fmt::Debug for Disconnected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disconnected")
            .field("peer", &self.peer)
            .field("close_code", &self.code)
            .field("panicked", &self.panicked)
            .finish_non_exhaustive()
    }
}
