//! Verdicts on whether a measurement reaches the aims.
//!
//! One judgement for each aim, each of its cases and each placement that has it. A rate limited by the client says
//! nothing about the server: where our run is client-bound, server time is compared instead.

use crate::matrix::aims::{AIMS, Goal, Rival};
use crate::matrix::case::{CASES, Case, GROWTH};
use crate::matrix::distance::remark;
use crate::matrix::results::{Figures, OURS, RAW, Results};
use crate::matrix::table::{Table, grouped, mebibytes, ratio, significant};

/// Ratios of compression that differ by no more than this share are equal.
const RATIO_TOLERANCE: f64 = 0.05;

/// The verdict on one aim in one case for one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Row of the aims.
    pub row: u8,
    /// Title of the case.
    pub case: &'static str,
    /// The aim.
    pub aim: String,
    /// The placement.
    pub placement: &'static str,
    /// The verdict.
    pub verdict: Verdict,
}

/// Whether an aim is reached, with the figures that show it.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Reached.
    Reached(String),
    /// Missed.
    Missed(String),
    /// Not decided: the reason, such as a server that was not measured.
    Open(String),
}

impl Verdict {
    fn of(reached: bool, figures: String) -> Self {
        if reached { Self::Reached(figures) } else { Self::Missed(figures) }
    }

    /// Formats the verdict for a table.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Reached(figures) => format!("**reached**: {figures}"),
            Self::Missed(figures) => format!("**missed**: {figures}"),
            Self::Open(missing) => format!("open: {missing}"),
        }
    }
}

/// Returns every judgement that the results allow, in the order of the rows.
#[must_use]
pub fn judge(results: &Results) -> Vec<Judgement> {
    let took_part = |placement: &str| results.servers.iter().any(|server| server.name == placement);
    let mut judgements = Vec::new();
    for case in CASES.iter().filter(|case| results.has(case)) {
        for aim in AIMS.iter().filter(|aim| aim.cases.contains(&case.id)) {
            for &(placement, least) in aim.least.iter().filter(|(placement, _)| took_part(placement)) {
                let Some(verdict) = verdict(results, case, aim.goal, placement, least) else { continue };
                let row = if aim.goal == Goal::Growth { GROWTH_ROW } else { case.row };
                judgements.push(Judgement { row, case: case.title, aim: aim.text(), placement, verdict });
            }
        }
    }
    judgements.sort_by_key(|judgement| judgement.row);
    judgements
}

/// Returns the judgements as a table: a line per aim, a column per placement.
#[must_use]
pub fn table(judgements: &[Judgement]) -> Table {
    let mut table = Table::of_words(&["Row: case", "Aim", OURS[0], OURS[1], OURS[2]]);
    let mut done: Vec<(&str, &str)> = Vec::new();
    for judgement in judgements {
        let key = (judgement.case, judgement.aim.as_str());
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        let of = |placement: &str| {
            let same =
                |other: &&Judgement| (other.case, other.aim.as_str(), other.placement) == (key.0, key.1, placement);
            judgements.iter().find(same).map_or("-".into(), |judgement| judgement.verdict.text())
        };
        let mut row = vec![format!("{}: {}", judgement.row, judgement.case), judgement.aim.clone()];
        row.extend(OURS.map(of));
        table.push(row);
    }
    table
}

