//! The results: every run of every server, the conditions, and the best run of each server.
//!
//! `results.json` holds exactly this. Tables, verdicts and plots are computed from it alone.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::matrix::case::{Case, Kind};
use crate::matrix::conditions::Conditions;
use crate::matrix::distance::{best, longer};

/// The server name of uWebSockets. Ratios are taken to it.
pub const UWEBSOCKETS: &str = "uwebsockets";

/// The server name of nginx, which the aims of files compare with.
pub const NGINX: &str = "nginx";

/// The server name of the raw io_uring echo. Ratios are taken to it.
pub const RAW: &str = "raw-uring";

/// The name of uWebSockets' load tester, which is no client for applications.
pub const LOAD_TESTER: &str = "uws-load-test";

/// Tidegate's placements. Each of them must reach the aims.
pub const OURS: [&str; 3] = ["inline", "same-core", "events"];

/// Everything a report is computed from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    /// Machine, versions and options.
    pub conditions: Conditions,
    /// Servers that took part.
    pub servers: Vec<Entrant>,
    /// Every run, in order.
    pub runs: Vec<Run>,
}

/// Group of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// A raw server without a protocol: the limit of the machine.
    Limit,
    /// Tidegate.
    Ours,
    /// A server of another project.
    Peer,
}

/// A server that took part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entrant {
    /// Name on the command line and in runs.
    pub name: String,
    /// Group it belongs to.
    pub group: Group,
    /// Version, empty if unknown.
    pub version: String,
    /// Its configuration, with reasons.
    pub setting: String,
}

/// One run of one server under one case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Id of the case.
    pub case: String,
    /// Name of the server.
    pub server: String,
    /// Round, from 1. Repeats count on.
    pub round: u32,
    /// Distance of the server's core and the load's before and after the run, in ns; `None` if it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores_ns: Option<[f64; 2]>,
    /// Outcome of a run.
    pub outcome: Outcome,
}

/// Outcome of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Report of the load generator.
    Measured(Map<String, Value>),
    /// The run failed, with the reason.
    Failed(String),
    /// The run was not tried, with the reason.
    Cannot(String),
}

/// The figures of a run. `None` means not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Messages, deliveries, requests or cycles per second.
    pub rate: f64,
    /// Server time per unit, in µs.
    pub server_cpu_us: Option<f64>,
    /// Share of its core that the client used.
    pub client_utilisation: Option<f64>,
    /// Whether the client may be what limits the rate.
    pub client_bound: bool,
    /// Share of the time in which other work occupied a core of the run. Also `None` if the server has several busy
    /// threads on its core, because they wait for each other.
    pub disturbance: Option<f64>,
    /// p50, p90, p99, p99.9, p99.99 and the maximum, in µs.
    pub latency_us: [Option<f64>; 6],
    /// Payload bytes for each byte of the replies, where messages are compressed.
    pub ratio: Option<f64>,
    /// User memory of the server per idle connection, in bytes.
    pub user_bytes: Option<f64>,
    /// Kernel memory of both ends per idle connection, in bytes.
    pub kernel_bytes: Option<f64>,
    /// The most memory that the server had in the run, in bytes, with its program.
    pub peak_bytes: Option<f64>,
    /// Distance of the cores before or after the run, whichever is longer, in ns.
    pub cores_ns: Option<f64>,
    /// Whether that is far, in comparison with all runs.
    pub is_far: bool,
}

/// Names of [`Figures::latency_us`].
pub const QUANTILES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// Member added to a report: the share of the server's processor time that its busiest thread used.
pub const BUSIEST_THREAD: &str = "busiest_thread_share";

/// Member added to a report: the most memory that the server had, in bytes.
pub const PEAK_BYTES: &str = "server_peak_bytes";

/// Share of the busiest thread from which a server counts as one thread.
const ONE_THREAD: f64 = 0.95;

/// Share of disturbed time above which a rate should not be quoted.
const DISTURBED: f64 = 0.03;

/// The table cell of a server in a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// The best of its runs, and how far the worst of those that count fell below it, as a share.
    Best(Box<Figures>, f64),
    /// No run succeeded. The reason of the last failure.
    Failed(String),
    /// The case was not tried, with the reason.
    Cannot(String),
}

