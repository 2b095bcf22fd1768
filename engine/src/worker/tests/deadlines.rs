//! Deadlines in fake time: each fires within a tick after its time, never before, and only if it applies.

use super::*;
use crate::clock::TICK;
use crate::driver::sim::Saw;
use crate::error::{CloseCause, SendError};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the script of a peer that sends nothing, reads nothing and never ends.
pub(super) fn silent() -> Script {
    Script { ending: Ending::Silence, reads: false, ..talker(Vec::new()) }
}

/// Runs one connection, alone, until it has closed.
fn run<H, F>(setup: Setup, script: Script, handler: H) -> Simulation
where
    H: Fn(Connection, Stage) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut sim = Simulation::new(setup, handler);
    sim.connect(script);
    sim.run_until_closed(1);
    sim.run_handlers_out();
    sim
}

#[track_caller]
pub(super) fn assert_fired(at: Duration, due: Duration) {
    assert!(at >= due, "fired {:?} too early", due - at);
    // Deadlines are rounded up to a tick, and so are the times they are counted from.
    assert!(at <= due + 2 * TICK, "fired {:?} too late", at - due);
}

pub(super) fn end_of(sim: &Simulation) -> (Option<Result<(), ReceiveError>>, Duration) {
    sim.stage.log_of(0, |log| (log.end, log.done_at.expect("the handler has ended")))
}

#[test]
fn the_read_deadline_wakes_the_reader_and_the_connection_goes_on() {
    for setup in Setup::calm().both_placements() {
        let script = Script { starts_at: SECOND, ..talker(b"late".to_vec()) };
        let script = Script { pace: 10 * SECOND, ..script };
        let sim = run(setup, script, |mut connection, stage| async move {
            // The bytes that the peer sends at once.
            assert!(stage.receive(&mut connection).await.is_some());
            let due = stage.now() + 3 * SECOND;
            connection.set_read_deadline(Some(stage.instant(3 * SECOND)));
            assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
            assert_fired(stage.now(), due);
            connection.set_read_deadline(None);
            assert!(stage.receive(&mut connection).await.is_none());
        });
        assert_eq!(end_of(&sim).0, Some(Ok(())));
        sim.finish(Shutdown::default());
    }
}

#[test]
fn the_write_deadline_ends_a_stuck_connection_whatever_its_handler_does() {
    for setup in Setup::calm().both_placements() {
        let sim = run(setup, silent(), |mut connection, stage| async move {
            assert!(stage.send(&connection, pattern(90)).await);
            connection.set_write_deadline(Some(stage.instant(2 * SECOND)));
            let sent = connection.sender().send(pattern(90)).await;
            assert_eq!(sent, Err(SendError::Closed(CloseCause::WriteDeadline)));
            assert!(stage.receive(&mut connection).await.is_none());
        });
        let (end, at) = end_of(&sim);
        assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::WriteDeadline))));
        assert_fired(at, 2 * SECOND);
        sim.finish(Shutdown::default());
    }
}

#[test]
fn a_write_deadline_with_nothing_queued_does_nothing() {
    let sim = run(
        Setup::calm(),
        Script { starts_at: Duration::ZERO, ..talker(Vec::new()) },
        |connection, stage| async move {
            connection.set_write_deadline(Some(stage.instant(SECOND)));
            stage.let_pass(&connection, 2 * SECOND).await;
            assert!(stage.send(&connection, b"still open".to_vec()).await);
        },
    );
    assert_eq!(sim.stats().closed_total, 1);
    assert_eq!(sim.net.borrow().peers[0].saw, Saw::Fin);
}

/// The peer reads some bytes every second: slow, but never stuck.
#[test]
fn the_write_timeout_is_renewed_by_progress() {
    for setup in Setup::calm().both_placements() {
        let script = Script { pace: SECOND, ending: Ending::FinAfterOurs, ..talker(Vec::new()) };
        let sim = run(setup, script, |connection, stage| async move {
            connection.set_write_timeout(Some(5 * SECOND));
            for _ in 0..20 {
                assert!(stage.send(&connection, pattern(90)).await, "closed at {:?}", stage.now());
            }
            assert_eq!(connection.sender().flush().await, Ok(()));
            assert!(stage.now() > 10 * SECOND, "too fast to show anything");
            // With nothing queued the timeout does not apply.
            stage.let_pass(&connection, 60 * SECOND).await;
            assert!(stage.send(&connection, pattern(10)).await);
        });
        assert_eq!(sim.net.borrow().peers[0].received.len(), 20 * 90 + 10);
        sim.finish(Shutdown::default());
    }
}

#[test]
fn the_write_timeout_ends_a_stuck_connection() {
    for setup in Setup::calm().both_placements() {
        let sim = run(setup, silent(), |mut connection, stage| async move {
            connection.set_write_timeout(Some(2 * SECOND));
            stage.let_pass(&connection, 10 * SECOND).await;
            assert!(stage.send(&connection, pattern(90)).await);
            assert!(stage.receive(&mut connection).await.is_none());
        });
        let (end, at) = end_of(&sim);
        assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::WriteTimeout))));
        assert_fired(at, 12 * SECOND);
        sim.finish(Shutdown::default());
    }
}

