//! How far the server's core and the load's were from each other in each run, and which runs that makes comparable.
//!
//! A run with far cores is slower, whatever the server. It counts only for a server without a run with near cores, and
//! every figure that compares the two says so. Runs whose distance was not measured count as near, and memory does not
//! depend on the distance.

use crate::matrix::case::{Case, Kind};
use crate::matrix::results::{Figures, Outcome, Results, Run};

/// Distances above this multiple of the shortest one are far.
pub const FAR: f64 = 1.5;

/// Returns the longer of two distances.
#[must_use]
pub fn longer([before, after]: [f64; 2]) -> f64 {
    before.max(after)
}

/// Returns the best of the runs of one server, and how far the worst fell below it, as a share. Runs with far cores
/// count only if there are no others.
#[must_use]
pub(super) fn best(runs: &[Figures], kind: Kind) -> Option<(Figures, f64)> {
    let has_near = runs.iter().any(|run| !run.is_far);
    let counted = || runs.iter().filter(|run| !(has_near && run.is_far));
    let best = *counted().max_by(|a, b| a.merit(kind).total_cmp(&b.merit(kind)))?;
    let least = counted().map(|run| run.rate).fold(f64::INFINITY, f64::min);
    Some((best, if best.rate > 0.0 { 1.0 - least / best.rate } else { 0.0 }))
}

/// Returns the remark to add to figures that compare two runs, empty if both had near cores.
#[must_use]
pub fn remark(ours: &Figures, theirs: &Figures) -> &'static str {
    match [ours.is_far, theirs.is_far] {
        [false, false] => "",
        [true, true] => ", far cores",
        [true, false] => ", far cores against near ones",
        [false, true] => ", near cores against far ones",
    }
}

/// The runs that count in a case, by the distance of their cores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distance {
    /// All had near cores.
    Near,
    /// All had far cores: they compare with each other, and with nothing else.
    Far,
    /// These servers have no run with near cores, and others do.
    Mixed(Vec<String>),
}

impl Run {
    /// Returns whether the cores were far from each other before or after the run, compared with near ones.
    #[must_use]
    pub fn is_far(&self, case: &Case, near_ns: Option<f64>) -> bool {
        let distances = self.cores_ns.map(longer).zip(near_ns);
        !case.measures_memory() && distances.is_some_and(|(longest, near)| is_far(longest, near))
    }
}

/// Returns whether a distance is far, compared with that of near cores.
#[must_use]
pub fn is_far(distance_ns: f64, near_ns: f64) -> bool {
    distance_ns > FAR * near_ns
}

impl Results {
    /// Returns the distance of near cores in ns: the one that was given, or the shortest of all runs.
    #[must_use]
    pub fn near_ns(&self) -> Option<f64> {
        let shortest = || self.runs.iter().filter_map(|run| run.cores_ns).flatten().reduce(f64::min);
        self.conditions.near_ns.or_else(shortest)
    }

    /// Returns the distances of the runs that count in a case.
    #[must_use]
    pub fn distance(&self, case: &Case) -> Distance {
        let line_up = self.line_up(case);
        let counted = line_up.iter().filter_map(|(server, cell)| Some((*server, cell.figures()?)));
        let (far, near): (Vec<_>, Vec<_>) = counted.partition(|(_, figures)| figures.is_far);
        match (far.is_empty(), near.is_empty()) {
            (true, _) => Distance::Near,
            (false, true) => Distance::Far,
            (false, false) => Distance::Mixed(far.iter().map(|(server, _)| server.name.clone()).collect()),
        }
    }

    /// Returns whether a server is to run again in a case after `rounds` runs: whether some of them had far cores, and
    /// the repeats up to now have not made up for them.
    #[must_use]
    pub fn lacks_near_runs(&self, case: &Case, server: &str, rounds: u32) -> bool {
        let near_ns = self.near_ns();
        let runs = self.runs.iter().filter(|run| run.case == case.id && run.server == server);
        let is_far = |run: &&Run| matches!(run.outcome, Outcome::Measured(_)) && run.is_far(case, near_ns);
        let (far, others): (Vec<&Run>, Vec<&Run>) = runs.partition(is_far);
        !far.is_empty() && others.len() < rounds as usize
    }

