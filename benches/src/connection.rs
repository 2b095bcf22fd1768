//! One connection of the load generator, without I/O: what was sent, what is awaited, and whether the bytes that came
//! are the right ones.
//!
//! Sending: idle, or one send in flight (a short one is continued). Receiving: a position in the script's replies that
//! moves with every byte. Each send remembers when it was due, so replies can be timed.

use std::collections::VecDeque;
use std::ops::Range;

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
}

/// Messages sent together that share one due time.
#[derive(Debug, Clone, Copy)]
struct Batch {
    due: u64,
    messages: u32,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Connection {
    /// The message the next send begins with.
    next: usize,
    /// Bytes of the send in flight that are not confirmed yet, as a range in the requests; empty when idle.
    sending: Range<usize>,
    /// Where the next byte received lies in the replies.
    heard: usize,
    /// How much of the current reply came already.
    heard_in_reply: usize,
    outstanding: u32,
    sent: u64,
    answered: u64,
    batches: VecDeque<Batch>,
}

impl Connection {
    /// A connection that begins the script at message `first` modulo the cycle. Neighbours begin at different messages,
    /// so that bytes delivered to the wrong connection are seen.
    #[must_use]
    pub fn new(script: &Script, first: usize) -> Self {
        let first = first % script.messages();
        Self {
            next: first,
            sending: 0..0,
            heard: first * script.reply_bytes(),
            heard_in_reply: 0,
            outstanding: 0,
            sent: 0,
            answered: 0,
            batches: VecDeque::new(),
        }
    }

    /// Messages sent and not answered.
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Messages sent since the beginning.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether a send is in flight.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        !self.sending.is_empty()
    }

    /// Notes when the next `messages` messages were due, in nanoseconds; comes before the [`send`](Self::send) that takes
    /// them along.
    pub fn note_due(&mut self, due: u64, messages: u32) {
        self.batches.push_back(Batch { due, messages });
    }

    /// Begins a send of the next `messages` messages and gives the bytes. At most the script's window, and only when no
    /// send is in flight.
    pub fn send<'a>(&mut self, script: &'a Script, messages: u32) -> &'a [u8] {
        debug_assert!(!self.is_sending(), "one send at a time");
        let bytes = script.requests(self.next, messages as usize);
        let start = self.next * script.request_bytes();
        self.sending = start..start + bytes.len();
        self.next = (self.next + messages as usize) % script.messages();
        self.outstanding += messages;
        self.sent += u64::from(messages);
        bytes
    }

    /// The send in flight took `bytes`; gives what is left to send, if anything.
    pub fn confirm_sent<'a>(&mut self, script: &'a Script, bytes: usize) -> Option<&'a [u8]> {
        self.sending.start = (self.sending.start + bytes).min(self.sending.end);
        if self.sending.is_empty() {
            return None;
        }
        let rest = script.requests(0, self.sending.end.div_ceil(script.request_bytes()));
        Some(&rest[self.sending.clone()])
    }

    /// Every message sent was answered, so the send is complete, whether or not the ring said so.
    pub fn presume_sent(&mut self) {
        self.sending = 0..0;
    }

    /// Compares received bytes with the replies and gives how many replies they complete.
    ///
    /// # Errors
    /// What differs; the connection is of no use afterwards.
    pub fn receive(&mut self, script: &Script, bytes: &[u8]) -> Result<u32, Mismatch> {
        let awaited = self.outstanding as usize * script.reply_bytes() - self.heard_in_reply;
        let mut rest = bytes;
        while !rest.is_empty() {
            let expected = &script.replies()[self.heard..];
            let length = expected.len().min(rest.len());
            let (piece, later) = rest.split_at(length);
            if piece != &expected[..length] {
                return Err(self.differs(script, piece));
            }
            self.heard = if length == expected.len() { 0 } else { self.heard + length };
            rest = later;
        }
        if bytes.len() > awaited {
            return Err(Mismatch::Unsolicited { bytes: bytes.len() - awaited });
        }
        let heard = self.heard_in_reply + bytes.len();
        let completed = (heard / script.reply_bytes()) as u32;
        self.heard_in_reply = heard % script.reply_bytes();
        self.outstanding -= completed;
        self.answered += u64::from(completed);
        Ok(completed)
    }

    /// Takes `messages` answered messages off the books and calls `record` with each due time and how many shared it.
    pub fn settle(&mut self, mut messages: u32, mut record: impl FnMut(u64, u32)) {
        while messages > 0 {
            let Some(batch) = self.batches.front_mut() else {
                return;
            };
            let taken = batch.messages.min(messages);
            record(batch.due, taken);
            messages -= taken;
            batch.messages -= taken;
            if batch.messages == 0 {
                self.batches.pop_front();
            }
        }
    }

    /// Describes the first byte of `got` that differs from the replies at the current position.
    #[cold]
    fn differs(&self, script: &Script, got: &[u8]) -> Mismatch {
        let expected = &script.replies()[self.heard..];
        let same = got.iter().zip(expected).take_while(|(got, expected)| got == expected).count();
        let byte = (self.heard + same) % script.reply_bytes();
        let hint = match got[same] {
            0x88 if byte == 0 => " (a close frame?)",
            0x89 if byte == 0 => " (a ping?)",
            0x01 | 0x02 if byte == 0 => " (a fragment?)",
            _ => "",
        };
        let begun = (self.heard_in_reply + same) / script.reply_bytes();
        Mismatch::Differs {
            reply: self.answered + begun as u64,
            byte,
            reply_bytes: script.reply_bytes(),
            expected: hexadecimal(&expected[same..]),
            got: hexadecimal(&got[same..]),
            hint,
        }
    }
}

