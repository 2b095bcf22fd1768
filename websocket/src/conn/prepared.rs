//! Messages encoded once, to be sent many times (RFC 6455 section 5.2).

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::deflate::DeflatedVariant;
use crate::frame::Frame;
use crate::message::{Message, MessageKind};
use crate::opcode::Opcode;
use crate::sync::lock;
use crate::usage_error::UsageError;
use crate::utf8::Text;

/// The frame of each variant that was asked for; `None` where compression does not make the message smaller.
type DeflatedFrames = Vec<(DeflatedVariant, Option<Bytes>)>;

/// A message encoded as a server's frame, to be sent to many connections: it is encoded once, and a large payload is
/// not copied. A clone shares the frame.
///
/// For connections that compress without context takeover, a message of 128 bytes to 256 KiB is also compressed, once
/// for all connections of the same level and window. Connections with context takeover get it uncompressed.
///
/// ```
/// use tidegate_websocket::{Error, PreparedMessage, Sender};
///
/// /// Sends a message to several peers, and skips those that are slow.
/// fn send_to_all(peers: &[Sender], message: &str) {
///     let prepared = PreparedMessage::new(message);
///     for peer in peers {
///         if let Err(Error::Full) = peer.try_send_prepared(&prepared) {
///             println!("{} bytes are still queued", peer.queued_bytes());
///         }
///     }
/// }
/// ```
#[derive(Clone)]
pub struct PreparedMessage {
    kind: MessageKind,
    header_len: u8,
    /// Header and payload.
    frame: Bytes,
    /// The compressed frames, made when they are first asked for; `None` if there will be none.
    variants: Option<Arc<Mutex<DeflatedFrames>>>,
}

impl PreparedMessage {
    /// Encodes a message, with one copy of its payload.
    pub fn new(message: impl Into<Message>) -> Self {
        let message = message.into();
        let frame = Frame::message(&message);
        let mut bytes = Vec::new();
        frame.encode(None, &mut bytes);
        let header_len = (bytes.len() - message.len()) as u8;
        let variants = DeflatedVariant::is_worthwhile(message.len()).then(Arc::default);
        Self { kind: message.kind(), header_len, frame: bytes.into(), variants }
    }

    /// Encodes a message of an opcode and a payload.
    ///
    /// # Errors
    /// [`UsageError::NotData`] for any opcode but text and binary, [`UsageError::NotUtf8`] for text that is not UTF-8
    /// (RFC 6455 section 5.6).
    pub fn from_opcode(opcode: Opcode, payload: impl Into<Bytes>) -> Result<Self, UsageError> {
        match opcode {
            Opcode::Text => Ok(Self::new(Text::from_utf8(payload).map_err(|_| UsageError::NotUtf8)?)),
            Opcode::Binary => Ok(Self::new(payload.into())),
            opcode => Err(UsageError::NotData { opcode }),
        }
    }

    /// Returns the kind of message, text or binary.
    pub const fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Returns the payload, shared.
    pub fn payload(&self) -> Bytes {
        self.frame.slice(usize::from(self.header_len)..)
    }

    /// Returns the length of the payload in bytes.
    pub fn payload_len(&self) -> usize {
        self.frame.len() - usize::from(self.header_len)
    }

    /// Returns the uncompressed frame.
    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// Returns the frame compressed in this way; `None` if it is to be sent uncompressed.
    pub(crate) fn deflated(&self, variant: DeflatedVariant) -> Option<Bytes> {
        // Under the lock, so the message is compressed only once.
        let mut variants = lock(self.variants.as_ref()?);
        if let Some((_, frame)) = variants.iter().find(|(known, _)| *known == variant) {
            return frame.clone();
        }
        let frame = variant.deflate(&self.frame[usize::from(self.header_len)..]).map(|deflated| {
            let mut bytes = Vec::new();
            Frame::deflated(self.kind, &deflated).encode(None, &mut bytes);
            Bytes::from(bytes)
        });
        variants.push((variant, frame.clone()));
        frame
    }
}

/// Equal if the kind and the payload are.
impl PartialEq for PreparedMessage {
    fn eq(&self, other: &Self) -> bool {
        self.frame == other.frame
    }
}

impl Eq for PreparedMessage {}

impl<M: Into<Message>> From<M> for PreparedMessage {
    fn from(message: M) -> Self {
        Self::new(message)
    }
}

impl From<&PreparedMessage> for PreparedMessage {
    fn from(message: &PreparedMessage) -> Self {
        message.clone()
    }
}

impl fmt::Debug for PreparedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload_bytes = self.payload_len();
        f.debug_struct("PreparedMessage").field("kind", &self.kind).field("payload_bytes", &payload_bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_a_servers() {
        assert_eq!(PreparedMessage::new("Hello").frame(), &b"\x81\x05Hello"[..]);
        let long = PreparedMessage::new(vec![7; 300]);
        assert_eq!(long.frame()[..4], [0x82, 126, 1, 44]);
        assert_eq!(long.payload(), vec![7; 300]);
        assert_eq!(PreparedMessage::new("").payload_len(), 0);
    }

    #[test]
    fn only_messages_can_be_prepared() {
        for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong, Opcode::Continuation] {
            assert_eq!(PreparedMessage::from_opcode(opcode, "x"), Err(UsageError::NotData { opcode }));
        }
        assert_eq!(PreparedMessage::from_opcode(Opcode::Text, &[0xFF][..]), Err(UsageError::NotUtf8));
        let binary = PreparedMessage::from_opcode(Opcode::Binary, &[0xFF][..]);
        assert_eq!(binary, Ok(PreparedMessage::new(vec![0xFF])));
    }
}
