//! The rest of a large frame, received into the memory of its message without passing through the input.

use super::{Incoming, Protocol, is_last};
use crate::buffer_pool;
use crate::frame::mask::MaskingKey;
use crate::protocol::event::Event;
use crate::protocol_error::ProtocolError;

/// The smallest rest of a frame, and the smallest room in the memory, for which the detour pays off.
pub(crate) const REST_BYTES_MIN: usize = 16 * 1024;

impl Protocol {
    /// Returns the payload bytes that are missing of the open frame, if they only have to be unmasked to be a part of
    /// the message that is being assembled. 0 otherwise.
    #[inline]
    pub(crate) fn rest_bytes(&self) -> u64 {
        let Some(cold) = &self.cold else { return 0 };
        match &cold.incoming {
            Incoming::Assembling { .. } if !cold.is_inflating() => cold.place.remaining_data_bytes(),
            Incoming::Assembling { .. } | Incoming::Between | Incoming::Streaming { .. } => 0,
        }
    }

    /// Returns the memory of the open message, and the bytes of the rest of the frame for which it has room. `None` if
    /// that is little. The memory grows as it does for bytes that arrive in the input: at most to twice what has
    /// arrived, unless that of an earlier message is reused.
    pub(crate) fn rest_memory(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let rest_bytes = usize::try_from(self.rest_bytes()).unwrap_or(usize::MAX);
        let cold = self.cold.as_mut()?;
        let is_final = cold.place.is_in_final_frame();
        let Incoming::Assembling { assembler, .. } = &mut cold.incoming else { return None };
        let memory = assembler.memory_mut();
        let room_bytes_min = REST_BYTES_MIN.min(rest_bytes);
        if memory.capacity() - memory.len() < room_bytes_min {
            buffer_pool::grow(memory, memory.len() + 1, is_final.then_some(rest_bytes as u64 - 1));
        }
        let room_bytes = (memory.capacity() - memory.len()).min(rest_bytes);
        (rest_bytes > 0 && room_bytes >= room_bytes_min).then_some((memory, room_bytes))
    }

    /// Takes the memory of the open message back. Behind the `kept_bytes` that it held before are the next bytes of the
    /// frame, at most those that were missing, as they came from the peer.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidUtf8`], after which all input is ignored.
    pub(crate) fn receive_rest(&mut self, memory: Vec<u8>, kept_bytes: usize) -> Result<Option<Event>, ProtocolError> {
        let received = self.put_back(memory, kept_bytes);
        match received {
            Ok(_) => self.free_needless(),
            Err(_) => self.end(),
        }
        received
    }

