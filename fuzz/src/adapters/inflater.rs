//! Inflates messages through the receiving half of the WebSocket protocol, which has the only way to the inflater.

use tidegate_websocket::ReservedBits;
use tidegate_websocket::protocol::{Frame, Protocol, ProtocolConfig, Role};

use crate::adapters::negotiation::params;

/// A client that receives compressed messages.
pub struct Inflater(Protocol);

impl Inflater {
    /// Creates a receiver of messages up to this length, with the largest window.
    pub fn new(takeover: bool, message_bytes_max: u64) -> Inflater {
        let config = ProtocolConfig::new(Role::Client).message_bytes_max(message_bytes_max);
        Inflater(Protocol::new(config.deflate(params(15, takeover))))
    }

    /// Inflates one message, which arrives whole, in one frame. `None` if it is refused.
    pub fn inflate(&mut self, deflated: &[u8]) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        Frame::binary(deflated).reserved_bits(ReservedBits::RSV1).encode(None, &mut frame);
        let mut rest = &mut frame[..];
        while !rest.is_empty() {
            let progress = self.0.receive(rest).ok()?;
            if let Some(message) = progress.event.and_then(|event| event.into_message(rest).expect("binary")) {
                return Some(message.as_bytes().to_vec());
            }
            rest = &mut rest[progress.consumed..];
        }
        panic!("a whole message gave neither an event nor an error");
    }
}
