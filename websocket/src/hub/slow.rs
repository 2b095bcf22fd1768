//! Members that read too slowly, as the application sees them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tidegate_engine::{Address, ByteSender, MemberId};

use super::Hub;
use crate::sync::lock;

/// The values that members carry.
pub(super) type Register<T> = Arc<Mutex<HashMap<MemberId, Arc<T>>>>;

/// A member whose outbound queue has no space for a message, for [`Hub::on_slow`].
pub struct SlowMember<'a, T = ()> {
    data: &'a T,
    sender: &'a ByteSender,
}

impl<'a, T> SlowMember<'a, T> {
    /// Returns the value that the member carries.
    pub fn data(&self) -> &'a T {
        self.data
    }

    /// Returns the address of its peer.
    pub fn peer_addr(&self) -> Address {
        self.sender.peer_addr()
    }

    /// Returns the bytes that are queued for its peer and not yet in the kernel.
    pub fn queued_bytes(&self) -> usize {
        self.sender.queued_bytes()
    }
}

impl<T> fmt::Debug for SlowMember<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlowMember").field("peer_addr", &self.peer_addr()).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Hub<T> {
    /// Calls `callback` for each message that a slow member has no space for, before its
    /// [`SlowPolicy`](super::SlowPolicy) applies: to count, to log, or to tell the application whom it loses. It
    /// replaces an earlier callback and applies to rooms too.
    ///
    /// It runs on the member's worker, in the middle of a delivery, and must not block. A panic is logged. A callback
    /// that holds a clone of the hub keeps the hub alive.
    ///
    /// ```
    /// use tidegate_websocket::{Hub, SlowMember};
    ///
    /// let hub: Hub<String> = Hub::default();
    /// hub.on_slow(|member: &SlowMember<'_, String>| {
    ///     println!("{} ({}) is {} bytes behind", member.data(), member.peer_addr(), member.queued_bytes());
    /// });
    /// ```
    pub fn on_slow(&self, callback: impl Fn(&SlowMember<'_, T>) + Send + Sync + 'static) {
        let register = Arc::clone(&self.shared.register);
        self.shared.slow_hook.set(move |member, sender| {
            let data = lock(&register).get(&member).cloned();
            if let Some(data) = data {
                callback(&SlowMember { data: &data, sender });
            }
        });
    }
}
