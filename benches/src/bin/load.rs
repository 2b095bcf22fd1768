//! The load generator. README.md of this package describes its options and its report.

use std::process::ExitCode;

use tidegate_benches::args::{Args, ArgsError, Opt};
use tidegate_benches::broadcast::Broadcast;
use tidegate_benches::churn::Churn;
use tidegate_benches::config::{self, Run};
use tidegate_benches::cpu;
use tidegate_benches::echo::Echo;
use tidegate_benches::exchange::Pacing;
use tidegate_benches::files::Files;
use tidegate_benches::handshake::Context;
use tidegate_benches::http::Http;
use tidegate_benches::idle::Idle;
use tidegate_benches::load::{self, Load};
use tidegate_benches::payload::Content;
use tidegate_benches::script::Protocol;
use tidegate_benches::{errln, outln};

const OPTIONS: &[Opt] = &[
    config::ADDR,
    Opt::value("mode", "MODE", "echo, broadcast, http, churn, idle or files (default echo)"),
    Opt::value("protocol", "tcp|ws", "echo, idle: protocol of the server (default ws)"),
    Opt::value("path", "PATH", "request-target (default /ws; broadcast: /hub; http: /plaintext; files: /files/1k.bin)"),
    Opt::value("connections", "N", "number of connections (default 64)"),
    Opt::value("depth", "D", "echo, http: messages outstanding per connection (default 1)"),
    Opt::switch("sliding", "echo, http: send one more for each reply instead of whole windows"),
    Opt::value("rate", "UNITS_PER_S", "echo, http: open loop, send at this rate over all connections"),
    Opt::value("burst", "B", "broadcast: messages published in one send (default 1)"),
    Opt::value("size", "BYTES", "payload bytes per message (default 64); files: of the content (default 1024)"),
    Opt::switch("gzip", "files: ask for gzip, and expect it"),
    Opt::switch("text", "send text (ASCII) instead of binary messages"),
    Opt::switch("json", "send JSON with characters of several bytes instead of binary messages"),
    Opt::value("deflate", "kept|reset", "echo: compress the JSON; what becomes of the compressors' context"),
    config::SECONDS,
    config::WARMUP,
    config::STALL,
    config::CORE,
    config::SERVER_PID,
];

/// Options that only some modes have.
const MODE_OPTIONS: &[(&str, &[&str])] = &[
    ("protocol", &["echo", "idle"]),
    ("depth", &["echo", "http"]),
    ("sliding", &["echo", "http"]),
    ("rate", &["echo", "http"]),
    ("burst", &["broadcast"]),
    ("size", &["echo", "broadcast", "churn", "idle", "files"]),
    ("gzip", &["files"]),
    ("text", &["echo", "broadcast", "churn"]),
    ("json", &["echo", "broadcast", "churn"]),
    ("deflate", &["echo"]),
];

/// The largest payload, in bytes.
const PAYLOAD_BYTES_MAX: usize = 1 << 28;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let load = match configure() {
        Ok(load) => load,
        Err(error) => {
            errln!("{error}");
            return ExitCode::from(64);
        }
    };
    match load::run(&load) {
        Ok(report) => {
            outln!("{}", report.json());
            errln!("{}", report.human());
            ExitCode::SUCCESS
        }
        Err(error) => {
            errln!("load: {error}");
            ExitCode::from(if error.is_stall() { 2 } else { 1 })
        }
    }
}

fn configure() -> Result<Load, Failure> {
    let args = Args::parse(std::env::args().skip(1), OPTIONS)?;
    if let Some(core) = args.optional("core")? {
        cpu::pin(core)?;
    }
    let mode = args.optional::<String>("mode")?.unwrap_or_else(|| "echo".into());
    for (option, modes) in MODE_OPTIONS {
        if args.has(option) && !modes.contains(&mode.as_str()) {
            return Err(format!("invalid --{option}: --mode {mode} does not have it, only {}", modes.join(", ")).into());
        }
    }
    let run = Run::parse(&args, mode == "idle")?;
    let path = |default: &str| args.optional("path").map(|path| path.unwrap_or_else(|| default.to_owned()));
    match mode.as_str() {
        "echo" => Ok(Load::Echo(Echo {
            run,
            protocol: args.optional("protocol")?.unwrap_or(Protocol::WebSocket),
            path: path("/ws")?,
            pacing: pacing(&args)?,
            payload_bytes: payload_bytes(&args)?,
            content: content(&args)?,
            deflate: deflate(&args)?,
        })),
        "http" => Ok(Load::Http(Http { run, path: path("/plaintext")?, pacing: pacing(&args)? })),
        "broadcast" => Ok(Load::Broadcast(Broadcast {
            run,
            path: path("/hub")?,
            payload_bytes: payload_bytes(&args)?,
            content: content(&args)?,
            burst: args.within("burst", 1, [1, 100_000])?,
        })),
        "churn" => Ok(Load::Churn(Churn {
            run,
            path: path("/ws")?,
            payload_bytes: payload_bytes(&args)?,
            content: content(&args)?,
        })),
        "idle" => Ok(Load::Idle(Idle {
            run,
            protocol: args.optional("protocol")?.unwrap_or(Protocol::WebSocket),
            path: path("/ws")?,
            payload_bytes: payload_bytes(&args)?,
        })),
        "files" => Ok(Load::Files(Files {
            run,
            path: path("/files/1k.bin")?,
            size: args.within("size", 1024, [0, PAYLOAD_BYTES_MAX])?,
            gzip: args.has("gzip"),
        })),
        _ => Err(format!("invalid --mode {mode:?}: must be echo, broadcast, http, churn, idle or files").into()),
    }
}

fn payload_bytes(args: &Args) -> Result<usize, ArgsError> {
    args.within("size", 64, [0, PAYLOAD_BYTES_MAX])
}

fn content(args: &Args) -> Result<Content, Failure> {
    match (args.has("text"), args.has("json")) {
        (false, false) => Ok(Content::Binary),
        (true, false) => Ok(Content::Text),
        (false, true) => Ok(Content::Json),
        (true, true) => Err("--json is text already: omit --text".into()),
    }
}

/// Returns what is done with the compressors' context, if messages are compressed. Random bytes cannot be compressed,
/// and a server then sends them as they are.
fn deflate(args: &Args) -> Result<Option<Context>, Failure> {
    let context = args.optional("deflate")?;
    if context.is_some() && (!args.has("json") || args.optional::<String>("protocol")?.as_deref() == Some("tcp")) {
        return Err("--deflate compresses JSON over WebSocket: add --json, omit --protocol tcp".into());
    }
    Ok(context)
}

fn pacing(args: &Args) -> Result<Pacing, Failure> {
    let depth = args.within("depth", 1, [1, 100_000])?;
    match args.optional::<f64>("rate")? {
        None if args.has("sliding") => Ok(Pacing::Sliding { depth }),
        None => Ok(Pacing::Windows { depth }),
        Some(rate) if !(rate > 0.0 && rate.is_finite()) => {
            Err(format!("invalid --rate {rate}: must be a finite number above 0").into())
        }
        Some(_) if args.has("depth") || args.has("sliding") => {
            Err("--rate makes an open loop: omit --depth and --sliding".into())
        }
        Some(messages_per_s) => Ok(Pacing::Rate { messages_per_s }),
    }
}
