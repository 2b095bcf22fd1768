//! The variants of a hub's messages: compressed ones, masked ones, and events.
//!
//! Event streams take a message as an event, which is one chunk of their response, or the event alone where the content
//! of the response ends with the connection (HTTP/1.0). Members that compress without context takeover share one
//! compressed variant of a message for each level and window. Members that are clients share one that is masked and not
//! compressed; its key is drawn when the message is published, so it is unknown to whoever chose the payload. The
//! variants change with the members. A number is never reused, because messages with it can be on their way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tidegate_engine::Publish;
use tidegate_http::{Event, InvalidEvent};

use super::policy::{last_event, last_frame};
use crate::close::CloseFrame;
use crate::conn::encoding::masked_frame;
use crate::conn::prepared::PreparedMessage;
use crate::deflate::DeflatedVariant;
use crate::frame::Frame;
use crate::message::MessageKind;
use crate::role::Role;
use crate::sync::lock;

/// The number of the variant that is not compressed.
pub(super) const UNCOMPRESSED: u32 = 0;

/// The number of the variant for event streams, chunked.
const EVENT_CHUNK: u32 = 1;

/// The number of the variant for event streams that are not chunked.
const EVENT: u32 = 2;

/// The number of the variant for clients.
const MASKED: u32 = 3;

/// Returns the last bytes of the members that take a variant which is not a server's frame.
pub(super) fn last_variants(frame: &CloseFrame) -> impl Iterator<Item = (u32, Bytes)> {
    let events = [(EVENT_CHUNK, true), (EVENT, false)];
    let events = events.into_iter().map(|(number, is_chunked)| (number, Bytes::from_static(last_event(is_chunked))));
    events.chain([(MASKED, last_frame(Some(frame), Role::Client))])
}

/// The variants that a hub's members take.
#[derive(Debug, Default)]
pub(super) struct Variants {
    table: Mutex<Table>,
    /// The number of rows in the table, readable without its lock: 0 in most hubs.
    len: AtomicUsize,
}

#[derive(Debug)]
struct Table {
    rows: Vec<Row>,
    /// The members that take each of the variants 1 to 3: both kinds of events, and masked messages.
    fixed: [usize; MASKED as usize],
    /// The last number that was given.
    last: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self { rows: Vec::new(), fixed: [0; MASKED as usize], last: MASKED }
    }
}

impl Table {
    /// Returns the number of variants that members take.
    fn len(&self) -> usize {
        self.rows.len() + self.fixed.iter().filter(|members| **members > 0).count()
    }

    /// Returns the count of the members that take the variant of this number, from 1 to 3.
    fn members_of(&mut self, number: u32) -> &mut usize {
        &mut self.fixed[number as usize - 1]
    }
}

#[derive(Debug, Clone, Copy)]
struct Row {
    number: u32,
    variant: DeflatedVariant,
    members: usize,
}

impl Variants {
    /// Returns the number of a variant for one more member.
    pub(super) fn enter(&self, variant: Option<DeflatedVariant>) -> u32 {
        let Some(variant) = variant else { return UNCOMPRESSED };
        let mut table = lock(&self.table);
        if let Some(row) = table.rows.iter_mut().find(|row| row.variant == variant) {
            row.members += 1;
            return row.number;
        }
        let Some(number) = table.last.checked_add(1) else { return UNCOMPRESSED };
        table.last = number;
        table.rows.push(Row { number, variant, members: 1 });
        self.len.store(table.len(), Ordering::Release);
        number
    }

    /// Returns the number of the variant for one more event stream.
    pub(super) fn enter_events(&self, is_chunked: bool) -> u32 {
        self.enter_fixed(if is_chunked { EVENT_CHUNK } else { EVENT })
    }

    /// Returns the number of the variant for one more client.
    pub(super) fn enter_masked(&self) -> u32 {
        self.enter_fixed(MASKED)
    }

