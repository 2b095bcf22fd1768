//! Runs an example as a program.

use std::fs::read_to_string;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// No wait lasts longer than this before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs until [`finish`](Self::finish), or at the latest until it is dropped.
pub struct Example {
    pub address: SocketAddr,
    child: Child,
    /// Its standard output after the first line.
    pub output: BufReader<ChildStdout>,
}

impl Example {
    /// Starts an example with a server, on a free loopback port.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program(name));
        command.args(["--addr", "127.0.0.1:0"]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line
            .split(|c: char| c.is_whitespace() || c == ',')
            .find_map(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("{name} {arguments:?}: no address in {line:?}"));
        Self { address, child, output }
    }

    /// Sends SIGTERM once the process catches it, which is shortly after the first line.
    pub fn terminate(&self) {
        let status = format!("/proc/{}/status", self.child.id());
        let start = Instant::now();
        while read_to_string(&status).is_ok_and(|status| !catches_sigterm(&status)) {
            assert!(start.elapsed() < PATIENCE, "it never catches SIGTERM");
            std::thread::yield_now();
        }
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Sends SIGTERM and waits for a successful exit.
    pub fn finish(self) {
        self.terminate();
        self.finish_terminated();
    }

    /// Waits for a successful exit after SIGTERM. Returns the remaining lines of its output.
    pub fn finish_terminated(mut self) -> Vec<String> {
        let rest = (&mut self.output).lines().map_while(Result::ok).collect();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        rest
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Both fail if it has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the mask of caught signals in the status file of a Linux process.
fn catches_sigterm(status: &str) -> bool {
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).expect("a mask of signals");
    caught & 1 << (15 - 1) != 0
}

/// Returns the program of an example in the target folder of this test. Builds all of them from the current sources,
/// unless the variable `EXAMPLES_ARE_BUILT` is set, as by `ci/test.sh`.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).expect("<target>/<profile>/deps/<test>");
        if std::env::var_os("EXAMPLES_ARE_BUILT").is_some() {
            return profile.join("examples");
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--examples"]);
        cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
        cargo.arg("--target-dir").arg(profile.parent().expect("<target>"));
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the examples do not build");
        profile.join("examples")
    });
    folder.join(name)
}
