//! Random scenarios: properties that hold for every connection under every behaviour of kernel, peers and handlers.

use std::io;

use bytes::Bytes;

use super::*;
use crate::driver::sim::{Peer, Saw};
use crate::error::CloseCause;
use crate::shared::outbound::COPY_BYTES_MAX;

/// Number of scenarios per run; `SEED=n` runs only that one.
pub(super) const SEEDS: u64 = if cfg!(miri) { 4 } else { 3000 };

/// Maximum pause of a peer.
const PACE_MAX: Duration = Duration::from_millis(50);

/// The behaviour of a connection's handler.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Echo,
    /// Echoes without a task.
    Endpoint,
    /// Echoes, and sleeps before each receive.
    Slow(Duration),
    /// Reads this many bytes, then sends this many and drops the connection at once.
    DropEarly {
        after: usize,
        queues: usize,
    },
    /// Reads this many bytes, queues some and aborts.
    Abort {
        after: usize,
    },
    /// Sends this many bytes in random pieces, then FIN, and only then reads to the end.
    Talk {
        bytes: usize,
    },
    /// Echoes messages of this many bytes, which it receives into its own memory, and now and then gives that up.
    Gather {
        bytes: usize,
    },
    /// Sends payloads by reference whose owner panics when it is dropped, wherever that happens.
    Explode,
}

#[test]
fn every_byte_arrives_or_a_failure_is_reported() {
    if let Ok(seed) = std::env::var("SEED") {
        return scenario(seed.parse().expect("SEED is a number"));
    }
    for seed in 0..SEEDS {
        let print_seed = PrintSeed(seed);
        scenario(seed);
        std::mem::forget(print_seed);
    }
}

/// Prints the failed seed when dropped by a panic.
pub(super) struct PrintSeed(pub(super) u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        eprintln!("the simulation failed; run it again with SEED={}", self.0);
    }
}

fn scenario(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut setup = Setup::new(seed);
    setup.inline = random.bool();
    setup.sim.receive_budget = random.bool();
    setup.sim.unarmed_is_quiet = random.bool();
    setup.sim.acknowledges = random.bool();
    setup.sim.short_of_memory = random.bool();
    setup.sim.buffers = random.u16(1..=8);
    setup.sim.connections_max = random.usize(1..=6);
    setup.inbound.chunks_high = random.u32(5..=12);
    setup.config.flush_timeout = Duration::from_millis(random.u64(200..=2000));
    setup.config.linger_timeout = Duration::from_millis(random.u64(200..=2000));
    let count = random.usize(1..=6);
    let roles: Arc<Vec<Role>> = Arc::new((0..count).map(|_| random_role(&mut random)).collect());
    let played = Arc::clone(&roles);
    let mut sim = Simulation::new(setup, move |connection, stage| {
        let role = played[Net::peer_of(connection.peer_addr())];
        play(role, connection, stage)
    });
    for _ in 0..count {
        sim.connect(random_script(&mut random));
    }

    // A connection stuck because of its peer never ends by itself; the shutdown resets it.
    let patience = Duration::from_secs(20);
    let mut at_rest = false;
    let _alarm = sim.alarm(patience);
    sim.run_until("the scenario to end", |sim| {
        let stats = sim.stats();
        at_rest = stats.accepted_total + sim.net.borrow().refused == count as u64 && stats.connections == 0;
        at_rest || sim.now() >= patience
    });
    let forced_from = sim.now();
    sim.begin_shutdown(drain(Duration::from_millis(random.u64(..=300))));
    sim.run_to_end();
    sim.net.borrow_mut().settle();

    let net = sim.net.borrow();
    let logs = sim.stage.logs.lock().expect("no test panics while holding it");
    for (number, (log, peer)) in logs.iter().zip(&net.peers).enumerate() {
        let about = format!("peer {number} ({:?}) with {:?} at {forced_from:?}", peer.script().ending, roles[number]);
        check(log, peer, roles[number], at_rest, &about);
    }
}