impl Cell {
    /// Returns the figures if there are any.
    #[must_use]
    pub fn figures(&self) -> Option<&Figures> {
        match self {
            Self::Best(figures, _) => Some(figures.as_ref()),
            Self::Failed(_) | Self::Cannot(_) => None,
        }
    }
}

impl Figures {
    /// Reads the figures from a report of the load generator.
    #[must_use]
    pub fn of(report: &Map<String, Value>) -> Self {
        let number = |name: &str| report.get(name).and_then(Value::as_f64);
        Self {
            rate: number("rate_per_s").or_else(|| number("messages_per_s")).unwrap_or_default(),
            server_cpu_us: number("server_cpu_us"),
            client_utilisation: number("client_utilisation"),
            client_bound: report.get("client_bound").and_then(Value::as_bool).unwrap_or_default(),
            disturbance: number("disturbance")
                .filter(|_| number(BUSIEST_THREAD).is_none_or(|share| share > ONE_THREAD)),
            latency_us: [
                number("p50_us"),
                number("p90_us"),
                number("p99_us"),
                number("p999_us").or_else(|| number("p99_9_us")),
                number("p9999_us").or_else(|| number("p99_99_us")),
                number("max_us"),
            ],
            ratio: number("ratio"),
            user_bytes: number("user_bytes_per_connection"),
            kernel_bytes: number("kernel_bytes_per_connection_both_ends"),
            peak_bytes: number(PEAK_BYTES),
            cores_ns: None,
            is_far: false,
        }
    }

    /// Returns whether other work disturbed the run so much that its rate should not be quoted.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.disturbance.is_some_and(|share| share > DISTURBED)
    }

    /// Ranks the runs of one server in one case; more is better. The fastest run counts, because other work only makes
    /// runs slower. For idle connections the one with the least memory counts.
    pub(super) fn merit(&self, kind: Kind) -> f64 {
        if kind.is_idle() { -self.user_bytes.unwrap_or(f64::MAX) } else { self.rate }
    }
}

impl Results {
    /// Replaces runs by those of a later measurement. Whole cases are replaced, so all runs that a table compares were
    /// measured together.
    ///
    /// # Errors
    /// If the two were measured on different machines or in different ways; the error names the difference.
    pub fn join(&mut self, later: Self) -> Result<(), String> {
        self.conditions.join(later.conditions)?;
        self.runs.retain(|run| later.runs.iter().all(|new| new.case != run.case));
        self.runs.extend(later.runs);
        let new = later.servers.into_iter().filter(|new| self.servers.iter().all(|known| known.name != new.name));
        let new: Vec<Entrant> = new.collect();
        self.servers.extend(new);
        Ok(())
    }

    /// Returns the cell of a server in a case, or `None` if it has no part in it.
    #[must_use]
    pub fn cell(&self, case: &Case, server: &str) -> Option<Cell> {
        let outcomes = || self.runs.iter().filter(|run| run.case == case.id && run.server == server);
        let near_ns = self.near_ns();
        let measured = outcomes().filter_map(|run| match &run.outcome {
            Outcome::Measured(report) => Some(Figures {
                cores_ns: run.cores_ns.map(longer),
                is_far: run.is_far(case, near_ns),
                ..Figures::of(report)
            }),
            Outcome::Failed(_) | Outcome::Cannot(_) => None,
        });
        if let Some((best, spread)) = best(&measured.collect::<Vec<_>>(), case.kind) {
            return Some(Cell::Best(Box::new(best), spread));
        }
        outcomes().next_back().map(|run| match &run.outcome {
            Outcome::Cannot(why) => Cell::Cannot(why.clone()),
            Outcome::Failed(how) => Cell::Failed(how.clone()),
            Outcome::Measured(_) => unreachable!("a measured run has figures"),
        })
    }

    /// Returns the figures of a server in a case.
    #[must_use]
    pub fn figures(&self, case: &Case, server: &str) -> Option<Figures> {
        self.cell(case, server)?.figures().copied()
    }

