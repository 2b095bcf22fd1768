//! Starts, confines, awaits and ends the processes of a measurement.
//!
//! Every process started here ends with its handle, or with the thread that started it. A server that hangs or crashes
//! costs only its own cell.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::socket;

/// Time for a server to start listening.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a server without connections to end after SIGTERM, before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// Time between two checks whether a process listens or has ended.
const ASK_INTERVAL: Duration = Duration::from_millis(10);

/// The most bytes kept of a failed process's error message.
const COMPLAINT_BYTES_MAX: usize = 200;

/// Returns a free loopback address. Each run gets another one: the kernel ends a ring some time after its process, and
/// the old listener keeps its port until then.
///
/// # Errors
/// If no port is free.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// A server process, ended when dropped.
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts the command, confined to one core, and waits until it accepts connections at the address.
    ///
    /// # Errors
    /// If it cannot be started, ends, or does not listen in time.
    pub fn start(words: &[String], address: SocketAddr, core: usize) -> Result<Self, String> {
        let mut command = Command::new(words.first().map_or("", String::as_str));
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = spawn(&mut command, Some(core)).map_err(|error| format!("cannot be started: {error}"))?;
        let mut running = Self { child };
        running.wait_until_listening(address)?;
        Ok(running)
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status if the process has ended.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(status.to_string())
    }

    /// Returns the share of the process's processor time that its busiest thread used, or `None` if it cannot be read.
    #[must_use]
    pub fn busiest_thread_share(&self) -> Option<f64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let busy = |thread: io::Result<fs::DirEntry>| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        };
        let busy: Vec<f64> = threads.filter_map(busy).collect();
        let sum: f64 = busy.iter().sum();
        (sum > 0.0).then(|| busy.iter().copied().fold(0.0, f64::max) / sum)
    }

    fn wait_until_listening(&mut self, address: SocketAddr) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Err(format!("ended before it listened: {status}"));
            }
            if TcpStream::connect_timeout(&address, START_TIMEOUT).is_ok() {
                return Ok(());
            }
            thread::sleep(ASK_INTERVAL);
        }
        Err(format!("not listening after {START_TIMEOUT:?}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // SAFETY: the child has not been waited for, so its identifier still names it and nothing else.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        if !ended_within(&mut self.child, END_TIMEOUT) {
            kill(&mut self.child);
        }
    }
}

/// Runs a load to its end, for at most `limit`. Returns its standard output.
///
/// # Errors
/// Its last error line, or that it exceeded the limit.
pub fn run_load(command: &mut Command, limit: Duration) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command, None).map_err(|error| format!("the load generator cannot be started: {error}"))?;
    // It writes two lines at its end, which fit into the pipes, so nothing has to read them before.
    if !ended_within(&mut child, limit) {
        kill(&mut child);
        return Err(format!("still running after {} s", limit.as_secs()));
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|error| error.to_string());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or_default().trim_start_matches("load: ").to_owned();
    Err(if last.is_empty() { output.status.to_string() } else { shortened(last) })
}

fn shortened(mut text: String) -> String {
    if text.len() > COMPLAINT_BYTES_MAX {
        let end = (0..=COMPLAINT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Starts a process in its own process group, on `core` if there is one. It is killed when this thread ends.
fn spawn(command: &mut Command, core: Option<usize>) -> io::Result<Child> {
    command.process_group(0);
    // SAFETY: the closure only makes system calls with data on its own stack, which is allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            socket::raise_file_limit()?;
            core.map_or(Ok(()), confine)
        });
    }
    command.spawn()
}

/// Confines the calling process, also after exec, to one core.
fn confine(core: usize) -> io::Result<()> {
    // SAFETY: an all-zero set is a valid, empty one; the core is below CPU_SETSIZE; the kernel only reads the set.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits for the process to end. Returns whether it ended in time.
fn ended_within(child: &mut Child, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        thread::sleep(ASK_INTERVAL);
    }
    false
}

/// Kills the process group, waits for its leader.
fn kill(child: &mut Child) {
    // SAFETY: the child leads its own group and has not been waited for, so the number names nothing else.
    unsafe { libc::kill(-(child.id() as libc::pid_t), libc::SIGKILL) };
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_load_returns_its_output_or_its_last_error_line() {
        let limit = Duration::from_secs(60);
        assert_eq!(run_load(&mut shell("echo '{}'"), limit), Ok("{}\n".into()));
        assert_eq!(run_load(&mut shell("echo a >&2; echo load: b >&2; exit 1"), limit), Err("b".into()));
        assert!(run_load(&mut shell("exit 3"), limit).unwrap_err().contains('3'));
        assert!(run_load(&mut Command::new("no-such-program"), limit).unwrap_err().contains("started"));
    }

    #[test]
    fn a_load_that_hangs_is_ended_with_what_it_started() {
        let how = run_load(&mut shell("sleep 1000 & sleep 1000"), Duration::from_millis(50));
        assert_eq!(how, Err("still running after 0 s".into()));
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_from_one_that_listens() {
        let words = ["sh", "-c", "exit 7"].map(str::to_owned);
        let error = Running::start(&words, free_address().unwrap(), 0).err().unwrap();
        assert!(error.contains("ended before it listened") && error.contains('7'), "{error}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let words = ["sleep", "1000"].map(str::to_owned);
        let mut running = Running::start(&words, listener.local_addr().unwrap(), 0).unwrap();
        assert!(running.ended().is_none());
        assert_eq!(running.busiest_thread_share(), Some(1.0), "it has one thread");
    }

    #[test]
    fn error_messages_are_cut_at_characters() {
        assert_eq!(shortened("short".into()), "short");
        let cut = shortened("é".repeat(COMPLAINT_BYTES_MAX));
        assert!(cut.len() < COMPLAINT_BYTES_MAX + 4 && cut.ends_with('…'));
    }
}
