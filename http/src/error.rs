//! Errors, sorted by whose fault they are.
//!
//! [`RequestError`]: the peer broke the protocol or a limit; [`RequestError::status`] is the one place that maps it to
//! a status code. [`BodyError`]: a handler's reading of content failed. [`ResponseError`]: the application gave a
//! response that cannot be sent.

use http::StatusCode;
use thiserror::Error;
use tidegate_engine::{CloseCause, ReceiveError, SendError};

/// A refused request.
///
/// The server answers with [`status`](RequestError::status) and closes the connection: where the next request begins is
/// no longer reliable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The method is not a token (RFC 9110 section 9.1), or the bytes are not HTTP at all.
    #[error("invalid method: must be a token such as GET")]
    Method,
    /// The method is longer than 32 bytes; the longest registered one has 17.
    #[error("unknown method: longer than 32 bytes")]
    MethodTooLong,
    /// CONNECT asks for a tunnel, which only a proxy can provide (RFC 9110 section 9.3.6).
    #[error("unsupported method CONNECT: this server is not a proxy")]
    Connect,
    /// The request line is not `method SP request-target SP HTTP-version` (RFC 9112 section 3).
    #[error("malformed request line: must be `method SP request-target SP HTTP-version`")]
    RequestLine,
    /// The request-target has an invalid byte, or its form does not match the method (RFC 9112 section 3.2).
    #[error("invalid request-target: must be a path or an http URI, percent-encoded")]
    Target,
    /// The request-target is longer than [`target_bytes_max`](crate::Limits::target_bytes_max) (RFC 9112 section 3).
    #[error("request-target too long")]
    TargetTooLong,
    /// The third part of the request line is not an HTTP version (RFC 9112 section 2.3).
    #[error("malformed HTTP version: must be HTTP/1.0 or HTTP/1.1")]
    VersionMalformed,
    /// Another major version than 1. HTTP/2 with prior knowledge ends here, by its preface. Higher minor versions are
    /// processed as HTTP/1.1 (RFC 9110 section 2.5).
    #[error("unsupported HTTP version: must be HTTP/1.0 or HTTP/1.1")]
    VersionUnsupported,
    /// A line ends with a line feed alone. RFC 9112 section 2.2 lets a recipient accept it, but two recipients that
    /// disagree about it disagree about where a request ends.
    #[error("invalid line end: must be CRLF")]
    BareLineFeed,
    /// More than one empty line before the request line (RFC 9112 section 2.2).
    #[error("more than one empty line before the request line")]
    EmptyLines,
    /// A field name is not a token, is followed by whitespace (RFC 9112 section 5.1), or the line continues the one
    /// before it (obs-fold, section 5.2).
    #[error("invalid field name: must be a token, with a colon right after it")]
    FieldName,
    /// A field value has a control character, such as NUL or a bare CR (RFC 9110 section 5.5).
    #[error("invalid field value: control characters are not allowed")]
    FieldValue,
    /// More fields than [`fields_max`](crate::Limits::fields_max).
    #[error("too many fields")]
    TooManyFields,
    /// The head is larger than [`head_bytes_max`](crate::Limits::head_bytes_max).
    #[error("request head too large")]
    HeadTooLarge,
    /// An HTTP/1.1 request without Host (RFC 9112 section 3.2).
    #[error("missing Host field")]
    HostMissing,
    /// More than one Host (RFC 9112 section 3.2).
    #[error("more than one Host field")]
    HostRepeated,
    /// Host is not `uri-host [ ":" port ]` (RFC 9110 section 7.2).
    #[error("invalid Host field: must be `host` or `host:port`")]
    HostInvalid,
    /// Content-Length is not one decimal number (RFC 9112 section 6.3).
    #[error("invalid Content-Length field: must be one decimal number")]
    ContentLength,
    /// More than one Content-Length, equal or not: the sender is not in control of its framing.
    #[error("more than one Content-Length field")]
    ContentLengthRepeated,
    /// Transfer-Encoding together with Content-Length (RFC 9112 section 6.1).
    #[error("both Transfer-Encoding and Content-Length: only one is allowed")]
    TransferEncodingWithLength,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1).
    #[error("Transfer-Encoding is not allowed in HTTP/1.0")]
    TransferEncodingIn10,
    /// chunked is not the final transfer coding, or occurs twice (RFC 9112 section 6.3).
    #[error("invalid Transfer-Encoding field: chunked must be the final coding, once")]
    TransferEncodingNotChunked,
    /// A transfer coding other than chunked (RFC 9112 section 6.1).
    #[error("unsupported transfer coding: only chunked is supported")]
    TransferCodingUnsupported,
    /// Expect with anything but `100-continue` (RFC 9110 section 10.1.1).
    #[error("unsupported expectation: only 100-continue is supported")]
    Expectation,
    /// The content is larger than [`body_bytes_max`](crate::Limits::body_bytes_max).
    #[error("content too large")]
    BodyTooLarge,
    /// A chunk size is missing, has a byte that is not a hexadecimal digit, or more than 16 digits (RFC 9112,
    /// section 7.1).
    #[error("invalid chunk size: must be 1 to 16 hexadecimal digits")]
    ChunkSize,
    /// A chunk-size line or the sum of all chunk extensions is longer than its limit (RFC 9112 section 7.1.1).
    #[error("chunk extensions too long")]
    ChunkExtensionTooLong,
    /// Chunk data is not followed by CRLF (RFC 9112 section 7.1).
    #[error("invalid chunk: its data must be followed by CRLF")]
    ChunkEnd,
    /// The trailer section has an invalid line (RFC 9112 section 7.1.2).
    #[error("invalid trailer section")]
    Trailer,
    /// The trailer section is larger than [`trailer_bytes_max`](crate::Limits::trailer_bytes_max), or has too many
    /// fields.
    #[error("trailer section too large")]
    TrailerTooLarge,
    /// The peer ended its stream within a request (RFC 9112 section 8).
    #[error("incomplete request: the peer ended its stream")]
    Incomplete,
    /// The head, or the content that the handler was reading, did not arrive in time.
    #[error("request took too long to arrive")]
    Timeout,
}