/// Returns the verdict on a placement in a case, or `None` if it has no part in the case.
fn verdict(results: &Results, case: &Case, goal: Goal, placement: &str, least: f64) -> Option<Verdict> {
    let cell = results.cell(case, placement)?;
    let Some(ours) = cell.figures() else { return Some(Verdict::Open("no run succeeded".into())) };
    let rivals = |rival: Rival| results.peers(case).filter(|(name, _)| rival.is(name)).collect::<Vec<_>>();
    let in_rate = |comparison: &Comparison| comparison.rate >= least;
    let in_cost = |comparison: &Comparison| comparison.cost >= least;
    let unless_bound = |comparison: &Comparison| in_rate(comparison) || ours.client_bound && in_cost(comparison);
    Some(match goal {
        Goal::Rate(rival) => against(ours, &rivals(rival), rival.missing(), unless_bound),
        Goal::RateWithoutTls => {
            let name = format!("{placement}-plain");
            let plain: Vec<_> = results.figures(case, &name).map(|plain| (&*name, plain)).into_iter().collect();
            against(ours, &plain, "the server without TLS was not measured".into(), unless_bound)
        }
        Goal::RateOrCost(rival) => {
            against(ours, &rivals(rival), rival.missing(), |comparison| in_rate(comparison) || in_cost(comparison))
        }
        Goal::RateAndCost => against(ours, &rivals(Rival::Peers), Rival::Peers.missing(), |comparison| {
            in_rate(comparison) && in_cost(comparison)
        }),
        Goal::RateAtEqualRatio => {
            let mut crates = rivals(Rival::Crates);
            let is_equal = |theirs: f64| (theirs / ours.ratio.unwrap_or(f64::NAN) - 1.0).abs() <= RATIO_TOLERANCE;
            crates.retain(|(_, theirs)| theirs.ratio.is_some_and(is_equal));
            against(ours, &crates, "no crate with an equal ratio was measured".into(), in_rate)
        }
        Goal::RoundTrip => round_trip(results, case, ours, |raw| least * raw),
        Goal::RoundTripAdded => round_trip(results, case, ours, |raw| least + raw),
        Goal::Deliveries => Verdict::of(ours.rate >= least, grouped(ours.rate) + remark(ours, ours)),
        Goal::PerCpu(rival) => per_cpu(ours, &rivals(rival), rival.missing(), least),
        Goal::IdleBytes => match ours.user_bytes {
            Some(bytes) => Verdict::of(bytes <= least, format!("{} bytes", grouped(bytes))),
            None => Verdict::Open("not measured".into()),
        },
        Goal::PeakBytes => match ours.peak_bytes {
            Some(bytes) => Verdict::of(bytes < least, mebibytes(bytes)),
            None => Verdict::Open("not measured".into()),
        },
        Goal::Growth => {
            let growth = |server: &str| {
                let [many, few] = [case, Case::named(GROWTH[0])?].map(|case| results.figures(case, server));
                let (many, few) = (many?, few?);
                Some((many.server_cpu_us? / few.server_cpu_us?, remark(&many, &few)))
            };
            match growth(placement).zip(growth(RAW)) {
                Some(((ours, far), (raw, raw_far))) => {
                    Verdict::of(ours <= least * raw, format!("× {ours:.2}{far}, raw × {raw:.2}{raw_far}"))
                }
                None => Verdict::Open("not measured on both ends".into()),
            }
        }
    })
}

/// Our rate as a multiple of another's, and its server time as a multiple of ours; 0 where that is unknown.
struct Comparison {
    rate: f64,
    cost: f64,
}

/// Judges `ours` against each of `theirs`. The figures are those of the strongest competitor among the ones that decide
/// the verdict, or the reason is `missing` if there is none.
fn against(
    ours: &Figures,
    theirs: &[(&str, Figures)],
    missing: String,
    reaches: impl Fn(&Comparison) -> bool,
) -> Verdict {
    let compared = theirs.iter().map(|(name, theirs)| {
        let costs = ours.server_cpu_us.zip(theirs.server_cpu_us);
        let rate = ours.rate / theirs.rate;
        let comparison = Comparison { rate, cost: costs.map_or(0.0, |(ours, theirs)| theirs / ours) };
        let mut text = format!("{name} rate × {rate:.2}, CPU × {}", ratio(ours.server_cpu_us, theirs.server_cpu_us));
        if let Some((ours, theirs)) = ours.ratio.zip(theirs.ratio) {
            text += &format!(", ratio {ours:.2}, {theirs:.2}");
        }
        if ours.client_bound {
            text += ", client-bound";
        }
        if ours.is_disturbed() || theirs.is_disturbed() {
            text += ", disturbed";
        }
        text += remark(ours, theirs);
        (reaches(&comparison), theirs.rate, text)
    });
    let nearest = compared.min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    match nearest {
        Some((reached, _, text)) => Verdict::of(reached, text),
        None => Verdict::Open(missing),
    }
}

