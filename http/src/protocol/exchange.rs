//! One request and its response: how the one depends on the other.
//!
//! Owns the facts of a request that its response depends on, and how the response's content is framed (RFC 9112,
//! section 6.3). Plain values; their transitions are in `reading` and `writing`.

use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Version};

use crate::message::conclusion::Conclusion;
use crate::message::head::RequestHead;
use crate::message::response::Response;
use crate::protocol::encode::{ConnectionField, LengthField};

/// The facts of a request that its response depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) content: ResponseContent,
    pub(crate) version: PeerVersion,
    pub(crate) continue_state: ContinueState,
    pub(crate) upgrade: Upgradability,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseContent {
    Sent,
    /// The request was HEAD (RFC 9110 section 9.3.2).
    Withheld,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerVersion {
    Http10,
    Http11,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContinueState {
    NotExpected,
    /// The peer waits for 100 (Continue).
    Pending,
    /// 100 was sent, or content came without it.
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgradability {
    NotAsked,
    Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseFraming {
    /// The number of bytes to come.
    Length(u64),
    Chunked,
    /// Content ends with the connection (HTTP/1.0).
    UntilClose,
    /// The response has no content: the application's content is discarded.
    Discarded,
}

/// Whether another exchange can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    Persistent,
    /// The current exchange, if any, is the last.
    Closing,
}

impl Exchange {
    /// A request whose head was refused. The defaults allow every response.
    pub(crate) const UNKNOWN: Exchange = Exchange {
        content: ResponseContent::Sent,
        version: PeerVersion::Http11,
        continue_state: ContinueState::NotExpected,
        upgrade: Upgradability::NotAsked,
    };

    pub(crate) fn new(head: &RequestHead, conclusion: &Conclusion) -> Exchange {
        Exchange {
            content: match *head.method() {
                Method::HEAD => ResponseContent::Withheld,
                _ => ResponseContent::Sent,
            },
            version: match head.version() {
                Version::HTTP_10 => PeerVersion::Http10,
                _ => PeerVersion::Http11,
            },
            continue_state: match conclusion.expects_continue {
                true => ContinueState::Pending,
                false => ContinueState::NotExpected,
            },
            upgrade: match conclusion.upgrade {
                true => Upgradability::Asked,
                false => Upgradability::NotAsked,
            },
        }
    }

    /// Returns whether a response to this request needs no special framing, and no Connection field if the connection
    /// persists.
    pub(crate) fn is_common(&self) -> bool {
        self.content == ResponseContent::Sent
            && self.version == PeerVersion::Http11
            && self.continue_state != ContinueState::Pending
    }

    /// Returns the Connection field of the response: absent if the default of the peer's version is right (RFC 9112,
    /// section 9.3).
    pub(crate) fn connection_field(&self, persistence: Persistence) -> ConnectionField {
        match (persistence, self.version) {
            (Persistence::Closing, _) => ConnectionField::Close,
            (Persistence::Persistent, PeerVersion::Http10) => ConnectionField::KeepAlive,
            (Persistence::Persistent, PeerVersion::Http11) => ConnectionField::Absent,
        }
    }
}

/// Returns the framing of a response's content (RFC 9112 section 6.3), and the field of its head that announces it.
/// `length` is the length of the content that the handler gave, if known.
pub(crate) fn frame_response(
    exchange: &Exchange,
    response: &Response,
    length: Option<u64>,
) -> (ResponseFraming, LengthField) {
    match response.status() {
        // RFC 9110 sections 15.3.5 and 8.6: no content and no Content-Length.
        StatusCode::NO_CONTENT => return (ResponseFraming::Discarded, LengthField::Absent),
        // RFC 9110 section 15.3.6: no content, which a length of zero says.
        StatusCode::RESET_CONTENT => return (ResponseFraming::Discarded, LengthField::Length(0)),
        // RFC 9110 section 15.4.5. A length is that of the representation, which only the handler knows.
        StatusCode::NOT_MODIFIED => return (ResponseFraming::Discarded, length_by_handler(response)),
        _ => {}
    }
    let (framing, field) = match (length, exchange.version) {
        (Some(length), _) => (ResponseFraming::Length(length), LengthField::Length(length)),
        (None, PeerVersion::Http11) => (ResponseFraming::Chunked, LengthField::Chunked),
        (None, PeerVersion::Http10) => (ResponseFraming::UntilClose, LengthField::Absent),
    };
    match exchange.content {
        ResponseContent::Sent => (framing, field),
        ResponseContent::Withheld => (ResponseFraming::Discarded, length_for_head(response, length, field)),
    }
}

/// Returns the field that announces the length in the response to HEAD, which is that of the response to GET (RFC 9110,
/// section 8.6): that of the handler, or that of the content it gave. Missing content tells nothing about GET's.
fn length_for_head(response: &Response, length: Option<u64>, field: LengthField) -> LengthField {
    match (length_by_handler(response), length) {
        (LengthField::Absent, Some(0)) => LengthField::Absent,
        (LengthField::Absent, _) => field,
        (by_handler, _) => by_handler,
    }
}

/// Returns the Content-Length that the handler set, if it is valid.
fn length_by_handler(response: &Response) -> LengthField {
    let value = response.header(&header::CONTENT_LENGTH).map(HeaderValue::as_bytes);
    let digits = value.filter(|value| value.iter().all(u8::is_ascii_digit));
    let length = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    length.map_or(LengthField::Absent, LengthField::Length)
}