    /// Returns the servers that take part in the case: limits, then the others from best to worst, then those without
    /// figures.
    #[must_use]
    pub fn line_up(&self, case: &Case) -> Vec<(&Entrant, Cell)> {
        let mut cells: Vec<(&Entrant, Cell)> =
            self.servers.iter().filter_map(|server| Some((server, self.cell(case, &server.name)?))).collect();
        let place = |(server, cell): &(&Entrant, Cell)| match cell.figures() {
            Some(figures) if server.group == Group::Limit => (0, -figures.merit(case.kind)),
            Some(figures) => (1, -figures.merit(case.kind)),
            None => (2, 0.0),
        };
        cells.sort_by(|a, b| place(a).partial_cmp(&place(b)).unwrap_or(std::cmp::Ordering::Equal));
        cells
    }

    /// Returns the peers with figures in the case.
    pub fn peers<'a>(&'a self, case: &'a Case) -> impl Iterator<Item = (&'a str, Figures)> + 'a {
        self.servers
            .iter()
            .filter(|server| server.group == Group::Peer)
            .filter_map(|server| Some((server.name.as_str(), self.figures(case, &server.name)?)))
    }

    /// Returns whether the case was run.
    #[must_use]
    pub fn has(&self, case: &Case) -> bool {
        self.runs.iter().any(|run| run.case == case.id)
    }

    /// Returns the failed runs of Tidegate and of the limits. Such a failure is a defect, not a finding.
    #[must_use]
    pub fn own_failures(&self) -> Vec<&Run> {
        let own = |name: &str| self.servers.iter().any(|server| server.name == name && server.group != Group::Peer);
        self.runs.iter().filter(|run| matches!(run.outcome, Outcome::Failed(_)) && own(&run.server)).collect()
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// Makes results for tests. Each line is a case, a server, its group, a rate, server time, and whether the run is
    /// client-bound.
    pub fn results(lines: &[(&str, &str, Group, f64, f64, bool)]) -> Results {
        let mut results = Results { conditions: Conditions::default(), servers: Vec::new(), runs: Vec::new() };
        for (case, server, group, rate, cpu, bound) in lines {
            let report = serde_json::json!({"rate_per_s": rate, "server_cpu_us": cpu, "client_bound": bound,
                "client_utilisation": 0.5, "disturbance": 0.001, "p50_us": 1e6 / rate, "p99_us": 2e6 / rate});
            add(&mut results, case, server, *group, Outcome::Measured(report.as_object().unwrap().clone()));
        }
        results
    }

    /// Adds a run, and its server if it is new.
    pub fn add(results: &mut Results, case: &str, server: &str, group: Group, outcome: Outcome) {
        if results.servers.iter().all(|known| known.name != server) {
            let (version, setting) = ("1.2.3".into(), "as it comes".into());
            results.servers.push(Entrant { name: server.into(), group, version, setting });
        }
        let round = 1 + results.runs.iter().filter(|run| run.case == case && run.server == server).count() as u32;
        results.runs.push(Run { case: case.into(), server: server.into(), round, cores_ns: None, outcome });
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{add, results};
    use super::*;
    use crate::matrix::conditions::Measurement;

    fn case(id: &str) -> &'static Case {
        Case::named(id).unwrap()
    }

    #[test]
    fn the_fastest_run_counts_with_all_its_figures() {
        let results = results(&[
            ("echo-64", "inline", Group::Ours, 100.0, 5.0, false),
            ("echo-64", "inline", Group::Ours, 200.0, 4.0, true),
            ("echo-64", "inline", Group::Ours, 150.0, 3.0, false),
        ]);
        let Some(Cell::Best(best, spread)) = results.cell(case("echo-64"), "inline") else {
            panic!("the run was measured")
        };
        assert_eq!((best.rate, best.server_cpu_us, best.client_bound, spread), (200.0, Some(4.0), true, 0.5));
        assert_eq!(results.cell(case("echo-512"), "inline"), None);
    }

    #[test]
    fn a_failed_run_does_not_hide_one_that_succeeded() {
        let mut results = results(&[("churn", "axum", Group::Peer, 100.0, 5.0, false)]);
        add(&mut results, "churn", "axum", Group::Peer, Outcome::Failed("reset".into()));
        add(&mut results, "churn", "yawc", Group::Peer, Outcome::Failed("reset".into()));
        assert_eq!(results.figures(case("churn"), "axum").unwrap().rate, 100.0);
        assert_eq!(results.cell(case("churn"), "yawc"), Some(Cell::Failed("reset".into())));
        assert!(results.own_failures().is_empty());
        add(&mut results, "churn", "inline", Group::Ours, Outcome::Failed("wrong".into()));
        assert_eq!(results.own_failures().len(), 1);
    }

    #[test]
    fn limits_come_first_then_the_fastest_then_those_without_figures() {
        let mut results = results(&[
            ("echo-64", "slow", Group::Peer, 100.0, 5.0, false),
            ("echo-64", "raw-epoll", Group::Limit, 90.0, 5.0, false),
            ("echo-64", "inline", Group::Ours, 200.0, 4.0, true),
        ]);
        add(&mut results, "echo-64", "none", Group::Peer, Outcome::Cannot("HTTP only".into()));
        let names: Vec<&str> =
            results.line_up(case("echo-64")).iter().map(|(server, _)| server.name.as_str()).collect();
        assert_eq!(names, ["raw-epoll", "inline", "slow", "none"]);
    }

    #[test]
    fn for_idle_connections_the_smallest_run_counts() {
        let mut results = results(&[]);
        for bytes in [600.0, 500.0, 700.0] {
            let report = serde_json::json!({"user_bytes_per_connection": bytes, "rate_per_s": bytes});
            let outcome = Outcome::Measured(report.as_object().unwrap().clone());
            add(&mut results, "idle-10k", "inline", Group::Ours, outcome);
        }
        assert_eq!(results.figures(case("idle-10k"), "inline").unwrap().user_bytes, Some(500.0));
    }

    #[test]
    fn threads_of_one_server_do_not_disturb_each_other() {
        let with = |share: f64| {
            let report = serde_json::json!({"rate_per_s": 1.0, "disturbance": 0.1, BUSIEST_THREAD: share});
            Figures::of(report.as_object().unwrap())
        };
        assert!(with(1.0).is_disturbed());
        assert_eq!(with(0.6).disturbance, None);
    }

    #[test]
    fn a_later_measurement_replaces_its_cases() {
        let mut results = results(&[
            ("echo-64", "inline", Group::Ours, 900.0, 4.0, true),
            ("echo-64", "axum", Group::Peer, 100.0, 4.0, true),
            ("echo-512", "inline", Group::Ours, 300.0, 4.0, true),
        ]);
        let mut later = samples::results(&[("echo-64", "inline", Group::Ours, 200.0, 4.0, true)]);
        add(&mut later, "echo-64", "yawc", Group::Peer, Outcome::Failed("reset".into()));
        later.conditions.measurements.push(Measurement { command: "again".into(), ..Measurement::default() });
        results.join(later).unwrap();
        assert_eq!(results.figures(case("echo-64"), "inline").unwrap().rate, 200.0);
        assert!(results.figures(case("echo-64"), "axum").is_none() && results.servers.len() == 3);
        assert_eq!(results.figures(case("echo-512"), "inline").unwrap().rate, 300.0);
        assert_eq!(results.conditions.measurements[0].command, "again");
        let mut elsewhere = samples::results(&[]);
        elsewhere.conditions.kernel = "2.6".into();
        assert!(results.join(elsewhere).unwrap_err().contains("kernel"));
    }

    #[test]
    fn results_survive_being_saved() {
        let mut before = results(&[("echo-64", "inline", Group::Ours, 200.0, 4.0, true)]);
        add(&mut before, "echo-64", "none", Group::Peer, Outcome::Cannot("HTTP only".into()));
        let after: Results = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
        assert_eq!(after.line_up(case("echo-64")).len(), 2);
        assert_eq!(after.cell(case("echo-64"), "inline"), before.cell(case("echo-64"), "inline"));
        assert_eq!(after.cell(case("echo-64"), "none"), Some(Cell::Cannot("HTTP only".into())));
    }
}
