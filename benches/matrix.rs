//! The program of `cargo bench`: builds the servers and the tools, then runs the micro benches and the matrix with
//! short settings.
//!
//! Arguments after `--` go to the matrix, which then runs alone (`cargo bench -- --only echo --rounds 5`; `--help`
//! lists them). `cargo bench -- --million` holds a million idle WebSockets instead; further arguments go to the example
//! `idle`. Without arguments everything must end within 20 minutes on two cores, including the build, so the
//! matrix gets the time that is left.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use tidegate_benches::{errln, outln};

/// Time limit of `cargo bench` without arguments. It does not include the time in which cargo built this program.
const TIME: Duration = Duration::from_secs(18 * 60);

fn main() -> ExitCode {
    let begun = Instant::now();
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    // Cargo passes `--bench` when it benches. As a test there is nothing to do.
    let benching = arguments.iter().any(|argument| argument == "--bench");
    arguments.retain(|argument| argument != "--bench" && argument != "--short");
    if !benching {
        outln!("the matrix runs under cargo bench");
        return ExitCode::SUCCESS;
    }
    let Some(programs) = programs() else {
        errln!("cargo bench: cannot find the folder of the built programs");
        return ExitCode::FAILURE;
    };
    if let [first, more @ ..] = &arguments[..]
        && first == "--million"
    {
        let held = cargo(IDLE) && succeeds(Command::new(programs.join("examples/idle")).args(MILLION).args(more));
        return if held { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut complete = cargo(ECHO);
    if !build_peers() {
        errln!("cargo bench: building the peers failed; measuring without them");
        complete = false;
        if !cargo(TOOLS) {
            return ExitCode::FAILURE;
        }
    }
    if arguments.is_empty() && !cargo(&format!("{MICRO} {MICRO_SHORT}")) {
        errln!("cargo bench: the micro benches failed; continuing without them");
        complete = false;
    }
    let mut matrix = Command::new(programs.join("bench"));
    matrix.current_dir(root()).arg("--short").args(&arguments);
    if arguments.is_empty() {
        matrix.arg(format!("--budget={}", TIME.saturating_sub(begun.elapsed()).as_secs()));
    }
    complete &= succeeds(&mut matrix);
    outln!("\ncargo bench took {} s, without building itself", begun.elapsed().as_secs());
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds Tidegate's servers.
const ECHO: &str = "build --release --example echo --example http";

/// Builds the example that holds idle WebSockets.
const IDLE: &str = "build --release --example idle";

/// Its options for a million of them, of which some are active and all get a broadcast.
const MILLION: [&str; 5] = ["--connections", "1000000", "--active", "1000", "--broadcast"];

/// Builds the limits, the load generators, the matrix, the clients and the peers.
const TOOLS_AND_PEERS: &str = "build --release -p tidegate-benches --features clients,peers,tls --bins";

/// Also builds uWebSockets, whose crate needs libraries that may be missing on the machine.
const AND_UWEBSOCKETS: &str = "build --release -p tidegate-benches --features clients,peers-uwebsockets,tls --bins";

/// Builds the load tester of uWebSockets.
const LOAD_TESTER: &str = "benches/uws-load-test.sh";

/// Builds all peers, and uWebSockets where its libraries are installed.
fn build_peers() -> bool {
    let has_libraries = ["libuv", "openssl", "zlib"].iter().all(|library| {
        Command::new("pkg-config").args(["--exists", library]).status().is_ok_and(|status| status.success())
    });
    if has_libraries && cargo(AND_UWEBSOCKETS) {
        if !succeeds(Command::new(root().join(LOAD_TESTER)).current_dir(root())) {
            errln!("cargo bench: measuring without the load tester of uWebSockets, which {LOAD_TESTER} builds");
        }
        return true;
    }
    errln!("cargo bench: measuring without uWebSockets; benches/peers.md lists the libraries it needs");
    cargo(TOOLS_AND_PEERS)
}

/// Builds everything but the peers.
const TOOLS: &str = "build --release -p tidegate-benches --bins";

/// Runs the micro benches.
const MICRO: &str = "bench -p tidegate-benches --features micro --bench micro --";

/// Options of the micro benches: a third of a second each, under a minute in all.
const MICRO_SHORT: &str =
    "--warm-up-time 0.1 --measurement-time 0.2 --sample-size 10 --nresamples 1000 --noplot --discard-baseline";

/// Returns the root of the checkout, the folder above this package's.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Returns the folder of release programs. This program is in its subfolder `deps`.
fn programs() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.parent()?.parent()?.to_path_buf())
}

/// Runs cargo with the words of `step`. Returns whether it succeeded.
fn cargo(step: &str) -> bool {
    outln!("cargo {step}");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    succeeds(Command::new(cargo).current_dir(root()).args(step.split(' ')))
}

fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            errln!("cargo bench: {}: {error}", command.get_program().to_string_lossy());
            false
        }
    }
}
