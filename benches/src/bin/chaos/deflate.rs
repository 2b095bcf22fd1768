//! Payloads of compressed messages (RFC 7692 section 7.2), with contexts that go on from message to message.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Outcome;

/// The end of a flushed block, which a payload leaves out.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Bytes by which the output grows.
const STEP_BYTES: usize = 16 << 10;

pub struct Deflate {
    state: Compress,
    is_reset_each_time: bool,
}

impl Deflate {
    pub fn new(is_reset_each_time: bool) -> Self {
        Self { state: Compress::new(Compression::fast(), false), is_reset_each_time }
    }

    pub fn message(&mut self, payload: &[u8]) -> Outcome<Vec<u8>> {
        if self.is_reset_each_time {
            self.state.reset();
        }
        let mut out = Vec::new();
        let before = self.state.total_in();
        loop {
            out.reserve(STEP_BYTES);
            let taken = (self.state.total_in() - before) as usize;
            let status = self.state.compress_vec(&payload[taken..], &mut out, FlushCompress::Sync);
            status.map_err(|error| error.to_string())?;
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

pub struct Inflate(Decompress);

impl Inflate {
    pub fn new() -> Self {
        Self(Decompress::new(false))
    }

    pub fn message(&mut self, payload: &[u8]) -> Outcome<Vec<u8>> {
        let input = [payload, &TAIL].concat();
        let before = self.0.total_in();
        let mut out = Vec::new();
        loop {
            out.reserve(STEP_BYTES);
            let taken = (self.0.total_in() - before) as usize;
            let status = self.0.decompress_vec(&input[taken..], &mut out, FlushDecompress::Sync);
            match status.map_err(|error| error.to_string())? {
                Status::StreamEnd => self.0.reset(false),
                _ if out.len() < out.capacity() => return Ok(out),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn messages_come_back_with_and_without_contexts() {
        for is_reset_each_time in [false, true] {
            let (mut deflate, mut inflate) = (Deflate::new(is_reset_each_time), Inflate::new());
            let mut random = Random::new(3);
            for length in [0, 1, 100, 0, 5, 16_384, 100_000, 1 << 20] {
                for payload in [random.text(length), random.bytes(length)] {
                    let compressed = deflate.message(&payload).unwrap();
                    assert!(inflate.message(&compressed).unwrap() == payload, "{length}");
                }
            }
        }
    }
}
