//! Graceful shutdown: farewells, the drain deadline, late connections.

use std::task::Poll;

use super::*;
use crate::driver::sim::Saw;
use crate::driver::sim::{ENOMEM, EPERM};
use crate::error::SendError;

const SEEDS: u64 = if cfg!(miri) { 2 } else { 200 };

/// The farewell follows everything accepted and nothing follows it, even while the handler is busy.
#[test]
fn the_farewell_is_the_last_thing_sent() {
    for seed in 0..SEEDS {
        let mut setup = Setup::new(seed);
        setup.inline = seed % 2 == 0;
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            connection.set_farewell(b"bye");
            let mut piece = 0u8;
            while stage.send(&connection, vec![piece; 7]).await {
                piece = piece.wrapping_add(1) % 90;
                stage.let_pass(&connection, Duration::from_millis(20)).await;
            }
            assert!(matches!(connection.sender().append(|_| ()), Err(SendError::Finished)), "nothing follows");
            assert!(connection.is_draining());
            assert!(stage.receive(&mut connection).await.is_none());
        });
        for _ in 0..3 {
            sim.connect(Script { ending: Ending::FinAfterOurs, ..talker(pattern(40)) });
        }
        // The handler ends at the end of stream, but the peers wait for our FIN, so the shutdown below ends the
        // connections.
        let _alarm = sim.alarm(Duration::from_millis(seed + 1));
        sim.run_until("its time", |sim| sim.now() > Duration::from_millis(seed));
        sim.finish_and_settle(drain(Duration::from_secs(5)));
        let logs = sim.stage.logs.lock().expect("no test panics while holding it");
        for (log, peer) in logs.iter().zip(&sim.net.borrow().peers) {
            let mut expected = log.accepted.clone();
            if log.started {
                expected.extend_from_slice(b"bye");
            }
            assert!(peer.saw == Saw::Reset || peer.received == expected, "seed {seed}: {:?}", peer.received);
            assert!(expected.starts_with(&peer.received), "seed {seed}");
        }
    }
}

/// A connection whose handler ignores the shutdown is reset at the deadline.
#[test]
fn what_does_not_end_is_reset_at_the_deadline() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            while stage.receive(&mut connection).await.is_some() {}
        });
        for _ in 0..4 {
            sim.connect(Script { ending: Ending::Silence, ..talker(pattern(10)) });
        }
        sim.run_until("all to be accepted", |sim| sim.stats().accepted_total == 4);
        let began = sim.now();
        sim.begin_shutdown(drain(Duration::from_secs(3)));
        let report = sim.run_to_end();
        assert_eq!((report.drained, report.forced), (0, 4));
        let took = sim.now() - began;
        assert!(took >= Duration::from_secs(3) && took <= Duration::from_secs(3) + 2 * crate::clock::TICK, "{took:?}");
    }
}

#[test]
fn connections_that_end_by_themselves_are_drained() {
    for seed in 0..SEEDS {
        let mut setup = Setup::new(seed);
        setup.inline = seed % 2 == 0;
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            std::future::poll_fn(|cx| connection.poll_draining(cx)).await;
            assert!(stage.send(&connection, b"done".to_vec()).await);
        });
        for _ in 0..5 {
            sim.connect(Script { ending: Ending::FinAfterOurs, ..talker(pattern(100)) });
        }
        sim.run_until("all to be accepted", |sim| sim.stats().accepted_total == 5);
        sim.begin_shutdown(drain(Duration::from_secs(20)).spread(Duration::from_secs(seed % 10)));
        let report = sim.run_to_end();
        assert_eq!((report.drained, report.forced), (5, 0), "seed {seed}");
        sim.net.borrow_mut().settle();
        let served = |peer: &crate::driver::sim::Peer| peer.received == b"done" && peer.saw == Saw::Fin;
        assert!(sim.net.borrow().peers.iter().all(served), "seed {seed}");
    }
}

/// A peer whose bytes arrive just before the shutdown has begun its next request: its handler sees them first.
#[test]
fn handlers_see_what_had_arrived_before_the_shutdown() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            let has_begun = std::future::poll_fn(|cx| match connection.poll_receive(cx) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if connection.is_draining() => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            });
            if has_begun.await {
                stage.send(&connection, b"answered".to_vec()).await;
            }
        });
        let peer = sim.connect(Script { ending: Ending::FinAfterOurs, ..talker(Vec::new()) });
        let _alarm = sim.alarm(Duration::from_millis(50));
        sim.run_until("a moment of rest", |sim| sim.now() >= Duration::from_millis(50));
        sim.begin_shutdown(drain(Duration::from_secs(5)));
        let now = sim.now();
        sim.net.borrow_mut().say(peer, b"next", now);
        sim.run_to_end();
        sim.net.borrow_mut().settle();
        assert_eq!(sim.net.borrow().peers[peer].received, b"answered");
    }
}

/// A connection that is accepted while the listeners close does not outlive an immediate shutdown.
#[test]
fn a_late_connection_does_not_hold_up_the_end() {
    for seed in 0..SEEDS {
        let mut setup = Setup::new(seed);
        setup.inline = seed % 2 == 0;
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            while stage.receive(&mut connection).await.is_some() {}
        });
        for _ in 0..4 {
            sim.connect(Script { ending: Ending::Silence, ..talker(pattern(10)) });
        }
        sim.begin_shutdown(Shutdown::immediate());
        let report = sim.run_to_end();
        assert_eq!(report.drained + report.forced, sim.stats().accepted_total, "seed {seed}");
    }
}

/// A lack of memory in the middle of everything delays a worker; any other error of its driver ends it, and its
/// connections learn so.
#[test]
fn a_driver_short_of_memory_is_entered_again() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, |connection, stage| stage.echo(connection));
        let peer = sim.connect(Script { ending: Ending::Silence, ..talker(pattern(200)) });
        for _ in 0..20 {
            sim.net.borrow_mut().enter_errors.extend([ENOMEM; 3]);
            sim.tick();
        }
        sim.run_until("the echo", |sim| sim.net.borrow().peers[peer].received.len() == 200);
        sim.net.borrow_mut().enter_errors.push_back(EPERM);
        let error = sim.worker.tick().expect_err("a failed driver ends its worker");
        assert_eq!(error.raw_os_error(), Some(EPERM));
    }
}

/// A handler shuts its sending side down, and later drops the connection before the peer has ended: one FIN is sent.
/// The simulated socket complains of a second.
#[test]
fn a_connection_sends_one_fin() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, |connection, stage| async move {
            connection.sender().shutdown_write();
            stage.let_pass(&connection, Duration::from_millis(50)).await;
        });
        let peer = sim.connect(Script { ending: Ending::Silence, ..talker(pattern(10)) });
        sim.run_until_closed(1);
        sim.net.borrow_mut().settle();
        assert_eq!(sim.net.borrow().peers[peer].saw, Saw::Fin);
    }
}
