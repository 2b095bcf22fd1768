//! The forms in which the members of a hub get its messages, beside the plain one.
//!
//! Members that compress without context take one compressed form of a message, made once for all of them. Which forms
//! there are changes with the members; a number is never given to another form, because messages with it may be on their way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_engine::Publish;

use crate::conn::context::lock;
use crate::conn::prepared::PreparedMessage;
use crate::deflate::DeflatedForm;

/// The number of members that take a message as it is.
pub(super) const PLAIN: u32 = 0;

/// What a hub's members take.
#[derive(Debug, Default)]
pub(super) struct Forms {
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
    form: DeflatedForm,
    members: usize,
}

impl Forms {
    /// The number of a form for one more member.
    pub(super) fn enter(&self, form: Option<DeflatedForm>) -> u32 {
        let Some(form) = form else { return PLAIN };
        let mut table = lock(&self.table);
        if let Some(row) = table.rows.iter_mut().find(|row| row.form == form) {
            row.members += 1;
            return row.number;
        }
        let Some(number) = table.last.checked_add(1) else { return PLAIN };
        table.last = number;
        table.rows.push(Row { number, form, members: 1 });
        self.len.store(table.rows.len(), Ordering::Release);
        number
    }

    /// One member less takes the form of this number.
    pub(super) fn leave(&self, number: u32) {
        if number == PLAIN {
            return;
        }
        let mut table = lock(&self.table);
        table.rows.retain_mut(|row| {
            row.members -= usize::from(row.number == number);
            row.members > 0
        });
        self.len.store(table.rows.len(), Ordering::Release);
    }

    /// The message in every form that somebody takes.
    pub(super) fn publish(&self, message: &PreparedMessage) -> Publish {
        let publish = Publish::new(message.plain().clone());
        if self.len.load(Ordering::Acquire) == 0 {
            return publish;
        }
        // Compressed without the lock.
        let rows = lock(&self.table).rows.clone();
        let forms = rows.iter().filter_map(|row| Some((row.number, message.deflated(row.form)?)));
        publish.forms(forms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::compressor::Compression;
    use crate::deflate::{CompressionLevel, DeflateConfig};

    fn form(level: i32) -> Option<DeflatedForm> {
        let config = DeflateConfig::default();
        let params = config.accept([&b"permessage-deflate"[..]].into_iter()).unwrap().unwrap().params;
        let compression = Compression::new(&config, params);
        compression.set_level(CompressionLevel::new(level).ok());
        compression.form()
    }

    #[test]
    fn a_form_lasts_as_long_as_its_members_and_its_number_is_never_another_ones() {
        let forms = Forms::default();
        assert_eq!(forms.enter(None), PLAIN);
        let first = forms.enter(form(1));
        assert_eq!((first, forms.enter(form(1))), (1, 1));
        assert_eq!(forms.enter(form(2)), 2);
        forms.leave(first);
        forms.leave(first);
        forms.leave(PLAIN);
        assert_eq!(lock(&forms.table).rows.len(), 1);
        assert_eq!(forms.enter(form(1)), 3);
        forms.leave(3);
        forms.leave(2);
        assert_eq!(forms.len.load(Ordering::Relaxed), 0);
    }
}
