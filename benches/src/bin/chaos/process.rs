//! The server's process, seen from outside: its counts, memory, descriptors, sockets, log and end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use crate::Outcome;
use crate::counts::Counts;
use crate::peer::PATIENCE;
use crate::server::SERVE;
use crate::setting::Combination;

/// Time between two looks at something that is waited for.
const INTERVAL: Duration = Duration::from_millis(50);

/// The most lines of the log that are kept.
const LOG_LINES_MAX: usize = 200;

/// A server process. It is killed when dropped, and ends by itself when this process does.
pub struct Process {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    log: Arc<Mutex<Vec<String>>>,
    log_reader: Option<JoinHandle<()>>,
    pub address: SocketAddr,
}

/// What the server holds while no client is connected.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    pub live_blocks: u64,
    pub live_bytes: u64,
    pub resident_bytes: u64,
    pub descriptors: usize,
    pub threads: usize,
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { live_blocks, live_bytes, resident_bytes, descriptors, threads } = self;
        write!(
            f,
            "{live_blocks} live allocations of {live_bytes} bytes, {resident_bytes} bytes resident, \
             {descriptors} descriptors, {threads} threads"
        )
    }
}

impl Process {
    pub fn start(combination: Combination) -> Outcome<Self> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg(SERVE).arg(combination.engine.to_string()).arg(combination.placement.to_string());
        // Many arenas would keep more free memory than a leak has.
        command.env("MALLOC_ARENA_MAX", "2");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: the closure makes one system call, which is allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(|error| format!("the server's process: {error}"))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(questions), Some(answers), Some(log_pipe)) = pipes else { return Err("no pipes".into()) };
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let log_reader = thread::spawn(move || {
            for line in BufReader::new(log_pipe).lines().map_while(Result::ok) {
                let mut lines = kept.lock().unwrap_or_else(PoisonError::into_inner);
                // Faults are kept in any case.
                if lines.len() < LOG_LINES_MAX || is_fault(&line) {
                    lines.push(line);
                }
            }
        });
        let mut process = Self {
            child,
            questions: Some(questions),
            answers: BufReader::new(answers),
            log,
            log_reader: Some(log_reader),
            address: ([127, 0, 0, 1], 0).into(),
        };
        let address = process.answer("listening");
        process.address = address.and_then(|text| text.parse().map_err(|error| format!("{text}: {error}")))?;
        Ok(process)
    }

    pub fn counts(&mut self) -> Outcome<Counts> {
        let questions = self.questions.as_mut().ok_or("the server has ended")?;
        writeln!(questions, "counts").map_err(|error| format!("the server's process: {error}"))?;
        self.parsed("counts")
    }

    /// Waits until the server has this many connections and the kernel no others of its port. Returns the counts.
    ///
    /// # Errors
    /// If connections are left.
    pub fn wait_for_connections(&mut self, expected: u64) -> Outcome<Counts> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counts = self.counts()?;
            let sockets = self.sockets()?;
            if counts.of("connections") == expected && sockets == expected {
                return Ok(counts);
            }
            if Instant::now() > deadline {
                let connections = counts.of("connections");
                return Err(format!("{connections} connections and {sockets} sockets are left, {expected} expected"));
            }
            thread::sleep(INTERVAL);
        }
    }

    /// Returns what the process holds now, and the counts, which must be equal: call it while nobody is connected.
    pub fn resources(&mut self) -> Outcome<Resources> {
        let counts = self.counts()?;
        let folder = format!("/proc/{}", self.child.id());
        let entries = |name: &str| fs::read_dir(format!("{folder}/{name}")).map(Iterator::count);
        let status = fs::read_to_string(format!("{folder}/status")).map_err(|error| error.to_string())?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        Ok(Resources {
            live_blocks: counts.of("live_blocks"),
            live_bytes: counts.of("live_bytes"),
            resident_bytes: resident.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default() * 1024,
            descriptors: entries("fd").map_err(|error| error.to_string())?,
            threads: entries("task").map_err(|error| error.to_string())?,
        })
    }

    pub fn terminate(&self) {
        // SAFETY: the child has not been waited for, so its identifier still names it and nothing else.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
    }

    /// Waits until the process has ended by itself, with success. Returns its last counts.
    pub fn wait_for_end(&mut self) -> Outcome<Counts> {
        let last = self.parsed("ended")?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(last),
                Some(status) => return Err(format!("the server's process ended with {status}")),
                None if Instant::now() > deadline => return Err("the server's process does not end".into()),
                None => thread::sleep(INTERVAL),
            }
        }
    }

    /// Returns the lines of the log that show faults. After the process has ended, the log is complete.
    pub fn log_faults(&mut self) -> Vec<String> {
        if !matches!(self.child.try_wait(), Ok(None))
            && let Some(reader) = self.log_reader.take()
        {
            let _ = reader.join();
        }
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| is_fault(line)).cloned().collect()
    }

    /// Returns the last lines of the log.
    pub fn log_end(&self) -> Vec<String> {
        let lines = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().rev().take(10).rev().cloned().collect()
    }

    /// Returns the number of sockets on the server's side that the kernel still has, but those in TIME_WAIT. Sockets of
    /// a ring are no descriptors of the process, so this finds the ones that leak there.
    fn sockets(&self) -> Outcome<u64> {
        const LISTEN: &str = "0A";
        const TIME_WAIT: &str = "06";
        let table = fs::read_to_string("/proc/net/tcp").map_err(|error| error.to_string())?;
        let port = format!(":{:04X}", self.address.port());
        let of_the_server = table.lines().skip(1).filter(|line| {
            let mut words = line.split_whitespace().skip(1);
            let local = words.next().is_some_and(|local| local.ends_with(&port));
            local && words.nth(1).is_some_and(|state| state != LISTEN && state != TIME_WAIT)
        });
        Ok(of_the_server.count() as u64)
    }

    fn parsed(&mut self, word: &str) -> Outcome<Counts> {
        let text = self.answer(word)?;
        Counts::parse(&text).ok_or_else(|| format!("the server's process wrote {text:?}"))
    }

    /// Reads one line and returns what follows its first word.
    fn answer(&mut self, word: &str) -> Outcome<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        match line.trim_end().split_once(' ') {
            Some((first, rest)) if first == word => Ok(rest.to_owned()),
            _ => Err(format!("the server's process wrote {line:?}, not {word}; its log: {:?}", self.log_end())),
        }
    }
}

fn is_fault(line: &str) -> bool {
    line.starts_with("ERROR") || line.contains("panicked")
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_and_errors_are_faults() {
        for (line, expected) in [
            ("ERROR tidegate_engine: a worker failed", true),
            ("thread 'worker-0' panicked at src/lib.rs:1:1:", true),
            ("WARN tidegate_engine: io_uring is not available", false),
        ] {
            assert_eq!(is_fault(line), expected, "{line}");
        }
    }
}
