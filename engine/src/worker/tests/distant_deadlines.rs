//! Deadlines in fake time where 32 bits of ticks are not enough: around their wrap, beyond their range, and long after
//! they have passed.

use super::deadlines::{assert_fired, end_of, run_with_word, silent};
use super::*;
use crate::clock::TICK;
use crate::error::{CloseCause, SendError};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Returns times two seconds before the lower halves of ticks change their sign or wrap.
fn before_wraps() -> impl Iterator<Item = Duration> {
    [1_u64 << 31, 1 << 32, 3 << 31, 1 << 33].into_iter().map(|ticks| TICK * (ticks >> 8) as u32 * 256 - 2 * SECOND)
}

/// Runs one connection, alone, until it has closed. It begins at `began`, until when the worker has slept. The handler
/// must come to its end: a panic in it ends the connection too.
fn run_from<H, F>(began: Duration, setup: Setup, handler: H) -> Simulation
where
    H: Fn(Connection, Stage) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut sim = Simulation::new(setup, handler);
    sim.net.borrow_mut().advance_to(began);
    sim.connect(silent());
    sim.run_until_closed(1);
    sim.run_handlers_out();
    end_of(&sim);
    sim
}

fn run<H, F>(setup: Setup, handler: H) -> Simulation
where
    H: Fn(Connection, Stage) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    run_from(Duration::ZERO, setup, handler)
}

#[test]
fn read_deadlines_fire_around_the_wrap() {
    for (began, setup) in before_wraps().flat_map(|began| Setup::calm().both_placements().map(|setup| (began, setup))) {
        let sim = run_from(began, setup, |mut connection, stage| async move {
            // The ticks just before the wrap and just after it, one by one.
            for after in (0..6).map(|tick| 2 * SECOND - 3 * TICK + tick * TICK) {
                connection.set_read_deadline(Some(stage.instant(after)));
                let due = stage.now() + after;
                assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
                // Two values of 32 bits stand for no tick.
                assert!(stage.now() >= due && stage.now() <= due + 4 * TICK, "{:?} for {due:?}", stage.now());
                connection.set_read_deadline_in(SECOND / 2);
                let due = stage.now() + SECOND / 2;
                assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
                assert!(stage.now() >= due);
            }
            connection.abort();
        });
        assert!(sim.now() > began + 12 * SECOND);
        sim.finish(Shutdown::default());
    }
}

#[test]
fn other_deadlines_and_timeouts_fire_around_the_wrap() {
    type Set = fn(&Connection, &Stage);
    let sets: [(Set, CloseCause); 4] = [
        (|connection, _| connection.set_idle_timeout(Some(5 * SECOND)), CloseCause::IdleTimeout),
        (|connection, _| connection.set_write_timeout(Some(5 * SECOND)), CloseCause::WriteTimeout),
        (|connection, stage| connection.set_write_deadline(Some(stage.instant(5 * SECOND))), CloseCause::WriteDeadline),
        (
            |connection, stage| connection.set_lifetime_deadline(Some(stage.instant(5 * SECOND))),
            CloseCause::LifetimeDeadline,
        ),
    ];
    for (began, (set, cause)) in before_wraps().flat_map(|began| sets.map(|set| (began, set))) {
        for setup in Setup::calm().both_placements() {
            let sim = run_from(began, setup, move |mut connection, stage| async move {
                set(&connection, &stage);
                assert!(stage.send(&connection, pattern(90)).await);
                assert!(stage.receive(&mut connection).await.is_none());
            });
            let (end, at) = end_of(&sim);
            assert_eq!(end, Some(Err(ReceiveError::Closed(cause))));
            assert_fired(at, began + 5 * SECOND);
        }
    }
}

#[test]
fn read_deadlines_beyond_the_range_fire_at_their_time() {
    for (days, setup) in [60, 99, 100, 199, 250, 397, 398, 1000, 30 * 365].into_iter().flat_map(with_placements) {
        let sim = run(setup, move |mut connection, stage| async move {
            let due = stage.now() + days * DAY;
            connection.set_read_deadline(Some(stage.instant(days * DAY)));
            assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
            assert_fired(stage.now(), due);
            // It stays passed, and the next one applies.
            assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
            connection.set_read_deadline_in(SECOND);
            let due = stage.now() + SECOND;
            assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
            assert_fired(stage.now(), due);
            connection.abort();
        });
        sim.finish(Shutdown::default());
    }
}

fn with_placements<T: Copy>(value: T) -> [(T, Setup); 2] {
    Setup::calm().both_placements().map(|setup| (value, setup))
}

