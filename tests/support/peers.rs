//! WebSocket clients of other houses, run as programs against a server under test.
//!
//! The programs live in `tests/peers/`; [`run`] installs what they need first (once a process, and nothing at all when
//! it is there already). A peer that is missing, fails or hangs fails the test, with all it printed: nothing is
//! skipped.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// Bounds a hang; the download of the clients takes seconds, that of a browser a minute.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(480);

/// Bounds a hang; the whole matrix takes seconds in an unoptimised build on a busy machine.
const RUN_TIMEOUT: Duration = Duration::from_secs(240);

/// Runs a script of `tests/peers/` against a server under test; `arguments` are its own.
///
/// # Panics
///
/// If what it needs cannot be installed, a case fails, or the time is up.
pub fn run(script: &str, arguments: &[&str]) {
    install(script == "browser.mjs");
    let folder = folder();
    let mut command = if script.ends_with(".py") {
        let mut command = Command::new(folder.join(".venv/bin/python"));
        command.arg("-B");
        command
    } else {
        Command::new("node")
    };
    command.arg(folder.join(script)).args(arguments);
    if let Err(failure) = run_bounded(command, RUN_TIMEOUT) {
        panic!("{script} {arguments:?}: {failure}");
    }
}

fn install(with_browser: bool) {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let mut command = Command::new(folder().join("install.sh"));
        command.args(with_browser.then_some("--browser"));
        if let Err(failure) = run_bounded(command, INSTALL_TIMEOUT) {
            panic!("the test peers cannot be installed: {failure}");
        }
    });
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// Runs a program to its end. What it printed is part of the error when it fails or takes longer than `timeout`; then
/// it and the programs it started are killed.
fn run_bounded(mut command: Command, timeout: Duration) -> Result<(), String> {
    let (output_end, child_end) = std::io::pipe().map_err(|error| format!("no pipe: {error}"))?;
    let child_end_too = child_end.try_clone().map_err(|error| format!("no pipe: {error}"))?;
    // A process group of its own, so that the programs it starts can be killed with it.
    let mut child = command
        .stdin(Stdio::null())
        .stdout(child_end)
        .stderr(child_end_too)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{command:?} does not start: {error}"))?;
    // The command holds the writing ends; the end of the output shows only once they are closed here.
    drop(command);

    let (done, output) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let read = { output_end }.read_to_end(&mut text);
        // The receiver is gone only if it panicked.
        let _ = done.send(());
        read.map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let in_time = output.recv_timeout(timeout).is_ok();
    if !in_time {
        kill_group(child.id());
    }
    let status = child.wait().map_err(|error| format!("lost sight of the program: {error}"))?;
    let text = reader
        .join()
        .map_err(|_| "the thread that reads the output panicked".to_owned())?
        .map_err(|error| format!("its output cannot be read: {error}"))?;
    match (in_time, status.success()) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("{status}; its output:\n{text}")),
        (false, _) => Err(format!("not done after {timeout:?}; its output:\n{text}")),
    }
}

/// Kills every process of the group `leader`, a child that has not been waited for, so that its id is still its own.
fn kill_group(leader: u32) {
    let status = Command::new("kill").args(["-KILL", "--", &format!("-{leader}")]).status();
    assert!(status.is_ok_and(|status| status.success()), "the process group {leader} cannot be killed");
}

#[test]
fn a_program_that_hangs_is_killed_with_what_it_started() {
    let mut command = Command::new("bash");
    command.args(["-c", "sleep 1000 & wait"]);
    let failure = run_bounded(command, Duration::from_millis(500)).unwrap_err();
    // Had only the shell been killed, its `sleep` would hold the pipe open and this would not be reached.
    assert!(failure.contains("not done after"), "{failure}");
}

#[test]
fn the_output_of_a_program_that_fails_is_kept() {
    let mut command = Command::new("bash");
    command.args(["-c", "echo to stdout; echo to stderr >&2; exit 3"]);
    let failure = run_bounded(command, RUN_TIMEOUT).unwrap_err();
    for part in ["exit status: 3", "to stdout", "to stderr"] {
        assert!(failure.contains(part), "{failure}");
    }
}
