//! The tasks whose handlers have registered their WebSockets, so that what one publishes reaches its own WebSocket
//! before what it sends afterwards.

use std::collections::HashMap;
use std::sync::Mutex;

use tidegate_engine::{ByteSender, MemberId, Publish};

use crate::conn::handler_scope::TaskId;
use crate::sync::lock;

/// The member of each task. Members that were registered outside of a handler are not in it.
#[derive(Debug, Default)]
pub(super) struct Publishers(Mutex<HashMap<TaskId, (MemberId, ByteSender)>>);

impl Publishers {
    /// Notes that the present task, if it is a handler's, has registered a member.
    pub(super) fn enter(&self, member: MemberId, sender: &ByteSender) -> Option<TaskId> {
        let task = TaskId::current()?;
        lock(&self.0).insert(task, (member, sender.clone()));
        Some(task)
    }

    pub(super) fn leave(&self, task: TaskId, member: MemberId) {
        let mut members = lock(&self.0);
        // Another registration of the task can have replaced it.
        if members.get(&task).is_some_and(|(known, _)| *known == member) {
            members.remove(&task);
        }
    }

    /// Publishes in the name of the present task's member, if there is one.
    pub(super) fn name(&self, publish: Publish) -> Publish {
        let Some(task) = TaskId::current() else { return publish };
        match lock(&self.0).get(&task) {
            Some((member, sender)) => publish.publisher(*member, sender),
            None => publish,
        }
    }
}
