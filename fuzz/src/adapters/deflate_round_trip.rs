//! A compressing sender and its receiver.

use tidegate_websocket::protocol::{Frame, MaskingKey, MessageDeflater, Protocol, ProtocolConfig, Role};
use tidegate_websocket::{CompressionLevel, DeflateConfig, ReservedBits};

use crate::adapters::negotiation::params;
use crate::cuts::Cut;

/// Both ends of a connection whose messages go in one direction.
pub struct Pair {
    deflater: MessageDeflater,
    receiver: Protocol,
    key: Option<MaskingKey>,
}

/// How the pair is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// The sender is a server; else a client, which masks.
    pub from_server: bool,
    /// From -2 to 9.
    pub level: i32,
    /// From 9 to 15.
    pub window_bits: u8,
    pub takeover: bool,
    pub threshold_bytes: usize,
}

impl Pair {
    /// Creates both ends.
    pub fn new(setup: Setup) -> Pair {
        let level = CompressionLevel::new(setup.level).expect("-2 to 9");
        let config = DeflateConfig::default().level(level).threshold_bytes(setup.threshold_bytes);
        let params = params(setup.window_bits, setup.takeover);
        let (sender, receiver) =
            if setup.from_server { (Role::Server, Role::Client) } else { (Role::Client, Role::Server) };
        Pair {
            deflater: MessageDeflater::new(&config, &params, sender),
            receiver: Protocol::new(ProtocolConfig::new(receiver).deflate(params)),
            key: (!setup.from_server).then_some(MaskingKey::new([9, 0, 255, 77])),
        }
    }

    /// Changes the level of later messages; `None` switches compression off.
    pub fn set_level(&mut self, level: Option<i32>) {
        self.deflater.set_level(level.map(|level| CompressionLevel::new(level).expect("-2 to 9")));
    }

    /// Compresses a message and does not send it.
    pub fn compress_and_drop(&mut self, payload: &[u8]) {
        if self.deflater.deflate(payload, &mut Vec::new()) {
            self.deflater.forget();
        }
    }

    /// Sends a message. Returns the payload of its frame, and whether it is compressed, and the message received.
    pub fn send(&mut self, payload: &[u8], cut: Cut) -> (usize, bool, Vec<u8>) {
        let (mut deflated, mut bytes) = (vec![1, 2, 3], Vec::new());
        let is_compressed = self.deflater.deflate(payload, &mut deflated);
        let frame = match is_compressed {
            true => Frame::binary(&deflated).reserved_bits(ReservedBits::RSV1),
            false => Frame::binary(payload),
        };
        frame.encode(self.key, &mut bytes);
        let mut received = None;
        cut.apply(&bytes, |piece| {
            let mut piece = piece.to_vec();
            let mut rest = &mut piece[..];
            while !rest.is_empty() {
                let progress = self.receiver.receive(rest).expect("what we send is valid");
                if let Some(event) = progress.event
                    && let Some(message) = event.into_message(rest).expect("binary")
                {
                    assert_eq!(received, None, "one message was sent");
                    received = Some(message.as_bytes().to_vec());
                }
                rest = &mut rest[progress.consumed..];
            }
            true
        });
        let frame_bytes = if is_compressed { deflated.len() } else { payload.len() };
        (frame_bytes, is_compressed, received.expect("the message arrives"))
    }
}
