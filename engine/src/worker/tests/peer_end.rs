//! The peer's end, whatever the handler waits for and whatever is unread.

use std::future::poll_fn;

use super::*;
use crate::error::CloseCause;

/// The peer ends behind more bytes than an inbound buffer takes, and the handler never reads.
#[test]
fn the_end_of_a_peer_is_noticed_behind_unread_bytes() {
    for seed in 0..200 {
        for budget in [true, false] {
            for ending in [Ending::Fin, Ending::Reset { after: 150 }] {
                for bytes in [0, 10, 150] {
                    let mut setup = Setup::new(seed);
                    setup.inline = seed % 2 == 0;
                    setup.sim.receive_budget = budget;
                    let mut sim = Simulation::new(setup, |mut connection, stage| async move {
                        poll_fn(|cx| connection.poll_peer_end(cx)).await;
                        while stage.receive(&mut connection).await.is_some() {}
                    });
                    sim.connect(Script { ending, ..talker(pattern(bytes)) });
                    sim.run_until_closed(1);
                    sim.run_handlers_out();
                    let end = sim.stage.log_of(0, |log| log.end);
                    match ending {
                        Ending::Fin => assert_eq!(end, Some(Ok(())), "seed {seed}"),
                        _ => assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::Reset))), "seed {seed}"),
                    }
                    sim.finish(Shutdown::default());
                }
            }
        }
    }
}

/// Any task that holds the sender learns of the end, also while the handler does not even wait for it.
#[test]
fn a_sender_learns_of_the_end_behind_unread_bytes() {
    for seed in 0..200 {
        let mut setup = Setup::new(seed);
        setup.inline = seed % 2 == 0;
        let mut sim = Simulation::new(setup, |connection, stage| async move {
            let sender = connection.sender().clone();
            poll_fn(|cx| sender.poll_peer_end(cx)).await;
            stage.log(&connection, |log| log.end = Some(Ok(())));
        });
        sim.connect(talker(pattern(150)));
        sim.run_until_closed(1);
        sim.run_handlers_out();
        assert_eq!(sim.stage.log_of(0, |log| log.end), Some(Ok(())));
        sim.finish(Shutdown::default());
    }
}
