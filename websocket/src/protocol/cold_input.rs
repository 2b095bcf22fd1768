//! What few connections need to receive.

use super::control::CutPayload;
use crate::deflate::{DeflateParams, Inflation};
use crate::role::Role;

/// State on the heap: of compressed messages, and of a control frame that is cut.
#[derive(Debug, Default)]
pub(super) struct ColdInput {
    /// Present for good if the peer may compress.
    pub(super) inflation: Option<Inflation>,
    /// The payload of a control frame that is cut.
    pub(super) cut_control: Option<Box<CutPayload>>,
}

impl ColdInput {
    pub(super) const fn inflating(params: DeflateParams, role: Role) -> Self {
        Self { inflation: Some(Inflation::new(params, role)), cut_control: None }
    }

    /// Bytes held between messages to inflate what the peer compresses.
    pub(super) fn inflation_bytes(&self) -> usize {
        self.inflation.as_ref().map_or(0, Inflation::held_bytes)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.inflation_bytes() + self.cut_control.as_ref().map_or(0, |_| size_of::<CutPayload>())
    }
}
