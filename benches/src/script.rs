//! The messages that every connection sends and expects, prepared once.
//!
//! A script is a cycle of different messages. Requests are masked WebSocket frames (RFC 6455 section 5.2) laid end to
//! end, so a window of any number of messages is one slice that can be sent as it is. Replies are laid out the same
//! way, so a check compares whole chunks with slices and covers every header and payload byte. Payloads are
//! pseudo-random and differ between messages, so lost, repeated and reordered messages are detected.
//!
//! On plain TCP the requests are the same masked frames and the replies are the identical bytes.

use std::fmt;
use std::str::FromStr;

use crate::payload::{Content, payload};
use crate::requests::{Requests, STREAM_BYTES_MAX};

/// The most messages in the cycle, unless the window is larger. Prime, so losing a batch of a round size is always
/// detected.
const CYCLE_MESSAGES_MAX: usize = 251;

/// The fewest messages in the cycle, for messages so large that few fit into [`CYCLE_BYTES`]. It is small because large
/// messages that fall out of the cache make the client slower than the server.
const CYCLE_MESSAGES_MIN: usize = 3;

/// The target size of the cycle, small enough to stay in the second-level cache together with the receive buffers.
const CYCLE_BYTES: usize = 128 * 1024;

/// Masks every request. A fixed key costs the server the same as a random one.
pub const MASKING_KEY: [u8; 4] = [0x5a, 0xc3, 0x96, 0x2d];

/// FIN and the opcode of a binary message.
pub const BINARY: u8 = 0x82;
/// FIN and the opcode of a text message.
pub const TEXT: u8 = 0x81;

/// FIN and the opcode of a close frame and of a ping.
pub const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// The protocol of the server under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Bytes are echoed as they were sent.
    Tcp,
    /// Each masked WebSocket message is echoed unmasked.
    WebSocket,
}

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "ws" => Ok(Self::WebSocket),
            _ => Err("must be tcp or ws"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "ws",
        })
    }
}

/// The shape of the messages.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    /// Decides the form of the replies.
    pub protocol: Protocol,
    /// Payload bytes per message.
    pub payload_bytes: usize,
    /// What the payloads consist of.
    pub content: Content,
    /// The most messages sent at once.
    pub window_messages_max: usize,
}

/// A prepared cycle of messages and their replies.
#[derive(Debug)]
pub struct Script {
    requests: Requests,
    replies: Vec<u8>,
    reply_bytes: usize,
}

impl Script {
    /// Prepares the cycle. Returns `None` if it would take more than 1 GiB.
    #[must_use]
    pub fn new(shape: &Messages) -> Option<Self> {
        let messages = cycle_messages(shape.payload_bytes, shape.window_messages_max)?;
        let first = if shape.content.is_text() { TEXT } else { BINARY };
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for number in 0..messages {
            let payload = payload(number as u64, shape.payload_bytes, shape.content);
            append_frame(&mut requests, first, Some(MASKING_KEY), &payload);
            if shape.protocol == Protocol::WebSocket {
                append_frame(&mut replies, first, None, &payload);
            }
        }
        if shape.protocol == Protocol::Tcp {
            replies.clone_from(&requests);
        }
        let reply_bytes = replies.len() / messages;
        let requests = Requests::new(requests, messages, shape.window_messages_max);
        Some(Self { requests, replies, reply_bytes })
    }

    /// Returns the number of different messages.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.requests.count()
    }

    /// Returns the bytes of one reply on the wire.
    #[must_use]
    pub fn reply_bytes(&self) -> usize {
        self.reply_bytes
    }

    /// Returns the requests of the whole cycle.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Returns the replies to the whole cycle, in order.
    #[must_use]
    pub fn replies(&self) -> &[u8] {
        &self.replies
    }
}

/// Returns the number of messages in a cycle, or `None` if they and a window of them would take more than 1 GiB.
#[must_use]
pub fn cycle_messages(payload_bytes: usize, window_messages_max: usize) -> Option<usize> {
    let request_bytes = header_bytes(payload_bytes, true).checked_add(payload_bytes)?;
    let cycle = (CYCLE_BYTES / request_bytes).clamp(CYCLE_MESSAGES_MIN, CYCLE_MESSAGES_MAX);
    let messages = cycle.max(window_messages_max.checked_add(1)?) | 1;
    ((messages + window_messages_max).checked_mul(request_bytes)? <= STREAM_BYTES_MAX).then_some(messages)
}

/// Returns the bytes of a frame header with the shortest length field that fits (RFC 6455 section 5.2).
fn header_bytes(payload_bytes: usize, masked: bool) -> usize {
    let length = match payload_bytes {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    };
    2 + length + if masked { 4 } else { 0 }
}

