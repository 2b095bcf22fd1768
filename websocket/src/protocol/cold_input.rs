//! State of receiving that few connections need at a time, and what it holds.

use super::control::CutPayload;
use super::{Incoming, Protocol};
use crate::deflate::{DeflateParams, Inflater, Inflation};
use crate::frame::FramePlace;
use crate::role::Role;

/// What has arrived in part, and the state of compressed messages.
#[derive(Debug, Default)]
pub(super) struct ColdInput {
    /// The place in the open frame.
    pub(super) place: FramePlace,
    pub(super) incoming: Incoming,
    /// `Some` for the life of a connection whose peer can compress.
    pub(super) inflation: Option<Inflation>,
    /// The payload of a control frame that has arrived in part.
    pub(super) cut_control: Option<Box<CutPayload>>,
}

impl ColdInput {
    pub(super) fn inflating(params: DeflateParams, role: Role) -> Self {
        Self { inflation: Some(Inflation::new(params, role)), ..Self::default() }
    }

    /// Returns whether no message and no frame is open.
    #[inline]
    pub(super) fn is_between(&self) -> bool {
        matches!(self.incoming, Incoming::Between) && self.place.is_between_frames()
    }

    /// Returns whether the next message begins with nothing of this.
    #[inline]
    pub(super) fn is_needless(&self) -> bool {
        self.is_between() && self.inflation.is_none() && self.cut_control.is_none()
    }

    /// Returns whether the open message is compressed.
    #[inline]
    pub(super) fn is_inflating(&self) -> bool {
        self.inflation.as_ref().is_some_and(Inflation::is_open)
    }

    /// Returns the inflater of the open message, if that is compressed.
    #[inline]
    pub(super) fn inflater(&mut self) -> Option<&mut Inflater> {
        self.inflation.as_mut()?.open()
    }

    /// Returns the bytes held between messages to inflate the peer's.
    pub(super) fn inflation_bytes(&self) -> usize {
        self.inflation.as_ref().map_or(0, Inflation::held_bytes)
    }

    pub(super) fn held_bytes(&self) -> usize {
        let message = match &self.incoming {
            Incoming::Assembling { assembler, .. } => assembler.capacity(),
            Incoming::Between | Incoming::Streaming { .. } => 0,
        };
        message + self.inflation_bytes() + self.cut_control.as_ref().map_or(0, |_| size_of::<CutPayload>())
    }
}

impl Protocol {
    /// Returns the number of heap bytes held: for a message or control frame that has arrived in part, and for the
    /// context of compressed messages if it is kept between them.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.held_bytes())
    }

    /// Returns the bytes gathered of the open message.
    #[inline]
    pub(crate) fn gathered_bytes(&self) -> usize {
        match self.cold.as_ref().map(|cold| &cold.incoming) {
            Some(Incoming::Assembling { assembler, .. }) => assembler.len(),
            Some(Incoming::Between | Incoming::Streaming { .. }) | None => 0,
        }
    }

    /// Returns whether the input goes on with the start of a message.
    #[inline]
    pub(super) fn is_between(&self) -> bool {
        !self.ended && self.cold.as_ref().is_none_or(|cold| cold.is_between())
    }

    /// Frees the cold state once nothing is open.
    #[inline]
    pub(super) fn free_needless(&mut self) {
        self.cold.take_if(|cold| cold.is_needless());
    }

    /// Returns the open message, if there is one.
    #[inline]
    pub(super) fn incoming_mut(&mut self) -> Option<&mut Incoming> {
        self.cold.as_mut().map(|cold| &mut cold.incoming)
    }
}
