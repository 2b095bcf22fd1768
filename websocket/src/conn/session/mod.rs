//! The session of a WebSocket: its state, and everything that reading does.
//!
//! Feeds the sans-I/O [`Protocol`] from the connection's buffer, in place, and does what [`Closing`] says. Owned by the
//! [`WebSocket`](crate::WebSocket) while the handler has it, then by the task around the handler for the closing
//! handshake. Control frames are answered as they are found, whichever read finds them.

mod close_handshake;
mod cold_state;
mod control;
mod cursor;
mod deliver;
mod farewell;
mod gathering;
mod idle;
mod keepalive;
mod owned;
mod pieces;
mod ping;
mod read;
mod read_state;
mod rest;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_engine::Connection;

use crate::close::{CloseFrame, Closing, Transport};
use crate::conn::attachments::Attachments;
use crate::conn::closed::Closed;
use crate::conn::compression::Compression;
use crate::conn::context::ConnContext;
use crate::conn::control_handlers::ControlHandlers;
use crate::conn::encoding::Encoding;
use crate::conn::frame_queue::{ControlQueue, FrameQueue};
use crate::conn::message_writer::MessageWriter;
use crate::conn::sender::Sender;
use crate::frame::FrameRules;
use crate::protocol::{Protocol, ProtocolConfig};
use crate::reserved_bits::ReservedBits;

use cold_state::ColdState;
use cursor::Cursor;
pub(crate) use deliver::{Around, Arrived};
pub(crate) use idle::{IdleSession, IdleState};
pub(crate) use owned::OwnedSession;
pub(crate) use pieces::{MessagePiece, PiecePayload};
use read_state::ReadState;

/// The state of a [`WebSocket`](crate::WebSocket); it outlives the handler for the closing handshake. Its owner ends it
/// with [`end`](Session::end), as [`OwnedSession`] does.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) protocol: Protocol,
    pub(crate) closing: Closing,
    read_state: ReadState,
    /// Whether reads return pings and pongs, once they are handled.
    surfaces_control: bool,
    pub(crate) cursor: Cursor,
    context: Arc<ConnContext>,
    pub(crate) cold: Option<Box<ColdState>>,
}

// One of these exists for each of very many idle connections.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Session>() <= 88);

/// Returns the engine's idle timeout that goes with a WebSocket's. It is longer, so a handler that reads closes first
/// and gets the error. It applies whatever the handler is waiting for, and sends the farewell.
fn unread_idle_timeout(timeout: Duration) -> Duration {
    timeout.saturating_add((timeout / 4).max(Duration::from_millis(250)))
}

/// Returns the protocol's settings for connections of this context.
fn protocol_config(context: &ConnContext) -> ProtocolConfig {
    let role = context.role();
    let frames = FrameRules::new(role)
        .message_bits(context.config.reserved_bits)
        .reserved_control(context.control.reserved.is_some());
    ProtocolConfig::new(role)
        .frames(frames)
        .message_bytes_max(context.config.message_bytes_max)
        .agreed_deflate(context.encoding.as_ref().and_then(|encoding| encoding.compression()).map(Compression::params))
}

impl Session {
    pub(crate) fn new(connection: Connection, context: Arc<ConnContext>) -> Self {
        let (config, role) = (&context.config, context.role());
        connection.set_farewell_timeout(config.close_timeout.saturating_mul(2));
        connection.set_farewell(farewell::going_away(role));
        connection.set_write_timeout(config.write_timeout);
        if let Some(timeout) = config.idle_timeout {
            connection.set_idle_timeout(Some(unread_idle_timeout(timeout)));
        }
        let mut session = Self {
            connection,
            protocol: Protocol::new(protocol_config(&context)),
            closing: Closing::new(role),
            read_state: ReadState::open(config.idle_timeout.is_some()),
            surfaces_control: false,
            cursor: Cursor::default(),
            context,
            cold: None,
        };
        session.renew_idle_timeout();
        session.set_keepalive(session.context.config.keepalive);
        session
    }

