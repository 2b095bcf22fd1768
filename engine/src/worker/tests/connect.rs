//! Connecting on the simulated driver: random scenarios of servers, handlers and faults, and exact ones.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::Poll;

use super::properties::{PrintSeed, Role, SEEDS, check, play, random_role, random_script};
use super::*;
use crate::connect::connect;
use crate::connect::error::ConnectError;
use crate::driver::sim::Answer;
use crate::shared::attempt::{Attempt, ConnectFailure, ConnectOptions, ConnectRequest};

const ECONNREFUSED: i32 = 111;

/// What a client's handler does.
#[derive(Clone, Debug)]
struct Plan {
    servers: Vec<SocketAddr>,
    timeout: Duration,
    /// Time after which it drops the future.
    gives_up: Option<Duration>,
    while_draining: bool,
    /// The role of the connection.
    role: Role,
}

/// What became of a plan, and when.
#[derive(Debug)]
struct Outcome {
    /// `None` if it was given up.
    result: Option<Result<SocketAddr, ConnectError>>,
    at: Duration,
}

type Outcomes = Arc<Mutex<Vec<Outcome>>>;

fn address(peer: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, peer as u16))
}

fn plan(servers: &[usize]) -> Plan {
    Plan {
        servers: servers.iter().map(|&peer| address(peer)).collect(),
        timeout: Duration::from_secs(5),
        gives_up: None,
        while_draining: false,
        role: Role::Echo,
    }
}

async fn follow(plan: Plan, client: &Connection, stage: Stage, outcomes: Outcomes) {
    let connect = connect(plan.servers).on_worker_of(client).timeout(plan.timeout);
    let mut connecting = connect.while_draining(plan.while_draining).into_future();
    let mut pause = plan.gives_up.map(|after| client.timer().sleep_until(stage.instant(after)));
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut connecting).poll(cx) {
            return Poll::Ready(Some(result));
        }
        match &mut pause {
            Some(pause) => Pin::new(pause).poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    });
    let result = result.await;
    drop(connecting);
    let (connection, result) = match result {
        Some(Ok(connection)) => {
            let peer = connection.peer_addr().ip().expect("simulated servers have socket addresses");
            assert!(connection.is_outbound());
            (Some(connection), Some(Ok(peer)))
        }
        Some(Err(error)) => (None, Some(Err(error))),
        None => (None, None),
    };
    let at = stage.now();
    outcomes.lock().expect("no test panics while holding it").push(Outcome { result, at });
    if let Some(connection) = connection {
        play(plan.role, connection, stage).await;
    }
}

/// Creates a simulation whose clients follow one plan each. Servers are added next, in the order of their numbers,
/// which follow those of the clients.
fn simulation(setup: Setup, plans: Vec<Plan>) -> (Simulation, Outcomes) {
    let outcomes = Outcomes::default();
    let (count, shared) = (plans.len(), Arc::clone(&outcomes));
    let plans = Arc::new(plans);
    let sim = Simulation::new(setup, move |client, stage| {
        let plan = plans[Net::peer_of(client.peer_addr())].clone();
        let outcomes = Arc::clone(&shared);
        async move { follow(plan, &client, stage, outcomes).await }
    });
    for _ in 0..count {
        sim.connect(Script { ending: Ending::FinAfterOurs, ..talker(Vec::new()) });
    }
    (sim, outcomes)
}

/// A server that sends some bytes, then FIN.
fn server() -> Script {
    talker(pattern(40))
}

fn random_answer(random: &mut fastrand::Rng) -> Answer {
    let after = Duration::from_millis(random.u64(..400));
    match random.u32(..5) {
        0 => Answer::Silent,
        1 => Answer::Fails(ECONNREFUSED, after),
        _ => Answer::Accepts(after),
    }
}

