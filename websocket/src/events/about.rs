//! What an event handler can learn about a connection, and attach to it.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tidegate_engine::{Address, ByteSender};
use tidegate_http::RequestHead;

use super::{EventHandler, EventSocket};
use crate::conn::attachments::Attachments;
use crate::conn::closed::Closed;
#[cfg(feature = "compression")]
use crate::conn::compression::CompressionStatus;
use crate::conn::extensions::Extensions;
use crate::reserved_bits::ReservedBits;

/// # About the connection
impl<H: EventHandler> EventSocket<'_, H> {
    /// Returns the handler.
    pub fn handler(&self) -> &H {
        self.handler
    }

    /// Returns the address of the peer.
    pub fn peer_addr(&self) -> Address {
        self.around.sender.peer_addr()
    }

    /// Returns the address on our side.
    pub fn local_addr(&self) -> Address {
        self.around.sender.local_addr()
    }

    /// Returns the agreed subprotocol; `None` if the client offered none of
    /// [`Upgrade::subprotocols`](crate::Upgrade::subprotocols).
    pub fn subprotocol(&self) -> Option<&str> {
        self.around.context.subprotocol.as_deref()
    }

    /// Returns the head of the upgraded request; `None` unless [`keep_request`](crate::Upgrade::keep_request) is set.
    pub fn request(&self) -> Option<&RequestHead> {
        self.around.context.attachments.as_ref()?.request.as_ref()
    }

    /// Returns the application's values for this connection, including the one from
    /// [`authorize`](crate::Upgrade::authorize). The state needs them only to be reached from elsewhere, such as by
    /// [`Users`](crate::Users). The first call costs about 500 bytes for the life of the connection.
    pub fn extensions(&mut self) -> Extensions {
        self.attachments_mut().extensions.clone()
    }

    /// Returns the application's value of this type, such as that of [`authorize`](crate::Upgrade::authorize); `None`
    /// if there is none.
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.attachments()?.extensions.get()
    }

    /// Returns a future that completes when the connection has ended, for tasks and threads that serve it. It costs as
    /// much as [`extensions`](Self::extensions). The handler itself has [`on_close`](EventHandler::on_close).
    pub fn closed(&mut self) -> Closed {
        let sender = self.around.sender;
        self.attachments_mut().closed.closed(sender)
    }

    /// Returns the round-trip time of the last answered ping of the [keepalive](crate::WebSocketConfig::keepalive),
    /// including the time until this thread found the pong; `None` before the first.
    pub fn rtt(&self) -> Option<Duration> {
        self.around.rtt()
    }

    /// Returns the reserved bits of the message that is being delivered, for its extension: see
    /// [`WebSocketConfig::reserved_bits`](crate::WebSocketConfig::reserved_bits).
    pub fn reserved_bits(&self) -> ReservedBits {
        self.around.reserved_bits()
    }

    /// Returns the agreed compression and its present cost; `None` if none was agreed on. `held_bytes` are those of
    /// sending alone.
    #[cfg(feature = "compression")]
    #[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
    pub fn compression(&self) -> Option<CompressionStatus> {
        Some(self.around.context.encoding.as_ref()?.compression()?.status(0))
    }

    /// Returns the sending half of the connection below, with its timers, its TLS session, the socket's options and the
    /// kernel's TCP state.
    pub fn connection(&self) -> &ByteSender {
        self.around.sender
    }

    /// Those that this call has made are the connection's when the call has returned.
    fn attachments(&self) -> Option<&Arc<Attachments>> {
        self.around.context.attachments.as_ref().or_else(|| self.flow.new_attachments())
    }

    fn attachments_mut(&mut self) -> &Arc<Attachments> {
        match &self.around.context.attachments {
            Some(attachments) => attachments,
            None => self.flow.new_attachments_mut(),
        }
    }
}