#[test]
fn the_write_timeout_may_change_while_a_send_is_in_flight() {
    for setup in Setup::calm().both_placements() {
        let sim = run(setup, silent(), |mut connection, stage| async move {
            assert!(stage.send(&connection, pattern(90)).await);
            stage.let_pass(&connection, SECOND).await;
            connection.set_write_timeout(Some(2 * SECOND));
            stage.let_pass(&connection, SECOND).await;
            connection.set_write_timeout(None);
            stage.let_pass(&connection, 60 * SECOND).await;
            connection.set_write_timeout(Some(3 * SECOND));
            assert!(stage.receive(&mut connection).await.is_none());
        });
        let (end, at) = end_of(&sim);
        assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::WriteTimeout))));
        assert_fired(at, 65 * SECOND);
        sim.finish(Shutdown::default());
    }
}

/// The timeout counts from the last bytes, which can arrive after a long sleep of the worker.
#[test]
fn the_idle_timeout_counts_from_the_last_bytes() {
    for setup in Setup::calm().both_placements() {
        let mut setup = setup;
        setup.config.idle_timeout = Some(10 * SECOND);
        let spoke_at = 9 * SECOND + TICK / 2;
        let sim = run_with_word(setup, spoke_at, |mut connection, stage| async move {
            while stage.receive(&mut connection).await.is_some() {}
        });
        let (end, at) = end_of(&sim);
        assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::IdleTimeout))));
        assert_fired(at, spoke_at + 10 * SECOND);
        sim.finish(Shutdown::default());
    }
}

/// Runs one connection to its close. Its peer sends one byte at `spoke_at`; the worker sleeps until then.
pub(super) fn run_with_word<H, F>(setup: Setup, spoke_at: Duration, handler: H) -> Simulation
where
    H: Fn(Connection, Stage) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut sim = Simulation::new(setup, handler);
    let peer = sim.connect(silent());
    sim.run_until("its accept", |sim| sim.stats().accepted_total == 1);
    sim.net.borrow_mut().say(peer, b"x", spoke_at);
    sim.run_until_closed(1);
    sim.run_handlers_out();
    sim
}

#[test]
fn the_lifetime_deadline_ends_a_busy_connection() {
    for setup in Setup::calm().both_placements() {
        let script = Script { pace: SECOND / 10, ..talker(pattern(60_000)) };
        let sim = run(setup, script, |mut connection, stage| async move {
            connection.set_lifetime_deadline(Some(stage.instant(5 * SECOND)));
            while stage.receive(&mut connection).await.is_some() {}
        });
        let (end, at) = end_of(&sim);
        assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::LifetimeDeadline))));
        assert_fired(at, 5 * SECOND);
        sim.finish(Shutdown::default());
    }
}

/// The handler drops its connection after a long sleep of the worker: the flush timeout counts from the drop.
#[test]
fn the_flush_timeout_counts_from_the_close() {
    for setup in Setup::calm().both_placements() {
        let mut setup = setup;
        setup.config.flush_timeout = 3 * SECOND;
        let spoke_at = 60 * SECOND + TICK / 2;
        let sim = run_with_word(setup, spoke_at, |mut connection, stage| async move {
            assert!(stage.receive(&mut connection).await.is_some());
            append_all(&connection, 90);
        });
        let net = sim.net.borrow();
        assert_eq!(net.peers[0].saw, Saw::Reset, "it did not read the bytes");
        assert_fired(net.peers[0].saw_at, spoke_at + 3 * SECOND);
    }
}

/// The worker waits for a peer that never answers our FIN; then it closes the socket without a reset, because bytes may
/// be in transit.
#[test]
fn the_linger_timeout_counts_from_the_fin() {
    for setup in quiet_or_not() {
        let mut setup = setup;
        setup.config.linger_timeout = 5 * SECOND;
        let script = Script { ending: Ending::Silence, ..talker(Vec::new()) };
        let sim = run(setup, script, |connection, stage| async move {
            stage.let_pass(&connection, 30 * SECOND).await;
            append_all(&connection, 50);
        });
        let net = sim.net.borrow();
        assert_eq!(net.peers[0].received, pattern(50));
        assert_fired(sim.now(), 35 * SECOND);
    }
}

/// Returns setups of both placements, with and without a quiet time before the look for the peer's FIN.
fn quiet_or_not() -> impl Iterator<Item = Setup> {
    [false, true].into_iter().flat_map(|quiet| {
        let mut setup = Setup::calm();
        setup.sim.unarmed_is_quiet = quiet;
        setup.both_placements()
    })
}

