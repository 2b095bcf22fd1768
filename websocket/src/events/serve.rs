//! From the upgrade of a request to the record of its connection.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_engine::{Connection, adopt};
use tidegate_http::LocalBoxFuture;

use super::EventHandler;
use super::record::Record;
use super::table::Table;
use crate::conn::attachments::Attachments;
use crate::conn::context::ConnContext;
use crate::conn::session::Session;
use crate::conn::websocket::WebSocket;
use crate::serve::hooks::Hooks;
use crate::serve::task::{Serve, connect};

/// An event handler, shared by all of its connections.
pub(super) struct EventServe<H>(H);

impl<H: EventHandler> EventServe<H> {
    pub(super) fn new(handler: H) -> Self {
        Self(handler)
    }

    pub(super) fn handler(&self) -> &H {
        &self.0
    }

    /// Moves a connection into the table of this thread. The task that the future is for then has nothing to do; where
    /// there is no table, it serves the connection.
    fn start(self: Arc<Self>, session: Box<Session>) -> LocalBoxFuture<'static, ()> {
        let sender = session.connection.sender().clone();
        let mut record = Some(Record::new(session));
        let key = Arc::as_ptr(&self).addr();
        let keep = |table: &mut Table<H>| record.take().map_or(u32::MAX, |record| table.keep(record));
        adopt(&sender, key, || Table::new(Arc::clone(&self)), keep);
        match record {
            Some(record) => Box::pin(EventTask { serve: self, record }),
            None => Box::pin(ready(())),
        }
    }
}

impl<H: EventHandler> Serve for EventServe<H> {
    fn serve(self: Arc<Self>, connection: Connection, context: Arc<ConnContext>) -> LocalBoxFuture<'static, ()> {
        self.start(Box::new(Session::new(connection, context)))
    }

    fn serve_with_hooks(
        self: Arc<Self>,
        connection: Connection,
        context: Arc<ConnContext>,
        attachments: Arc<Attachments>,
        hooks: Arc<Hooks>,
    ) -> LocalBoxFuture<'static, ()> {
        Box::pin(async move {
            let mut ws = WebSocket::with_context(connection, context);
            if connect(&mut ws, &attachments, &hooks).await {
                // The session keeps the attachments, and ends after everything of the handler is gone.
                drop((attachments, hooks));
                self.start(ws.into_session()).await;
            }
        })
    }
}

/// Serves one connection where there are no tables.
struct EventTask<H: EventHandler> {
    serve: Arc<EventServe<H>>,
    record: Record<H>,
}

// Nothing in it is pinned.
impl<H: EventHandler> Unpin for EventTask<H> {}

impl<H: EventHandler> Future for EventTask<H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { serve, record } = &mut *self;
        record.poll(serve.handler(), cx)
    }
}

impl<H: EventHandler> Drop for EventTask<H> {
    fn drop(&mut self) {
        self.record.end(self.serve.handler());
    }
}
