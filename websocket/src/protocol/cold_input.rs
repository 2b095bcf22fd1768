//! State of receiving that few connections need.

use super::control::CutPayload;
use crate::deflate::{DeflateParams, Inflation};
use crate::role::Role;

/// The state of compressed messages and of a control frame that has arrived in part.
#[derive(Debug, Default)]
pub(super) struct ColdInput {
    /// `Some` for the life of a connection whose peer can compress.
    pub(super) inflation: Option<Inflation>,
    /// The payload of a control frame that has arrived in part.
    pub(super) cut_control: Option<Box<CutPayload>>,
}

impl ColdInput {
    pub(super) const fn inflating(params: DeflateParams, role: Role) -> Self {
        Self { inflation: Some(Inflation::new(params, role)), cut_control: None }
    }

    /// Returns the bytes held between messages to inflate the peer's.
    pub(super) fn inflation_bytes(&self) -> usize {
        self.inflation.as_ref().map_or(0, Inflation::held_bytes)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.inflation_bytes() + self.cut_control.as_ref().map_or(0, |_| size_of::<CutPayload>())
    }
}
