//! The runs of a case: every server in turn, round after round, and repeats of runs with far cores.

use std::time::{Duration, Instant};

use crate::matrix::case::Case;
use crate::matrix::measure::Bench;
use crate::matrix::results::{Outcome, Results, Run};
use crate::matrix::server::{Part, Server};

/// How often servers run in a case, and for how long at most.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Runs of each server.
    pub rounds: u32,
    /// The most further runs of a server whose runs had far cores.
    pub repeats: u32,
    /// The longest wait for near cores before a run.
    pub wait: Duration,
    /// No run starts after this.
    pub deadline: Instant,
    /// No repeat and no wait starts after this, so that the rounds of later cases have their time.
    pub repeats_until: Instant,
}

/// One run of a server, or one that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It runs once it has waited for near cores, for at most this long.
    Run(Duration),
    /// It is shown as not run.
    Late,
    /// There is no such run.
    Skip,
}

impl Effort {
    /// Runs every server in a case and adds the runs to the results. Calls `report` with each.
    ///
    /// Repeats follow the last round, because the distance of the cores changes within seconds to minutes. Waits and
    /// repeats of a server take at most as long as its rounds.
    pub fn measure(
        &self,
        bench: &Bench,
        servers: &[Server],
        case: &Case,
        results: &mut Results,
        report: impl Fn(&Run),
    ) {
        let mut spent = vec![Duration::ZERO; servers.len()];
        for round in 1..=self.rounds + self.repeats {
            for (server, spent) in servers.iter().zip(&mut spent) {
                let begun = Instant::now();
                let step = match server.part(case) == Part::Takes {
                    true => self.step(case, &server.entrant.name, round, results, bench.time(case), *spent),
                    false if round > 1 => Step::Skip,
                    false => Step::Run(Duration::ZERO),
                };
                let run = match step {
                    Step::Skip => continue,
                    Step::Late => Some(Run {
                        case: case.id.to_owned(),
                        server: server.entrant.name.clone(),
                        round,
                        cores_ns: None,
                        outcome: Outcome::Cannot("not run: --budget was used up".into()),
                    }),
                    Step::Run(wait) => {
                        if let Some(near_ns) = results.near_ns() {
                            bench.wait_for_near_cores(near_ns, wait);
                        }
                        let waited = begun.elapsed();
                        let run = bench.run(server, case, round);
                        *spent += if round > self.rounds { begun.elapsed() } else { waited };
                        run
                    }
                };
                let Some(run) = run else { continue };
                report(&run);
                results.runs.push(run);
            }
        }
    }

    /// Returns what a server does in a round, if one of its runs takes `time` and its waits and repeats up to now took
    /// `spent`.
    fn step(&self, case: &Case, server: &str, round: u32, results: &Results, time: Duration, spent: Duration) -> Step {
        let now = Instant::now();
        let has_time = now < self.repeats_until && now < self.deadline && !case.measures_memory();
        let left = if has_time { (self.rounds * time).saturating_sub(spent) } else { Duration::ZERO };
        if round > self.rounds {
            return match left.checked_sub(time) {
                Some(more) if results.lacks_near_runs(case, server, self.rounds) => Step::Run(self.wait.min(more)),
                _ => Step::Skip,
            };
        }
        if now < self.deadline { Step::Run(self.wait.min(left)) } else { Step::Late }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::results::Group;
    use crate::matrix::results::samples::results;

    const SECOND: Duration = Duration::from_secs(1);

    fn effort() -> Effort {
        let later = Instant::now() + 3_600 * SECOND;
        Effort { rounds: 2, repeats: 3, wait: SECOND / 4, deadline: later, repeats_until: later }
    }

    fn step(effort: &Effort, round: u32, distances: &[f64], spent: Duration) -> Step {
        let case = Case::named("echo-64").unwrap();
        let mut results = results(&[]);
        results.conditions.near_ns = Some(50.0);
        for nanos in distances {
            let one = crate::matrix::results::samples::results(&[("echo-64", "a", Group::Peer, 1.0, 1.0, false)]);
            results.runs.extend(one.runs.into_iter().map(|run| Run { cores_ns: Some([*nanos, *nanos]), ..run }));
        }
        effort.step(case, "a", round, &results, SECOND, spent)
    }

    #[test]
    fn rounds_run_and_far_runs_are_repeated() {
        let zero = Duration::ZERO;
        assert_eq!(step(&effort(), 2, &[300.0], zero), Step::Run(SECOND / 4));
        assert_eq!(step(&effort(), 3, &[50.0, 60.0], zero), Step::Skip);
        assert_eq!(step(&effort(), 3, &[50.0, 300.0], zero), Step::Run(SECOND / 4));
        assert_eq!(step(&effort(), 4, &[50.0, 300.0, 70.0], SECOND), Step::Skip);
    }

    #[test]
    fn waits_and_repeats_take_at_most_as_long_as_the_rounds() {
        let spent = |spent: Duration, round| step(&effort(), round, &[300.0, 300.0], spent);
        assert_eq!(spent(SECOND, 4), Step::Run(Duration::ZERO));
        assert_eq!(spent(SECOND * 7 / 8, 4), Step::Run(SECOND / 8));
        assert_eq!(spent(SECOND * 9 / 8, 4), Step::Skip);
        assert_eq!(spent(SECOND * 2, 2), Step::Run(Duration::ZERO));
    }

    #[test]
    fn after_the_budget_rounds_are_late_and_repeats_left_out() {
        let late = Effort { deadline: Instant::now(), ..effort() };
        assert_eq!(step(&late, 2, &[50.0], Duration::ZERO), Step::Late);
        assert_eq!(step(&late, 3, &[300.0, 300.0], Duration::ZERO), Step::Skip);
        let short_of_time = Effort { repeats_until: Instant::now(), ..effort() };
        assert_eq!(step(&short_of_time, 2, &[300.0], Duration::ZERO), Step::Run(Duration::ZERO));
        assert_eq!(step(&short_of_time, 3, &[300.0, 300.0], Duration::ZERO), Step::Skip);
    }
}
