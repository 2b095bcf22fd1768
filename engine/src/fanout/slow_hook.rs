//! The application's function for slow members.

use std::fmt;
use std::sync::Arc;

use super::MemberId;
use crate::connection::sender::ByteSender;
use crate::util::contained::contain;
use crate::util::sync::Mutex;

type OnSlow = dyn Fn(MemberId, &ByteSender) + Send + Sync;

/// A function that fan-outs call with each member whose queue has no space for a message, before its
/// [`SlowMemberPolicy`](super::SlowMemberPolicy) applies. Clones are handles to the same hook.
///
/// It runs on the member's worker, during the delivery, and must not block. A panic is logged.
#[derive(Clone, Default)]
pub struct SlowHook(Arc<Mutex<Option<Arc<OnSlow>>>>);

impl SlowHook {
    /// Sets the function, in place of an earlier one.
    pub fn set(&self, function: impl Fn(MemberId, &ByteSender) + Send + Sync + 'static) {
        let former = self.0.lock().replace(Arc::new(function));
        // Dropped without the lock, because it is code of the application.
        drop(former);
    }

    #[cold]
    pub(super) fn call(&self, member: MemberId, sender: &ByteSender) {
        let function = self.0.lock().clone();
        if let Some(function) = function
            && !contain(|| function(member, sender))
        {
            log::error!("the function for slow members of a fan-out panicked");
        }
    }
}

impl fmt::Debug for SlowHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlowHook").field("is_set", &self.0.lock().is_some()).finish()
    }
}
