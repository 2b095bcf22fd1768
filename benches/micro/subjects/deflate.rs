//! WebSocket: permessage-deflate.

use tidegate_websocket::{
    CompressionLevel, DeflateConfig, ReservedBits,
    protocol::{DeflateParams, Frame, MaskingKey, MessageDeflater, Protocol, ProtocolConfig, Role},
};

use super::Subject;
use super::websocket::ReceiveMessages;

/// Compresses a server's message, or finds that it cannot be made smaller.
pub struct CompressMessage {
    deflater: MessageDeflater,
    /// The messages, one after another.
    payloads: Vec<Vec<u8>>,
    next: usize,
    compressible: bool,
    out: Vec<u8>,
}

impl CompressMessage {
    /// Returns the subject for text at `level`. Without context takeover the state is borrowed from the thread.
    pub fn text(payload_bytes: usize, level: i32, takeover: bool) -> Self {
        let config = DeflateConfig::default()
            .level(CompressionLevel::new(level).expect("the level is valid"))
            .own_context_takeover(takeover);
        let deflater = MessageDeflater::new(&config, &agreed(&config), Role::Server);
        Self { deflater, payloads: vec![text(0, payload_bytes)], next: 0, compressible: true, out: Vec::new() }
    }

    /// Returns the subject for messages that differ, after as many as fill the window of 32 KiB.
    pub fn varied(payload_bytes: usize, level: i32, takeover: bool) -> Self {
        let count = 2 * (32 << 10) / payload_bytes;
        let payloads = (0..count).map(|number| text(1000 * number, payload_bytes)).collect();
        let mut subject = Self { payloads, ..Self::text(payload_bytes, level, takeover) };
        for _ in 0..count / 2 {
            assert_eq!(subject.run(), payload_bytes);
        }
        subject
    }

    /// Returns the subject for random bytes.
    pub fn noise(payload_bytes: usize) -> Self {
        Self { payloads: vec![noise(payload_bytes)], compressible: false, ..Self::text(1024, 1, false) }
    }
}

impl Subject for CompressMessage {
    fn run(&mut self) -> usize {
        let payload = &self.payloads[self.next];
        self.next = (self.next + 1) % self.payloads.len();
        let compressed = self.deflater.deflate(payload, &mut self.out);
        if compressed == self.compressible { payload.len() } else { 0 }
    }

    fn expected(&self) -> usize {
        self.payloads[0].len()
    }
}

/// Returns a subject that receives a client's compressed text in one frame.
pub fn inflate_message(payload_bytes: usize, takeover: bool) -> ReceiveMessages {
    let config = DeflateConfig::default().peer_context_takeover(takeover);
    let params = agreed(&config);
    let payload = text(0, payload_bytes);
    let (mut deflated, mut input) = (Vec::new(), Vec::new());
    // The message refers to nothing before it, so it can be received repeatedly with and without context takeover.
    assert!(MessageDeflater::new(&config, &params, Role::Client).deflate(&payload, &mut deflated));
    let frame = Frame::binary(&deflated).reserved_bits(ReservedBits::RSV1);
    frame.encode(Some(MaskingKey::new([0; 4])), &mut input);

    let rules = ProtocolConfig::new(Role::Server).deflate(params);
    ReceiveMessages::of(Protocol::new(rules), input, payload_bytes)
}

fn agreed(config: &DeflateConfig) -> DeflateParams {
    let offer = [&b"permessage-deflate; client_max_window_bits"[..]];
    config.accept(offer.into_iter()).ok().flatten().expect("the offer is acceptable").params
}

/// Returns text like that of applications: records with the same keys and different values, from a number on.
fn text(first: usize, bytes: usize) -> Vec<u8> {
    let record = |number: usize| {
        let price = number * 7919 % 100_003;
        format!(r#"{{"id":{number},"symbol":"TG{}","price":{price}.25,"side":"buy"}},"#, number % 37)
    };
    (first..).flat_map(|number| record(number).into_bytes()).take(bytes).collect()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}