    #[inline]
    fn renew_idle_timeout(&self) {
        if let (ReadState::IdleTimeout, Some(timeout)) = (self.read_state, self.context.config.idle_timeout) {
            self.connection.set_read_deadline_in(timeout);
        }
    }

    /// See [`WebSocket::set_idle_timeout`](crate::WebSocket::set_idle_timeout).
    pub(crate) fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.notice_farewell();
        Arc::make_mut(&mut self.context).config.idle_timeout = timeout;
        if self.closing.transport() == Transport::Keep {
            self.connection.set_idle_timeout(timeout.map(unread_idle_timeout));
            self.begin_reading(None);
        }
    }

    /// See [`WebSocket::set_read_deadline`](crate::WebSocket::set_read_deadline).
    pub(crate) fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.notice_farewell();
        if self.closing.transport() != Transport::Keep {
            return;
        }
        let idle = self.read_state == ReadState::IdleTimeout;
        if let Some(timeout) = self.context.config.idle_timeout.filter(|_| idle == deadline.is_some()) {
            // The deadline replaces the idle timeout, even while nothing is read.
            self.connection.set_idle_timeout((!idle).then(|| unread_idle_timeout(timeout)));
        }
        self.begin_reading(deadline);
    }

    /// Limits reads by a deadline, or else by the idle timeout, if there is one.
    fn begin_reading(&mut self, deadline: Option<Instant>) {
        self.read_state = ReadState::open(deadline.is_none() && self.context.config.idle_timeout.is_some());
        self.connection.set_read_deadline(deadline);
        self.renew_idle_timeout();
    }

    pub(crate) fn frame_queue(&self) -> FrameQueue<'_> {
        FrameQueue(self.connection.sender())
    }

    /// Returns the queue for control frames.
    pub(crate) fn control_queue(&self) -> ControlQueue<'_> {
        ControlQueue::new(self.connection.sender(), self.closing.role())
    }

    /// Returns the writer of messages, which masks those of a client, and compresses where that was agreed on.
    #[inline]
    pub(crate) fn writer(&self) -> MessageWriter<'_> {
        MessageWriter::new(self.frame_queue(), self.encoding())
    }

    pub(crate) fn sender(&self) -> Sender {
        Sender::new(self.connection.sender().clone(), self.context.encoding.clone())
    }

    pub(crate) fn context(&self) -> &ConnContext {
        &self.context
    }

    #[inline]
    fn encoding(&self) -> Option<&Encoding> {
        self.context.encoding.as_deref()
    }

    /// Returns the compressor, if compression was agreed on.
    pub(crate) fn compression(&self) -> Option<&Compression> {
        self.encoding()?.compression()
    }

    pub(crate) fn attachments(&self) -> Option<&Attachments> {
        self.context.attachments.as_deref()
    }

    /// Gives the session attachments, unless it has some.
    pub(crate) fn attach(&mut self, attachments: Arc<Attachments>) {
        if self.context.attachments.is_none() {
            self.context = self.context.with_attachments(attachments);
        }
    }

    pub(crate) fn attachments_mut(&mut self) -> &Attachments {
        ConnContext::attachments_of(&mut self.context)
    }

    /// Returns this connection's own handlers of control frames.
    pub(crate) fn control_mut(&mut self) -> &mut ControlHandlers {
        &mut Arc::make_mut(&mut self.context).control
    }

    pub(crate) fn closed(&mut self) -> Closed {
        ConnContext::attachments_of(&mut self.context).closed.closed(self.connection.sender())
    }

    pub(crate) fn peer_close(&self) -> Option<&CloseFrame> {
        self.cold.as_ref()?.peer_close.as_ref()
    }

    /// See [`WebSocket::allow_reserved_bits`](crate::WebSocket::allow_reserved_bits).
    pub(crate) fn allow_reserved_bits(&mut self, bits: ReservedBits) {
        let rules = self.protocol.frame_rules_mut();
        rules.message_bits = rules.message_bits | bits;
    }

    /// Returns the reserved bits of the last message that was read.
    pub(crate) fn reserved_bits(&self) -> ReservedBits {
        self.around().reserved_bits()
    }
}
