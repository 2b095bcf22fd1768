//! The fast path of receiving: a short whole message that lies in the input.

use std::num::NonZeroU64;
use std::ops::Range;

use super::{DeliveryMode, Protocol};
use crate::frame::mask::{MaskingKey, apply_mask};
use crate::message::MessageKind;
use crate::protocol_error::ProtocolError;
use crate::role::Role;

/// A whole unmasked message in the input, whose payload ends where its frame does. Text is not checked yet.
///
/// One word, even as an `Option`, so it travels in a register. (As three fields it was written in halves and read as a
/// whole, for which the processor waits until the halves are in its cache: 6 ns for each message.)
#[derive(Clone, Copy)]
pub(crate) struct ShortFrame(NonZeroU64);

impl ShortFrame {
    /// Describes a payload anywhere in the input, if the word can hold its place.
    pub(crate) fn of(kind: MessageKind, range: Range<usize>) -> Option<Self> {
        Self::new(kind, u8::try_from(range.start).ok()?, u32::try_from(range.end).ok()?)
    }

    #[inline]
    fn new(kind: MessageKind, start: u8, end: u32) -> Option<Self> {
        let text = u64::from(kind == MessageKind::Text);
        NonZeroU64::new(u64::from(end) << 32 | u64::from(start) << 8 | text).map(Self)
    }

    #[inline]
    pub(crate) const fn kind(self) -> MessageKind {
        if self.0.get() & 1 == 1 { MessageKind::Text } else { MessageKind::Binary }
    }

    /// Returns the place of the payload.
    #[inline]
    pub(crate) const fn range(self) -> Range<usize> {
        (self.0.get() >> 8) as u8 as usize..self.end() as usize
    }

