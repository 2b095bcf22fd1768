//! One connection that sends requests and awaits replies, without I/O. It records the sent messages, the outstanding
//! ones and since when.
//!
//! Sending: idle, or one send in flight (a short send is continued). Receiving: a position in the replies that moves
//! with every byte. Each send records when it was due, so its replies can be timed.

use std::collections::VecDeque;
use std::ops::Range;

use crate::replies::{Mismatch, Replies};
use crate::requests::Requests;

/// Messages sent together with one due time.
#[derive(Debug, Clone, Copy)]
struct Batch {
    due: u64,
    messages: u32,
}

/// The state of one connection. `P` is its position in the replies.
#[derive(Debug)]
pub struct Connection<P> {
    /// First request of the next send.
    next: usize,
    /// Unconfirmed bytes of the send in flight, as a range in the requests; empty when idle.
    sending: Range<usize>,
    position: P,
    outstanding: u32,
    sent: u64,
    batches: VecDeque<Batch>,
}

impl<P> Connection<P> {
    /// Returns a connection that begins the cycle at request `first` modulo its length. Neighbours begin at different
    /// requests, so bytes delivered to the wrong connection are detected.
    #[must_use]
    pub fn new<R: Replies<Position = P>>(requests: &Requests, replies: &R, first: usize) -> Self {
        let next = first % requests.count();
        let position = replies.begin(next);
        Self { next, sending: 0..0, position, outstanding: 0, sent: 0, batches: VecDeque::new() }
    }

    /// Returns the number of messages sent and not answered.
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Returns the number of messages sent since the beginning.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns whether a send is in flight.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        !self.sending.is_empty()
    }

    /// Records when the next `messages` messages were due, in nanoseconds. Call it before the [`send`](Self::send) that
    /// includes them.
    pub fn note_due(&mut self, due: u64, messages: u32) {
        self.batches.push_back(Batch { due, messages });
    }

    /// Begins a send of the next `messages` messages, at most one window, and returns its bytes. No other send may be
    /// in flight.
    pub fn send<'a>(&mut self, requests: &'a Requests, messages: u32) -> &'a [u8] {
        debug_assert!(!self.is_sending(), "one send at a time");
        self.sending = requests.range(self.next, messages as usize);
        self.next = (self.next + messages as usize) % requests.count();
        self.outstanding += messages;
        self.sent += u64::from(messages);
        &requests.stream()[self.sending.clone()]
    }

    /// Records that the send in flight took `bytes` and returns the rest to send, if any.
    pub fn confirm_sent<'a>(&mut self, requests: &'a Requests, bytes: usize) -> Option<&'a [u8]> {
        self.sending.start = (self.sending.start + bytes).min(self.sending.end);
        if self.sending.is_empty() {
            return None;
        }
        Some(&requests.stream()[self.sending.clone()])
    }

    /// Records that the send in flight completed, because every message was answered. The ring does not report it.
    pub fn presume_sent(&mut self) {
        self.sending = 0..0;
    }

    /// Compares received bytes with the replies and returns the number of replies they complete.
    ///
    /// # Errors
    /// The first mismatch. The connection is unusable afterwards.
    #[inline]
    pub fn receive<R: Replies<Position = P>>(&mut self, replies: &mut R, bytes: &[u8]) -> Result<u32, Mismatch> {
        let completed = replies.receive(&mut self.position, self.outstanding, bytes)?;
        self.outstanding -= completed;
        Ok(completed)
    }

    /// Removes `messages` answered messages and calls `record` with each due time and the number of messages that share
    /// it.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Content;
    use crate::script::{Messages, Protocol, Script};

    fn script() -> Script {
        let protocol = Protocol::WebSocket;
        Script::new(&Messages { protocol, payload_bytes: 20, content: Content::Binary, window_messages_max: 8 })
            .unwrap()
    }

    #[test]
    fn replies_lower_the_outstanding_count() {
        let script = script();
        let mut connection = Connection::new(script.requests(), &&script, 2);
        assert_eq!(connection.send(script.requests(), 3), script.requests().window(2, 3));
        let replies = &script.replies()[2 * script.reply_bytes()..5 * script.reply_bytes()];
        assert_eq!(connection.receive(&mut &script, &replies[..script.reply_bytes() + 1]), Ok(1));
        assert_eq!(connection.outstanding(), 2);
        assert_eq!(connection.receive(&mut &script, &replies[script.reply_bytes() + 1..]), Ok(2));
        assert_eq!((connection.outstanding(), connection.sent()), (0, 3));
    }

    #[test]
    fn a_short_send_is_continued_where_it_stopped() {
        let script = script();
        let requests = script.requests();
        let mut connection = Connection::new(requests, &&script, requests.count() - 1);
        let whole = connection.send(requests, 3).to_vec();
        assert_eq!(connection.confirm_sent(requests, 10), Some(&whole[10..]));
        assert_eq!(connection.confirm_sent(requests, 30), Some(&whole[40..]));
        assert_eq!(connection.confirm_sent(requests, whole.len() - 40), None);
        assert!(!connection.is_sending());
        assert_eq!(connection.send(requests, 1), requests.window(2, 1));
    }

    #[test]
    fn each_message_is_settled_with_its_own_due_time() {
        let script = script();
        let mut connection = Connection::new(script.requests(), &&script, 0);
        connection.note_due(100, 2);
        connection.note_due(200, 1);
        let mut seen = Vec::new();
        connection.settle(1, |due, messages| seen.push((due, messages)));
        connection.settle(2, |due, messages| seen.push((due, messages)));
        assert_eq!(seen, [(100, 1), (100, 1), (200, 1)]);
    }
}
