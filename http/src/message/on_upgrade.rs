//! Upgrading a connection to another protocol (RFC 9110 section 7.8).
//!
//! Owns the closure that takes the connection. The server sends 101, puts the bytes received beyond the request back
//! into the connection, frees everything of HTTP, and then runs the closure, which is the only owner of the connection
//! from then on.

use std::fmt;
use std::future::Future;

use tidegate_engine::Connection;

use crate::message::content_stream::LocalBoxFuture;

/// The other protocol of an upgraded connection: an async function that takes the connection after 101.
///
/// [`Response::upgrade`](crate::Response::upgrade) creates one. Middleware finds it in a response as
/// [`ResponseBody::Upgrade`](crate::ResponseBody::Upgrade):
///
/// ```
/// use http::HeaderValue;
/// use tidegate_http::{Response, ResponseBody};
///
/// let response = Response::upgrade(HeaderValue::from_static("chat"), |mut connection| async move {
///     while let Ok(Some(chunk)) = connection.receive().await {
///         println!("{} bytes", chunk.len());
///     }
/// });
/// assert!(matches!(response.body(), ResponseBody::Upgrade(_)));
/// ```
pub struct OnUpgrade(Box<dyn FnOnce(Connection) -> LocalBoxFuture<'static, ()>>);

impl OnUpgrade {
    pub(crate) fn new<F, Fut>(run: F) -> OnUpgrade
    where
        F: FnOnce(Connection) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        OnUpgrade::from_boxed(|connection| Box::pin(run(connection)))
    }

    /// Creates an upgrade from a function that returns a boxed future, which saves a second box.
    ///
    /// Put it into a 101 as [`ResponseBody::Upgrade`](crate::ResponseBody::Upgrade);
    /// [`Response::upgrade`](crate::Response::upgrade) does both for an async function.
    pub fn from_boxed(run: impl FnOnce(Connection) -> LocalBoxFuture<'static, ()> + 'static) -> OnUpgrade {
        OnUpgrade(Box::new(run))
    }

    /// Starts the other protocol. Its bytes that arrived in the same segment as the request are the first it receives.
    pub(crate) fn start(self, connection: Connection) -> LocalBoxFuture<'static, ()> {
        (self.0)(connection)
    }
}

impl fmt::Debug for OnUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnUpgrade")
    }
}