/// Judges our median round trip against the most that `most` allows for raw io_uring's.
fn round_trip(results: &Results, case: &Case, ours: &Figures, most: impl Fn(f64) -> f64) -> Verdict {
    let raw = results.figures(case, RAW).unwrap_or_default();
    let far = remark(ours, &raw);
    let Some((ours, raw)) = ours.latency_us[0].zip(raw.latency_us[0]) else {
        return Verdict::Open("raw io_uring was not measured".into());
    };
    let figures = format!("{} µs, raw {} µs (× {:.2}){far}", significant(ours), significant(raw), ours / raw);
    Verdict::of(ours <= most(raw), figures)
}

/// Judges requests per second of the server's processor against the cheapest of `theirs`.
fn per_cpu(ours: &Figures, theirs: &[(&str, Figures)], missing: String, least: f64) -> Verdict {
    let costs = theirs.iter().filter_map(|(name, figures)| Some((name, figures.server_cpu_us?, remark(ours, figures))));
    let Some(((name, theirs, far), ours)) = costs.min_by(|a, b| a.1.total_cmp(&b.1)).zip(ours.server_cpu_us) else {
        return Verdict::Open(missing);
    };
    let figures = format!("{} µs, {name} {} µs (× {:.2}){far}", significant(ours), significant(theirs), theirs / ours);
    Verdict::of(theirs / ours >= least, figures)
}

/// The row of growth over connections, whose cases are those of other rows too.
const GROWTH_ROW: u8 = 9;

