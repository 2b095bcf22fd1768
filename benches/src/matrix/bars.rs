//! The aims, row by row, and verdicts on whether a measurement reaches them.
//!
//! Each row has one function from results to judgements, one judgement for each case of the row and each Tidegate
//! placement. A rate limited by the client says nothing about the server: where our run is client-bound, server time is
//! compared instead, by the inverse of the rate's factor unless the aim names another.

use crate::matrix::case::{CASES, Case, GROWTH};
use crate::matrix::results::{Figures, NGINX, OURS, RAW, Results, UWEBSOCKETS};
use crate::matrix::table::{Table, grouped, mebibytes, number, significant};

/// Aim for bursts of 16, in deliveries per second.
const BURST_DELIVERIES_PER_S_MIN: f64 = 3e6;

/// Aim for the server's memory while it sends files to 4,096 clients, in bytes.
const DOWNLOAD_BYTES_MAX: f64 = 64.0 * 1024.0 * 1024.0;

/// Files up to this size are to cost no more than nginx's.
const FILE_BYTES_SMALL_MAX: u32 = 64 * 1024;

/// Aim for the server's user memory per idle WebSocket, in bytes.
const IDLE_BYTES_MAX: f64 = 512.0;

/// Aim for what same-core adds to the round trip of the raw echo, in µs.
const SAME_CORE_US_MAX: f64 = 5.0;

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
    let took_part = |placement: &&str| results.servers.iter().any(|server| server.name == *placement);
    let placements: Vec<&'static str> = OURS.into_iter().filter(took_part).collect();
    let mut judgements = Vec::new();
    for case in CASES.iter().filter(|case| results.has(case)) {
        for placement in placements.iter().copied() {
            let aims = aims(results, case, placement);
            judgements.extend(aims.into_iter().map(|(aim, verdict)| Judgement {
                row: case.row,
                case: case.title,
                aim,
                placement,
                verdict,
            }));
        }
    }
    for placement in placements {
        judgements.extend(growth(results, placement));
    }
    judgements.sort_by_key(|judgement| judgement.row);
    judgements
}

/// Returns the judgements as a table: a line per aim, a column per placement.
#[must_use]
pub fn table(judgements: &[Judgement]) -> Table {
    let mut table = Table::of_words(&["Row: case", "Aim", OURS[0], OURS[1]]);
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
        let case = format!("{}: {}", judgement.row, judgement.case);
        table.push(vec![case, judgement.aim.clone(), of(OURS[0]), of(OURS[1])]);
    }
    table
}

/// Returns the aims of a case for a placement, with their verdicts.
fn aims(results: &Results, case: &Case, placement: &str) -> Vec<(String, Verdict)> {
    let Some(cell) = results.cell(case, placement) else { return Vec::new() };
    let Some(ours) = cell.figures() else {
        return vec![("measured".into(), Verdict::Open("no run succeeded".into()))];
    };
    match case.row {
        1 => vec![
            above_uwebsockets(results, case, ours, Factor { rate: 1.15, cost: 0.85 }),
            above_crates(results, case, ours, 1.3),
        ],
        2 => vec![above_uwebsockets(results, case, ours, Factor::of(1.0)), above_crates(results, case, ours, 2.5)],
        3 => vec![above_uwebsockets(results, case, ours, Factor::of(1.0)), above_crates(results, case, ours, 1.0)],
        4 => vec![round_trip(results, case, ours, placement)],
        5 if case.depth == 1 => vec![above_uwebsockets(results, case, ours, Factor::of(1.2))],
        5 => vec![burst(ours)],
        6 => vec![cheapest(results, case, ours)],
        7 => vec![above_every_peer(results, case, ours)],
        8 => vec![idle(ours)],
        10 if case.measures_memory() => vec![memory_of_downloads(ours)],
        10 => vec![requests_of_nginx(results, case, ours)],
        _ => Vec::new(),
    }
}

/// The multiple of another server's rate to reach or, where the client is the limit, the share of its server time.
#[derive(Debug, Clone, Copy)]
struct Factor {
    rate: f64,
    cost: f64,
}

impl Factor {
    fn of(rate: f64) -> Self {
        Self { rate, cost: 1.0 / rate }
    }
}

