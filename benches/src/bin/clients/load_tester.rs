//! uWebSockets' load tester, a program in C next to this one.
//!
//! It only counts the bytes of the answers, so it is not a client that applications could use. It prints its rate every
//! four seconds; the second of these spans is measured, whatever the durations of the load are.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use tidegate_benches::matrix::results::LOAD_TESTER;
use tidegate_benches::measure::Measured;

use crate::{Load, Outcome, Span};

/// Seconds between two of its rates.
const INTERVAL_S: f64 = 4.0;

pub fn run(load: &Load) -> Outcome<Measured> {
    if load.depth != 1 {
        return Err("the load tester has one message under way on each connection".into());
    }
    let program = std::env::current_exe()?.with_file_name(LOAD_TESTER);
    let mut command = Command::new(program);
    command.args([load.connections.to_string(), load.address.ip().to_string(), load.address.port().to_string()]);
    // Without TLS, without compression.
    command.args(["0", "0", &load.size.to_string()]);
    let mut child = Ended(command.stdout(Stdio::piped()).spawn()?);
    let output = child.0.stdout.take().ok_or("no pipe")?;
    let mut lines = BufReader::new(output).lines();
    next_rate(&mut lines)?;
    let span = Span::begin(load, child.0.id(), 0)?;
    let rate = next_rate(&mut lines)?;
    span.end((rate * INTERVAL_S) as u64)
}

/// Waits for the next rate.
fn next_rate(lines: &mut Lines<BufReader<ChildStdout>>) -> Outcome<f64> {
    for line in lines {
        if let Some(rate) = line?.strip_prefix("Msg/sec: ") {
            return Ok(rate.trim().parse()?);
        }
    }
    Err("the load tester ended".into())
}

/// A process that is killed when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail if it has exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
