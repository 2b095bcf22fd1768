//! Comparison of received bytes with the expected replies.
//!
//! [`Replies`] holds the replies that a mode expects; [`Heard`] is the position of one connection in a [`Script`]'s
//! replies. Replies are compared where they were received, whole chunks at a time.

use crate::script::Script;

/// Bytes shown of the expected and of the received reply.
const SHOWN_BYTES_MAX: usize = 16;

/// Why received bytes are not the expected replies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A byte differs.
    #[error("reply {reply}, byte {byte} of {reply_bytes}: expected {expected}, got {got}{hint}")]
    Differs {
        /// Number of correct replies before it on this connection.
        reply: u64,
        /// Offset of the first byte that differs.
        byte: usize,
        /// Size of the reply.
        reply_bytes: usize,
        /// Expected bytes from there on, in hexadecimal.
        expected: String,
        /// Received bytes from there on, in hexadecimal.
        got: String,
        /// Likely cause, or empty.
        hint: &'static str,
    },
    /// More bytes arrived than were requested.
    #[error("{bytes} unexpected bytes after the last expected reply")]
    Unsolicited {
        /// Number of bytes.
        bytes: usize,
    },
    /// A reply violates its protocol.
    #[error("reply {reply}: {why}")]
    Violation {
        /// Number of correct replies before it on this connection.
        reply: u64,
        /// The rule, and the bytes or the value that break it.
        why: String,
    },
}

/// The replies that a mode expects.
pub trait Replies {
    /// Position of one connection in its replies.
    type Position: std::fmt::Debug;

    /// Returns the position of a connection that sends request number `first` of the cycle first.
    fn begin(&self, first: usize) -> Self::Position;

    /// Compares received bytes with the replies to `outstanding` requests and returns the number of replies they
    /// complete.
    ///
    /// # Errors
    /// The first mismatch. The connection is unusable afterwards.
    fn receive(&mut self, position: &mut Self::Position, outstanding: u32, bytes: &[u8]) -> Result<u32, Mismatch>;
}

impl<R: Replies> Replies for &mut R {
    type Position = R::Position;

    fn begin(&self, first: usize) -> R::Position {
        (**self).begin(first)
    }

    #[inline]
    fn receive(&mut self, position: &mut R::Position, outstanding: u32, bytes: &[u8]) -> Result<u32, Mismatch> {
        (**self).receive(position, outstanding, bytes)
    }
}

impl Replies for &Script {
    type Position = Heard;

    fn begin(&self, first: usize) -> Heard {
        Heard::new(self, first)
    }

    #[inline]
    fn receive(&mut self, position: &mut Heard, outstanding: u32, bytes: &[u8]) -> Result<u32, Mismatch> {
        position.receive(self, outstanding, bytes)
    }
}

/// Position of one connection in a script's replies.
#[derive(Debug)]
pub struct Heard {
    /// Offset in the cycle of replies of the next byte to receive.
    at: usize,
    /// Bytes of the current reply received so far.
    in_reply: usize,
    replies: u64,
}

impl Heard {
    /// Returns the position before the reply to message `first` of the cycle.
    #[must_use]
    pub fn new(script: &Script, first: usize) -> Self {
        Self { at: first % script.messages() * script.reply_bytes(), in_reply: 0, replies: 0 }
    }

    /// Compares received bytes with the replies to `outstanding` messages and returns the number of replies they
    /// complete.
    ///
    /// # Errors
    /// The first mismatch. The connection is unusable afterwards.
    pub fn receive(&mut self, script: &Script, outstanding: u32, bytes: &[u8]) -> Result<u32, Mismatch> {
        let awaited = outstanding as usize * script.reply_bytes() - self.in_reply;
        let mut rest = bytes;
        while !rest.is_empty() {
            let expected = &script.replies()[self.at..];
            let length = expected.len().min(rest.len());
            let (piece, later) = rest.split_at(length);
            if piece != &expected[..length] {
                return Err(self.differs(script, piece));
            }
            self.at = if length == expected.len() { 0 } else { self.at + length };
            rest = later;
        }
        if bytes.len() > awaited {
            return Err(Mismatch::Unsolicited { bytes: bytes.len() - awaited });
        }
        let heard = self.in_reply + bytes.len();
        let completed = (heard / script.reply_bytes()) as u32;
        self.in_reply = heard % script.reply_bytes();
        self.replies += u64::from(completed);
        Ok(completed)
    }

