//! The load generator; see the crate's README for its options and what it reports.

use std::process::ExitCode;
use std::time::Duration;

use tidegate_benches::args::{Args, ArgsError, Opt};
use tidegate_benches::config::Config;
use tidegate_benches::error::LoadError;
use tidegate_benches::script::Protocol;
use tidegate_benches::{cpu, load};

const OPTIONS: &[Opt] = &[
    Opt::value("addr", "HOST:PORT", "the server, required; an address and not a name"),
    Opt::value("protocol", "tcp|ws", "what the server speaks, ws"),
    Opt::value("path", "PATH", "request-target of the handshake, /ws"),
    Opt::value("connections", "N", "64"),
    Opt::value("depth", "D", "messages outstanding on each connection, 1"),
    Opt::switch("sliding", "one more message for each answer, instead of whole windows"),
    Opt::value("rate", "MESSAGES_PER_S", "open loop: send on a schedule over all connections"),
    Opt::value("size", "BYTES", "payload of each message, 64"),
    Opt::switch("text", "text messages of ASCII instead of binary ones"),
    Opt::value("seconds", "S", "how long to measure, 5"),
    Opt::value("warmup", "S", "how long to run before, 1"),
    Opt::value("stall", "S", "fail when nothing comes for this long, 10"),
    Opt::value("core", "C", "pin to this core; not pinned when absent"),
    Opt::value("server-pid", "PID", "report this process's processor time"),
];

/// The longest measuring or warming up, in seconds.
const SECONDS_MAX: f64 = 86_400.0;

fn main() -> ExitCode {
    let config = match configure() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(64);
        }
    };
    match load::run(&config) {
        Ok(report) => {
            println!("{}", report.json());
            eprintln!("{}", report.human());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(if matches!(error, LoadError::Stalled { .. }) { 2 } else { 1 })
        }
    }
}

fn configure() -> Result<Config, Box<dyn std::error::Error>> {
    let args = Args::parse(std::env::args().skip(1), OPTIONS)?;
    if let Some(core) = args.optional("core")? {
        cpu::pin(core)?;
    }
    let rate: Option<f64> = args.optional("rate")?;
    if rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err("--rate must be above 0".into());
    }
    if rate.is_some() && (args.has("depth") || args.has("sliding")) {
        return Err("--rate makes an open loop, which has no --depth and does not slide".into());
    }
    Ok(Config {
        address: args.required("addr")?,
        protocol: args.optional("protocol")?.unwrap_or(Protocol::WebSocket),
        path: args.optional("path")?.unwrap_or_else(|| "/ws".into()),
        connections: args.within("connections", 64, [1, 1_000_000])?,
        depth: args.within("depth", 1, [1, 100_000])?,
        sliding: args.has("sliding"),
        rate,
        payload_bytes: args.within("size", 64, [0, 1 << 28])?,
        text: args.has("text"),
        stall: seconds(&args, "stall", 10.0)?,
        warmup: seconds(&args, "warmup", 1.0)?,
        measured: seconds(&args, "seconds", 5.0)?,
        server_pid: args.optional("server-pid")?,
    })
}

fn seconds(args: &Args, name: &'static str, default: f64) -> Result<Duration, ArgsError> {
    args.within(name, default, [0.0, SECONDS_MAX]).map(Duration::from_secs_f64)
}