impl RequestError {
    /// Returns the status code of the answer.
    pub fn status(&self) -> StatusCode {
        use RequestError as E;
        match self {
            E::Timeout => StatusCode::REQUEST_TIMEOUT,
            E::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            E::TargetTooLong => StatusCode::URI_TOO_LONG,
            E::Expectation => StatusCode::EXPECTATION_FAILED,
            E::TooManyFields | E::HeadTooLarge | E::TrailerTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            E::MethodTooLong | E::Connect | E::TransferCodingUnsupported => StatusCode::NOT_IMPLEMENTED,
            E::VersionUnsupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            E::Method
            | E::RequestLine
            | E::Target
            | E::VersionMalformed
            | E::BareLineFeed
            | E::EmptyLines
            | E::FieldName
            | E::FieldValue
            | E::HostMissing
            | E::HostRepeated
            | E::HostInvalid
            | E::ContentLength
            | E::ContentLengthRepeated
            | E::TransferEncodingWithLength
            | E::TransferEncodingIn10
            | E::TransferEncodingNotChunked
            | E::ChunkSize
            | E::ChunkExtensionTooLong
            | E::ChunkEnd
            | E::Trailer
            | E::Incomplete => StatusCode::BAD_REQUEST,
        }
    }
}

/// A failure to read a request's content.
///
/// It converts into a response: a handler that returns it with `?` answers with [`status`](BodyError::status).
///
/// ```
/// use tidegate_http::{BodyError, Request, Response};
///
/// async fn save(mut request: Request) -> Result<Response, BodyError> {
///     let content = request.bytes_up_to(64 * 1024).await?; // 413 beyond 64 KiB
///     Ok(Response::text(format!("{} bytes saved", content.len())))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The peer broke the protocol or a limit of the server, or its content did not arrive in time.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The content is larger than the limit given to [`bytes_up_to`](crate::Request::bytes_up_to), in bytes.
    #[error("content too large: at most {0} bytes are allowed")]
    TooLarge(u64),
    /// The content was to be held in memory, and all large contents together hold as much as they may
    /// ([`MemoryConfig`](tidegate_engine::MemoryConfig)). The connection is closed after the response.
    #[error("out of memory for large content: try again later")]
    MemorySpent,
    /// [`text`](crate::Request::text) was called, and the content is not UTF-8.
    #[error("invalid text: the content must be UTF-8")]
    NotText,
    /// The request is over: its response was sent, or the connection was upgraded to another protocol.
    #[error("the request is over: content must be read before the response is sent")]
    Finished,
    /// A layer around the handler refused or could not read the content, with the reason.
    #[error("content refused: {0}")]
    Layer(String),
    /// The connection was closed, with the cause.
    #[error("connection closed: {0}")]
    Connection(CloseCause),
}

impl BodyError {
    /// Returns the status code of the answer, unless the handler chooses another.
    pub fn status(&self) -> StatusCode {
        match self {
            BodyError::Request(error) => error.status(),
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::MemorySpent => StatusCode::SERVICE_UNAVAILABLE,
            BodyError::NotText => StatusCode::BAD_REQUEST,
            BodyError::Finished => StatusCode::INTERNAL_SERVER_ERROR,
            BodyError::Layer(_) | BodyError::Connection(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<ReceiveError> for BodyError {
    fn from(error: ReceiveError) -> BodyError {
        match error {
            ReceiveError::Closed(cause) => BodyError::Connection(cause),
            _ => BodyError::Request(RequestError::Timeout),
        }
    }
}

impl From<SendError> for BodyError {
    fn from(error: SendError) -> BodyError {
        match error {
            SendError::Closed(cause) => BodyError::Connection(cause),
            _ => BodyError::Finished,
        }
    }
}

/// A misuse of the response side of [`Protocol`](crate::protocol::Protocol) by the application.
///
/// Nothing is written. If a part of the response was sent before, the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// Out of order: a second response, or content before the head.
    #[error("out of order: no request awaits a response, or its head was not sent")]
    OutOfTurn,
    /// More or less content than the announced length.
    #[error("content does not match the announced length: return the right `ContentStream::length`, or None")]
    LengthMismatch,
    /// A final response with an informational status, or 101 to a request that did not ask for an upgrade.
    #[error("invalid status: a response must be final, and 101 needs a request that asks for an upgrade")]
    Status,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_an_error_status() {
        for error in [RequestError::Method, RequestError::Timeout, RequestError::Connect, RequestError::TrailerTooLarge]
        {
            assert!(error.status().is_client_error() || error.status().is_server_error());
        }
        assert_eq!(BodyError::TooLarge(4).status(), 413);
        assert_eq!(BodyError::MemorySpent.status(), 503);
        assert_eq!(BodyError::from(RequestError::BodyTooLarge).status(), 413);
    }
}
