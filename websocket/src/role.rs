//! Our end of the connection.

/// Our end of the connection. Frames to a server must be masked, frames to a client must not (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We accepted the connection.
    Server,
    /// We opened the connection.
    Client,
}
