//! Publishing while a worker lets the lane rest, on every interleaving.

use std::time::Instant;

use super::*;
use crate::address::Address;
use crate::config::{InboundMarks, OutboundMarks};
use crate::error::SendError;
use crate::shared::key::ConnKey;
use crate::shared::ready_queue::ReadyQueue;
use crate::shared::signal::Signal;
use crate::shared::worker_shared::WorkerShared;
use crate::shared::{ConnShared, LocalEnd};

/// Counts the bytes that it is handed.
struct Counter(usize);

impl HandOver for Counter {
    fn hand_over(&mut self, _: &Arc<ConnShared>, bytes: &Bytes, _: usize) -> Result<(), SendError> {
        self.0 += bytes.len();
        Ok(())
    }

    fn has_backlog(&self, _: &ConnShared) -> bool {
        false
    }

    fn push_backlog(&mut self, _: &Arc<ConnShared>, _: Bytes, _: Option<ConflationKey>, _: BacklogBounds) {}

    fn abort(&mut self, _: &Arc<ConnShared>) {}

    fn finish(&mut self, _: &Arc<ConnShared>, _: &[u8]) {}
}

fn member() -> ByteSender {
    let inbound = InboundMarks { bytes_high: 2, bytes_low: 1, chunks_high: 2, chunks_low: 1 };
    let outbound = OutboundMarks { bytes_high: 2, bytes_low: 1 };
    let worker = WorkerShared::new(0, Signal::new(|| {}), Instant::now(), inbound, outbound, Arc::default());
    let ready = ReadyQueue::new(Signal::new(|| {}));
    let local = Arc::new(LocalEnd::new(&worker, &ready, Address::Unix, 0));
    ByteSender { shared: ConnShared::new(ConnKey { index: 0, generation: 0 }, Address::Unix, local) }
}

/// Delivers what the commands of the member's worker ask for.
fn work(member: &ByteSender, delivered: &mut Counter) {
    let mut commands = Vec::new();
    member.shared.worker().mailbox.take(&mut commands);
    for command in commands {
        let Command::FanOut(lane) = command else { panic!("nothing else was posted") };
        let (mut members, mut budget) = (lane.take_members(), usize::MAX);
        while members.deliver(&lane, &mut budget, delivered) {}
        lane.give_members(members);
    }
}

/// A member publishes while its worker delivers what it published before.
#[test]
fn loom_a_publisher_leaves_no_message_in_a_resting_lane() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (fan_out, member, id) = (FanOut::new(PublishBudget::new(1000)), member(), MemberId::next());
        let membership = fan_out.join(&member, id, JoinOptions::default());
        let publish = move |fan_out: &FanOut, member: &ByteSender| {
            fan_out.publish(Publish::new(&b"1"[..]).publisher(id, member)).expect("there is room");
        };
        publish(&fan_out, &member);
        let publisher = {
            let (fan_out, member) = (fan_out.clone(), member.clone());
            loom::thread::spawn(move || publish(&fan_out, &member))
        };
        let mut delivered = Counter(0);
        work(&member, &mut delivered);
        publisher.join().unwrap();
        work(&member, &mut delivered);
        assert_eq!((delivered.0, member.shared.lock_outbound().is_behind()), (2, false));
        drop(membership);
    });
}
