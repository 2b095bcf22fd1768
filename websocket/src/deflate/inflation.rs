//! The inflater of a connection: held for its life if the peer keeps its context, otherwise only while a message is
//! open.

use super::DeflateParams;
use super::inflater::Inflater;
use super::pool;
use crate::role::Role;

/// The inflating side of a connection with compression.
#[derive(Debug)]
pub(crate) struct Inflation {
    params: DeflateParams,
    role: Role,
    /// Whether a compressed message is open.
    open: bool,
    /// `Some` from the first compressed message on if the peer keeps its context, otherwise while a compressed message
    /// is open.
    inflater: Option<Box<Inflater>>,
}

impl Inflation {
    pub(crate) const fn new(params: DeflateParams, role: Role) -> Self {
        Self { params, role, open: false, inflater: None }
    }

    /// Returns whether a compressed message is open.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Returns the inflater of the open compressed message.
    #[inline]
    pub(crate) fn open(&mut self) -> Option<&mut Inflater> {
        if self.open { self.inflater.as_deref_mut() } else { None }
    }

    pub(crate) fn begin_message(&mut self) {
        self.open = true;
        let takeover = self.params.peer_takeover(self.role);
        let inflater = self.inflater.get_or_insert_with(|| {
            if takeover { Box::new(Inflater::new(self.params.peer_window(self.role))) } else { pool::take_inflater() }
        });
        inflater.begin_message(takeover);
    }

    pub(crate) fn end_message(&mut self) {
        self.open = false;
        if !self.params.peer_takeover(self.role) {
            self.return_inflater();
        }
    }

    /// Returns the number of bytes held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.inflater.as_ref().map_or(0, |inflater| inflater.held_bytes())
    }

    fn return_inflater(&mut self) {
        if let Some(inflater) = self.inflater.take() {
            pool::return_inflater(inflater);
        }
    }
}

/// A message can be open when its connection ends.
impl Drop for Inflation {
    fn drop(&mut self) {
        self.return_inflater();
    }
}
