//! The fast path of receiving: a short whole message that lies in the input.

use std::num::NonZeroU64;
use std::ops::Range;

use super::{DeliveryMode, Incoming, Protocol};
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
        let is_between = matches!(self.incoming, Incoming::Between) && self.frames.is_between_frames();
        if !is_between || self.delivery != DeliveryMode::Whole {
            return None;
        }
        let (kind, masked, header_len, payload_len) = short_frame_header(input)?;
        if masked != (self.frames.rules().role == Role::Server) || payload_len as u64 > self.message_bytes_max {
            return None;
        }
        let frame = input.get_mut(..header_len + payload_len)?;
        let (header, payload) = frame.split_at_mut(header_len);
        if masked {
            apply_mask(MaskingKey::new(*header.last_chunk()?), payload);
        }
        ShortFrame::new(kind, header_len as u8, (header_len + payload_len) as u32)
    }

    /// Fails the connection: text that [`try_short_frame`](Self::try_short_frame) reported is not UTF-8.
    #[cold]
    pub(crate) fn refuse_text(&mut self) -> ProtocolError {
        self.end();
        ProtocolError::InvalidUtf8
    }
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
