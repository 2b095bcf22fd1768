//! A client's frames into the outbound queue.

use bytes::Bytes;
use tidegate_engine::{COPY_BYTES_MAX, SendError};

use super::keys::masking_key;
use crate::buffer_pool;
use crate::conn::frame_queue::FrameQueue;
use crate::frame::Frame;
use crate::frame::mask::append_masked;
use crate::limits::FRAME_HEADER_BYTES_MAX;
use crate::message::MessageRef;

/// Returns a client's frame. The memory of a long one comes from the pool of the thread and goes back to it.
pub(crate) fn masked_frame(frame: &Frame<'_>) -> Bytes {
    let (key, payload) = (masking_key(), frame.payload());
    let header = frame.header(Some(key));
    let mut bytes = buffer_pool::with_capacity(header.len() + payload.len());
    bytes.extend_from_slice(&header);
    append_masked(key, payload, &mut bytes);
    buffer_pool::into_bytes(bytes)
}

impl FrameQueue<'_> {
    /// Queues a client's frame if there is space.
    pub(crate) fn try_queue_masked(self, frame: &Frame<'_>) -> Result<(), SendError> {
        let payload_len = frame.payload().len();
        if payload_len <= COPY_BYTES_MAX {
            let key = masking_key();
            return self.0.try_append(payload_len + FRAME_HEADER_BYTES_MAX, |out| frame.encode(Some(key), out));
        }
        // Checked first: a message without space need not be masked. Masked outside of the queue's lock.
        self.check_ready(payload_len)?;
        self.0.try_append_with(&[], masked_frame(frame))
    }

    /// Queues a client's message if there is space.
    pub(crate) fn try_queue_masked_message(self, message: &MessageRef<'_>) -> Result<(), SendError> {
        self.try_queue_masked(&Frame::of_kind(message.kind(), message.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::mask::apply_mask;
    use crate::frame::{FrameHeader, FrameRules};
    use crate::role::Role;

    #[test]
    fn the_payload_comes_back_unmasked() {
        for len in [0, 1, 125, 126, COPY_BYTES_MAX + 1, 20_005] {
            let payload: Vec<u8> = (0..len).map(|index| (index * 151 % 251) as u8).collect();
            let bytes = masked_frame(&Frame::binary(&payload));
            let (header, header_len) = FrameHeader::parse(&bytes, &FrameRules::new(Role::Server)).unwrap().unwrap();
            let mut masked = bytes[header_len..].to_vec();
            if len > 8 {
                assert_ne!(masked, payload);
            }
            apply_mask(header.masking_key.unwrap(), &mut masked);
            assert_eq!(masked, payload);
        }
    }

    #[test]
    fn the_memory_of_a_long_frame_is_used_again() {
        let payload = vec![7; COPY_BYTES_MAX + 1];
        let frame = masked_frame(&Frame::binary(&payload));
        let (place, len) = (frame.as_ptr(), frame.len());
        drop(frame);
        let buffer = buffer_pool::take(len).expect("pooled memory");
        assert_eq!(buffer.as_ptr(), place);
    }
}
