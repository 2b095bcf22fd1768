//! Connections that go from task to task.

use super::*;
use crate::executor::successor::succeed;

/// Echoes each chunk in another task.
fn echo(mut connection: Connection, stage: Stage) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        let Some(bytes) = stage.receive(&mut connection).await else { return };
        if stage.send(&connection, bytes).await {
            let sender = connection.sender().clone();
            assert!(succeed(&sender, echo(connection, stage)).is_ok(), "this is the thread of the handler");
        }
    })
}

/// Each task has read the last chunk of its buffer when it ends, so it waits already.
#[test]
fn a_successor_is_woken_in_place_of_the_task_before_it() {
    for setup in Setup::calm().both_placements() {
        let mut sim = Simulation::new(setup, echo);
        let bytes = pattern(300);
        sim.connect(Script { pace: Duration::from_millis(20), ..talker(bytes.clone()) });
        sim.run_until_closed(1);
        sim.run_handlers_out();
        sim.net.borrow_mut().settle();
        assert_eq!(sim.net.borrow().peers[0].received, bytes);
        sim.stage.log_of(0, |log| assert_eq!(log.end, Some(Ok(()))));
        sim.finish(Shutdown::default());
    }
}
