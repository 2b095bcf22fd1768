//! Other projects' WebSocket clients, run as programs against a server under test.
//!
//! The programs are in `tests/peers/`. [`run`] first installs their dependencies, once per process, unless they are
//! installed already. A peer that is missing, fails or hangs fails the test with its output: nothing is skipped.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// The bound on the installation. Downloading the clients takes seconds, a browser takes a minute.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(480);

/// The bound on a run. The whole matrix takes seconds in an unoptimized build on a busy machine.
const RUN_TIMEOUT: Duration = Duration::from_secs(240);

/// Runs a script of `tests/peers/` with these arguments.
///
/// # Panics
///
/// If its dependencies cannot be installed, a case fails, or it takes too long.
pub fn run(script: &str, arguments: &[&str]) {
    run_in(script, arguments, &[]);
}

/// As [`run`], with variables in its environment.
///
/// # Panics
///
/// As [`run`].
pub fn run_in(script: &str, arguments: &[&str], variables: &[(&str, &str)]) {
    install(if script == "browser.mjs" { &["--browser"] } else { &[] });
    let mut command = command(script);
    command.args(arguments).envs(variables.iter().copied());
    if let Err(failure) = run_bounded(command, RUN_TIMEOUT) {
        panic!("{script} {arguments:?}: {failure}");
    }
}

/// Returns the command that runs a script.
pub fn command(script: &str) -> Command {
    let folder = folder();
    let mut command = if script.ends_with(".py") {
        let mut command = Command::new(folder.join(".venv/bin/python"));
        command.arg("-B");
        command
    } else {
        Command::new("node")
    };
    command.arg(folder.join(script));
    command
}

/// Runs `tests/peers/install.sh` with these options, once per process.
///
/// # Panics
///
/// If something cannot be installed.
pub fn install(options: &[&str]) {
    static INSTALLED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    // A failure leaves the list as it was.
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    let options = options.join(" ");
    if installed.contains(&options) {
        return;
    }
    let mut command = Command::new(folder().join("install.sh"));
    command.args(options.split_whitespace());
    if let Err(failure) = run_bounded(command, INSTALL_TIMEOUT) {
        panic!("the test peers cannot be installed: {failure}");
    }
    installed.push(options);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// Runs a program to its end. The error of a program that fails or takes longer than `timeout` has its output. After
/// the timeout, the program and its children are killed.
fn run_bounded(mut command: Command, timeout: Duration) -> Result<(), String> {
    let (output_end, child_end) = std::io::pipe().map_err(|error| format!("no pipe: {error}"))?;
    let child_end_too = child_end.try_clone().map_err(|error| format!("no pipe: {error}"))?;
    // A new process group, to kill its children with it.
    let mut child = command
        .stdin(Stdio::null())
        .stdout(child_end)
        .stderr(child_end_too)
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{command:?} does not start: {error}"))?;
    // The command holds the writing ends, which must be closed here to see the end of the output.
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

/// Kills every process of the group `leader`, a child that has not been waited for: its id is not reused.
fn kill_group(leader: u32) {
    let status = Command::new("kill").args(["-KILL", "--", &format!("-{leader}")]).status();
    assert!(status.is_ok_and(|status| status.success()), "the process group {leader} cannot be killed");
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let mut command = Command::new("bash");
    command.args(["-c", "sleep 1000 & wait"]);
    let failure = run_bounded(command, Duration::from_millis(500)).unwrap_err();
    // If only the shell were killed, its `sleep` would hold the pipe open and this would not be reached.
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
