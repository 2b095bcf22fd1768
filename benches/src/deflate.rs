//! Payloads of compressed messages (RFC 7692 section 7.2), with contexts that go on from message to message.

use flate2::{
    Compress, CompressError, Compression, Decompress, DecompressError, FlushCompress, FlushDecompress, Status,
};

/// The end of a flushed block, which a payload leaves out.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Bytes by which the output grows.
const STEP_BYTES: usize = 16 << 10;

/// A compressor of payloads.
#[derive(Debug)]
pub struct Deflate {
    state: Compress,
    is_reset_each_time: bool,
}

impl Deflate {
    /// Returns a compressor of a level from 1 to 9 that keeps its context between messages, or is reset each time.
    #[must_use]
    pub fn new(level: u32, is_reset_each_time: bool) -> Self {
        Self { state: Compress::new(Compression::new(level), false), is_reset_each_time }
    }

    /// Returns the compressed payload.
    ///
    /// # Errors
    /// Those of the library, which has none for a compressor in its right state.
    pub fn message(&mut self, payload: &[u8]) -> Result<Vec<u8>, CompressError> {
        if self.is_reset_each_time {
            self.state.reset();
        }
        let mut out = Vec::new();
        let before = self.state.total_in();
        loop {
            out.reserve(STEP_BYTES);
            let taken = (self.state.total_in() - before) as usize;
            self.state.compress_vec(&payload[taken..], &mut out, FlushCompress::Sync)?;
            if out.len() < out.capacity() {
                break;
            }
        }
        // An empty message flushes nothing.
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        Ok(if out.is_empty() { vec![0] } else { out })
    }
}

/// A decompressor of payloads.
#[derive(Debug)]
pub struct Inflate {
    state: Decompress,
    out: Vec<u8>,
}

impl Default for Inflate {
    fn default() -> Self {
        Self { state: Decompress::new(false), out: Vec::new() }
    }
}

impl Inflate {
    /// Returns the payload before its compression.
    ///
    /// # Errors
    /// If the bytes are no compressed payload in this context.
    pub fn message(&mut self, payload: &[u8]) -> Result<&[u8], DecompressError> {
        self.out.clear();
        for mut input in [payload, &TAIL] {
            loop {
                if self.out.len() == self.out.capacity() {
                    self.out.reserve(STEP_BYTES);
                }
                let before = self.state.total_in();
                let status = self.state.decompress_vec(input, &mut self.out, FlushDecompress::Sync)?;
                if status == Status::StreamEnd {
                    // The compressor ended its stream, and begins another with the next message.
                    self.state.reset(false);
                    return Ok(&self.out);
                }
                input = &input[(self.state.total_in() - before) as usize..];
                if self.out.len() < self.out.capacity() {
                    break;
                }
            }
        }
        Ok(&self.out)
    }

    /// Forgets the messages before.
    pub fn reset(&mut self) {
        self.state.reset(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Content, payload};

    #[test]
    fn messages_come_back_with_and_without_contexts() {
        for is_reset_each_time in [false, true] {
            for level in [1, 6] {
                let (mut deflate, mut inflate) = (Deflate::new(level, is_reset_each_time), Inflate::default());
                for length in [0, 1, 100, 0, 5, 16_384, 100_000, 1 << 20] {
                    for content in [Content::Text, Content::Binary] {
                        let payload = payload(length as u64, length, content);
                        let compressed = deflate.message(&payload).unwrap();
                        assert!(inflate.message(&compressed).unwrap() == payload, "{length}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_message_compressed_by_itself_needs_no_context() {
        let (mut deflate, mut inflate) = (Deflate::new(6, true), Inflate::default());
        let messages = [payload(1, 1000, Content::Json), payload(2, 1000, Content::Json)];
        let compressed = messages.clone().map(|message| deflate.message(&message).unwrap());
        for at in [1, 0, 1] {
            inflate.reset();
            assert_eq!(inflate.message(&compressed[at]).unwrap(), messages[at]);
        }
        assert!(inflate.message(&[0xff; 9]).is_err());
    }
}
