//! Receiving into memory of the reader: `properties` does it too.

use std::future::poll_fn;
use std::task::Poll;

use super::*;
use crate::connection::filling::Filling;
use crate::error::CloseCause;

/// What a reader's memory holds before the message.
const OWN: &[u8] = b"own";

/// Waits for bytes of a message, into the reader's memory. `None` once the memory is away and has been waited for in
/// `polls` polls.
async fn fill(
    connection: &mut Connection,
    memory: &mut Vec<u8>,
    filling: &mut Filling,
    missing: usize,
    mut polls: usize,
) -> Option<Result<bool, ReceiveError>> {
    poll_fn(|cx| match connection.poll_fill_into(cx, memory, filling, missing) {
        Poll::Pending if polls == 0 && filling.is_away() => Poll::Ready(None),
        Poll::Pending => {
            polls = polls.saturating_sub(1);
            Poll::Pending
        }
        Poll::Ready(filled) => Poll::Ready(Some(filled)),
    })
    .await
}

/// Takes what has arrived of a message. Returns it, and whether it came into the memory.
fn take(connection: &mut Connection, memory: &mut Vec<u8>, filling: &mut Filling, missing: usize) -> (Vec<u8>, bool) {
    match connection.take_filled(filling) {
        Some((filled, kept)) => {
            assert!(filled.starts_with(OWN) && filled.len() > kept && filled.len() <= kept + missing);
            *memory = filled;
            (memory[kept..].to_vec(), true)
        }
        None => {
            let len = connection.buffer().len().min(missing);
            memory.extend_from_slice(&connection.buffer()[..len]);
            connection.consume(len);
            (memory[memory.len() - len..].to_vec(), false)
        }
    }
}

/// Echoes messages of `bytes` bytes that are received into the reader's memory. Now and then it gives the memory up and
/// reads what was received into it as a chunk.
pub(super) async fn gather(bytes: usize, mut connection: Connection, stage: Stage) {
    let mut polls = bytes;
    loop {
        let (mut filling, mut memory) = (Filling::new(), Vec::with_capacity(OWN.len() + bytes));
        memory.extend_from_slice(OWN);
        while memory.len() < OWN.len() + bytes {
            polls = (polls + 1) % 5;
            let missing = OWN.len() + bytes - memory.len();
            let received = match fill(&mut connection, &mut memory, &mut filling, missing, polls).await {
                Some(Ok(true)) => take(&mut connection, &mut memory, &mut filling, missing).0,
                Some(Ok(false)) => return stage.log(&connection, |log| log.end = Some(Ok(()))),
                Some(Err(error)) => return stage.log(&connection, |log| log.end = Some(Err(error))),
                None => {
                    let Some(bytes) = stage.receive(&mut connection).await else { return };
                    if !stage.send(&connection, bytes).await {
                        return;
                    }
                    break;
                }
            };
            stage.log(&connection, |log| log.received.extend_from_slice(&received));
            if !stage.send(&connection, received).await {
                return;
            }
        }
    }
}

/// The first bytes come as a chunk, and then the reader's memory goes to and fro.
#[test]
fn the_rest_of_a_message_comes_into_the_memory_of_its_reader() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            let (mut filling, mut memory) = (Filling::new(), Vec::with_capacity(1000));
            memory.extend_from_slice(OWN);
            let (address, mut fills) = (memory.as_ptr(), 0);
            while memory.len() < OWN.len() + 500 {
                // At most what the inbound buffer of a simulation holds.
                let missing = (OWN.len() + 500 - memory.len()).min(60);
                let filled = fill(&mut connection, &mut memory, &mut filling, missing, usize::MAX).await;
                assert_eq!(filled, Some(Ok(true)));
                fills += usize::from(take(&mut connection, &mut memory, &mut filling, missing).1);
            }
            assert!(fills > 0 && memory.as_ptr() == address);
            stage.log(&connection, |log| log.received.extend_from_slice(&memory[OWN.len()..]));
            // The next message can come as usual.
            while stage.receive(&mut connection).await.is_some() {}
        });
        sim.connect(talker(pattern(800)));
        sim.run_until_closed(1);
        assert_eq!(sim.stage.logs.lock().unwrap()[0].received, pattern(800));
        sim.finish(Shutdown::immediate());
    }
}

