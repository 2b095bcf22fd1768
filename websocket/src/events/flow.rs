//! What the calls for a connection leave to be done between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::EventHandler;
use super::handle::{Call, Mailbox};
use crate::close::CloseFrame;
use crate::config::KeepaliveConfig;
use crate::conn::attachments::Attachments;
use crate::hub::Registration;
use crate::reserved_bits::ReservedBits;
use crate::serve::handler_error::HandlerError;

/// The state of a connection's calls: one null pointer while nothing is to be done.
pub(super) struct Flow<H: EventHandler>(Option<Box<Extra<H>>>);

/// The outbound queue has reached its high mark: nothing is delivered until it has emptied.
pub(super) const FULL: u8 = 1;
/// The application has paused the delivery.
pub(super) const PAUSED: u8 = 1 << 1;
/// A close frame is due, or has been sent: nothing can be sent any more, and messages are dropped.
pub(super) const CLOSING: u8 = 1 << 2;
/// The close frame is still due.
pub(super) const CLOSE_DUE: u8 = 1 << 3;
/// Deadlines are to be set.
pub(super) const CHANGED: u8 = 1 << 4;
/// Handles of the connection exist, so calls can be waiting.
pub(super) const HAS_MAILBOX: u8 = 1 << 5;
/// The application has reset the connection. In addition to [`CLOSING`].
pub(super) const ABORTED: u8 = 1 << 6;

/// The flags that have to be looked at before the next delivery.
const ATTENTION: u8 = FULL | PAUSED | CLOSE_DUE | CHANGED;

/// What few connections need.
pub(super) struct Extra<H: EventHandler> {
    flags: u8,
    /// The connection is a member of the hub without rooms too.
    pub(super) stays_in_hub: bool,
    /// No close frame is to be sent. In addition to [`CLOSING`].
    pub(super) quits: bool,
    pub(super) close: Option<CloseFrame>,
    /// Why the connection ends, if it was not closed by either side.
    pub(super) error: Option<HandlerError>,
    pub(super) changes: Vec<Change>,
    pub(super) mailbox: Option<Arc<Mailbox<H>>>,
    pub(super) registration: Option<Registration>,
}

/// A change of the session, which cannot be changed while a message is borrowed from it.
pub(super) enum Change {
    ReadDeadline(Option<Instant>),
    IdleTimeout(Option<Duration>),
    WriteTimeout(Option<Duration>),
    Keepalive(Option<KeepaliveConfig>),
    MessageBytesMax(u64),
    ReservedBits(ReservedBits),
    Attach(Arc<Attachments>),
}

impl<H: EventHandler> Flow<H> {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    #[inline]
    pub(super) fn has(&self, flags: u8) -> bool {
        self.0.as_ref().is_some_and(|extra| extra.flags & flags != 0)
    }

    pub(super) fn set(&mut self, flags: u8) {
        self.extra_mut().flags |= flags;
    }

    pub(super) fn clear(&mut self, flags: u8) {
        if let Some(extra) = &mut self.0 {
            extra.flags &= !flags;
            self.shrink();
        }
    }

    /// Gives the memory back if nothing in it is needed.
    fn shrink(&mut self) {
        if self.0.as_ref().is_some_and(|extra| !extra.is_needed()) {
            self.0 = None;
        }
    }

