//! Fan-outs: slices, bursts, and random scenarios that check recipients, order and counts.

use std::task::Poll;

use bytes::Bytes;

use super::*;
use crate::clock::TICK;
use crate::connection::sender::ByteSender;
use crate::fanout::{DeliveryReport, FanOut, JoinOptions, MemberId, Publish, PublishBudget, Receipt, SlowMemberPolicy};
use crate::worker::fanout::TICK_MEMBERS_MAX;

const SEEDS: u64 = if cfg!(miri) { 2 } else { 300 };

fn fan_out() -> FanOut {
    FanOut::new(PublishBudget::new(1 << 20))
}

/// Returns the script of a peer that reads everything and sends nothing by itself.
fn listener() -> Script {
    Script { ending: Ending::Silence, ..talker(Vec::new()) }
}

/// Connects `count` peers whose handlers echo, each a member.
fn members(mut setup: Setup, count: usize, everybody: &FanOut) -> Simulation {
    setup.sim.connections_max = count;
    let shared = everybody.clone();
    let mut sim = Simulation::new(setup, move |connection, stage| {
        let member = shared.join(connection.sender(), MemberId::next(), JoinOptions::default());
        async move {
            stage.echo(connection).await;
            drop(member);
        }
    });
    (0..count).for_each(|_| _ = sim.connect(listener()));
    sim.run_until("all to join", |_| everybody.len() == count);
    sim
}

impl Simulation {
    /// Returns whether the worker has nothing left to do for fan-outs and nothing to send.
    fn is_at_rest(&self) -> bool {
        let sent = || self.worker.conns.iter().all(|conn| conn.shared.lock_outbound().bytes() == 0);
        self.worker.deliveries.is_empty() && self.worker.backlogs.is_empty() && sent()
    }

    /// Runs one tick that ends even if nothing happens.
    fn tick_shortly(&mut self) {
        let alarm = self.alarm(TICK);
        self.tick();
        drop(alarm);
    }

    fn all_got(&self, bytes: usize) -> bool {
        self.net.borrow().peers.iter().all(|peer| peer.received.len() >= bytes)
    }
}

#[test]
fn between_the_slices_of_a_walk_others_are_served() {
    const MEMBERS: usize = TICK_MEMBERS_MAX * 7 / 2;
    for setup in Setup::calm().both_placements() {
        let everybody = fan_out();
        let mut sim = members(setup, MEMBERS, &everybody);
        everybody.publish(Publish::new(&b"for all"[..])).unwrap();
        // The last member in the walk sends a message during it.
        sim.net.borrow_mut().say(MEMBERS - 1, b"echo, ", Duration::ZERO);
        let mut sends = 0;
        sim.run_until("all to get it", |sim| {
            let before = std::mem::replace(&mut sends, sim.stats().sends_total);
            assert!(sends - before <= TICK_MEMBERS_MAX as u64 + 1, "a slice is bounded");
            sim.all_got(7)
        });
        sim.run_until("the rest", Simulation::is_at_rest);
        assert_eq!(sim.net.borrow().peers[MEMBERS - 1].received, b"echo, for all");
        sim.finish(drain(Duration::ZERO));
    }
}

#[test]
fn a_burst_during_a_walk_leaves_in_one_send_for_each() {
    const MEMBERS: usize = TICK_MEMBERS_MAX * 5 / 2;
    for setup in Setup::calm().both_placements() {
        let everybody = fan_out();
        let mut sim = members(setup, MEMBERS, &everybody);
        sim.tick_shortly();
        assert!(sim.worker.deliveries.is_empty(), "joining begins no delivery");
        everybody.publish(Publish::new(&b"first"[..])).unwrap();
        sim.tick();
        assert!(!sim.worker.deliveries.is_empty(), "the walk is under way");
        for number in 0..16 {
            everybody.publish(Publish::new(vec![number])).unwrap();
        }
        sim.run_until("all to get them", |sim| sim.all_got(5 + 16));
        let expected: Vec<u8> = b"first".iter().copied().chain(0..16).collect();
        assert!(sim.net.borrow().peers.iter().all(|peer| peer.received == expected));
        sim.run_until("the rest", Simulation::is_at_rest);
        assert_eq!(sim.stats().sends_total, 2 * MEMBERS as u64);
        sim.finish(drain(Duration::ZERO));
    }
}

