//! What few requests need: trailers, the settings of a route, a record for the access log.
//!
//! All of it is behind one pointer of the connection, and ended in one step with the request.

use std::future::poll_fn;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use tidegate_engine::{ByteSender, COPY_BYTES_MAX, time};

use super::{Conn, Ends, ReadDeadline, State};
use crate::limits::Limits;
use crate::message::access_record::AccessRecord;
use crate::route_config::RouteConfig;
use crate::server::config::HttpConfig;

/// See the module.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) trailers: Option<Box<HeaderMap>>,
    /// The settings of the server, while those of a route are in force.
    server: Option<(Arc<HttpConfig>, Arc<Limits>)>,
    /// The record of the request, until it is written.
    record: Option<AccessRecord>,
}

impl State {
    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Puts the settings of a route in force until the end of the request.
    #[cold]
    pub(super) fn apply_route_config(&mut self, route: &RouteConfig) {
        let (server_config, server_limits) = (Arc::clone(&self.config), Arc::clone(self.protocol.limits()));
        let mut config = HttpConfig::clone(&server_config);
        config.handler_timeout = route.handler_timeout.or(config.handler_timeout);
        config.content_timeout = route.content_timeout.unwrap_or(config.content_timeout);
        config.keep_alive_timeout = route.keep_alive_timeout.unwrap_or(config.keep_alive_timeout);
        self.config = Arc::new(config);
        if let Some(limit) = route.body_bytes_max
            && limit < server_limits.body_bytes_max
        {
            self.protocol.set_limits(Arc::new(Limits::clone(&server_limits).body_bytes_max(limit)));
        }
        // Of nested settings the outermost has replaced the server's.
        self.extra().server.get_or_insert((server_config, server_limits));
        self.ends.insert(Ends::EXTRA);
    }

    /// Begins the record of the current request.
    #[cold]
    pub(super) fn observe(&mut self, record: AccessRecord) {
        self.extra().record = Some(record);
        self.ends.insert(Ends::EXTRA);
    }

    /// Ends what the request needed. The settings of a route apply to the wait for the next request.
    #[cold]
    pub(super) fn end_extra(&mut self) {
        self.write_record(false);
        let Some((config, limits)) = self.extra.as_mut().and_then(|extra| extra.server.take()) else { return };
        let keep_alive = std::mem::replace(&mut self.config, config).keep_alive_timeout;
        self.protocol.set_limits(limits);
        if keep_alive != self.config.keep_alive_timeout
            && let Some(connection) = &self.connection
        {
            connection.set_read_deadline_in(keep_alive);
            self.read_deadline = ReadDeadline::KeepAlive;
        }
    }

    fn record(&mut self) -> Option<&mut AccessRecord> {
        self.extra.as_mut().and_then(|extra| extra.record.as_mut())
    }

    /// Writes the record of the current request, if it has one that is not written yet.
    fn write_record(&mut self, is_complete: bool) {
        let Some(mut record) = self.extra.as_mut().and_then(|extra| extra.record.take()) else { return };
        record.is_complete = is_complete;
        if !is_complete {
            let unsent = self.sender().map_or(0, ByteSender::queued_bytes) as u64;
            record.content_bytes = record.content_bytes.saturating_sub(unsent);
        }
        self.write_to_log(record);
    }

    /// Writes a record of this connection, with the duration until now.
    pub(super) fn write_to_log(&self, mut record: AccessRecord) {
        record.duration = time::now().saturating_duration_since(record.started);
        if let Some(log) = &self.config.access_log {
            log.write(&record);
        }
    }
}

impl Conn {
    /// Returns whether the current request has a record.
    #[inline]
    pub(crate) fn is_observed(&self) -> bool {
        self.0.borrow().ends.contains(Ends::EXTRA)
    }

    /// Notes that a response has begun.
    #[cold]
    pub(super) fn note_head(&self, status: StatusCode) {
        if let Some(record) = self.0.borrow_mut().record() {
            record.status = Some(status);
        }
    }

    /// Notes that content was queued.
    #[cold]
    pub(super) fn note_content(&self, bytes: usize) {
        if let Some(record) = self.0.borrow_mut().record()
            && record.method != Some(Method::HEAD)
        {
            record.content_bytes += bytes as u64;
        }
    }

    /// Writes the record of a request whose connection continues with another protocol.
    #[cold]
    pub(super) fn note_upgrade(&self) {
        self.note_head(StatusCode::SWITCHING_PROTOCOLS);
        self.0.borrow_mut().write_record(true);
    }

    /// Writes the record of a response that was queued. Waits until the kernel has taken it, unless it is small: what a
    /// client that disconnects did not get is then not counted.
    #[cold]
    pub(crate) async fn note_end(&self) {
        let waits =
            self.0.borrow_mut().record().filter(|record| record.content_bytes > COPY_BYTES_MAX as u64).is_some();
        let sender = self.0.borrow().sender().cloned();
        let is_sent = match sender {
            Some(sender) if waits => poll_fn(|cx| sender.poll_flush(cx)).await.is_ok(),
            _ => true,
        };
        self.0.borrow_mut().write_record(is_sent);
    }
}
