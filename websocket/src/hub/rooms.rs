//! Rooms: named parts of a hub.
//!
//! A room is a fan-out with a name. It is created by the first member that joins and removed with the last that leaves,
//! so empty rooms cost nothing. Publishing to a room looks only at its members.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidegate_engine::{ByteSender, FanOut, JoinOptions, MemberId, Membership, PublishBudget, SlowHook};

use crate::sync::lock;

/// The rooms of a hub, by name.
pub(super) struct Rooms {
    budget: PublishBudget,
    slow_hook: SlowHook,
    by_name: Mutex<HashMap<Arc<str>, Room>>,
}

struct Room {
    members: FanOut,
    /// The members that joined and have not left. The fan-out has fewer once it has removed some.
    joined: usize,
}

impl Rooms {
    pub(super) fn new(budget: PublishBudget, slow_hook: SlowHook) -> Self {
        Self { budget, slow_hook, by_name: Mutex::default() }
    }

    /// Closes all rooms: `last` are the last bytes of their members' connections, in each variant.
    pub(super) fn finish(&self, last: &Bytes, variants: &[(u32, Bytes)]) {
        let all = std::mem::take(&mut *lock(&self.by_name));
        all.into_values().for_each(|room| room.members.finish(last.clone(), variants.iter().cloned()));
    }

    /// Returns the members of a room; none if the room does not exist.
    pub(super) fn find(&self, name: &str) -> FanOut {
        let found = lock(&self.by_name).get(name).map(|room| room.members.clone());
        found.unwrap_or_else(|| self.new_room())
    }

    fn new_room(&self) -> FanOut {
        FanOut::with_slow_hook(self.budget.clone(), self.slow_hook.clone())
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        lock(&self.by_name).keys().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.by_name).len()
    }

    fn join(&self, name: &str, sender: &ByteSender, id: MemberId, options: JoinOptions) -> (Arc<str>, Membership) {
        let mut rooms = lock(&self.by_name);
        let name = rooms.get_key_value(name).map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        let room = rooms.entry(Arc::clone(&name)).or_insert_with(|| Room { members: self.new_room(), joined: 0 });
        room.joined += 1;
        // Under the lock, so that no room is found without members.
        (name, room.members.join(sender, id, options))
    }

    fn leave(&self, name: &str, membership: Membership) {
        let mut rooms = lock(&self.by_name);
        drop(membership);
        if let Some(room) = rooms.get_mut(name) {
            room.joined -= 1;
            if room.joined == 0 {
                rooms.remove(name);
            }
        }
    }
}

/// The rooms of one member. Without rooms it owns no memory.
#[derive(Default)]
pub(super) struct JoinedRooms(Mutex<HashMap<Arc<str>, Membership>>);

impl JoinedRooms {
    /// Joins a room. Returns false if the member was in it, `None` if it is in `rooms_max` others. Rooms that removed
    /// the member for being slow do not count.
    pub(super) fn join(
        &self,
        rooms: &Rooms,
        name: &str,
        rooms_max: usize,
        member: impl FnOnce() -> (ByteSender, MemberId, JoinOptions),
    ) -> Option<bool> {
        let mut joined = lock(&self.0);
        if joined.get(name).is_some_and(Membership::is_member) {
            return Some(false);
        }
        // A member that was removed from the room for being slow joins again.
        if let Some((name, removed)) = joined.remove_entry(name) {
            rooms.leave(&name, removed);
        }
        if joined.len() >= rooms_max {
            for (name, removed) in joined.extract_if(|_, membership| !membership.is_member()) {
                rooms.leave(&name, removed);
            }
        }
        if joined.len() >= rooms_max {
            return None;
        }
        let (sender, id, options) = member();
        let (name, membership) = rooms.join(name, &sender, id, options);
        joined.insert(name, membership);
        Some(true)
    }

    /// Leaves a room. Returns false if the member was not in it.
    pub(super) fn leave(&self, rooms: &Rooms, name: &str) -> bool {
        let left = {
            let mut joined = lock(&self.0);
            let left = joined.remove_entry(name);
            if joined.is_empty() {
                *joined = HashMap::new();
            }
            left
        };
        left.is_some_and(|(name, membership)| {
            let was_member = membership.is_member();
            rooms.leave(&name, membership);
            was_member
        })
    }

    pub(super) fn leave_all(&self, rooms: &Rooms) {
        let all = std::mem::take(&mut *lock(&self.0));
        for (name, membership) in all {
            rooms.leave(&name, membership);
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        lock(&self.0).get(name).is_some_and(Membership::is_member)
    }

    pub(super) fn is_any_member(&self) -> bool {
        lock(&self.0).values().any(Membership::is_member)
    }

    pub(super) fn joined_names(&self) -> Vec<Arc<str>> {
        lock(&self.0).keys().cloned().collect()
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let joined = lock(&self.0);
        joined.iter().filter(|(_, membership)| membership.is_member()).map(|(name, _)| Arc::clone(name)).collect()
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("rooms", &self.len()).finish()
    }
}
