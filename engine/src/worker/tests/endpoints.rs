//! Connections that are served without a task: `properties` echoes through them too.

use std::task::Poll;

use super::*;
use crate::error::CloseCause;
use crate::executor::endpoints::{EndpointTable, adopt};

/// Echoes on every connection, and waits while the outbound queue is full.
#[derive(Default)]
struct Echoes(Vec<Option<Echo>>);

struct Echo {
    connection: Connection,
    stage: Stage,
    is_full: bool,
}

impl EndpointTable for Echoes {
    fn poll(&mut self, place: u32, cx: &mut Context<'_>) {
        let Some(slot) = self.0.get_mut(place as usize) else { return };
        if slot.as_mut().is_some_and(|echo| echo.poll(cx).is_ready()) {
            *slot = None;
        }
    }
}

impl Echo {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_full {
                std::task::ready!(self.connection.sender().poll_ready(cx, 0)).ok();
                self.is_full = false;
            }
            let received = std::task::ready!(self.connection.poll_receive(cx));
            let chunk = match received {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return self.end(Ok(())),
                Err(error) => return self.end(Err(error)),
            };
            let appended = self.connection.sender().append_in_order(|out| out.extend_from_slice(&chunk));
            self.stage.log(&self.connection, |log| {
                log.received.extend_from_slice(&chunk);
                match appended {
                    Ok(_) => log.accepted.extend_from_slice(&chunk),
                    Err(_) => log.send_failed = true,
                }
            });
            match appended {
                Ok(is_full) => self.is_full = is_full,
                Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn end(&self, end: Result<(), ReceiveError>) -> Poll<()> {
        self.stage.log(&self.connection, |log| log.end = Some(end));
        Poll::Ready(())
    }
}

/// The handler that makes its connection an echoing endpoint.
pub(super) async fn echo(connection: Connection, stage: Stage) {
    let sender = connection.sender().clone();
    let mut echo = Some(Echo { connection, stage, is_full: false });
    let keep = |table: &mut Echoes| {
        table.0.push(echo.take());
        table.0.len() as u32 - 1
    };
    assert!(adopt(&sender, 1, Echoes::default, keep), "a handler's thread has tables");
}

#[test]
fn an_endpoint_is_polled_for_what_arrives() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, echo);
        let bytes = pattern(1_000);
        for _ in 0..3 {
            sim.connect(talker(bytes.clone()));
        }
        sim.run_until_closed(3);
        sim.run_handlers_out();
        sim.net.borrow_mut().settle();
        for peer in 0..3 {
            assert_eq!(sim.net.borrow().peers[peer].received, bytes);
            sim.stage.log_of(peer, |log| assert_eq!(log.end, Some(Ok(()))));
        }
        sim.finish(Shutdown::default());
    }
}

/// What waits for nothing but the peer ends with its connection, and what is left ends with the thread.
#[test]
fn endpoints_end_with_their_connections() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, echo);
        sim.connect(Script { ending: Ending::Silence, ..talker(pattern(10)) });
        sim.run_until("the echo", |sim| sim.net.borrow().peers[0].received.len() == 10);
        let stage = sim.stage.clone();
        sim.finish(drain(Duration::ZERO));
        let forced = Some(Err(ReceiveError::Closed(CloseCause::Shutdown)));
        stage.log_of(0, |log| assert_eq!(log.end, forced));
    }
}
