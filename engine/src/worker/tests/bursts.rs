//! What the lists of a tick give back after a burst.

use super::*;
use crate::driver::{Event, LIST_ENTRIES_KEPT};

/// A burst is reported by the driver. The lists keep their memory for what follows, and give it back when a while has
/// passed.
#[test]
fn the_lists_of_a_tick_are_given_back_after_a_burst() {
    let mut sim = Simulation::new(Setup::calm(), |connection, stage| stage.echo(connection));
    sim.worker.events.reserve(10 * LIST_ENTRIES_KEPT);
    sim.worker.commands.reserve(10 * LIST_ENTRIES_KEPT);
    sim.worker.overdue.reserve(10 * LIST_ENTRIES_KEPT);
    sim.worker.events.push(Event::Burst);
    sim.worker.harvest();
    assert!(sim.worker.events.capacity() > LIST_ENTRIES_KEPT);
    let _alarm = sim.alarm(Duration::from_secs(5));
    sim.run_until("the time of the alarm", |sim| sim.now() >= Duration::from_secs(5));
    let worker = &sim.worker;
    assert!(worker.events.capacity() <= LIST_ENTRIES_KEPT, "{}", worker.events.capacity());
    assert!(worker.commands.capacity() <= LIST_ENTRIES_KEPT, "{}", worker.commands.capacity());
    assert!(worker.overdue.capacity() <= LIST_ENTRIES_KEPT, "{}", worker.overdue.capacity());
    assert!(!worker.trim_due, "nothing wakes a worker that has given everything back");
    sim.finish(Shutdown::default());
}

/// Timers that fire together are a burst too.
#[test]
fn many_deadlines_at_once_are_a_burst() {
    const CONNECTIONS: usize = 2 * LIST_ENTRIES_KEPT;
    let mut setup = Setup::calm();
    setup.sim.connections_max = CONNECTIONS;
    setup.config.idle_timeout = Some(Duration::from_secs(10));
    let mut sim = Simulation::new(setup, |connection, stage| stage.echo(connection));
    for _ in 0..CONNECTIONS {
        sim.connect(Script { ending: Ending::Silence, ..talker(Vec::new()) });
    }
    sim.run_until_closed(CONNECTIONS as u64);
    assert!(sim.worker.trim_due && sim.worker.overdue.capacity() > LIST_ENTRIES_KEPT);
    let _alarm = sim.alarm(Duration::from_secs(5));
    let then = sim.now() + Duration::from_secs(5);
    sim.run_until("the time of the alarm", |sim| sim.now() >= then);
    assert!(!sim.worker.trim_due && sim.worker.overdue.capacity() <= LIST_ENTRIES_KEPT);
    sim.finish(Shutdown::default());
}
