//! The attacks. Each runs once per round, at the same time as the others.

mod bombs;
mod deaf;
mod floods;
mod handshakes;
mod kills;

use std::net::SocketAddr;
use std::thread;

use crate::Outcome;
use crate::counts::Counts;
use crate::random::Random;

/// An attack on the server at an address. It returns what it did.
type Attack = fn(SocketAddr, &mut Random) -> Outcome<Counts>;

const ATTACKS: [(&str, Attack); 5] = [
    ("kills", kills::run),
    ("slow handshakes", handshakes::run),
    ("bombs", bombs::run),
    ("floods", floods::run),
    ("peers that never read", deaf::run),
];

/// Runs every attack once. Returns what was done, and the faults.
pub fn round(address: SocketAddr, seed: u64) -> (Counts, Vec<String>) {
    let (mut done, mut faults) = (Counts::default(), Vec::new());
    thread::scope(|scope| {
        let start = |(index, (name, attack)): (usize, (&'static str, Attack))| {
            let mut random = Random::new(seed.wrapping_mul(ATTACKS.len() as u64) + index as u64);
            (name, scope.spawn(move || attack(address, &mut random)))
        };
        let running: Vec<_> = ATTACKS.into_iter().enumerate().map(start).collect();
        for (name, thread) in running {
            match thread.join() {
                Ok(Ok(counts)) => done.add_all(&counts),
                Ok(Err(fault)) => faults.push(format!("{name}: {fault} (seed {seed})")),
                Err(_) => faults.push(format!("{name}: the attack itself panicked (seed {seed})")),
            }
        }
    });
    (done, faults)
}