#[test]
fn a_read_deadline_replaces_one_beyond_the_range() {
    for setup in Setup::calm().both_placements() {
        let sim = run(setup, |mut connection, stage| async move {
            for (first, second) in [(300, 2), (2, 300), (300, 400), (400, 300)] {
                connection.set_read_deadline(Some(stage.instant(first * DAY)));
                connection.set_read_deadline(Some(stage.instant(second * DAY)));
                let due = stage.now() + second * DAY;
                assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
                assert_fired(stage.now(), due);
            }
            // None of the deadlines that were there before applies again.
            for deadline in [Some(stage.instant(300 * DAY)), None] {
                connection.set_read_deadline(deadline);
            }
            connection.set_lifetime_deadline(Some(stage.instant(900 * DAY)));
            let closed = connection.receive().await.unwrap_err();
            assert_eq!(closed, ReceiveError::Closed(CloseCause::LifetimeDeadline));
        });
        assert!(sim.now() > 1_900 * DAY);
    }
}

#[test]
fn a_read_deadline_without_end_does_not_fire() {
    for setup in Setup::calm().both_placements() {
        run(setup, |mut connection, stage| async move {
            connection.set_read_deadline_in(Duration::MAX);
            connection.set_lifetime_deadline(Some(stage.instant(2_000 * DAY)));
            let closed = connection.receive().await.unwrap_err();
            assert_eq!(closed, ReceiveError::Closed(CloseCause::LifetimeDeadline));
        });
    }
}

/// Otherwise it would be one to come once its 32 bits have gone half of the way around.
#[test]
fn a_read_deadline_that_has_passed_stays_passed() {
    for (days, setup) in [150, 199, 250, 397, 600].into_iter().flat_map(with_placements) {
        let sim = run(setup, move |mut connection, stage| async move {
            connection.set_read_deadline(Some(stage.instant(SECOND)));
            stage.let_pass(&connection, days * DAY).await;
            let now = stage.now();
            assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
            assert_eq!(stage.now(), now, "the reader waited");
            connection.abort();
        });
        sim.finish(Shutdown::default());
    }
}

#[test]
fn idle_timeouts_of_many_days_fire_at_their_time() {
    for (days, mut setup) in [60, 100, 250, 365].into_iter().flat_map(with_placements) {
        setup.config.idle_timeout = Some(days * DAY);
        let sim = run(setup, |mut connection, stage| async move {
            assert!(stage.receive(&mut connection).await.is_none());
        });
        let (end, at) = end_of(&sim);
        assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::IdleTimeout))));
        assert_fired(at, days * DAY);
    }
}

#[test]
fn write_timeouts_of_many_days_fire_at_their_time() {
    for (days, setup) in [60, 250, 365].into_iter().flat_map(with_placements) {
        let sim = run(setup, move |mut connection, stage| async move {
            connection.set_write_timeout(Some(days * DAY));
            assert!(stage.send(&connection, pattern(90)).await);
            let sent = connection.sender().send(pattern(90)).await;
            assert_eq!(sent, Err(SendError::Closed(CloseCause::WriteTimeout)));
            assert!(stage.receive(&mut connection).await.is_none());
        });
        assert_fired(end_of(&sim).1, days * DAY);
    }
}

/// A timeout that is longer than what can be measured must not end a connection early.
#[test]
fn timeouts_without_end_do_not_fire() {
    for mut setup in Setup::calm().both_placements() {
        setup.config.idle_timeout = Some(Duration::MAX);
        run(setup, |mut connection, stage| async move {
            connection.set_write_timeout(Some(Duration::MAX));
            assert!(stage.send(&connection, pattern(90)).await);
            connection.set_lifetime_deadline(Some(stage.instant(1_000 * DAY)));
            let closed = connection.receive().await.unwrap_err();
            assert_eq!(closed, ReceiveError::Closed(CloseCause::LifetimeDeadline));
        });
    }
}

/// The ticks of a worker that sleeps stand still, so a deadline that is near now is far from the worker's last tick.
#[test]
fn deadlines_after_a_long_sleep_of_the_worker_fire_at_their_time() {
    for (days, setup) in [90, 150, 250, 397, 600].into_iter().flat_map(with_placements) {
        let spoke_at = days * DAY + TICK / 2;
        let sim = run_with_word(setup, spoke_at, move |mut connection, stage| async move {
            assert!(stage.receive(&mut connection).await.is_some());
            for after in [SECOND, 80 * DAY, 120 * DAY] {
                connection.set_read_deadline(Some(stage.instant(after)));
                let due = stage.now() + after;
                assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
                assert_fired(stage.now(), due);
            }
            connection.set_idle_timeout(Some(SECOND));
            connection.set_read_deadline(None);
            assert!(stage.receive(&mut connection).await.is_none());
        });
        assert_eq!(end_of(&sim).0, Some(Err(ReceiveError::Closed(CloseCause::IdleTimeout))));
    }
}
