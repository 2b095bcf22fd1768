//! Coalescing: small responses that are ready at once leave together, for all requests of one received chunk.
//!
//! They are encoded one after another into a buffer of the thread, which is queued as a whole: the queue is locked and
//! its space checked once for all of them. The buffer is never held across an await.

use std::cell::Cell;
use std::future::poll_fn;

use bytes::Bytes;
use tidegate_engine::{COPY_BYTES_MAX, SendError};

use super::{Conn, ConnectionLost, Ends, date_now};
use crate::message::head::RequestHead;
use crate::message::response::{Response, ResponseBody};
use crate::server::handler_name::HandlerName;

/// No response is added to this many bytes or more. With one small response above it, it bounds what a connection holds
/// in addition to its outbound queue for a peer that does not read.
const COALESCED_BYTES_MAX: usize = 4096;

/// A larger buffer is freed, not reused, so that one burst does not occupy a thread's memory for good.
const REUSED_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static REUSED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Encoded responses that will be sent together, in the thread's buffer.
pub(crate) struct Coalesced(Vec<u8>);

impl Coalesced {
    pub(crate) fn new() -> Coalesced {
        Coalesced(REUSED.try_with(Cell::take).unwrap_or_default())
    }
}

impl Drop for Coalesced {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        if (1..=REUSED_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            // Fails only while the thread is ending.
            let _ = REUSED.try_with(|reused| reused.set(bytes));
        }
    }
}

impl Conn {
    /// Encodes a response if its content is small and known, and returns whether it did.
    pub(crate) fn coalesce(&self, response: &Response, coalesced: &mut Coalesced) -> Result<bool, ConnectionLost> {
        static NONE: Bytes = Bytes::new();
        let content = match response.body() {
            ResponseBody::Bytes(content) if content.len() <= COPY_BYTES_MAX => content,
            ResponseBody::Empty => &NONE,
            _ => return Ok(false),
        };
        if response.status().is_informational() {
            return Ok(false);
        }
        let state = &mut *self.0.borrow_mut();
        if state.connection.as_ref().ok_or(ConnectionLost)?.is_draining() {
            state.protocol.close_after_response();
        }
        let date = *state.date.get_or_insert_with(date_now);
        state.protocol.respond_whole(response, content, date, &mut coalesced.0).map_err(|error| {
            let name = HandlerName::current();
            log::error!("invalid response of {name}, connection of {} closed: {error}", state.peer());
            ConnectionLost
        })?;
        Ok(true)
    }

    /// Returns the head of the next request if it was received complete and its response can be coalesced too: the last
    /// request had no content, and the buffer has space.
    pub(crate) fn next_head(&self, coalesced: &Coalesced) -> Option<RequestHead> {
        let state = &mut *self.0.borrow_mut();
        if state.ends != Ends::default() || coalesced.0.len() >= COALESCED_BYTES_MAX {
            return None;
        }
        state.take_whole_head()
    }

    /// Sends the coalesced responses if the queue has space. Otherwise returns them, to be sent with
    /// [`send_coalesced`](Conn::send_coalesced).
    pub(crate) fn try_send_coalesced(&self, mut coalesced: Coalesced) -> Result<Option<Coalesced>, ConnectionLost> {
        if coalesced.0.is_empty() {
            return Ok(None);
        }
        let state = self.0.borrow();
        let sender = state.sender().ok_or(ConnectionLost)?;
        match sender.try_append(coalesced.0.len(), |out| append(&mut coalesced.0, out)) {
            Ok(()) => Ok(None),
            Err(SendError::Full) => Ok(Some(coalesced)),
            Err(_) => Err(ConnectionLost),
        }
    }

    /// Waits for space and sends the coalesced responses.
    pub(crate) async fn send_coalesced(&self, mut coalesced: Coalesced) -> Result<(), ConnectionLost> {
        poll_fn(|cx| self.poll_ready(cx, coalesced.0.len())).await?;
        let state = self.0.borrow();
        let sender = state.sender().ok_or(ConnectionLost)?;
        sender.append(|out| append(&mut coalesced.0, out)).map_err(|_| ConnectionLost)
    }
}

/// Appends `bytes` to the queue. If that is empty, the two are swapped and nothing is copied.
fn append(bytes: &mut Vec<u8>, out: &mut Vec<u8>) {
    if out.is_empty() {
        std::mem::swap(bytes, out);
    } else {
        out.extend_from_slice(bytes);
    }
}
