//! Which end of the connection we are.

/// Which end of the connection *we* are. A server's input must be masked and its output not; a client's the other way
/// round (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We accepted the connection.
    Server,
    /// We opened the connection.
    Client,
}
