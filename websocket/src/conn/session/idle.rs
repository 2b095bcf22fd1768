//! A session between two messages, as small as possible.

use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_engine::{Chunk, IdleConnection};

use super::cold_state::ColdState;
use super::cursor::Cursor;
use super::read_state::ReadState;
use super::{Around, Session, protocol_config};
use crate::close::{Closing, Transport};
use crate::conn::context::ConnContext;
use crate::protocol::Protocol;

/// What is left of a [`Session`] between messages: data, from which it is made again when something arrives, together
/// with its [`IdleState`]. The deadlines are in the connection, the settings in the context that all connections of a
/// route share.
#[derive(Debug)]
pub(crate) struct IdleSession {
    pub(crate) connection: IdleConnection,
    context: Arc<ConnContext>,
    cold: Option<Box<ColdState>>,
}

/// How far a session has come. Separate from [`IdleSession`], whose owner has room for three bytes that would take a
/// word there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleState {
    closing: Closing,
    read_state: ReadState,
}

// One of each exists for each of very many idle connections.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<IdleSession>() <= 24 && size_of::<IdleState>() <= 3);

impl Session {
    /// Returns whether the session is between messages, and all of its settings are those of its context.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.cursor.is_at_start() && self.connection.is_idle() && self.protocol.is_idle(&protocol_config(&self.context))
    }

    /// Returns how far the session has come.
    #[inline]
    pub(crate) fn idle_state(&self) -> IdleState {
        IdleState { closing: self.closing, read_state: self.read_state }
    }

    /// Puts the session aside. Its [`idle_state`](Self::idle_state) is to be kept with it.
    ///
    /// # Panics
    /// If received bytes are not consumed: it must be [idle](Self::is_idle).
    #[inline]
    pub(crate) fn into_idle(self) -> IdleSession {
        let Self { connection, context, cold, .. } = self;
        let connection = connection.into_idle().expect("an idle session has consumed what it received");
        IdleSession { connection, context, cold }
    }

    /// Lets reads return pings and pongs, once they are handled.
    pub(crate) fn surface_control_frames(&mut self) {
        self.surfaces_control = true;
    }
}

impl IdleSession {
    /// Returns whether messages can be delivered [from chunks](Self::poll_chunk), without a session: neither side
    /// closes, and the lasting state, if there is any, is at rest.
    #[inline]
    pub(crate) fn is_open(&self, state: IdleState) -> bool {
        let is_read = matches!(state.read_state, ReadState::IdleTimeout | ReadState::Deadline);
        self.cold.as_ref().is_none_or(|cold| cold.is_at_rest())
            && is_read
            && state.closing.transport() == Transport::Keep
    }

    /// Takes the next chunk. `None` if a session has to look.
    #[inline]
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>, state: IdleState) -> Poll<Option<Chunk>> {
        match self.connection.poll_chunk(cx) {
            Poll::Pending if self.connection.sender().is_finished() => Poll::Ready(None),
            Poll::Ready(Some(chunk)) => {
                if let (ReadState::IdleTimeout, Some(timeout)) = (state.read_state, self.context.config.idle_timeout) {
                    self.connection.set_read_deadline_in(timeout);
                }
                Poll::Ready(Some(chunk))
            }
            polled => polled,
        }
    }

    /// Returns what a call for a message can use.
    #[inline]
    pub(crate) fn around(&self) -> Around<'_> {
        Around::new(self.connection.sender(), &self.context, &self.cold)
    }

    /// Returns the session, whose reads return pings and pongs.
    #[inline]
    pub(crate) fn into_session(self, state: IdleState) -> Session {
        let Self { connection, context, cold } = self;
        Session {
            connection: connection.into_connection(),
            protocol: Protocol::new(protocol_config(&context)),
            closing: state.closing,
            read_state: state.read_state,
            surfaces_control: true,
            cursor: Cursor::default(),
            context,
            cold,
        }
    }
}