    /// Returns the end of the frame.
    #[inline]
    pub(crate) const fn end(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

impl Protocol {
    /// Fast path: the input starts with one short, complete, unfragmented message that breaks no rule, except perhaps
    /// that text is UTF-8. In any other case returns `None` and leaves the input to [`receive`](Self::receive),
    /// untouched.
    #[inline]
    pub(crate) fn try_short_frame(&mut self, input: &mut [u8]) -> Option<ShortFrame> {
        if !self.is_between() || self.delivery != DeliveryMode::Whole {
            return None;
        }
        short_frame(input, self.rules.role, self.message_bytes_max)
    }

    /// Fails the connection: text that [`try_short_frame`](Self::try_short_frame) reported is not UTF-8.
    #[cold]
    pub(crate) fn refuse_text(&mut self) -> ProtocolError {
        self.end();
        ProtocolError::InvalidUtf8
    }
}

/// Finds a short frame at the start of the input, between messages, as
/// [`try_short_frame`](Protocol::try_short_frame) does.
#[inline]
pub(crate) fn short_frame(input: &mut [u8], role: Role, message_bytes_max: u64) -> Option<ShortFrame> {
    let (kind, masked, header_len, payload_len) = short_frame_header(input)?;
    if masked != (role == Role::Server) || payload_len as u64 > message_bytes_max {
        return None;
    }
    let frame = input.get_mut(..header_len + payload_len)?;
    let (header, payload) = frame.split_at_mut(header_len);
    if masked {
        apply_mask(MaskingKey::new(*header.last_chunk()?), payload);
    }
    ShortFrame::new(kind, header_len as u8, (header_len + payload_len) as u32)
}

/// Parses the header of a final text or binary frame without reserved bits and with at most 65,535 bytes of payload.
/// Returns the kind, whether it is masked, and the lengths of header and payload. `None` for any other, and for a
/// length that is not minimal.
#[inline]
fn short_frame_header(input: &[u8]) -> Option<(MessageKind, bool, usize, usize)> {
    let [first, second, rest @ ..] = input else { return None };
    let kind = match first {
        0x81 => MessageKind::Text,
        0x82 => MessageKind::Binary,
        _ => return None,
    };
    let masked = second & 0x80 != 0;
    let key_len = if masked { 4 } else { 0 };
    match second & 0x7F {
        len @ 0..=125 => Some((kind, masked, 2 + key_len, usize::from(len))),
        126 => {
            let len = u16::from_be_bytes(*rest.first_chunk()?);
            (len > 125).then_some((kind, masked, 4 + key_len, usize::from(len)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::opcode::Opcode;
    use crate::protocol::ProtocolConfig;
    use crate::reserved_bits::ReservedBits;

    const ROLES: [Role; 2] = [Role::Server, Role::Client];

    /// Encodes a frame as the peer of `role` sends it.
    fn encoded(role: Role, frame: Frame<'_>) -> Vec<u8> {
        let key = (role == Role::Server).then(|| MaskingKey::new([0xA1, 0x02, 0xF3, 0x44]));
        let mut bytes = Vec::new();
        frame.encode(key, &mut bytes);
        bytes
    }

    /// Asserts that the input is left to `receive`, untouched.
    #[track_caller]
    fn assert_left(protocol: &mut Protocol, input: &[u8], what: &str) {
        let mut seen = input.to_vec();
        assert!(protocol.try_short_frame(&mut seen).is_none(), "{what}");
        assert_eq!(seen, input, "{what} was changed");
    }

    #[test]
    fn a_short_message_is_found_where_it_lies() {
        for role in ROLES {
            for len in [0, 1, 125, 126, 127, 300, 65_535] {
                let text = "t".repeat(len);
                for (kind, frame) in
                    [(MessageKind::Text, Frame::text(&text)), (MessageKind::Binary, Frame::binary(text.as_bytes()))]
                {
                    let bytes = encoded(role, frame);
                    let mut input = [&bytes[..], b"what follows"].concat();
                    let mut protocol = Protocol::new(ProtocolConfig::new(role));
                    let found = protocol.try_short_frame(&mut input).expect("a short message");
                    assert_eq!((found.kind(), found.end() as usize), (kind, bytes.len()));
                    assert_eq!(found.range(), bytes.len() - len..bytes.len());
                    assert_eq!(&input[found.range()], text.as_bytes());
                    assert_eq!(&input[bytes.len()..], b"what follows");
                }
            }
        }
    }

    #[test]
    fn an_incomplete_message_is_left() {
        for role in ROLES {
            for len in [0, 1, 126] {
                let bytes = encoded(role, Frame::binary(&vec![7; len]));
                for cut in 0..bytes.len() {
                    let mut protocol = Protocol::new(ProtocolConfig::new(role));
                    assert_left(&mut protocol, &bytes[..cut], "a part of a message");
                }
            }
        }
    }

    #[test]
    fn every_other_frame_is_left() {
        for role in ROLES {
            let other = if role == Role::Server { Role::Client } else { Role::Server };
            let whole = Frame::text("text");
            for (what, input) in [
                ("a fragment", encoded(role, whole.not_final())),
                ("a continuation", encoded(role, Frame::continuation(b"more"))),
                ("a ping", encoded(role, Frame::ping(b"ping").unwrap())),
                ("a close frame", encoded(role, Frame::control(Opcode::Close, b"").unwrap())),
                ("a reserved bit", encoded(role, whole.reserved_bits(ReservedBits::RSV1))),
                ("a long message", encoded(role, Frame::binary(&vec![7; 65_536]))),
                ("a frame of our own role", encoded(other, whole)),
            ] {
                assert_left(&mut Protocol::new(ProtocolConfig::new(role)), &input, what);
            }
        }
        let mut client = Protocol::new(ProtocolConfig::new(Role::Client));
        assert_left(&mut client, &[&[0x82_u8, 126, 0, 125][..], &[7; 125]].concat(), "a length that is not minimal");
        assert_left(&mut client, &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, 7], "a length of eight bytes");
    }

    #[test]
    fn the_limit_of_a_message_holds() {
        for role in ROLES {
            let mut protocol = Protocol::new(ProtocolConfig::new(role).message_bytes_max(10));
            assert!(protocol.try_short_frame(&mut encoded(role, Frame::binary(&[7; 10]))).is_some());
            assert_left(&mut protocol, &encoded(role, Frame::binary(&[7; 11])), "a message beyond the limit");
        }
    }

    #[test]
    fn a_message_is_short_only_between_frames_and_messages() {
        let input = encoded(Role::Client, Frame::binary(b"short"));
        let begun = encoded(Role::Client, Frame::binary(b"begun").not_final());
        for (what, before) in [("a message is open", &begun[..]), ("a frame is open", &input[..1])] {
            let mut protocol = Protocol::new(ProtocolConfig::new(Role::Client));
            protocol.receive(&mut before.to_vec()).unwrap();
            assert_left(&mut protocol, &input, what);
        }
        let mut protocol = Protocol::new(ProtocolConfig::new(Role::Client));
        protocol.set_delivery(DeliveryMode::Pieces);
        assert_left(&mut protocol, &input, "messages are delivered in pieces");
        protocol.set_delivery(DeliveryMode::Whole);
        assert!(protocol.try_short_frame(&mut input.clone()).is_some());
    }

    #[test]
    fn refused_text_ends_the_connection() {
        let mut protocol = Protocol::new(ProtocolConfig::new(Role::Client));
        assert_eq!(protocol.refuse_text(), ProtocolError::InvalidUtf8);
        assert!(protocol.is_ended());
        assert_left(&mut protocol, &encoded(Role::Client, Frame::binary(b"late")), "a message after the end");
    }

    #[test]
    fn a_place_is_described_if_a_word_can_hold_it() {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            for range in [2..2, 14..1000, 255..u32::MAX as usize] {
                let described = ShortFrame::of(kind, range.clone()).expect("it fits");
                assert_eq!(
                    (described.kind(), described.range(), described.end() as usize),
                    (kind, range.clone(), range.end)
                );
            }
            assert!(ShortFrame::of(kind, 256..1000).is_none(), "a start beyond a byte");
            assert!(ShortFrame::of(kind, 2..u32::MAX as usize + 1).is_none(), "an end beyond 32 bits");
        }
    }
}
