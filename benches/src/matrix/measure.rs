//! One run: one server under one case.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::cores;
use crate::idle::memory;
use crate::matrix::case::{Case, Kind};
use crate::matrix::conditions::without_folders;
use crate::matrix::distance::is_far;
use crate::matrix::process::{Running, free_address, run_load};
use crate::matrix::results::{BUSIEST_THREAD, Figures, Outcome, PEAK_BYTES, Run};
use crate::matrix::server::{Part, Server};

/// Time for setting up and ending a load, in addition to its own durations.
const LOAD_GRACE: Duration = Duration::from_secs(15);

/// The measured time is at least one second per this many connections: a round of all of them takes a while, and a run
/// must see several rounds.
const CONNECTIONS_PER_MEASURED_S: u32 = 10_000;

/// Bytes per second of large files at least, for the time of a round of all connections.
const FILE_BYTES_PER_S: f64 = 1.5e9;

/// Rounds that a run of large files measures: what is in transit at its beginning and its end is counted once, for
/// processor time of both.
const FILE_ROUNDS: f64 = 4.0;

/// Seconds to measure the memory of downloads.
const MEMORY_SECONDS: f64 = 5.0;

/// Connections per second that the slowest server accepts.
const CONNECTIONS_PER_S_MIN: u32 = 1_000;

/// Connections per second that most servers accept, and the time in which a run begins and ends otherwise.
const CONNECTIONS_PER_S_USUAL: f64 = 12_500.0;
const RUN_OVERHEAD: Duration = Duration::from_millis(600);

/// Time between two measurements of the distance of the cores while waiting for near ones.
const DISTANCE_INTERVAL: Duration = Duration::from_millis(20);

/// Settings common to all runs.
#[derive(Debug, Clone)]
pub struct Bench {
    /// Path of the load generator.
    pub load_program: PathBuf,
    /// Core of the servers.
    pub server_core: usize,
    /// Core of the load generator.
    pub load_core: usize,
    /// Seconds to measure.
    pub seconds: f64,
    /// Seconds to run before measuring.
    pub warmup: f64,
    /// Seconds without a reply after which the run fails.
    pub stall: f64,
}

impl Bench {
    /// Runs the server and measures the distance of the cores before and after that. Returns `None` if the server has
    /// no part in the case.
    #[must_use]
    pub fn run(&self, server: &Server, case: &Case, round: u32) -> Option<Run> {
        let distance = || if server.part(case) == Part::Takes { self.distance_ns() } else { None };
        let before = distance();
        let outcome = self.measure(server, case)?;
        let after = distance();
        // Other work can prevent one of the two.
        let cores_ns = before.or(after).zip(after.or(before)).map(|(before, after)| [before, after]);
        Some(Run { case: case.id.to_owned(), server: server.entrant.name.clone(), round, cores_ns, outcome })
    }

    /// Waits for near cores, for at most `wait`.
    pub fn wait_for_near_cores(&self, near_ns: f64, wait: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < wait && self.distance_ns().is_some_and(|distance| is_far(distance, near_ns)) {
            thread::sleep(DISTANCE_INTERVAL.min(wait.saturating_sub(begun.elapsed())));
        }
    }

    /// Returns the distance of the server's core and the load's in tenths of ns, or `None` if it cannot be measured.
    fn distance_ns(&self) -> Option<f64> {
        let distance = cores::distance_ns([self.server_core, self.load_core]).ok()?;
        Some((distance * 10.0).round() / 10.0)
    }

    /// Starts the server, loads it and ends it. Returns `None` if the server has no part in the case.
    #[must_use]
    pub fn measure(&self, server: &Server, case: &Case) -> Option<Outcome> {
        match server.part(case) {
            Part::None => None,
            Part::Cannot(why) => Some(Outcome::Cannot(why)),
            Part::Takes => Some(match self.without_program(case) {
                Some(why) => Outcome::Cannot(why),
                None => {
                    self.load(server, case).map_or_else(|how| Outcome::Failed(without_folders(&how)), Outcome::Measured)
                }
            }),
        }
    }

    /// Returns what to build if the program that makes the load is missing.
    fn without_program(&self, case: &Case) -> Option<String> {
        let (name, Some(feature)) = case.kind.program() else { return None };
        let is_built = self.load_program.with_file_name(name).exists();
        (!is_built).then(|| format!("the program {name} is not built (feature {feature} of tidegate-benches)"))
    }

    fn load(&self, server: &Server, case: &Case) -> Result<Map<String, Value>, String> {
        let address = free_address().map_err(|error| format!("no free address: {error}"))?;
        let mut running = Running::start(&server.words(case, &address.to_string()), address, self.server_core)?;
        let mut command = Command::new(self.load_program.with_file_name(case.kind.program().0));
        command.args(case.load_words()).args(server.load_words(case));
        let mut option = |name: &str, value: &dyn ToString| {
            command.arg(format!("--{name}={}", value.to_string()));
        };
        option("addr", &address);
        let [seconds, warmup] = self.times(case);
        option("seconds", &seconds);
        option("warmup", &warmup);
        option("stall", &self.stall.max(2.0 * file_round_s(case)));
        option("core", &self.load_core);
        option("server-pid", &running.id());
        if case.kind == Kind::Echo {
            option("protocol", &server.protocol);
        }
        let report = run_load(&mut command, self.limit(case));
        if let Some(status) = running.ended() {
            return Err(format!("the server ended: {status}"));
        }
        let mut report = read(&report?, case)?;
        report.insert(BUSIEST_THREAD.into(), running.busiest_thread_share().into());
        if case.kind == Kind::Files {
            report.insert(PEAK_BYTES.into(), memory::peak(running.id()).ok().into());
        }
        Ok(report)
    }