/// Appends one frame.
pub fn append_frame(stream: &mut Vec<u8>, first: u8, key: Option<[u8; 4]>, payload: &[u8]) {
    let masked = if key.is_some() { 0x80 } else { 0 };
    stream.push(first);
    match payload.len() {
        short @ 0..=125 => stream.push(masked | short as u8),
        medium @ 126..=0xffff => {
            stream.push(masked | 126);
            stream.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            stream.push(masked | 127);
            stream.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    match key {
        None => stream.extend_from_slice(payload),
        Some(key) => {
            stream.extend_from_slice(&key);
            stream.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
    }
}

/// Returns a client's ping.
#[must_use]
pub fn ping_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    append_frame(&mut frame, PING, Some(MASKING_KEY), payload);
    frame
}

/// Returns a client's close frame with code 1000.
#[must_use]
pub fn close_frame() -> Vec<u8> {
    let mut frame = Vec::new();
    append_frame(&mut frame, CLOSE, Some(MASKING_KEY), &1000_u16.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(protocol: Protocol, payload_bytes: usize, window_messages_max: usize) -> Script {
        Script::new(&Messages { protocol, payload_bytes, content: Content::Binary, window_messages_max }).unwrap()
    }

    #[test]
    fn sizes_on_the_wire_at_the_length_boundaries() {
        let sizes = [(0, 6, 2), (125, 131, 127), (126, 134, 130), (65_535, 65_543, 65_539), (65_536, 65_550, 65_546)];
        for (payload, request, reply) in sizes {
            let websocket = script(Protocol::WebSocket, payload, 1);
            assert_eq!(
                (websocket.requests().window(0, 1).len(), websocket.reply_bytes()),
                (request, reply),
                "{payload}"
            );
            let tcp = script(Protocol::Tcp, payload, 1);
            assert_eq!((tcp.requests().window(0, 1).len(), tcp.reply_bytes()), (request, request), "{payload}");
        }
    }

    #[test]
    fn frames_match_the_examples_of_rfc_6455_section_5_7() {
        let mut stream = Vec::new();
        append_frame(&mut stream, TEXT, None, b"Hello");
        assert_eq!(stream, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        stream.clear();
        append_frame(&mut stream, TEXT, Some([0x37, 0xfa, 0x21, 0x3d]), b"Hello");
        assert_eq!(stream, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn a_request_unmasked_is_its_reply() {
        for payload in [1, 64, 125, 126, 16_384, 70_000] {
            let script = script(Protocol::WebSocket, payload, 1);
            let request = script.requests().window(2, 1);
            let reply = &script.replies()[2 * script.reply_bytes()..][..script.reply_bytes()];
            assert_eq!((request[0], reply[0]), (BINARY, BINARY));
            assert_eq!(request[1], reply[1] | 0x80);
            let unmasked = request[request.len() - payload..].iter().zip(MASKING_KEY.iter().cycle());
            assert!(unmasked.map(|(byte, key)| byte ^ key).eq(reply[reply.len() - payload..].iter().copied()));
        }
    }

    #[test]
    fn messages_differ_and_windows_wrap() {
        let script = script(Protocol::Tcp, 64, 16);
        let all: std::collections::HashSet<&[u8]> =
            (0..script.messages()).map(|n| script.requests().window(n, 1)).collect();
        assert_eq!(all.len(), script.messages());
        let last = script.messages() - 1;
        let requests = script.requests();
        assert_eq!(requests.window(last, 16)[requests.window(last, 1).len()..], *requests.window(0, 15));
    }

    #[test]
    fn the_cycle_is_longer_than_the_window_and_bounded() {
        assert!(script(Protocol::Tcp, 64, 1_000).messages() > 1_000);
        assert_eq!(script(Protocol::Tcp, 1 << 20, 1).messages(), CYCLE_MESSAGES_MIN);
        let huge = Messages {
            protocol: Protocol::Tcp,
            payload_bytes: 1 << 28,
            content: Content::Binary,
            window_messages_max: 1,
        };
        assert!(Script::new(&huge).is_none());
        assert!(Script::new(&Messages { payload_bytes: usize::MAX, ..huge }).is_none());
    }

    #[test]
    fn text_is_sent_as_text() {
        let text =
            Messages { protocol: Protocol::Tcp, payload_bytes: 500, content: Content::Text, window_messages_max: 1 };
        assert_eq!(Script::new(&text).unwrap().requests().window(0, 1)[0], TEXT);
    }

    #[test]
    fn protocols_parse_what_they_print() {
        for protocol in [Protocol::Tcp, Protocol::WebSocket] {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert!("http".parse::<Protocol>().is_err());
    }
}