    /// Describes the first byte of `got` that differs from the replies at the current position.
    #[cold]
    fn differs(&self, script: &Script, got: &[u8]) -> Mismatch {
        let expected = &script.replies()[self.at..];
        let same = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
        let byte = (self.at + same) % script.reply_bytes();
        let hint = match got[same] {
            0x88 if byte == 0 => " (a close frame?)",
            0x89 if byte == 0 => " (a ping?)",
            0x01 | 0x02 if byte == 0 => " (a fragment?)",
            _ => "",
        };
        let begun = (self.in_reply + same) / script.reply_bytes();
        Mismatch::Differs {
            reply: self.replies + begun as u64,
            byte,
            reply_bytes: script.reply_bytes(),
            expected: hexadecimal(&expected[same..]),
            got: hexadecimal(&got[same..]),
            hint,
        }
    }
}

/// Formats the first bytes as two digits each.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(SHOWN_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Content;
    use crate::script::{Messages, Protocol};

    fn script() -> Script {
        let protocol = Protocol::WebSocket;
        Script::new(&Messages { protocol, payload_bytes: 20, content: Content::Binary, window_messages_max: 8 })
            .unwrap()
    }

    /// Returns the replies to `count` messages from `first` on, across the end of the cycle.
    fn replies(script: &Script, first: usize, count: usize) -> Vec<u8> {
        let numbers = (first..first + count).map(|number| number % script.messages());
        numbers
            .flat_map(|number| &script.replies()[number * script.reply_bytes()..][..script.reply_bytes()])
            .copied()
            .collect()
    }

    #[test]
    fn right_replies_are_counted_however_they_are_cut() {
        let script = script();
        let first = script.messages() - 3;
        let stream = replies(&script, first, 8);
        for piece in [1, 2, 7, 22, 23, stream.len()] {
            let mut heard = Heard::new(&script, first);
            let mut completed = 0;
            for bytes in stream.chunks(piece) {
                completed += heard.receive(&script, 8 - completed, bytes).unwrap();
            }
            assert_eq!(completed, 8, "pieces of {piece}");
        }
    }

    #[test]
    fn any_wrong_byte_is_found() {
        let script = script();
        let stream = replies(&script, 0, 3);
        for index in 0..stream.len() {
            let mut wrong = stream.clone();
            wrong[index] ^= 0x10;
            let Err(Mismatch::Differs { reply, byte, .. }) = Heard::new(&script, 0).receive(&script, 3, &wrong) else {
                panic!("byte {index} was not compared");
            };
            assert_eq!((reply as usize, byte), (index / script.reply_bytes(), index % script.reply_bytes()));
        }
    }

    #[test]
    fn lost_repeated_and_misdelivered_messages_are_found() {
        let script = script();
        for wrong_first in [1, script.messages() - 1, 5] {
            assert!(Heard::new(&script, 0).receive(&script, 2, &replies(&script, wrong_first, 1)).is_err());
        }
    }

    #[test]
    fn a_fragment_or_ping_is_named() {
        let script = script();
        for (byte, hint) in [(0x02, "fragment"), (0x89, "ping"), (0x88, "close")] {
            let error = Heard::new(&script, 0).receive(&script, 1, &[byte, 0]).unwrap_err();
            assert!(error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn unsolicited_bytes_are_found() {
        let script = script();
        let early = Heard::new(&script, 0).receive(&script, 0, &replies(&script, 0, 1)[..1]);
        assert_eq!(early, Err(Mismatch::Unsolicited { bytes: 1 }));
        let late = Heard::new(&script, 0).receive(&script, 1, &replies(&script, 0, 2)[..script.reply_bytes() + 4]);
        assert_eq!(late, Err(Mismatch::Unsolicited { bytes: 4 }));
    }
}