/// A connection that leaves and rejoins while messages wait gets those of each membership, in order.
#[test]
fn a_member_that_rejoins_during_a_walk_gets_messages_in_order() {
    const OTHERS: usize = TICK_MEMBERS_MAX * 3 / 2;
    for setup in Setup::calm().both_placements() {
        let (everybody, room) = (fan_out(), fan_out());
        let mut sim = members(setup, OTHERS, &everybody);
        let sender = ByteSender { shared: Arc::clone(&sim.worker.conns.iter().next().expect("a member").shared) };
        let others: Vec<_> = (sim.worker.conns.iter())
            .map(|conn| ByteSender { shared: Arc::clone(&conn.shared) })
            .map(|sender| room.join(&sender, MemberId::next(), JoinOptions::default()))
            .collect();
        room.publish(Publish::new(&b"a"[..])).unwrap();
        sim.tick();
        assert!(!sim.worker.deliveries.is_empty(), "the walk is under way");
        drop(others);
        for number in 0..20 {
            let id = MemberId::next();
            let _member = room.join(&sender, id, JoinOptions::default());
            let publish = Publish::new(vec![number]);
            // A message for selected members is not joined with others, so there are several rounds.
            let alone = number % 5 == 0;
            let publish = if alone { publish.only([id].into()) } else { publish };
            room.publish(publish).unwrap();
        }
        (0..60).for_each(|_| sim.tick_shortly());
        let expected: Vec<u8> = b"a".iter().copied().chain(0..20).collect();
        let first = Net::peer_of(sender.shared.peer());
        assert_eq!(sim.net.borrow().peers[first].received, expected);
        sim.finish(drain(Duration::ZERO));
    }
}

/// Messages deferred by exclusive use, and the backlog beyond those, follow when it ends.
#[test]
fn messages_during_exclusive_use_follow_it() {
    for mut setup in Setup::calm().both_placements() {
        setup.sim.connections_max = 1;
        let bytes_high = setup.outbound.bytes_high as u8;
        let everybody = fan_out();
        let shared = everybody.clone();
        let mut sim = Simulation::new(setup, move |mut connection, stage| {
            let options = JoinOptions::default().slow(SlowMemberPolicy::DropOldest { backlog_max: 2 });
            let member = shared.join(connection.sender(), MemberId::next(), options);
            async move {
                let mut exclusive = None;
                while stage.receive(&mut connection).await.is_some() {
                    exclusive = if exclusive.is_none() { connection.sender().exclusive().await.ok() } else { None };
                }
                drop((exclusive, member));
            }
        });
        let peer = sim.connect(listener());
        sim.run_until("it to join", |_| everybody.len() == 1);
        let say = |sim: &mut Simulation| {
            let now = sim.now();
            sim.net.borrow_mut().say(peer, b"x", now);
            (0..4).for_each(|_| sim.tick_shortly());
        };
        say(&mut sim);
        for number in 0..=bytes_high + 10 {
            everybody.publish(Publish::new(vec![number])).unwrap();
            sim.tick_shortly();
        }
        assert!(sim.net.borrow().peers[peer].received.is_empty() && !sim.worker.backlogs.is_empty());
        say(&mut sim);
        everybody.publish(Publish::new(vec![255])).unwrap();
        (0..8).for_each(|_| sim.tick_shortly());
        // Each counts with its place.
        let deferred = bytes_high.div_ceil(1 + size_of::<Bytes>() as u8);
        let expected: Vec<u8> = (0..deferred).chain([bytes_high + 9, bytes_high + 10, 255]).collect();
        assert_eq!(sim.net.borrow().peers[peer].received, expected);
        sim.finish(drain(Duration::ZERO));
    }
}

type Handler = Pin<Box<dyn Future<Output = ()>>>;

const KEYS: u8 = 2;
const LAST: &[u8] = b"bye!";

/// Returns one policy per fan-out; member `n` is in that of number `n % POLICIES.len()`.
fn policies() -> Vec<SlowMemberPolicy> {
    vec![
        SlowMemberPolicy::Drop,
        SlowMemberPolicy::Remove,
        SlowMemberPolicy::Finish(LAST.into()),
        SlowMemberPolicy::DropOldest { backlog_max: 3 },
        SlowMemberPolicy::Conflate { backlog_max: KEYS.into() },
    ]
}

#[test]
fn members_get_what_is_counted_in_order_and_the_newest_where_that_is_kept() {
    if let Ok(seed) = std::env::var("SEED") {
        return scenario(seed.parse().expect("SEED is a number"));
    }
    for seed in 0..SEEDS {
        println!("SEED={seed}");
        scenario(seed);
    }
}

struct Published {
    receipts: Vec<Receipt>,
    count: usize,
    backlogged: usize,
}

impl Published {
    /// Adds up the completed receipts.
    fn is_done(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.receipts.retain_mut(|receipt| match Pin::new(receipt).poll(&mut cx) {
            Poll::Pending => true,
            Poll::Ready(DeliveryReport { count, backlogged, .. }) => {
                self.count += count;
                self.backlogged += backlogged;
                false
            }
        });
        self.receipts.is_empty()
    }
}

