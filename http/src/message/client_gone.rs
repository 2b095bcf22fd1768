//! Notifies a handler when its client has gone.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tidegate_engine::ByteSender;

/// A future that completes when the client of a request has gone: it has reset the connection, or ended its side of it
/// (FIN). [`Request::client_gone`](crate::Request::client_gone) returns it. It can be awaited on any thread, and
/// completes even if bytes of the connection are unread.
///
/// By default a handler is dropped when its client has gone, so this is for work outside the handler, or with
/// [`half_close`](crate::HttpConfig::half_close).
#[derive(Debug, Clone)]
pub struct ClientGone(Option<ByteSender>);

impl ClientGone {
    pub(crate) fn of(connection: Option<ByteSender>) -> ClientGone {
        ClientGone(connection)
    }
}

impl Future for ClientGone {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_ref().map_or(Poll::Ready(()), |connection| connection.poll_peer_end(cx))
    }
}
