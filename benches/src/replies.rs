//! Whether the bytes that come are the right ones.
//!
//! [`Replies`] is what a mode knows about the replies it awaits; [`Heard`] is how far into a [`Script`]'s replies one
//! connection is. Replies are compared where they were received, whole chunks at a time.

use crate::script::Script;

/// Bytes shown of what was expected and of what came.
const SHOWN_BYTES_MAX: usize = 16;

/// What came is not the reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A byte differs.
    #[error("reply {reply}, byte {byte} of {reply_bytes}: expected {expected}, got {got}{hint}")]
    Differs {
        /// How many replies of this connection were right before.
        reply: u64,
        /// The offset in the reply of the first byte that differs.
        byte: usize,
        /// The size of the reply.
        reply_bytes: usize,
        /// The bytes from there on, in hexadecimal.
        expected: String,
        /// The bytes that came from there on, in hexadecimal.
        got: String,
        /// What the difference looks like, or nothing.
        hint: &'static str,
    },
    /// More came than was asked for.
    #[error("{bytes} bytes more than the replies awaited")]
    Unsolicited {
        /// How many.
        bytes: usize,
    },
    /// A reply breaks the rules of its protocol.
    #[error("reply {reply}: {why}")]
    Violation {
        /// How many replies of this connection were right before.
        reply: u64,
        /// Which rule, and what came.
        why: String,
    },
}

/// What a mode knows about the replies it awaits.
pub trait Replies {
    /// How far one connection is.
    type Position: std::fmt::Debug;

    /// The position of a connection that will send its first request from number `first` of the cycle on.
    fn begin(&self, first: usize) -> Self::Position;

    /// Compares received bytes with the replies to `outstanding` requests and gives how many replies they complete.
    ///
    /// # Errors
    /// What is wrong; the connection is of no use afterwards.
    fn receive(&mut self, position: &mut Self::Position, outstanding: u32, bytes: &[u8]) -> Result<u32, Mismatch>;
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

/// How far into a script's replies one connection is.
#[derive(Debug)]
pub struct Heard {
    /// Where the next byte received lies in the cycle of replies.
    at: usize,
    /// How much of the current reply came already.
    in_reply: usize,
    replies: u64,
}

impl Heard {
    /// Before the reply to message `first` of the cycle.
    #[must_use]
    pub fn new(script: &Script, first: usize) -> Self {
        Self { at: first % script.messages() * script.reply_bytes(), in_reply: 0, replies: 0 }
    }

    /// Compares received bytes with the replies to `outstanding` messages and gives how many replies they complete.
    ///
    /// # Errors
    /// What differs; the connection is of no use afterwards.
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

/// The first bytes as two digits each.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(SHOWN_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Messages, Protocol};

    fn script() -> Script {
        let protocol = Protocol::WebSocket;
        Script::new(&Messages { protocol, payload_bytes: 20, text: false, window_messages_max: 8 }).unwrap()
    }

    /// The replies to `count` messages from `first` on, across the end of the cycle.
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
    fn lost_repeated_and_foreign_messages_are_found() {
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
    fn bytes_beyond_what_was_asked_are_found() {
        let script = script();
        let early = Heard::new(&script, 0).receive(&script, 0, &replies(&script, 0, 1)[..1]);
        assert_eq!(early, Err(Mismatch::Unsolicited { bytes: 1 }));
        let late = Heard::new(&script, 0).receive(&script, 1, &replies(&script, 0, 2)[..script.reply_bytes() + 4]);
        assert_eq!(late, Err(Mismatch::Unsolicited { bytes: 4 }));
    }
}
