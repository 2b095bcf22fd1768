//! Rooms: the parts of a hub that are sent messages of their own.
//!
//! A room is a fan-out under a name. It is made by the first who joins and ends with the last who leaves, so rooms that
//! nobody is in cost nothing. Publishing to one looks at its members alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tidegate_engine::{ByteSender, FanOut, JoinOptions, MemberId, Membership, PublishBudget};

use crate::sync::lock;

/// The rooms of a hub, by name.
pub(super) struct Rooms {
    budget: PublishBudget,
    by_name: Mutex<HashMap<Arc<str>, Room>>,
}

struct Room {
    members: FanOut,
    /// Those who joined and have not left; the members of the fan-out are fewer once it has removed some.
    inside: usize,
}

impl Rooms {
    pub(super) fn new(budget: PublishBudget) -> Self {
        Self { budget, by_name: Mutex::default() }
    }

    /// The members of a room; nobody if there is none of this name.
    pub(super) fn find(&self, name: &str) -> FanOut {
        let found = lock(&self.by_name).get(name).map(|room| room.members.clone());
        found.unwrap_or_else(|| FanOut::new(self.budget.clone()))
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        lock(&self.by_name).keys().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.by_name).len()
    }

    fn enter(&self, name: &str, sender: &ByteSender, id: MemberId, options: JoinOptions) -> (Arc<str>, Membership) {
        let mut rooms = lock(&self.by_name);
        let name = rooms.get_key_value(name).map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        let room = rooms
            .entry(Arc::clone(&name))
            .or_insert_with(|| Room { members: FanOut::new(self.budget.clone()), inside: 0 });
        room.inside += 1;
        // Under the lock: nobody finds the room without its first member, or empty and about to end.
        (name, room.members.join(sender, id, options))
    }

    fn leave(&self, name: &str, membership: Membership) {
        let mut rooms = lock(&self.by_name);
        drop(membership);
        if let Some(room) = rooms.get_mut(name) {
            room.inside -= 1;
            if room.inside == 0 {
                rooms.remove(name);
            }
        }
    }
}

/// The rooms that one member is in. Empty, it owns no memory.
#[derive(Default)]
pub(super) struct Entered(Mutex<HashMap<Arc<str>, Membership>>);

impl Entered {
    /// Enters a room; false if the member was in it. `None` if it is in `rooms_max` others.
    pub(super) fn enter(
        &self,
        rooms: &Rooms,
        name: &str,
        rooms_max: usize,
        join: impl FnOnce() -> (ByteSender, MemberId, JoinOptions),
    ) -> Option<bool> {
        let mut entered = lock(&self.0);
        if entered.get(name).is_some_and(Membership::is_member) {
            return Some(false);
        }
        // It may have been removed from the room for being slow: then it comes in again.
        if let Some((name, removed)) = entered.remove_entry(name) {
            rooms.leave(&name, removed);
        }
        if entered.len() >= rooms_max {
            return None;
        }
        let (sender, id, options) = join();
        let (name, membership) = rooms.enter(name, &sender, id, options);
        entered.insert(name, membership);
        Some(true)
    }

    /// Leaves a room; false if the member was not in it.
    pub(super) fn leave(&self, rooms: &Rooms, name: &str) -> bool {
        let left = lock(&self.0).remove_entry(name);
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

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let entered = lock(&self.0);
        entered.iter().filter(|(_, membership)| membership.is_member()).map(|(name, _)| Arc::clone(name)).collect()
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("rooms", &self.len()).finish()
    }
}