/// The first bytes as two digits each.
fn hexadecimal(bytes: &[u8]) -> String {
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
            let mut connection = Connection::new(&script, first);
            assert_eq!(connection.send(&script, 8).len(), 8 * script.request_bytes());
            let completed: u32 = stream.chunks(piece).map(|bytes| connection.receive(&script, bytes).unwrap()).sum();
            assert_eq!((completed, connection.outstanding()), (8, 0), "pieces of {piece}");
        }
    }

    #[test]
    fn any_wrong_byte_is_found() {
        let script = script();
        let stream = replies(&script, 0, 3);
        for index in 0..stream.len() {
            let mut wrong = stream.clone();
            wrong[index] ^= 0x10;
            let mut connection = Connection::new(&script, 0);
            connection.send(&script, 3);
            let Err(Mismatch::Differs { reply, byte, .. }) = connection.receive(&script, &wrong) else {
                panic!("byte {index} was not compared");
            };
            assert_eq!((reply as usize, byte), (index / script.reply_bytes(), index % script.reply_bytes()));
        }
    }

    #[test]
    fn lost_repeated_and_foreign_messages_are_found() {
        let script = script();
        for wrong_first in [1, script.messages() - 1, 5] {
            let mut connection = Connection::new(&script, 0);
            connection.send(&script, 2);
            assert!(connection.receive(&script, &replies(&script, wrong_first, 1)).is_err());
        }
    }

    #[test]
    fn a_fragment_or_ping_is_named() {
        let script = script();
        for (byte, hint) in [(0x02, "fragment"), (0x89, "ping"), (0x88, "close")] {
            let mut connection = Connection::new(&script, 0);
            connection.send(&script, 1);
            let error = connection.receive(&script, &[byte, 0]).unwrap_err();
            assert!(error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn bytes_beyond_what_was_asked_are_found() {
        let script = script();
        let mut connection = Connection::new(&script, 0);
        assert_eq!(connection.receive(&script, &replies(&script, 0, 1)[..1]), Err(Mismatch::Unsolicited { bytes: 1 }));
        let mut connection = Connection::new(&script, 0);
        connection.send(&script, 1);
        let late = connection.receive(&script, &replies(&script, 0, 2)[..script.reply_bytes() + 4]);
        assert_eq!(late, Err(Mismatch::Unsolicited { bytes: 4 }));
    }

    #[test]
    fn a_short_send_is_continued_where_it_stopped() {
        let script = script();
        let mut connection = Connection::new(&script, script.messages() - 1);
        let whole = connection.send(&script, 3).to_vec();
        assert_eq!(connection.confirm_sent(&script, 10), Some(&whole[10..]));
        assert_eq!(connection.confirm_sent(&script, 30), Some(&whole[40..]));
        assert_eq!(connection.confirm_sent(&script, whole.len() - 40), None);
        assert!(!connection.is_sending());
        assert_eq!(connection.send(&script, 1), script.requests(2, 1));
    }

    #[test]
    fn each_message_is_settled_with_its_own_due_time() {
        let script = script();
        let mut connection = Connection::new(&script, 0);
        connection.note_due(100, 2);
        connection.note_due(200, 1);
        let mut seen = Vec::new();
        connection.settle(1, |due, messages| seen.push((due, messages)));
        connection.settle(2, |due, messages| seen.push((due, messages)));
        assert_eq!(seen, [(100, 1), (100, 1), (200, 1)]);
    }
}
