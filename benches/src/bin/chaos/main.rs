//! Attacks a server on every engine and placement, and checks that nothing is left of the attackers.
//!
//! Clients are killed at nine places of a connection's life, handshakes arrive a few bytes at a time by the thousand,
//! messages inflate beyond their limit, pings and tiny messages come in floods, and peers never read. Meanwhile
//! well-behaved clients send and hash without pause, and must not be disturbed. At the end comes SIGTERM, under load.
//! Afterwards connections and handlers must have ended as often as they began, memory must be flat, and neither a panic
//! nor a leaked descriptor is forgiven. A fault is printed with the seed of its round.

mod attacks;
mod campaign;
mod counts;
mod ending;
mod frame;
mod peer;
mod process;
mod random;
mod server;
mod setting;
mod soak;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use tidegate::engine::{EngineKind, HandlerPlacement};
use tidegate_benches::args::{Args, Opt};
use tidegate_benches::socket;
use tidegate_benches::{errln, outln};

use campaign::Report;
use counts::CountingAllocator;
use setting::Combination;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A result whose error is the description of a fault.
type Outcome<T = ()> = Result<T, String>;

const OPTIONS: &[Opt] = &[
    Opt::value("seconds", "S", "time for everything together (default 600); each combination needs about 15 at least"),
    Opt::value("engine", "ENGINE", "attack this engine alone (default all)"),
    Opt::value(
        "handlers",
        "PLACEMENT",
        "attack this placement of handlers alone (default inline, same-core, threads:2)",
    ),
    Opt::value("seed", "N", "seed of the first round (default 1)"),
];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [mode, engine, placement] = &words[..]
        && mode == server::SERVE
    {
        return exit_code("chaos: the server", serve(engine, placement));
    }
    exit_code("chaos", run(words))
}

fn exit_code(program: &str, result: Result<bool, Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            errln!("{program}: {error}");
            ExitCode::from(64)
        }
    }
}

fn serve(engine: &str, placement: &str) -> Result<bool, Box<dyn std::error::Error>> {
    server::run(Combination { engine: engine.parse()?, placement: placement.parse()? })?;
    Ok(true)
}

/// Runs the program. Returns whether there was no fault.
fn run(words: Vec<String>) -> Result<bool, Box<dyn std::error::Error>> {
    let args = Args::parse(words, OPTIONS)?;
    let seconds = args.within("seconds", 600, [1, 100_000])?;
    let seed = args.within("seed", 1, [0, 1 << 32])?;
    let engine = args.optional::<EngineKind>("engine")?;
    let placement = args.optional::<HandlerPlacement>("handlers")?;
    let combinations = Combination::all(engine, placement);
    socket::raise_file_limit()?;
    let time = Duration::from_secs(seconds) / combinations.len() as u32;
    let mut reports = Vec::new();
    for combination in combinations {
        outln!("== {combination}");
        let report = campaign::run(combination, time, seed);
        outln!("{} in {:.0} s", report.done.to_line(), report.elapsed.as_secs_f64());
        report.faults.iter().for_each(|fault| outln!("FAULT: {fault}"));
        reports.push(report);
    }
    outln!("\n{}", table(&reports));
    let faults: usize = reports.iter().map(|report| report.faults.len()).sum();
    outln!("\nchaos: {}", if faults == 0 { "passed".to_owned() } else { format!("{faults} faults") });
    Ok(faults == 0)
}

/// Returns the figures as a table in Markdown.
fn table(reports: &[Report]) -> String {
    let mut lines = vec![
        "| Engine and placement | Clients killed | Slow handshakes | Bombs | Flood frames | Deaf peers | Bytes hashed \
         | Answered at SIGTERM | Live allocations after each half | Resident MB after each half | Faults |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for report in reports {
        let of = |name| report.done.of(name);
        let [first, second] = &report.halves;
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        lines.push(format!(
            "| {} | {} | {} | {} | {} | {} | {:.1} GB | {} | {}, {} | {:.1}, {:.1} | {} |",
            report.combination,
            of("kills"),
            of("slow_handshakes"),
            of("bombs"),
            of("flood_frames"),
            of("deaf_peers") + of("deaf_floods"),
            of("bytes_hashed") as f64 / 1e9,
            of("responses_at_sigterm") + of("echoes_at_sigterm"),
            first.live_blocks,
            second.live_blocks,
            megabytes(first.resident_bytes),
            megabytes(second.resident_bytes),
            report.faults.len(),
        ));
    }
    lines.join("\n")
}
