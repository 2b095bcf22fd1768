//! The sending half: decides which messages are compressed, at which level and with which state.

use std::mem;
use std::ops::RangeInclusive;

use super::deflater::Deflater;
use super::pool;
use super::{CompressionLevel, DeflateConfig, DeflateParams, WindowBits};
use crate::role::Role;

/// Compresses the messages of one connection, as agreed on (RFC 7692 section 7.2.1): the counterpart of
/// [`Protocol`](crate::protocol::Protocol) for sending.
///
/// Messages must be sent in the order in which they were compressed.
///
/// ```
/// use tidegate_websocket::{DeflateConfig, ReservedBits, protocol::{Frame, MessageDeflater, Role}};
/// let config = DeflateConfig::default();
/// let offer = [&b"permessage-deflate"[..]];
/// let agreement = config.accept(offer.into_iter())?.expect("an agreement");
/// let mut deflater = MessageDeflater::new(&config, &agreement.params, Role::Server);
///
/// let payload = [b'x'; 1000];
/// let (mut deflated, mut out) = (Vec::new(), Vec::new());
/// let frame = match deflater.deflate(&payload, &mut deflated) {
///     true => Frame::binary(&deflated).reserved_bits(ReservedBits::RSV1),
///     false => Frame::binary(&payload),
/// };
/// frame.encode(None, &mut out);
/// assert!(out.len() < 20);
/// # Ok::<(), tidegate_websocket::handshake::UpgradeRequestError>(())
/// ```
#[derive(Debug)]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
pub struct MessageDeflater {
    /// `None` if our compressor does not support the agreed window.
    window: Option<WindowBits>,
    takeover: bool,
    threshold_bytes: usize,
    /// `None` while compression is switched off.
    level: Option<CompressionLevel>,
    context: Context,
}

/// The earlier messages that later ones can refer to.
#[derive(Debug)]
enum Context {
    /// No context, or none yet.
    Empty,
    Owned(Box<Deflater>),
    /// A message is being compressed with the context.
    Borrowed,
    /// The connection has ended.
    Ended,
}

impl MessageDeflater {
    /// Returns a deflater without a context, which holds no state.
    #[must_use]
    pub fn new(config: &DeflateConfig, params: &DeflateParams, role: Role) -> Self {
        Self {
            window: params.own_window(role),
            takeover: params.own_takeover(role),
            threshold_bytes: config.threshold_bytes,
            level: Some(config.level),
            context: Context::Empty,
        }
    }

    /// Compresses a whole message into `out`, replacing its contents. If true, send it with RSV1 on its first frame. If
    /// false, `out` is empty and the message is to be sent uncompressed: it is shorter than the threshold, would not
    /// become smaller, or compression is switched off.
    pub fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let Some(mut deflater) = self.borrow_deflater(payload.len()) else { return false };
        let is_smaller = deflater.deflate(payload, out).is_ok();
        if !is_smaller {
            out.clear();
        }
        self.return_deflater(deflater, is_smaller);
        is_smaller
    }

    /// Changes the level of later messages; `None` switches compression off. The peer need not know, because each
    /// message tells whether it is compressed.
    pub fn set_level(&mut self, level: Option<CompressionLevel>) {
        self.level = level;
    }

    /// Drops the last compressed message from the context, because it will not be sent.
    pub fn forget(&mut self) {
        if let Context::Owned(deflater) = &mut self.context {
            deflater.reset();
        }
    }

    /// Returns the level, unless compression is switched off.
    #[must_use]
    pub const fn level(&self) -> Option<CompressionLevel> {
        self.level
    }

    /// Returns the bytes of heap held for the context; 0 without context takeover and before the first message.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.context {
            Context::Owned(deflater) => deflater.held_bytes(),
            Context::Empty | Context::Borrowed | Context::Ended => 0,
        }
    }

    /// Lends the compressor for a message of `payload_len` bytes. Return it with
    /// [`return_deflater`](Self::return_deflater) once the message is compressed or given up. `None` if the message is
    /// to be sent uncompressed, as all messages are while the context is borrowed.
    pub(crate) fn borrow_deflater(&mut self, payload_len: usize) -> Option<Box<Deflater>> {
        let (window, level) = (self.window?, self.level?);
        if payload_len < self.threshold_bytes.max(1) || level.value() == 0 {
            return None;
        }
        if !self.takeover {
            return Some(pool::take_deflater(level, window, payload_len));
        }
        match mem::replace(&mut self.context, Context::Borrowed) {
            Context::Owned(deflater) if deflater.is_of(level, window) => Some(deflater),
            Context::Owned(_) | Context::Empty => Some(Box::new(Deflater::new(level, window))),
            Context::Borrowed => None,
            Context::Ended => {
                self.end();
                None
            }
        }
    }

    /// Takes the compressor back. `is_sent` tells whether its message is sent compressed: only then can later messages
    /// refer to it.
    pub(crate) fn return_deflater(&mut self, mut deflater: Box<Deflater>, is_sent: bool) {
        if !self.takeover {
            return pool::return_deflater(deflater);
        }
        if matches!(self.context, Context::Ended) {
            return;
        }
        if !is_sent {
            deflater.reset();
        }
        self.context = Context::Owned(deflater);
    }

    /// Frees the context for good, or does so when it is returned: no message follows.
    pub(crate) fn end(&mut self) {
        self.context = Context::Ended;
    }

    /// Returns the way in which messages for many connections are compressed for this one; `None` if its messages refer
    /// to earlier ones, or compression is switched off.
    pub(crate) fn variant(&self) -> Option<DeflatedVariant> {
        let (window, level) = (self.window?, self.level?);
        let threshold_bytes = self.threshold_bytes;
        (!self.takeover && level.value() != 0).then_some(DeflatedVariant { level, window, threshold_bytes })
    }
}