fn scenario(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut setup = Setup::new(seed);
    setup.inline = random.bool();
    setup.sim.receive_budget = random.bool();
    setup.sim.unarmed_is_quiet = random.bool();
    setup.sim.short_of_memory = random.bool();
    setup.sim.connections_max = random.usize(1..=8);
    setup.config.flush_timeout = Duration::from_millis(random.u64(200..=2000));
    setup.config.linger_timeout = Duration::from_millis(random.u64(200..=2000));
    let clients = random.usize(1..=4);
    let mut answers = Vec::new();
    let plans: Vec<_> = (0..clients)
        .map(|_| {
            let servers: Vec<_> = (0..random.usize(1..=3)).map(|number| clients + answers.len() + number).collect();
            answers.extend(servers.iter().map(|_| random_answer(&mut random)));
            Plan {
                timeout: Duration::from_millis(random.u64(1..2000)),
                gives_up: random.bool().then(|| Duration::from_millis(random.u64(..600))),
                while_draining: random.bool(),
                role: random_role(&mut random),
                ..plan(&servers)
            }
        })
        .collect();
    let (mut sim, outcomes) = simulation(setup, plans.clone());
    for answer in &answers {
        sim.net.borrow_mut().listen(random_script(&mut random), *answer);
    }

    let patience = Duration::from_millis(if random.bool() { 20_000 } else { random.u64(..600) });
    let mut at_rest = false;
    let _alarm = sim.alarm(patience);
    sim.run_until("the scenario to end", |sim| {
        let stats = sim.stats();
        at_rest = stats.accepted_total + sim.net.borrow().refused == clients as u64 && stats.connections == 0;
        at_rest || sim.now() >= patience
    });
    sim.begin_shutdown(drain(Duration::from_millis(random.u64(..300))));
    sim.run_to_end();
    assert!(sim.worker.connects.is_empty());
    sim.net.borrow_mut().settle();

    for outcome in outcomes.lock().unwrap().iter() {
        let Some(Ok(peer)) = &outcome.result else { continue };
        let answer = answers[usize::from(peer.port()) - clients];
        assert!(matches!(answer, Answer::Accepts(_)), "{outcome:?} of a server that {answer:?}");
    }
    let net = sim.net.borrow();
    let logs = sim.stage.logs.lock().expect("no test panics while holding it");
    for (number, (log, peer)) in logs.iter().zip(&net.peers).enumerate().skip(clients) {
        let role = plans.iter().find(|plan| plan.servers.contains(&address(number))).expect("one plan has it").role;
        check(log, peer, role, at_rest, &format!("server {number} ({:?}) with {role:?}", peer.script().ending));
    }
}

#[test]
fn every_attempt_ends_and_leaves_nothing_behind() {
    if let Ok(seed) = std::env::var("SEED") {
        return scenario(seed.parse().expect("SEED is a number"));
    }
    for seed in 0..SEEDS {
        let print_seed = PrintSeed(seed);
        scenario(seed);
        std::mem::forget(print_seed);
    }
}

