//! What is wrong with a response.

use thiserror::Error;

/// A server's response that cannot be read, because it breaks the protocol or a limit. Close the connection: where the
/// next response begins is not reliable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum InvalidResponse {
    /// The first line is not `HTTP-version SP status-code SP [reason]` (RFC 9112 section 4).
    #[error("malformed status line: the peer does not seem to speak HTTP/1.1")]
    StatusLine,
    /// A line ends with a line feed alone.
    #[error("invalid line end in the response: must be CRLF")]
    BareLineFeed,
    /// A field name is not a token, is followed by whitespace, or the line continues the one before it.
    #[error("invalid field name in the response: must be a token, with a colon right after it")]
    FieldName,
    /// A field value has a control character.
    #[error("invalid field value in the response: control characters are not allowed")]
    FieldValue,
    /// More fields than [`fields_max`](crate::Limits::fields_max).
    #[error("too many fields in the response")]
    TooManyFields,
    /// The head, with the interim responses before it, is larger than
    /// [`head_bytes_max`](crate::Limits::head_bytes_max).
    #[error("response head too large")]
    HeadTooLarge,
    /// Content-Length is not one decimal number, or occurs more than once, or together with Transfer-Encoding (RFC 9112
    /// section 6.3).
    #[error("the length of the response is ambiguous: must be one Content-Length, or Transfer-Encoding")]
    Length,
    /// A chunk or the trailer section is malformed or too long (RFC 9112 section 7.1).
    #[error("invalid chunk in the response")]
    Chunk,
    /// The peer ended its stream within the response.
    #[error("incomplete response: the peer ended its stream")]
    Incomplete,
}