/// What the peer sends in the quiet time, its FIN included, is read after it, so that nothing is answered with a reset.
#[test]
fn a_connection_is_quiet_before_the_look_for_the_peers_fin() {
    for setup in quiet_or_not() {
        let has_quiet_time = setup.sim.unarmed_is_quiet;
        let script = Script { ending: Ending::FinAfterOurs, ..talker(Vec::new()) };
        let mut sim = Simulation::new(setup, |connection, _| async move { append_all(&connection, 50) });
        let peer = sim.connect(script);
        sim.net.borrow_mut().say(peer, b"too late", TICK / 2);
        let _alarm = sim.alarm(TICK / 2);
        sim.run_until_closed(1);
        let (closed_at, least) = (sim.now(), if has_quiet_time { TICK } else { Duration::ZERO });
        assert!((least..3 * TICK).contains(&closed_at), "closed at {closed_at:?}");
        assert_eq!(sim.net.borrow().peers[peer].saw, Saw::Fin);
        sim.finish(Shutdown::default());
    }
}

fn append_all(connection: &Connection, len: usize) {
    connection.sender().append(|tail| tail.extend_from_slice(&pattern(len))).expect("the connection is open");
}

/// The peer speaks in time, and the whole process stands still until long after the deadline.
#[test]
fn the_lateness_of_the_process_is_not_charged_to_the_peer() {
    for setup in Setup::calm().both_placements() {
        let mut setup = setup;
        setup.config.idle_timeout = Some(SECOND);
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            connection.set_read_deadline(Some(stage.instant(SECOND)));
            while stage.receive(&mut connection).await.is_some() {
                connection.set_read_deadline(None);
            }
        });
        let peer = sim.connect(silent());
        let _alarm = sim.alarm(SECOND / 10);
        sim.run_until("the handler to wait", |sim| sim.now() >= SECOND / 10);
        let spoke_at = sim.now() + SECOND / 2;
        sim.net.borrow_mut().say(peer, b"x", spoke_at);
        sim.net.borrow_mut().stand_still(3 * SECOND);
        let continued_at = sim.now();
        sim.run_until_closed(1);
        sim.run_handlers_out();
        assert_eq!(sim.stage.log_of(0, |log| log.received.clone()), b"x");
        let (end, at) = end_of(&sim);
        assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::IdleTimeout))));
        assert_fired(at, continued_at + SECOND);
    }
}

/// The handler computes for a while before it sets its timeout.
#[test]
fn an_idle_timeout_counts_from_its_setting() {
    for before in [None, Some(60 * SECOND)] {
        for setup in Setup::calm().both_placements() {
            let mut setup = setup;
            setup.config.idle_timeout = before;
            let sim = run(setup, silent(), |mut connection, stage| async move {
                stage.let_pass(&connection, 50 * SECOND).await;
                connection.set_idle_timeout(Some(15 * SECOND));
                assert!(stage.receive(&mut connection).await.is_none());
            });
            let (end, at) = end_of(&sim);
            assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::IdleTimeout))));
            assert_fired(at, 65 * SECOND);
        }
    }
}

/// The batch in flight takes the peer many timeouts, but it takes some of it all the time. Once it stops, it is reset
/// within a quarter of the timeout after the timeout.
#[test]
fn a_slow_reader_is_not_a_dead_one() {
    for setup in Setup::calm().both_placements() {
        for drops in [false, true] {
            let mut setup = setup.clone();
            setup.sim.acknowledges = true;
            setup.config.flush_timeout = 4 * SECOND;
            let script = Script { pace: 3 * SECOND, ending: Ending::Silence, ..talker(Vec::new()) };
            let mut sim = Simulation::new(setup, move |mut connection, stage| async move {
                connection.set_write_timeout(Some(4 * SECOND));
                append_all(&connection, 1000);
                if !drops {
                    assert!(stage.receive(&mut connection).await.is_none());
                }
            });
            let peer = sim.connect(script);
            sim.run_until("most of it to be taken", |sim| sim.net.borrow().peers[peer].received.len() >= 800);
            assert!(sim.now() > 30 * SECOND, "too fast to show anything");
            sim.net.borrow_mut().peers[peer].stop_reading();
            let stopped_at = sim.now();
            sim.run_until_closed(1);
            sim.run_handlers_out();
            assert!(sim.now() >= stopped_at + SECOND && sim.now() <= stopped_at + 6 * SECOND, "{:?}", sim.now());
            if !drops {
                let (end, _) = end_of(&sim);
                assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::WriteTimeout))));
            }
        }
    }
}

/// A peer that takes nothing is reset after the timeout, and at most a quarter of it later.
#[test]
fn a_dead_reader_is_reset_after_its_timeout() {
    for setup in Setup::calm().both_placements() {
        let mut setup = setup;
        setup.sim.acknowledges = true;
        let sim = run(setup, silent(), |mut connection, stage| async move {
            connection.set_write_timeout(Some(4 * SECOND));
            append_all(&connection, 1000);
            assert!(stage.receive(&mut connection).await.is_none());
        });
        let (end, at) = end_of(&sim);
        assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::WriteTimeout))));
        assert_fired(at, 5 * SECOND);
    }
}