/// Returns whether `ours` reaches the factor, and the figures.
fn compare(ours: &Figures, theirs: &Figures, factor: Factor) -> (bool, String) {
    let rate = ours.rate / theirs.rate;
    let cost = ours.server_cpu_us.zip(theirs.server_cpu_us).map(|(ours, theirs)| ours / theirs);
    // A factor of 1 means "above", not "equal".
    let faster = if factor.rate > 1.0 { rate >= factor.rate } else { rate > 1.0 };
    let cheaper = cost.is_some_and(|cost| if factor.cost < 1.0 { cost <= factor.cost } else { cost < 1.0 });
    let mut text = format!("rate × {rate:.2}, CPU × {}", number(cost, |cost| format!("{cost:.2}")));
    if ours.client_bound {
        text += ", client-bound";
    }
    if ours.is_disturbed() || theirs.is_disturbed() {
        text += ", disturbed";
    }
    (faster || ours.client_bound && cheaper, text)
}

fn above_uwebsockets(results: &Results, case: &Case, ours: &Figures, factor: Factor) -> (String, Verdict) {
    let aim = match factor.rate {
        rate if rate > 1.0 => format!("{rate} × uWebSockets"),
        _ => "above uWebSockets".into(),
    };
    let verdict = match results.figures(case, UWEBSOCKETS) {
        Some(theirs) => {
            let (reached, text) = compare(ours, &theirs, factor);
            Verdict::of(reached, text)
        }
        None => Verdict::Open("uWebSockets was not measured".into()),
    };
    (aim, verdict)
}

fn above_crates(results: &Results, case: &Case, ours: &Figures, rate: f64) -> (String, Verdict) {
    let aim = if rate > 1.0 { format!("{rate} × every crate") } else { "above every crate".into() };
    let crates = results.peers(case).filter(|(name, _)| *name != UWEBSOCKETS).collect();
    (aim, above_all(ours, crates, Factor::of(rate)))
}

fn above_every_peer(results: &Results, case: &Case, ours: &Figures) -> (String, Verdict) {
    ("above every peer".into(), above_all(ours, results.peers(case).collect(), Factor::of(1.0)))
}

/// Judges `ours` against each of `theirs`. The figures are those of the strongest competitor among the ones that decide
/// the verdict.
fn above_all(ours: &Figures, theirs: Vec<(&str, Figures)>, factor: Factor) -> Verdict {
    let compared = theirs.into_iter().map(|(name, theirs)| {
        let (reached, text) = compare(ours, &theirs, factor);
        (reached, theirs.rate, format!("{name} {text}"))
    });
    let nearest = compared.min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    nearest.map_or(Verdict::Open("no peer was measured".into()), |(reached, _, text)| Verdict::of(reached, text))
}

fn round_trip(results: &Results, case: &Case, ours: &Figures, placement: &str) -> (String, Verdict) {
    let aim = "median round trip: inline within 10 % of raw io_uring, same-core within 5 µs".to_owned();
    let median = |figures: &Figures| figures.latency_us[0];
    let Some((ours, raw)) = median(ours).zip(results.figures(case, RAW).as_ref().and_then(median)) else {
        return (aim, Verdict::Open("raw io_uring was not measured".into()));
    };
    let reached = if placement == "inline" { ours <= 1.1 * raw } else { ours <= raw + SAME_CORE_US_MAX };
    let figures = format!("{} µs, raw {} µs (× {:.2})", significant(ours), significant(raw), ours / raw);
    (aim, Verdict::of(reached, figures))
}

fn burst(ours: &Figures) -> (String, Verdict) {
    let reached = ours.rate >= BURST_DELIVERIES_PER_S_MIN;
    ("3,000,000 deliveries/s".into(), Verdict::of(reached, grouped(ours.rate)))
}

fn cheapest(results: &Results, case: &Case, ours: &Figures) -> (String, Verdict) {
    let aim = "server CPU per request below every peer's".to_owned();
    let costs = results.peers(case).filter_map(|(name, figures)| Some((name, figures.server_cpu_us?)));
    let Some(((name, least), ours)) = costs.min_by(|a, b| a.1.total_cmp(&b.1)).zip(ours.server_cpu_us) else {
        return (aim, Verdict::Open("no peer was measured".into()));
    };
    let figures = format!("{} µs, {name} {} µs (× {:.2})", significant(ours), significant(least), ours / least);
    (aim, Verdict::of(ours < least, figures))
}