    fn put_back(&mut self, memory: Vec<u8>, kept_bytes: usize) -> Result<Option<Event>, ProtocolError> {
        let arrived_bytes = memory.len() - kept_bytes;
        debug_assert!(arrived_bytes as u64 <= self.rest_bytes());
        let Some(cold) = &mut self.cold else { return Ok(None) };
        let Incoming::Assembling { assembler, .. } = &mut cold.incoming else { return Ok(None) };
        let Some(piece) = cold.place.pass(arrived_bytes) else { return Ok(None) };
        assembler.put_back(piece.header.masking_key.unwrap_or(MaskingKey::NONE), memory, kept_bytes)?;
        if is_last(&piece) { self.finish_assembling() } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::message::Message;
    use crate::protocol::{ProtocolConfig, Role};

    const KEY: MaskingKey = MaskingKey::new([0xA1, 0x02, 0xF3, 0x44]);

    fn encoded(frame: Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.encode(Some(KEY), &mut bytes);
        bytes
    }

    fn text(len: usize) -> String {
        let mut text: String = "Gezeiten€tor 𝄞 ".chars().cycle().take(len / 2).collect();
        while text.len() < len {
            text.push('x');
        }
        text
    }

    /// Feeds the first `start` bytes as input, and the rest into the message in pieces of `piece` bytes, where the
    /// protocol has room for them.
    fn receive(protocol: &mut Protocol, bytes: &[u8], start: usize, piece: usize) -> Result<Message, ProtocolError> {
        let (mut input, mut rest) = bytes.split_at(start);
        loop {
            let progress = protocol.receive(&mut input.to_vec())?;
            if let Some(event) = progress.event {
                return event.into_message(&[]).map(|message| message.expect("a message"));
            }
            while let Some((memory, room)) = protocol.rest_memory() {
                let (kept, mut memory) = (memory.len(), std::mem::take(memory));
                let capacity = memory.capacity();
                let (arrived, later) = rest.split_at(piece.min(room).min(rest.len()));
                memory.extend_from_slice(arrived);
                assert_eq!(memory.capacity(), capacity, "the room is in the memory");
                rest = later;
                if let Some(event) = protocol.receive_rest(memory, kept)? {
                    assert!(rest.is_empty() && protocol.rest_bytes() == 0);
                    return event.into_message(&[]).map(|message| message.expect("a message"));
                }
            }
            (input, rest) = rest.split_at(rest.len().min(1000));
            assert!(!input.is_empty(), "the frame ends with its last byte");
        }
    }

    #[test]
    fn a_frame_whose_rest_goes_into_its_message_is_the_same_message() {
        let len = 100_003;
        let texts = text(len);
        let starts = if cfg!(miri) { vec![20_001] } else { vec![14, 15, 16, 17, 5_000, 20_002, 40_003] };
        for start in starts {
            for piece in [16_384, 16_385, 16_387, 70_001, usize::MAX] {
                let mut protocol = Protocol::new(ProtocolConfig::new(Role::Server));
                for frame in [Frame::text(&texts), Frame::binary(texts.as_bytes())] {
                    let message = receive(&mut protocol, &encoded(frame), start, piece).unwrap();
                    assert!(message.as_bytes() == texts.as_bytes(), "start {start} piece {piece}");
                }
            }
        }
    }

    #[test]
    fn the_rests_of_fragments_go_into_their_message() {
        let payload = text(300_000);
        let (first, second) = payload.as_bytes().split_at(120_001);
        let mut protocol = Protocol::new(ProtocolConfig::new(Role::Server));
        let mut fed = |bytes: Vec<u8>| {
            let (start, mut rest) = bytes.split_at(30_000);
            assert!(protocol.receive(&mut start.to_vec()).unwrap().event.is_none());
            while !rest.is_empty() {
                let (memory, room) = protocol.rest_memory().expect("room for the rest");
                let (kept, mut memory) = (memory.len(), std::mem::take(memory));
                let (arrived, later) = rest.split_at(room);
                memory.extend_from_slice(arrived);
                rest = later;
                if let Some(event) = protocol.receive_rest(memory, kept).unwrap() {
                    return event.into_message(&[]).unwrap();
                }
            }
            None
        };
        assert!(fed(encoded(Frame::binary(first).not_final())).is_none());
        let message = fed(encoded(Frame::continuation(second))).expect("the whole message");
        assert!(message.as_bytes() == payload.as_bytes());
    }

    #[test]
    fn text_fails_in_the_rest_that_breaks_it() {
        let mut payload = text(100_000).into_bytes();
        payload[90_000] = 0xFF;
        let mut frame = encoded(Frame::binary(&payload));
        // A text.
        frame[0] = 0x81;
        let mut protocol = Protocol::new(ProtocolConfig::new(Role::Server));
        assert_eq!(receive(&mut protocol, &frame, 20_000, usize::MAX), Err(ProtocolError::InvalidUtf8));
        assert!(protocol.is_ended() && protocol.rest_bytes() == 0);
    }

    #[test]
    fn only_what_is_assembled_has_a_rest() {
        let mut protocol = Protocol::new(ProtocolConfig::new(Role::Server));
        assert_eq!(protocol.rest_bytes(), 0);
        let frame = encoded(Frame::binary(&[7; 50_000]));
        protocol.receive(&mut frame[..1000].to_vec()).unwrap();
        assert_eq!(protocol.rest_bytes(), (frame.len() - 1000) as u64);
        protocol.give_up();
        assert_eq!(protocol.rest_bytes(), 0);
        assert!(protocol.rest_memory().is_none());

        let mut streaming = Protocol::new(ProtocolConfig::new(Role::Server));
        streaming.set_delivery(crate::protocol::DeliveryMode::Pieces);
        streaming.receive(&mut frame[..1000].to_vec()).unwrap();
        assert_eq!(streaming.rest_bytes(), 0);
    }
}
