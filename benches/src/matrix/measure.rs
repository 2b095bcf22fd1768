//! One run: one server under one case.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::matrix::case::{Case, Kind};
use crate::matrix::conditions::without_folders;
use crate::matrix::process::{Running, free_address, run_load};
use crate::matrix::results::{BUSIEST_THREAD, Figures, Outcome};
use crate::matrix::server::{Part, Server};

/// Time for setting up and ending a load, in addition to its own durations.
const LOAD_GRACE: Duration = Duration::from_secs(15);

/// The measured time is at least one second per this many connections: a round of all of them takes a while, and a run
/// must see several rounds.
const CONNECTIONS_PER_MEASURED_S: u32 = 10_000;

/// Connections per second that the slowest server accepts.
const CONNECTIONS_PER_S_MIN: u32 = 1_000;

/// Connections per second that most servers accept, and the time in which a run begins and ends otherwise.
const CONNECTIONS_PER_S_USUAL: f64 = 20_000.0;
const RUN_OVERHEAD: Duration = Duration::from_millis(250);

/// Settings common to all runs.
#[derive(Debug, Clone)]
pub struct Bench {
    /// Path of the load generator.
    pub load: PathBuf,
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
    /// Starts the server, loads it and ends it. Returns `None` if the server has no part in the case.
    #[must_use]
    pub fn measure(&self, server: &Server, case: &Case) -> Option<Outcome> {
        match server.part(case) {
            Part::None => None,
            Part::Cannot(why) => Some(Outcome::Cannot(why)),
            Part::Takes => Some(
                self.run(server, case).map_or_else(|how| Outcome::Failed(without_folders(&how)), Outcome::Measured),
            ),
        }
    }

    fn run(&self, server: &Server, case: &Case) -> Result<Map<String, Value>, String> {
        let address = free_address().map_err(|error| format!("no free address: {error}"))?;
        let mut running = Running::start(&server.words(case, &address.to_string()), address, self.server_core)?;
        let mut command = Command::new(&self.load);
        command.args(case.load_words());
        let mut option = |name: &str, value: &dyn ToString| {
            command.arg(format!("--{name}={}", value.to_string()));
        };
        option("addr", &address);
        let [seconds, warmup] = self.times(case);
        option("seconds", &seconds);
        option("warmup", &warmup);
        option("stall", &self.stall);
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
        Ok(report)
    }

    /// Returns the seconds to measure a case and to run before.
    fn times(&self, case: &Case) -> [f64; 2] {
        let least = f64::from(case.connections) / f64::from(CONNECTIONS_PER_MEASURED_S);
        match case.kind {
            Kind::Echo | Kind::Broadcast => [self.seconds.max(least), self.warmup.max(least / 2.0)],
            Kind::Http | Kind::Churn | Kind::Idle | Kind::Files => [self.seconds, self.warmup],
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
        let requested = Duration::from_secs_f64(seconds + warmup + self.stall);
        requested + LOAD_GRACE + Duration::from_secs(u64::from(case.connections / CONNECTIONS_PER_S_MIN))
    }
}

/// Parses the report of the load generator. A run that counted nothing has failed.
fn read(report: &str, case: &Case) -> Result<Map<String, Value>, String> {
    let report: Map<String, Value> = serde_json::from_str(report)
        .map_err(|error| format!("invalid report of the load generator {report:?}: {error}"))?;
    if case.kind != Kind::Idle && Figures::of(&report).rate <= 0.0 {
        return Err(format!("no {} finished within the measured time", case.kind.unit()));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_run_is_an_outcome() {
        let bench = Bench { load: "load".into(), server_core: 0, load_core: 1, seconds: 0.1, warmup: 0.0, stall: 1.0 };
        let case = Case::named("echo-1").unwrap();
        let absent = bench.measure(&Server::absent("a", "not built"), case);
        assert!(matches!(absent, Some(Outcome::Cannot(why)) if why == "not built"));
        let missing = Server::by_command("a", "no-such-program {addr}", "").unwrap();
        assert!(matches!(bench.measure(&missing, case), Some(Outcome::Failed(how)) if how.contains("started")));
        let ours_alone = Case::named("idle-100k").unwrap();
        assert!(bench.measure(&missing, ours_alone).is_none());
    }

    #[test]
    fn a_run_that_finished_nothing_failed() {
        let report = |text: &str| read(text, Case::named("churn").unwrap());
        assert_eq!(report(r#"{"rate_per_s":0.0}"#).unwrap_err(), "no cycles finished within the measured time");
        assert!(report(r#"{"rate_per_s":1.5}"#).is_ok());
        assert!(report("nothing").unwrap_err().contains("nothing"));
    }

    #[test]
    fn more_connections_get_more_time() {
        let bench = Bench { load: "load".into(), server_core: 0, load_core: 1, seconds: 1.0, warmup: 0.5, stall: 3.5 };
        assert_eq!(bench.limit(Case::named("echo-64").unwrap()), Duration::from_secs(20));
        assert_eq!(bench.times(Case::named("echo-64").unwrap()), [1.0, 0.5]);
        assert_eq!(bench.times(Case::named("echo-16000").unwrap()), [1.6, 0.8]);
        assert_eq!(bench.limit(Case::named("idle-100k").unwrap()), Duration::from_secs(120));
        assert_eq!(bench.time(Case::named("broadcast-64-10k").unwrap()), Duration::from_millis(2250));
    }
}
