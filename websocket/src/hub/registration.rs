//! A connection's part in a hub.

use std::fmt;
use std::sync::Arc;

use tidegate_engine::{MemberId, Membership};

use super::{Hub, MemberConfig};
use crate::sender::Sender;

/// A WebSocket's part in a [`Hub`]. Dropping it unregisters: also when a handler's future is dropped or panics.
#[must_use = "dropping it unregisters"]
pub struct Registration<T = ()> {
    hub: Hub<T>,
    id: MemberId,
    data: Arc<T>,
    everyone: Membership,
}

impl<T> Registration<T> {
    pub(super) fn new(hub: Hub<T>, sender: &Sender, data: Arc<T>, config: &MemberConfig) -> Self {
        let id = MemberId::next();
        let options = config.join_options(&hub.shared.config);
        hub.register_lock().insert(id, Arc::clone(&data));
        let everyone = hub.shared.everyone.join(sender.bytes(), id, options);
        Self { hub, id, data, everyone }
    }

    /// The hub.
    pub fn hub(&self) -> &Hub<T> {
        &self.hub
    }

    /// What this member carries.
    pub fn data(&self) -> &T {
        &self.data
    }

    /// Whether it still gets the hub's messages: false once the hub has removed it, because its connection ended or was
    /// slow.
    pub fn is_member(&self) -> bool {
        self.everyone.is_member()
    }

    pub(super) fn id(&self) -> MemberId {
        self.id
    }
}

impl<T> Drop for Registration<T> {
    fn drop(&mut self) {
        self.hub.register_lock().remove(&self.id);
    }
}

impl<T> fmt::Debug for Registration<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("id", &self.id).field("is_member", &self.is_member()).finish()
    }
}
