//! Thousands of generated requests to Tidegate, nginx and hyper. Every difference in meaning must be one that
//! `docs/conformance.md` lists and judges.
//!
//! `cases` generates streams of bytes: a request of one kind, often after another request, and one more request at the
//! end, unless the stream is cut. Each server gets each stream on a new connection, then the end of the stream.
//! `servers` makes the servers: handlers that answer with what they saw. `answers` reads the answers, `outcome` puts
//! them into words, and `listing` compares these with the document.
//!
//! nginx hands its requests to a recorder, which answers with what it got. `ci/differential.sh` installs nginx.

mod answers;
mod cases;
mod listing;
mod nginx;
mod outcome;
mod random;
mod seen;
mod servers;

use std::collections::BTreeMap;
use std::thread;

use answers::Answers;
use cases::Case;
use listing::{Listing, Row};
use outcome::Outcome;
use random::Random;
use servers::{Addresses, Servers, Tidegate};
use tidegate::prelude::EngineKind;

const SEED: u64 = 0x5ea_f00d;

/// The answers of each server to one stream.
struct Answered {
    tidegate: Answers,
    nginx: Answers,
    hyper: Answers,
}

#[test]
fn every_difference_is_judged() {
    let cases = cases::generate(SEED);
    assert!(cases.len() > 3000, "{} cases", cases.len());
    let servers = Servers::start();
    let answered = ask_all(&servers.addresses, &cases);
    let mut found: BTreeMap<Row, Vec<&Case>> = BTreeMap::new();
    for (case, answered) in cases.iter().zip(&answered) {
        let tidegate = Outcome::of(case, &answered.tidegate);
        let [nginx, hyper] = [&answered.nginx, &answered.hyper].map(|peer| Outcome::of(case, peer).beside(&tidegate));
        let row = Row { kind: case.kind.clone(), tidegate: tidegate.words, nginx, hyper };
        found.entry(row).or_default().push(case);
    }
    let differing = |row: &Row| row.nginx != row.tidegate || row.hyper != row.tidegate;
    let streams: usize = found.iter().filter(|(row, _)| differing(row)).map(|(_, cases)| cases.len()).sum();
    println!("{} streams, {streams} of them with a difference", cases.len());

    let listing = Listing::read(include_str!("../../../docs/conformance.md"));
    let mut complaints = listing.complaints.clone();
    for (row, cases) in found.iter().filter(|(row, _)| differing(row) && !listing.has(row)) {
        complaints.push(format!("not listed: {row}\n    {} times, such as {}", cases.len(), cases[0]));
    }
    for row in listing.rows().filter(|row| !found.contains_key(row)) {
        complaints.push(format!("listed, but did not occur: {row}"));
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Sends each stream to each server. Tidegate must mean the same on both engines, however the stream arrives.
fn ask_all(addresses: &Addresses, cases: &[Case]) -> Vec<Answered> {
    thread::scope(|scope| {
        let [uring, portable] = [EngineKind::Uring, EngineKind::Portable].map(|engine| {
            scope.spawn(move || {
                let tidegate = Tidegate::start(engine);
                let mut random = Random::new(SEED);
                let ask = |case: &Case| {
                    let whole = Answers::to(&tidegate.address, &[&case.stream]);
                    let pieces = random.cut(&case.stream);
                    let cut = Answers::to(&tidegate.address, &pieces);
                    assert_eq!(whole, cut, "{engine:?}, sent in {} pieces: {case}", pieces.len());
                    whole
                };
                cases.iter().map(ask).collect::<Vec<_>>()
            })
        });
        let [nginx, hyper] = [&addresses.nginx, &addresses.hyper].map(|address| {
            scope.spawn(move || cases.iter().map(|case| Answers::to(address, &[&case.stream])).collect::<Vec<_>>())
        });
        let [uring, portable, nginx, hyper] =
            [uring, portable, nginx, hyper].map(|thread| thread.join().expect("no failure above"));
        let mut all = Vec::new();
        for ((((case, uring), portable), nginx), hyper) in cases.iter().zip(uring).zip(portable).zip(nginx).zip(hyper) {
            assert_eq!(uring, portable, "the engines differ: {case}");
            all.push(Answered { tidegate: uring, nginx, hyper });
        }
        all
    })
}
