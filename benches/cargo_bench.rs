//! What `cargo bench` runs: builds the servers and the tools, then the micro benches and the matrix at a short setting.
//!
//! Arguments after `--` go to the matrix, which then runs alone (`cargo bench -- --only echo --rounds 5`; `--help` lists them). Without
//! any, all of it has to end within 20 minutes of two cores, building included, so the matrix gets what time is left.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How long `cargo bench` may take without arguments. What cargo took to build this program is not seen here.
const TIME: Duration = Duration::from_secs(18 * 60);

fn main() -> ExitCode {
    let begun = Instant::now();
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    // Cargo says so when it benches; as a test there is nothing to do.
    let benching = arguments.iter().any(|argument| argument == "--bench");
    arguments.retain(|argument| argument != "--bench" && argument != "--short");
    if !benching {
        println!("the matrix runs under cargo bench");
        return ExitCode::SUCCESS;
    }
    let Some(programs) = programs() else {
        eprintln!("cargo bench: can't find the folder of the built programs");
        return ExitCode::FAILURE;
    };
    let mut complete = cargo(ECHO);
    if !build_peers() {
        eprintln!("cargo bench: the peers can't be built; measuring without them");
        complete = false;
        if !cargo(TOOLS) {
            return ExitCode::FAILURE;
        }
    }
    if arguments.is_empty() && !cargo(&format!("{MICRO} {MICRO_SHORT}")) {
        eprintln!("cargo bench: the micro benches failed; going on without them");
        complete = false;
    }
    let mut matrix = Command::new(programs.join("bench"));
    matrix.current_dir(root()).arg("--short").args(&arguments);
    if arguments.is_empty() {
        matrix.arg(format!("--budget={}", TIME.saturating_sub(begun.elapsed()).as_secs()));
    }
    complete &= succeeds(&mut matrix);
    println!("\ncargo bench took {} s after its own building", begun.elapsed().as_secs());
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tidegate as it is measured.
const ECHO: &str = "build --release --example echo";

/// The limits, the load generator, the matrix, and what Tidegate is measured against.
const TOOLS_AND_PEERS: &str = "build --release -p tidegate-benches --features peers --bins";

/// The same with uWebSockets, whose crate needs libraries that a machine may not have.
const AND_UWEBSOCKETS: &str = "build --release -p tidegate-benches --features peers-uwebsockets --bins";

/// Builds every peer there can be here.
fn build_peers() -> bool {
    let has_libraries = ["libuv", "openssl", "zlib"].iter().all(|library| {
        Command::new("pkg-config").args(["--exists", library]).status().is_ok_and(|status| status.success())
    });
    if has_libraries && cargo(AND_UWEBSOCKETS) {
        return true;
    }
    eprintln!("cargo bench: without uWebSockets; benches/peers.md says what its crate needs");
    cargo(TOOLS_AND_PEERS)
}

/// Without the peers.
const TOOLS: &str = "build --release -p tidegate-benches --bins";

/// Wall times of single parts.
const MICRO: &str = "bench -p tidegate-benches --features micro --bench micro --";

/// A third of a second for each of them: a glance, under a minute in all.
const MICRO_SHORT: &str =
    "--warm-up-time 0.1 --measurement-time 0.2 --sample-size 10 --nresamples 1000 --noplot --discard-baseline";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo puts programs of the release profile: this one is in its folder `deps`.
fn programs() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.parent()?.parent()?.to_path_buf())
}

/// Runs cargo with the words of `step`; whether it succeeded.
fn cargo(step: &str) -> bool {
    println!("cargo {step}");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    succeeds(Command::new(cargo).current_dir(root()).args(step.split(' ')))
}

fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo bench: {}: {error}", command.get_program().to_string_lossy());
            false
        }
    }
}