/// Returns the heading of a row of the aims.
#[must_use]
pub fn row_title(row: u8) -> &'static str {
    match row {
        1 => "Echo, one message outstanding",
        2 => "Echo, 16 deep",
        3 => "Large messages",
        4 => "One connection",
        5 => "Broadcast",
        6 => "HTTP",
        7 => "Connecting and closing",
        8 => "Idle WebSockets",
        10 => "Files",
        11 => "JSON, plain and compressed",
        12 => "TLS",
        13 => "Clients",
        _ => "Cost against connections",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::results::samples::{add, results};
    use crate::matrix::results::{Group, LOAD_TESTER, Outcome, UWEBSOCKETS};

    fn verdicts(results: &Results, row: u8, placement: &str) -> Vec<Verdict> {
        let of = |judgement: &Judgement| judgement.row == row && judgement.placement == placement;
        judge(results).into_iter().filter(of).map(|judgement| judgement.verdict).collect()
    }

    fn reached(results: &Results, row: u8, placement: &str) -> Vec<bool> {
        verdicts(results, row, placement).iter().map(|verdict| matches!(verdict, Verdict::Reached(_))).collect()
    }

    /// Returns whether the aim of `goal` is reached in a case; `None` if it is open or not judged.
    fn reached_goal(results: &Results, id: &str, placement: &str, goal: Goal) -> Option<bool> {
        let aim = AIMS.iter().find(|aim| aim.goal == goal && aim.cases.contains(&id)).unwrap();
        let (_, least) = aim.least.iter().find(|(name, _)| *name == placement).unwrap();
        match verdict(results, Case::named(id).unwrap(), goal, placement, *least)? {
            Verdict::Reached(_) => Some(true),
            Verdict::Missed(_) => Some(false),
            Verdict::Open(_) => None,
        }
    }

    const UWS: Rival = Rival::One(UWEBSOCKETS);

    #[test]
    fn tls_is_compared_with_the_server_without_it_and_clients_with_clients() {
        let with = |rate: f64, cpu: f64, bound: bool| {
            let results = results(&[
                ("wss-64", "inline-plain", Group::Ours, 100.0, 10.0, false),
                ("wss-64", "inline", Group::Ours, rate, cpu, bound),
                ("wss-64", UWEBSOCKETS, Group::Peer, 70.0, 15.0, false),
            ]);
            [Goal::RateWithoutTls, Goal::Rate(Rival::Peers)]
                .map(|goal| reached_goal(&results, "wss-64", "inline", goal).unwrap())
        };
        assert_eq!(with(75.0, 14.0, false), [true, true]);
        assert_eq!(with(74.0, 13.0, false), [false, true]);
        assert_eq!(with(69.0, 13.0, true), [true, true]);
        assert_eq!(with(69.0, 16.0, true), [false, false]);
        let clients = results(&[
            ("client-64", LOAD_TESTER, Group::Peer, 200.0, 5.0, false),
            ("client-64", "fastwebsockets", Group::Peer, 100.0, 10.0, false),
            ("client-64", "inline", Group::Ours, 101.0, 9.0, false),
        ]);
        assert_eq!(reached(&clients, 13, "inline"), [true]);
    }

    #[test]
    fn rates_decide_unless_the_client_is_the_limit() {
        let with = |rate: f64, cpu: f64, bound: bool| {
            let results = results(&[
                ("echo-64", UWEBSOCKETS, Group::Peer, 100.0, 10.0, false),
                ("echo-64", "axum", Group::Peer, 80.0, 10.0, false),
                ("echo-64", "inline", Group::Ours, rate, cpu, bound),
            ]);
            [Goal::Rate(UWS), Goal::Rate(Rival::Crates), Goal::RateOrCost(UWS)]
                .map(|goal| reached_goal(&results, "echo-64", "inline", goal).unwrap())
        };
        assert_eq!(with(116.0, 9.9, false), [true, true, true]);
        assert_eq!(with(104.0, 9.9, false), [false, true, true]);
        assert_eq!(with(102.0, 9.6, false), [false, false, true]);
        assert_eq!(with(102.0, 9.8, false), [false, false, false]);
        assert_eq!(with(100.0, 8.6, true), [true, false, true]);
        assert_eq!(with(100.0, 7.6, true), [true, true, true]);
    }

    #[test]
    fn a_verdict_on_far_cores_says_so() {
        let mut results = results(&[
            ("echo-64", UWEBSOCKETS, Group::Peer, 100.0, 10.0, false),
            ("echo-64", "inline", Group::Ours, 120.0, 9.0, false),
        ]);
        let mut ends_with = |theirs: f64, remark: &str| {
            results.runs[0].cores_ns = Some([theirs, theirs]);
            results.runs[1].cores_ns = Some([55.0, 320.0]);
            let verdicts = verdicts(&results, 1, "inline");
            assert!(matches!(&verdicts[0], Verdict::Reached(text) if text.ends_with(remark)), "{verdicts:?}");
        };
        ends_with(320.0, "CPU × 0.90, far cores");
        ends_with(56.0, "CPU × 0.90, far cores against near ones");
    }

    #[test]
    fn every_crate_counts_and_the_one_that_decides_is_named() {
        let results = results(&[
            ("echo-512-deep", UWEBSOCKETS, Group::Peer, 100.0, 10.0, false),
            ("echo-512-deep", "axum", Group::Peer, 30.0, 10.0, false),
            ("echo-512-deep", "ntex", Group::Peer, 50.0, 10.0, false),
            ("echo-512-deep", "same-core", Group::Ours, 101.0, 9.9, false),
        ]);
        let verdicts = verdicts(&results, 2, "same-core");
        assert!(matches!(&verdicts[0], Verdict::Reached(_)), "{verdicts:?}");
        assert!(matches!(&verdicts[1], Verdict::Missed(text) if text.starts_with("ntex rate × 2.02")), "{verdicts:?}");
    }

    #[test]
    fn crates_are_compared_where_their_messages_are_compressed_as_much() {
        let with = |their_ratio: f64| {
            let mut results = results(&[]);
            for (name, group, rate, ratio) in
                [("inline", Group::Ours, 190.0, 3.0), ("yawc", Group::Peer, 100.0, their_ratio)]
            {
                let report = serde_json::json!({"rate_per_s": rate, "ratio": ratio});
                let outcome = Outcome::Measured(report.as_object().unwrap().clone());
                add(&mut results, "deflate-1", name, group, outcome);
            }
            verdicts(&results, 11, "inline")
        };
        assert!(matches!(&with(3.1)[..], [Verdict::Missed(text)] if text.ends_with("ratio 3.00, 3.10")));
        assert!(matches!(&with(2.5)[..], [Verdict::Open(_)]));
    }

    #[test]
    fn round_trips_are_compared_with_the_limit() {
        let with = |placement: &'static str, rate: f64| {
            let lines = [
                ("echo-1", RAW, Group::Limit, 20_000.0, 10.0, false),
                ("echo-1", placement, Group::Ours, rate, 1.0, false),
            ];
            let goal = if placement == "inline" { Goal::RoundTrip } else { Goal::RoundTripAdded };
            reached_goal(&results(&lines), "echo-1", placement, goal)
        };
        // The limit takes 50 µs, so both inline and same-core may take 55.
        assert_eq!((with("inline", 1e6 / 54.9), with("inline", 1e6 / 55.1)), (Some(true), Some(false)));
        assert_eq!((with("same-core", 1e6 / 54.9), with("same-core", 1e6 / 55.1)), (Some(true), Some(false)));
    }

    #[test]
    fn broadcasts_http_churn_and_memory() {
        let mut results = results(&[
            ("broadcast-64-1k", UWEBSOCKETS, Group::Peer, 100.0, 10.0, false),
            ("broadcast-64-1k", "inline", Group::Ours, 120.0, 10.0, false),
            ("broadcast-64-1k-burst", "inline", Group::Ours, 2.9e6, 10.0, false),
            ("http", "hyper", Group::Peer, 100.0, 5.0, true),
            ("http", "inline", Group::Ours, 90.0, 4.9, true),
            ("churn", "axum", Group::Peer, 100.0, 5.0, false),
            ("churn", "inline", Group::Ours, 99.0, 4.9, false),
        ]);
        for (placement, bytes) in [("inline", 640.0), ("same-core", 641.0)] {
            let report = serde_json::json!({"user_bytes_per_connection": bytes});
            let outcome = Outcome::Measured(report.as_object().unwrap().clone());
            add(&mut results, "idle-10k", placement, Group::Ours, outcome);
        }
        for (placement, bytes) in [("inline", 60e6), ("same-core", 70e6)] {
            let report = serde_json::json!({"rate_per_s": 0.0, "server_peak_bytes": bytes});
            let outcome = Outcome::Measured(report.as_object().unwrap().clone());
            add(&mut results, "files-10m-4096", placement, Group::Ours, outcome);
        }
        assert_eq!((reached(&results, 10, "inline"), reached(&results, 10, "same-core")), (vec![true], vec![false]));
        assert_eq!(reached(&results, 5, "inline"), [true, false]);
        assert_eq!(reached(&results, 6, "inline"), [true]);
        assert_eq!(reached(&results, 7, "inline"), [false]);
        assert_eq!((reached(&results, 8, "inline"), reached(&results, 8, "same-core")), (vec![true], vec![false]));
    }

    #[test]
    fn growth_is_compared_with_the_limits_growth() {
        let results = results(&[
            ("echo-64", RAW, Group::Limit, 1.0, 4.0, false),
            ("echo-64", "inline", Group::Ours, 1.0, 5.0, false),
            ("echo-4096", RAW, Group::Limit, 1.0, 6.0, false),
            ("echo-4096", "inline", Group::Ours, 1.0, 7.4, false),
            ("echo-16000", RAW, Group::Limit, 1.0, 6.0, false),
            ("echo-16000", "inline", Group::Ours, 1.0, 7.6, false),
        ]);
        let growth = |id| reached_goal(&results, id, "inline", Goal::Growth);
        assert_eq!((growth("echo-4096"), growth("echo-16000")), (Some(true), Some(false)));
    }

    #[test]
    fn what_was_not_measured_is_open() {
        let mut results = results(&[("echo-64", "inline", Group::Ours, 1.0, 5.0, false)]);
        assert!(verdicts(&results, 1, "same-core").is_empty(), "it did not take part");
        add(&mut results, "echo-64", "same-core", Group::Ours, Outcome::Failed("reset".into()));
        let verdicts = verdicts(&results, 1, "same-core");
        assert!(
            !verdicts.is_empty() && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Open(_))),
            "{verdicts:?}"
        );
        let text = table(&judge(&results)).markdown();
        assert!(text.contains("open: uWebSockets was not measured"), "{text}");
    }
}