fn scenario(seed: u64) {
    const MEMBERS: usize = 20;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut setup = Setup::new(seed);
    setup.inline = random.bool();
    setup.sim.connections_max = MEMBERS;
    let fan_outs: Vec<_> = policies().iter().map(|_| fan_out()).collect();
    let mut sim = Simulation::new(setup, comes_and_goes(fan_outs.clone()));
    for _ in 0..MEMBERS {
        let (window_bytes, pace) = (random.usize(4..=64), Duration::from_millis(random.u64(0..=20)));
        sim.connect(Script { window_bytes, pace, ..listener() });
    }
    let joined = || fan_outs.iter().map(FanOut::len).sum::<usize>();
    sim.run_until("all to join", |_| joined() == MEMBERS);

    let mut published: Vec<_> =
        fan_outs.iter().map(|_| Published { receipts: Vec::new(), count: 0, backlogged: 0 }).collect();
    // Members with odd numbers leave and rejoin.
    let wanderers: Vec<_> = (0..MEMBERS).filter(|number| number % 2 == 1).collect();
    let messages = random.u16(1..=200);
    for number in 0..messages {
        let key = random.u8(..KEYS);
        for (fan_out, published) in fan_outs.iter().zip(&mut published) {
            let [high, low] = number.to_be_bytes();
            let publish = Publish::new(vec![high, low, key, b'.']).key(vec![key]);
            published.receipts.push(fan_out.publish_counted(publish).unwrap());
        }
        if random.u8(..20) == 0 {
            let now = sim.now();
            sim.net.borrow_mut().say(wanderers[random.usize(..wanderers.len())], b"x", now);
        }
        (0..random.usize(..4)).for_each(|_| sim.tick_shortly());
    }
    for _ in 0..TICKS_MAX {
        if published.iter_mut().all(Published::is_done) && sim.is_at_rest() {
            break;
        }
        sim.tick_shortly();
    }
    sim.net.borrow_mut().settle();
    assert!(sim.is_at_rest() && published.iter().all(|published| published.receipts.is_empty()));
    check(&sim.net.borrow(), &published, messages - 1);
    sim.finish(drain(Duration::ZERO));
}

/// Returns a handler that joins the fan-out of its number. Each received byte makes it leave or rejoin.
fn comes_and_goes(fan_outs: Vec<FanOut>) -> impl Fn(Connection, Stage) -> Handler + Send + Sync + 'static {
    move |mut connection, stage| {
        let number = Net::peer_of(connection.peer_addr()) % fan_outs.len();
        let fan_out = fan_outs[number].clone();
        let options = JoinOptions::default().slow(policies().swap_remove(number));
        Box::pin(async move {
            let join = |connection: &Connection| fan_out.join(connection.sender(), MemberId::next(), options.clone());
            let mut member = Some(join(&connection));
            while let Some(bytes) = stage.receive(&mut connection).await {
                for _ in bytes {
                    member = if member.take().is_none() { Some(join(&connection)) } else { None };
                }
            }
        })
    }
}

fn check(net: &Net, published: &[Published], last: u16) {
    for (number, (policy, published)) in policies().iter().zip(published).enumerate() {
        let mut messages = 0;
        for (peer, seen) in net.peers.iter().enumerate().skip(number).step_by(policies().len()) {
            let bytes = seen.received.strip_suffix(LAST).unwrap_or(&seen.received);
            let got: Vec<_> = bytes.chunks(4).map(|m| (u16::from_be_bytes([m[0], m[1]]), m[2])).collect();
            messages += got.len();
            let in_order = |key: Option<u8>| {
                let mut numbers =
                    got.iter().filter(|(_, of)| key.is_none_or(|key| key == *of)).map(|(number, _)| *number);
                let mut before = None;
                numbers.all(|number| before.replace(number).is_none_or(|before| before < number))
            };
            let stayed = peer % 2 == 0;
            match policy {
                SlowMemberPolicy::Conflate { .. } => assert!((0..KEYS).all(|key| in_order(Some(key))), "{got:?}"),
                _ => assert!(in_order(None), "{got:?}"),
            }
            if stayed && published.backlogged > 0 {
                assert!(got.iter().any(|(number, _)| *number == last), "the newest message arrives: {got:?}");
            }
        }
        assert!(messages >= published.count && messages <= published.count + published.backlogged);
        assert!(
            published.backlogged == 0
                || matches!(policy, SlowMemberPolicy::DropOldest { .. } | SlowMemberPolicy::Conflate { .. })
        );
    }
}