/// Judges requests per second of the server's processor: at least nginx's, for large files 0.9 of them.
fn requests_of_nginx(results: &Results, case: &Case, ours: &Figures) -> (String, Verdict) {
    let least = if case.size > FILE_BYTES_SMALL_MAX { 0.9 } else { 1.0 };
    let aim = format!("{least} × nginx in requests per CPU second");
    let theirs = results.figures(case, NGINX).and_then(|theirs| theirs.server_cpu_us);
    let Some((ours, theirs)) = ours.server_cpu_us.zip(theirs) else {
        return (aim, Verdict::Open("nginx was not measured".into()));
    };
    let figures = format!("{} µs, nginx {} µs (× {:.2})", significant(ours), significant(theirs), theirs / ours);
    (aim, Verdict::of(theirs / ours >= least, figures))
}

fn memory_of_downloads(ours: &Figures) -> (String, Verdict) {
    let verdict = match ours.peak_bytes {
        Some(bytes) => Verdict::of(bytes < DOWNLOAD_BYTES_MAX, mebibytes(bytes)),
        None => Verdict::Open("not measured".into()),
    };
    ("server memory under 64 MiB".into(), verdict)
}

fn idle(ours: &Figures) -> (String, Verdict) {
    let verdict = match ours.user_bytes {
        Some(bytes) => Verdict::of(bytes <= IDLE_BYTES_MAX, format!("{} bytes", grouped(bytes))),
        None => Verdict::Open("not measured".into()),
    };
    ("at most 512 bytes of server memory each".into(), verdict)
}

/// Judges row 9: server time per message grows no faster than that of the raw echo, from the fewest connections on.
fn growth(results: &Results, placement: &'static str) -> Vec<Judgement> {
    let cost = |id: &str, server: &str| results.figures(Case::named(id)?, server)?.server_cpu_us;
    let judge = |id: &&'static str| {
        let case = Case::named(id).filter(|case| results.has(case))?;
        let growth = |server: &str| Some(cost(id, server)? / cost(GROWTH[0], server)?);
        let verdict = match growth(placement).zip(growth(RAW)) {
            Some((ours, raw)) => Verdict::of(ours <= raw, format!("× {ours:.2}, raw × {raw:.2}")),
            None => Verdict::Open("not measured on both ends".into()),
        };
        let aim = "CPU per message grows from 64 connections no faster than raw io_uring's".into();
        Some(Judgement { row: 9, case: case.title, aim, placement, verdict })
    };
    GROWTH[1..].iter().filter_map(judge).collect()
}

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
        _ => "Cost against connections",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::results::samples::{add, results};
    use crate::matrix::results::{Group, Outcome};

    fn verdicts(results: &Results, row: u8, placement: &str) -> Vec<Verdict> {
        let of = |judgement: &Judgement| judgement.row == row && judgement.placement == placement;
        judge(results).into_iter().filter(of).map(|judgement| judgement.verdict).collect()
    }

    fn reached(results: &Results, row: u8, placement: &str) -> Vec<bool> {
        verdicts(results, row, placement).iter().map(|verdict| matches!(verdict, Verdict::Reached(_))).collect()
    }

    #[test]
    fn rates_decide_unless_the_client_is_the_limit() {
        let with = |rate: f64, cpu: f64, bound: bool| {
            let results = results(&[
                ("echo-64", UWEBSOCKETS, Group::Peer, 100.0, 10.0, false),
                ("echo-64", "axum", Group::Peer, 80.0, 10.0, false),
                ("echo-64", "inline", Group::Ours, rate, cpu, bound),
            ]);
            reached(&results, 1, "inline")
        };
        assert_eq!(with(116.0, 9.0, false), [true, true]);
        assert_eq!(with(114.0, 7.0, false), [false, true]);
        assert_eq!(with(100.0, 8.4, true), [true, false]);
        assert_eq!(with(100.0, 7.6, true), [true, true]);
        assert_eq!(with(100.0, 8.6, true), [false, false]);
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
    fn round_trips_are_compared_with_the_limit() {
        let with = |placement: &'static str, rate: f64| {
            let lines = [
                ("echo-1", RAW, Group::Limit, 20_000.0, 10.0, false),
                ("echo-1", placement, Group::Ours, rate, 1.0, false),
            ];
            reached(&results(&lines), 4, placement)
        };
        // The limit takes 50 µs, so both inline and same-core may take 55.
        assert_eq!((with("inline", 1e6 / 54.9), with("inline", 1e6 / 55.1)), (vec![true], vec![false]));
        assert_eq!((with("same-core", 1e6 / 54.9), with("same-core", 1e6 / 55.1)), (vec![true], vec![false]));
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
        for (placement, bytes) in [("inline", 512.0), ("same-core", 513.0)] {
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
        assert_eq!(reached(&results, 9, "inline"), [true, false]);
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
