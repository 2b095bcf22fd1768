//! The compressed variants of a hub's messages.
//!
//! Members that compress without context takeover share one compressed variant of a message for each level and window.
//! The variants change with the members. A number is never reused, because messages with it can be on their way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_engine::Publish;

use crate::conn::prepared::PreparedMessage;
use crate::deflate::DeflatedVariant;
use crate::sync::lock;

/// The number of the variant that is not compressed.
pub(super) const UNCOMPRESSED: u32 = 0;

/// The variants that a hub's members take.
#[derive(Debug, Default)]
pub(super) struct Variants {
    table: Mutex<Table>,
    /// The number of rows in the table, readable without its lock: 0 in most hubs.
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    rows: Vec<Row>,
    /// The last number that was given.
    last: u32,
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
        self.len.store(table.rows.len(), Ordering::Release);
        number
    }

    /// Removes a member from the variant of this number.
    pub(super) fn leave(&self, number: u32) {
        if number == UNCOMPRESSED {
            return;
        }
        let mut table = lock(&self.table);
        table.rows.retain_mut(|row| {
            row.members -= usize::from(row.number == number);
            row.members > 0
        });
        self.len.store(table.rows.len(), Ordering::Release);
    }

    /// Returns the message in every variant that a member takes.
    pub(super) fn publish(&self, message: &PreparedMessage) -> Publish {
        let publish = Publish::new(message.frame().clone());
        if self.len.load(Ordering::Acquire) == 0 {
            return publish;
        }
        // Compressed outside of the lock.
        let rows = lock(&self.table).rows.clone();
        let variants = rows.iter().filter_map(|row| Some((row.number, message.deflated(row.variant)?)));
        publish.variants(variants)
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
        let compression = Compression::new(&config, params);
        compression.set_level(CompressionLevel::new(level).ok());
        compression.variant()
    }

    #[test]
    fn a_variant_lasts_as_long_as_its_members_and_its_number_is_never_reused() {
        let variants = Variants::default();
        assert_eq!(variants.enter(None), UNCOMPRESSED);
        let first = variants.enter(variant(1));
        assert_eq!((first, variants.enter(variant(1))), (1, 1));
        assert_eq!(variants.enter(variant(2)), 2);
        variants.leave(first);
        variants.leave(first);
        variants.leave(UNCOMPRESSED);
        assert_eq!(lock(&variants.table).rows.len(), 1);
        assert_eq!(variants.enter(variant(1)), 3);
        variants.leave(3);
        variants.leave(2);
        assert_eq!(variants.len.load(Ordering::Relaxed), 0);
    }
}
