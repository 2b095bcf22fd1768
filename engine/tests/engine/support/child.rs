//! Tests in separate processes: the test program runs itself again with the name of one test.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child as Process, ChildStdout, Command, ExitStatus, Stdio};

/// Set in the child to the name of its test.
const ROLE: &str = "TIDEGATE_TEST_CHILD";

/// Returns whether this process was started for the test `name`.
pub fn is_child(name: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|role| role == name)
}

/// Runs `body`, the whole test `name` (with its modules), in a separate process.
pub fn in_child(name: &str, body: impl FnOnce()) {
    if is_child(name) {
        return body();
    }
    Child::start(name, None).finish();
}

/// A running child that takes requests and answers line by line.
pub struct Child {
    process: Process,
    answers: BufReader<ChildStdout>,
}

/// Marks a child's answers in the output of the test harness.
const MARK: &str = "answer: ";

impl Child {
    /// Runs the test `name` again, in a process with a limit of `open_files_max` open files.
    pub fn start(name: &str, open_files_max: Option<usize>) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = match open_files_max {
            None => Command::new(program),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")]).arg(program);
                shell
            }
        };
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, name);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers }
    }

    /// Runs the test `name` again with two sockets passed as systemd does. Its input is empty.
    pub fn start_with_sockets(name: &str, first: OwnedFd, second: OwnedFd) -> Self {
        let script = "exec 3<&0 4<&2 0</dev/null 2>&1; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(std::env::current_exe().unwrap());
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, name);
        let mut process = command.stdin(first).stderr(second).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers }
    }

    /// Sends a line to the child.
    pub fn say(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Returns the child's next answer.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        while self.answers.read_line(&mut line).unwrap() > 0 {
            // The harness prints the test's name without a line end before the first answer.
            if let Some(at) = line.find(MARK) {
                return line[at + MARK.len()..].trim_end().to_owned();
            }
            line.clear();
        }
        panic!("the child ended without an answer: {:?}", self.process.wait());
    }

    /// Sends a line and returns the answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.answer()
    }

    /// Closes the child's input, waits for the child and checks that its test ran and passed.
    pub fn finish(mut self) {
        drop(self.process.stdin.take());
        let output: Vec<String> = self.answers.by_ref().lines().map_while(Result::ok).collect();
        let status = self.process.wait().unwrap();
        let passed = output.iter().any(|line| line.contains("1 passed"));
        assert!(status.success() && passed, "the child failed ({status}):\n{}", output.join("\n"));
    }
}

impl Child {
    /// Sends the child a signal, by its name, such as `STOP`, or its number.
    pub fn signal(&self, signal: impl std::fmt::Display) {
        let pid = self.process.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", &signal.to_string(), &pid]).status();
        assert!(status.unwrap().success());
    }

    /// Stops the child, and returns when none of its threads runs any more: they stop one by one.
    pub fn stop(&self) {
        self.signal("STOP");
        if !cfg!(target_os = "linux") {
            return;
        }
        let tasks = format!("/proc/{}/task", self.process.id());
        let is_stopped = |task: std::fs::DirEntry| {
            // The state follows the name, which is in parentheses (proc_pid_stat(5)).
            let status = std::fs::read_to_string(task.path().join("stat"));
            status.is_ok_and(|status| status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
        };
        while !std::fs::read_dir(&tasks).unwrap().flatten().all(is_stopped) {
            std::thread::yield_now();
        }
    }

    /// Closes the child's input and waits for the child. Its output is dropped.
    pub fn end(mut self) -> ExitStatus {
        drop(self.process.stdin.take());
        self.answers.by_ref().lines().map_while(Result::ok).for_each(drop);
        self.process.wait().unwrap()
    }
}

/// Ends a child whose test has failed, even one that is stopped.
impl Drop for Child {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the number of files that a child inherits from this process beyond the standard streams, of those that count
/// towards its limit: it bounds the numbers of descriptors.
pub fn inherited_files(limit: usize) -> usize {
    let is_inherited = |file: std::fs::DirEntry| {
        let number: usize = file.file_name().to_str()?.parse().ok()?;
        let info = std::fs::read_to_string(file.path()).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
        Some((3..limit).contains(&number) && flags & libc::O_CLOEXEC == 0)
    };
    let files = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    files.map_while(Result::ok).filter_map(is_inherited).filter(|inherited| *inherited).count()
}

/// Sends `line` from a child to its parent.
pub fn answer(line: impl std::fmt::Display) {
    println!("{MARK}{line}");
}

/// Answers the parent's lines in a child until its input ends.
pub fn serve(mut obey: impl FnMut(&str) -> String) {
    for line in std::io::stdin().lines() {
        answer(obey(&line.unwrap()));
    }
}
