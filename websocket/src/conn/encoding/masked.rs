//! A client's frames into the outbound queue.

use bytes::Bytes;
use tidegate_engine::{COPY_BYTES_MAX, SendError};

use super::keys::masking_key;
use crate::conn::frame_queue::FrameQueue;
use crate::frame::Frame;
use crate::frame::mask::apply_mask;
use crate::limits::FRAME_HEADER_BYTES_MAX;
use crate::message::MessageRef;

/// The bytes of a long payload that are copied and then masked at a time: they are still in the nearest cache. A
/// multiple of the four bytes of a key.
const BLOCK_BYTES: usize = 8 << 10;

/// Returns a client's frame, in newly allocated memory.
pub(crate) fn masked_frame(frame: &Frame<'_>) -> Bytes {
    let (key, payload) = (masking_key(), frame.payload());
    let header = frame.header(Some(key));
    let mut bytes = Vec::with_capacity(header.len() + payload.len());
    bytes.extend_from_slice(&header);
    for block in payload.chunks(BLOCK_BYTES) {
        let start = bytes.len();
        bytes.extend_from_slice(block);
        apply_mask(key, &mut bytes[start..]);
    }
    bytes.into()
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
    use crate::frame::{FrameHeader, FrameRules};
    use crate::role::Role;

    #[test]
    fn the_payload_comes_back_unmasked() {
        for len in [0, 1, 125, 126, BLOCK_BYTES - 1, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 5] {
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
}