/// Sends the start of a message, and then nothing more.
fn stalling() -> Script {
    Script { ending: Ending::Silence, ..talker(pattern(100)) }
}

/// Waits until the memory is away and the peer has stalled.
async fn wait_for_the_rest(connection: &mut Connection, filling: &mut Filling) -> Result<bool, ReceiveError> {
    let mut memory = Vec::with_capacity(1000);
    memory.extend_from_slice(OWN);
    loop {
        match fill(connection, &mut memory, filling, 60, usize::MAX).await {
            Some(Ok(true)) => drop(take(connection, &mut memory, filling, 60)),
            Some(end) => return end,
            None => unreachable!("it waits"),
        }
    }
}

#[test]
fn a_handler_that_ends_while_its_memory_is_away_closes_its_connection() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            let mut filling = Filling::new();
            let pause = connection.timer().sleep_until(stage.instant(Duration::from_secs(1)));
            let mut pause = std::pin::pin!(pause);
            let mut waits = std::pin::pin!(wait_for_the_rest(&mut connection, &mut filling));
            poll_fn(|cx| {
                assert!(waits.as_mut().poll(cx).is_pending());
                pause.as_mut().poll(cx)
            })
            .await;
        });
        sim.connect(Script { ending: Ending::FinAfterOurs, ..stalling() });
        sim.run_until_closed(1);
        assert_eq!(sim.stats().closed_total, 1);
        sim.finish(Shutdown::immediate());
    }
}

#[test]
fn a_stall_while_the_memory_is_away_ends_at_the_deadlines() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            let mut filling = Filling::new();
            connection.set_read_deadline(Some(stage.instant(Duration::from_secs(1))));
            assert_eq!(wait_for_the_rest(&mut connection, &mut filling).await, Err(ReceiveError::Deadline));
            assert!(filling.is_away(), "the memory is still away");
            connection.set_read_deadline(None);
            connection.set_idle_timeout(Some(Duration::from_secs(2)));
            let end = fill(&mut connection, &mut Vec::new(), &mut filling, 60, usize::MAX).await;
            assert_eq!(end, Some(Err(ReceiveError::Closed(CloseCause::IdleTimeout))));
            stage.log(&connection, |log| log.end = Some(Ok(())));
        });
        sim.connect(stalling());
        sim.run_until_closed(1);
        assert_eq!(sim.stage.logs.lock().unwrap()[0].end, Some(Ok(())));
        assert_eq!(sim.stats().failed_total, 1);
        sim.finish(Shutdown::immediate());
    }
}

/// A reader that does not go on to read, although it could, still learns of its peer's end.
#[test]
fn the_end_of_the_peer_is_noticed_between_two_fills() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, |mut connection, stage| async move {
            let (mut filling, mut memory, mut fills) = (Filling::new(), Vec::with_capacity(1000), 0);
            memory.extend_from_slice(OWN);
            while fills == 0 {
                let filled = fill(&mut connection, &mut memory, &mut filling, 20, usize::MAX).await;
                assert_eq!(filled, Some(Ok(true)));
                fills += usize::from(take(&mut connection, &mut memory, &mut filling, 20).1);
            }
            poll_fn(|cx| connection.poll_peer_end(cx)).await;
            stage.log(&connection, |log| log.end = Some(Ok(())));
        });
        sim.connect(talker(pattern(200)));
        sim.run_until_closed(1);
        assert_eq!(sim.stage.logs.lock().unwrap()[0].end, Some(Ok(())));
        sim.finish(Shutdown::immediate());
    }
}
