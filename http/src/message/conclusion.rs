//! What the fields of a request mean for its content and its connection.
//!
//! Plain values. `protocol::header_facts` draws the conclusion; it is kept with the head, because an equal head means
//! the same.

/// How the end of a request's content is determined (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    /// There is no content.
    None,
    /// The number of bytes, never zero.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
}

/// What the fields of a request mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conclusion {
    pub(crate) framing: RequestFraming,
    /// Whether another request can follow.
    pub(crate) persistent: bool,
    /// Whether the peer waits for 100 (Continue) before it sends content.
    pub(crate) expects_continue: bool,
    /// Whether the peer asks for another protocol and is allowed to.
    pub(crate) upgrade: bool,
}