    fn enter_fixed(&self, number: u32) -> u32 {
        let mut table = lock(&self.table);
        *table.members_of(number) += 1;
        self.len.store(table.len(), Ordering::Release);
        number
    }

    /// Removes a member from the variant of this number.
    pub(super) fn leave(&self, number: u32) {
        if number == UNCOMPRESSED {
            return;
        }
        let mut table = lock(&self.table);
        if number <= MASKED {
            *table.members_of(number) -= 1;
        } else {
            table.rows.retain_mut(|row| {
                row.members -= usize::from(row.number == number);
                row.members > 0
            });
        }
        self.len.store(table.len(), Ordering::Release);
    }

    /// Adds every variant that a member takes to a message. `event` is its event, if that is not its text.
    pub(super) fn add_to(
        &self,
        publish: Publish,
        message: &PreparedMessage,
        event: Option<&Event>,
    ) -> Result<Publish, InvalidEvent> {
        if self.len.load(Ordering::Acquire) == 0 {
            return Ok(publish);
        }
        // Compressed outside of the lock.
        let (rows, [chunked_events, events, masked]) = {
            let table = lock(&self.table);
            (table.rows.clone(), table.fixed)
        };
        let deflated = rows.iter().filter_map(|row| Some((row.number, message.deflated(row.variant)?)));
        let mut variants: Vec<_> = deflated.collect();
        for (number, members) in [(EVENT_CHUNK, chunked_events), (EVENT, events)] {
            if members > 0
                && let Some(event) = encode_event(message, event, number == EVENT_CHUNK)?
            {
                variants.push((number, event));
            }
        }
        if masked > 0 {
            variants.push((MASKED, masked_frame(&Frame::of_kind(message.kind(), &message.payload()))));
        }
        Ok(publish.variants(variants))
    }
}

/// Returns a message for event streams: its event, or its text. `None` for a binary message without an event.
fn encode_event(
    message: &PreparedMessage,
    event: Option<&Event>,
    is_chunked: bool,
) -> Result<Option<Bytes>, InvalidEvent> {
    if let Some(event) = event {
        return event.encode(is_chunked).map(Some);
    }
    let payload = message.payload();
    match (message.kind(), std::str::from_utf8(&payload)) {
        (MessageKind::Text, Ok(text)) => Event::data(text).encode(is_chunked).map(Some),
        _ => Ok(None),
    }
}

#[cfg(all(test, feature = "compression"))]
mod tests {
    use super::*;
    use crate::conn::compression::Compression;
    use crate::deflate::{CompressionLevel, DeflateConfig};

    fn variant(level: i32) -> Option<DeflatedVariant> {
        let config = DeflateConfig::default();
        let params = config.accept([&b"permessage-deflate"[..]].into_iter()).unwrap().unwrap().params;
        let compression = Compression::new(&config, params, Role::Server);
        compression.set_level(CompressionLevel::new(level).ok());
        compression.variant()
    }

    #[test]
    fn a_variant_lasts_as_long_as_its_members_and_its_number_is_never_reused() {
        let variants = Variants::default();
        assert_eq!(variants.enter(None), UNCOMPRESSED);
        let first = variants.enter(variant(1));
        assert_eq!((first, variants.enter(variant(1))), (4, 4));
        assert_eq!(variants.enter(variant(2)), 5);
        variants.leave(first);
        variants.leave(first);
        variants.leave(UNCOMPRESSED);
        assert_eq!(lock(&variants.table).rows.len(), 1);
        assert_eq!(variants.enter(variant(1)), 6);
        let (chunked, other) = (variants.enter_events(true), variants.enter_events(false));
        assert_eq!((chunked, other, variants.enter_masked()), (EVENT_CHUNK, EVENT, MASKED));
        assert_eq!(variants.len.load(Ordering::Relaxed), 5);
        for number in [6, 5, chunked, other, MASKED] {
            variants.leave(number);
        }
        assert_eq!(variants.len.load(Ordering::Relaxed), 0);
    }
}
