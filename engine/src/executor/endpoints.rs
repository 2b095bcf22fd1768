//! Connections that are served without a task each.
//!
//! A connection's handler begins as a task. [`adopt`] moves the connection into a table of the handler's thread, where
//! it is an *endpoint*: data, without a future, a task or a waker of its own. The executor polls it when its reader
//! would be woken, with a context whose waker is the endpoint's place. There is one table per handler and thread, made
//! when the handler's first connection arrives.

use std::any::Any;
use std::sync::Arc;
use std::task::Context;

use super::{LOCAL, Local, RunQueue};
use crate::connection::sender::ByteSender;
use crate::executor::pulse::Pulse;
use crate::shared::ConnShared;
use crate::shared::ready_queue::{self, Ready, TABLES_MAX};
use crate::util::contained::catch;

/// The connections of one handler on one thread, each at a place of the table's choice.
///
/// A protocol implements it for what it keeps of a connection. Dropping the table ends its connections: that happens
/// at the end of their thread.
pub trait EndpointTable: Any {
    /// Serves the connection at `place` as far as it can without waiting: it was adopted, or what it waits for has
    /// happened. Places of connections that have ended can be polled too.
    ///
    /// The waker of `cx` polls this place again. It can be cloned at no cost and be woken from any thread.
    fn poll(&mut self, place: u32, cx: &mut Context<'_>);
}

/// The tables of one thread.
#[derive(Default)]
pub(super) struct Endpoints(Vec<Entry>);

struct Entry {
    /// Identifies the handler.
    key: usize,
    /// `None` while it is polled.
    table: Option<Box<dyn EndpointTable>>,
}

/// Makes the connection of `sender` an endpoint: `keep` moves it from the task of its handler into the table with this
/// key, which `new` makes if there is none, and returns its place. The table polls it in the same turn of the thread.
/// The calling task should end then; wakers of the connection that it has left behind have no effect any more.
///
/// `key` is the address of something that the table keeps alive, so that no two tables have the same.
///
/// Returns false without calling `keep` where a connection needs a task: outside of the thread of its handler, on
/// systems of less than 64 bits, and if the thread has 255 tables.
pub fn adopt<T: EndpointTable>(
    sender: &ByteSender,
    key: usize,
    new: impl FnOnce() -> T,
    keep: impl FnOnce(&mut T) -> u32,
) -> bool {
    let shared = Arc::clone(&sender.shared);
    let Some((number, mut boxed)) = take_table(&shared, key, || Box::new(new())) else { return false };
    let table: &mut dyn Any = &mut *boxed;
    let place = table.downcast_mut::<T>().map(keep);
    put_back(number, boxed);
    let Some(place) = place else { return false };
    let reader = shared.become_endpoint(Ready { table: number, place });
    drop(reader);
    shared.wake_endpoint();
    true
}

/// Takes the table with this key out of the current thread, which must run the connection's handler.
fn take_table(
    shared: &ConnShared,
    key: usize,
    new: impl FnOnce() -> Box<dyn EndpointTable>,
) -> Option<(u8, Box<dyn EndpointTable>)> {
    let is_served_here = with_local(|local| {
        let ready = local.queue.ready();
        ready.has_number() && Arc::ptr_eq(ready, &shared.local.ready)
    });
    if is_served_here != Some(true) {
        return None;
    }
    let known = with_local(|local| local.endpoints.0.iter().position(|entry| entry.key == key)).flatten();
    let number = match known {
        Some(number) => number,
        None => {
            // Made outside of the borrow: it is code of the protocol.
            let table = new();
            let add = |local: &mut Local| {
                let entries = &mut local.endpoints.0;
                (entries.len() < TABLES_MAX).then(|| {
                    entries.push(Entry { key, table: Some(table) });
                    entries.len() - 1
                })
            };
            with_local(add)??
        }
    };
    let table = with_local(|local| local.endpoints.0[number].table.take())??;
    Some((number as u8, table))
}

fn put_back(number: u8, table: Box<dyn EndpointTable>) {
    let mut table = Some(table);
    with_local(|local| {
        if let Some(entry) = local.endpoints.0.get_mut(usize::from(number)) {
            entry.table = table.take();
        }
    });
}

/// Polls up to `due` endpoints of the current thread, whose executor has `queue`.
pub(super) fn poll(queue: &RunQueue, due: usize) {
    // Most neighbours are in the same table.
    let mut current: Option<(u8, Box<dyn EndpointTable>)> = None;
    for _ in 0..due {
        let Some(ready) = ready_queue::next_endpoint() else { break };
        if current.as_ref().is_none_or(|(number, _)| *number != ready.table) {
            if let Some((number, table)) = current.take() {
                put_back(number, table);
            }
            let table = with_local(|local| local.endpoints.0.get_mut(usize::from(ready.table))?.table.take());
            current = table.flatten().map(|table| (ready.table, table));
        }
        let Some((_, table)) = &mut current else { continue };
        queue.pulse.begin(Pulse::ENDPOINT);
        let waker = queue.ready.waker(ready);
        if let Err(message) = catch(|| table.poll(ready.place, &mut Context::from_waker(&waker))) {
            log::error!("{} panicked: {message}", queue.pulse.name());
        }
    }
    if let Some((number, table)) = current {
        put_back(number, table);
    }
}

/// Drops the tables of the current thread, and with them their connections.
pub(super) fn end() {
    let tables = with_local(|local| std::mem::take(&mut local.endpoints)).unwrap_or_default();
    for table in tables.0.into_iter().filter_map(|entry| entry.table) {
        if let Err(message) = catch(|| drop(table)) {
            log::error!("the end of a thread's connections panicked: {message}");
        }
    }
}

/// Calls `with` with what the executor of this thread has; `None` if it has none. `with` must not run code of a
/// protocol.
fn with_local<R>(with: impl FnOnce(&mut Local) -> R) -> Option<R> {
    LOCAL.try_with(|local| local.borrow_mut().as_mut().map(with)).ok().flatten()
}
