//! What the fields of a request mean for its content and its connection.
//!
//! Plain values. `protocol::header_facts` decides them; a head keeps them, as an equal head means the same.

/// How the end of a request's content is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    /// There is no content.
    None,
    /// So many bytes, never zero.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
}

/// What the fields mean for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conclusion {
    pub(crate) framing: RequestFraming,
    /// Whether another request may follow.
    pub(crate) persistent: bool,
    /// Whether the peer waits for 100 before it sends content.
    pub(crate) expects_continue: bool,
    /// Whether the peer asks for another protocol, and may.
    pub(crate) upgrade: bool,
}