pub(super) fn check(log: &Log, peer: &Peer, role: Role, at_rest: bool, about: &str) {
    let script = peer.script();
    assert!(script.sends.starts_with(&log.received), "{about}: received bytes that were not sent");
    assert!(log.accepted.starts_with(&peer.received), "{about}: the peer got bytes that were not sent");
    match log.end {
        Some(Ok(())) => {
            assert!(peer.fin_sent, "{about}: end of stream without FIN");
            assert!(log.received == script.sends, "{about}: bytes before the FIN were lost");
        }
        Some(Err(ReceiveError::Closed(CloseCause::Reset))) => assert!(peer.reset_sent, "{about}: no reset was sent"),
        Some(Err(ReceiveError::Closed(CloseCause::Shutdown))) => assert!(!at_rest, "{about}: nothing was forced"),
        Some(Err(error)) => panic!("{about}: receiving failed with {error}"),
        None => {}
    }
    if log.send_failed {
        assert!(peer.reset_sent || peer.saw == Saw::Reset, "{about}: a failure was reported without cause");
    }
    if script.reads && peer.saw == Saw::Fin && !peer.reset_sent {
        assert!(peer.received == log.accepted, "{about}: a gap before our FIN");
    }
    // A handler can still be asleep when its worker has ended.
    let asleep = matches!(role, Role::Slow(_));
    let has_no_task = matches!(role, Role::Endpoint);
    let endpoint_ended = log.end.is_some() || log.send_failed;
    assert!(!has_no_task || endpoint_ended || !log.started, "{about}: an endpoint hangs: {log:?}");
    let ended = log.done_at.is_some() || (log.dropped && matches!(role, Role::Explode));
    assert!(ended || !log.started || asleep, "{about}: its handler hangs: {log:?}");
}

pub(super) fn random_role(random: &mut fastrand::Rng) -> Role {
    match random.u32(..15) / 2 {
        0 => Role::Echo,
        1 => Role::Endpoint,
        2 => Role::Slow(Duration::from_millis(random.u64(1..=200))),
        3 => Role::DropEarly { after: random.usize(..200), queues: random.usize(..400) },
        4 => Role::Abort { after: random.usize(..200) },
        6 => Role::Explode,
        7 => Role::Gather { bytes: random.usize(1..60) },
        _ => Role::Talk { bytes: random.usize(..2000) },
    }
}

pub(super) fn random_script(random: &mut fastrand::Rng) -> Script {
    let len = random.usize(..600);
    Script {
        starts_at: Duration::from_micros(random.u64(..30_000)),
        sends: pattern(len),
        ending: match random.u32(..8) {
            0..=3 => Ending::Fin,
            4 | 5 => Ending::FinAfterOurs,
            6 => Ending::Reset { after: random.usize(..=len) },
            _ => Ending::Silence,
        },
        window_bytes: random.usize(1..200),
        reads: random.u32(..8) != 0,
        pace: PACE_MAX.mul_f64(if random.bool() { 0.0 } else { random.f64() }),
    }
}

pub(super) async fn play(role: Role, mut connection: Connection, stage: Stage) {
    match role {
        Role::Echo => stage.echo(connection).await,
        Role::Endpoint => endpoints::echo(connection, stage).await,
        Role::Slow(pause) => loop {
            stage.let_pass(&connection, pause).await;
            let Some(bytes) = stage.receive(&mut connection).await else { return };
            if !stage.send(&connection, bytes).await {
                return;
            }
        },
        Role::DropEarly { after, queues } => {
            read_some(&mut connection, &stage, after).await;
            append(&connection, &stage, &pattern(queues));
        }
        Role::Abort { after } => {
            read_some(&mut connection, &stage, after).await;
            append(&connection, &stage, &pattern(50));
            connection.abort();
        }
        Role::Talk { bytes } => {
            for piece in pattern(bytes).chunks(37) {
                if !stage.send(&connection, piece.to_vec()).await {
                    return;
                }
            }
            connection.sender().shutdown_write();
            while stage.receive(&mut connection).await.is_some() {}
        }
        Role::Gather { bytes } => held::gather(bytes, connection, stage).await,
        Role::Explode => {
            explode(&connection, &stage).await;
            while stage.receive(&mut connection).await.is_some() {}
        }
    }
}

/// A payload whose owner panics when it is dropped.
struct Explosive(Vec<u8>);

impl AsRef<[u8]> for Explosive {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("as the test asked for");
    }
}

