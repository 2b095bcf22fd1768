//! Inflates messages through the receiving half of the WebSocket protocol, which has the only way to the inflater.

use tidegate_websocket::ReservedBits;
use tidegate_websocket::protocol::{Frame, Protocol, ProtocolConfig, Role};

use crate::adapters::negotiation::params;
use crate::cuts::Cut;

/// A client that receives compressed messages.
pub struct Inflater(Protocol);

impl Inflater {
    /// Creates a receiver of messages up to this length, with the largest window.
    pub fn new(takeover: bool, message_bytes_max: u64) -> Inflater {
        let config = ProtocolConfig::new(Role::Client).message_bytes_max(message_bytes_max);
        Inflater(Protocol::new(config.deflate(params(15, takeover))))
    }

    /// Inflates one message, which arrives in one frame, cut in this way. `None` if it is refused.
    pub fn inflate(&mut self, deflated: &[u8], cut: Cut) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        Frame::binary(deflated).reserved_bits(ReservedBits::RSV1).encode(None, &mut frame);
        let mut end = None;
        cut.apply(&frame, |piece| {
            let mut piece = piece.to_vec();
            let mut rest = &mut piece[..];
            while end.is_none() && !rest.is_empty() {
                match self.0.receive(rest) {
                    Ok(progress) => {
                        let message = progress.event.and_then(|event| event.into_message(rest).expect("binary"));
                        end = message.map(|message| Some(message.as_bytes().to_vec()));
                        rest = &mut rest[progress.consumed..];
                    }
                    Err(_) => end = Some(None),
                }
            }
            end.is_none()
        });
        end.expect("a whole message gives an event or an error")
    }
}