    /// Returns the shortest and the longest distance of the cores around all runs, and a sentence about how many runs
    /// had far ones; `None` if no distance was measured.
    #[must_use]
    pub fn distances(&self) -> Option<String> {
        let distances = || self.runs.iter().filter_map(|run| run.cores_ns).flatten();
        let (shortest, longest) = (distances().reduce(f64::min)?, distances().reduce(f64::max)?);
        let near_ns = self.near_ns();
        let is_far = |run: &&Run| Case::named(&run.case).is_some_and(|case| run.is_far(case, near_ns));
        let measured = self.runs.iter().filter(|run| run.cores_ns.is_some()).count();
        let far = self.runs.iter().filter(is_far).count();
        Some(format!("{shortest:.0} to {longest:.0} ns; far in {far} of {measured} runs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::results::samples::results;
    use crate::matrix::results::{Group, UWEBSOCKETS};

    /// Makes runs of `echo-64`, each of a server with a rate and the distances before and after it.
    fn echoes(runs: &[(&'static str, f64, Option<[f64; 2]>)]) -> Results {
        let group = |server| if server == UWEBSOCKETS { Group::Peer } else { Group::Ours };
        let line = |run: &(&'static str, f64, _)| ("echo-64", run.0, group(run.0), run.1, 1e6 / run.1, false);
        let mut all = results(&runs.iter().map(line).collect::<Vec<_>>());
        for (run, (_, _, cores_ns)) in all.runs.iter_mut().zip(runs) {
            run.cores_ns = *cores_ns;
        }
        all
    }

    fn case() -> &'static Case {
        Case::named("echo-64").unwrap()
    }

    fn counted(results: &Results, server: &str) -> (f64, bool) {
        let figures = results.figures(case(), server).unwrap();
        (figures.rate, figures.is_far)
    }

    const NEAR: Option<[f64; 2]> = Some([55.0, 56.0]);
    const FAR_AFTER: Option<[f64; 2]> = Some([55.0, 320.0]);

    #[test]
    fn runs_with_near_cores_count_before_faster_ones_with_far_cores() {
        let results = echoes(&[("inline", 200.0, FAR_AFTER), ("inline", 150.0, NEAR), ("inline", 120.0, NEAR)]);
        assert_eq!(counted(&results, "inline"), (150.0, false));
        assert_eq!(best(&[], Kind::Echo), None);
        let figures = results.figures(case(), "inline").unwrap();
        assert_eq!((figures.cores_ns, results.distance(case())), (Some(56.0), Distance::Near));
    }

    #[test]
    fn the_spread_is_that_of_the_runs_that_count() {
        let run = |rate: f64, is_far: bool| Figures { rate, is_far, ..Figures::default() };
        assert_eq!(best(&[run(50.0, true), run(200.0, false), run(150.0, false)], Kind::Echo).unwrap().1, 0.25);
        assert_eq!(best(&[run(50.0, true), run(200.0, true)], Kind::Echo).unwrap().1, 0.75);
    }

    #[test]
    fn a_case_that_only_has_far_runs_compares_them() {
        let near_elsewhere = ("same-core", 1.0, NEAR);
        let mut results = echoes(&[("inline", 90.0, FAR_AFTER), ("inline", 100.0, FAR_AFTER), near_elsewhere]);
        results.runs[2].case = "echo-512".into();
        assert_eq!((counted(&results, "inline"), results.distance(case())), ((100.0, true), Distance::Far));
        assert_eq!(results.distance(Case::named("echo-512").unwrap()), Distance::Near);
    }

    #[test]
    fn servers_without_near_runs_are_named() {
        let results =
            echoes(&[("inline", 100.0, NEAR), (UWEBSOCKETS, 50.0, FAR_AFTER), (UWEBSOCKETS, 60.0, FAR_AFTER)]);
        assert_eq!(results.distance(case()), Distance::Mixed(vec![UWEBSOCKETS.into()]));
        let [ours, theirs] = ["inline", UWEBSOCKETS].map(|name| results.figures(case(), name).unwrap());
        assert_eq!(remark(&ours, &theirs), ", near cores against far ones");
        assert_eq!(remark(&ours, &ours), "");
    }

    #[test]
    fn the_shortest_distance_or_the_given_one_is_near() {
        let mut results = echoes(&[("inline", 100.0, Some([80.0, 81.0])), ("inline", 90.0, Some([50.0, 50.0]))]);
        assert_eq!((results.near_ns(), counted(&results, "inline")), (Some(50.0), (90.0, false)));
        results.conditions.near_ns = Some(60.0);
        assert_eq!(counted(&results, "inline"), (100.0, false));
        results.conditions.near_ns = Some(10.0);
        assert_eq!(results.distance(case()), Distance::Far);
    }

    #[test]
    fn runs_without_a_distance_and_runs_about_memory_are_not_far() {
        let mut results = echoes(&[("inline", 100.0, None), ("inline", 90.0, NEAR), ("inline", 95.0, FAR_AFTER)]);
        assert_eq!(counted(&results, "inline"), (100.0, false));
        assert!(results.runs[2].is_far(case(), results.near_ns()));
        results.runs[2].case = "idle-10k".into();
        assert!(!results.runs[2].is_far(Case::named("idle-10k").unwrap(), results.near_ns()));
        assert_eq!(echoes(&[("inline", 100.0, None)]).distances(), None);
    }

    #[test]
    fn a_server_runs_again_until_its_near_runs_are_as_many_as_rounds() {
        let mut runs = vec![("inline", 100.0, NEAR), ("inline", 90.0, FAR_AFTER), ("same-core", 90.0, NEAR)];
        assert!(echoes(&runs).lacks_near_runs(case(), "inline", 2));
        assert!(!echoes(&runs).lacks_near_runs(case(), "same-core", 1));
        assert!(!echoes(&runs).lacks_near_runs(case(), "events", 1));
        runs.push(("inline", 95.0, NEAR));
        assert!(!echoes(&runs).lacks_near_runs(case(), "inline", 2));
    }

    #[test]
    fn distances_are_summed_up_for_people() {
        let results = echoes(&[("inline", 100.0, NEAR), ("inline", 90.0, FAR_AFTER), ("same-core", 90.0, None)]);
        assert_eq!(results.distances().unwrap(), "55 to 320 ns; far in 1 of 2 runs");
    }

    #[test]
    fn distances_survive_being_saved_and_old_runs_have_none() {
        let text = serde_json::to_string(&echoes(&[("inline", 100.0, NEAR), ("inline", 90.0, None)])).unwrap();
        let read: Results = serde_json::from_str(&text).unwrap();
        assert_eq!([read.runs[0].cores_ns, read.runs[1].cores_ns], [NEAR, None]);
        assert_eq!(text.matches("cores_ns").count(), 1);
    }
}
