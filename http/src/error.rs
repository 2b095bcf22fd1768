//! What can go wrong, sorted by whose fault it is.
//!
//! [`RequestError`]: the peer broke the protocol or a bound; [`RequestError::status`] is the one place that maps it to
//! the status code of the answer. [`BodyError`]: what a handler sees while reading content. [`ResponseError`]: the
//! application gave a response that cannot be sent as it is.

use http::StatusCode;
use thiserror::Error;

/// The peer's request is refused. The connection is answered with [`status`](RequestError::status) and closed, as
/// what follows on it can no longer be told apart reliably.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The method is no token (RFC 9110, section 9.1), or the bytes are no HTTP at all.
    #[error("the method is not a token")]
    Method,
    /// The method is longer than any that could be meant.
    #[error("the method is too long")]
    MethodTooLong,
    /// CONNECT asks for a tunnel, which only a proxy can give (RFC 9110, section 9.3.6).
    #[error("CONNECT is not supported: this is not a proxy")]
    Connect,
    /// The request line is not `method SP request-target SP HTTP-version` (RFC 9112, section 3).
    #[error("the request line is malformed")]
    RequestLine,
    /// The request-target has an invalid byte, or its form does not go with the method (RFC 9112, section 3.2).
    #[error("the request-target is invalid")]
    Target,
    /// The request-target is longer than the bound (RFC 9112, section 3).
    #[error("the request-target is too long")]
    TargetTooLong,
    /// The third part of the request line is no HTTP version (RFC 9112, section 2.3).
    #[error("the HTTP version is malformed")]
    VersionMalformed,
    /// A version other than 1.0 and 1.1; HTTP/2 with prior knowledge is seen here by its preface.
    #[error("only HTTP/1.0 and HTTP/1.1 are supported")]
    VersionUnsupported,
    /// A line ended by a line feed alone. RFC 9112, section 2.2 lets a recipient accept it; two recipients that
    /// disagree about it disagree about where a request ends, so it is refused.
    #[error("a line ends without a carriage return")]
    BareLineFeed,
    /// More than one empty line before the request line (RFC 9112, section 2.2).
    #[error("empty lines before the request line")]
    EmptyLines,
    /// A field name is no token, is followed by whitespace (RFC 9112, section 5.1), or the line is a continuation of
    /// the one before (obs-fold, section 5.2).
    #[error("a field name is invalid")]
    FieldName,
    /// A field value has a control character, such as NUL or a bare CR (RFC 9110, section 5.5).
    #[error("a field value is invalid")]
    FieldValue,
    /// More fields than the bound.
    #[error("too many fields")]
    TooManyFields,
    /// The head is longer than the bound.
    #[error("the request head is too large")]
    HeadTooLarge,
    /// An HTTP/1.1 request without Host (RFC 9112, section 3.2).
    #[error("the Host field is missing")]
    HostMissing,
    /// More than one Host (RFC 9112, section 3.2).
    #[error("there is more than one Host field")]
    HostRepeated,
    /// Host is not `uri-host [ ":" port ]` (RFC 9110, section 7.2).
    #[error("the Host field is invalid")]
    HostInvalid,
    /// Content-Length is not one decimal number (RFC 9112, section 6.3).
    #[error("the Content-Length field is invalid")]
    ContentLength,
    /// More than one Content-Length, be they equal or not: whoever forwarded this was not in control of it.
    #[error("there is more than one Content-Length")]
    ContentLengthRepeated,
    /// Transfer-Encoding together with Content-Length (RFC 9112, section 6.1).
    #[error("Transfer-Encoding and Content-Length exclude each other")]
    TransferEncodingWithLength,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112, section 6.1).
    #[error("Transfer-Encoding does not exist in HTTP/1.0")]
    TransferEncodingIn10,
    /// chunked is not the final transfer coding, or is there twice (RFC 9112, section 6.3).
    #[error("the final transfer coding must be chunked, once")]
    TransferEncodingNotChunked,
    /// A transfer coding besides chunked (RFC 9112, section 6.1).
    #[error("the transfer coding is not supported")]
    TransferCodingUnsupported,
    /// Expect with anything but `100-continue` (RFC 9110, section 10.1.1).
    #[error("the expectation cannot be met")]
    Expectation,
    /// The content is larger than the bound.
    #[error("the content is too large")]
    BodyTooLarge,
    /// A chunk-size is missing, has a byte that is no hexadecimal digit, or more than 16 digits (RFC 9112,
    /// section 7.1).
    #[error("a chunk size is invalid")]
    ChunkSize,
    /// A chunk-size line or the sum of all chunk extensions is longer than the bound (RFC 9112, section 7.1.1).
    #[error("the chunk extensions are too long")]
    ChunkExtensionTooLong,
    /// Chunk data is not followed by CRLF (RFC 9112, section 7.1).
    #[error("a chunk is not ended by CRLF")]
    ChunkEnd,
    /// The trailer section has an invalid line (RFC 9112, section 7.1.2).
    #[error("the trailer section is invalid")]
    Trailer,
    /// The trailer section is longer than the bound or has too many fields.
    #[error("the trailer section is too large")]
    TrailerTooLarge,
    /// The peer ended its stream within a request (RFC 9112, section 8).
    #[error("the request is incomplete")]
    Incomplete,
    /// The head did not arrive in time.
    #[error("the request took too long to arrive")]
    Timeout,
}

impl RequestError {
    /// The status code this refusal is answered with.
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

/// Reading a request's content failed.
///
/// It is a response too: a handler that passes it on with `?` answers with [`status`](BodyError::status).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The peer broke the protocol or a bound of the server.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The content is larger than the limit given to the collecting call, in bytes.
    #[error("the content is larger than {0} bytes")]
    TooLarge(u64),
    /// The content is not UTF-8, though text was asked for.
    #[error("the content is not UTF-8")]
    NotText,
    /// The request is over: its response was sent, or the connection was handed to another protocol.
    #[error("the request is over")]
    Finished,
    /// The connection was lost or timed out; the text says how.
    #[error("the connection was lost: {0}")]
    Connection(String),
}

impl BodyError {
    /// The status code to answer with when the handler has no better idea.
    pub fn status(&self) -> StatusCode {
        match self {
            BodyError::Request(error) => error.status(),
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::NotText => StatusCode::BAD_REQUEST,
            BodyError::Finished => StatusCode::INTERNAL_SERVER_ERROR,
            BodyError::Connection(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// The application misused the response side: the connection cannot go on after what was already sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// There is no request waiting for what was given.
    #[error("no request is waiting for this")]
    OutOfTurn,
    /// More or less content than the announced length.
    #[error("the content has not the announced length")]
    LengthMismatch,
    /// A final response with an informational status, or 101 to a request that did not ask for an upgrade.
    #[error("the status does not fit")]
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
        assert_eq!(BodyError::from(RequestError::BodyTooLarge).status(), 413);
    }
}
