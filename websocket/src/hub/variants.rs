//! The variants in which the members of a hub get its messages, beside the plain one.
//!
//! Members that compress without context take one compressed variant of a message, made once for all of them. Which variants
//! there are changes with the members; a number is never given to another variant, because messages with it may be on their way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_engine::Publish;

use crate::conn::prepared::PreparedMessage;
use crate::deflate::DeflatedVariant;
use crate::sync::lock;

/// The variant of members that take a message as it is.
pub(super) const UNCOMPRESSED: u32 = 0;

/// What a hub's members take.
#[derive(Debug, Default)]
pub(super) struct Variants {
    table: Mutex<Table>,
    /// Rows of the table, readable without its lock: 0 in most hubs.
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    rows: Vec<Row>,
    /// The number given last.
    last: u32,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    number: u32,
    variant: DeflatedVariant,
    members: usize,
}

impl Variants {
    /// The number of a variant for one more member.
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

    /// One member less takes the variant of this number.
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

    /// The message in every variant that somebody takes.
    pub(super) fn publish(&self, message: &PreparedMessage) -> Publish {
        let publish = Publish::new(message.frame().clone());
        if self.len.load(Ordering::Acquire) == 0 {
            return publish;
        }
        // Compressed without the lock.
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
    fn a_form_lasts_as_long_as_its_members_and_its_number_is_never_another_ones() {
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