/// Runs one plan against these servers. Returns its outcome.
fn run(setup: Setup, plan: Plan, answers: &[Answer]) -> (Simulation, Outcome) {
    let (mut sim, outcomes) = simulation(setup, vec![plan]);
    for answer in answers {
        sim.net.borrow_mut().listen(server(), *answer);
    }
    sim.run_until("the outcome", |_| !outcomes.lock().unwrap().is_empty());
    let outcome = outcomes.lock().unwrap().remove(0);
    (sim, outcome)
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_next_address_is_tried_after_a_quarter_of_a_second() {
    for setup in Setup::calm().both_placements() {
        let (sim, outcome) = run(setup, plan(&[1, 2]), &[Answer::Silent, Answer::Accepts(MS * 10)]);
        assert_eq!(outcome.result.unwrap().unwrap(), address(2));
        assert!(outcome.at >= MS * 260 && outcome.at <= MS * 290, "{:?}", outcome.at);
        sim.finish(Shutdown::immediate());
    }
}

#[test]
fn an_address_that_refuses_is_followed_at_once() {
    for setup in Setup::calm().both_placements() {
        let answers = [Answer::Fails(ECONNREFUSED, MS), Answer::Accepts(MS)];
        let (sim, outcome) = run(setup, plan(&[1, 2]), &answers);
        assert_eq!(outcome.result.unwrap().unwrap(), address(2));
        assert!(outcome.at <= MS * 20, "{:?}", outcome.at);
        sim.finish(Shutdown::immediate());
    }
}

/// The slower of two servers is not waited for, and sees its connection end.
#[test]
fn the_first_that_connects_wins() {
    for setup in Setup::calm().both_placements() {
        let answers = [Answer::Accepts(MS * 300), Answer::Accepts(MS * 10)];
        let (sim, outcome) = run(setup, plan(&[1, 2]), &answers);
        assert_eq!(outcome.result.unwrap().unwrap(), address(2));
        let stats = sim.stats();
        assert_eq!(stats.connected_total, 1);
        sim.finish(Shutdown::default());
    }
}

#[test]
fn the_timeout_ends_every_attempt() {
    for setup in Setup::calm().both_placements() {
        let silent = Plan { timeout: MS * 400, ..plan(&[1, 2]) };
        let (mut sim, outcome) = run(setup, silent, &[Answer::Silent, Answer::Silent]);
        assert!(matches!(outcome.result, Some(Err(ConnectError::TimedOut { .. }))), "{outcome:?}");
        assert!(outcome.at >= MS * 400 && outcome.at <= MS * 420, "{:?}", outcome.at);
        sim.run_until("the attempts to end", |sim| sim.worker.connects.is_empty());
        assert_eq!(sim.stats().connect_failures_total, 2);
        sim.finish(Shutdown::default());
    }
}

#[test]
fn a_dropped_future_ends_its_attempt() {
    for setup in Setup::calm().both_placements() {
        let (mut sim, outcome) =
            run(setup, Plan { gives_up: Some(MS * 50), ..plan(&[1]) }, &[Answer::Accepts(Duration::from_secs(4))]);
        assert!(outcome.result.is_none());
        sim.run_until("the attempt to end", |sim| sim.worker.connects.is_empty());
        assert!(sim.now() < Duration::from_secs(1));
        sim.finish(Shutdown::default());
    }
}

#[test]
fn a_full_worker_refuses_at_once() {
    for mut setup in Setup::calm().both_placements() {
        setup.sim.connections_max = 1;
        let (sim, outcome) = run(setup, plan(&[1]), &[Answer::Accepts(MS)]);
        assert!(matches!(outcome.result, Some(Err(ConnectError::LimitReached))), "{outcome:?}");
        sim.finish(Shutdown::default());
    }
}

#[test]
fn the_error_is_that_of_a_server_rather_than_of_a_missing_route() {
    const ENETUNREACH: i32 = 101;
    for setup in Setup::calm().both_placements() {
        let answers = [Answer::Fails(ENETUNREACH, MS), Answer::Fails(ECONNREFUSED, MS), Answer::Fails(ENETUNREACH, MS)];
        let (sim, outcome) = run(setup, plan(&[1, 2, 3]), &answers);
        let Some(Err(ConnectError::Refused { address: refused, .. })) = &outcome.result else { panic!("{outcome:?}") };
        assert_eq!(*refused, address(2).to_string());
        sim.finish(Shutdown::default());
    }
}

/// Runs until an attempt is in progress.
fn begin(sim: &mut Simulation) {
    let _alarm = sim.alarm(MS * 100);
    sim.run_until("the attempt to begin", |sim| sim.now() >= MS * 100);
    assert!(!sim.worker.connects.is_empty());
}

/// A shutdown fails an attempt in progress, unless the attempt is for the work that the shutdown waits for.
#[test]
fn a_shutdown_fails_an_attempt_in_progress() {
    for setup in Setup::calm().both_placements() {
        for while_draining in [false, true] {
            let plan = Plan { while_draining, ..plan(&[1]) };
            let (mut sim, outcomes) = simulation(setup.clone(), vec![plan]);
            sim.net.borrow_mut().listen(server(), Answer::Accepts(MS * 500));
            begin(&mut sim);
            sim.begin_shutdown(drain(Duration::from_secs(10)));
            let report = sim.run_to_end();
            assert_eq!(report.forced, 0);
            let outcomes = outcomes.lock().unwrap();
            match &outcomes[0].result {
                Some(Err(ConnectError::Draining)) => assert!(!while_draining && outcomes[0].at < MS * 200),
                Some(Ok(_)) => assert!(while_draining && report.drained == 2, "{report:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The deadline of a shutdown ends every attempt.
#[test]
fn the_deadline_of_a_shutdown_ends_every_attempt() {
    for setup in Setup::calm().both_placements() {
        let (mut sim, outcomes) = simulation(setup, vec![Plan { while_draining: true, ..plan(&[1]) }]);
        sim.net.borrow_mut().listen(server(), Answer::Silent);
        begin(&mut sim);
        sim.begin_shutdown(drain(MS * 200));
        sim.run_to_end();
        let outcomes = outcomes.lock().unwrap();
        assert!(matches!(outcomes[0].result, Some(Err(ConnectError::Draining))), "{outcomes:?}");
    }
}

/// A worker that fails answers its attempts, and those that are posted afterwards.
#[test]
fn a_worker_that_ends_answers_its_attempts() {
    let (mut sim, _) = simulation(Setup::calm(), Vec::new());
    let address = sim.net.borrow_mut().listen(server(), Answer::Silent);
    let attempt = || {
        let request = ConnectRequest { address: address.into(), local: None, options: ConnectOptions::default() };
        Attempt::new(request, false, None)
    };
    let (begun, late) = (attempt(), attempt());
    sim.worker_shared.post_now(Command::Connect(Arc::clone(&begun)));
    begin(&mut sim);
    let worker_shared = Arc::clone(&sim.worker_shared);
    drop(sim);
    worker_shared.post_now(Command::Connect(Arc::clone(&late)));
    for attempt in [begun, late] {
        let answer = attempt.poll(Waker::noop());
        assert!(matches!(answer, Poll::Ready(Err(ConnectFailure::Ended))));
    }
}