    /// Returns whether nothing is to be done and no calls can be waiting.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        self.0.as_ref().is_none_or(|extra| extra.flags == 0)
    }

    /// Returns whether something is to be done before the next delivery.
    #[inline]
    pub(super) fn needs_attention(&self) -> bool {
        self.has(ATTENTION)
    }

    pub(super) fn extra(&self) -> Option<&Extra<H>> {
        self.0.as_deref()
    }

    pub(super) fn extra_mut(&mut self) -> &mut Extra<H> {
        self.0.get_or_insert_default()
    }

    /// Makes a close frame due, unless one is.
    pub(super) fn close(&mut self, frame: Option<CloseFrame>) {
        if !self.has(CLOSING) {
            self.set(CLOSING | CLOSE_DUE);
            self.extra_mut().close = frame;
        }
    }

    /// Ends a connection without a close frame, unless one is due.
    pub(super) fn quit(&mut self) {
        if !self.has(CLOSING) {
            self.set(CLOSING | CLOSE_DUE);
            self.extra_mut().quits = true;
        }
    }

    /// Ends the delivery of a connection that is reset.
    pub(super) fn abort(&mut self) {
        self.set(CLOSING | CLOSE_DUE | ABORTED);
    }

    /// Returns the number of calls of handles that wait. The mailbox is freed once there are neither calls nor handles.
    pub(super) fn posted(&mut self) -> usize {
        let Some(mailbox) = self.0.as_mut().and_then(|extra| extra.mailbox.as_mut()) else { return 0 };
        // Counted first: a call is posted before its handle is dropped.
        let has_handles = Arc::strong_count(mailbox) > 1;
        let waiting = mailbox.len();
        if waiting == 0 && !has_handles {
            self.extra_mut().mailbox = None;
            self.clear(HAS_MAILBOX);
        }
        waiting
    }

    /// Takes the next call of a handle; `None` once a close frame is due.
    pub(super) fn next_posted(&mut self) -> Option<Call<H>> {
        let extra = self.0.as_mut().filter(|extra| extra.flags & CLOSING == 0)?;
        extra.mailbox.as_ref()?.next()
    }

    pub(super) fn change(&mut self, change: Change) {
        self.set(CHANGED);
        self.extra_mut().changes.push(change);
    }

    /// Returns the attachments that the connection is to have.
    pub(super) fn new_attachments(&self) -> Option<&Arc<Attachments>> {
        self.extra()?.changes.iter().find_map(|change| match change {
            Change::Attach(attachments) => Some(attachments),
            _ => None,
        })
    }

    /// Returns the attachments that the connection is to have, and makes them if there are none.
    pub(super) fn new_attachments_mut(&mut self) -> &Arc<Attachments> {
        if self.new_attachments().is_none() {
            self.change(Change::Attach(Arc::default()));
        }
        self.new_attachments().expect("made above")
    }

    /// Takes the changes to make.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let changes = self.0.as_mut().map_or_else(Vec::new, |extra| std::mem::take(&mut extra.changes));
        self.clear(CHANGED);
        changes
    }

    /// Ends the membership in the hub, and in all rooms.
    pub(super) fn leave_hub(&mut self) {
        if let Some(extra) = &mut self.0 {
            extra.stays_in_hub = false;
            let registration = extra.registration.take();
            self.shrink();
            drop(registration);
        }
    }

    /// Ends the flow: the connection leaves its rooms, and handles find nothing any more.
    pub(super) fn end(&mut self) {
        let extra = self.0.take();
        if let Some(mailbox) = extra.as_ref().and_then(|extra| extra.mailbox.as_ref()) {
            mailbox.end();
        }
        drop(extra);
    }
}

impl<H: EventHandler> Extra<H> {
    fn is_needed(&self) -> bool {
        let waits = self.flags != 0 || !self.changes.is_empty();
        waits || self.close.is_some() || self.error.is_some() || self.mailbox.is_some() || self.registration.is_some()
    }
}

impl<H: EventHandler> Default for Extra<H> {
    fn default() -> Self {
        Self {
            flags: 0,
            stays_in_hub: false,
            quits: false,
            close: None,
            error: None,
            changes: Vec::new(),
            mailbox: None,
            registration: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::events::table::tests::Nothing;

    #[test]
    fn a_mailbox_lasts_as_long_as_its_handles_and_calls() {
        let mut flow = Flow::<Nothing>::new();
        flow.set(HAS_MAILBOX);
        let handle = Arc::clone(flow.extra_mut().mailbox.get_or_insert_with(|| Mailbox::new(1)));
        assert_eq!((flow.posted(), flow.is_at_rest()), (0, false));
        assert!(handle.push(Box::new(|_, _| Ok(()))).is_ok());
        assert!(matches!(handle.push(Box::new(|_, _| Ok(()))), Err(Error::TooManyCalls)));
        drop(handle);
        assert_eq!((flow.posted(), flow.next_posted().is_some(), flow.next_posted().is_some()), (1, true, false));
        assert_eq!((flow.posted(), flow.is_at_rest(), flow.extra().is_none()), (0, true, true));
    }

    #[test]
    fn posted_calls_wait_for_nothing_once_a_close_frame_is_due() {
        let mut flow = Flow::<Nothing>::new();
        flow.set(HAS_MAILBOX);
        let handle = Arc::clone(flow.extra_mut().mailbox.get_or_insert_with(|| Mailbox::new(1)));
        assert!(handle.push(Box::new(|_, _| Ok(()))).is_ok());
        flow.close(None);
        assert_eq!((flow.posted(), flow.next_posted().is_none()), (1, true));
        flow.end();
        assert_eq!(handle.len(), 0);
        assert!(matches!(handle.push(Box::new(|_, _| Ok(()))), Err(Error::Closed(_))));
    }
}