/// A way to compress messages without context, shared by many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DeflatedVariant {
    level: CompressionLevel,
    window: WindowBits,
    threshold_bytes: usize,
}

/// The payload bytes of messages with variants: for less there is little to save, more would occupy the publisher's
/// thread.
const VARIANT_BYTES: RangeInclusive<usize> = 128..=256 << 10;

impl DeflatedVariant {
    /// Returns whether messages of this length have variants.
    pub(crate) fn is_worthwhile(payload_len: usize) -> bool {
        VARIANT_BYTES.contains(&payload_len)
    }

    /// Compresses a whole message; `None` if it is to be sent uncompressed.
    pub(crate) fn deflate(&self, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() < self.threshold_bytes.max(1) {
            return None;
        }
        let mut deflater = pool::take_deflater(self.level, self.window, payload.len());
        let mut deflated = Vec::new();
        let is_smaller = deflater.deflate(payload, &mut deflated).is_ok();
        pool::return_deflater(deflater);
        is_smaller.then_some(deflated)
    }
}

// (The codec is too slow for miri.)
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::deflate::inflater::Inflater;
    use crate::protocol_error::ProtocolError;

    fn params(own_context_takeover: bool, line: &str) -> (DeflateConfig, DeflateParams) {
        let config = DeflateConfig { own_context_takeover, ..DeflateConfig::default() };
        (config, config.accept([line.as_bytes()].into_iter()).unwrap().unwrap().params)
    }

    fn inflate(inflater: &mut Inflater, deflated: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        inflater.begin_message(true);
        let mut keep = |inflated: crate::deflate::inflater::Inflated<'_>| {
            payload.extend_from_slice(inflated.bytes);
            Ok::<(), ProtocolError>(())
        };
        inflater.push(deflated, true, u64::MAX, &mut keep).unwrap();
        payload
    }

    fn words(len: usize) -> Vec<u8> {
        (0..len)
            .flat_map(|number| format!("{} tide {} ", number % 7, number * 31 % 101).into_bytes())
            .take(len)
            .collect()
    }

    #[test]
    fn every_level_and_window_is_undone_by_an_inflater_of_the_same_window() {
        for level in -2..=9 {
            for bits in 9..=15 {
                for takeover in [false, true] {
                    let line = format!("permessage-deflate; server_max_window_bits={bits}");
                    let (mut config, params) = params(takeover, &line);
                    config.level = CompressionLevel::new(level).unwrap();
                    let mut deflater = MessageDeflater::new(&config, &params, Role::Server);
                    let mut inflater = Inflater::new(WindowBits::new(bits).unwrap());
                    let mut deflated = Vec::new();
                    for len in [0, 1, 127, 128, 129, 3000, 3000, 40_000] {
                        let payload = words(len);
                        let is_smaller = deflater.deflate(&payload, &mut deflated);
                        assert_eq!(is_smaller, len >= 128 && level != 0, "{level}, {bits}, {len}");
                        if is_smaller {
                            assert!(deflated.len() < payload.len());
                            assert_eq!(inflate(&mut inflater, &deflated), payload, "{level}, {bits}, {len}");
                        }
                        if !takeover {
                            inflater.reset();
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_kept_context_makes_similar_messages_smaller_and_changes_with_the_level() {
        let payload = words(2000);
        let mut deflated = Vec::new();
        let mut lens = Vec::new();
        for takeover in [false, true] {
            let (config, params) = params(takeover, "permessage-deflate");
            let mut deflater = MessageDeflater::new(&config, &params, Role::Server);
            let mut inflater = Inflater::new(WindowBits::MAX);
            for level in [1, 1, 9, -2, 1] {
                deflater.set_level(Some(CompressionLevel::new(level).unwrap()));
                assert!(deflater.deflate(&payload, &mut deflated));
                lens.push(deflated.len());
                assert_eq!(inflate(&mut inflater, &deflated), payload);
                if !takeover {
                    inflater.reset();
                }
            }
            deflater.set_level(None);
            assert!(!deflater.deflate(&payload, &mut deflated) && deflated.is_empty());
            assert_eq!(deflater.held_bytes() > 0, takeover);
        }
        assert_eq!(lens[0], lens[1], "without context each message is the first");
        assert!(lens[6] * 4 < lens[5], "with it the second refers to the first");
    }

    #[test]
    fn a_message_that_does_not_become_smaller_is_not_part_of_the_context() {
        let (config, params) = params(true, "permessage-deflate");
        let mut deflater = MessageDeflater::new(&config, &params, Role::Server);
        let mut inflater = Inflater::new(WindowBits::MAX);
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..5000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let mut deflated = Vec::new();
        for payload in [words(500), noise.clone(), [&noise[..3000], &words(900)].concat(), noise, words(500)] {
            if deflater.deflate(&payload, &mut deflated) {
                assert_eq!(inflate(&mut inflater, &deflated), payload);
            }
        }
        assert!(deflater.deflate(&words(500), &mut deflated));
    }

    /// At the default level, the codec's reset keeps an unfinished block open.
    #[test]
    fn a_message_that_was_given_up_leaves_nothing_behind() {
        for level in (-2..=9).filter(|level| *level != 0) {
            for (takeover, given_up) in [(false, 1), (true, 1), (true, 70_000), (false, 70_000), (true, 300_000)] {
                let (mut config, params) = params(takeover, "permessage-deflate");
                config.level = CompressionLevel::new(level).unwrap();
                let mut deflater = MessageDeflater::new(&config, &params, Role::Server);
                let mut inflater = Inflater::new(WindowBits::MAX);
                let (mut payload, mut deflated) = (words(300_100), Vec::new());
                let mut borrowed = deflater.borrow_deflater(payload.len()).unwrap();
                borrowed.push(&payload[..given_up], false, &mut deflated, payload.len()).unwrap();
                deflater.return_deflater(borrowed, false);
                payload.truncate(3000);
                assert!(deflater.deflate(&payload, &mut deflated), "level {level}");
                assert_eq!(inflate(&mut inflater, &deflated), payload, "level {level}, {given_up} bytes given up");
            }
        }
    }

    #[test]
    fn a_window_of_eight_bits_is_kept_to_by_sending_messages_as_they_are() {
        let config = DeflateConfig { own_context_takeover: true, peer_context_takeover: true, ..Default::default() };
        let answer = http::HeaderValue::from_static("permessage-deflate; client_max_window_bits=8");
        let params = config.check_response(Some(&answer)).unwrap().unwrap();
        let mut deflater = MessageDeflater::new(&config, &params, Role::Client);
        assert!(!deflater.deflate(&words(5000), &mut Vec::new()));
    }

    #[test]
    fn while_the_context_is_borrowed_messages_go_as_they_are() {
        let (config, params) = params(true, "permessage-deflate");
        let mut deflater = MessageDeflater::new(&config, &params, Role::Server);
        let borrowed = deflater.borrow_deflater(1000).unwrap();
        assert!(deflater.borrow_deflater(1000).is_none());
        deflater.return_deflater(borrowed, false);
        assert!(deflater.borrow_deflater(1000).is_some());
    }
}
