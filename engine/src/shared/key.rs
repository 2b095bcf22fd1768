//! The identity of a connection within its worker.

/// Identifies one connection of one worker during its life. A reused slot has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}
