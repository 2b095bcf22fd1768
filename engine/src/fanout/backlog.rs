//! Messages kept for a connection whose outbound queue has no space for them.
//!
//! A slow member that wants the newest messages, not all of them, gets them from here as its queue empties, oldest
//! first. If there are too many, the oldest is dropped. A newer message can replace an older one with the same key.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::members::MembershipId;
use crate::util::contained::Contained;

/// The messages kept for one connection.
#[derive(Default)]
pub(crate) struct Backlog {
    messages: VecDeque<Message>,
    /// Total messages taken from the front: places count from the first message ever kept.
    taken: u64,
    places: HashMap<ConflationKey, u64>,
    bytes: usize,
}

/// The key of a message with its membership: other fan-outs can use the same key for something else.
pub(crate) type ConflationKey = (MembershipId, Bytes);

struct Message {
    bytes: Contained<Bytes>,
    key: Option<Contained<ConflationKey>>,
    queue_bytes_max: usize,
}

/// The bounds of a backlog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BacklogBounds {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
    /// Maximum bytes queued with a message that moves to the queue.
    pub(crate) queue_bytes_max: usize,
}

impl Backlog {
    /// Keeps a message, in place of an older one with the same key or as the newest.
    pub(crate) fn push(&mut self, bytes: Bytes, key: Option<ConflationKey>, bounds: BacklogBounds) {
        let place = key.as_ref().and_then(|key| self.places.get(key));
        if let Some(older) = place.and_then(|place| self.messages.get_mut((place - self.taken) as usize)) {
            self.bytes = self.bytes - older.bytes.len() + bytes.len();
            older.bytes = Contained::new(bytes);
        } else {
            if let Some(key) = &key {
                self.places.insert(key.clone(), self.taken + self.messages.len() as u64);
            }
            self.bytes += bytes.len();
            let (bytes, key) = (Contained::new(bytes), key.map(Contained::new));
            self.messages.push_back(Message { bytes, key, queue_bytes_max: bounds.queue_bytes_max });
        }
        while self.messages.len() > bounds.messages_max.max(1)
            || self.bytes > bounds.bytes_max && self.messages.len() > 1
        {
            self.take_first();
        }
    }

    /// Returns the oldest message, and the maximum bytes queued with it.
    pub(crate) fn first(&self) -> Option<(Contained<Bytes>, usize)> {
        let message = self.messages.front()?;
        Some((Contained::new(message.bytes.clone()), message.queue_bytes_max))
    }

    pub(crate) fn take_first(&mut self) {
        let Some(message) = self.messages.pop_front() else { return };
        self.taken += 1;
        self.bytes -= message.bytes.len();
        if let Some(key) = message.key {
            self.places.remove(&key);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const BOUNDS: BacklogBounds = BacklogBounds { messages_max: 3, bytes_max: 10, queue_bytes_max: 100 };

    fn contents(backlog: &mut Backlog) -> Vec<Bytes> {
        std::iter::from_fn(|| {
            let first = backlog.first();
            backlog.take_first();
            first.map(|(mut bytes, _)| bytes.take())
        })
        .collect()
    }

    #[test]
    fn the_oldest_message_is_dropped() {
        let mut backlog = Backlog::default();
        for message in ["1", "2", "3", "4"] {
            backlog.push(message.into(), None, BOUNDS);
        }
        assert_eq!(contents(&mut backlog), ["2", "3", "4"]);
        backlog.push("12345".into(), None, BOUNDS);
        backlog.push("678901".into(), None, BOUNDS);
        assert_eq!(contents(&mut backlog), ["678901"], "bytes are bounded too");
        backlog.push("a large message is kept alone".into(), None, BOUNDS);
        assert_eq!(contents(&mut backlog).len(), 1);
    }

    #[test]
    fn a_newer_message_replaces_the_one_with_its_key() {
        let mut backlog = Backlog::default();
        let key = |key: &'static str| Some((0, Bytes::from(key)));
        backlog.push("a1".into(), key("a"), BOUNDS);
        backlog.push("b1".into(), key("b"), BOUNDS);
        backlog.push("a2".into(), key("a"), BOUNDS);
        assert_eq!(backlog.first().map(|(mut bytes, max)| (bytes.take(), max)), Some(("a2".into(), 100)));
        backlog.take_first();
        backlog.push("a3".into(), key("a"), BOUNDS);
        backlog.push("b2".into(), key("b"), BOUNDS);
        backlog.push("c1".into(), key("c"), BOUNDS);
        assert_eq!(contents(&mut backlog), ["b2", "a3", "c1"]);
        assert!(backlog.places.is_empty() && backlog.bytes == 0);
    }

    #[test]
    fn a_key_applies_within_its_fan_out() {
        let mut backlog = Backlog::default();
        for (membership_id, message) in [(1, "a"), (2, "b")] {
            backlog.push(message.into(), Some((membership_id, Bytes::from("key"))), BOUNDS);
        }
        assert_eq!(backlog.messages.len(), 2);
        backlog.push("c".into(), Some((2, Bytes::from("key"))), BOUNDS);
        assert_eq!(backlog.messages.len(), 2);
    }
}
