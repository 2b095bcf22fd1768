//! The connections of one event handler on one thread.

use std::sync::Arc;
use std::task::Context;

use tidegate_engine::{EndpointTable, Slab};
use tidegate_http::HandlerName;

use super::EventHandler;
use super::record::Record;
use super::serve::EventServe;

/// The records of one handler's connections on one thread.
pub(super) struct Table<H: EventHandler> {
    serve: Arc<EventServe<H>>,
    /// The name of the handler, for the log.
    name: HandlerName,
    /// By place.
    records: Slab<Record<H>>,
}

impl<H: EventHandler> Table<H> {
    pub(super) fn new(serve: Arc<EventServe<H>>) -> Self {
        Self { serve, name: HandlerName::current(), records: Slab::default() }
    }

    /// Keeps a record and returns its place.
    pub(super) fn keep(&mut self, record: Record<H>) -> u32 {
        self.records.insert(record)
    }
}

impl<H: EventHandler> EndpointTable for Table<H> {
    fn poll(&mut self, place: u32, cx: &mut Context<'_>) {
        let Some(record) = self.records.get_mut(place) else { return };
        self.name.enter();
        if record.poll(self.serve.handler(), cx).is_ready() {
            drop(self.records.remove(place));
        }
    }
}

impl<H: EventHandler> Drop for Table<H> {
    /// Ends the connections that are left when their thread ends.
    fn drop(&mut self) {
        self.name.enter();
        for record in self.records.iter_mut() {
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

    /// A handler whose state is a pointer.
    enum Pointer {}

    impl EventHandler for Pointer {
        type State = Option<Box<u8>>;

        fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> Result<Self::State> {
            Ok(None)
        }

        fn on_message(&self, _ws: &mut EventSocket<'_, Self>, _: &mut Self::State, _message: MessageRef<'_>) -> Result {
            Ok(())
        }
    }

    #[test]
    fn a_place_holds_little_beside_the_state() {
        assert!(size_of::<Option<Record<Nothing>>>() <= 40);
        assert!(size_of::<Option<Record<Pointer>>>() <= 56);
    }
}
