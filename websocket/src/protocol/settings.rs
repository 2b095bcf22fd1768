//! Settings that can change while receiving, even while a message is open.

use super::{DeliveryMode, Incoming, Protocol, ProtocolConfig};
use crate::frame::FrameRules;
use crate::protocol::assembler::Assembler;
use crate::utf8::Utf8Validator;

impl Protocol {
    /// Changes the limit for later frame headers.
    pub const fn set_message_bytes_max(&mut self, message_bytes_max: u64) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Returns the limit in force.
    #[must_use]
    pub const fn message_bytes_max(&self) -> u64 {
        self.message_bytes_max
    }

    /// Returns the rules for later frames of the peer.
    pub(crate) const fn frame_rules_mut(&mut self) -> &mut FrameRules {
        &mut self.rules
    }

    /// Returns whether this is the state that [`new`](Self::new) returns for these settings.
    #[inline]
    pub(crate) fn is_idle(&self, config: &ProtocolConfig) -> bool {
        !self.ended
            && self.cold.is_none()
            && self.delivery == DeliveryMode::Whole
            && config.deflate.is_none()
            && self.message_bytes_max == config.message_bytes_max
            && self.rules == config.frames
    }

    /// Changes the form in which messages are reported. A message that is open continues as it began, unless none of
    /// its payload has arrived: a read that is dropped before its message begins has no effect on the next.
    pub fn set_delivery(&mut self, delivery: DeliveryMode) {
        self.delivery = delivery;
        let Some(cold) = &mut self.cold else { return };
        match (&cold.incoming, delivery) {
            (Incoming::Assembling { assembler, reserved_bits }, DeliveryMode::Pieces) if assembler.len() == 0 => {
                cold.incoming = Incoming::Streaming {
                    kind: assembler.kind(),
                    validator: Utf8Validator::new(),
                    begun: false,
                    // The claim of the open frame: all that was claimed so far and has not arrived.
                    frames_bytes: cold.place.remaining_data_bytes(),
                    reserved_bits: *reserved_bits,
                };
            }
            (Incoming::Streaming { kind, begun: false, reserved_bits, .. }, DeliveryMode::Whole) => {
                let (assembler, reserved_bits) = (Assembler::new(*kind), *reserved_bits);
                cold.incoming = Incoming::Assembling { assembler, reserved_bits };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::frame::Frame;
    use crate::frame::mask::MaskingKey;
    use crate::message::Message;
    use crate::protocol::event::Event;
    use crate::protocol::{DeliveryMode, Protocol, ProtocolConfig};
    use crate::protocol_error::ProtocolError;
    use crate::role::Role;

    const KEY: Option<MaskingKey> = Some(MaskingKey::new([1, 2, 3, 4]));

    fn encoded(frame: Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.encode(KEY, &mut bytes);
        bytes
    }

    #[test]
    fn a_message_without_payload_so_far_is_reported_in_the_new_form() {
        let mut protocol = Protocol::new(ProtocolConfig::new(Role::Server));
        protocol.set_delivery(DeliveryMode::Pieces);
        let mut head = encoded(Frame::text("").not_final());
        assert_eq!(protocol.receive(&mut head).unwrap().event, None);
        protocol.set_delivery(DeliveryMode::Whole);
        let mut rest = encoded(Frame::continuation(b"whole"));
        let event = protocol.receive(&mut rest).unwrap().event.unwrap();
        assert_eq!(event.into_message(&rest).unwrap(), Some(Message::from("whole")));

        let mut head = encoded(Frame::text("").not_final());
        assert_eq!(protocol.receive(&mut head).unwrap().event, None);
        protocol.set_delivery(DeliveryMode::Pieces);
        let mut rest = encoded(Frame::continuation(b"in pieces"));
        let event = protocol.receive(&mut rest).unwrap().event;
        assert!(matches!(event, Some(Event::Piece { first: true, last: true, .. })), "{event:?}");
    }

    #[test]
    fn the_limit_counts_what_was_claimed_before_the_change() {
        let mut config = ProtocolConfig::new(Role::Server);
        config.message_bytes_max = 10;
        let mut protocol = Protocol::new(config);
        let mut first = encoded(Frame::binary(&[0; 6]).not_final());
        let (head, payload) = first.split_at_mut(6);
        assert_eq!(protocol.receive(head).unwrap().event, None);
        protocol.set_delivery(DeliveryMode::Pieces);
        assert!(protocol.receive(payload).unwrap().event.is_some());
        let too_much = protocol.receive(&mut encoded(Frame::continuation(&[0; 5])));
        assert!(matches!(too_much, Err(ProtocolError::MessageTooBig { message_bytes: 11, .. })), "{too_much:?}");
    }

    #[test]
    fn a_message_goes_on_in_the_form_in_which_its_payload_began() {
        let mut protocol = Protocol::new(ProtocolConfig::new(Role::Server));
        assert_eq!(protocol.receive(&mut encoded(Frame::binary(b"first").not_final())).unwrap().event, None);
        protocol.set_delivery(DeliveryMode::Pieces);
        let mut rest = encoded(Frame::continuation(b", last"));
        let event = protocol.receive(&mut rest).unwrap().event.unwrap();
        assert_eq!(event.into_message(&rest).unwrap(), Some(Message::Binary("first, last".into())));
    }

    #[test]
    fn a_control_frame_does_not_count_as_a_part_of_the_message() {
        let mut protocol = Protocol::new(ProtocolConfig::new(Role::Server).message_bytes_max(10));
        assert_eq!(protocol.receive(&mut encoded(Frame::binary(b"").not_final())).unwrap().event, None);
        let mut ping = encoded(Frame::ping(b"a ping").unwrap());
        let (head, payload) = ping.split_at_mut(6);
        assert_eq!(protocol.receive(head).unwrap().event, None);
        protocol.set_delivery(DeliveryMode::Pieces);
        assert!(matches!(protocol.receive(payload).unwrap().event, Some(Event::Ping(_))));
        let event = protocol.receive(&mut encoded(Frame::continuation(&[0; 10]))).unwrap().event;
        assert!(matches!(event, Some(Event::Piece { first: true, last: true, .. })), "{event:?}");
    }

    #[test]
    fn a_changed_limit_is_in_force_from_the_next_frame_on() {
        let mut protocol = Protocol::new(ProtocolConfig::new(Role::Server).message_bytes_max(10));
        protocol.set_message_bytes_max(5);
        assert_eq!(protocol.message_bytes_max(), 5);
        assert!(protocol.receive(&mut encoded(Frame::binary(&[0; 5]))).unwrap().event.is_some());
        let too_much = protocol.receive(&mut encoded(Frame::binary(&[0; 6])));
        assert!(matches!(too_much, Err(ProtocolError::MessageTooBig { message_bytes_max: 5, .. })), "{too_much:?}");
    }
}
