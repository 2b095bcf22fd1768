//! The connections of one event handler on one thread.

use std::sync::Arc;
use std::task::Context;

use tidegate_engine::EndpointTable;
use tidegate_http::HandlerName;

use super::EventHandler;
use super::record::Record;
use super::serve::EventServe;

/// Memory that the table grows by. It grows by pieces, because doubling would cost up to twice the memory.
const PIECE_BYTES: usize = 32 << 10;

/// The records by place.
pub(super) struct Table<H: EventHandler> {
    serve: Arc<EventServe<H>>,
    /// The name of the handler, for the log.
    name: HandlerName,
    pieces: Vec<Box<[Option<Record<H>>]>>,
    /// Places without a record. The one that was left last is taken first, because it is in the cache.
    free: Vec<u32>,
}

impl<H: EventHandler> Table<H> {
    /// Records in a piece: a power of two, so that a place is found with a shift.
    const PIECE_PLACES: usize = {
        let fit = PIECE_BYTES / size_of::<Option<Record<H>>>();
        if fit < 8 { 8 } else { 1 << fit.ilog2() }
    };

    pub(super) fn new(serve: Arc<EventServe<H>>) -> Self {
        Self { serve, name: HandlerName::current(), pieces: Vec::new(), free: Vec::new() }
    }

    /// Keeps a record and returns its place.
    pub(super) fn keep(&mut self, record: Record<H>) -> u32 {
        if self.free.is_empty() {
            let first = self.pieces.len() * Self::PIECE_PLACES;
            self.pieces.push((0..Self::PIECE_PLACES).map(|_| None).collect());
            self.free.extend((first..first + Self::PIECE_PLACES).rev().map(|place| place as u32));
        }
        let place = self.free.pop().unwrap_or_default();
        if let Some(slot) = slot_at(&mut self.pieces, place, Self::PIECE_PLACES) {
            *slot = Some(record);
        }
        place
    }
}

#[inline]
fn slot_at<T>(pieces: &mut [Box<[T]>], place: u32, piece_places: usize) -> Option<&mut T> {
    let place = place as usize;
    pieces.get_mut(place / piece_places)?.get_mut(place % piece_places)
}

impl<H: EventHandler> EndpointTable for Table<H> {
    fn poll(&mut self, place: u32, cx: &mut Context<'_>) {
        let Some(slot) = slot_at(&mut self.pieces, place, Self::PIECE_PLACES) else { return };
        let Some(record) = slot else { return };
        self.name.enter();
        if record.poll(self.serve.handler(), cx).is_ready() {
            *slot = None;
            self.free.push(place);
        }
    }
}

impl<H: EventHandler> Drop for Table<H> {
    /// Ends the connections that are left when their thread ends.
    fn drop(&mut self) {
        self.name.enter();
        for record in self.pieces.iter_mut().flatten().flatten() {
            record.end(self.serve.handler());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::events::EventSocket;
    use crate::message::MessageRef;
    use crate::serve::handler_error::Result;

    /// A handler that does nothing.
    pub(in crate::events) struct Nothing;

    impl EventHandler for Nothing {
        type State = ();

        fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> Result {
            Ok(())
        }

        fn on_message(&self, _ws: &mut EventSocket<'_, Self>, _: &mut (), _message: MessageRef<'_>) -> Result {
            Ok(())
        }
    }

    #[test]
    fn a_place_holds_little_beside_the_state() {
        assert!(size_of::<Option<Record<Nothing>>>() <= 48);
        const { assert!(Table::<Nothing>::PIECE_PLACES >= 512) };
    }
}