    /// Returns the seconds to measure a case and to run before.
    fn times(&self, case: &Case) -> [f64; 2] {
        let least = f64::from(case.connections) / f64::from(CONNECTIONS_PER_MEASURED_S);
        match case.kind {
            Kind::Echo | Kind::Broadcast => [self.seconds.max(least), self.warmup.max(least / 2.0)],
            Kind::Files if case.measures_memory() => [self.seconds.max(MEMORY_SECONDS), self.warmup],
            Kind::Files => {
                let round = file_round_s(case);
                [self.seconds.max(FILE_ROUNDS * round), self.warmup.max(round)]
            }
            _ => [self.seconds, self.warmup],
        }
    }

    /// Returns about how long a run takes, with setting it up and ending it.
    #[must_use]
    pub fn time(&self, case: &Case) -> Duration {
        let [seconds, warmup] = self.times(case);
        let connecting = f64::from(case.connections) / CONNECTIONS_PER_S_USUAL;
        Duration::from_secs_f64(seconds + warmup + connecting) + RUN_OVERHEAD
    }

    /// Returns the time limit of a case's load.
    fn limit(&self, case: &Case) -> Duration {
        let [seconds, warmup] = self.times(case);
        let requested = Duration::from_secs_f64(seconds + warmup + self.stall.max(2.0 * file_round_s(case)));
        requested + LOAD_GRACE + Duration::from_secs(u64::from(case.connections / CONNECTIONS_PER_S_MIN))
    }
}

/// Returns the seconds in which every connection receives its file once; next to none for small ones.
fn file_round_s(case: &Case) -> f64 {
    let bytes = if case.kind == Kind::Files { f64::from(case.size) * f64::from(case.connections) } else { 0.0 };
    bytes / FILE_BYTES_PER_S
}

/// Parses the report of the load generator. A run that counted nothing has failed.
fn read(report: &str, case: &Case) -> Result<Map<String, Value>, String> {
    let report: Map<String, Value> = serde_json::from_str(report)
        .map_err(|error| format!("invalid report of the load generator {report:?}: {error}"))?;
    if !case.measures_memory() && Figures::of(&report).rate <= 0.0 {
        return Err(format!("no {} finished within the measured time", case.kind.unit()));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(seconds: f64, warmup: f64, stall: f64) -> Bench {
        Bench { load_program: "load".into(), server_core: 0, load_core: 1, seconds, warmup, stall }
    }

    #[test]
    fn a_server_that_cannot_run_is_an_outcome() {
        let bench = bench(0.1, 0.0, 1.0);
        let case = Case::named("echo-1").unwrap();
        let absent = bench.measure(&Server::absent("a", "not built"), case);
        assert!(matches!(absent, Some(Outcome::Cannot(why)) if why == "not built"));
        let missing = Server::by_command("a", "no-such-program {addr}", "").unwrap();
        assert!(matches!(bench.measure(&missing, case), Some(Outcome::Failed(how)) if how.contains("started")));
        let ours_alone = Case::named("idle-100k").unwrap();
        assert!(bench.measure(&missing, ours_alone).is_none());
        assert!(bench.run(&missing, ours_alone, 1).is_none());
        let run = bench.run(&Server::absent("a", "not built"), case, 2).unwrap();
        assert_eq!((run.case.as_str(), run.server.as_str(), run.round, run.cores_ns), ("echo-1", "a", 2, None));
    }

    #[test]
    fn waiting_for_near_cores_ends() {
        let bench = Bench { load_core: 0, ..bench(0.1, 0.0, 1.0) };
        assert_eq!(bench.distance_ns(), None, "a core has no distance from itself");
        bench.wait_for_near_cores(50.0, Duration::MAX);
        let bench = Bench { load_core: 1, ..bench };
        bench.wait_for_near_cores(1e9, Duration::MAX);
        bench.wait_for_near_cores(0.0, Duration::from_millis(30));
    }

    #[test]
    fn a_run_that_finished_nothing_failed() {
        let report = |text: &str| read(text, Case::named("churn").unwrap());
        assert_eq!(report(r#"{"rate_per_s":0.0}"#).unwrap_err(), "no cycles finished within the measured time");
        assert!(report(r#"{"rate_per_s":1.5}"#).is_ok());
        let memory = Case::named("files-10m-4096").unwrap();
        assert!(read(r#"{"rate_per_s":0.0}"#, memory).is_ok());
        assert!(report("nothing").unwrap_err().contains("nothing"));
    }

    #[test]
    fn more_connections_get_more_time() {
        let bench = bench(1.0, 0.5, 3.5);
        assert_eq!(bench.limit(Case::named("echo-64").unwrap()), Duration::from_secs(20));
        assert_eq!(bench.times(Case::named("echo-64").unwrap()), [1.0, 0.5]);
        assert_eq!(bench.times(Case::named("echo-16000").unwrap()), [1.6, 0.8]);
        assert_eq!(bench.limit(Case::named("idle-100k").unwrap()), Duration::from_secs(120));
        assert_eq!(bench.time(Case::named("broadcast-64-10k").unwrap()), Duration::from_millis(2900));
        assert_eq!(bench.times(Case::named("files-64k").unwrap()), [1.0, 0.5]);
        let [seconds, warmup] = bench.times(Case::named("files-10m-1024").unwrap());
        assert!(seconds > 28.0 && warmup > 7.0, "{seconds} {warmup}");
        assert_eq!(bench.times(Case::named("files-10m-4096").unwrap()), [5.0, 0.5]);
    }
}