/// Sends two payloads. What the handler itself drops ends it.
async fn explode(connection: &Connection, stage: &Stage) {
    for _ in 0..2 {
        let payload = pattern(COPY_BYTES_MAX + 1);
        let sent = connection.sender().append_with(&[], Bytes::from_owner(Explosive(payload.clone())));
        stage.log(connection, |log| match sent {
            Ok(()) => log.accepted.extend_from_slice(&payload),
            Err(_) => log.send_failed = true,
        });
    }
}

async fn read_some(connection: &mut Connection, stage: &Stage, bytes: usize) {
    while stage.log(connection, |log| log.received.len()) < bytes {
        if stage.receive(connection).await.is_none() {
            return;
        }
    }
}

/// Queues bytes regardless of the marks.
fn append(connection: &Connection, stage: &Stage, bytes: &[u8]) {
    let appended = connection.sender().append(|tail| tail.extend_from_slice(bytes));
    stage.log(connection, |log| match appended {
        Ok(()) => log.accepted.extend_from_slice(bytes),
        Err(_) => log.send_failed = true,
    });
}

/// A driver that fails for good in the middle of anything: every handler ends or is dropped, with nothing received that
/// was not sent, and the clients get no byte that was not accepted.
#[test]
fn a_driver_that_fails_leaves_no_handler_behind() {
    for seed in 0..SEEDS / 3 + 1 {
        let print_seed = PrintSeed(seed);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut setup = Setup::new(seed);
        setup.inline = random.bool();
        setup.sim.short_of_memory = random.bool();
        setup.sim.receive_budget = random.bool();
        let count = random.usize(1..=6);
        let roles: Arc<Vec<Role>> = Arc::new((0..count).map(|_| random_role(&mut random)).collect());
        let played = Arc::clone(&roles);
        let mut sim = Simulation::new(setup, move |connection, stage| {
            let role = played[Net::peer_of(connection.peer_addr())];
            play(role, connection, stage)
        });
        for _ in 0..count {
            sim.connect(random_script(&mut random));
        }
        sim.net.borrow_mut().enters_left = random.usize(1..60);
        let patience = Duration::from_secs(20);
        let _alarm = sim.alarm(patience);
        let failed = (0..TICKS_MAX).find_map(|_| {
            if sim.now() >= patience {
                sim.net.borrow_mut().enters_left = 0;
            }
            sim.worker.tick().err()
        });
        let failed = failed.expect("the driver fails");
        assert_eq!(failed.kind(), io::ErrorKind::PermissionDenied);
        let (net, stage) = (Rc::clone(&sim.net), sim.stage.clone());
        drop(sim);
        let (net, logs) = (net.borrow(), stage.logs.lock().expect("no test panics while holding it"));
        for (number, (log, peer)) in logs.iter().zip(&net.peers).enumerate() {
            assert!(log.dropped || !log.started, "the handler of peer {number} was left behind: {log:?}");
            assert!(peer.script().sends.starts_with(&log.received) && log.accepted.starts_with(&peer.received));
        }
        std::mem::forget(print_seed);
    }
}

/// A connection whose handler never reads does not block the others, however few buffers there are.
#[test]
fn a_stalled_connection_does_not_starve_others() {
    for seed in 0..SEEDS / 10 + 1 {
        for setup in Setup::new(seed).both_placements() {
            let mut setup = setup;
            setup.sim.buffers = 2;
            setup.sim.receive_budget = seed % 2 == 0;
            let mut sim = Simulation::new(setup, |connection, stage| async move {
                if Net::peer_of(connection.peer_addr()) == 0 {
                    stage.let_pass(&connection, Duration::from_secs(3600)).await;
                } else {
                    stage.echo(connection).await;
                }
            });
            sim.connect(talker(pattern(20_000)));
            for _ in 0..4 {
                sim.connect(talker(pattern(500)));
            }
            sim.run_until("the others to be served", |sim| sim.stats().closed_total == 4);
            sim.net.borrow_mut().settle();
            assert!(sim.net.borrow().peers[1..].iter().all(|peer| peer.received == pattern(500)));
            assert!(sim.now() < Duration::from_secs(60), "seed {seed}: they waited for the stalled one");
            // Its peer was stopped too; with cancellation a few buffers later.
            let held = sim.worker.conns.iter().map(|conn| conn.shared.lock_inbound().bytes()).sum::<u32>();
            assert!(held <= 64 + 10 * 16, "seed {seed}: a handler that does not read holds {held} bytes");
            sim.finish(Shutdown::immediate());
        }
    }
}
